"""Who is held out: a share of all customers, the same ones for as long as the salt stays. Rules: docs/language.md, "Holdouts".

A larger share keeps those whom the smaller one held out; each journey and policy divide people independently.
"""

from __future__ import annotations

from engine.core.plan import Plan
from engine.core.policy import Policy
from engine.core.wire import share


def by_journey(plan: Plan, customer: int) -> bool:
    """Whether the journey's own holdout has this customer."""
    return plan.holdout > 0 and _number(f"journey/{plan.journey}", plan.holdout_salt, customer) < plan.holdout


def by_policy(policy: Policy, customer: int) -> str | None:
    """The name of policy's global holdout where it has this customer, whichever tiers it keeps back; else None."""
    whole = policy.holdout
    if whole is None or _number(f"holdout/{whole.name}", whole.salt, customer) >= whole.share:
        return None
    return whole.name


def _number(about: str, salt: str, customer: int) -> float:
    return share(f"{about}/{salt}" if salt else about, str(customer))
