"""One message before the gates: policy, facts and the zone that its local times are read in, worked out once.

The gates read a `Case` and never write one.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from engine.core import clock
from engine.core.facts import Facts, Message
from engine.core.policy import Policy, Tier
from engine.core.tally import Book
from engine.core.wire import share


@dataclass(frozen=True, slots=True)
class Case:
    """What every gate looks at. `zone`: the customer's own, else policy's, else UTC.

    `zone_rule` and `zone_problem` (a sentence) say why `zone` must not be trusted for quiet hours; empty where it may.
    `book`: what takes slots before the message does, as `queue.ahead` works it out; None: what has taken its slot already.
    `turn`: the customer's own part of policy's `jitter`, in [0, 1), the same for all their messages, so that those keep their
    order."""

    policy: Policy
    facts: Facts
    message: Message
    tier: Tier
    zone: ZoneInfo
    zone_rule: str = ""
    zone_problem: str = ""
    book: Book | None = None
    turn: float = 0.0


def open_case(policy: Policy, facts: Facts, message: Message) -> Case:
    """The case of `message`. A tier that policy no longer has skips nothing.

    A zone that doesn't exist is a problem for the gates to tell, not an error."""
    tier = next((t for t in policy.tiers if t.name == message.tier), None) or Tier(message.tier)
    turn = share("jitter", str(facts.customer)) if policy.jitter is not None else 0.0
    name, must_know = facts.zone or policy.timezone, (policy.unknown_timezone or {}).get(message.channel) == "drop"
    rule = problem = ""
    try:
        zone = clock.zone(name)
    except ValueError:
        zone, rule = _fallback(policy), "invalid_timezone"
        problem = f"The time zone {name!r} does not exist, so quiet hours cannot be evaluated."
    if must_know and (problem or not facts.zone):  # a zone that doesn't exist isn't known either
        rule = "unknown_timezone"
        problem = f"The customer's time zone is not known, and {message.channel} must not guess it."
    return Case(policy, facts, message, tier, zone, rule, problem, turn=turn)


def _fallback(policy: Policy) -> ZoneInfo:
    try:
        return clock.zone(policy.timezone)
    except ValueError:
        return clock.zone("UTC")
