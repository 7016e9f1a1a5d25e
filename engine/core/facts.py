"""What `governance.decide` looks at and what it answers: facts of one customer, one message, one verdict.

Frozen values without I/O. All datetimes are aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from engine.core.plan import Window


@dataclass(frozen=True, slots=True)
class ConsentFact:
    """One recorded statement. `topic` None means the whole channel; `channel` "*" means every channel. `cleared`: it ends a
    withdrawal of exactly this breadth, and takes back consents of before (`core.consent`). `until`: when it ends; a withdrawal
    that ends is a snooze. `source`: how it was said, `wording`: the version of the text agreed to; "" unknown."""

    channel: str
    topic: str | None
    state: Literal["granted", "withdrawn", "pending", "cleared"]
    at: datetime
    source: str = ""
    until: datetime | None = None
    version: int = 0
    wording: str = ""


@dataclass(frozen=True, slots=True)
class HoldFact:
    """A hold that this customer has or had, or that is on channels for everybody. `until`: opening plus `at_most`. `closed_at`
    None while it is open. `channels`: only messages on these (empty: on all). `why`: in words, of one that no journey or event
    opened."""

    name: str
    pause: tuple[str, ...]
    opened_at: datetime
    until: datetime
    closed_at: datetime | None = None
    channels: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class PauseFact:
    """An operator pauses or paused the journey or this enrollment. `name`: which of them · `resumed_at` None: it is paused ·
    `why`: what the operator said."""

    name: str
    paused_at: datetime
    resumed_at: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class SlotFact:
    """A message that uses up caps: reserved, handed over, sent or of unknown outcome. `at`: when it took its slot. `tags`: those
    that it was sent with. `charged`: the channels on which the same send has taken slots before: caps that counted those don't
    count this one."""

    tier: str
    channel: str
    topic: str | None
    journey: str
    at: datetime
    tags: tuple[str, ...] = ()
    charged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CapFact:
    """What one of policy's caps is to this customer. `concerned`: they are in one of its segments, if it has any. `segment`: the
    first of its `limits` that they are in. `own`: the limit that they chose; `unusable`: what they chose is no number."""

    concerned: bool = True
    segment: str | None = None
    own: float | None = None
    unusable: bool = False


@dataclass(frozen=True, slots=True)
class PlannedFact:
    """Another send of this customer that has been registered: one that time alone will reach at `due`, or (`waiting`) a message
    that the gates deferred and that may go from `due` on. It may take a slot before the message that is decided does.

    `enrollment` and `entered_at` place it among those of its tier (0 and None: unknown, it comes after them). `planned_at`: when
    its step was or will be reached, None: at `due`. `address` None: its channel can't reach the customer. `suppressed`: why
    that address must not be used. `charged`: as of `SlotFact`."""

    tier: str
    channel: str
    topic: str | None
    journey: str
    due: datetime
    enrollment: int = 0
    entered_at: datetime | None = None
    waiting: bool = False
    planned_at: datetime | None = None
    expires_at: datetime | None = None
    window: Window | None = None
    address: str | None = ""
    suppressed: str | None = None
    tags: tuple[str, ...] = ()
    charged: tuple[str, ...] = ()


Aside = tuple[tuple[datetime, int], ...]
"""Slots that are set aside: when, and how many then."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything `decide` may know about one customer, read in one transaction.

    `zone`: the customer's own IANA zone or None. `address`: where the channel would send, None if it can't.
    `suppressed`: why the address must not be used, None if it may. `soft_opt_in_at`: channel → when the event that
    gives soft opt-in last occurred. `queue`: enrollment → when its send of `planned` will go (`queue.moments`), where that has
    been worked out already. `quiet`: one flag per `policy.quiet_hours`, whether its condition holds. `caps`: one per
    `policy.caps`; where it is missing, the cap is what policy says for everybody. `customer`: the id, by which `policy.jitter`
    tells people apart. `aside`, where so many are registered that nobody keeps them all with a decision: in place of `planned`
    and `queue`, what they leave set aside before the message, one per `policy.caps`.
    """

    live: bool = True
    ended_reason: str | None = None
    known: bool = True
    erased: bool = False
    restricted: bool = False
    zone: str | None = None
    address: str | None = None
    suppressed: str | None = None
    consents: tuple[ConsentFact, ...] = ()
    soft_opt_in_at: tuple[tuple[str, datetime], ...] = ()
    holdout: str | None = None
    holds: tuple[HoldFact, ...] = ()
    slots: tuple[SlotFact, ...] = ()
    planned: tuple[PlannedFact, ...] = ()
    queue: Mapping[int, datetime | None] | None = None
    quiet: tuple[bool, ...] = ()
    caps: tuple[CapFact, ...] = ()
    customer: int = 0
    aside: tuple[Aside, ...] = ()
    pauses: tuple[PauseFact, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message before the gates. `planned_at`: when its step was reached (logical). `expires_at` None: never expires.
    `holdout` in facts names the holdout that the customer is in. `reserved`: it holds its cap slot already (a retry).
    `enrollment` and `entered_at` place it among those of its tier (0 and None: unknown). `charged`: as of `SlotFact`."""

    journey: str
    step: str
    template: str
    channel: str
    tier: str
    planned_at: datetime
    topic: str | None = None
    expires_at: datetime | None = None
    window: Window | None = None
    reserved: bool = False
    enrollment: int = 0
    entered_at: datetime | None = None
    tags: tuple[str, ...] = ()
    charged: tuple[str, ...] = ()


GATES = (
    "live",
    "customer",
    "journey",
    "expires",
    "reachable",
    "suppression",
    "consent",
    "holdout",
    "hold",
    "quiet_hours",
    "cap",
)
"""The gates by number, 0 to 10, as `semantics.md` lists them (gate 9 is the send window and quiet hours)."""

Answer = Literal["pass", "skip", "defer", "drop"]


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What one gate said. `rule` names the policy rule or fact; `detail` is a sentence for people; `until` only with defer.
    `certain`: only the passing of time can free it (quiet hours, window), not an event (a hold's release, a freed slot)."""

    gate: str
    answer: Answer
    rule: str = ""
    detail: str = ""
    until: datetime | None = None
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """allow, defer until `until`, or drop. `reason`: the gate that decided ("" on allow; "expired" where waiting outlived the
    message). `rule`: the one rule that stands in the way. `earliest`: when it would pass, if only time passes."""

    decision: Literal["allow", "defer", "drop"]
    gates: tuple[GateAnswer, ...]
    reason: str = ""
    rule: str = ""
    until: datetime | None = None
    earliest: datetime | None = None
    detail: str = field(default="")
