"""One message before the gates: policy, facts and the zone that its local times are read in, worked out once.

The gates read a `Case` and never write one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from engine.core import clock
from engine.core.facts import Facts, Message, PlannedFact
from engine.core.policy import Policy, Tier


@dataclass(frozen=True, slots=True)
class Case:
    """What every gate looks at. `zone`: the customer's own, else policy's, else UTC.

    `zone_rule` and `zone_problem` (a sentence) say why `zone` must not be trusted for quiet hours; empty where it may.
    `ahead`: what goes before the message and when, as `queue.ahead` works it out."""

    policy: Policy
    facts: Facts
    message: Message
    tier: Tier
    zone: ZoneInfo
    zone_rule: str = ""
    zone_problem: str = ""
    ahead: tuple[tuple[PlannedFact, datetime], ...] = ()


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
