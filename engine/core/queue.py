"""Who goes first: the registered sends of one customer in one total order, and the slot that each of them will take.

Higher tiers come first also when they come later; within a tier the earlier enrollment does, then the lower id. Rules:
`semantics.md`, "Caps". Nothing here reserves: a message that may go goes when it is decided, with what is ahead of it set aside.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from engine.core.caps import cap, open_book
from engine.core.case import Case, open_case
from engine.core.consent import consent
from engine.core.facts import Facts, Message, PlannedFact, SlotFact
from engine.core.holds import hold
from engine.core.hours import quiet_hours
from engine.core.policy import Policy
from engine.core.settling import settle
from engine.core.tally import Book

Place = tuple[int, datetime, int]
"""Rank of the tier, when the enrollment began, its id: the lowest goes first."""

_LAST = datetime.max.replace(tzinfo=UTC)


def place(policy: Policy, one: PlannedFact | Message) -> Place:
    """Where `one` stands in the order. An enrollment that isn't known comes after those that are."""
    return policy.rank(one.tier), one.entered_at or _LAST, one.enrollment


def ahead(case: Case, now: datetime) -> Book:
    """The slots that are taken, or set aside, before the message of `case` gets one. Its own enrollment's registration is the
    message itself.

    `facts.queue`, where it is there, says when each will go; else that is worked out here."""
    policy, facts, message = case.policy, case.facts, case.message
    if isinstance(facts.queue, Line):
        return facts.queue.before(message, facts, now)
    if facts.aside:
        book = open_book(policy, facts.slots, case.zone)
        book.set_aside(facts.aside)
        return book
    if not facts.planned:
        return open_book(policy, facts.slots, case.zone)
    others = [p for p in facts.planned if p.enrollment != message.enrollment or not message.enrollment]
    before = [p for p in others if _before(policy, p, message, now)]
    if facts.queue is None:
        found: Iterable[tuple[PlannedFact, datetime | None]] = moments(policy, facts, before, now)
    else:
        found = [(p, facts.queue.get(p.enrollment)) for p in before]
    book = open_book(policy, facts.slots, case.zone)
    for one, at in found:
        if at is not None and one.tier not in policy.uncounted:
            book.add(one, at, aside=True)
    return book


def moments(
    policy: Policy, facts: Facts, registered: Iterable[PlannedFact], now: datetime
) -> list[tuple[PlannedFact, datetime | None]]:
    """Each of `registered` in order, the i-th with the i-th free slot: the moment at which it will go if only time passes.

    None for what would not pass consent, reach, suppression or holds now, for what expires before a slot is free, and for what
    uses no slot up: they set nothing aside. The same moments as `decide` gives them."""
    found: list[tuple[PlannedFact, datetime | None]] = []
    last: dict[Hashable, tuple[datetime, datetime]] = {}
    by_journey, by_tag = any(cap.journeys for cap in policy.caps), any(cap.tags for cap in policy.caps)
    # Holds and calendars free at the planned time of day; a spread asks how long it waited, and ends where the message does.
    by_plan = bool(facts.holds) or any(cap.per != "rolling" for cap in policy.caps) or policy.jitter is not None
    by_end = policy.jitter is not None
    line = _Walk(policy, open_book(policy, facts.slots, _zone(policy, facts)), now)
    for one in sorted(registered, key=lambda p: place(policy, p)):
        line.reach(policy.rank(one.tier))
        if one.tier in policy.uncounted:
            found.append((one, None))
            continue
        start = max(now, one.due)
        planned = (one.planned_at or one.due) if by_plan else None
        journey, tags = one.journey if by_journey else "", one.tags if by_tag else ()
        ends = one.expires_at if by_end else None
        alike = (one.tier, one.channel, one.topic, journey, tags, one.window, planned, ends, one.charged)
        began, went = last.get(alike, (start, start))
        at = _moment(policy, facts, one, line.book, now, went if began <= start else start)
        found.append((one, at))
        if at is not None:
            line.set_aside(one, at)
            last[alike] = (start, at)
    return found


class _Walk:
    """Along the queue: `book` has what goes before whoever is reached. What isn't due yet goes before lower tiers only."""

    def __init__(self, policy: Policy, book: Book, now: datetime) -> None:
        self.book, self._now = book, now
        self._rank = -1
        self._later: list[tuple[PlannedFact, datetime]] = []

    def reach(self, rank: int) -> None:
        """Somebody of the tier with this rank is next."""
        if rank != self._rank:
            for one, at in self._later:
                self.book.add(one, at, aside=True)
            self._rank, self._later = rank, []

    def set_aside(self, one: PlannedFact, at: datetime) -> None:
        """Whoever was reached will take its slot at `at`."""
        if one.waiting or one.due <= self._now:
            self.book.add(one, at, aside=True)
        else:
            self._later.append((one, at))


class Line(Mapping[int, datetime | None]):
    """The queue of one customer, worked out once for many messages that are decided one after the other: enrollment → when its
    send will go. Quick where they are decided in the order of the queue.

    Whoever decides says what became of each (`stays`, `leaves`, `goes`)."""

    def __init__(self, policy: Policy, facts: Facts, registered: Iterable[PlannedFact], now: datetime) -> None:
        self._policy, self._now = policy, now
        self._all: list[tuple[Place, PlannedFact, datetime | None]] = [
            (place(policy, p), p, at) for p, at in moments(policy, facts, registered, now)
        ]
        self._at = {p.enrollment: at for _, p, at in self._all}
        self._places = {p.enrollment: where for where, p, _ in self._all}
        self._walk: _Walk | None = None
        self._next = 0

    def __getitem__(self, enrollment: int) -> datetime | None:
        return self._at[enrollment]

    def __iter__(self) -> Iterator[int]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def registered(self) -> tuple[PlannedFact, ...]:
        """Everybody who stands in it, in order."""
        return tuple(p for _, p, _ in self._all)

    def before(self, message: Message, facts: Facts, now: datetime) -> Book:
        """What goes before `message`, which stands in the queue where its enrollment's registration does or would."""
        mine = place(self._policy, message)
        if self._walk is None or now != self._now or (self._next and self._all[self._next - 1][0] >= mine):
            self._walk = _Walk(self._policy, open_book(self._policy, facts.slots, _zone(self._policy, facts)), now)
            self._next, self._now = 0, now
        while self._next < len(self._all) and self._all[self._next][0] < mine:
            of, one, at = self._all[self._next]
            self._walk.reach(of[0])
            if at is not None and one.enrollment != message.enrollment:
                self._walk.set_aside(one, at)
            self._next += 1
        self._walk.reach(mine[0])
        return self._walk.book

    def stays(self, one: PlannedFact, at: datetime | None) -> None:
        """`one` waits, or comes, and will go at `at`."""
        self.leaves(one.enrollment)
        mine = place(self._policy, one)
        index = self._index(mine)
        self._all.insert(index, (mine, one, at))
        self._at[one.enrollment], self._places[one.enrollment] = at, mine
        if index < self._next:
            self._walk = None

    def leaves(self, enrollment: int) -> bool:
        """The registration of this enrollment is gone; whether there was one."""
        if enrollment not in self._at:
            return False
        del self._at[enrollment]
        index = self._index(self._places.pop(enrollment))
        del self._all[index]
        if index < self._next:
            self._walk = None
        return True

    def _index(self, where: Place) -> int:
        return bisect_left(self._all, where, key=lambda entry: entry[0])

    def goes(self, one: SlotFact) -> None:
        """A slot has been taken."""
        if self._walk is not None and one.tier not in self._policy.uncounted:
            self._walk.book.add(one, one.at, aside=False)


def _before(policy: Policy, one: PlannedFact, other: PlannedFact | Message, now: datetime) -> bool:
    """Whether `one` gets its slot before `other`: of higher tiers all that is registered, of the same tier what entered earlier
    and waits already or is due."""
    mine, theirs = place(policy, one), place(policy, other)
    return mine[0] < theirs[0] or (mine < theirs and (one.waiting or one.due <= now))


def _zone(policy: Policy, facts: Facts) -> ZoneInfo:
    """The zone that the customer's calendar caps are read in."""
    return open_case(policy, facts, Message("", "", "", "", "", _LAST)).zone


def _moment(policy: Policy, facts: Facts, one: PlannedFact, book: Book, now: datetime, earliest: datetime) -> datetime | None:
    """`earliest`: before that there is no room for it (one that is treated alike and goes first found none)."""
    if one.address is None or one.suppressed is not None:
        return None
    case = replace(open_case(policy, facts, _message(one)), book=book)
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
        charged=one.charged,
    )
