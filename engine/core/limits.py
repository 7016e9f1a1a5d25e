"""How many journeys a customer may be in: whom `limits` of policy.yaml let in, keep out, or send away for somebody higher.

Pure; intake asks under the customer's lock, so a limit is never exceeded. Rules: docs/language.md, "Limits on journeys".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter
from itertools import pairwise
from zoneinfo import ZoneInfo

from engine.core import clock
from engine.core.policy import JourneyLimit, Policy
from engine.core.telling import tell_day

DISPLACED = "displaced by "
"""How the reason begins with which an enrollment ends that a higher journey took the place of; the journey's name follows."""

_NAMED = 3
"""Journeys that a sentence names."""


@dataclass(frozen=True, slots=True)
class Present:
    """An enrollment of the customer that hasn't ended."""

    enrollment: int
    journey: str
    entered_at: datetime


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer for one entry: `leaving` are the enrollments that end for it; or the limit `rule` keeps it out, and
    `detail` says how ("" where none does)."""

    leaving: tuple[int, ...] = ()
    rule: str = ""
    detail: str = ""


def admit(
    limits: Iterable[JourneyLimit],
    journey: str,
    inside: Sequence[Present],
    entered: Sequence[tuple[str, datetime]],
    at: datetime,
    zone: ZoneInfo,
) -> Admission:
    """Whether a customer who is `inside` these enrollments may enter `journey` at `at`. `entered`: (journey, when) of all entries
    that a limit may count. `zone`: the customer's.

    Where a limit is full and displaces, the lowest journeys below `journey` go, of equals those entered last; nobody goes where
    another limit keeps `journey` out."""
    leaving: set[int] = set()
    mine = [limit for limit in limits if covers(limit, journey)]
    for limit in sorted(mine, key=lambda one: not one.displaces):  # who leaves makes room in the others too
        if limit.at_once is not None:
            there = [p for p in inside if covers(limit, p.journey) and p.enrollment not in leaving]
            below = [p for p in there if limit.displaces and _rank(limit, p.journey) > _rank(limit, journey)]
            below.sort(key=lambda p: (_rank(limit, p.journey), p.entered_at, p.enrollment), reverse=True)
            excess = len(there) - limit.at_once + 1
            if excess > len(below):
                return Admission(rule=limit.name, detail=_full(limit, limit.at_once, there))
            leaving |= {p.enrollment for p in below[: max(excess, 0)]}
        if limit.entries is not None:
            start, end = clock.calendar_window(at, limit.per, zone)
            counted = len([1 for name, when in entered if covers(limit, name) and start <= when < end])
            if counted >= limit.entries:
                return Admission(rule=limit.name, detail=_used_up(limit, limit.entries, counted, start, zone))
    return Admission(tuple(sorted(leaving)))


def covers(limit: JourneyLimit, journey: str) -> bool:
    """Whether `limit` looks at `journey`."""
    return not limit.journeys or journey in limit.journeys


def in_order(policy: Policy, tiers: Iterable[tuple[str, str]]) -> list[str]:
    """The journeys of `tiers` (journey, its tier) as one event enters them: those that stand higher in a limit first, else by
    tier and name. Raises graphlib.CycleError where limits contradict each other."""
    known = [journey for journey, _ in sorted(tiers, key=lambda j: (policy.rank(j[1]), j[0]))]
    sorter = TopologicalSorter(dict.fromkeys(known, ()))
    for limit in policy.limits:
        if limit.at_once is not None:
            for higher, lower in pairwise(limit.journeys):
                sorter.add(lower, higher)
    entering = set(known)
    return [journey for journey in sorter.static_order() if journey in entering]


def _rank(limit: JourneyLimit, journey: str) -> int:
    return limit.journeys.index(journey) if journey in limit.journeys else len(limit.journeys)


def _full(limit: JourneyLimit, at_once: int, there: Sequence[Present]) -> str:
    where = _listed([f"{p.journey} (number {p.enrollment})" for p in there])
    return f"the limit {limit.name} allows {at_once} at a time of {_set(limit)}, and they were in {where}."


def _used_up(limit: JourneyLimit, entries: int, counted: int, start: datetime, zone: ZoneInfo) -> str:
    since = f"on {tell_day(start, zone)}" if limit.per == "day" else f"in the {limit.per} from {tell_day(start, zone)}"
    entering = "entry" if entries == 1 else "entries"
    allows = f"the limit {limit.name} allows {entries} {entering} a {limit.per} into {_set(limit)}"
    return f"{allows}, and {counted} had been made {since}."


def _set(limit: JourneyLimit) -> str:
    return _listed(limit.journeys) if limit.journeys else "all journeys"


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:_NAMED], f"{len(names) - _NAMED} more"] if len(names) > _NAMED else list(names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
