"""Conflicts that `validate` proves: each with what it says and where, and the near misses that it must leave alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.settings.problems import Problem
from tests.authoring.conftest import HEAD, POLICY

Finding = Callable[..., list[Problem]]
SEND = "send: email, template: hello, topic: news"
NIGHT = 'quiet_hours: [{from: "21:00", to: "08:00"}]\n'
DAILY = "caps: [{name: few, limit: 1, per: day}]\n"
ROLLING = "caps: [{name: few, limit: 1, per: 24h}]\n"
TWO = "caps: [{name: few, limit: 2, per: 7d, tiers: [lifecycle]}]\n"
WEEKLY = "caps: [{name: few, limit: 1, per: week}]\n"
BOTH = "holds: [{while_in: j, pause: [promotional], at_most: 1d}, {while_in: other, pause: [lifecycle], at_most: 1d}]\n"
WEEKDAYS = 'window: {from: "09:00", to: "17:00", days: [mon, tue, wed, thu, fri]}'
MONDAYS = '- {wait: {until: "09:00", days: [mon]}, id: a}'
BY_MAIL = NIGHT.replace("to:", "channels: [email], to:")
TEN = '- {wait: {until: "22:00"}, id: w}'
LATE_TEXT = '- {send: sms, template: hello, topic: news, expires: 2h, window: {from: "21:00", to: "07:00"}}'
NINE = '- {wait: {until: "09:00"}, id: a}'
PRO, FREE = "'customer.plan == \"pro\"'", "'customer.plan == \"free\"'"
RATED = f"{{event: review_submitted, where: event.rating > 3, then: [{{{SEND}}}]}}"


def conflicts(found: list[Problem]) -> list[tuple[str, str]]:
    """The codes of conflicts and their levels; others than those, and what they hint at, don't matter here."""
    return [(p.code, p.level) for p in found if p.code in {"SJ415", *(f"SJ43{n}" for n in range(10))}]


@pytest.mark.parametrize(
    ("policy", "steps", "level"),
    [
        (ROLLING, f"- {{{SEND}}}\n- {{wait: 1h, id: w}}\n- {{{SEND}, expires: 3h}}", "error"),
        (ROLLING, f"- {{{SEND}}}\n- {{wait: 1h, id: w}}\n- {{{SEND}}}", None),  # three days are enough to wait for room
        (ROLLING, f"- {{{SEND}}}\n- {{wait: 20h, id: w}}\n- {{{SEND}, expires: 4h}}", "warning"),  # it may go a moment late
        (ROLLING, f"- {{{SEND}}}\n- {{wait: 20h, id: w}}\n- {{{SEND}, expires: 5h}}", None),
        (ROLLING, f"- {{{SEND}}}\n- {{wait: 25h, id: w}}\n- {{{SEND}, expires: 1h}}", None),
        (ROLLING, f"- {{{SEND}}}\n- {{wait: 1h, id: w}}\n- {{{SEND}, expires: 3h, on_defer: skip}}", None),
        (
            ROLLING,
            f"- {{{SEND}, tier: promotional, topic: offers}}\n- {{{SEND}, expires: 3h}}".replace(", topic: news, tier", ", tier"),
            "warning",
        ),
        (ROLLING, f"- {{{SEND}, if: customer.first_name is none}}\n- {{wait: 1h, id: w}}\n- {{{SEND}, expires: 3h}}", None),
        (ROLLING, f"- {{{SEND}}}\n- {{wait_for: signed_up, id: w, timeout: 1h}}\n- {{{SEND}, expires: 3h}}", "warning"),
        (ROLLING, f"- {{{SEND}}}\n- {{wait_for: message_sent, id: w, timeout: 1h}}\n- {{{SEND}, expires: 3h}}", None),
        (ROLLING, f"- {{{SEND}}}\n- {{exit: x, if: customer.first_name is none}}\n- {{{SEND}, expires: 3h}}", None),
        (ROLLING, f"- {{{SEND}}}\n- {{send: email, template: service/sorry, tier: service}}\n", None),
        (ROLLING + "uncounted: [promotional]\n", f"- {{{SEND}, tier: promotional}}\n- {{{SEND}, expires: 3h}}", None),
        (ROLLING.replace("per", "topics: [offers], per"), f"- {{{SEND}}}\n- {{{SEND}, expires: 3h}}", None),
        (ROLLING.replace("per", "channel: sms, per"), f"- {{{SEND}}}\n- {{{SEND}, expires: 3h}}", None),
        (ROLLING.replace("per", "journeys: [other], per"), f"- {{{SEND}}}\n- {{{SEND}, expires: 3h}}", None),
        (TWO, f"- repeat: {{times: 3, every: 1d, steps: [{{{SEND}, expires: 12h}}]}}\n  id: r", "error"),
        (TWO, f"- repeat: {{times: 2, every: 1d, steps: [{{{SEND}, expires: 12h}}]}}\n  id: r", None),
        (TWO, f"- repeat: {{times: 3, every: 4d, steps: [{{{SEND}, expires: 12h}}]}}\n  id: r", None),
        (
            TWO,
            f"- repeat: {{times: 3, until: customer.first_name is none, every: 1d, steps: [{{{SEND}, expires: 12h}}]}}\n  id: r",
            None,
        ),
        (
            DAILY,
            f"- {{{SEND}, expires: 1h}}\n- {{wait: 1h, id: w}}\n- {{{SEND}, expires: 3h}}",
            "warning",  # midnight lies between for some
        ),
        (
            DAILY,
            f"{NINE}\n- {{{SEND}, expires: 1h}}\n- {{wait: 1h, id: w}}\n- {{{SEND}, expires: 3h}}",
            "error",
        ),
        (
            DAILY,
            f'{NINE}\n- {{{SEND}, expires: 1h}}\n- {{wait: {{until: "08:00"}}, id: w}}\n- {{{SEND}, expires: 3h}}',
            None,
        ),
        (
            DAILY,
            f"- repeat: {{times: 3, every: 1h, steps: [{{{SEND}, expires: 1h}}]}}\n  id: r",
            "error",
        ),  # two days for three of them
        (
            WEEKLY,
            f"{MONDAYS}\n- {{{SEND}}}\n- {{wait: 1d, id: w}}\n- {{{SEND}, expires: 2h}}",
            "error",
        ),  # by friday both are over
        (
            WEEKLY,
            f"{MONDAYS}\n- {{{SEND}}}\n- {{wait: 3d, id: w}}\n- {{{SEND}, expires: 1d}}",
            "warning",
        ),  # or on a sunday, and a monday
        (WEEKLY, f"{MONDAYS}\n- {{{SEND}}}\n- {{wait: 7d, id: w}}\n- {{{SEND}, expires: 1d}}", None),
        (
            WEEKLY,
            f"{NINE}\n- {{{SEND}, expires: 4h}}\n- {{wait: 1d, id: w}}\n- {{{SEND}, expires: 2h}}",
            "warning",
        ),  # not on sundays
        ("caps: [{name: few, limit: 0, per: day}]\n", f"- {{{SEND}}}", "warning"),
        ("caps: [{name: few, limit: 0, per: day, channel: sms}]\n", f"- {{{SEND}}}", None),
    ],
)
def test_a_journey_fits_its_caps(problems: Finding, policy: str, steps: str, level: str | None) -> None:
    """What no customer can get whole is an error, what some lose a message of is a warning, and what fits is left alone."""
    other = HEAD.replace("journey: j", "journey: other") + "- exit: done"
    found = conflicts(problems(steps, policy=POLICY + policy, other=other))
    assert ([] if level is None else [("SJ432", level)]) == found


def test_a_misfit_is_told_where_it_stands(problems: Finding) -> None:
    """The last of the messages is underlined, the cap and the first of them are named."""
    steps = f"- {{{SEND}, id: first}}\n- {{wait: 1h, id: w}}\n- {{{SEND}, expires: 3h, id: second}}"
    (found,) = problems(steps, policy=POLICY + ROLLING)
    assert ("journeys/j.yaml", HEAD.count("\n") + 3, "SJ432") == (found.file, found.line, found.code)
    assert "send" == found.text[found.column - 1 : found.column - 1 + found.length]
    assert "'few' lets 1 through in any 1d" in found.message.replace("24h", "1d")
    assert "from 'first' on" in found.message


def test_a_moment_of_entry_is_named(problems: Finding) -> None:
    """The warning says when somebody has to enter to lose the message."""
    steps = f"- {{{SEND}, expires: 1h}}\n- {{wait: 1h, id: w}}\n- {{{SEND}, expires: 3h}}"
    (found,) = problems(steps, policy=POLICY + DAILY)
    assert "who enters on a Monday at 00:00 never gets this one" in found.message


@pytest.mark.parametrize(
    ("policy", "steps", "expected"),
    [
        (NIGHT, f"- {{{SEND}, expires: 8h}}", [("SJ433", "warning")]),
        (NIGHT, f"- {{{SEND}, expires: 12h}}", []),
        (NIGHT, f"- {{{SEND}}}", []),
        (NIGHT, f"- {{{SEND}, expires: 0s}}", [("SJ433", "error")]),
        (NIGHT, f'- {{wait: {{until: "10:00"}}, id: w}}\n- {{{SEND}, expires: 2h}}', []),
        (NIGHT, f'- {{wait: {{until: "22:00"}}, id: w}}\n- {{{SEND}, expires: 2h}}', [("SJ433", "error")]),
        (NIGHT, f'- {{wait: {{until: "22:00"}}, id: w}}\n- {{{SEND}, expires: 11h}}', []),
        (NIGHT, f'- {{wait: {{until: "22:00"}}, id: w}}\n- {{{SEND}, on_defer: skip}}', [("SJ433", "error")]),
        (NIGHT, f"- {{{SEND}, expires: 8h, on_defer: skip}}", []),
        (
            NIGHT,
            f'- {{wait: {{until: "18:00", offset: -12h}}, id: w}}\n- {{{SEND}, on_defer: skip}}',
            [],
        ),  # over: goes on at once
        (
            BY_MAIL,
            f'- {{wait: {{until: "22:00"}}, id: w}}\n- {{{SEND}, expires: 4h, fallback: [sms]}}',
            [("SJ433", "warning")],
        ),  # who has no address gets the text
        (NIGHT, f'- {{wait: {{until: "22:00", days: [mon]}}, id: w}}\n- {{wait: 12h, id: v}}\n- {{{SEND}, expires: 2h}}', []),
        (
            NIGHT,
            f'- {{wait: {{until: "10:00"}}, id: w}}\n- {{wait: 12h, id: v}}\n- {{{SEND}, expires: 2h}}',
            [("SJ433", "warning")],
        ),
        (NIGHT, f'- {{wait: {{until: "10:00"}}, id: w}}\n- {{wait: 2d, id: v}}\n- {{{SEND}, expires: 2h}}', []),
        (
            NIGHT,
            f'- {{wait: {{until: "10:00"}}, id: w}}\n- {{wait_for: signed_up, id: v, timeout: 2h}}\n- {{{SEND}, expires: 2h}}',
            [],
        ),
        (
            NIGHT,
            f'- {{wait: {{until: "10:00"}}, id: w}}\n- {{wait_for: signed_up, id: v, timeout: 2d}}\n- {{{SEND}, expires: 2h}}',
            [("SJ433", "warning")],
        ),
        (NIGHT, f"- {{wait: {{until: customer.renews_on, on_past: run}}, id: w}}\n- {{{SEND}, expires: 2h}}", []),  # not known
        (BY_MAIL, f"{TEN}\n- {{{SEND}, on_defer: skip}}\n{LATE_TEXT}", [("SJ433", "error")]),  # the text goes at ten at night
        (BY_MAIL, f"{TEN}\n- {{{SEND}, on_defer: exit}}\n{LATE_TEXT}", [("SJ433", "error")]),  # nobody gets to the text
        (BY_MAIL, f"{TEN}\n- {{{SEND}}}\n{LATE_TEXT}", [("SJ433", "warning")]),  # some get there in the morning
        (NIGHT, f"- branch: [{{if: now > customer.vip_since, then: [{{{SEND}, expires: 2h}}]}}]", []),  # it asks what time it is
        (NIGHT.replace("to:", "channels: [sms], to:"), f"- {{{SEND}, expires: 8h}}", []),
        (NIGHT.replace("to:", "channels: [sms], to:"), f"- {{{SEND}, expires: 8h, fallback: [sms]}}", [("SJ433", "warning")]),
        (NIGHT.replace("to:", "tiers: [promotional], to:"), f"- {{{SEND}, expires: 8h}}", []),
        (NIGHT.replace("to:", 'if: customer.plan == "pro", to:'), f"- {{{SEND}, expires: 8h}}", [("SJ433", "warning")]),
        (
            NIGHT.replace("to:", 'if: customer.plan == "pro", to:'),
            f'- {{wait: {{until: "22:00"}}, id: w}}\n- {{{SEND}, expires: 2h}}',
            [("SJ433", "warning")],
        ),
        (
            "",
            f"- {{{SEND}, expires: 2d, {WEEKDAYS}}}",
            [("SJ433", "warning")],
        ),
        ("", f"- {{{SEND}, expires: 3d, {WEEKDAYS}}}", []),
        (NIGHT, f'- {{{SEND}, window: {{from: "22:00", to: "07:00"}}}}', [("SJ434", "error")]),
        (NIGHT, f'- {{{SEND}, window: {{from: "22:00", to: "08:01"}}}}', []),
        (NIGHT.replace("to:", "channels: [sms], to:"), f'- {{{SEND}, window: {{from: "22:00", to: "07:00"}}}}', []),
        (
            NIGHT.replace("to:", "channels: [sms], to:"),
            f'- {{{SEND}, fallback: [sms], window: {{from: "22:00", to: "07:00"}}}}',
            [("SJ434", "warning")],
        ),
        (
            NIGHT.replace("to:", 'if: customer.plan == "pro", to:'),
            f'- {{{SEND}, window: {{from: "22:00", to: "07:00"}}}}',
            [("SJ434", "warning")],
        ),
        ("", f'- {{{SEND}, window: {{from: "09:00", to: "09:00"}}}}', [("SJ434", "warning")]),
        ("", f'- {{{SEND}, window: {{from: "00:00", to: "00:00", days: [mon, tue, wed, thu, fri]}}}}', []),
    ],
)
def test_a_message_outlives_quiet_hours(problems: Finding, policy: str, steps: str, expected: list[tuple[str, str]]) -> None:
    """What expires in the quiet hours that it may meet is found, by channel, tier and the time at which people get there."""
    assert expected == conflicts(problems(steps, policy=POLICY + policy))


def test_a_tier_that_expires_too_soon_is_told_once(problems: Finding) -> None:
    """Where a tier's own `expires` counts, that is what is underlined, with one of the sends and their number."""
    policy = POLICY.replace("3d", "8h") + NIGHT
    (found,) = problems(f"- {{{SEND}, id: a}}\n- {{{SEND}, id: b}}", policy=policy)
    assert ("journeys/policy.yaml", "SJ433", "warning") == (found.file, found.code, found.level)
    assert "8h" == found.text[found.column - 1 : found.column - 1 + found.length]
    assert "'a' of 'j'" in found.message
    assert "who gets there at 21:00 waits 11h on email, until 08:00" in found.message


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (f"- branch: [{{if: entry.total is none, then: [exit: a]}}, {{else: [exit: b]}}]\n- {{{SEND}}}", ["SJ415"]),
        (f"- branch: [{{if: entry.total is none, then: [exit: a]}}, {{else: [set: {{vars.x: y}}]}}]\n- {{{SEND}}}", []),
        (f"- branch: [{{if: entry.total is none, then: [exit: a]}}]\n- {{{SEND}}}", []),
        (
            f"- {{wait_for: signed_up, id: w, timeout: 1d, then: [exit: a], else: [exit: b]}}\n- {{{SEND}}}\n- {{{SEND}}}",
            ["SJ415"],
        ),
        (f"- {{wait_for: signed_up, id: w, timeout: 1d, then: [exit: a]}}\n- {{{SEND}}}", []),
        (f"- split: s\n  arms: [{{name: a, then: [exit: x]}}, {{name: b, then: [exit: y]}}]\n- {{{SEND}}}", ["SJ415"]),
        (f"- split: s\n  holdout: 10%\n  arms: [{{name: a, then: [exit: x]}}, {{name: b, then: [exit: y]}}]\n- {{{SEND}}}", []),
        (f"- repeat: {{times: 3, steps: [{{{SEND}}}, {{exit: a}}]}}\n- {{{SEND}}}", ["SJ415"]),
        (f"- {{{SEND}, if: false}}", ["SJ430"]),
        (f"- {{{SEND}, if: 1 > 2 and customer.first_name is none}}", ["SJ430"]),
        (f'- {{{SEND}, if: \'"a" == "b" or not true\'}}', ["SJ430"]),
        (f"- {{{SEND}, if: customer.first_name is none and not (customer.first_name is none)}}", ["SJ430"]),
        (f'- {{{SEND}, if: \'customer.plan == "pro" and customer.plan == "free"\'}}', ["SJ430"]),
        (f'- {{{SEND}, if: \'customer.plan == "pro" or customer.plan == "free"\'}}', []),
        (f'- {{{SEND}, if: \'customer.vip_since == "2026-01-01" and customer.vip_since == "2026-01-01T00:00"\'}}', []),
        (f"- {{{SEND}, if: 2 > 1}}", []),
        (f"- {{{SEND}, if: 9 ** 9 ** 9 > 1}}", []),  # it has no value
        (f"- {{{SEND}, if: customer.first_name is none and 9 ** 9 ** 9 > 1}}", []),
        (f"- {{exit: a, if: 2 > 1}}\n- {{{SEND}}}", ["SJ430"]),
        (f"- {{exit: a, if: segment('vip')}}\n- {{{SEND}}}", []),
        (
            f"- branch: [{{if: {PRO}, then: [exit: a]}}, {{if: {PRO}, then: [{{{SEND}}}]}}]",
            ["SJ430"],
        ),
        (
            f"- branch: [{{if: {PRO}, then: [exit: a]}}, {{if: {FREE}, then: [{{{SEND}}}]}}]",
            [],
        ),
        (f"- branch: [{{if: true, then: [exit: a]}}, {{else: [{{{SEND}}}]}}]", ["SJ430"]),
        (
            f"- wait_for: [{{event: review_submitted, then: [exit: a]}}, {RATED}]\n  id: w\n  timeout: 1d",
            ["SJ431"],
        ),
        (
            f"- wait_for: [{RATED}, {{event: review_submitted, then: [exit: a]}}]\n  id: w\n  timeout: 1d",
            [],
        ),
        ("- wait_for: [{event: order_refunded}, {event: order_refunded, match: any}]\n  id: w\n  timeout: 1d", []),
        ("- wait_for: [{event: order_refunded, match: any}, {event: order_refunded}]\n  id: w\n  timeout: 1d", ["SJ431"]),
        ("- wait_for: [{segment: vip}, {segment: vip}]\n  id: w\n  timeout: 1d", ["SJ431"]),
        ("- wait_for: [{event: order_refunded, where: 1 > 2}]\n  id: w\n  timeout: 1d", ["SJ430"]),
    ],
)
def test_what_nobody_gets_to_is_told_at_its_cause(problems: Finding, steps: str, expected: list[str]) -> None:
    """Behind exits, constant conditions and alternatives that an earlier one takes; what some get to is left alone."""
    assert [(code, "warning") for code in expected] == conflicts(problems(steps))


HOLD = "holds: [{while_in: j, pause: [lifecycle], at_most: 14d}]\n"


@pytest.mark.parametrize(
    ("policy", "steps", "expected"),
    [
        (HOLD, f"- {{{SEND}}}", [("SJ435", "error")]),
        (HOLD, f"- {{{SEND}, expires: 15d}}", [("SJ435", "warning")]),
        (HOLD, f"- {{{SEND}, expires: 15d, on_defer: skip}}", [("SJ435", "error")]),
        (HOLD, f"- {{wait_for: signed_up, id: w, timeout: 5d}}\n- {{{SEND}}}", [("SJ435", "warning")]),
        (HOLD, f"- {{{SEND}, if: customer.first_name is none}}", [("SJ435", "warning")]),
        (HOLD, f"- {{wait: 15d, id: w}}\n- {{{SEND}}}", []),
        (HOLD, f"- {{{SEND}, tier: promotional}}", []),
        (HOLD.replace("lifecycle", "service"), f"- {{{SEND}}}", []),
        (HOLD.replace("j,", "other,"), f"- {{{SEND}}}", []),
        (HOLD, "- exit: done", []),
        ("holds: [{from: signed_up, until: order_refunded, pause: [lifecycle], at_most: 14d}]\n", f"- {{{SEND}}}", []),
        (
            BOTH,
            f"- {{{SEND}}}",
            [("SJ436", "warning")],
        ),
        (
            "holds: [{while_in: j, pause: [promotional], at_most: 1d}, {while_in: other, pause: [service], at_most: 1d}]\n",
            f"- {{{SEND}}}",
            [],
        ),
        ("holds: [{while_in: j, pause: [promotional], at_most: 1d}]\n", f"- {{{SEND}}}", []),
        (
            BOTH,
            f"- {{{SEND}, if: false}}",
            [("SJ430", "warning")],
        ),
    ],
)
def test_holds_stop_others(problems: Finding, policy: str, steps: str, expected: list[tuple[str, str]]) -> None:
    """A hold that pauses its own journey, and two journeys that pause each other, are found; to pause others is its use."""
    other = HEAD.replace("journey: j", "journey: other") + f"- {{{SEND}, tier: promotional}}"
    assert expected == conflicts(problems(steps, policy=POLICY + policy, other=other))


def test_a_journey_with_errors_is_not_judged(problems: Finding) -> None:
    """What can't be compiled proves nothing, and doesn't keep the others from being judged."""
    steps = f"- {{{SEND}}}\n- {{wait: 1h, id: w}}\n- {{{SEND}, expires: 3h}}"
    broken = HEAD.replace("journey: j", "journey: broken") + steps + "\n- {wiat: 1d}"
    found = problems(steps, policy=POLICY + ROLLING, broken=broken)
    assert [("journeys/broken.yaml", "SJ113"), ("journeys/j.yaml", "SJ432")] == [(p.file, p.code) for p in found]


@pytest.mark.parametrize(
    "steps",
    [
        f"- repeat: {{times: 100, every: 99999d, steps: [{{{SEND}, expires: 12h}}]}}\n  id: r",
        f"- repeat: {{times: 100, every: 99 year, steps: [{{{SEND}, expires: 12h}}]}}\n  id: r",
        f"- {{{SEND}, expires: 99999d}}\n" * 40,
    ],
)
def test_beyond_the_year_9999_nothing_is_proved(problems: Finding, steps: str) -> None:
    """What no calendar can say is no error of the journey, and none of `validate`."""
    assert [] == problems(steps, policy=POLICY + NIGHT + ROLLING)
