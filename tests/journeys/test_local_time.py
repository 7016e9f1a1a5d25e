"""Quiet hours and waits for a time of day on the real engine: over midnight, and over the nights in which clocks change.

Every moment below was worked out by hand from the zones' rules, in UTC: what the engine computes is never asked for it.

    Rome      forward on 2026-03-29 at 01:00 UTC (02:00 becomes 03:00), back on 2026-10-25 at 01:00 UTC (03:00 becomes 02:00)
    New York  forward on 2026-03-08 at 07:00 UTC (02:00 becomes 03:00), back on 2026-11-01 at 06:00 UTC (02:00 becomes 01:00)
    Beirut    forward on 2026-03-28 at 22:00 UTC (00:00 becomes 01:00), back on 2026-10-24 at 21:00 UTC (00:00 becomes 23:00)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from engine.app.testing.passages import Passage
from engine.app.testing.timeline import OnTimeline, Timeline
from engine.authoring.project import Compiled, load_project
from engine.authoring.shape_tests import Test as Written
from engine.insight.story import Message
from engine.insight.why import why
from engine.store.database import transaction
from tests.harness import POLICY, utc, write_project

ROME, NEW_YORK, KOLKATA, BEIRUT = "Europe/Rome", "America/New_York", "Asia/Kolkata", "Asia/Beirut"
NOWHERE = ""
"""A customer without a zone: policy's counts, which is UTC."""

MESSAGES = "select * from messages order by id"
HALF_A_DAY = timedelta(hours=12)

NIGHT = """
journey: night
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait: 12h
    id: half_a_day
  - send: email
    id: hello
    template: hello
    topic: news
"""

WAITS = {
    "signed_up": '{until: "02:30"}',
    "pinged": '{until: "01:30"}',
    "confirmed": '{until: "09:00", days: [sun]}',
    "cancelled": '{until: "09:00", timezone: America/New_York}',
    "complaint_filed": "1d",
}
"""Event → what the journey that it opens waits for, twice, with a message after each."""

TWICE = """
journey: EVENT
tier: transactional
enter: {event: EVENT, again: never}
steps:
  - wait: WAIT
    id: once
  - send: email
    id: first
    template: hello
  - wait: WAIT
    id: twice
  - send: email
    id: second
    template: again
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A message that comes `due` (UTC) in `zone`, and when it is handed over: `until`, where quiet hours defer it."""

    zone: str
    due: str
    until: str | None = None

    def told(self) -> tuple[str, str, list[str], list[str]]:
        """Zone, due moment, the moments that it is deferred to, the moments of its handovers."""
        return self.zone, self.due, [self.until] if self.until else [], [self.until or self.due]


ORDINARY = (
    Due(ROME, "2026-02-10 21:30", "2026-02-11 07:00"),  # 22:30, to 08:00 the next morning
    Due(ROME, "2026-02-11 02:00", "2026-02-11 07:00"),  # 03:00, to 08:00 the same morning
    Due(NEW_YORK, "2026-02-11 03:30", "2026-02-11 13:00"),
    Due(KOLKATA, "2026-02-10 17:00", "2026-02-11 02:30"),
    Due(NOWHERE, "2026-02-10 22:30", "2026-02-11 08:00"),
    Due(ROME, "2026-02-10 20:00", "2026-02-11 07:00"),  # 21:00 sharp is quiet
    Due(ROME, "2026-02-11 07:00"),  # 08:00 sharp isn't
    Due(ROME, "2026-02-10 19:59"),
)
FORWARD = (
    Due(ROME, "2026-03-28 21:30", "2026-03-29 06:00"),  # 22:30 in winter, to 08:00 in summer: nine hours and a half on the clock
    Due(ROME, "2026-03-29 00:30", "2026-03-29 06:00"),  # 01:30, before the gap
    Due(ROME, "2026-03-29 01:15", "2026-03-29 06:00"),  # 03:15, behind it
    Due(ROME, "2026-03-29 19:30", "2026-03-30 06:00"),  # the evening after
    Due(NEW_YORK, "2026-03-08 03:30", "2026-03-08 12:00"),
    Due(NEW_YORK, "2026-03-29 02:30", "2026-03-29 12:00"),  # Rome's night is an ordinary one in New York
    Due(KOLKATA, "2026-03-28 17:00", "2026-03-29 02:30"),
)
BACK = (
    Due(ROME, "2026-10-24 20:30", "2026-10-25 07:00"),  # 22:30 in summer, to 08:00 in winter
    Due(ROME, "2026-10-25 00:30", "2026-10-25 07:00"),  # 02:30 for the first time
    Due(ROME, "2026-10-25 01:30", "2026-10-25 07:00"),  # and for the second
    Due(ROME, "2026-10-25 20:30", "2026-10-26 07:00"),
    Due(NEW_YORK, "2026-11-01 02:30", "2026-11-01 13:00"),
    Due(NEW_YORK, "2026-10-25 02:30", "2026-10-25 12:00"),
    Due(KOLKATA, "2026-10-24 17:00", "2026-10-25 02:30"),
)
QUIET = {
    ("21:00", "08:00"): (*ORDINARY, *FORWARD, *BACK),
    ("01:30", "02:30"): (
        Due(ROME, "2026-02-10 00:45", "2026-02-10 01:30"),  # an ordinary night
        Due(ROME, "2026-03-29 00:45", "2026-03-29 01:00"),  # 02:30 is skipped: they end where the gap does, at 03:00
        Due(ROME, "2026-03-29 01:00"),
        Due(NEW_YORK, "2026-03-08 06:45", "2026-03-08 07:00"),
        Due(ROME, "2026-10-24 23:45", "2026-10-25 00:30"),  # 02:30 comes twice: they end with the first …
        Due(ROME, "2026-10-25 01:15"),  # … so the second 02:15 is outside
        Due(NEW_YORK, "2026-11-01 05:15"),  # 01:30 comes twice: they begin with the first …
        Due(NEW_YORK, "2026-11-01 05:45", "2026-11-01 07:30"),
        Due(NEW_YORK, "2026-11-01 06:15", "2026-11-01 07:30"),  # … so the second 01:15 is inside
    ),
    ("02:30", "05:00"): (
        Due(ROME, "2026-03-29 00:55"),  # 01:55
        Due(ROME, "2026-03-29 01:10", "2026-03-29 03:00"),  # 02:30 is skipped: they begin where the gap ends
        Due(NEW_YORK, "2026-03-08 07:00", "2026-03-08 09:00"),  # 03:00 sharp
        Due(ROME, "2026-10-25 00:30", "2026-10-25 04:00"),  # the first 02:30 sharp
        Due(ROME, "2026-10-25 01:15", "2026-10-25 04:00"),  # the second 02:15
        Due(ROME, "2026-10-25 00:20"),  # the first 02:20
        Due(NEW_YORK, "2026-11-01 06:45"),  # the second 01:45
    ),
    ("02:10", "02:50"): (
        Due(ROME, "2026-03-28 01:20", "2026-03-28 01:50"),  # the night before
        Due(ROME, "2026-03-29 00:59"),  # both edges are skipped: this night has no such quiet hours
        Due(ROME, "2026-03-29 01:00"),
        Due(ROME, "2026-10-25 00:20", "2026-10-25 00:50"),
        Due(ROME, "2026-10-25 01:20"),
    ),
    ("21:00", "00:30"): (
        Due(BEIRUT, "2026-03-28 20:00", "2026-03-28 22:00"),  # there is neither midnight nor 00:30: to 01:00
        Due(BEIRUT, "2026-10-24 18:30", "2026-10-24 22:30"),  # 21:30, over 23:00 to midnight twice
        Due(BEIRUT, "2026-10-24 21:15", "2026-10-24 22:30"),  # the second 23:15
    ),
}
"""(from, to) of the quiet hours → messages that come due around them."""

UNTIL = (
    ("signed_up", ROME, "2026-03-28 19:00", "2026-03-29 01:00", "2026-03-30 00:30"),  # no 02:30 tonight: at 03:00; then 02:30
    ("signed_up", NEW_YORK, "2026-03-07 23:00", "2026-03-08 07:00", "2026-03-09 06:30"),
    ("signed_up", ROME, "2026-10-24 19:00", "2026-10-25 00:30", "2026-10-26 01:30"),  # the first 02:30, then tomorrow's
    ("signed_up", ROME, "2026-10-25 01:15", "2026-10-26 01:30", "2026-10-27 01:30"),  # between the two: tonight's is over
    ("signed_up", NEW_YORK, "2026-10-31 22:00", "2026-11-01 07:30", "2026-11-02 07:30"),
    ("pinged", NEW_YORK, "2026-10-31 22:00", "2026-11-01 05:30", "2026-11-02 06:30"),  # the first 01:30, then tomorrow's
    ("pinged", ROME, "2026-03-28 19:00", "2026-03-29 00:30", "2026-03-29 23:30"),  # 23 hours apart
    ("confirmed", ROME, "2026-03-25 12:00", "2026-03-29 07:00", "2026-04-05 07:00"),
    ("confirmed", ROME, "2026-10-21 12:00", "2026-10-25 08:00", "2026-11-01 08:00"),
    ("confirmed", NEW_YORK, "2026-03-04 12:00", "2026-03-08 13:00", "2026-03-15 13:00"),
    ("confirmed", NEW_YORK, "2026-10-28 12:00", "2026-11-01 14:00", "2026-11-08 14:00"),
    ("cancelled", ROME, "2026-03-07 13:30", "2026-03-07 14:00", "2026-03-08 13:00"),  # nine in New York, wherever she is
    ("cancelled", ROME, "2026-10-31 12:30", "2026-10-31 13:00", "2026-11-01 14:00"),
    ("complaint_filed", ROME, "2026-03-28 09:00", "2026-03-29 08:00", "2026-03-30 08:00"),  # a day of 23 hours
    ("complaint_filed", ROME, "2026-10-24 08:00", "2026-10-25 09:00", "2026-10-26 09:00"),  # and one of 25
    ("complaint_filed", ROME, "2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 01:00"),  # 02:30, at 03:00, and that stays
)
"""Event, zone, when it occurs, and when the two messages are handed over."""


def someone(number: int, zone: str, event: str, at: str) -> Written:
    """The test of a customer in `zone` whose `event` occurs at `at` (UTC)."""
    traits = {"email": f"user{number}@example.com", **({"timezone": zone} if zone else {})}
    return Written.model_validate({"test": f"user {number}", "customer": traits, "events": [{"at": f"{at}Z", "event": event}]})


def minute(moment: object) -> str:
    """A moment of the store, UTC and to the minute, as the tables above write it."""
    return f"{moment:%Y-%m-%d %H:%M}"


def nights(folder: Path, start: str, end: str) -> Compiled:
    """The journey NIGHT under a policy with these quiet hours."""
    quiet = f'quiet_hours: [{{from: "{start}", to: "{end}", channels: [email]}}]\n'
    return load_project(write_project(folder, {"journeys/night.yaml": NIGHT, "journeys/policy.yaml": POLICY + quiet}), {"email"})


def entering(dues: Sequence[Due]) -> list[Written]:
    """Customers whose messages come due as `dues` say."""
    return [someone(i, d.zone, "signed_up", minute(utc(d.due) - HALF_A_DAY)) for i, d in enumerate(dues)]


async def asked_why(played: Timeline, passage: Passage) -> tuple[Message, str]:
    """The one message of a customer, and the sentence about where the customer stands."""
    async with transaction(played.worker.core.database) as c:
        (told,) = (await why(c, passage.customer)).passages
    (message,) = [m.message for m in told.moments if m.message is not None]
    return message, told.now


@pytest.mark.parametrize(("start", "end"), QUIET)
async def test_quiet_hours_defer_to_their_end_on_the_clock_of_that_night(
    start: str, end: str, tmp_path: Path, on_timeline: OnTimeline
) -> None:
    """A message that comes due in quiet hours is decided then, deferred to their end and handed over at that very minute; one
    that comes due outside goes at once. On every night, in every zone, and `why` says so."""
    dues = QUIET[start, end]
    async with on_timeline(nights(tmp_path, start, end), ["night"], entering(dues)) as played:
        await played.play()
        messages = [(await asked_why(played, p))[0] for p in played.passages]
    told = []
    for due, message in zip(dues, messages, strict=True):
        waited = [d for d in message.decisions if d.decision == "defer"]
        assert {"quiet_hours"} >= {d.reason for d in waited}
        assert {f"quiet_hours {start}-{end}"} >= {d.rule for d in waited}
        decided, planned = minute(message.decisions[0].at), minute(message.planned_at)
        assert decided == planned
        told.append((due.zone, decided, [minute(d.until) for d in waited], [minute(message.sent_at)]))
    assert [d.told() for d in dues] == told


@pytest.mark.parametrize(
    ("due", "words"),
    [
        (Due(ROME, "2026-02-10 21:30", "2026-02-11 07:00"), "11 February 2026 at 08:00 (Europe/Rome)"),
        (Due(ROME, "2026-03-28 21:30", "2026-03-29 06:00"), "29 March 2026 at 08:00 (Europe/Rome)"),
        (Due(NEW_YORK, "2026-11-01 02:30", "2026-11-01 13:00"), "1 November 2026 at 08:00 (America/New_York)"),
    ],
)
async def test_while_it_waits_the_ledger_and_why_say_until_when(
    due: Due, words: str, tmp_path: Path, on_timeline: OnTimeline
) -> None:
    """A minute before the quiet hours end the message is deferred until exactly then, in the customer's own words for it."""
    end = utc(due.until or "")
    async with on_timeline(nights(tmp_path, "21:00", "08:00"), ["night"], entering([due])) as played:
        await played.play(end - timedelta(minutes=1))
        (row,) = await played.query(MESSAGES)
        assert ("deferred", "quiet_hours", end, []) == (row.status, row.reason, row.until, played.sinks["email"].seen)
        message, stands = await asked_why(played, played.passages[0])
        assert f"At hello, whose message waits until {words}." == stands
        (decision,) = message.decisions
        assert ("defer", "quiet_hours", end) == (decision.decision, decision.reason, decision.until)
        detail = f"Waits for Quiet hours from 21:00 to 08:00 until {words}. If nothing else changes it goes on {words}."
        assert detail == decision.detail
        (gate,) = [g for g in decision.gates if g.answer == "defer"]
        assert ("quiet_hours", f"Quiet hours from 21:00 to 08:00 until {words}.", end) == (gate.gate, gate.detail, gate.until)
        await played.play()
        (row,) = await played.query(MESSAGES)
        assert ("sent", minute(end)) == (row.status, minute(row.sent_at))


async def test_a_wait_until_a_time_of_day_ends_when_the_clock_there_first_shows_it(
    tmp_path: Path, on_timeline: OnTimeline
) -> None:
    """A time that is skipped means the first moment after the gap, one that comes twice the first of the two and not both; a day
    that is waited out keeps the time of day. What follows is handed over at that very minute."""
    journeys = {f"journeys/{e}.yaml": TWICE.replace("EVENT", e).replace("WAIT", wait) for e, wait in WAITS.items()}
    compiled = load_project(write_project(tmp_path, journeys), {"email"})
    tests = [someone(i, zone, event, at) for i, (event, zone, at, _, _) in enumerate(UNTIL)]
    async with on_timeline(compiled, list(WAITS), tests) as played:
        await played.play()
        sent = [m for m in await played.query(MESSAGES) if m.status == "sent"]
        told = []
        for (event, zone, at, first, _), passage in zip(UNTIL, played.passages, strict=True):
            mine = [m for m in sent if m.customer_id == passage.customer]
            assert utc(first) == mine[0].planned_at, "a step starts when its wait was due, to the microsecond"
            told.append((event, zone, at, *(minute(m.sent_at) for m in mine)))
    assert list(UNTIL) == told
