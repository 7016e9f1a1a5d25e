"""The project's rules for messages, as `policy.yaml` says them: tiers, caps, holds, quiet hours, consent, senders.

Pure values. `governance.decide` applies them; the store and intake read names and windows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.core.clock import Duration
from engine.core.wire import SPARSE, Json, digest, dump, load

Skip = Literal["consent", "caps", "quiet_hours", "holds"]


@dataclass(frozen=True, slots=True)
class Tier:
    """A rung of the hierarchy. `skip`: gates that it passes. `only`: globs of templates that may claim it (empty: all).
    `expires`: default validity of a message, None: never."""

    name: str
    skip: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    expires: Duration | None = None


@dataclass(frozen=True, slots=True)
class SegmentLimit:
    """Another limit of a cap, for members of a segment."""

    segment: str
    limit: int


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` messages per window. None or empty filters match everything; of several `tags` one is enough.

    `per` is "day", "week" (from Monday) or "month" (calendar, customer's zone), or "rolling" with `rolling` as length.
    `gap`: it is written as the least time between two messages, which is one per window of that length. `segments`: whom it
    concerns. `limits`: the first whose segment the customer is in counts instead of `limit`. `own_limit`: an expression that
    gives the limit that a customer chose for themselves, which counts where it is lower, or higher up to `own_up_to`."""

    name: str
    limit: int
    per: Literal["day", "week", "month", "rolling"]
    rolling: Duration | None = None
    tiers: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    journeys: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    limits: tuple[SegmentLimit, ...] = ()
    own_limit: str | None = None
    own_up_to: int | None = None
    gap: bool = False


@dataclass(frozen=True, slots=True)
class HoldRule:
    """Opens with an enrollment in journey `while_in`, or with event `opens` (closing with event `closes`, told apart by
    `key`)."""

    name: str
    pause: tuple[str, ...]
    at_most: Duration
    while_in: str | None = None
    opens: str | None = None
    closes: str | None = None
    key: str | None = None
    where: str | None = None


@dataclass(frozen=True, slots=True)
class DayOff:
    """The local days from `first` to `last`, both included: "2026-12-25", or "12-25" for each year, where `last` may lie in the
    year after. `name` is for people."""

    first: str
    last: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """No sends between local `start` and `end` ("HH:MM", may pass midnight; both "" where only days off count) on `channels`
    (empty: all), on `days` (of the start; empty: all), where `condition` holds (None: always). Nor on any of `days_off`, from
    their first moment to their last: what the file `calendar` said when the policy was compiled."""

    start: str
    end: str
    channels: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    condition: str | None = None
    calendar: str = ""
    days_off: tuple[DayOff, ...] = ()


@dataclass(frozen=True, slots=True)
class SoftOptIn:
    """Consent that follows from event `after`, for these `topics` only."""

    after: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConsentRule:
    """What a channel assumes where nobody said anything. `double_opt_in`: agreeing counts only once it is confirmed."""

    channel: str
    default: Literal["none", "granted"] = "none"
    soft: SoftOptIn | None = None
    double_opt_in: bool = False


@dataclass(frozen=True, slots=True)
class Sender:
    """Who a channel's messages come from; `values` holds whatever the channel reads (from, reply_to, postal_address …)."""

    channel: str
    values: Json = None


@dataclass(frozen=True, slots=True)
class Followed:
    """What of a channel's messages is followed: `clicks` on their links, `opens` of their HTML. `utm`: parameters that links get
    (name, text); `{journey}`, `{step}`, `{template}`, `{topic}`, `{tier}` and `{channel}` in a text stand for the message's."""

    channel: str
    clicks: bool = False
    opens: bool = False
    utm: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Holdout:
    """A share of all customers that gets nothing of `tiers`. Another `salt` or `name` holds out other people."""

    name: str
    share: float
    tiers: tuple[str, ...]
    salt: str = ""


@dataclass(frozen=True, slots=True)
class JourneyLimit:
    """Of one customer: at most `at_once` enrollments at the same time over `journeys` (empty: all; highest first), or at most
    `entries` in a calendar `per` of the customer's zone. `displaces`: where it is full, a higher journey ends a lower one."""

    name: str
    journeys: tuple[str, ...] = ()
    at_once: int | None = None
    entries: int | None = None
    per: Literal["day", "week", "month"] = "day"
    displaces: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is who. `identifiers`: attributes that say it beside the user id. `region`: ISO 3166 code of the country that phone
    numbers without a country code are from ("": such numbers say nothing). `merge`: what makes one of two known customers: an
    `alias` call, the same `email`, the same `phone`."""

    identifiers: tuple[str, ...] = ("email", "phone")
    region: str = ""
    merge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """All of `policy.yaml`. `tiers` are highest first. `timezone`: for customers without one. `unknown_timezone`: channel →
    "drop". `jitter`: over how long goes what quiet hours, windows, calendar caps and holds set free (None: all at once)."""

    tiers: tuple[Tier, ...]
    timezone: str = "UTC"
    uncounted: tuple[str, ...] = ()
    unknown_timezone: Json = field(default_factory=dict)
    caps: tuple[Cap, ...] = ()
    holds: tuple[HoldRule, ...] = ()
    quiet_hours: tuple[QuietHours, ...] = ()
    consent: tuple[ConsentRule, ...] = ()
    topics: tuple[str, ...] = ()
    senders: tuple[Sender, ...] = ()
    holdout: Holdout | None = None
    tags: tuple[str, ...] = ()
    jitter: Duration | None = None
    limits: tuple[JourneyLimit, ...] = ()
    identity: Identity = Identity()
    tracking: tuple[Followed, ...] = field(default=(), metadata=SPARSE)

    @property
    def urgent(self) -> tuple[str, ...]:
        """The tiers that skip caps: their messages have a lane of their own at every turn."""
        return tuple(t.name for t in self.tiers if "caps" in t.skip)

    def tier(self, name: str) -> Tier:
        """The tier called `name`; KeyError if policy has none such."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)

    def wants_confirmation(self, channel: str) -> bool:
        """Whether agreeing to messages on `channel` ("*": on every channel) must be confirmed before it counts."""
        return any(rule.double_opt_in and channel in (rule.channel, "*") for rule in self.consent)

    def rank(self, name: str) -> int:
        """0 for the highest tier; a tier that policy no longer has ranks last."""
        return next((i for i, t in enumerate(self.tiers) if t.name == name), len(self.tiers))


def policy_to_json(policy: Policy) -> Json:
    """The policy as JSON values."""
    return dump(policy)


def policy_from_json(body: Json) -> Policy:
    """The policy that `policy_to_json` wrote."""
    return load(Policy, body)


def policy_hash(policy: Policy) -> str:
    """The policy's content hash, which every decision names."""
    return digest(policy_to_json(policy))
