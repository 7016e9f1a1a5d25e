"""What stands of several statements beside the gate: whether somebody agreed for good, and what a merge must say again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import pytest

from engine.core.consent import agreed, lifted, taken_back
from engine.core.facts import ConsentFact
from tests.core.governing import NOON

SOON = NOON + timedelta(seconds=1)
ENDED = NOON - timedelta(days=7)

State = Literal["granted", "withdrawn", "pending", "cleared"]


def said(
    ago: int, state: State, channel: str = "email", topic: str | None = "offers", until: datetime | None = None, version: int = 0
) -> ConsentFact:
    """A statement made so many days before noon."""
    return ConsentFact(channel, topic, state, NOON - timedelta(days=ago), until=until, version=version)


YES, NO = said(9, "granted"), said(8, "withdrawn")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], False),
        ([YES], True),
        ([said(9, "pending")], False),
        ([NO], False),
        ([said(9, "granted", until=NOON)], False),
        ([said(9, "granted", until=SOON)], True),
        ([said(9, "granted", topic=None)], False),
        ([said(9, "granted", "*")], False),
        ([YES, NO], False),
        ([said(9, "withdrawn"), said(8, "granted")], True),
        ([YES, said(8, "pending")], False),
        ([YES, said(8, "withdrawn", topic=None)], False),
        ([said(8, "withdrawn", topic=None), said(7, "granted")], True),
        ([YES, said(8, "withdrawn", "*", None)], False),
        ([YES, said(8, "withdrawn", "*")], False),
        ([YES, said(8, "withdrawn", "sms")], True),
        ([YES, said(8, "withdrawn", topic="news")], True),
        ([YES, said(8, "withdrawn", topic=None, until=SOON)], False),
        ([YES, said(8, "withdrawn", topic=None, until=NOON)], True),
        ([YES, said(8, "granted", topic=None)], True),
        ([YES, said(9, "withdrawn", topic=None, version=1)], False),
        ([said(9, "granted", version=1), said(9, "withdrawn", topic=None)], True),
        ([YES, said(8, "cleared")], False),
        ([YES, said(8, "cleared", topic=None)], False),
        ([YES, said(8, "cleared", topic="news")], True),
        ([said(8, "cleared", "*", None), said(7, "granted")], True),
        ([said(9, "granted"), said(8, "cleared", "sms", None)], True),
        ([said(9, "cleared"), said(8, "granted")], True),
        ([YES, said(8, "withdrawn", topic=None), said(7, "cleared", topic=None)], False),
    ],
)
def test_whether_somebody_agreed_and_took_nothing_back(told: list[ConsentFact], expected: bool) -> None:
    """The latest about exactly this is a consent that lasts, and no refusal that touches it came after it."""
    assert expected == agreed(told, "email", "offers", NOON)
    assert expected == agreed(told[::-1], "email", "offers", NOON)


@pytest.mark.parametrize(
    ("since", "no", "channel", "expected"),
    [
        (YES, NO, "email", True),
        (YES, said(10, "withdrawn"), "email", False),
        (YES, said(8, "granted"), "email", False),
        (said(9, "granted", topic=None), said(8, "withdrawn", topic="news"), "email", True),
        (said(9, "granted", "*", None), said(8, "withdrawn", "sms", "news"), "*", True),
        (said(9, "granted", "*", None), said(8, "withdrawn", "sms", "news"), "email", False),
        (said(9, "granted", "*"), said(8, "withdrawn", "sms", "news"), "*", False),
        (said(9, "granted", "*"), said(8, "withdrawn", "*"), "sms", True),
    ],
)
def test_what_takes_a_consent_back(since: ConsentFact, no: ConsentFact, channel: str, expected: bool) -> None:
    """A later refusal of something that it is about, on that channel or on any where all are asked about."""
    assert expected == taken_back([since, no], since, channel, NOON)


@pytest.mark.parametrize(
    ("mine", "theirs", "again"),
    [
        ([NO], [], []),
        ([NO], [said(7, "granted")], [NO]),
        ([NO], [said(8, "granted", version=1)], [NO]),
        ([NO], [said(8, "granted")], []),
        ([NO], [YES], []),
        ([NO], [said(7, "pending")], []),
        ([NO], [said(7, "granted", until=NOON)], []),
        ([NO], [said(7, "granted", until=SOON)], [NO]),
        ([NO], [said(7, "granted", "sms")], []),
        ([NO], [said(7, "granted", topic="news")], []),
        ([NO], [said(7, "granted", topic=None)], [NO]),
        ([NO], [said(7, "granted", "*")], [NO]),
        ([said(8, "withdrawn", until=NOON)], [said(7, "granted")], []),
        ([said(8, "withdrawn", until=SOON)], [said(7, "granted")], [said(8, "withdrawn", until=SOON)]),
        ([said(8, "withdrawn", topic=None)], [said(7, "granted")], []),
        ([said(8, "withdrawn", topic=None)], [said(7, "granted", topic=None)], [said(8, "withdrawn", topic=None)]),
        ([said(8, "withdrawn", "*")], [said(7, "granted")], []),
        ([said(8, "withdrawn", "*")], [said(7, "granted", "*")], [said(8, "withdrawn", "*")]),
        ([said(8, "withdrawn", "*")], [said(7, "granted", "*", None)], []),
        ([NO, said(7, "granted")], [said(6, "granted")], []),
        ([NO, said(7, "granted", topic=None)], [said(6, "granted")], []),
        ([NO, said(7, "granted", "sms")], [said(6, "granted")], [NO]),
        ([NO, said(7, "granted", until=SOON)], [said(6, "granted")], [NO]),
        ([NO, said(7, "granted"), said(6, "pending")], [said(5, "granted")], [NO]),
        ([YES, NO], [said(6, "granted")], [NO]),
        ([said(9, "withdrawn"), NO], [said(6, "granted")], [NO]),
        (
            [said(7, "withdrawn", topic=None), NO],
            [said(6, "granted"), said(6, "granted", topic=None)],
            [NO, said(7, "withdrawn", topic=None)],
        ),
        ([NO, said(7, "withdrawn", until=SOON)], [said(6, "granted")], [NO, said(7, "withdrawn", until=SOON)]),
        ([NO], [said(7, "cleared")], [NO]),
        ([NO], [said(9, "cleared")], []),
        ([NO], [said(7, "cleared", topic=None)], []),
        ([NO, said(7, "cleared")], [said(6, "cleared")], []),
        ([said(8, "withdrawn", until=SOON)], [said(7, "cleared")], []),
        ([said(8, "withdrawn", until=SOON)], [said(7, "withdrawn", until=ENDED)], [said(8, "withdrawn", until=SOON)]),
        ([NO], [said(7, "withdrawn", until=ENDED)], []),
        ([said(8, "withdrawn", until=SOON)], [said(7, "withdrawn", topic=None, until=ENDED)], []),
    ],
)
def test_what_a_merge_says_again(mine: list[ConsentFact], theirs: list[ConsentFact], again: list[ConsentFact]) -> None:
    """The refusals that still hold, or will again, and that the other's consent would lift; each once, in order."""
    assert again == lifted(mine, theirs, NOON)
