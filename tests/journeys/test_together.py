"""The journeys that ship, all deployed at once: what one does to another, and what no combination of them may do."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from engine.app.testing.timeline import OnTimeline
from engine.authoring.shape_tests import Test as Written
from tests.journeys.test_shipped import shipped, written

COUNTED = ("lifecycle", "triggered", "promotional")
WEEK = timedelta(days=7)
MORNING, NIGHT = time(8), time(21)

SENT = (
    "select m.customer_id, m.tier, m.channel, m.slot_at, m.sent_at, p.attributes ->> 'timezone' as zone from messages m "
    "join customers p on p.id = m.customer_id where m.status = 'sent' order by m.sent_at"
)
IN_RECOVERY = (
    "select m.key from messages m join enrollments e on e.customer_id = m.customer_id and e.journey = 'service_recovery' "
    "where m.status = 'sent' and m.tier = any(:tiers) and m.sent_at > e.entered_at "
    "and m.sent_at < coalesce(e.ended_at, 'infinity')"
)
PARKED = "select journey, step, reason from enrollments where status = 'parked'"


async def test_no_combination_of_journeys_breaks_a_rule(on_timeline: OnTimeline) -> None:
    """With every journey open to every test's customer: never two counted messages on one local day, never more than three in any
    seven days, none at night, none of them while the customer is in service recovery; and nobody gets stuck."""
    tests = [test for _, test in written()]
    async with on_timeline(shipped(), sorted(shipped().plans), tests) as played:
        await played.play()
        sent = await played.query(SENT)
        in_recovery = await played.query(IN_RECOVERY, tiers=list(COUNTED))
        parked = await played.query(PARKED)
    assert len(sent) > len(tests)
    assert {} == {k: n for k, n in _per_day(sent).items() if n > 1}
    assert [] == _crowded(sent)
    assert [] == [m for m in sent if not MORNING <= _local(m).time() < NIGHT]
    assert [] == in_recovery
    assert [] == parked


async def test_the_friends_first_job_pays_the_one_who_referred(on_timeline: OnTimeline) -> None:
    """A completed first job emits an event to another customer, who is enrolled, credited and thanked."""
    job = {"event": "job_completed", "job_id": "J1", "service": "boiler check", "first_job": "true", "referred_by": "customer-1"}
    both = {"journeys": ["job_followup", "referral_reward"], "until": "2026-05-04 18:00"}
    friend = {"test": "the friend", "events": [{"at": "2026-05-04 16:00", **job}], **both}
    referrer = {
        "test": "the one who referred",
        "customer": {"email": "karim@example.com", "consents": {"email": {"account_news": "granted"}}},
        **both,
    }
    tests = [Written.model_validate(friend), Written.model_validate(referrer)]
    async with on_timeline(shipped(), tests[0].journeys, tests) as played:
        await played.play()
        lines = [await played.lines(p) for p in played.passages]
        credit = await played.query("select attributes -> 'referral_credit' as credit from customers order by id")
    assert [] == lines[0]
    assert [("email", "jobs/referral_reward")] == [(x["send"], x["template"]) for x in lines[1] if "send" in x]
    assert [None, 25] == [r.credit for r in credit]


def _local(message: Any) -> datetime:
    moment: datetime = message.sent_at
    return moment.astimezone(ZoneInfo(message.zone))


def _per_day(sent: Any) -> dict[tuple[int, str], int]:
    """Counted messages by customer and local day."""
    found: dict[tuple[int, str], int] = defaultdict(int)
    for m in sent:
        if m.tier in COUNTED:
            found[m.customer_id, _local(m).date().isoformat()] += 1
    return found


def _crowded(sent: Any) -> list[tuple[int, datetime]]:
    """Where a fourth counted message came to one customer within seven days of the first."""
    times: dict[int, list[datetime]] = defaultdict(list)
    for m in sent:
        if m.tier in COUNTED:
            times[m.customer_id].append(m.slot_at)
    return [(c, a) for c, moments in times.items() for a, d in zip(moments, moments[3:], strict=False) if d - a < WEEK]
