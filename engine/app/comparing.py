"""Messages of two plays of the same events: which are added, lost or moved, and why. Pure.

A message is the same in both where customer, journey, moment of entry, step and visit are. What is the same is forgotten at once:
only differences are held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple

from engine.app.forecast import reason_words
from engine.simulator.told import Told

OLD, NEW = 0, 1
NOT_REACHED = "its step wasn't reached"

Kind = Literal["added", "lost", "moved"]


class Key(NamedTuple):
    """Which message: `number` tells entries of the same moment apart, `visit` rounds of the same step."""

    customer: int
    journey: str
    entered_at: datetime
    number: int
    step: str
    visit: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a message: `sent` at `at` by `channel`, or not; what stood in its way (`why`, "": nothing)."""

    sent: bool
    at: datetime
    channel: str
    why: str


@dataclass(frozen=True, slots=True)
class Change:
    """A message that differs. Moments are None where it isn't sent; `old_why` and `new_why` say what stood in its way."""

    kind: Kind
    user: str
    customer: int
    journey: str
    step: str
    old_at: datetime | None
    new_at: datetime | None
    old_channel: str
    new_channel: str
    old_why: str
    new_why: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        names = ("kind", "user", "customer", "journey", "step", "old_channel", "new_channel", "old_why", "new_why")
        moments = {n: m.isoformat() if (m := getattr(self, n)) is not None else None for n in ("old_at", "new_at")}
        return {n: getattr(self, n) for n in names} | moments


@dataclass(slots=True)
class _Inside:
    """An enrollment that hasn't ended. `visits`: how often each step was reached."""

    customer: int
    journey: str
    entered_at: datetime
    number: int
    step: str = ""
    why: str = ""
    visits: Counter[str] = field(default_factory=Counter)

    def key(self) -> Key:
        return Key(self.customer, self.journey, self.entered_at, self.number, self.step, self.visits[self.step])


@dataclass(slots=True)
class _Side:
    inside: dict[int, _Inside] = field(default_factory=dict)
    fates: dict[Key, Fate] = field(default_factory=dict)
    last: dict[tuple[int, str], tuple[datetime, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Compared:
    """Both plays. `tell(OLD)` and `tell(NEW)` are what they tell. `same`: messages that are sent alike, by (journey, step)."""

    same: Counter[tuple[str, str]] = field(default_factory=Counter)
    _sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))
    _users: dict[int, str] = field(default_factory=dict)

    def tell(self, side: int) -> Callable[[Told], None]:
        """What one of the two tells."""
        return partial(self._hear, self._sides[side], self._sides[1 - side])

    def _hear(self, side: _Side, other: _Side, told: Told) -> None:
        if told.kind == "enter":
            self._enter(side, told)
        inside = side.inside.get(told.enrollment)
        if inside is None:
            return
        if told.step and told.step != inside.step and told.kind != "exit":
            inside.step, inside.why = told.step, ""
            inside.visits[told.step] += 1
        match told.kind:
            case "defer":
                inside.why = f"put off: {_reason(told)}"
            case "drop":
                side.fates[inside.key()] = Fate(False, told.at, told.channel, f"not sent: {_reason(told)}")
            case "send":
                self._sent(side, other, inside.key(), Fate(True, told.at, told.channel, inside.why))
            case "exit":
                del side.inside[told.enrollment]

    def _enter(self, side: _Side, told: Told) -> None:
        at, number = side.last.get((told.customer, told.journey), (None, 0))
        number = number + 1 if at == told.at else 0
        side.last[told.customer, told.journey] = (told.at, number)
        side.inside[told.enrollment] = _Inside(told.customer, told.journey, told.at, number)
        self._users[told.customer] = told.user or f"customer/{told.customer}"

    def _sent(self, side: _Side, other: _Side, key: Key, fate: Fate) -> None:
        match = other.fates.get(key)
        if match is not None and match.sent and (match.at, match.channel) == (fate.at, fate.channel):
            del other.fates[key]
            side.fates.pop(key, None)
            self.same[key.journey, key.step] += 1
        else:
            side.fates[key] = fate

    def changes(self) -> list[Change]:
        """Every message that differs, in order of time, once both plays are over."""
        return sorted(self._changes(), key=lambda c: (c.new_at or c.old_at, c.customer, c.journey, c.step))

    def _changes(self) -> Iterator[Change]:
        old, new = (side.fates for side in self._sides)
        for key in {**old, **new}:
            was, will = old.get(key), new.get(key)
            before, after = (fate if fate is not None and fate.sent else None for fate in (was, will))
            if before is None and after is None:
                continue
            kind: Kind = "added" if before is None else "lost" if after is None else "moved"
            yield Change(
                kind,
                self._users[key.customer],
                key.customer,
                key.journey,
                key.step,
                before.at if before else None,
                after.at if after else None,
                before.channel if before else "",
                after.channel if after else "",
                was.why if was else NOT_REACHED,
                will.why if will else NOT_REACHED,
            )


def totals(changes: list[Change], same: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """By journey and step: added, lost, moved, same."""
    counted: dict[tuple[str, str], Counter[str]] = {place: Counter(same=n) for place, n in same.items()}
    for change in changes:
        counted.setdefault((change.journey, change.step), Counter())[change.kind] += 1
    kinds = ("added", "lost", "moved", "same")
    return [{"journey": j, "step": s, **{k: n[k] for k in kinds}} for (j, s), n in sorted(counted.items())]


def by_customer(changes: list[Change]) -> list[dict[str, Any]]:
    """Whom the changes are about, those with the most first: user, customer, added, lost, moved."""
    counted: dict[tuple[int, str], Counter[str]] = {}
    for change in changes:
        counted.setdefault((change.customer, change.user), Counter())[change.kind] += 1
    ranked = sorted(counted.items(), key=lambda item: (-item[1].total(), item[0]))
    return [{"user": user, "customer": c, **{k: n[k] for k in ("added", "lost", "moved")}} for (c, user), n in ranked]


def _reason(told: Told) -> str:
    rule = told.rule.removeprefix("quiet_hours ")
    return reason_words(told.reason) + (f" ({rule})" if rule else "")
