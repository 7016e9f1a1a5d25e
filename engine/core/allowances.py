"""How many messages a cap allows one customer, and whose limit that is: policy's, a segment's, or the customer's own. Pure.

Where it is in doubt who the customer is, what policy says for everybody counts, and a cap for a segment concerns everybody.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.core.facts import CapFact
from engine.core.policy import Cap


class Allowance(NamedTuple):
    """`limit` messages per window. `whose`: in words, "" where it is simply what policy says."""

    limit: int
    whose: str = ""


def allowance(rule: Cap, fact: CapFact | None) -> Allowance | None:
    """What `rule` allows the customer of `fact` (None: nobody looked). None where the cap doesn't concern them.

    The customer's own limit lowers it, and raises it at most to `own_up_to`; one that is no number, or below nothing, is left
    aside. A part of a message is none: 1.5 is 1."""
    if fact is None:
        return Allowance(rule.limit)
    if not fact.concerned:
        return None
    special = next((one.limit for one in rule.limits if one.segment == fact.segment), None)
    base, name = (rule.limit, "policy's limit") if special is None else (special, f"the limit for {fact.segment}")
    plain = Allowance(base, "" if special is None else name)
    if fact.unusable or (fact.own is not None and not fact.own >= 0):
        return Allowance(base, f"{name}: the customer's own is no number of messages")
    if fact.own is None:
        return plain
    top = max(base, rule.own_up_to or 0)
    if fact.own > top:
        above = name if top == base else "the most that policy lets a customer choose"
        return Allowance(top, f"{above}: the customer's own is higher")
    own = int(fact.own)
    return plain if own == base else Allowance(own, f"the customer's own limit; {name} is {base}")


def most(rule: Cap) -> int:
    """The most that `rule` allows anybody."""
    return max(rule.limit, rule.own_up_to or 0, *(one.limit for one in rule.limits))
