"""A deployed project with a folder for files, for tests of imports."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.app.importing import Done, Import, Order
from engine.app.wiring import Core
from engine.core.incoming import Accepted, Incoming
from engine.store.database import fetch, transaction
from tests.api.conftest import WELCOME
from tests.harness import POLICY

TRACKING = """
events:
  signed_up: {properties: {plan: string}}
  ordered: {properties: {order_id: string, total: number, items: [string]}, required: [total]}
attributes: {first_name: string, email: string, phone: string, orders: integer, timezone: string}
"""
NONE = POLICY.replace("email: {default: granted}", "email: {default: none}")
FILES = {"journeys/welcome.yaml": WELCOME, "journeys/tracking.yaml": TRACKING, "journeys/policy.yaml": NONE}

PEOPLE = """
user_id,email,first_name,orders,consent_email_news,consent_sms
ada,ada@example.com,Ada,3,yes,
bob,bob@example.com,Bob,,no,granted
eve,,,,,
""".lstrip()

ORDERS = """
customer_id,event,occurred_at,order_id,total,items
ada,ordered,2026-01-02T10:00:00Z,A1,40.10,"[""soap"", ""serum""]"
ada,ordered,2026-01-03 10:00,A2,12,
bob,signed_up,2026-01-04,,,
""".lstrip()


@dataclass(slots=True)
class Office:
    """A deployed project with a folder for files."""

    core: Core
    folder: Path

    def order(self, kind: Any, name: str, text: str | bytes | None = None, mapping: str | None = None, **more: Any) -> Order:
        """What is to be imported: the file `name`, written here where its text is given."""
        path = self.folder / name
        if text is not None:
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        said = self.folder / "mapping.yaml" if mapping is not None else None
        if said is not None:
            said.write_text(mapping or "")
        report = self.folder / f"{name}.bad.csv"
        return Order(kind, path, report, frozenset({"email", "sms"}), "test", said, **more)

    async def take(self, order: Order, tell: Any = lambda *_: None) -> Done:
        """Import it."""
        return await (await Import.prepared(self.core.database, order)).take(tell)

    async def query(self, statement: str, **values: Any) -> list[Any]:
        """Rows straight from the store."""
        async with transaction(self.core.database) as c:
            return [tuple(r) for r in await fetch(c, statement, **values)]

    async def accept(self, *batch: Incoming) -> list[Accepted]:
        """Through the door, as a source."""
        return await self.core.intake.accept(list(batch))

    async def events(self) -> list[Any]:
        """Every event but those about who somebody is: whose, name, properties, when; in order of time."""
        return await self.query(
            "select i.value, e.name, e.properties, to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') from events e "
            "join identifiers i on i.customer_id = e.customer_id and i.kind = 'user_id' where e.name not like '$%' "
            "order by e.occurred_at, e.id"
        )


def reported(order: Order) -> list[tuple[int, str, str]]:
    """The report: row, column and what is wrong."""
    with order.report.open(newline="") as file:
        return [(int(line["row"]), line["column"], line["problem"]) for line in csv.DictReader(file)]


def counts(done: Done) -> tuple[int, int, int]:
    """Rows that are new, known and bad."""
    return done.taken, done.known, done.bad
