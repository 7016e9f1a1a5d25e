"""The project's rules for messages, as `policy.yaml` says them: tiers, caps, holds, quiet hours, consent, senders.

Pure values. `governance.decide` applies them; the store and intake read names and windows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.core.clock import Duration
from engine.core.wire import Json, digest, dump, load

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
class Cap:
    """At most `limit` messages per window. None or empty filters match everything.

    `per` is "day", "week" (from Monday) or "month" (calendar, customer's zone), or "rolling" with `rolling` as length."""

    name: str
    limit: int
    per: Literal["day", "week", "month", "rolling"]
    rolling: Duration | None = None
    tiers: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    journeys: tuple[str, ...] = ()


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
class QuietHours:
    """No sends between local `start` and `end` ("HH:MM", may pass midnight) on `channels` (empty: all), on `days` (of the start;
    empty: all), where `condition` holds (None: always)."""

    start: str
    end: str
    channels: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class SoftOptIn:
    """Consent that follows from event `after`, for these `topics` only."""

    after: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConsentRule:
    """What a channel assumes where nobody said anything."""

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
class Holdout:
    """A share of all customers that gets nothing of `tiers`."""

    name: str
    share: float
    tiers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """All of `policy.yaml`. `tiers` are highest first. `timezone`: for customers without one. `unknown_timezone`: channel →
    "drop"."""

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
