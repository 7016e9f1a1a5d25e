"""A journey, compiled: numbered operations, the events it cares about, a format number and a content hash.

A plan is immutable and addressed by its hash. It holds conditions and templates as source text and never evaluates
them: `interpreter.advance` walks the operations, the activities answer what a condition says. An operation falls
through to the next number unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from engine.core.clock import Duration
from engine.core.wire import SPARSE, Json, digest, dump, load

EARLIER = timedelta(minutes=1)
"""By how much a provider's clock may be behind ours, or cut to whole seconds: what is told of a message may seem to have occurred
so long before it was handed over."""

FORMAT = 1
"""The order and meaning of operations. A worker executes every format that a live enrollment still needs."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time as written: exactly one of `after`, `time_of_day`, `expression` is set.

    `after` counts from the step's start; `time_of_day` ("09:00") is the next one strictly after the step's start, on one of
    `days` ("mon" … "sun", empty: every day); `expression` gives a date or a moment from data. `offset` (signed) is added,
    `jitter` spreads over [0, jitter) by a stable hash. `timezone` is "customer" or an IANA name.
    """

    after: Duration | None = None
    time_of_day: str | None = None
    expression: str | None = None
    days: tuple[str, ...] = ()
    timezone: str = "customer"
    offset: Duration | None = None
    jitter: Duration | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep until `until`. `on_past` says what a moment that is already over does: `run` goes on, `skip` jumps to
    `skip_to` (behind the `then` block), `exit` leaves with reason `past`. No moment at all: exit `no_date`.
    `follows`: customer attributes whose change re-plans the wait."""

    step: str
    until: Moment
    condition: str | None = None
    on_past: Literal["run", "skip", "exit"] = "run"
    skip_to: int = -1
    follows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alternative:
    """One thing that a `wait_for` waits for. `event` with `where`, or `segment` (membership), or `condition`.

    `correlate`: the event must carry the entry's value of the plan's `key`. `target`: the operation to go on with. `message`: a
    step of this plan; the event must be about a message that it sent in this very enrollment."""

    target: int
    event: str | None = None
    where: str | None = None
    correlate: bool = False
    segment: str | None = None
    condition: str | None = None
    message: str | None = field(default=None, metadata=SPARSE)


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Wait for the first of `alternatives` in order of `occurred_at`, else go to `on_timeout` when `timeout` is over."""

    step: str
    alternatives: tuple[Alternative, ...]
    timeout: Moment
    on_timeout: int
    condition: str | None = None
    since: Literal["entry", "step"] = "entry"
    skip_to: int = -1


@dataclass(frozen=True, slots=True)
class Window:
    """Local send window: `start` and `end` are "HH:MM" (it may pass midnight); `days` empty means every day."""

    start: str
    end: str
    days: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Send:
    """One message through all gates. `channels`: the first and its fallbacks, in order; an attempt is an index into it.

    `values` is what `with` says: JSON whose strings may be `{{ }}` templates. `expires` None means the tier's default. `tags`:
    the journey's and its own, for caps. `followed`: links and opens, where policy follows those of its channel."""

    step: str
    channels: tuple[str, ...]
    template: str
    tier: str
    topic: str | None = None
    condition: str | None = None
    values: Json = None
    on_defer: Literal["wait", "skip", "exit"] = "wait"
    expires: Duration | None = None
    window: Window | None = None
    tags: tuple[str, ...] = ()
    followed: bool = field(default=True, metadata=SPARSE)


@dataclass(frozen=True, slots=True)
class Arm:
    """A way out of a branch: the first arm whose `condition` holds is taken."""

    condition: str
    target: int


@dataclass(frozen=True, slots=True)
class Branch:
    """First true of `arms`, else `otherwise` (an operation number)."""

    step: str
    arms: tuple[Arm, ...]
    otherwise: int
    condition: str | None = None
    skip_to: int = -1


@dataclass(frozen=True, slots=True)
class SplitArm:
    """An arm of a split; `weight` is relative to the sum of the weights."""

    name: str
    weight: float
    target: int


@dataclass(frozen=True, slots=True)
class Split:
    """Deterministic by a hash of (journey, `name`, customer). `holdout` in [0, 1] goes to `skip_to`, after the split."""

    step: str
    name: str
    arms: tuple[SplitArm, ...]
    holdout: float = 0.0
    condition: str | None = None
    skip_to: int = -1


@dataclass(frozen=True, slots=True)
class Act:
    """`set`, `task`, `call`, `emit` or `start`; `fields` is what was written under it, JSON with `{{ }}` templates.

    set: {"customer.x": v, "vars.y": v} · task: {queue, title, body, due, assignee, once_per} ·
    call: {method, url, json, headers, into, timeout, on_error} · emit: {event, with, to} · start: {journey, with}.
    Durations inside `fields` (`due`, `timeout`) are the text as written ("1d")."""

    step: str
    verb: Literal["set", "task", "call", "emit", "start"]
    fields: Json
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """The head of a `repeat`: goes to `done` after `times` rounds or when `until` holds, else falls through.

    The body ends in a `Jump` back to the head; `every` is compiled as a `Wait` at the end of the body."""

    step: str
    times: int
    done: int
    until: str | None = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Jump:
    """Go on at `target`."""

    target: int


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave with `reason`. Falling off the end of a plan leaves with reason `completed`."""

    step: str
    reason: str
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class NextChannel:
    """Behind the wait for the delivery of a send: it didn't arrive. Go back to the operation `send` with its next channel; behind
    the last one fall through."""

    send: int


Op = Wait | WaitFor | Send | Branch | Split | Act | Loop | Jump | Exit | NextChannel


@dataclass(frozen=True, slots=True)
class Entry:
    """A way in. Kind `event` (name in `event`) or `api`; other kinds keep their fields in `options`.

    `key` names the event property that tells enrollments apart. `again` is "never", "always" or a Duration's text in
    `again_after`. `while_active` says what the same key does while it runs."""

    kind: Literal["event", "api", "segment", "schedule", "date", "broadcast"]
    event: str | None = None
    where: str | None = None
    condition: str | None = None
    key: str | None = None
    again: Literal["never", "always", "after"] = "always"
    again_after: Duration | None = None
    while_active: Literal["ignore", "restart", "parallel"] = "ignore"
    once_per: str | None = None
    options: Json = None


@dataclass(frozen=True, slots=True)
class ExitRule:
    """Ends an enrollment at once: an `event` with `where`, or a `condition`. `reason` is the event's name or "condition"."""

    reason: str
    event: str | None = None
    where: str | None = None
    correlate: bool = False
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """What counts as success, at most once per enrollment, also after its end while `within` lasts (from entry)."""

    event: str
    where: str | None = None
    correlate: bool = False
    within: Duration | None = None
    value: str | None = None
    exit: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled journey. `holdout` in [0, 1], divided under `holdout_salt`. `key` is the entry key property or None.
    `starts`/`ends` bound new entries (ISO text, aware)."""

    journey: str
    tier: str
    ops: tuple[Op, ...]
    entries: tuple[Entry, ...]
    exits: tuple[ExitRule, ...] = ()
    goal: Goal | None = None
    key: str | None = None
    holdout: float = 0.0
    status: Literal["draft", "live", "closed"] = "live"
    summary: str = ""
    owner: str = ""
    starts: str | None = None
    ends: str | None = None
    format: int = FORMAT
    hash: str = field(default="", compare=False)
    holdout_salt: str = ""

    def events(self) -> frozenset[str]:
        """Every event name that intake must look at for this plan."""
        names = {e.event for e in self.entries} | {x.event for x in self.exits}
        if self.goal:
            names.add(self.goal.event)
        for op in self.ops:
            if isinstance(op, WaitFor):
                names |= {a.event for a in op.alternatives}
        return frozenset(n for n in names if n)

    def step_at(self, op: int) -> str | None:
        """The step at an operation; None where it is none of an author's, or behind the last."""
        return getattr(self.ops[op], "step", None) if 0 <= op < len(self.ops) else None

    def awaits_delivery(self, send: int) -> bool:
        """Whether the send at this operation goes on with its next channel where it isn't delivered."""
        return self.ops[send + 2 : send + 3] == (NextChannel(send),)


def plan_to_json(plan: Plan) -> Json:
    """The plan as JSON values, without its hash."""
    body = dump(plan)
    assert isinstance(body, dict)
    body.pop("hash")
    if not plan.holdout_salt:  # a plan without one keeps the hash that it had before there were any
        body.pop("holdout_salt")
    return body


def plan_from_json(body: Json) -> Plan:
    """The plan that `plan_to_json` wrote, its hash computed afresh. Raises ValueError on a format this code can't run."""
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        found = body.get("format") if isinstance(body, dict) else body
        raise ValueError(f"plan format {found!r} is not one this version can execute (it knows {FORMAT})")
    return load(Plan, {**body, "hash": digest(body)})


def sealed(plan: Plan) -> Plan:
    """The same plan with its content hash filled in."""
    return plan_from_json(plan_to_json(plan))
