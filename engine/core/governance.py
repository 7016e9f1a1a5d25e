"""`decide(policy, facts, message, now) -> Verdict`: every gate, in order, each with its reason."""

from __future__ import annotations

from datetime import datetime

from engine.core.facts import Facts, Message, Verdict
from engine.core.policy import Policy


def decide(policy: Policy, facts: Facts, message: Message, now: datetime) -> Verdict:
    """What the gates say of `message` at `now`."""
    raise NotImplementedError
