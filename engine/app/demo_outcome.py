"""What became of the demo: figures by journey, one customer's story, one letter, and checks of what must be true.

The checks count with the ledger's and the mailbox's own rows and know nothing of how the gates decide, so that they can find the
engine wrong. Only reading and counting belong here; words for people are in `cli`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from engine.app.demo_mailbox import Letter, Mailbox
from engine.app.demo_sample import Sample
from engine.core.allowances import most
from engine.core.caps import counts
from engine.core.clock import calendar_window, zone
from engine.core.policy import Cap, Policy
from engine.core.stretches import quiet
from engine.store import outcomes
from engine.store.database import Connection, Database, transaction

SETTLED = ("sent", "deferred", "dropped")
"""What may become of a message when nothing has gone wrong."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Messages of one journey that ended alike. `reason`/`rule`: of a message that was not sent, or what one that was sent
    waited for first; "" for one sent at once."""

    journey: str
    status: str
    channel: str
    topic: str
    reason: str
    rule: str
    n: int


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of a story. `kind`: event, begun, decision, sent or ended; `properties`: of an event; `reason`,
    `rule` and `until`: of a decision."""

    at: datetime
    kind: str
    journey: str
    step: str
    subject: str
    channel: str
    topic: str
    properties: dict[str, Any] | None
    reason: str
    rule: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Story:
    """One customer's story in the live weeks; `letter`: the last one they got."""

    customer: int
    user_id: str
    name: str
    address: str
    zone: ZoneInfo
    lines: tuple[Happened, ...]
    letter: Letter | None


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must be true. `found`: what was counted."""

    what: str
    ok: bool
    found: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that the demo shows. `enrolled`: enrollments by status. `messages`: every row of the ledger, for a closer look."""

    figures: tuple[Figure, ...]
    enrolled: dict[str, int]
    story: Story | None
    checks: tuple[Check, ...]
    messages: tuple[dict[str, Any], ...]

    def count(self, status: str) -> int:
        """Messages with this status."""
        return sum(f.n for f in self.figures if f.status == status)

    @property
    def ok(self) -> bool:
        """Whether everything is as it must be."""
        return all(c.ok for c in self.checks)


async def look(database: Database, policy: Policy, sample: Sample, mailbox: Mailbox, files: Path) -> Outcome:
    """Read what became of `sample`. `files`: the folder of the channels that write files."""
    async with transaction(database) as c:
        figures = tuple(_figure(r) for r in await outcomes.counts(c))
        messages = await outcomes.messages(c)
        enrolled = await outcomes.enrolled(c)
        waiting, _ = await outcomes.settling(c)
        parked = [f"{r.journey}: {r.reason} ({r.n})" for r in await outcomes.parked(c)]
        story = await _story(c, policy, sample, mailbox)
    checks = [
        *_settled(figures, waiting, parked),
        *_delivered(messages, mailbox, files),
        *_governed(messages, policy),
    ]
    return Outcome(figures, enrolled, story, tuple(checks), tuple(dict(r._mapping) for r in messages))


def _figure(r: Any) -> Figure:
    sent = r.status == "sent"
    reason, rule = (r.waited_reason, r.waited_rule) if sent else (r.reason, r.rule)
    return Figure(r.journey, r.status, r.channel, r.topic or "", reason, rule, r.n)


def _settled(figures: Sequence[Figure], inputs: int, parked: Sequence[str]) -> Iterator[Check]:
    sent = sum(f.n for f in figures if f.status == "sent")
    yield Check("messages were sent", sent > 0, f"{sent}")
    yield Check("nobody is parked", not parked, "; ".join(parked) or "0 parked")
    yield Check("every event reached its journeys", not inputs, f"{inputs} on their way")
    odd = Counter({f.status: 0 for f in figures if f.status not in SETTLED})
    for f in figures:
        if f.status in odd:
            odd[f.status] += f.n
    yield Check("every message was sent, waits or was dropped", not odd, ", ".join(f"{n} {s}" for s, n in odd.items()) or "all")


def _delivered(messages: Sequence[Any], mailbox: Mailbox, files: Path) -> Iterator[Check]:
    """What the ledger calls sent is there, once."""
    by_channel = Counter(r.channel for r in messages if r.status == "sent")
    letters, sent = mailbox.count(), by_channel.pop("email", 0)
    yield Check("the mailbox holds what the ledger calls sent", letters == sent, f"{letters} letters, {sent} sent")
    others, written = sum(by_channel.values()), sum(1 for _ in files.rglob("*.json")) if files.is_dir() else 0
    if others or written:
        yield Check("so does the folder of the other channels", written == others, f"{written} files, {others} sent")


def _governed(messages: Sequence[Any], policy: Policy) -> Iterator[Check]:
    """Caps and quiet hours, counted from when messages were sent."""
    by_customer: dict[int, list[Any]] = defaultdict(list)
    for r in messages:
        if r.status == "sent":
            by_customer[r.customer_id].append(r)
    over = [name for rows in by_customer.values() for name in _over(rows, policy)]
    yield Check(
        "no customer got more than the caps allow", not over, ", ".join(sorted(set(over))) or f"{len(by_customer)} customers"
    )
    loud = [r.key for rows in by_customer.values() for r in rows if _in_quiet_hours(r, policy)]
    yield Check(
        "nobody was written to in quiet hours", not loud, f"{len(loud)} of {sum(map(len, by_customer.values()))} messages"
    )


def _over(rows: Sequence[Any], policy: Policy) -> Iterator[str]:
    """The caps that one customer's messages break, whoever the customer is. Those for segments only aren't looked at."""
    there = _zone(rows[0], policy)
    for cap in policy.caps:
        if cap.segments:
            continue
        moments = sorted(r.sent_at for r in rows if counts(cap, r) and r.tier not in policy.uncounted)
        for moment in moments:
            if sum(begins <= m < ends for m in moments for begins, ends in [_window(cap, moment, there)]) > most(cap):
                yield cap.name
                break


def _window(cap: Cap, moment: datetime, there: ZoneInfo) -> tuple[datetime, datetime]:
    """The window of `cap` that begins at `moment` (rolling) or holds it (calendar)."""
    if cap.per != "rolling":
        return calendar_window(moment, cap.per, there)
    length = cap.rolling
    assert length is not None
    days = length.days + 28 * length.months
    return moment, moment + timedelta(days=days, seconds=length.seconds)


def _in_quiet_hours(r: Any, policy: Policy) -> bool:
    if any(t.name == r.tier and "quiet_hours" in t.skip for t in policy.tiers):
        return False
    return any(
        quiet(rule, r.sent_at, _zone(r, policy)) is not None
        for rule in policy.quiet_hours
        if rule.condition is None
        and (not rule.channels or r.channel in rule.channels)
        and (not rule.tiers or r.tier in rule.tiers)
    )


def _zone(r: Any, policy: Policy) -> ZoneInfo:
    return zone(r.timezone or policy.timezone)


async def _story(c: Connection, policy: Policy, sample: Sample, mailbox: Mailbox) -> Story | None:
    """The customer to whom the most different things happened in the fewest lines."""
    found = [r for r in await outcomes.stories(c) if r.at_once or r.waited]
    if not found:
        return None
    chosen = max(found, key=lambda r: (_interest(r), -r.n, r.user_id))
    lines = tuple(
        Happened(r.at, r.kind, r.journey, r.step, r.subject, r.channel, r.topic or "", r.properties, r.reason, r.rule, r.until)
        for r in await outcomes.story(c, chosen.customer_id, sample.begins)
    )
    traits: dict[str, Any] = {}
    for item in [*sample.history, *sample.live]:
        if item.identifiers["user_id"] == chosen.user_id:
            traits.update(item.traits)
    address = str(traits.get("email", ""))
    there = zone(traits.get("timezone") or policy.timezone)
    letter = mailbox.last_to(address)
    return Story(chosen.customer_id, chosen.user_id, str(traits.get("first_name", "")), address, there, lines, letter)


def _interest(r: Any) -> float:
    """Sent, waited and dropped in one story, several journeys, several reasons."""
    kinds = sum(1 for n in (r.at_once, r.waited, r.dropped) if n)
    return 10.0 * kinds + 3.0 * min(int(r.journeys), 3) + 3.0 * min(int(r.reasons), 3)
