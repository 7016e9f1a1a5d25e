"""Gate 6 as a table: what was said, when and how broadly, and what it means for a message about offers by e-mail."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest

from engine.core.consent import awaiting
from engine.core.facts import ConsentFact
from engine.core.governance import decide
from engine.core.policy import ConsentRule
from tests.core.governing import NOON, SOFT, facts, message, policy

State = Literal["granted", "withdrawn", "pending", "cleared"]


def said(day: int, channel: str, topic: str | None, state: State, until: datetime | None = None, version: int = 0) -> ConsentFact:
    """A statement made `day` days before noon."""
    return ConsentFact(channel, topic, state, NOON - timedelta(days=day), until=until, version=version)


OVER = NOON
GOES, NOBODY = ("pass", "granted"), ("drop", "none")
LASTING = NOON + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], ("drop", "none")),
        ([said(9, "email", "offers", "granted")], ("pass", "granted")),
        ([said(9, "email", None, "granted")], ("pass", "granted")),
        ([said(9, "*", None, "granted")], ("pass", "granted")),
        ([said(9, "*", "offers", "granted")], ("pass", "granted")),
        ([said(9, "email", "newsletter", "granted")], ("drop", "none")),
        ([said(9, "sms", None, "granted")], ("drop", "none")),
        ([said(9, "email", "offers", "withdrawn"), said(8, "email", "offers", "granted")], ("pass", "granted")),
        ([said(8, "email", "offers", "withdrawn"), said(9, "email", "offers", "granted")], ("drop", "withdrawn")),
        ([said(9, "email", "offers", "granted"), said(8, "email", None, "withdrawn")], ("drop", "withdrawn")),
        ([said(9, "email", None, "withdrawn"), said(8, "email", "offers", "granted")], ("drop", "withdrawn")),
        ([said(9, "*", None, "withdrawn"), said(8, "email", None, "granted")], ("drop", "withdrawn")),
        ([said(9, "*", None, "withdrawn"), said(8, "*", None, "granted")], ("pass", "granted")),
        ([said(9, "email", None, "withdrawn"), said(8, "email", None, "granted")], ("pass", "granted")),
        ([said(9, "email", "offers", "withdrawn"), said(8, "email", None, "granted")], ("pass", "granted")),
        ([said(9, "email", None, "granted"), said(8, "email", "offers", "withdrawn")], ("drop", "withdrawn")),
        ([said(9, "email", None, "granted"), said(8, "email", "newsletter", "withdrawn")], ("pass", "granted")),
        ([said(9, "email", None, "granted"), said(8, "sms", None, "withdrawn")], ("pass", "granted")),
        ([said(9, "email", "offers", "pending")], ("drop", "pending")),
        ([said(9, "email", "offers", "granted"), said(8, "email", "offers", "pending")], ("drop", "pending")),
        ([said(9, "email", "offers", "withdrawn"), said(8, "email", "offers", "pending")], ("drop", "withdrawn")),
        ([said(9, "email", "offers", "cleared")], ("drop", "none")),
        ([said(9, "email", "offers", "withdrawn"), said(8, "email", "offers", "cleared")], ("drop", "none")),
        ([said(9, "email", "offers", "granted"), said(8, "email", "offers", "cleared")], ("drop", "none")),
        ([said(9, "email", "offers", "cleared"), said(8, "email", "offers", "granted")], ("pass", "granted")),
        ([said(9, "email", "offers", "granted"), said(8, "email", None, "withdrawn"), said(7, "email", None, "cleared")], NOBODY),
        ([said(7, "email", "offers", "granted"), said(9, "email", None, "withdrawn"), said(8, "email", None, "cleared")], GOES),
        ([said(9, "email", "offers", "granted"), said(8, "*", None, "cleared")], NOBODY),
        ([said(9, "email", "offers", "pending"), said(8, "*", None, "cleared")], NOBODY),
        ([said(9, "email", "offers", "withdrawn"), said(8, "*", None, "cleared")], ("drop", "withdrawn")),
        ([said(9, "email", None, "withdrawn"), said(8, "email", "offers", "cleared")], ("drop", "withdrawn")),
        ([said(9, "*", None, "withdrawn"), said(8, "email", None, "cleared")], ("drop", "withdrawn")),
        ([said(9, "*", None, "granted"), said(8, "email", None, "cleared")], ("drop", "none")),
        ([said(9, "*", None, "granted"), said(8, "sms", None, "cleared")], GOES),
        ([said(9, "*", None, "granted"), said(8, "*", "newsletter", "cleared")], GOES),
        ([said(8, "*", None, "granted"), said(9, "email", None, "cleared")], GOES),
        (
            [said(9, "email", None, "withdrawn"), said(8, "*", None, "granted"), said(7, "email", None, "cleared")],
            ("drop", "none"),
        ),
        ([said(9, "*", None, "withdrawn", LASTING), said(8, "*", None, "cleared")], ("drop", "snoozed")),
        ([said(9, "email", "offers", "granted", OVER)], ("drop", "ended")),
        ([said(9, "email", "offers", "granted", LASTING)], ("pass", "granted")),
        ([said(9, "email", "offers", "withdrawn"), said(8, "email", "offers", "granted", OVER)], ("drop", "withdrawn")),
        ([said(9, "email", "offers", "granted"), said(8, "email", "offers", "withdrawn", LASTING)], ("drop", "snoozed")),
        ([said(9, "email", "offers", "granted"), said(8, "email", "offers", "withdrawn", OVER)], ("pass", "granted")),
        ([said(9, "email", "offers", "granted"), said(8, "*", None, "withdrawn", LASTING)], ("drop", "snoozed")),
        ([said(9, "*", None, "withdrawn", LASTING), said(8, "email", "offers", "granted")], ("drop", "snoozed")),
        ([said(9, "email", "offers", "withdrawn", LASTING), said(8, "email", "offers", "granted")], ("pass", "granted")),
        ([said(9, "email", "offers", "withdrawn"), said(8, "email", "offers", "withdrawn", LASTING)], ("drop", "snoozed")),
        ([said(9, "email", "offers", "withdrawn"), said(8, "email", "offers", "withdrawn", OVER)], ("drop", "withdrawn")),
        ([said(9, "email", None, "withdrawn"), said(8, "email", "offers", "withdrawn", LASTING)], ("drop", "withdrawn")),
        ([said(9, "email", "offers", "withdrawn", LASTING), said(8, "email", None, "withdrawn")], ("drop", "withdrawn")),
        ([said(9, "email", "offers", "withdrawn", OVER)], ("drop", "none")),
        ([said(9, "email", "offers", "pending"), said(8, "email", "offers", "withdrawn", OVER)], ("drop", "pending")),
        ([said(9, "sms", None, "withdrawn", LASTING), said(8, "email", "offers", "granted")], ("pass", "granted")),
        (
            [said(9, "email", "offers", "granted", version=1), said(9, "email", "offers", "withdrawn", version=2)],
            ("drop", "withdrawn"),
        ),
    ],
)
def test_what_was_said_decides(told: list[ConsentFact], expected: tuple[str, str]) -> None:
    """The latest wins; a global withdrawal wins over topics until a grant as broad; pending is none; `until` ends a grant."""
    gate = decide(policy(), facts(consents=tuple(told)), message(), NOON).gates[6]
    assert ("consent", *expected) == (gate.gate, gate.answer, gate.rule)
    reordered = decide(policy(), facts(consents=tuple(reversed(told))), message(), NOON).gates[6]
    assert gate == reordered


@pytest.mark.parametrize(
    ("told", "channel", "topic", "expected"),
    [
        ([said(9, "email", "offers", "pending", version=1)], "email", "offers", [1]),
        ([said(9, "email", "offers", "pending", version=1)], "email", None, [1]),
        ([said(9, "email", "offers", "pending", version=1)], "email", "news", []),
        ([said(9, "email", "offers", "pending", version=1)], "sms", "offers", []),
        ([said(9, "email", None, "pending", version=1)], "email", "offers", []),
        ([said(9, "*", "offers", "pending", version=1)], "email", "offers", [1]),
        ([said(8, "email", "news", "pending", version=2), said(9, "*", "offers", "pending", version=1)], "email", None, [1, 2]),
        ([said(9, "email", "offers", "pending", version=1), said(8, "email", "offers", "granted", version=2)], "email", None, []),
        (
            [said(9, "email", "offers", "granted", version=1), said(8, "email", "offers", "pending", version=2)],
            "email",
            None,
            [2],
        ),
        (
            [said(9, "email", "offers", "pending", version=1), said(8, "email", "offers", "withdrawn", version=2)],
            "email",
            None,
            [],
        ),
        (
            [said(9, "email", "offers", "pending", version=1), said(8, "email", "offers", "withdrawn", LASTING, version=2)],
            "email",
            None,
            [],
        ),
        (
            [said(9, "email", "offers", "pending", version=1), said(8, "email", "offers", "withdrawn", OVER, version=2)],
            "email",
            None,
            [1],
        ),
    ],
)
def test_what_awaits_its_confirmation(told: list[ConsentFact], channel: str, topic: str | None, expected: list[int]) -> None:
    """The latest word on its breadth, unless that is over; one about every channel awaits it on each; oldest first."""
    assert expected == [s.version for s in awaiting(told, channel, topic, NOON)]


def test_who_agreed_how_and_to_which_wording_is_told() -> None:
    """The gate's sentence names when, how and which wording; of a snooze also until when."""
    given = replace(said(9, "email", "offers", "granted"), source="signup form", wording="2026-01")
    gate = decide(policy(), facts(consents=(given,)), message(), NOON).gates[6]
    when = "22 February 2026 at 12:00 (Europe/Rome)"
    assert f"Consent to email about offers was given on {when}, signup form, wording 2026-01." == gate.detail
    silent = replace(said(9, "email", None, "withdrawn", NOON + timedelta(days=1)), source="app")
    gate = decide(policy(), facts(consents=(given, silent)), message(), NOON).gates[6]
    until = "4 March 2026 at 12:00 (Europe/Rome)"
    assert f"The customer wants no messages on email until {until}, as said on {when}, app." == gate.detail


SOFT_EMAIL = ConsentRule("email", soft=SOFT)
BOUGHT = (("email", NOON - timedelta(days=1)),)


@pytest.mark.parametrize(
    ("rule", "known", "changed", "expected"),
    [
        (ConsentRule("email", default="granted"), {}, {}, ("pass", "default")),
        (ConsentRule("email", default="granted"), {}, {"topic": None}, ("pass", "default")),
        (ConsentRule("sms", default="granted"), {}, {}, ("drop", "none")),
        (
            ConsentRule("email", default="granted"),
            {"consents": (said(9, "email", "offers", "withdrawn"), said(8, "email", "offers", "pending"))},
            {},
            ("drop", "withdrawn"),
        ),
        (
            ConsentRule("email", default="granted"),
            {"consents": (said(9, "email", "offers", "withdrawn", LASTING),)},
            {},
            ("drop", "snoozed"),
        ),
        (
            ConsentRule("email", default="granted"),
            {"consents": (said(9, "email", "offers", "withdrawn", OVER),)},
            {},
            ("pass", "default"),
        ),
        (SOFT_EMAIL, {"soft_opt_in_at": BOUGHT}, {}, ("pass", "soft")),
        (
            SOFT_EMAIL,
            {"soft_opt_in_at": BOUGHT, "consents": (said(9, "*", None, "withdrawn", LASTING),)},
            {},
            ("drop", "snoozed"),
        ),
        (SOFT_EMAIL, {"soft_opt_in_at": BOUGHT}, {"topic": "newsletter"}, ("drop", "none")),
        (SOFT_EMAIL, {"soft_opt_in_at": BOUGHT}, {"topic": None}, ("drop", "none")),
        (SOFT_EMAIL, {}, {}, ("drop", "none")),
        (SOFT_EMAIL, {"soft_opt_in_at": (("sms", NOON),)}, {}, ("drop", "none")),
        (SOFT_EMAIL, {"soft_opt_in_at": BOUGHT, "consents": (said(9, "email", None, "withdrawn"),)}, {}, ("drop", "withdrawn")),
        (SOFT_EMAIL, {"consents": (said(9, "email", "offers", "granted"),)}, {"topic": None}, ("drop", "none")),
        (SOFT_EMAIL, {"consents": (said(9, "email", None, "granted"),)}, {"topic": None}, ("pass", "granted")),
        (SOFT_EMAIL, {}, {"tier": "transactional"}, ("skip", "")),
    ],
)
def test_what_holds_where_nobody_said_anything(
    rule: ConsentRule, known: dict[str, Any], changed: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Soft opt-in holds for its topics and its channel; a default grants; a message without topic needs the whole channel."""
    verdict = decide(policy(consent=(rule,)), facts(**{"consents": ()} | known), message(**changed), NOON)
    assert expected == (verdict.gates[6].answer, verdict.gates[6].rule)
