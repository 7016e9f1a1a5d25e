"""Computed attributes as a page of plain Python works them out from all events of a customer; and a project that has them, in two
versions. It knows nothing of how the engine keeps anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Any

from engine.core.clock import Duration, add, zone

EVENTS = """
events:
  bought: {properties: {total: number, kind: string, on: datetime}}
  viewed: {properties: {product: string}}
attributes: {first_name: string, favourite: string, timezone: string, email: string}
"""

FIRST = """
computed:
  spent: {sum: event.total, of: bought}
  spent_lately: {sum: event.total, of: bought, where: event.kind == "food", within: 20d}
  orders: {count: bought}
  many_orders: {count: bought, at_least: 2, default: -1}
  last_total: {latest: event.total, of: bought}
  last_at: {latest: event.occurred_at, of: bought}
  first_kind: {earliest: event.kind, of: bought}
  delivered: {latest: event.on, of: bought}
  begun_with: {first: 2, of: viewed, value: event.product}
  recent: {last: 3, of: viewed, value: event.product, within: 1 month}
  liked: {most_frequent: event.kind, of: bought, default: nothing}
  kinds: {distinct: event.kind, of: bought}
  gap: {median_gap_days: bought, at_least: 3, default: 30}
  gap_lately: {median_gap_days: bought, within: 30d}
  wished: {count: bought, where: event.kind == customer.favourite}
  of_today: {count: bought, where: event.occurred_at > now - days(3)}
  warmth:
    score:
      - {of: viewed, add: 2}
      - {of: bought, where: event.kind == "food", add: 10.5}
      - {of: bought, where: event.total < 0, add: -4}
      - {if: customer.favourite == "care", add: 7}
    half_life: 6d
"""

SECOND = """
computed:
  spent: {sum: event.total, of: bought, where: event.kind == "food"}
  orders: {count: viewed}
  recent: {last: 2, of: viewed, value: event.product, within: 10d}
  liked: {most_frequent: event.kind, of: bought, within: 15d}
  kinds: {distinct: event.product, of: viewed, within: 25d}
  gap: {median_gap_days: viewed}
  last_total: {earliest: event.total, of: bought}
  warmth: {score: [{of: bought, add: 3}, {if: customer.favourite == "care", add: 7}]}
"""


@dataclass(frozen=True)
class Event:
    """One that is stored."""

    name: str
    at: datetime
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """What a value is worked out from: the customer's events in order, attributes, the time and their zone."""

    events: Sequence[Event]
    attributes: Mapping[str, Any]
    now: datetime
    zone: str

    def of(self, name: str, within: Duration | None = None, where: Callable[[Event], bool] = lambda e: True) -> list[Event]:
        """The events that count."""
        found = [e for e in self.events if e.name == name and where(e)]
        if within is None:
            return found
        since = add(self.now, Duration(-within.months, -within.days), zone(self.zone))
        return [e for e in found if e.at > since]


def total(events: Sequence[Event]) -> Any:
    """Exactly, rounded at the end."""
    numbers = [e.properties["total"] for e in events if e.properties.get("total") is not None]
    exact = sum((Fraction(str(n)) for n in numbers), Fraction(0))
    return int(exact) if all(isinstance(n, int) for n in numbers) else round(float(exact), 6)


def values(events: Sequence[Event], name: str) -> list[Any]:
    """Those that aren't missing, the earliest first."""
    return [v for e in events if (v := e.properties.get(name)) is not None]


def most(found: Sequence[Any], default: Any = None) -> Any:
    """The most frequent; of several the one that came last."""
    often = Counter(found)
    return next((v for v in reversed(found) if often[v] == max(often.values())), default)


def gap(events: Sequence[Event], least: int = 1, default: Any = None) -> Any:
    """The median of the days between."""
    gaps = [(b.at - a.at) / timedelta(days=1) for a, b in pairwise(events)]
    return default if len(events) < least or not gaps else round(median(gaps))


def last(found: Sequence[Any]) -> Any:
    return found[-1] if found else None


def first(found: Sequence[Any]) -> Any:
    return found[0] if found else None


def moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def warmth(seen: Seen) -> float:
    """With more digits than any float has."""
    context = Context(prec=60)
    total = Decimal(7 if seen.attributes.get("favourite") == "care" else 0)
    for e in seen.events:
        points = Decimal(2) if e.name == "viewed" else Decimal("10.5") if food(e) else Decimal(0)
        points -= 4 if (e.properties.get("total") or 0) < 0 else 0
        lives = context.divide(Decimal((seen.now - e.at) // timedelta(microseconds=1)), Decimal(6 * 86_400 * 10**6))
        total += context.multiply(points, context.power(Decimal(2), -lives))
    return round(float(total), 2)


def food(event: Event) -> bool:
    return bool(event.properties.get("kind") == "food")


MONTH = Duration(months=1)
Worked = Mapping[str, Callable[[Seen], Any]]

BY_FIRST: Worked = {
    "spent": lambda s: total(s.of("bought")),
    "spent_lately": lambda s: total(s.of("bought", Duration(days=20), food)),
    "orders": lambda s: len(s.of("bought")),
    "many_orders": lambda s: n if (n := len(s.of("bought"))) >= 2 else -1,
    "last_total": lambda s: last(values(s.of("bought"), "total")),
    "last_at": lambda s: last([e.at for e in s.of("bought")]),
    "first_kind": lambda s: first(values(s.of("bought"), "kind")),
    "delivered": lambda s: moment(last(values(s.of("bought"), "on"))),
    "begun_with": lambda s: values(s.of("viewed"), "product")[:2],
    "recent": lambda s: values(s.of("viewed", MONTH), "product")[::-1][:3],
    "liked": lambda s: most(values(s.of("bought"), "kind"), "nothing"),
    "kinds": lambda s: len(set(values(s.of("bought"), "kind"))),
    "gap": lambda s: gap(s.of("bought"), 3, 30),
    "gap_lately": lambda s: gap(s.of("bought", Duration(days=30))),
    "wished": lambda s: len(s.of("bought", None, lambda e: e.properties.get("kind") == s.attributes.get("favourite"))),
    "warmth": warmth,
    "of_today": lambda s: len(s.of("bought", Duration(days=3))),
}
BY_SECOND: Worked = {
    "spent": lambda s: total(s.of("bought", None, food)),
    "orders": lambda s: len(s.of("viewed")),
    "recent": lambda s: values(s.of("viewed", Duration(days=10)), "product")[::-1][:2],
    "liked": lambda s: most(values(s.of("bought", Duration(days=15)), "kind")),
    "kinds": lambda s: len(set(values(s.of("viewed", Duration(days=25)), "product"))),
    "gap": lambda s: gap(s.of("viewed")),
    "last_total": lambda s: first(values(s.of("bought"), "total")),
    "warmth": lambda s: 3 * len(s.of("bought")) + (7 if s.attributes.get("favourite") == "care" else 0),
}
