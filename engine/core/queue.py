"""Who goes first: the registered sends of one customer in one total order, and the slot that each of them will take.

Higher tiers come first also when they come later; within a tier the earlier enrollment does, then the lower id. Rules:
`semantics.md`, "Caps". Nothing here reserves: a message that may go goes when it is decided, with what is ahead of it set aside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from engine.core.caps import cap
from engine.core.case import Case, open_case
from engine.core.consent import consent
from engine.core.facts import Facts, Message, PlannedFact
from engine.core.holds import hold
from engine.core.hours import quiet_hours
from engine.core.policy import Policy
from engine.core.settling import settle

Place = tuple[int, datetime, int]
"""Rank of the tier, when the enrollment began, its id: the lowest goes first."""

_LAST = datetime.max.replace(tzinfo=UTC)


def place(policy: Policy, one: PlannedFact | Message) -> Place:
    """Where `one` stands in the order. An enrollment that isn't known comes after those that are."""
    return policy.rank(one.tier), one.entered_at or _LAST, one.enrollment


def ahead(case: Case, now: datetime) -> tuple[tuple[PlannedFact, datetime], ...]:
    """What sets a slot aside before the message of `case` gets one, in order, with the moment at which it will take it.

    Of higher tiers all that is registered; of the message's own tier what waits already or is due. Its own enrollment's
    registration is the message itself."""
    policy, message = case.policy, case.message
    mine = place(policy, message)
    first = [
        p
        for p in case.facts.planned
        if p.enrollment != message.enrollment or not message.enrollment
        if place(policy, p)[0] < mine[0] or (place(policy, p) < mine and (p.waiting or p.due <= now))
    ]
    return tuple((p, at) for p, at in moments(policy, case.facts, first, now) if at is not None)


def moments(
    policy: Policy, facts: Facts, registered: Iterable[PlannedFact], now: datetime
) -> list[tuple[PlannedFact, datetime | None]]:
    """Each of `registered` in order, the i-th with the i-th free slot: the moment at which it will go if only time passes.

    None for what would not pass consent, reach, suppression or holds now, for what expires before a slot is free, and for what
    uses no slot up: they set nothing aside."""
    found: list[tuple[PlannedFact, datetime | None]] = []
    taken: tuple[tuple[PlannedFact, datetime], ...] = ()
    for one in sorted(registered, key=lambda p: place(policy, p)):
        at = None if one.tier in policy.uncounted else _moment(policy, facts, one, taken, now)
        found.append((one, at))
        if at is not None:
            taken = (*taken, (one, at))
    return found


def _moment(
    policy: Policy, facts: Facts, one: PlannedFact, taken: tuple[tuple[PlannedFact, datetime], ...], now: datetime
) -> datetime | None:
    if one.address is None or one.suppressed is not None:
        return None
    case = replace(open_case(policy, facts, _message(one)), ahead=taken)
    start = max(now, one.due)
    held = hold(case, now)
    if held.answer == "defer" and not held.certain:
        return None
    if any(gate(case, start).answer == "drop" for gate in (consent, quiet_hours, cap)):
        return None
    at, _, _ = settle(case, start)
    return None if at is None or (one.expires_at is not None and at >= one.expires_at) else at


def _message(one: PlannedFact) -> Message:
    return Message(
        journey=one.journey,
        step="",
        template="",
        channel=one.channel,
        tier=one.tier,
        planned_at=one.planned_at or one.due,
        topic=one.topic,
        expires_at=one.expires_at,
        window=one.window,
        enrollment=one.enrollment,
        entered_at=one.entered_at,
    )
