"""Entries by schedule, date and events about things: what they compile to, and what is said of those that can't be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.authoring.graph import mermaid
from engine.authoring.model_segments import Did, Every, Holds, InSegment, Segment
from engine.authoring.project import Compiled
from engine.core.clock import Duration
from engine.core.occasions import Anniversary, Schedule
from engine.core.plan import Entry, plan_from_json, plan_to_json
from engine.core.wire import load
from engine.settings.problems import Problem
from tests.authoring.conftest import HEAD, POLICY

SEND = "- {send: email, template: hello, topic: news, expires: 2h}\n"


def head(enter: str) -> str:
    """A journey with this entry, up to its steps."""
    return HEAD.replace("{event: order_completed, key: order_id}", enter)


@pytest.fixture
def entry(compiled: Callable[..., Compiled]) -> Callable[[str], Entry]:
    """The one entry of a journey that compiles without a warning, read back from its JSON."""

    def compiling(enter: str) -> Entry:
        found = compiled(j=head(enter) + "- exit: done\n", policy=POLICY + "timezone: Europe/Rome\n")
        assert [] == [p.render() for p in found.problems]
        [one] = plan_from_json(plan_to_json(found.plans["j"])).entries
        return one

    return compiling


def audience(entry: Entry) -> Any:
    return load(Segment, entry.options["audience"]).condition


@pytest.mark.parametrize(
    ("written", "schedule"),
    [
        ('"2026-12-01 09:00"', Schedule("Europe/Rome", once="2026-12-01T09:00")),
        ('"2026-12-01 09:00+01:00"', Schedule("UTC", once="2026-12-01T08:00")),
        ("{at: 2026-12-01 09:00, timezone: customer}", Schedule("customer", once="2026-12-01T09:00")),
        ('{days: [tue, fri], at: "9:00", timezone: customer}', Schedule("customer", at="09:00", days=("tue", "fri"))),
        ("{at: 09:30}", Schedule("customer", at="09:30")),
        ('{cron: "0 9 * * tue", timezone: Asia/Tokyo}', Schedule("Asia/Tokyo", cron="0 9 * * tue")),
    ],
)
def test_the_forms_of_a_schedule(entry: Callable[[str], Entry], written: str, schedule: Schedule) -> None:
    """Once in policy's zone unless another is written; by day of the week, or by cron, by everybody's own clock unless told
    otherwise."""
    found = entry(f"{{schedule: {written}, audience: vip}}")
    assert ("schedule", schedule) == (found.kind, load(Schedule, found.options["schedule"]))


def test_the_forms_of_an_audience(entry: Callable[[str], Entry]) -> None:
    """A segment, an expression, a condition as in segments.yaml."""
    schedule = "schedule: {at: 09:00}"
    assert InSegment("vip") == audience(entry(f"{{{schedule}, audience: vip}}"))
    assert Holds('customer.plan == "pro"') == audience(entry(f"{{{schedule}, audience: 'customer.plan == \"pro\"'}}"))
    found = entry(f"{{{schedule}, audience: {{all: [{{segment: vip}}, {{did: signed_up, within: 30d}}]}}, rate: 600/m}}")
    assert Every((InSegment("vip"), Did("signed_up", within=Duration(days=30)))) == audience(found)
    assert 10 == found.options["rate"]


def test_an_event_about_a_thing_may_be_compared_with_what_people_did(entry: Callable[[str], Entry]) -> None:
    """`entry` is that event, in the audience, in `if`, and in the steps."""
    where = "event.order_id == entry.order_id"
    found = entry(
        f"{{broadcast: order_refunded, audience: {{did: order_completed, where: {where}}}, key: order_id, if: "
        f"entry.order_id is not none}}"
    )
    assert ("broadcast", "order_refunded", "order_id") == (found.kind, found.event, found.key)
    assert Did("order_completed", where=where) == audience(found)


def test_the_forms_of_a_date(entry: Callable[[str], Entry]) -> None:
    """At nine, unless told otherwise; who learns of it too late waits for the next."""
    found = entry("{date: customer.renews_on, offset: -90d, on_past: enter}")
    assert Anniversary("renews_on", "09:00", Duration(days=-90), None, "enter") == load(Anniversary, found.options["date"])
    yearly = entry("{date: customer.vip_since, at: 18:00, every: year}")
    assert Anniversary("vip_since", "18:00", every="year") == load(Anniversary, yearly.options["date"])


@pytest.mark.parametrize(
    ("enter", "code", "words"),
    [
        ("{schedule: 2026-12-01, audience: vip}", "SJ421", "not a date with a time of day"),
        ("{schedule: tuesday, audience: vip}", "SJ421", "not a date with a time of day"),
        ("{schedule: {at: 9am}, audience: vip}", "SJ112", 'write at: "09:00"'),
        ("{schedule: {at: 2026-12-01 09:00, days: [tue]}, audience: vip}", "SJ420", "days: belongs to a time of day"),
        ("{schedule: {cron: 0 9 * * *, days: [tue]}, audience: vip}", "SJ420", "its last field"),
        ("{schedule: {cron: 0 25 * * *}, audience: vip}", "SJ421", "'25' can't be the hour"),
        ("{schedule: {days: [tue]}, audience: vip}", "SJ420", "either at: or cron:"),
        ("{schedule: {at: 09:00, cron: 0 9 * * *}, audience: vip}", "SJ420", "either at: or cron:"),
        ("{schedule: {at: 09:00, timezone: Rome}, audience: vip}", "SJ112", "not a time zone"),
        ("{schedule: {at: 09:00}, audience: vip, again: always}", "SJ420", "enrolls afresh"),
        ("{schedule: {at: 09:00}, audience: vip, key: x}", "SJ420", "nothing that a key: could name"),
        ("{schedule: {at: 09:00}, audience: vpi}", "SJ212", "did you mean 'vip'?"),
        ("{schedule: {at: 09:00}, audience: customer.pln == 1}", "SJ231", "did you mean `plan`?"),
        ("{schedule: {at: 09:00}, audience: {did: signd_up}}", "SJ201", "did you mean 'signed_up'?"),
        ("{schedule: {at: 09:00}}", "SJ111", "'audience' is missing"),
        ("{schedule: {at: 09:00}, audience: vip, rate: fast}", "SJ112", "must be a rate"),
        ("{schedule: {at: 09:00}, audience: entry.x == 1}", "SJ232", "nobody has entered"),
        ("{broadcast: order_refunded, audience: vip}", "SJ413", "must say so"),
        ("{broadcast: order_refnded, audience: vip, again: always}", "SJ201", "did you mean 'order_refunded'?"),
        ("{broadcast: order_refunded, audience: vip, key: ordr_id}", "SJ211", "did you mean 'order_id'?"),
        ("{date: customer.plan}", "SJ425", "one of customer.renews_on, customer.vip_since"),
        ("{date: renews_on}", "SJ425", "one of customer.renews_on"),
        ("{date: customer.renews_on + days(3)}", "SJ425", "one of customer.renews_on"),
        ("{date: customer.renews_on, key: order_id}", "SJ420", "nothing that a key: could name"),
        ("{date: customer.renews_on, every: month}", "SJ112", "must be 'year'"),
    ],
)
def test_what_is_wrong_is_said_with_how_to_mend_it(
    problems: Callable[..., list[Problem]], enter: str, code: str, words: str
) -> None:
    """One problem, of that code, at the entry."""
    found = [p for p in problems(j=head(enter) + "- exit: done\n") if p.level == "error"]
    assert [(code, 3)] == [(p.code, p.line) for p in found]
    assert words in found[0].render()


@pytest.mark.parametrize(
    ("enter", "words"),
    [
        ("{schedule: {days: [tue], at: 09:00}, audience: vip}", "j: tue at 09:00, local time"),
        ("{date: customer.renews_on, offset: -90d}", "j: 90d before customer.renews_on at 09:00"),
        ("{broadcast: order_refunded, audience: vip, key: order_id}", "j: whom order_refunded concerns"),
    ],
)
def test_a_drawn_journey_says_how_people_come_in(compiled: Callable[..., Compiled], enter: str, words: str) -> None:
    """In words."""
    assert words in mermaid(compiled(j=head(enter) + "- exit: done\n").plans["j"])


QUIET = POLICY + 'quiet_hours: [{from: "21:00", to: "08:00"}]\n'


@pytest.mark.parametrize(
    ("enter", "codes"),
    [
        ("{event: signed_up, again: always}", ["SJ433"]),
        ("{schedule: {at: 09:00, days: [tue]}, audience: vip}", []),
        ("{schedule: {at: 22:00}, audience: vip}", ["SJ433"]),
        ('{schedule: {cron: "0 9-17 * * mon-fri"}, audience: vip}', []),
        ('{schedule: {cron: "0 23 * * *"}, audience: vip}', ["SJ433"]),
        ("{schedule: 2030-12-01 09:00, audience: vip}", []),
        ("{date: customer.renews_on}", []),
        ("{date: customer.renews_on, at: 23:00}", ["SJ433"]),
        ("[{date: customer.renews_on}, {event: signed_up, again: always}]", ["SJ433"]),
    ],
)
def test_proofs_know_when_the_calendar_lets_people_in(
    problems: Callable[..., list[Problem]], enter: str, codes: list[str]
) -> None:
    """A letter that is worth sending for two hours is lost at night: of those who come in at nine nobody is warned about."""
    assert codes == [p.code for p in problems(j=head(enter) + SEND, policy=QUIET)]


def test_proofs_of_caps_try_the_times_at_which_people_enter(problems: Callable[..., list[Problem]]) -> None:
    """Who comes in at any hour loses the second letter near midnight; who comes in at nine doesn't."""
    steps = (
        "- {send: email, id: a, template: hello, topic: news, expires: 2h}\n- {wait: 6h, id: w}\n"
        "- {send: email, id: b, template: hello, topic: news, expires: 12h}\n"
    )
    policy = POLICY + "caps: [{name: daily, limit: 1, per: day}]\n"
    event, night, morning = (
        [p.code for p in problems(j=head(enter) + steps, policy=policy)]
        for enter in (
            "{event: signed_up, again: always}",
            "{schedule: {at: 20:00}, audience: vip}",
            "{schedule: {at: 02:00}, audience: vip}",
        )
    )
    assert (["SJ432"], [], ["SJ432"]) == (event, night, morning)


def test_a_segment_is_an_event_of_its_own(compiled: Callable[..., Compiled], entry: Callable[[str], Entry]) -> None:
    """Entering and leaving; who is in it already is an audience, where they are to be enrolled."""
    found = entry("{segment: vip, existing: ignore, again: never}")
    assert ("segment", "segment_entered", "never") == (found.kind, found.event, found.again)
    assert {"segment": "vip", "existing": "ignore"} == found.options
    found = entry('{segment: vip, when: leaves, existing: ignore, again: after 30d, if: entry.segment == "vip"}')
    assert ("segment_left", "after", Duration(days=30)) == (found.event, found.again, found.again_after)
    found = entry("{segment: vip, existing: enroll, again: always}")
    assert InSegment("vip") == audience(found)
    plan = compiled(j=head("{segment: vip, existing: ignore, again: never}") + SEND).plans["j"]
    assert "who enters vip" in mermaid(plan)
    assert "segment_entered" in plan.events()
