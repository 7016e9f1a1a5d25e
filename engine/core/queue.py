"""Who goes first: the registered sends of one customer in one total order, and the slot that each of them will take.

Higher tiers come first also when they come later; within a tier the earlier enrollment does, then the lower id. Rules:
`semantics.md`, "Caps". Nothing here reserves: a message that may go goes when it is decided, with what is ahead of it set aside.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
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

Taken = tuple[PlannedFact, datetime]
"""A registered send and when it will take its slot."""

_LAST = datetime.max.replace(tzinfo=UTC)


def place(policy: Policy, one: PlannedFact | Message) -> Place:
    """Where `one` stands in the order. An enrollment that isn't known comes after those that are."""
    return policy.rank(one.tier), one.entered_at or _LAST, one.enrollment


def ahead(case: Case, now: datetime) -> tuple[Taken, ...]:
    """What takes a slot before the message of `case` gets one, in order. Its own enrollment's registration is the message itself.

    `facts.queue`, where it is there, says when each will go; else that is worked out here."""
    policy, facts, message = case.policy, case.facts, case.message
    others = [p for p in facts.planned if p.enrollment != message.enrollment or not message.enrollment]
    before = [p for p in others if _before(policy, p, message, now)]
    if facts.queue is None:
        return tuple((p, at) for p, at in moments(policy, facts, before, now) if at is not None)
    found = [(p, facts.queue.get(p.enrollment)) for p in sorted(before, key=lambda p: place(policy, p))]
    return tuple((p, at) for p, at in found if at is not None)


def moments(
    policy: Policy, facts: Facts, registered: Iterable[PlannedFact], now: datetime
) -> list[tuple[PlannedFact, datetime | None]]:
    """Each of `registered` in order, the i-th with the i-th free slot: the moment at which it will go if only time passes.

    None for what would not pass consent, reach, suppression or holds now, for what expires before a slot is free, and for what
    uses no slot up: they set nothing aside. The same moments as `decide` gives them."""
    found: list[tuple[PlannedFact, datetime | None]] = []
    taken: list[Taken] = []
    last: dict[Hashable, tuple[datetime, datetime]] = {}
    by_journey, by_tag = any(cap.journeys for cap in policy.caps), any(cap.tags for cap in policy.caps)
    # Holds and calendars free at the planned time of day; a spread asks how long it waited, and ends where the message does.
    by_plan = bool(facts.holds) or any(cap.per != "rolling" for cap in policy.caps) or policy.jitter is not None
    by_end = policy.jitter is not None
    for one in sorted(registered, key=lambda p: place(policy, p)):
        if one.tier in policy.uncounted:
            found.append((one, None))
            continue
        start = max(now, one.due)
        planned = (one.planned_at or one.due) if by_plan else None
        journey, tags = one.journey if by_journey else "", one.tags if by_tag else ()
        ends = one.expires_at if by_end else None
        alike = (one.tier, one.channel, one.topic, journey, tags, one.window, planned, ends)
        began, went = last.get(alike, (start, start))
        first = tuple(t for t in taken if _before(policy, t[0], one, now))
        at = _moment(policy, facts, one, first, now, went if began <= start else start)
        found.append((one, at))
        if at is not None:
            taken.append((one, at))
            last[alike] = (start, at)
    return found


def _before(policy: Policy, one: PlannedFact, other: PlannedFact | Message, now: datetime) -> bool:
    """Whether `one` gets its slot before `other`: of higher tiers all that is registered, of the same tier what entered earlier
    and waits already or is due."""
    mine, theirs = place(policy, one), place(policy, other)
    return mine[0] < theirs[0] or (mine < theirs and (one.waiting or one.due <= now))


def _moment(
    policy: Policy, facts: Facts, one: PlannedFact, taken: tuple[Taken, ...], now: datetime, earliest: datetime
) -> datetime | None:
    """`earliest`: before that there is no room for it (one that is treated alike and goes first found none)."""
    if one.address is None or one.suppressed is not None:
        return None
    case = replace(open_case(policy, facts, _message(one)), ahead=taken)
    held = hold(case, now)
    if held.answer == "defer" and not held.certain:
        return None
    start = max(now, one.due)
    try:
        if any(gate(case, start).answer == "drop" for gate in (consent, quiet_hours, cap)):
            return None
        at, _, _ = settle(case, max(start, earliest))
    except (ValueError, OverflowError):  # beyond what a calendar can say
        return None
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
        tags=one.tags,
    )
