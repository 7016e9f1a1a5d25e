"""The values of `why`: what happened to one customer, moment by moment, in words. Plain and frozen; `to_json` is for machines.

Sentences hold times in the customer's zone; the datetimes beside them are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from engine.core.wire import Json


@dataclass(frozen=True, slots=True)
class Gate:
    """What one gate said. `answer`: pass, skip, defer or drop · `rule`: the rule or fact looked at · `until`: only with defer."""

    gate: str
    answer: str
    rule: str
    detail: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of policy, or a fact, as the gates name it."""

    gate: str
    rule: str


@dataclass(frozen=True, slots=True)
class Change:
    """What would have let a message pass at the moment of its decision. `alone`: each of these by itself, taken away, was enough
    (a fact: the other way round). `together`: where there is none such, what would all have had to go. `text`: a sentence."""

    alone: tuple[Rule, ...]
    together: tuple[Rule, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One verdict about a message: allow, defer or drop, the rule in the way (of several the one that ends last), when it would
    pass at the earliest, and what every gate said. `change`: only with the one in force, the message's last; None where that
    passed, was made before facts were recorded, or a crowd of other messages waited."""

    at: datetime
    decision: str
    reason: str
    rule: str
    detail: str
    until: datetime | None
    earliest: datetime | None
    gates: tuple[Gate, ...]
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Became:
    """What was told of a message after it was handed over. `event`: its name · `words`: the provider's own, or the reply · `url`:
    the link that was clicked · `machine`: a scanner or a privacy proxy did it."""

    at: datetime
    event: str
    words: str = ""
    url: str = ""
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One message: what the ledger says of it, and every decision that led there. `words`: the provider's own. `tries`: how often
    it was handed over. `tags`: those it counts under. `became`: what was told of it afterwards, in order."""

    key: str
    step: str
    channel: str
    template: str
    tier: str
    topic: str | None
    status: str
    reason: str
    detail: str
    planned_at: datetime
    expires_at: datetime | None
    sent_at: datetime | None
    until: datetime | None
    tries: int
    provider_id: str
    words: str
    decisions: tuple[Decision, ...]
    tags: tuple[str, ...] = ()
    became: tuple[Became, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. kind: entered, message, task, goal, parked, paused, resumed, moved, ended, or that of an input
    (`core.enrollment`). A message stands at the moment at which what stands of it came: when it left, say."""

    at: datetime
    kind: str
    text: str
    message: Message | None = None


def in_order(moments: Iterable[Moment], entered_at: datetime) -> tuple[Moment, ...]:
    """Moments of one enrollment: it begins with its entry and ends with its end, whatever shares their microsecond. Only a pause
    of its journey may have come before."""

    def place(m: Moment) -> int:
        if m.kind in ("paused", "resumed") and m.at < entered_at:
            return 0
        return {"entered": 1, "ended": 3}.get(m.kind, 2)

    return tuple(sorted(moments, key=lambda m: (place(m), m.at)))


@dataclass(frozen=True, slots=True)
class Parking:
    """A time for which an enrollment waited for a person. `step`: at which, None behind the last · `reason`: in full while it
    lasts, then what that began with · `until`: None while it lasts."""

    at: datetime
    step: str | None
    reason: str
    until: datetime | None

    @property
    def told(self) -> str:
        """In words, without a full stop."""
        return f"Parked{f' at {self.step}' if self.step else ''}: {self.reason.rstrip('.')}"


@dataclass(frozen=True, slots=True)
class Passage:
    """One enrollment. `holdout`: in the journey's own. `global_holdout`: the name of policy's, where the customer was in it on
    entering. `moments` in order of time. `now`: a sentence that says where it stands. `parkings` in order."""

    enrollment: int
    journey: str
    key: str
    status: str
    reason: str
    holdout: bool
    entered_at: datetime
    ended_at: datetime | None
    step: str | None
    wake_at: datetime | None
    now: str
    moments: tuple[Moment, ...]
    global_holdout: str | None = None
    parkings: tuple[Parking, ...] = ()


@dataclass(frozen=True, slots=True)
class Absence:
    """Why the customer didn't enter a journey (again). reason: no_journey, not_live, no_event, before_deploy, where, condition,
    no_key, active, again, limit, api, erased, unknown, or later (they entered it after the moment asked for). `at`: of the event
    looked at, or of that entry."""

    journey: str
    reason: str
    detail: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A hold on the customer that is open now, and the tiers that it pauses."""

    name: str
    key: str
    pause: tuple[str, ...]
    opened_at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Merge:
    """Another customer who became part of this one. `cause`: identify, alias, email, phone or command · `names`: the identifiers
    that came with it, (kind, value), as long as it can be undone · `undone_at`: they are two again since then."""

    id: int
    at: datetime
    cause: str
    gone: int
    names: tuple[tuple[str, str], ...]
    undone_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """A segment that the customer is in. `cause`: event (`event` is its name), time, or definition (it was deployed later)."""

    segment: str
    since: datetime
    cause: str
    event: str | None


@dataclass(frozen=True, slots=True)
class StageMove:
    """A stage of the customer, and why they came to it (see `Membership`). `until` None: they are in it."""

    stage: str
    previous: str | None
    since: datetime
    until: datetime | None
    cause: str
    event: str | None


@dataclass(frozen=True, slots=True)
class Why:
    """Everything about one customer (or the part of one journey). `identifiers`: (kind, value) · `zone`: IANA, the customer's or
    policy's; `own_zone`: whether it is the customer's; `unusable_zone`: what they have as theirs, where that names none · `at`:
    the moment that it tells of, logical time; `past`: whether that is one that was asked for, and not the present. `erased`,
    `restricted`, `objected` and `merges` (oldest first) are the present's. `segments`: only of the present. `stages`, the newest
    first."""

    customer: int
    identifiers: tuple[tuple[str, str], ...]
    zone: str
    own_zone: bool
    at: datetime
    erased: bool
    restricted: bool
    holds: tuple[OpenHold, ...]
    passages: tuple[Passage, ...]
    absences: tuple[Absence, ...]
    past: bool = False
    merges: tuple[Merge, ...] = ()
    segments: tuple[Membership, ...] = ()
    stages: tuple[StageMove, ...] = ()
    objected: bool = False
    unusable_zone: str | None = None

    def to_json(self) -> dict[str, Json]:
        """For machines: the same fields, moments as ISO text."""
        return {k: plain(v) for k, v in asdict(self).items()}


def plain(value: Any) -> Json:
    """A value of the story as JSON has it."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.isoformat() if isinstance(value, datetime) else value
