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


@dataclass(frozen=True, slots=True)
class Case:
    """What every gate looks at. `zone`: the customer's own, else policy's, else UTC.

    `zone_rule` and `zone_problem` (a sentence) say why `zone` must not be trusted for quiet hours; empty where it may.
    `book`: what takes slots before the message does, as `queue.ahead` works it out; None: what has taken its slot already."""

    policy: Policy
    facts: Facts
    message: Message
    tier: Tier
    zone: ZoneInfo
    zone_rule: str = ""
    zone_problem: str = ""
    book: Book | None = None


def open_case(policy: Policy, facts: Facts, message: Message) -> Case:
    """The case of `message`. A tier that policy no longer has skips nothing.

    A zone that doesn't exist is a problem for the gates to tell, not an error."""
    tier = next((t for t in policy.tiers if t.name == message.tier), None) or Tier(message.tier)
    rule = problem = ""
    if facts.zone is None and (policy.unknown_timezone or {}).get(message.channel) == "drop":
        rule = "unknown_timezone"
        problem = f"The customer's time zone is not known, and {message.channel} must not guess it."
    name = facts.zone or policy.timezone
    try:
        return Case(policy, facts, message, tier, clock.zone(name), rule, problem)
    except ValueError:
        problem = problem or f"The time zone {name!r} does not exist, so quiet hours cannot be evaluated."
        return Case(policy, facts, message, tier, _fallback(policy), rule or "invalid_timezone", problem)


def _fallback(policy: Policy) -> ZoneInfo:
    try:
        return clock.zone(policy.timezone)
    except ValueError:
        return clock.zone("UTC")
