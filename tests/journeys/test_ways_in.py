"""Ways into a journey that are no event of the customer, and what time alone does, on the simulator and on the real engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from engine.app.testing.passages import NotTaken
from engine.app.testing.simulated import played
from engine.authoring.project import Compiled, load_project
from engine.authoring.shape_tests import Test as Written
from tests.harness import write_project
from tests.journeys.test_both_engines import both
from tests.simulator.played import ADDRESSES

SEND = "steps:\n  - {send: email, template: hello, topic: news}\n"
BY_CALENDAR = {
    "weekly": "{schedule: {at: '09:00', days: [tue], timezone: customer}, audience: customer.country == 'IT', rate: 1/h}\n",
    "midweek": "{schedule: {cron: '30 7 * * wed', timezone: Europe/Rome}, audience: {did: pinged, within: 3d}}\n",
    "once": "{schedule: '2026-03-11 12:00', audience: looking}\n",
    "birthday": "{date: customer.birthday, at: '09:00', every: year}\n",
    "renews": "{date: customer.renews_on, offset: -10d, at: '08:00', on_past: enter}\n",
    "cheaper": "{broadcast: cheaper, key: n, audience: {did: pinged, within: 30d, where: event.n == entry.n}}\n",
    "pros": "{segment: pros, existing: enroll, again: always}\n",
    "invited": "[{api: true, again: never, if: customer.country == 'IT'}, {event: asked, again: never}]\n",
    "ordered": "{api: true, key: order_id}\n",
    "seated": "{api: true, again: always, if: entry.seats >= 3 and entry.code == '007'}\n",
    "patient": "[{schedule: {cron: 0 9 * * mon}, audience: looking}, {event: asked, again: never}]\nexit: [{event: pinged}]\n",
    "anew": "{schedule: {at: '09:00', days: [mon], timezone: customer}, audience: customer.country == 'IT', "
    "while_active: restart}\n",
    "beside": "{schedule: {at: '09:00', days: [mon]}, audience: customer.country == 'IT', while_active: parallel}\n",
}
CALENDAR_TRACKING = """
events:
  pinged: {properties: {n: string}}
  cheaper: {properties: {n: string}}
  asked: {}
attributes: {first_name: string, email: string, timezone: string, country: string, birthday: date, renews_on: date, plan: string}
"""
CALENDAR_SEGMENTS = "segments: {looking: {did: pinged, within: 2d}, pros: {if: customer.plan == 'pro'}}\n"
CALENDAR_TESTS = """
- test: who is in a weekly's audience is reached at nine where they live, again and again
  journey: weekly
  customer: {email: ada@example.com, timezone: America/New_York, country: IT}
  until: 2026-03-18 08:00
  expect:
    - {at: 2026-03-17 09:00, send: email, template: hello}

- test: who isn't in it isn't
  journey: weekly
  customer: {email: ben@example.com, timezone: Europe/Rome, country: US}
  until: 2026-03-18 08:00

- test: an audience is of its moment, and a schedule that goes on for ever ends no test
  journey: midweek
  customer: {email: cy@example.com}
  events:
    - {at: 2026-03-02 10:00, event: pinged, n: a}
    - {at: 2026-03-16 10:00, event: pinged, n: a}
    - {at: 2026-03-18 10:00, event: pinged, n: a}
  expect:
    - {at: 2026-03-04 06:30, send: email, template: hello}
    - {at: 2026-03-18 06:30, send: email, template: hello}

- test: a schedule comes once, and after the last event too
  journey: once
  customer: {email: di@example.com}
  events:
    - {at: 2026-03-10 10:00, event: pinged, n: a}
  expect:
    - {at: 2026-03-11 12:00, send: email, template: hello}

- test: one that is over before the test begins is no reason not to play
  journey: once
  customer: {email: ed@example.com}
  events:
    - {at: 2026-03-20 10:00, event: pinged, n: a}

- test: who has left waits for nothing, and no schedule goes on for them
  journey: patient
  customer: {email: gil@example.com, segments: [looking]}
  events:
    - {at: 2026-03-03 10:00, event: asked}
    - {at: 2026-03-04 10:00, event: pinged, n: a}
  expect:
    - {at: 2026-03-03 10:00, send: email, template: hello}
    - {at: 2026-03-04 10:00, exit: pinged}

- test: a schedule that comes before those of the last time are through ends no less
  journey: anew
  customer: {email: qi@example.com, timezone: America/New_York, country: IT}
  events:
    - {at: 2026-03-03 10:00, event: asked}
    - {at: 2026-03-10 10:00, event: asked}
  expect:
    - {at: 2026-03-09 09:00, send: email, template: hello}
    - {at: 2026-03-16 09:00, exit: restarted}
    - {at: 2026-03-16 09:00, send: email, template: hello}
    - {at: 2026-03-24 09:00, exit: completed}

- test: nor where each time is beside the last
  journey: beside
  customer: {email: ro@example.com, country: IT}
  events:
    - {at: 2026-03-03 10:00, event: asked}
    - {at: 2026-03-10 10:00, event: asked}
  expect:
    - {at: 2026-03-09 09:00, send: email, template: hello}
    - {at: 2026-03-16 09:00, send: email, template: hello}
    - {at: 2026-03-17 09:00, exit: completed}
    - {at: 2026-03-24 09:00, exit: completed}

- test: a turn at the very end of a test is part of it
  journey: weekly
  customer: {email: sal@example.com, timezone: America/New_York, country: IT}
  until: 2026-03-17 09:00
  expect:
    - {at: 2026-03-17 09:00, send: email, template: hello}

- test: and a date
  journey: birthday
  customer: {email: tia@example.com, timezone: Europe/Rome, birthday: 1990-03-10}
  until: 2026-03-10 09:00
  events:
    - {at: 2026-03-02 10:00, event: asked}
  expect:
    - {at: 2026-03-10 09:00, send: email, template: hello}

- test: and a call
  journey: ordered
  customer: {email: ugo@example.com}
  until: 2026-03-02 10:00
  events:
    - {at: 2026-03-02 10:00, enroll: ordered, key: A1}
  expect:
    - {at: 2026-03-02 10:00, send: email, template: hello}

- test: and the end of a wait
  journey: beside
  customer: {email: vi@example.com, country: IT}
  until: 2026-03-17 09:00
  events:
    - {at: 2026-03-03 10:00, event: asked}
  expect:
    - {at: 2026-03-09 09:00, send: email, template: hello}
    - {at: 2026-03-16 09:00, send: email, template: hello}
    - {at: 2026-03-17 09:00, exit: completed}

- test: nobody is in another one's time
  journey: once
  customer: {email: flo@example.com, segments: [looking]}
  until: 2026-03-11 11:00

- test: birthdays come each year, while something else is to come
  journey: birthday
  customer: {email: gus@example.com, timezone: Europe/Rome, birthday: 1990-03-10}
  until: 2027-06-01 09:00
  events:
    - {at: 2026-03-02 10:00, event: asked}
  expect:
    - {at: 2026-03-10 09:00, send: email, template: hello}
    - {at: 2027-03-10 09:00, send: email, template: hello}

- test: a date that comes once ends the test by itself
  journey: renews
  customer: {email: hal@example.com, timezone: Asia/Kolkata, renews_on: 2026-06-20}
  events:
    - {at: 2026-03-02 10:00, event: asked}
  expect:
    - {at: 2026-06-10 08:00, send: email, template: hello}

- test: an event about a thing reaches who did something with it
  journey: cheaper
  customer: {email: ida@example.com}
  events:
    - {at: 2026-03-02 10:00, event: pinged, n: a}
    - {at: 2026-03-04 10:00, event: cheaper, n: b}
    - {at: 2026-03-05 10:00, event: cheaper, n: a}
  expect:
    - {at: 2026-03-05 10:00, send: email, template: hello}

- test: it concerns nobody else
  journey: cheaper
  customer: {email: jo@example.com}
  events:
    - {at: 2026-03-03 10:00, event: pinged, n: b}

- test: who is in a segment from the first is so a day before the first event
  journey: pros
  customer: {email: kim@example.com, plan: pro}
  events:
    - {at: 2026-03-02 10:00, event: asked}
  expect:
    - {at: 2026-03-01 10:00, send: email, template: hello}

- test: and so is who begins later
  journey: pros
  customer: {email: lou@example.com, plan: pro}
  events:
    - {at: 2026-05-02 10:00, event: asked}
  expect:
    - {at: 2026-05-01 10:00, send: email, template: hello}

- test: a call enrolls, once
  journey: invited
  customer: {email: max@example.com, country: IT}
  events:
    - {at: 2026-03-02 10:00, enroll: invited, by: bob}
    - {at: 2026-03-03 10:00, enroll: invited}
  expect:
    - {at: 2026-03-02 10:00, send: email, template: hello}

- test: but not whom the entry leaves out
  journey: invited
  customer: {email: ned@example.com, country: US}
  events:
    - {at: 2026-03-02 10:00, enroll: invited}

- test: properties of a call are what JSON would make of them
  journey: seated
  customer: {email: pia@example.com}
  events:
    - {at: 2026-03-02 10:00, enroll: seated, seats: 3, code: "007"}
    - {at: 2026-03-03 10:00, enroll: seated, seats: "3", code: "007"}
    - {at: 2026-03-04 10:00, enroll: seated, seats: 2, code: "007"}
  expect:
    - {at: 2026-03-02 10:00, send: email, template: hello}

- test: once for each key
  journey: ordered
  customer: {email: oda@example.com}
  events:
    - {at: 2026-03-02 10:00, enroll: ordered, key: A1}
    - {at: 2026-03-04 10:00, enroll: ordered, order_id: A2}
  expect:
    - {at: 2026-03-02 10:00, send: email, template: hello}
    - {at: 2026-03-04 10:00, send: email, template: hello}
"""

BY_TIME = {
    "gone": "{segment: looking, when: leaves, existing: ignore, again: always}\nsteps:\n  - SEND\n",
    "bored": "{segment: keen, when: leaves, existing: ignore, again: always}\nsteps:\n  - SEND\n",
    "soon": "{segment: soon, existing: ignore, again: never}\nsteps:\n  - SEND\n",
    "patient": "{event: asked, again: never}\nsteps:\n"
    "  - {wait_for: {if: customer.renews_on < now + days(20)}, id: near, timeout: 90d, then: [SEND]}\n",
    "until": "{event: asked, again: never}\nexit: [{if: not segment('looking')}]\nsteps:\n  - {wait: 90d, id: long}\n",
    "looked": "{event: asked, again: never}\nsteps:\n  - {wait_for: {segment: unseen}, id: unseen, timeout: 90d, then: [SEND]}\n",
}
TIME_SEGMENTS = """
segments:
  looking: {did: pinged, within: 2d}
  unseen: {not: {segment: looking}}
  keen: {if: customer.pings >= 2}
  soon: {if: customer.renews_on is not none and customer.renews_on < now + days(30)}
"""
TIME_TESTS = """
- test: two days after the last time, to the minute
  journey: gone
  customer: {email: ada@example.com}
  events:
    - {at: 2026-03-02 10:20, event: pinged, n: a}
    - {at: 2026-03-03 10:20, event: pinged, n: a}
  expect:
    - {at: 2026-03-05 10:20, send: email, template: hello}

- test: when a computed attribute falls
  journey: bored
  customer: {email: ben@example.com}
  events:
    - {at: 2026-03-02 10:20, event: pinged, n: a}
    - {at: 2026-03-03 11:40, event: pinged, n: a}
  expect:
    - {at: 2026-03-05 10:20, send: email, template: hello}

- test: on the hour, where a segment asks what time it is
  journey: soon
  customer: {email: cy@example.com, renews_on: 2026-04-10}
  until: 2026-04-01 12:00
  events:
    - {at: 2026-03-02 10:20, event: asked}
  expect:
    - {at: 2026-03-11 01:00, send: email, template: hello}

- test: and nobody looks once nothing else is to come
  journey: soon
  customer: {email: cyd@example.com, renews_on: 2026-04-10}
  events:
    - {at: 2026-03-02 10:20, event: asked}

- test: on the hour, where a wait asks it
  journey: patient
  customer: {email: di@example.com, renews_on: 2026-04-10}
  events:
    - {at: 2026-03-02 10:20, event: asked}
  expect:
    - {at: 2026-03-21 01:00, send: email, template: hello}

- test: an exit when somebody hasn't done something for long
  journey: until
  customer: {email: ed@example.com}
  events:
    - {at: 2026-03-02 10:20, event: pinged, n: a}
    - {at: 2026-03-02 10:40, event: asked}
  expect:
    - {at: 2026-03-04 10:20, exit: condition}

- test: a wait for the same
  journey: looked
  customer: {email: flo@example.com}
  events:
    - {at: 2026-03-02 10:20, event: pinged, n: a}
    - {at: 2026-03-02 10:40, event: asked}
  expect:
    - {at: 2026-03-04 10:20, send: email, template: hello}
"""


def by_calendar(folder: Path) -> Compiled:
    """A journey for each way in that isn't an event of the customer's."""
    files = {f"journeys/{name}.yaml": f"journey: {name}\ntier: lifecycle\nenter: {e}{SEND}" for name, e in BY_CALENDAR.items()}
    files["journeys/patient.yaml"] += "  - {wait: 30d, id: long}\n"
    for name in ("anew", "beside"):
        files[f"journeys/{name}.yaml"] += "  - {wait: 8d, id: long}\n"
    files |= {
        "journeys/tracking.yaml": CALENDAR_TRACKING,
        "journeys/segments.yaml": CALENDAR_SEGMENTS,
        "journeys/tests/all.yaml": CALENDAR_TESTS,
    }
    return load_project(write_project(folder, files), {"email", "sms"})


def by_time(folder: Path) -> Compiled:
    """A journey for each thing that time alone does."""
    send = "{send: email, template: hello, topic: news}"
    files = {
        f"journeys/{name}.yaml": f"journey: {name}\ntier: lifecycle\nenter: {e}".replace("SEND", send)
        for name, e in BY_TIME.items()
    }
    files |= {
        "journeys/tracking.yaml": CALENDAR_TRACKING + "computed: {pings: {count: pinged, within: 3d}}\n",
        "journeys/segments.yaml": TIME_SEGMENTS,
        "journeys/tests/all.yaml": TIME_TESTS,
    }
    return load_project(write_project(folder, files), {"email", "sms"})


async def test_both_let_people_in_by_the_calendar_by_things_and_by_calls(
    tmp_path: Path, skipping: WorkflowEnvironment, task_queue_prefix: str
) -> None:
    """Schedules, dates, events about a thing, segments from the first, calls: at the moments that the tests say, on either."""
    real, simulated, verdicts = await both(by_calendar(tmp_path), tmp_path, skipping, task_queue_prefix)
    assert real == simulated
    assert {} == {title: wrong for title, wrong in verdicts.items() if wrong}


async def test_both_know_what_time_alone_does(tmp_path: Path, skipping: WorkflowEnvironment, task_queue_prefix: str) -> None:
    """Leaving and entering segments, waits and exits: when nothing happens, at the moments that the tests say, on either."""
    real, simulated, verdicts = await both(by_time(tmp_path), tmp_path, skipping, task_queue_prefix)
    assert real == simulated
    assert {} == {title: wrong for title, wrong in verdicts.items() if wrong}


@pytest.mark.parametrize(
    ("journey", "call", "message"),
    [
        ("ordered", {"order_id": True}, "properties.order_id must be text, this is true"),
        ("ordered", {"order_id": 2.5}, "properties.order_id must be text or a whole number of at most 64 bits: send identifiers"),
        ("ordered", {"order_id": [1, 2]}, "properties.order_id must be text, this is a list"),
        ("ordered", {"order_id": "  "}, "properties.order_id is blank"),
        ("ordered", {"key": "  "}, "key is blank"),
        ("ordered", {"key": "x" * 3000}, "key is longer than 512 bytes"),
        ("orderd", {}, "there is no journey 'orderd': did you mean 'ordered'?"),
        ("weekly", {}, "the journey 'weekly' can't be entered by a call: write `enter: {api: true}` into the journey"),
        ("ordered", {"by": "bob"}, "key is missing: this journey has one enrollment per order_id"),
        ("invited", {"key": "A1"}, "this journey's api entry has no key, so none can be given: one customer is in it once"),
    ],
)
def test_a_call_that_the_api_refuses_isnt_taken(tmp_path: Path, journey: str, call: dict[str, Any], message: str) -> None:
    """In a test that nobody has validated either; the words are the API's."""
    happening = {"at": "2026-03-02 10:00", "enroll": journey, **call}
    test = Written.model_validate({"test": "a call", "journeys": ["ordered", "weekly", "invited"], "events": [happening]})
    with pytest.raises(NotTaken, match=re.escape(f"enroll isn't taken: {message}")):
        played(by_calendar(tmp_path), test.journeys, [test], ADDRESSES)
