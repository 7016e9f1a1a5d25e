"""Days off, the spread of what waited, and zones that change or aren't known, on the real engine; moments worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.app.testing.passages import Passage
from engine.app.testing.timeline import OnTimeline, Timeline
from engine.authoring.project import Compiled, load_project
from engine.authoring.shape_tests import Test as Written
from engine.core.incoming import Incoming
from engine.insight.why import why
from engine.store.database import transaction
from tests.harness import POLICY, TRACKING, utc, write_project

ROME, NEW_YORK, AUCKLAND, LOS_ANGELES = "Europe/Rome", "America/New_York", "Pacific/Auckland", "America/Los_Angeles"

HELLO = """
journey: hello
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: CHANNEL
    id: hello
    template: hello
    topic: news
    expires: 5d
"""

NIGHT = '{from: "21:00", to: "08:00"}'


def project(folder: Path, rules: str, channel: str = "email", **files: str) -> Compiled:
    """A journey of one message under a policy with these rules; `files`: calendars by country."""
    shared = {f"journeys/holidays/{name}.yaml": text for name, text in files.items()}
    hello = HELLO.replace("CHANNEL", channel)
    return load_project(
        write_project(folder, {"journeys/hello.yaml": hello, "journeys/policy.yaml": POLICY + rules, **shared}), {"email", "sms"}
    )


def someone(number: int, at: str, **traits: str) -> Written:
    """A customer with an address on each channel and these attributes, who signs up at `at` (UTC)."""
    known = {"email": f"user{number}@example.com", "phone": f"+39000{number}", **traits}
    events = [{"at": f"{at}Z", "event": "signed_up"}]
    return Written.model_validate({"test": f"user {number}", "customer": known, "events": events})


def becomes(passage: Passage, at: str, **traits: Any) -> None:
    """The customer of `passage` says at `at` (UTC) that something about them is different."""
    who = {"user_id": passage.user}
    passage.coming.append((utc(at), Incoming("identify", "test", f"{passage.user}/{at}", traits=traits, identifiers=who)))


async def told(played: Timeline, passage: Passage) -> Mapping[str, Any]:
    """The one message of a customer, to the minute: the moments that it was deferred to, and when it went or was dropped."""
    values = {"customer": passage.customer}
    settled = "select status, reason, coalesce(sent_at, decided_at) as at from messages where customer_id = :customer"
    (row,) = await played.query(settled, **values)
    waited = "select until from decisions where customer_id = :customer and decision = 'defer' order by id"
    until = [f"{r.until:%Y-%m-%d %H:%M}" for r in await played.query(waited, **values)]
    return {"status": row.status, "reason": row.reason, "until": until, "at": f"{row.at:%Y-%m-%d %H:%M}"}


def sent(at: str, *until: str) -> Mapping[str, Any]:
    """A message that was deferred to these moments and went at `at`."""
    return {"status": "sent", "reason": "", "until": list(until), "at": at}


IT = "days_off: [{from: 12-25, to: 12-26, name: Natale}, 2026-12-28]\n"
US = "days_off: [{date: 12-25, name: Christmas}]\n"


async def test_on_a_day_off_of_the_customers_country_nothing_goes(tmp_path: Path, on_timeline: OnTimeline) -> None:
    """Each country has its calendar, each customer their own midnight; a night that touches a day off belongs to it."""
    rules = f"""quiet_hours:
  - {NIGHT}
  - {{days_off: holidays/it.yaml, if: customer.country == "IT"}}
  - {{days_off: holidays/us.yaml, if: customer.country == "US"}}
"""
    tests = [
        someone(0, "2026-12-25 10:00", country="IT", timezone=ROME),
        someone(1, "2026-12-25 10:00", country="US", timezone=NEW_YORK),
        someone(2, "2026-12-26 14:00", country="US", timezone=NEW_YORK),
        someone(3, "2026-12-24 21:30", country="IT", timezone=ROME),
        someone(4, "2026-12-28 12:00", country="IT", timezone=ROME),
        someone(5, "2026-12-25 10:00", country="DE", timezone=ROME),
        someone(6, "2026-12-25 10:30", country="IT", timezone=AUCKLAND),
    ]
    async with on_timeline(project(tmp_path, rules, it=IT, us=US), ["hello"], tests) as played:
        await played.play()
        found = [await told(played, p) for p in played.passages]
        async with transaction(played.worker.core.database) as c:
            (story,) = (await why(c, played.passages[0].customer)).passages
    assert [
        sent("2026-12-27 07:00", "2026-12-27 07:00"),
        sent("2026-12-26 13:00", "2026-12-26 13:00"),
        sent("2026-12-26 14:00"),
        sent("2026-12-27 07:00", "2026-12-27 07:00"),
        sent("2026-12-29 07:00", "2026-12-29 07:00"),
        sent("2026-12-25 10:00"),
        sent("2026-12-26 19:00", "2026-12-26 19:00"),
    ] == found
    (message,) = [m.message for m in story.moments if m.message is not None]
    assert "days_off holidays/it.yaml" == message.decisions[0].rule
    assert "A day off (Natale) until 27 December 2026 at 00:00 (Europe/Rome)" in str(message.decisions[0].gates)


async def test_what_waited_overnight_goes_spread_over_the_morning(tmp_path: Path, on_timeline: OnTimeline) -> None:
    """Twenty customers whose messages come due in the night: each is told a moment of its own in the half hour after eight once,
    and is handed over from then on; one that comes due in the morning waits for nobody."""
    tests = [someone(n, "2026-02-10 22:00", timezone=ROME) for n in range(20)] + [someone(20, "2026-02-11 07:01", timezone=ROME)]
    eight, half = utc("2026-02-11 07:00"), timedelta(minutes=30)
    async with on_timeline(project(tmp_path, f"quiet_hours: [{NIGHT}]\njitter: 30m\n"), ["hello"], tests) as played:
        await played.play()
        rows = await played.query(
            "select m.customer_id, d.until, m.sent_at from messages m join decisions d using (key) where d.decision = 'defer'"
        )
        at_once = await told(played, played.passages[20])
    assert 20 == len(rows) == len({r.customer_id for r in rows})
    assert all(eight <= r.until < eight + half and r.until <= r.sent_at for r in rows)
    assert 6 < len({r.until.minute for r in rows})
    assert sent("2026-02-11 07:01") == at_once


async def test_quiet_hours_may_ask_for_segments_and_for_what_is_computed(tmp_path: Path, on_timeline: OnTimeline) -> None:
    """Two rules, one for a segment and one for who has signed up once: each holds for the customers whom it names."""
    rules = """quiet_hours:
  - {from: "21:00", to: "08:00", if: segment("early")}
  - {from: "21:00", to: "09:00", if: customer.signups >= 1 and customer.country == "IT"}
"""
    folder = tmp_path / "project"
    write_project(
        folder,
        {
            "journeys/segments.yaml": 'segments: {early: {if: customer.country == "DE"}}\n',
            "journeys/tracking.yaml": TRACKING + "computed: {signups: {count: signed_up}}\n",
            "journeys/hello.yaml": HELLO.replace("CHANNEL", "email"),
            "journeys/policy.yaml": POLICY + rules,
        },
    )
    tests = [someone(n, "2026-02-10 22:00", country=country) for n, country in enumerate(("DE", "IT", "US"))]
    async with on_timeline(load_project(folder, {"email"}), ["hello"], tests) as played:
        await played.play()
        found = [await told(played, p) for p in played.passages]
    eight, nine = "2026-02-11 08:00", "2026-02-11 09:00"
    assert [sent(eight, eight), sent(nine, nine), sent("2026-02-10 22:00")] == found


@pytest.mark.parametrize("caps", ["", "caps: [{name: daily, limit: 5, per: day}]\n"], ids=["no caps", "caps"])
async def test_a_customer_who_moves_while_a_message_waits_is_written_to_by_the_new_zones_hours(
    caps: str, tmp_path: Path, on_timeline: OnTimeline
) -> None:
    """Decided afresh at once: earlier where it is day there, later where it is night, and so where policy's conditions ask for
    what has changed. A zone that doesn't exist, or none any more, counts only when its time has come."""
    rules = f'{caps}quiet_hours: [{NIGHT}, {{from: "20:00", to: "12:00", if: customer.country == "US"}}]\n'
    tests = [someone(n, "2026-02-10 22:00", timezone=ROME) for n in range(7)]
    tests.append(someone(7, "2026-02-10 22:00", timezone=ROME, country="US"))
    eight = "2026-02-11 07:00"
    async with on_timeline(project(tmp_path, rules), ["hello"], tests) as played:
        day, night, nowhere, mended, gone, same, other, country = played.passages
        becomes(day, "2026-02-10 23:00", timezone=NEW_YORK)  # 18:00 there
        becomes(night, "2026-02-11 06:00", timezone=LOS_ANGELES)  # 22:00 there
        becomes(nowhere, "2026-02-11 06:00", timezone="Mars/Base")
        becomes(mended, "2026-02-11 05:00", timezone="Mars/Base")
        becomes(mended, "2026-02-11 06:00", timezone=AUCKLAND)  # 19:00 there
        becomes(gone, "2026-02-11 05:00", timezone=None)  # policy's is UTC
        becomes(same, "2026-02-11 06:00", timezone=ROME, first_name="Ada")
        becomes(other, "2026-02-11 06:00", first_name="Ada")
        becomes(country, "2026-02-11 08:00", country="IT")
        await played.play()
        found = [await told(played, p) for p in played.passages]
    assert [
        sent("2026-02-10 23:00", eight),
        sent("2026-02-11 16:00", eight, "2026-02-11 16:00"),
        {"status": "dropped", "reason": "quiet_hours", "until": [eight], "at": eight},
        sent("2026-02-11 06:00", eight),
        sent("2026-02-11 08:00", eight, "2026-02-11 08:00"),
        sent(eight, eight),
        sent(eight, eight),
        sent("2026-02-11 08:00", "2026-02-11 11:00"),
    ] == found


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("email", [sent("2026-02-11 08:00", "2026-02-11 08:00"), sent("2026-02-11 12:00")]),
        (
            "sms",
            [
                {"status": "dropped", "reason": "quiet_hours", "until": [], "at": at}
                for at in ("2026-02-10 22:00", "2026-02-11 12:00")
            ],
        ),
    ],
)
async def test_a_customer_without_a_zone_has_policys_unless_the_channel_must_not_guess(
    channel: str,
    expected: Sequence[Mapping[str, Any]],
    tmp_path: Path,
    on_timeline: OnTimeline,
) -> None:
    """E-mail keeps the quiet hours of policy's zone, which is UTC; a text is dropped by night and by day."""
    rules = f"unknown_timezone: {{sms: drop}}\nquiet_hours: [{NIGHT}]\n"
    tests = [someone(0, "2026-02-10 22:00"), someone(1, "2026-02-11 12:00")]
    async with on_timeline(project(tmp_path, rules, channel), ["hello"], tests) as played:
        await played.play()
        assert expected == [await told(played, p) for p in played.passages]
        rules_told = await played.query("select distinct rule from decisions where decision = 'drop'")
    assert ([] if channel == "email" else ["unknown_timezone"]) == [r.rule for r in rules_told]
