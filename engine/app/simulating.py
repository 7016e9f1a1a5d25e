"""Projects played beforehand: what comes in from people who don't exist, from a file or from recorded history, to one project or
to several at once, and what comes of it.

Nothing is called here: secrets have names in their places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine.app.forecast import Figures
from engine.app.offline import stand_ins
from engine.app.past import OWN, read_people, read_store
from engine.app.synthetic import Synthetic
from engine.authoring.project import Compiled
from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.simulator.play import Begun, Play
from engine.simulator.told import Told
from engine.store import happened
from engine.store.database import Connection, Database, now, snapshot

Tell = Callable[[Told], None]
Shown = Callable[[int, int], None]
"""Told how far it has come, and how far it goes."""


@dataclass(slots=True)
class Span:
    """What was played: `source` in words, from `start` to `end`, how many things came `incoming`, and those that the door would
    put aside, by reason. `warm_up`: channels began their `warmup`."""

    source: str
    start: datetime
    end: datetime
    incoming: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    warm_up: bool = False

    @property
    def how(self) -> str:
        """What stands behind when it was, in words."""
        return ", channels begin their warm-up" if self.warm_up else ""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        span = {"start": self.start.isoformat(), "end": self.end.isoformat(), "incoming": self.incoming}
        refused = dict(self.refused.most_common())
        return {"source": self.source, **span, "refused": refused, "warm_up": self.warm_up}


@dataclass(frozen=True, slots=True)
class Part:
    """A project that is played, which of its journeys (None: all), who is told; `addresses`: see `offline` · `warming`: see
    `Play`."""

    compiled: Compiled
    journeys: Collection[str] | None
    tell: Tell
    addresses: Mapping[str, str] | None = None
    warming: Mapping[str, Begun] | None = None

    def play(self, start: datetime) -> Play:
        """The play, from `start`."""
        return Play(
            self.compiled,
            journeys=self.journeys,
            start=start,
            renders=False,
            tell=self.tell,
            addresses=self.addresses,
            warming=self.warming,
        )


def figures_of(compiled: Compiled, journeys: Collection[str] | None) -> Figures:
    """Nothing counted yet, of these journeys."""
    plans = {name: plan for name, plan in compiled.plans.items() if journeys is None or name in journeys}
    return Figures(plans, frozenset(cap.name for cap in compiled.policy.caps), zone_named(compiled.policy.timezone))


def play_synthetic(people: Synthetic, part: Part, shown: Shown) -> Span:
    """People who don't exist, in the project that they were made for."""

    def heard(told: Told) -> None:
        people.answer(told)
        part.tell(told)

    play = replace(part, tell=heard).play(people.start)
    span = Span(f"{people.customers} synthetic customers, seed {people.seed}", people.start, people.end)
    with _stand_ins([part]):
        for hour, (end, batch) in enumerate(people.slices(), 1):
            play.take(batch)
            play.run(end)
            span.incoming += len(batch)
            shown(hour, people.days * 24)
    _note(span, play, [part])
    return span


def play_file(path: Path, parts: Sequence[Part], shown: Shown, days: int | None = None) -> Span:
    """The calls of a file, until nothing happens any more, or `days` since the first of them are over. Raises Unreadable."""
    from engine.app.event_file import read_file  # which brings the whole API with it

    calls = read_file(path)
    start = calls[0].occurred_at
    assert start is not None
    until = None if days is None else start + timedelta(days=days)
    calls = [call for call in calls if until is None or (call.occurred_at is not None and call.occurred_at < until)]
    latest = [calls[-1].occurred_at or start]
    plays = [replace(part, tell=_noting(part.tell, latest)).play(start) for part in parts]
    with _stand_ins(parts):
        for i in range(0, len(calls), happened.PAGE):
            for play in plays:
                play.take(calls[i : i + happened.PAGE])
            shown(i, len(calls))
        for play in plays:
            play.run(until)
    span = Span(path.name, start, until or latest[0], len(calls))
    _note(span, plays[-1], parts)
    return span


def _stand_ins(parts: Sequence[Part]) -> AbstractContextManager[None]:
    """While these are played."""
    return stand_ins(plan for part in parts for plan in part.compiled.plans.values())


def _noting(tell: Tell, latest: list[datetime]) -> Tell:
    """`tell`, and when the last thing was told."""

    def noted(told: Told) -> None:
        latest[0] = max(latest[0], told.at)
        tell(told)

    return noted


async def play_store(database: Database, back: Duration, parts: Sequence[Part], shown: Shown) -> Span:
    """What the database has recorded for so long `back` from its present, as it was: one statement's view, read in pages."""
    async with snapshot(database) as c:
        until = await now(c)
        since = add(until, Duration(-back.months, -back.days, -back.seconds), zone_named("UTC"))
        with _stand_ins(parts):
            return await _play_store(c, since, until, parts, shown)


async def _play_store(c: Connection, since: datetime, until: datetime, parts: Sequence[Part], shown: Shown) -> Span:
    span = Span("recorded history", since, until)
    people = await read_people(c, until)
    total = await happened.how_many(c, until, OWN)
    plays = [part.play(since) for part in parts]
    for play in plays:
        for customer, user in people.items():
            play.known(user, customer)
    read = 0
    async for page in read_store(c, people, since, until):
        for play in plays:
            play.take(page)
        read += len(page)
        span.incoming += sum(not one.history for one in page)
        shown(read, total)
    for play in plays:
        play.run(until)
    _note(span, plays[-1], parts)
    return span


def _note(span: Span, play: Play, parts: Sequence[Part]) -> None:
    span.refused.update(why for _, why in play.refused)
    span.warm_up = any(part.warming for part in parts)
