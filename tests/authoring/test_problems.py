"""What is wrong with a project: each rule of the language has its code, its place and its hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.authoring.model_segments import Segments
from engine.authoring.model_tracking import Tracking
from engine.authoring.project import AuthoringError, load_project
from engine.authoring.salvage import NAMES, tell_names
from engine.authoring.shape_journey import Journey
from engine.authoring.world import World
from engine.core.policy import Policy, Tier
from engine.settings.problems import Problem
from engine.settings.shape import validate
from engine.settings.yaml import read
from tests.authoring.conftest import CHANNELS, HEAD, LETTER

Finding = Callable[..., list[Problem]]
SEND = "send: email, template: hello, topic: news"
CAP = "tiers: [{name: lifecycle}]\ncaps: [{name: a, limit: 3, "

GONE = "segment: vip, when: leaves, existing: enroll, again: never"
NOWHERE = "segment: vp, existing: ignore, again: never"


@pytest.mark.parametrize(
    ("steps", "code", "underlined"),
    [
        ("- {send: email, template: hello, topc: news}", "SJ110", "topc"),
        ("- {send: email, topic: news}", "SJ111", "send"),
        ("- {wait: 3x}", "SJ112", "3x"),
        ("- {wait: -3d}", "SJ112", "-3d"),
        ("- {wiat: 3d}", "SJ113", "wiat"),
        ("- {wait: 3d, exit: now}", "SJ114", "exit"),
        ("- just words", "SJ113", "just words"),
        ("- {exit: a, if: entry.total >}", "SJ120", None),
        ("- {wait_for: reviewsubmitted, timeout: 1d}", "SJ201", "reviewsubmitted"),
        ("- {send: email, template: helo, topic: news}", "SJ202", "helo"),
        ("- {send: email, template: hello, topic: nws}", "SJ203", "nws"),
        (f"- {{{SEND}, tier: promo}}", "SJ204", "promo"),
        ("- {send: mail, template: hello, topic: news}", "SJ205", "mail"),
        (f"- {{{SEND}, tags: [offer, surv]}}", "SJ207", "surv"),
        (f"- {{{SEND}, fallback: [fax]}}", "SJ205", "fax"),
        ("- {start: jj}", "SJ206", "jj"),
        ("- set: {customer.firstname: x}", "SJ208", "customer.firstname"),
        ("- {emit: review_submitted, with: {rating: 3, ratng: 4}}", "SJ211", "ratng"),
        ("- {wait_for: {segment: vipp}, timeout: 1d}", "SJ212", "vipp"),
        ('- {exit: a, if: segment("vipp")}', "SJ212", '"vipp"'),
        ("- {exit: a, if: customer.first_nam is none}", "SJ231", "first_nam"),
        ("- {exit: a, if: event.total is none}", "SJ232", None),
        ("- {exit: a, if: vars.later is none}", "SJ231", "later"),
        ('- {task: sales, title: "{{ secrets.X }}"}', "SJ232", None),
        (f"- {{{SEND}, variants: [a]}}", "SJ290", "variants"),
        ("- {emit: review_submitted, with: {rating: four}}", "SJ302", "four"),
        ("- set: {customer.renews_on: soon}", "SJ302", "soon"),
        ('- {exit: a, if: entry.category == "foood"}', "SJ330", '"foood"'),
        ('- {exit: a, if: entry.category == "food" or "skincare"}', "SJ331", None),
        ("- {wait: {until: customer.plan, on_past: run}}", "SJ335", None),
        ("- {exit: a, id: x, if: segment('vip')}\n- {exit: b, id: x}", "SJ410", "x"),
        ("- {wait: {until: customer.renews_on}}", "SJ416", "customer.renews_on"),
        ("- {send: email, template: hello}", "SJ417", "send"),
        (f"- {{{SEND}, tier: service}}", "SJ418", "service"),
        ("- {wait_for: [{event: signed_up, segment: vip}], timeout: 1d}", "SJ420", None),
        ("- {wait_for: [{event: signed_up}], timeout: 1d, then: [{exit: x}]}", "SJ420", "then"),
        ("- {repeat: {every: 1d, steps: [{exit: x}]}}", "SJ420", "repeat"),
        ("- branch: [{then: [{exit: x}]}]", "SJ420", None),
        ("- {emit: message_sent}", "SJ422", "message_sent"),
        ("- set: {customer.orders: 3}", "SJ423", "customer.orders"),
        ("- {call: get x}", "SJ112", "get x"),
        ("- {send: email, template: hello, topic: news, window: {from: 25:00, to: 9:00}}", "SJ112", "25:00"),
        ("- split: s\n  holdout: 10\n  arms: [{name: a}]", "SJ112", "10"),
    ],
)
def test_a_wrong_step_is_underlined(problems: Finding, steps: str, code: str, underlined: str | None) -> None:
    """The first error has this code, lies in the step, and underlines the word that is wrong."""
    found = [p for p in problems(steps) if p.level == "error"]
    assert code in {p.code for p in found}
    problem = next(p for p in found if p.code == code)
    assert "journeys/j.yaml" == problem.file
    assert problem.line > HEAD.count("\n")
    if underlined:
        assert underlined == problem.text[problem.column - 1 : problem.column - 1 + problem.length]


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("j", HEAD.replace(", key: order_id", "") + "- exit: x", "SJ413"),
        ("j", HEAD.replace("key: order_id", "key: ordr_id") + "- exit: x", "SJ211"),
        ("j", HEAD.replace("{event: order_completed, key: order_id}", "{segment: vip, existing: ignore}") + "- exit: x", "SJ413"),
        ("j", HEAD.replace("event: order_completed", "existing: ignore, segment: vip") + "- exit: x", "SJ420"),
        ("j", HEAD.replace("event: order_completed, key: order_id", GONE) + "- exit: x", "SJ420"),
        (
            "j",
            HEAD.replace("event: order_completed, key: order_id", NOWHERE) + "- exit: x",
            "SJ212",
        ),
        ("j", HEAD.replace("{event", "[{event: signed_up, again: never}, {event").replace("id}", "id}]") + "- exit: x", "SJ414"),
        ("j", "tags: [offer, surv]\n" + HEAD + "- exit: x", "SJ207"),
        ("j", "starts: soon\n" + HEAD + "- exit: x", "SJ421"),
        ("j", "exit: [{where: event.x}]\n" + HEAD + "- exit: x", "SJ420"),
        ("j", "status: lives\n" + HEAD + "- exit: x", "SJ112"),
        ("second", HEAD + "- exit: x", "SJ411"),
        ("segments", "segments: {a: {segment: b}, b: {segment: a}}\n", "SJ412"),
        ("segments", 'segments: {a: {if: segment("b")}, b: {not: {segment: a}}}\n', "SJ412"),
        ("segments", "segments: {a: {did: signed_up, where: segment('b')}, b: {not: {segment: a}}}\n", "SJ412"),
        ("segments", "segments: {a: {if: customer.stage == 'x'}}\nstages: [{stage: x, segment: a}]\n", "SJ412"),
        ("segments", "segments: {a: {did: signed_up, where: customer.stage == 'x'}}\nstages: [{stage: x}]\n", "SJ412"),
        ("segments", "segments: {big_spender: {did: signed_up}, BigSpender: {did: signed_up}}\n", "SJ411"),
        ("segments", "segments: {}\nstages: [{stage: at_risk, did: signed_up}, {stage: atrisk}]\n", "SJ411"),
        ("segments", "segments: {a: {did: order_completd}}\n", "SJ201"),
        ("segments", "segments: {a: {if: customer.plan == 'x', within: 3d}}\n", "SJ420"),
        ("segments", "segments: {a: {}}\n", "SJ420"),
        ("segments", "segments: {a: {if: entry.total > 3}}\n", "SJ232"),
        ("segments", "", "SJ108"),
        ("tracking", "events: {a: {properties: {x: strin}}}\n", "SJ310"),
        ("tracking", "events: {a: {properties: {x: string}, required: [y]}}\n", "SJ211"),
        ("tracking", "events: {message_sent: {}}\n", "SJ422"),
        ("tracking", "events: {a: {properties: {occurred_at: datetime}}}\n", "SJ424"),
        ("tracking", "computed: {x: {count: nothing}}\n", "SJ201"),
        ("tracking", "computed: {x: {sum: event.a, cont: b}}\n", "SJ111"),
        ("tracking", "events: {a: {}}\nattributes: {x: string}\ncomputed: {x: {count: a}}\n", "SJ411"),
        ("tracking", "events: {a: {}}\ncomputed: {x: {median_gap_days: a, default: many}}\n", "SJ302"),
        ("policy", "tiers: [{name: lifecycle}, {name: lifecycle}]\n", "SJ411"),
        ("policy", "tiers: [{name: lifecycle}]\ncaps: [{name: a, limit: 1, per: dayly}]\n", "SJ112"),
        ("policy", "tiers: [{name: lifecycle}]\ncaps: [{name: a, limit: 1, per: day, tiers: [lifecycl]}]\n", "SJ204"),
        ("policy", CAP + "per: 0d}]\n", "SJ112"),
        ("policy", CAP + "per: -7d}]\n", "SJ112"),
        ("policy", CAP + "per: day, tags: [surv]}]\n", "SJ207"),
        ("policy", CAP + "per: day, segments: [vipp]}]\n", "SJ212"),
        ("policy", CAP + "per: day, limits: [{segment: vipp, limit: 2}]}]\n", "SJ212"),
        ("policy", CAP + "per: day, limits: [{segment: vip, limit: 2}, {segment: vip, limit: 3}]}]\n", "SJ411"),
        ("policy", CAP + "per: day, limits: [{segment: vip, limit: some}]}]\n", "SJ112"),
        ("policy", CAP + "per: day, own_limit: customer.orderz}]\n", "SJ231"),
        ("policy", CAP + "per: day, own_limit: customer.first_name}]\n", "SJ335"),
        ("policy", CAP + "per: day, own_limit: event.total}]\n", "SJ232"),
        ("policy", CAP + "per: day, own_up_to: 5}]\n", "SJ420"),
        ("policy", CAP + "per: day, own_limit: customer.orders, own_up_to: 3}]\n", "SJ420"),
        ("policy", "tiers: [{name: lifecycle}]\ngaps: [{name: a, gap: 0s}]\n", "SJ112"),
        ("policy", "tiers: [{name: lifecycle}]\ngaps: [{name: a, gap: 4h, limit: 2}]\n", "SJ110"),
        ("policy", "tiers: [{name: lifecycle}]\ngaps: [{name: a, gap: 4h, journeys: [jj]}]\n", "SJ206"),
        ("policy", "tiers: [{name: lifecycle}]\ngaps: [{name: a, gap: 4h}, {name: a, gap: 5h}]\n", "SJ411"),
        ("policy", CAP + "per: day}]\ngaps: [{name: a, gap: 4h}]\n", "SJ411"),
        ("policy", "tiers: [{name: lifecycle}]\nholds: [{pause: [lifecycle], at_most: 1d}]\n", "SJ420"),
        ("policy", "tiers: [{name: lifecycle}]\nholds: [{while_in: nowhere, pause: [lifecycle], at_most: 1d}]\n", "SJ206"),
        ("policy", "tiers: [{name: lifecycle}]\ntimezone: Europe/Roma\n", "SJ112"),
        ("policy", "tiers: [{name: lifecycle}]\nconsent: {email: {default: granted, double_opt_in: true}}\n", "SJ420"),
        ("tests/j", "- {test: a, journey: jj}\n", "SJ206"),
        ("tests/j", "- {test: a, journey: j, expect: [{at: now}]}\n", "SJ112"),
        ("tests/j", "- {test: a, journey: j, expct: []}\n", "SJ110"),
    ],
)
def test_a_wrong_file_is_named(problems: Finding, file: str, text: str, code: str) -> None:
    """Every file's rules are checked, and the problem lies in that file."""
    found = problems(**{file: text})
    assert (f"journeys/{file}.yaml", code) in {(p.file, p.code) for p in found if p.level == "error"}


@pytest.mark.parametrize(
    ("steps", "code"),
    [("- wait: 3d", "SJ419"), ("- exit: x\n- exit: y", "SJ415"), ("- {exit: a, if: entry.total > 3}", "SJ333")],
)
def test_warnings_do_not_refuse(problems: Finding, steps: str, code: str) -> None:
    """A wait without an id, a step nobody gets to, and comparing what may be missing are warnings."""
    assert [code] == [p.code for p in problems(steps) if p.level == "warning"]
    assert [] == [p for p in problems(steps) if p.level == "error"]


def test_all_problems_of_all_files_come_out_in_one_run(write: Callable[..., Path]) -> None:
    """Broken YAML in one file, a wrong key in the next and an unknown name in a third are all reported, in order."""
    folder = write(
        {
            "journeys/a.yaml": "journey: a\nsteps: [\n",
            "journeys/b.yaml": HEAD.replace("journey: j", "journey: b") + "- {wiat: 1d}\n- {wait: 1q}\n",
            "journeys/c.yaml": HEAD.replace("journey: j", "journey: c") + "- {exit: x, if: customer.nam}\n",
            "templates/email/broken.txt": "---\nsubject: x\n",
        }
    )
    with pytest.raises(AuthoringError) as raised:
        load_project(folder, CHANNELS)
    found = [(p.file, p.code) for p in raised.value.problems]
    assert [
        ("journeys/a.yaml", "SJ101"),
        ("journeys/b.yaml", "SJ113"),
        ("journeys/b.yaml", "SJ112"),
        ("journeys/c.yaml", "SJ231"),
        ("templates/email/broken.txt", "SJ122"),
    ] == found


@pytest.mark.parametrize(
    ("path", "text", "code", "line"),
    [
        ("email/new.txt", LETTER.replace("customer.email", "customer.emial"), "SJ231", 4),
        ("email/new.txt", LETTER.replace("}}\n{{", "}\n{{"), "SJ120", 4),
        ("email/new.html", LETTER.replace("customer.email", "customer.email | uper"), "SJ233", 4),
        ("email/new.txt", "Hello\n", "SJ240", 1),
        ("email/new.html", "---\nsubject: x\n---\n<a href=''>x</a>\n", "SJ244", 4),
        ("email/hello.it.txt", LETTER.replace("subject:", "sbject:"), "SJ240", 1),
        ("push/new.txt", "{{ segmnt('vip') }}", "SJ233", 1),
        ("sms/new.txt", '{% include "partials/gone.txt" %}', "SJ120", 1),
        ("partials/foot.txt", "{% if customer.plan %}", "SJ120", 1),
        ("layouts/letter.html", "{{ customer.emial }}", "SJ231", 1),
    ],
)
def test_a_template_that_nothing_sends_is_checked_too(
    write: Callable[..., Path], path: str, text: str, code: str, line: int
) -> None:
    """Syntax, names, filters, what it includes, what a message needs; layouts and partials that no message includes as well."""
    folder = write({"journeys/j.yaml": HEAD + "- {exit: done}", f"templates/{path}": text})
    with pytest.raises(AuthoringError) as raised:
        load_project(folder, CHANNELS)
    assert [(f"templates/{path}", line, code)] == [(p.file, p.line, p.code) for p in raised.value.problems if p.level == "error"]


def test_what_a_send_may_yet_give_is_no_mistake(write: Callable[..., Path]) -> None:
    """Nobody knows which event is looked at, nor what stands under `with`; what nothing sends is said, once everything can be
    read."""
    new = LETTER.replace("Hello {{ customer.email }}", "{{ entry.x }} {{ event.items[0].sku }} {{ vars.y }} {{ percent }}")
    files = {"journeys/j.yaml": HEAD + "- {send: email, template: hello, topic: news}", "templates/email/new.txt": new}
    found = [(p.file, p.code, p.level) for p in load_project(write(files), CHANNELS).problems]
    assert [
        ("templates/email/new.txt", "SJ209", "warning"),
        ("templates/email/new.txt", "SJ230", "warning"),
        ("templates/email/service/sorry.txt", "SJ209", "warning"),
        ("templates/sms/hello.txt", "SJ209", "warning"),
    ] == found
    with pytest.raises(AuthoringError) as raised:
        load_project(write({"journeys/broken.yaml": "journey: broken\n"}), CHANNELS)
    assert "SJ209" not in {p.code for p in raised.value.problems}, "a journey that can't be read may send it"


def test_a_message_of_a_channel_that_there_is_not_is_told_so(write: Callable[..., Path]) -> None:
    """Nobody could send it as it lies there: the folder's name is meant otherwise, or the channel isn't declared."""
    files = {"journeys/j.yaml": HEAD + "- {exit: done}", "templates/emial/new.txt": "x", "templates/fax/new.txt": "x"}
    found = {p.file: p.hint for p in load_project(write(files), CHANNELS).problems if p.code == "SJ209"}
    assert found["templates/emial/new.txt"].startswith("there is no channel 'emial' (did you mean 'email'?): rename the folder")
    assert found["templates/fax/new.txt"].startswith("there is no channel 'fax' (known here: email, push, sms)")


def test_a_journey_that_cannot_be_read_still_exists(write: Callable[..., Path]) -> None:
    """Starting a journey whose file has problems of its own isn't reported a second time."""
    folder = write(
        {
            "journeys/j.yaml": HEAD + "- {start: broken}\n",
            "journeys/broken.yaml": "journey: broken\n" + HEAD.split("\n", 1)[1] + "- {wiat: 1d}\n",
        }
    )
    with pytest.raises(AuthoringError) as raised:
        load_project(folder, CHANNELS)
    assert ["SJ113"] == [p.code for p in raised.value.problems]


@pytest.mark.parametrize("shared", ["tracking", "policy", "segments"])
def test_a_shared_file_that_cannot_be_read_is_told_alone(problems: Finding, shared: str) -> None:
    """What the other files refer to in it isn't reported as missing."""
    steps = f"- {{{SEND}, tags: [offer], if: not segment('vip')}}\n- {{wait_for: order_refunded, id: w, timeout: 1d}}"
    found = problems(steps, **{shared: "unknown_key: 1\n"})
    assert {f"journeys/{shared}.yaml"} == {p.file for p in found if p.level == "error"}


def test_a_single_entry_is_underlined_like_one_of_a_list(problems: Finding) -> None:
    """`enter:` and `exit:` take one or several, and a wrong key is found in both."""
    single = problems(j="exit: {evnt: x}\n" + HEAD + "- exit: x")
    listed = problems(j="exit: [{evnt: x}]\n" + HEAD + "- exit: x")
    assert [("SJ110", 1, 8), ("SJ110", 1, 9)] == [(p.code, p.line, p.column) for p in [*single, *listed]]


def test_suggestions_name_the_nearest(problems: Finding) -> None:
    """A slip of the finger is answered with the word that was meant."""
    found = problems(
        "- {send: email, template: hello, topc: news}\n- {wiat: 3d}\n- {wait_for: order_refundd, timeout: 1d, id: w}"
    )
    hints = [p.hint for p in found if p.code != "SJ417"]
    assert ["did you mean 'topic'?", "did you mean 'wait'?", "did you mean 'order_refunded'?"] == hints
    assert ["did you mean 'order_refunded'?"] == [p.hint for p in problems("- {wait_for: order_refundd, timeout: 1d, id: w}")]


@pytest.mark.parametrize(
    ("steps", "hint"),
    [
        ("- {wait: {until: 9am}, id: w}", 'write until: "09:00"'),
        ("- {wait: {until: 9.30 p.m.}, id: w}", 'write until: "21:30"'),
        ("- {wait: {until: 12am}, id: w}", 'write until: "00:00"'),
        ("- {wait: {until: 17}, id: w}", 'write until: "17:00"'),
        ("- {wait: {until: noon}, id: w}", 'write until: "12:00"'),
        ("- {wait_for: signed_up, timeout: {until: 9am}, id: w}", 'write until: "09:00"'),
        (
            "- {wait: 9am, id: w}",
            'write 30s, 15m, 2h, 3d, 2w, 1 month or 1 year; a time of day goes under until: {until: "09:00"}',
        ),
        ("- {wait: 3, id: w}", "write 30s, 15m, 2h, 3d, 2w, 1 month or 1 year"),
        (f"- {{{SEND}, window: {{from: 9am, to: 18:00}}}}", 'write "09:00"'),
        ("- email: hello", "a message is a send: - {send: email, template: NAME, topic: TOPIC}"),
        ("- {template: hello, SMS: x}", "a message is a send: - {send: sms, template: NAME, topic: TOPIC}"),
        ("- {emial: hello}", "did you mean 'emit'?"),
    ],
)
def test_what_a_newcomer_tries_is_answered_with_the_form(problems: Finding, steps: str, hint: str) -> None:
    """A time of day as people say it, and a channel for a verb: the hint is what to write."""
    assert [hint] == [p.hint for p in problems(steps) if p.level == "error"]


@pytest.mark.parametrize(
    ("written", "condition", "code"),
    [
        ("00118", "vars.x == 118", "SJ332"),
        ("5", "vars.x >= 2", "SJ332"),
        ("5", "vars.x in [5]", "SJ332"),
        ('"{{ entry.total }}"', 'vars.x == "40"', "SJ332"),
        ('"{{ entry.category }}"', 'vars.x == "foood"', "SJ330"),
        ("true", "vars.x", "SJ331"),
        ("00118", 'vars.x == "00118"', None),
        ('"{{ 118 }}"', "vars.x == 118", None),
        ('"{{ entry.total }}"', "vars.x > 39.5", "SJ333"),
        ("2026-12-24", "now > vars.x", None),
        ('"{{ now }}"', "now > vars.x", None),
        ('"{{ entry.order_id }}-{{ entry.total }}"', "vars.x == 1", None),
        ('"{{ [1] | first }}"', "vars.x == 1", None),
        ("[a, b]", "vars.x", None),
    ],
)
def test_a_variable_has_the_type_of_what_it_is_given(problems: Finding, written: str, condition: str, code: str | None) -> None:
    """What `set` writes is text unless a lone `{{ }}` gives something else; a comparison that can't hold is found."""
    steps = f"- set: {{vars.x: {written}}}\n- {{exit: a, if: '{condition}'}}"
    assert ([] if code is None else [code]) == [p.code for p in problems(steps)]


def test_a_variable_that_gets_values_of_two_types_is_of_any(problems: Finding) -> None:
    """A text in one place and a number in another, or the answer of a call: nothing is known, so nothing is refused."""
    read = "- {exit: a, if: vars.x == 118}"
    assert ["SJ332"] == [p.code for p in problems(f"- set: {{vars.x: none}}\n{read}")]
    assert [] == problems(
        f"- set: {{vars.x: none}}\n- branch: [{{if: entry.total is none, then: [set: {{vars.x: '{{{{ 1 }}}}'}}]}}]\n{read}"
    )
    assert [] == problems(f"- set: {{vars.x: none}}\n- {{call: GET https://a.example/x, into: vars.x}}\n{read}")


def test_exits_and_goals_know_the_variables_of_all_steps(problems: Finding) -> None:
    """A variable that any step writes may be read there, with its type; one that no step writes is unknown."""
    steps = "- set: {vars.x: 00118}\n"
    assert [] == problems(j='exit: {if: vars.x == "00118"}\n' + HEAD + steps)
    assert ["SJ332"] == [p.code for p in problems(j="exit: {if: vars.x == 118}\n" + HEAD + steps)]
    assert ["SJ231"] == [p.code for p in problems(j="exit: {if: vars.y is none}\n" + HEAD + steps)]


def test_event_is_known_where_a_wait_has_taken_it(problems: Finding) -> None:
    """In `then` it has the event's properties, in `else` there is none, behind the wait it may be missing."""
    wait = "- wait_for: review_submitted\n  id: w\n  timeout: 1d\n"
    assert [] == problems(wait + "  then: [{exit: a, if: event.rating > 3}]\n")
    assert ["SJ232"] == [p.code for p in problems(wait + "  else: [{exit: a, if: event.rating > 3}]\n")]
    assert ["SJ333"] == [p.code for p in problems(wait + "- {exit: a, if: event.rating > 3}\n")]


def test_where_no_event_is_there_the_one_that_began_the_journey_is_named(problems: Finding) -> None:
    """Only where one began it."""
    (found,) = problems("- {exit: a, if: event.total is none}")
    assert ("SJ232", "the event that the journey began with is `entry`") == (found.code, found.hint)
    (found,) = problems(segments="segments: {a: {if: event.total > 3}}\n")
    assert ("SJ232", "") == (found.code, found.hint)


def test_a_project_without_journeys_says_so(tmp_path: Path) -> None:
    """No folder, no guess."""
    with pytest.raises(AuthoringError, match="SJ109"):
        load_project(tmp_path, CHANNELS)


@pytest.mark.parametrize(
    ("letter", "code", "hint"),
    [
        (
            '---\nsubject: "Hi, {{ x | default("you") }}"\n---\nHello\n',
            "SJ101",
            'there is " amid what " encloses: write \' there',
        ),
        ("---\nsubject: Hello\n---\n{% if customer.email %}Hello\n", "SJ120", ""),
    ],
)
def test_what_a_template_seems_to_lack_for_another_mistake_is_not_told(
    write: Callable[..., Path], letter: str, code: str, hint: str
) -> None:
    """Nothing is said of a subject, a link or an address that nobody can find for a mistake that is told."""
    journey = HEAD + "- {send: email, id: s, template: odd, topic: news}"
    with pytest.raises(AuthoringError) as raised:
        load_project(write({"journeys/j.yaml": journey, "templates/email/odd.txt": letter}), CHANNELS)
    [problem] = raised.value.problems
    assert (code, "templates/email/odd.txt") == (problem.code, problem.file)
    assert hint in problem.hint


def test_a_journey_of_a_wrong_form_is_told_its_unknown_names_too(write: Callable[..., Path]) -> None:
    """Beside what keeps it from being read: one run tells all that can be told."""
    journey = """
journey: j
tier: lifecycel
owner: [a]
enter: {event: signd_up, agian: never}
steps:
  - {send: emial, id: a, template: hello, topic: newz}
  - {wait: 1q, id: w}
  - wait_for: orderd
    id: q
    timeout: 1d
    thn: []
    then: [{send: email, template: nope, topic: news, id: s}, {wiat: 1d}]
"""
    with pytest.raises(AuthoringError) as raised:
        load_project(write({"journeys/j.yaml": journey.lstrip()}), CHANNELS)
    found = [(p.line, p.code) for p in raised.value.problems]
    names = [(2, "SJ204"), (4, "SJ201"), (6, "SJ205"), (6, "SJ203"), (8, "SJ201"), (12, "SJ202")]
    forms = [(3, "SJ112"), (4, "SJ110"), (7, "SJ112"), (11, "SJ110"), (12, "SJ113")]
    assert sorted([*names, *forms]) == sorted(found)


SHIPPED = sorted((Path(__file__).parents[2] / "journeys").glob("*.yaml"))
BROKEN = st.sampled_from(["", "kee: 1", "- 1", "- {wiat: 1d}", "[]", "if: 1 +", "id: [1]", "steps: []", "enter: {}", "then: 1"])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SHIPPED), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 12), BROKEN), min_size=1, max_size=4))
def test_whatever_is_wrong_with_a_journey_is_told(path: Path, breaks: list[tuple[int, int, str]]) -> None:
    """At a place of the file, by no exception."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for line, indent, text in breaks:
        lines[line % len(lines)] = " " * indent + text
    document = read("\n".join(lines), path.name)
    world = World(Tracking(), Segments(), Policy((Tier("lifecycle"),)), {}, frozenset({"email"}), {}, set())
    if validate(document, Journey) is None:
        told = len(document.problems)
        tell_names(document, world)
        assert document.problems
        assert {p.code for p in document.problems[told:]} <= NAMES
    assert all(0 <= p.line <= len(lines) + 1 for p in document.problems)
