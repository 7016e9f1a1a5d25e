"""Two histories of consent become one: at no later time is more allowed than either of the two would have allowed alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.core.case import open_case
from engine.core.consent import consent, lifted
from engine.core.facts import ConsentFact
from engine.core.policy import ConsentRule, Policy, Tier
from tests.core.governing import facts, message

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy((Tier("lifecycle"),), consent=(ConsentRule("email", "granted"), ConsentRule("sms")), topics=("news", "offers"))
ABOUT = [(channel, topic) for channel in ("email", "sms") for topic in ("news", "offers")]

said = st.builds(
    ConsentFact,
    channel=st.sampled_from(["email", "sms", "*"]),
    topic=st.sampled_from(["news", "offers", None, "a topic of one day"]),
    state=st.sampled_from(["granted", "withdrawn", "granted", "withdrawn", "pending", "cleared"]),
    at=st.integers(0, 6).map(lambda n: NOW - n * DAY),
    until=st.one_of(st.none(), st.none(), st.integers(-2, 4).map(lambda n: NOW + n * DAY)),
)
histories = st.lists(said, max_size=5)


def numbered(history: list[ConsentFact], first: int) -> list[ConsentFact]:
    """With versions in the order in which they were taken."""
    return [replace(s, version=first + n) for n, s in enumerate(history)]


def refused(history: list[ConsentFact], channel: str, topic: str, at: datetime) -> bool:
    """Whether somebody said no: withdrawn, or snoozed."""
    case = open_case(POLICY, facts(consents=tuple(history)), message(channel=channel, topic=topic))
    return consent(case, at).rule in ("withdrawn", "snoozed")


def merged(one: list[ConsentFact], other: list[ConsentFact]) -> list[ConsentFact]:
    """As a merge makes it."""
    again = [*lifted(one, other, NOW), *lifted(other, one, NOW)]
    return [*one, *other, *(replace(s, at=NOW, version=1000 + n) for n, s in enumerate(again))]


@settings(max_examples=1000)
@example(
    [ConsentFact("email", "news", "granted", NOW)],
    [
        ConsentFact("email", "news", "withdrawn", NOW - DAY),
        ConsentFact("email", None, "granted", NOW),
        ConsentFact("email", None, "pending", NOW),
    ],
    0,
)
@given(histories, histories, st.integers(0, 6))
def test_what_one_of_them_refused_stays_refused(one: list[ConsentFact], other: list[ConsentFact], later: int) -> None:
    """Now and at any later time, on each channel and about each topic, whoever's history it was."""
    mine, theirs = numbered(one, 1), numbered(other, 100)
    both = merged(mine, theirs)
    at = NOW + later * DAY
    for channel, topic in ABOUT:
        alone = refused(mine, channel, topic, at) or refused(theirs, channel, topic, at)
        assert not alone or refused(both, channel, topic, at)


@given(histories)
def test_who_brings_no_consent_has_nothing_said_again(history: list[ConsentFact]) -> None:
    """Only what somebody else's consent would lift is said again: a merge with a stranger who said nothing adds no statement."""
    assert [] == lifted(numbered(history, 1), [], NOW)


@given(histories)
def test_a_merge_with_oneself_changes_no_answer(history: list[ConsentFact]) -> None:
    """What both say alike stays as it is, where no consent is only for a while."""
    mine = [replace(s, until=None) for s in numbered(history, 1)]
    theirs = [replace(s, version=s.version + 50) for s in mine]
    for channel, topic in ABOUT:
        assert refused(mine, channel, topic, NOW) == refused(merged(mine, theirs), channel, topic, NOW)


def test_a_consent_said_after_the_merge_lifts_it() -> None:
    """The withdrawal that was said again is one like any other: the same breadth, agreed to later, is agreed to."""
    no = ConsentFact("email", "news", "withdrawn", NOW - 3 * DAY, version=1)
    yes = ConsentFact("email", "news", "granted", NOW - DAY, version=2)
    both = merged([no], [yes])
    assert refused(both, "email", "news", NOW)
    assert not refused([*both, replace(yes, at=NOW + DAY, version=2000)], "email", "news", NOW + DAY)
