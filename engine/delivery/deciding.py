"""One message before the gates: what they say, the ledger's row that follows, and what of it the customer's other messages see.

No I/O: `deliver` reads before and writes after, while the customers' rows are locked; the simulator does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core.facts import Facts, Message, Verdict
from engine.core.governance import decide
from engine.core.logical import LogicalClock
from engine.core.policy import Policy
from engine.delivery import facts, rulings
from engine.delivery.draft import Draft


def address_of(attribute: str, customer: int, attributes: Mapping[str, Any]) -> str | None:
    """Where a channel would send whose addresses are in `attribute`: to that, or where it names none to the customer's own id."""
    if not attribute:
        return str(customer)
    value = attributes.get(attribute)
    return str(value) if value not in (None, "") else None


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdict, with the `facts` and the `message` that it was given on, `at` that moment."""

    verdict: Verdict
    facts: Facts
    message: Message
    at: datetime


def decided(
    clock: LogicalClock,
    draft: Draft,
    case: facts.Case,
    policy: Policy,
    person: Any,
    zone: str | None,
    quiet: tuple[bool, ...],
    moment: datetime,
) -> Decided:
    """All gates for one draft, whose address is known. `person`: the customer (a row with `id`, `attributes` and how they stand);
    `zone`: their own; `quiet`: one flag per quiet hours of policy."""
    rulings.let_old_slot_go(clock, draft, case.known, moment)
    known = facts.of(draft, case, policy, person, zone, quiet, moment)
    at = max([moment, *(s.at for s in known.slots)])
    message = draft.message()
    verdict = decide(policy, known, message, at)
    if verdict.until is not None and rulings.let_old_slot_go(clock, draft, case.known, verdict.until):
        # By then its slot is of no use to it: it waits for one in the queue, before whoever is lower.
        known, message = facts.of(draft, case, policy, person, zone, quiet, moment), draft.message()
        verdict = decide(policy, known, message, at)
    draft.verdict = verdict
    return Decided(verdict, known, message, at)


def ruled(
    draft: Draft, made: Decided, case: facts.Case, policy: Policy, policy_hash: str, attributes: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """The row of `store.ledger.write`, the draft's outcome set where nothing is to be sent; and whether something became free for
    the customer's other messages."""
    row = rulings.verdict(draft, made.verdict, made.at, case.known, policy, policy_hash)
    if draft.slot_at is not None and not draft.reserved and row["slot_at"] == draft.slot_at:
        case.known.take(draft.customer, draft.slot(draft.slot_at))
    left = case.known.note(draft, attributes, made.at) and draft.outcome is not None
    return row, left or (draft.slot_at is not None and row["slot_at"] is None)
