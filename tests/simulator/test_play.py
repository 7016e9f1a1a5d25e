"""What the simulator does beside journeys that an event opens: the calendar, time alone, people who turn out to be one, calls."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from engine.authoring.project import Compiled, load_project
from engine.core.holdouts import by_journey
from engine.core.incoming import Incoming
from engine.simulator.play import Begun, Play
from engine.simulator.stage import Answer, Call
from engine.simulator.told import Told
from tests.docs.pages import DOCS, ROOT, blocks
from tests.harness import POLICY, utc, write_project

TRACKING = """
events:
  signed_up: {properties: {plan: string}}
  viewed: {properties: {product: string}}
  cheaper: {properties: {product: string}}
  asked: {properties: {n: string}}
  pinged: {properties: {number: integer}}
attributes: {first_name: string, email: string, phone: string, timezone: string, country: string, birthday: date, renews_on: date}
computed: {views: {count: viewed, within: 3d}}
"""
SEGMENTS = """
segments:
  looking: {did: viewed, within: 2d}
  keen: {if: customer.views >= 2}
  soon: {if: customer.renews_on is not none and customer.renews_on < now + days(30)}
"""


def journey(name: str, enter: str, *steps: str, more: str = "", tier: str = "lifecycle") -> str:
    """One of the tests' journeys, which sends "hello" where no steps are given."""
    written = "".join(f"  - {step}\n" for step in steps or ("{send: email, id: hello, template: hello, topic: news}",))
    return f"journey: {name}\ntier: {tier}\nenter: {enter}\n{more}steps:\n{written}"


SEND = "{send: email, id: hello, template: hello, topic: news}"
JOURNEYS = {
    "birthday": journey("birthday", "{date: customer.birthday, at: '09:00', every: year}"),
    "renews": journey("renews", "{date: customer.renews_on, offset: -10d, at: '08:00', on_past: skip}"),
    "weekly": journey("weekly", "{schedule: {at: '09:00', days: [tue], timezone: customer}, audience: customer.country == 'IT'}"),
    "once": journey("once", "{schedule: '2026-03-11 12:00', audience: looking}"),
    "cheaper": journey(
        "cheaper",
        "{broadcast: cheaper, audience: {did: viewed, within: 30d, where: event.product == entry.product}, key: product}",
    ),
    "gone": journey("gone", "{segment: looking, when: leaves, existing: ignore, again: always}"),
    "bored": journey("bored", "{segment: keen, when: leaves, existing: ignore, again: always}"),
    "soon": journey("soon", "{segment: soon, existing: ignore, again: never}"),
    "asked": journey(
        "asked",
        "{event: asked, again: always}",
        '{call: "POST https://crm.example/ask", id: ask, json: {who: "{{ customer.first_name }}"}, into: vars.answer}',
        "{branch: [{if: 'vars.answer.score >= 3', then: [{task: service, title: 'Score {{ vars.answer.score }}'}]}], id: score}",
    ),
    "held": journey("held", "{event: signed_up, again: never}", SEND, "{task: sales, title: Call}", more="holdout: 50%\n"),
    "patient": journey(
        "patient",
        "{event: signed_up, again: never}",
        "{wait_for: {if: customer.renews_on < now + days(20)}, id: near, timeout: 90d, then: [{exit: near}]}",
    ),
    "choosy": journey(
        "choosy",
        "{event: pinged, again: never}",
        "{wait_for: [{event: cheaper}, {event: asked}], id: first, timeout: 5d}",
        "{wait_for: viewed, id: second, timeout: 5d}",
    ),
    "texted": journey("texted", "{event: signed_up, again: always}", "{send: sms, id: hello, template: hello, topic: news}"),
    "receipt": journey(
        "receipt", "{event: asked, again: always}", "{send: sms, id: there, template: hello}", tier="transactional"
    ),
    "twice": journey("twice", "{event: pinged, again: always}", "{wait: 3d, id: three}", SEND),
}


@cache
def project() -> Compiled:
    """All of them; each test deploys those that it is about."""
    policy = POLICY.replace("sms: {default: granted}", "sms: {default: none, double_opt_in: true}")
    with TemporaryDirectory() as folder:
        files = {f"journeys/{name}.yaml": text for name, text in JOURNEYS.items()}
        files |= {"journeys/tracking.yaml": TRACKING, "journeys/segments.yaml": SEGMENTS, "journeys/policy.yaml": policy}
        return load_project(write_project(Path(folder), files), {"email", "sms"})


class Scene:
    """A simulation of some of the journeys from 1 March 2026, and what it tells."""

    def __init__(self, *journeys: str, **settings: Any) -> None:
        self.told: list[Told] = []
        self.play = Play(project(), journeys=journeys, start=utc("2026-03-01 00:00"), tell=self.told.append, **settings)
        self.numbers = iter(range(1_000_000))

    def identify(self, user: str, at: str | None = None, **traits: Any) -> None:
        """Something is told of somebody."""
        values = {"email": f"{user}@example.com", "first_name": user.title(), **traits}
        self.take("identify", user, at, traits=values)

    def track(self, user: str, event: str, at: str | None = None, **properties: Any) -> None:
        """Somebody does something."""
        self.take("track", user, at, name=event, properties=properties)

    def take(self, kind: Any, user: str, at: str | None, **values: Any) -> None:
        """Anything comes in."""
        values.setdefault("identifiers", {"user_id": user})
        moment = utc(at) if at else None
        self.play.take([Incoming(kind, "test", f"m{next(self.numbers)}", occurred_at=moment, **values)])

    def came(self, kind: str, until: str) -> list[tuple[str, str]]:
        """(user, when) of everything of one kind, once it is `until`."""
        self.play.run(utc(until))
        return [(t.user, f"{t.at:%Y-%m-%d %H:%M}") for t in self.told if t.kind == kind]


def test_dates_come_each_year_and_follow_the_attribute() -> None:
    """Nine in the morning where the customer lives; a date that is changed in time is the new one; over, it is skipped."""
    scene = Scene("birthday", "renews")
    scene.identify("ada", birthday="1990-03-10", timezone="Europe/Rome")
    scene.identify("ben", renews_on="2026-04-20")
    scene.identify("cy", renews_on="2026-03-05")
    scene.identify("ben", "2026-04-01 00:00", renews_on="2026-05-20")
    assert [
        ("ada", "2026-03-10 08:00"),
        ("ben", "2026-05-10 08:00"),
        ("ada", "2027-03-10 08:00"),
    ] == scene.came("send", "2027-12-31 00:00")


def test_a_new_sender_is_warmed_up_day_by_day() -> None:
    """Two on the day (UTC) of the first message, four on the next, without limit on the day that would have eight; who waits goes
    on another day, at the planned time of day. Without a `warming` all go at once, and receipts always."""
    people = [f"u{n}" for n in range(12)]

    def days(late: str, **warming: Any) -> list[int]:
        scene = Scene("texted", "receipt", **warming)
        for user in people:
            scene.identify(user, phone=f"+39{user}")
            scene.track(user, "consent_changed", channel="sms", state="granted", confirmed=True)
            scene.track(user, "signed_up", "2026-03-02 22:00")
        scene.track("u0", "asked", "2026-03-02 23:00")
        sent = [at for user, at in scene.came("send", late)]
        return [sum(at.startswith(f"2026-03-0{day}") for at in sent) for day in (2, 3, 4)]

    assert [13, 0, 0] == days("2026-03-09 00:00")
    assert [3, 4, 6] == days("2026-03-09 00:00", warming={"sms": Begun(2, 1, full=8)})
    assert [3, 4, 0] == days("2026-03-04 00:00", warming={"sms": Begun(2, 1, full=8)})
    assert [13, 0, 0] == days("2026-03-09 00:00", warming={"email": Begun(2, 1, full=8)})


def test_a_schedule_reaches_its_audience_at_their_own_time() -> None:
    """Every Tuesday at nine, once where it says so; who isn't in the audience then isn't reached."""
    scene = Scene("weekly", "once")
    scene.identify("ada", country="IT", timezone="Asia/Kolkata")
    scene.identify("ben", country="IT", timezone="America/New_York")
    scene.identify("cy", country="US")
    scene.track("cy", "viewed", "2026-03-10 12:00", product="serum")
    assert [
        ("ada", "2026-03-03 03:30"),
        ("ben", "2026-03-03 14:00"),
        ("ada", "2026-03-10 03:30"),
        ("ben", "2026-03-10 13:00"),  # clocks went forward in between
        ("cy", "2026-03-11 12:00"),
    ] == scene.came("send", "2026-03-16 00:00")


def test_an_event_about_a_thing_reaches_those_whom_it_concerns() -> None:
    """Those who looked at it lately, once for each."""
    scene = Scene("cheaper")
    for user, product, at in (
        ("ada", "serum", "2026-03-02 10:00"),
        ("ben", "soap", "2026-03-02 11:00"),
        ("cy", "serum", "2026-03-30 10:00"),
    ):
        scene.identify(user, at)
        scene.track(user, "viewed", product=product)
    scene.identify("shop", "2026-04-02 10:00")
    scene.track("shop", "cheaper", product="serum")
    assert [("cy", "2026-04-02 10:00")] == scene.came("send", "2026-05-01 00:00")


def test_time_alone_moves_people_at_the_exact_moment() -> None:
    """Two days after the last look; when the computed attribute falls; and within the hour where `now` decides."""
    scene = Scene("gone", "bored", "soon")
    scene.identify("ada", "2026-03-02 10:00")
    scene.track("ada", "viewed", product="serum")
    scene.track("ada", "viewed", "2026-03-03 18:20", product="serum")
    scene.identify("ben", "2026-03-04 09:00", renews_on="2026-04-10")
    sent = scene.came("send", "2026-05-01 00:00")
    assert [("ada", "2026-03-05 10:00"), ("ada", "2026-03-05 18:20"), ("ben", "2026-03-11 01:00")] == sent


def test_a_wait_for_a_condition_ends_when_time_makes_it_true() -> None:
    """Within the hour, as on the engine."""
    scene = Scene("patient")
    scene.identify("ada", renews_on="2026-04-10")
    scene.track("ada", "signed_up", "2026-03-02 10:00")
    assert [("ada", "2026-03-21 01:00")] == scene.came("exit", "2026-06-01 00:00")


def test_calls_get_the_answers_that_are_given() -> None:
    """One that fails is tried again later; what it answers in the end is a variable."""
    calls: list[Call] = []

    def answer(call: Call) -> Answer:
        calls.append(call)
        return Answer(503) if len(calls) < 3 else Answer(200, {"score": 4})

    scene = Scene("asked", calls=answer)
    scene.identify("ada", "2026-03-02 10:00")
    scene.track("ada", "asked", n="1")
    assert [("ada", "2026-03-02 10:00")] == scene.came("task", "2026-03-03 00:00")
    assert [{"who": "Ada"}] * 3 == [call.json for call in calls]
    assert 1 == len({call.key for call in calls})
    assert ["Score 4"] == [t.title for t in scene.told if t.kind == "task"]
    assert [503.0, 503.0, 200.0] == [t.value for t in scene.told if t.kind == "call"]


def test_who_is_held_out_is_known_by_their_number() -> None:
    """The same customers as on the engine: they enter, and get neither messages nor tasks."""
    plan = project().plans["held"]
    scene = Scene("held")
    for number in range(100, 110):
        scene.play.known(f"c{number}", number)
        scene.identify(f"c{number}")
        scene.track(f"c{number}", "signed_up")
    reached = {user for user, _ in scene.came("send", "2026-03-02 00:00")}
    assert {f"c{n}" for n in range(100, 110) if not by_journey(plan, n)} == reached
    assert reached == {user for user, _ in scene.came("task", "2026-03-02 00:00")}
    assert 10 == len(scene.came("enter", "2026-03-02 00:00"))
    with pytest.raises(ValueError, match="is a customer already"):
        scene.play.known("c100", 200)


def test_two_who_turn_out_to_be_one_have_one_queue_and_one_enrollment() -> None:
    """Somebody anonymous becomes known: what they did counts, and what they are in goes on under the other number."""
    scene = Scene("twice", "gone")
    scene.take("track", "", "2026-03-02 10:00", name="viewed", properties={"product": "serum"}, identifiers={"anonymous_id": "x"})
    scene.take("track", "", "2026-03-02 11:00", name="pinged", properties={"number": 1}, identifiers={"anonymous_id": "x"})
    scene.identify("ada", "2026-03-03 09:00")
    scene.track("ada", "pinged", number=2)
    scene.take("identify", "ada", "2026-03-03 12:00", traits={}, identifiers={"user_id": "ada", "anonymous_id": "x"})
    sent = scene.came("send", "2026-04-01 00:00")
    assert [("ada", "2026-03-04 10:00"), ("ada", "2026-03-05 11:00")] == sent
    assert ["merged"] == [t.reason for t in scene.told if t.kind == "exit" and t.reason != "completed"]


class Unwalked(dict[Any, Any]):
    """What may be looked up in, and not walked through."""

    def __iter__(self) -> Any:
        raise AssertionError("walked through")

    keys = items = values = __iter__


def test_joining_two_looks_at_nobody_else() -> None:
    """However many there are: what is known of everybody isn't walked through. What the two did is still one's."""
    scene = Scene("gone", "bored", "twice")
    memory = scene.play._stage.memory
    memory.names, memory.happened, memory.kept = Unwalked(), Unwalked(), Unwalked()
    for name in ("x", "y"):
        scene.take("track", "", "2026-03-02 10:00", name="viewed", identifiers={"anonymous_id": name})
        scene.take("track", "", "2026-03-02 11:00", name="pinged", identifiers={"anonymous_id": name})
    for name in ("x", "y"):
        scene.take("identify", "ada", "2026-03-03 12:00", traits={}, identifiers={"user_id": "ada", "anonymous_id": name})
    (ada,) = memory.customers.values()
    assert {("user_id", "ada"), ("anonymous_id", "x"), ("anonymous_id", "y")} == set(ada.names)
    assert [ada.id] * 3 == [memory.names[pair] for pair in ada.names]
    assert [(ada.id, "twice", "")] == list(ada.before)
    assert ({(ada.id, "viewed")}, {(ada.id, "views")}) == (set(dict.keys(memory.happened)), set(dict.keys(memory.kept)))


def test_the_way_out_of_a_wait_is_told() -> None:
    """By the event that ends it while it waits, by one that had come before, and when nothing comes."""
    scene = Scene("choosy")
    for user in ("ada", "ben", "cy"):
        scene.identify(user)
        scene.track(user, "pinged", "2026-03-02 10:00", number=1)
    scene.track("ben", "viewed", "2026-03-03 10:00")
    for user, event in (("ada", "cheaper"), ("ben", "asked")):
        scene.track(user, event, "2026-03-04 10:00")
    scene.play.run(utc("2026-04-01 00:00"))
    ways = {(t.user, t.step): t.choice for t in scene.told if t.kind == "branch"}
    assert {"ada": "0", "ben": "1", "cy": "timeout"} == {user: way for (user, step), way in ways.items() if step == "first"}
    assert {"ada": "timeout", "ben": "0", "cy": "timeout"} == {u: way for (u, step), way in ways.items() if step == "second"}


def test_what_the_door_would_refuse_is_kept_with_the_reason() -> None:
    """Nothing is lost: it can be asked for, and everything else goes on."""
    scene = Scene("asked", repeats=True)
    scene.identify("ada")
    scene.track("ada", "pinged", number="many")
    scene.take("alias", "ada", None)
    again = Incoming("track", "test", "same", "asked", {"n": "1"}, identifiers={"user_id": "ada"})
    scene.play.take([again, again])
    assert ["pinged: number", "alias: previousId"] == [why[: why.index(" ", 9)] for _, why in scene.play.refused]
    assert 1 == len(scene.came("enter", "2026-03-02 00:00"))


def test_agreeing_that_must_be_confirmed_waits_for_it() -> None:
    """A consent that policy wants confirmed is pending, and none, until the link's statement comes."""
    scene = Scene("texted")
    scene.identify("ada", phone="+393331234500")
    said = {"channel": "sms", "topic": "news", "state": "granted"}
    scene.track("ada", "consent_changed", "2026-03-02 10:00", **said)
    scene.track("ada", "signed_up")
    scene.track("ada", "consent_changed", "2026-03-03 10:00", **said, confirmed=True)
    scene.track("ada", "signed_up")
    assert [("ada", "2026-03-03 10:00")] == scene.came("send", "2026-03-04 00:00")
    assert ["consent"] == [t.reason for t in scene.told if t.kind == "drop"]


def test_the_example_on_the_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What docs/explanation/simulator.md shows plays the project that ships: a basket is left, and reminded of."""
    (example,) = [b for b in blocks(DOCS / "explanation" / "simulator.md") if b.language == "python"]
    monkeypatch.chdir(ROOT)
    exec(compile(example.text, "simulator.md", "exec"), {})
    assert "('send', 'abandoned_cart'" in capsys.readouterr().out


def test_the_same_input_gives_the_same_output_and_time_never_goes_back() -> None:
    """No clock, no chance: two runs tell the same, in order of time."""

    def run() -> list[Told]:
        scene = Scene(*JOURNEYS)
        for n in range(3):
            scene.identify(f"c{n}", f"2026-03-0{n + 1} 07:00", birthday=f"1990-04-0{n + 1}", country="IT", renews_on="2026-06-01")
            for event in ("signed_up", "viewed", "asked", "pinged"):
                scene.track(f"c{n}", event)
        scene.play.run(utc("2026-04-15 00:00"))
        return scene.told

    first = run()
    assert first == run()
    assert len(first) > 100
    assert all(a.at <= b.at for a, b in pairwise(first))
