"""What simulating costs: the project that ships, customers who buy for a year, in one process, without a server."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.stack import ROOT, WrongResult
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.simulator.play import Play
from engine.simulator.told import Told

FULL, QUICK = 400, 20
"""Customers."""

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
YEAR = timedelta(days=365)
CATEGORIES = ("skincare", "makeup", "fragrance")
MILLION = 1_000_000


def keys() -> set[str]:
    """The figures that `measure` gives."""
    names = (
        "enrollments_per_s",
        "messages_per_s",
        "events_per_s",
        "rendered_messages_per_s",
        "bytes_per_customer",
        "gb_per_million",
    )
    return {f"simulate.{name}" for name in names}


def measure(customers: int) -> dict[str, float]:
    """Figures per processor second. Raises WrongResult where something was refused or got stuck, or nobody was written to."""
    told, seconds, _ = _year(customers, renders=False)
    few = max(customers // 4, 2)
    rendered, longer, _ = _year(few, renders=True)
    half = few // 2
    size = (_year(few, renders=False, traced=True)[2] - _year(half, renders=False, traced=True)[2]) / (few - half)
    return {
        "simulate.enrollments_per_s": told["enter"] / seconds,
        "simulate.messages_per_s": told["send"] / seconds,
        "simulate.events_per_s": sum(1 for _ in life(0)) * customers / seconds,
        "simulate.rendered_messages_per_s": rendered["send"] / longer,
        "simulate.bytes_per_customer": size,
        "simulate.gb_per_million": size * MILLION / 1e9,
    }


def _year(customers: int, *, renders: bool, traced: bool = False) -> tuple[Counter[str], float, int]:
    """A year of so many: what was told by kind, processor seconds, and the bytes that are still held in the end."""
    compiled = load_project(ROOT, {"email", "sms", "push"})
    told: Counter[str] = Counter()

    def tell(one: Told) -> None:
        told[one.kind] += 1

    everything = sorted((e for n in range(customers) for e in life(n)), key=lambda e: e.occurred_at or BEGIN)
    if traced:
        gc.collect()
        tracemalloc.start()
    began = time.process_time()
    play = Play(compiled, start=BEGIN, renders=renders, tell=tell)
    empty = tracemalloc.get_traced_memory()[0] if traced else 0
    play.take(everything)
    play.run(BEGIN + YEAR)
    seconds = time.process_time() - began
    held = 0
    if traced:
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - empty
        tracemalloc.stop()
    if play.refused or told["parked"] or not told["send"]:
        raise WrongResult(f"{len(play.refused)} events were refused, {told['parked']} got stuck, {told['send']} were sent")
    return told, seconds, held


def life(number: int) -> Iterator[Incoming]:
    """A customer's year: they agree to three topics, look and fill a basket every week, and buy every month."""
    minute = timedelta(minutes=number * 7 % 9_000)
    start = BEGIN + minute

    def one(kind: Any, name: str, at: datetime, traits: dict[str, Any] | None = None, **properties: Any) -> Incoming:
        message = f"{number}/{name}/{at.isoformat()}/{properties.get('topic', '')}"
        who = {"user_id": f"c{number}"}
        return Incoming(kind, "bench", message, name, properties, traits or {}, identifiers=who, occurred_at=at)

    zone = ("Europe/Rome", "America/New_York", "Asia/Kolkata")[number % 3]
    known = {"email": f"c{number}@example.com", "first_name": f"C{number}", "timezone": zone, "push_token": "t"}
    yield one("identify", "", start, known)
    for topic in ("offers", "reminders", "product_education"):
        yield one("track", "consent_changed", start, channel="email", topic=topic, state="granted")
    for week in range(51):
        at = start + timedelta(days=7 * week + 1, hours=number % 11)
        yield one("track", "cart_updated", at, cart_id=f"{number}-{week}", items=[{"sku": f"s{week}"}], total=20.0)
        if (week + number) % 4 == 0:
            order: dict[str, Any] = {
                "order_id": f"{number}-{week}",
                "category": CATEGORIES[week % 3],
                "total": 20.0 + week,
                "items": [],
            }
            yield one("track", "order_completed", at + timedelta(hours=2), **order)
