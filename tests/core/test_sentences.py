"""Every answer of every gate, word for word: what people read in `why` and what `audit` compares."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from engine.core.clock import Duration
from engine.core.facts import GATES, CapFact, ConsentFact, GateAnswer, HoldFact, PauseFact, PlannedFact, SlotFact
from engine.core.gates import ASK_AGAIN
from engine.core.governance import decide
from engine.core.plan import Window
from engine.core.policy import Cap, ConsentRule, Holdout, QuietHours
from tests.core.governing import BELOW, DAILY, NIGHT, NOON, SOFT, facts, message, policy, rome

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
AT = "3 March 2026 at 12:00 (Europe/Rome)"
LATE = rome("2026-03-03 22:00")
URGENT = {"tier": "transactional"}
HOLD = HoldFact("complaint", ("lifecycle",), NOON - DAY, NOON + 9 * DAY)
SENT = SlotFact("lifecycle", "email", "offers", "care", NOON - 3 * HOUR)
ROLLS = Cap("weekly", 1, "rolling", Duration(days=7))
HELD = {"holdout": Holdout("global", 0.1, ("promotional",))}
OPT_IN = {"consent": (ConsentRule("email", soft=SOFT),)}


def stated(state: Any, channel: str = "email", topic: str | None = "offers", **more: Any) -> dict[str, Any]:
    """Facts with one statement, said at noon of the day before."""
    return {"consents": (ConsentFact(channel, topic, state, NOON - DAY, **more),)}


SAID = "2 March 2026 at 12:00 (Europe/Rome)"


@pytest.mark.parametrize(
    ("rules", "known", "own", "expected"),
    [
        ({}, {}, {}, ("live", "pass", "", "The enrollment is live.")),
        ({}, {"live": False}, {}, ("live", "drop", "ended", "The enrollment has ended: ended.")),
        ({}, {"live": False, "ended_reason": "stopped"}, {}, ("live", "drop", "stopped", "The enrollment has ended: stopped.")),
        ({}, {}, {}, ("customer", "pass", "", "The customer is known.")),
        ({}, {"erased": True, "known": False}, {}, ("customer", "drop", "erased", "The customer was erased.")),
        ({}, {"known": False}, {}, ("customer", "drop", "unknown", "The customer is not known.")),
        ({}, {"restricted": True}, {}, ("customer", "drop", "restricted", "The customer is restricted: nothing may be sent.")),
        ({}, {}, {}, ("journey", "pass", "", "The journey runs.")),
        (
            {},
            {"pauses": (PauseFact("care", NOON),)},
            {},
            ("journey", "defer", "care", f"care is paused since {AT}.", NOON + ASK_AGAIN, False),
        ),
        (
            *({}, {"pauses": (PauseFact("enrollment 7", NOON - DAY, NOON), PauseFact("care", NOON, None, "a typo"))}, {}),
            ("journey", "defer", "care", f"care is paused since {AT} (a typo).", NOON + ASK_AGAIN, False),
        ),
        ({}, {"pauses": (PauseFact("care", NOON - DAY, NOON),)}, {}, ("journey", "pass", "", "The journey runs.")),
        ({}, {}, {}, ("expires", "pass", "", "The message does not expire.")),
        ({}, {}, {"expires_at": NOON}, ("expires", "drop", "expires", f"The message expired on {AT}.")),
        (
            *({}, {}, {"expires_at": NOON + DAY}),
            ("expires", "pass", "", "The message is worth sending until 4 March 2026 at 12:00 (Europe/Rome)."),
        ),
        ({}, {}, {}, ("reachable", "pass", "", "The customer can be reached on email.")),
        ({}, {"address": None}, {}, ("reachable", "drop", "no_address", "The customer has no address on email.")),
        ({}, {}, {}, ("suppression", "pass", "", "The address is not suppressed.")),
        ({}, {"suppressed": "STOP"}, {}, ("suppression", "drop", "STOP", "The address must not be used: STOP.")),
        ({}, {"suppressed": ""}, {}, ("suppression", "drop", "suppressed", "The address must not be used: suppressed.")),
        ({}, {}, URGENT, ("consent", "skip", "", "The tier needs no consent.")),
        (
            *({}, stated("granted", source="web", wording="v2"), {}),
            ("consent", "pass", "granted", f"Consent to email about offers was given on {SAID}, web, wording v2."),
        ),
        (
            *({}, stated("granted", topic=None, source="web"), {"topic": None}),
            ("consent", "pass", "granted", f"Consent to email was given on {SAID}, web."),
        ),
        (
            *({}, stated("withdrawn", wording="v2"), {}),
            ("consent", "drop", "withdrawn", f"Consent to email about offers was withdrawn on {SAID}, wording v2."),
        ),
        (
            *({}, stated("withdrawn", "*", None), {}),
            ("consent", "drop", "withdrawn", f"Consent to every channel was withdrawn on {SAID}."),
        ),
        (
            *({}, stated("withdrawn", until=NOON + DAY, source="page"), {}),
            (
                *("consent", "drop", "snoozed"),
                "The customer wants no messages on email about offers until 4 March 2026 at 12:00 (Europe/Rome), "
                f"as said on {SAID}, page.",
            ),
        ),
        ({}, {"consents": ()}, {}, ("consent", "drop", "none", "Nobody gave consent to email about offers.")),
        ({}, {"consents": ()}, {"topic": None}, ("consent", "drop", "none", "Nobody gave consent to email.")),
        ({}, stated("pending"), {}, ("consent", "drop", "pending", "Consent to email about offers awaits its confirmation.")),
        (
            *({}, stated("granted", until=NOON), {}),
            ("consent", "drop", "ended", f"Consent to email about offers ended on {AT}."),
        ),
        (
            *(OPT_IN, {"consents": (), "soft_opt_in_at": (("email", NOON),)}, {}),
            ("consent", "pass", "soft", f"Soft opt-in to email about offers: order_completed on {AT}."),
        ),
        (
            *(OPT_IN, {"consents": (), "soft_opt_in_at": (("sms", NOON),)}, {}),
            ("consent", "drop", "none", "Nobody gave consent to email about offers."),
        ),
        (
            *({"consent": (ConsentRule("sms"), ConsentRule("email", "granted"))}, {"consents": ()}, {}),
            ("consent", "pass", "default", "Policy takes consent to email as given."),
        ),
        ({}, {}, {}, ("holdout", "pass", "", "The customer is in no holdout.")),
        (HELD, {"holdout": "global"}, {}, ("holdout", "pass", "", "Holdout global leaves lifecycle alone.")),
        (HELD, {"holdout": "care"}, {}, ("holdout", "drop", "care", "The customer is in the holdout care.")),
        ({}, {"holdout": "global"}, {}, ("holdout", "drop", "global", "The customer is in the holdout global.")),
        ({}, {"holds": (HOLD,)}, URGENT, ("hold", "skip", "", "No hold pauses this tier: it passes them all.")),
        ({}, {}, {}, ("hold", "pass", "", "No hold is in the way.")),
        (
            *({}, {"holds": (HOLD,)}, {}),
            (
                *("hold", "defer", "complaint"),
                "complaint pauses lifecycle, at most until 12 March 2026 at 12:00 (Europe/Rome); "
                "the message goes on 12 March 2026 at 12:00 (Europe/Rome).",
                *(NOON + 9 * DAY, False),
            ),
        ),
        (
            *({}, {"holds": (replace(HOLD, closed_at=NOON - HOUR),)}, {"planned_at": NOON - 2 * HOUR}),
            (
                *("hold", "defer", "complaint"),
                "complaint paused lifecycle until 3 March 2026 at 11:00 (Europe/Rome); "
                "the message goes on 4 March 2026 at 10:00 (Europe/Rome).",
                NOON + 22 * HOUR,
            ),
        ),
        ({"quiet_hours": (NIGHT,)}, {}, URGENT, ("quiet_hours", "skip", "", "The tier may be sent at any hour.")),
        ({}, {}, {}, ("quiet_hours", "pass", "", "No quiet hours and no send window apply.")),
        ({"quiet_hours": (NIGHT,)}, {}, {}, ("quiet_hours", "pass", "", "Outside quiet hours and inside the send window.")),
        (
            {},
            {},
            {"window": Window("09:00", "17:00")},
            ("quiet_hours", "pass", "", "Outside quiet hours and inside the send window."),
        ),
        (
            *({}, {}, {"window": Window("13:00", "17:00", ("tue", "wed"))}),
            (
                *("quiet_hours", "defer", "window 13:00-17:00"),
                f"Outside the send window from 13:00 to 17:00 on tue, wed until {AT.replace('12:', '13:')}.",
                NOON + HOUR,
            ),
        ),
        (
            *({"quiet_hours": (QuietHours("11:00", "13:00"),)}, {}, {}),
            (
                *("quiet_hours", "defer", "quiet_hours 11:00-13:00"),
                f"Quiet hours from 11:00 to 13:00 until {AT.replace('12:', '13:')}.",
                NOON + HOUR,
            ),
        ),
        (
            *({"quiet_hours": (QuietHours("09:00", "09:00"),)}, {}, {}),
            (
                *("quiet_hours", "drop", "quiet_hours 09:00-09:00"),
                "Quiet hours from 09:00 to 09:00, and this never ends.",
            ),
        ),
        (
            *({"quiet_hours": (NIGHT,)}, {"zone": "Mars/Base"}, {}),
            (
                *("quiet_hours", "drop", "invalid_timezone"),
                "The time zone 'Mars/Base' does not exist, so quiet hours cannot be evaluated.",
            ),
        ),
        (
            *({"unknown_timezone": {"email": "drop"}}, {"zone": None}, {}),
            (
                *("quiet_hours", "drop", "unknown_timezone"),
                "The customer's time zone is not known, and email must not guess it.",
            ),
        ),
        ({"caps": (DAILY,)}, {}, URGENT, ("cap", "skip", "", "No cap applies to this tier: it passes them all.")),
        (
            {"caps": (DAILY,)},
            {"slots": (SENT,)},
            {"reserved": True},
            ("cap", "pass", "reserved", "The message holds its slot already."),
        ),
        ({}, {}, {}, ("cap", "pass", "", "No cap applies to this message.")),
        ({"caps": (replace(DAILY, channels=("sms",)),)}, {}, {}, ("cap", "pass", "", "No cap applies to this message.")),
        (
            *({"caps": (DAILY, replace(ROLLS, limit=2))}, {"slots": (replace(SENT, at=NOON - DAY),)}, {}),
            ("cap", "pass", "", "daily: 0 of 1 used on 3 March (Europe/Rome); weekly: 1 of 2 used within 7d."),
        ),
        (
            *({"caps": (replace(DAILY, limit=0),)}, {}, {}),
            ("cap", "drop", "daily", "daily: its limit of 0 leaves no room at all."),
        ),
        (
            *({"caps": (replace(DAILY, own_limit="customer.x"),)}, {"caps": (CapFact(own=0),)}, {}),
            (
                "cap",
                "drop",
                "daily",
                "daily: its limit of 0 leaves no room at all (the customer's own limit; policy's limit is 1).",
            ),
        ),
        (
            *({"caps": (DAILY,)}, {"slots": (SENT,)}, {}),
            (
                *("cap", "defer", "daily"),
                "daily: 1 of 1 used on 3 March (Europe/Rome); the message goes on 4 March 2026 at 12:00 (Europe/Rome).",
                *(NOON + DAY, False),
            ),
        ),
        (
            *(
                {"caps": (replace(DAILY, per="month"),)},
                {"slots": (replace(SENT, at=NOON - 4 * DAY),)},
                {"planned_at": NOON - 4 * DAY},
            ),
            ("cap", "pass", "", "daily: 0 of 1 used in the month from 1 March (Europe/Rome)."),
        ),
        (
            *({"caps": (DAILY,)}, {"slots": (replace(SENT, at=NOON - DAY),)}, {"planned_at": NOON - DAY + HOUR}),
            (
                *("cap", "defer", "daily"),
                "daily: 1 of 1 used on 2 March (Europe/Rome); the message goes on 3 March 2026 at 13:00 (Europe/Rome).",
                NOON + HOUR,
            ),
        ),
        (
            *({"caps": (ROLLS,)}, {"slots": (SENT,)}, {}),
            (
                *("cap", "defer", "weekly"),
                "weekly: 1 of 1 used within 7d; room from 10 March 2026 at 09:00 (Europe/Rome).",
                *(NOON + 7 * DAY - 3 * HOUR, False),
            ),
        ),
    ],
)
def test_a_gate_says_exactly_this(
    rules: dict[str, Any], known: dict[str, Any], own: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """Answer, rule, sentence, until when, and whether only time is in the way."""
    answer = GateAnswer(*expected)
    assert answer == decide(policy(**rules), facts(**known), message(**own), NOON).gates[GATES.index(answer.gate)]


def test_a_spread_says_when_it_ends_and_why() -> None:
    """Before quiet hours end, and in the turn that follows them."""
    rules = policy(quiet_hours=(NIGHT,), jitter=Duration(seconds=1800))
    own, whom = message(planned_at=LATE), facts(customer=1)
    before, until = decide(rules, whom, own, LATE).gates[9], decide(rules, whom, own, LATE).until
    assert until is not None
    goes = (
        f"goes on 4 March 2026 at 08:{until.minute:02}:{until.second:02} (Europe/Rome), because what waited goes spread over 30m."
    )
    eight = "4 March 2026 at 08:00 (Europe/Rome)"
    words = f"Quiet hours from 21:00 to 08:00 until {eight}; the message {goes}"
    assert GateAnswer("quiet_hours", "defer", "quiet_hours 21:00-08:00", words, until) == before
    after = decide(rules, whom, own, rome("2026-03-04 08:00")).gates[9]
    assert GateAnswer("quiet_hours", "defer", "jitter", f"It waited until {eight}, and {goes}", until) == after


def planned(number: int, due: datetime, tier: str = "lifecycle") -> PlannedFact:
    """What is registered."""
    return PlannedFact(tier, "email", "offers", "care", due, number, NOON - DAY)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            replace(DAILY, limit=2),
            "daily: 2 of 2 used on 3 March (Europe/Rome), 1 of them set aside for messages that go first; the",
        ),
        (replace(ROLLS, limit=2), "weekly: 2 of 2 used within 7d, 1 of them set aside for messages that go first; room from"),
    ],
)
def test_of_the_slots_that_are_used_it_says_how_many_are_set_aside(rule: Cap, words: str) -> None:
    """In this window, and not in all to come: of two that are registered, one is due only in two weeks."""
    known = facts(slots=(SENT,), planned=(planned(1, NOON + HOUR), planned(2, NOON + 14 * DAY)))
    assert decide(policy(caps=(rule,)), known, message(tier=BELOW[2]), NOON).gates[10].detail.startswith(words)
