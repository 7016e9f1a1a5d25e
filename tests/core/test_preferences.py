"""What a page of preferences says leads exactly to what it showed, whatever was said before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.case import open_case
from engine.core.consent import consent, snooze
from engine.core.facts import ConsentFact, Facts
from engine.core.policy import ConsentRule, Policy, SoftOptIn, Tier
from engine.core.preferences import Choice, Said, is_on, statements
from tests.core.governing import facts, message
from tests.core.test_consent_merged import histories, numbered

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TOPICS = ("news", "offers")
RULES = (ConsentRule("email", "granted"), ConsentRule("sms", double_opt_in=True), ConsentRule("push", "granted"))
POLICY = Policy((Tier("lifecycle"),), consent=RULES, topics=TOPICS)
SHOWN = [Choice(channel, topic) for channel in ("email", "sms") for topic in TOPICS]
ELSEWHERE = [Choice("push", topic) for topic in TOPICS]
LATER = "a topic of one day"

boxes = st.fixed_dictionaries({choice: st.booleans() for choice in SHOWN})


def known(history: list[ConsentFact]) -> Facts:
    """A customer with this history."""
    return facts(consents=tuple(numbered(history, 1)))


def after(known: Facts, said: list[Said]) -> Facts:
    """The same when this has been said, in order, a moment later."""
    new = [ConsentFact(*s, NOW + timedelta(seconds=1), version=1000 + n) for n, s in enumerate(said)]
    return replace(known, consents=(*known.consents, *new))


def on(known: Facts, choices: list[Choice]) -> dict[Choice, bool]:
    """What is on a moment later."""
    return {c: is_on(POLICY, known, c, NOW + timedelta(seconds=2)) for c in choices}


@settings(max_examples=200)
@given(histories, boxes)
def test_what_was_ticked_is_on_and_the_rest_is_off(history: list[ConsentFact], wanted: dict[Choice, bool]) -> None:
    """Also after withdrawals of a channel, of everything, of a topic everywhere. A channel that wasn't shown gets nothing new."""
    before = known([s for s in history if s.until is None])
    said = statements(POLICY, before, wanted, NOW, others=["push"])
    then = after(before, said)
    assert wanted == on(then, SHOWN)
    ticked = {c.channel for c in SHOWN if wanted[c]}
    later = [Choice(channel, LATER) for channel in ("email", "sms")]
    for choice, now_on in on(then, [*ELSEWHERE, *later]).items():
        by_policy = choice.channel == "email" and "email" in ticked
        assert not now_on or by_policy or is_on(POLICY, before, choice, NOW)


@settings(max_examples=200)
@given(histories, boxes)
def test_what_is_unproven_is_off_until_it_is_confirmed(history: list[ConsentFact], wanted: dict[Choice, bool]) -> None:
    """What a double opt-in brings back is what was ticked, when that is confirmed, and no topic of another day."""
    before = known([s for s in history if s.until is None])
    said = statements(POLICY, before, wanted, NOW, others=["push"], unproven=["sms"])
    asked = after(before, said)
    new = {s for s in asked.consents if s.version >= 1000 and (s.channel, s.state) == ("sms", "granted")}
    waiting = replace(asked, consents=tuple(replace(s, state="pending") if s in new else s for s in asked.consents))
    texts = [c for c in SHOWN if c.channel == "sms"]
    for choice, now_on in on(waiting, [*texts, Choice("sms", LATER)]).items():
        assert not now_on or is_on(POLICY, before, choice, NOW)
    confirmed = [replace(s, at=NOW + timedelta(seconds=2), version=s.version + 1000) for s in new]
    then = replace(waiting, consents=(*waiting.consents, *confirmed))
    assert {c: wanted[c] for c in texts} == on(then, texts)
    assert not on(then, [Choice("sms", LATER)])[Choice("sms", LATER)] or is_on(POLICY, before, Choice("sms", LATER), NOW)


@given(histories)
def test_nothing_is_said_of_what_is_so_already(history: list[ConsentFact]) -> None:
    """A page that is saved as it was shown says nothing; nor does one that is saved twice."""
    before = known([s for s in history if s.until is None])
    assert [] == statements(POLICY, before, on(before, SHOWN), NOW, others=["push"])
    wanted = {choice: not is_on for choice, is_on in on(before, SHOWN).items()}
    then = after(before, statements(POLICY, before, wanted, NOW, others=["push"]))
    assert [] == statements(POLICY, then, wanted, NOW + timedelta(seconds=2), others=["push"])


def test_a_wide_withdrawal_is_cleared_and_the_rest_withdrawn_one_by_one() -> None:
    """Who left everything and comes back for one topic gets just that."""
    gone = known([ConsentFact("*", None, "withdrawn", NOW)])
    said = statements(POLICY, gone, {c: c == Choice("sms", "news") for c in SHOWN}, NOW, others=["push"])
    assert Said("*", None, "cleared") == said[0]
    assert [Said("sms", "news", "granted")] == [s for s in said if s.state == "granted"]
    assert {("email", None), ("push", None)} == {(s.channel, s.topic) for s in said if s.state == "withdrawn"}


def test_soft_opt_in_shows_as_on_and_a_snooze_does_not_show_as_off() -> None:
    """Boxes say what is agreed to; a break is shown by itself."""
    soft = Policy((Tier("lifecycle"),), consent=(ConsentRule("email", soft=SoftOptIn("bought", ("offers",))),), topics=TOPICS)
    resting = ConsentFact("*", None, "withdrawn", NOW, until=NOW + timedelta(days=9))
    one = facts(consents=(resting,), soft_opt_in_at=(("email", NOW - timedelta(days=1)),))
    assert [False, True] == [is_on(soft, one, Choice("email", topic), NOW) for topic in TOPICS]


def test_a_snooze_can_be_ended_before_its_time() -> None:
    """By one as wide that is over when it is said: what was said before holds again, and a new snooze lasts as long as it
    says."""
    yes = ConsentFact("email", "news", "granted", NOW - timedelta(days=9), version=1)
    long = ConsentFact("*", None, "withdrawn", NOW - timedelta(days=2), until=NOW + timedelta(days=30), version=2)
    end = ConsentFact("*", None, "withdrawn", NOW, until=NOW, version=3)
    short = ConsentFact("*", None, "withdrawn", NOW, until=NOW + timedelta(days=3), version=4)

    def rule(*told: ConsentFact, days: int = 0) -> str:
        asked = open_case(POLICY, facts(consents=told), message(channel="email", topic="news"))
        return consent(asked, NOW + timedelta(days=days, seconds=1)).rule

    assert ("snoozed", "granted") == (rule(yes, long), rule(yes, long, end))
    assert ("snoozed", "granted") == (rule(yes, long, end, short), rule(yes, long, end, short, days=3))
    assert short == snooze((yes, long, end, short), "*", None, NOW)
    other = ConsentFact("email", "news", "withdrawn", NOW, until=NOW, version=3)
    assert ("snoozed", "snoozed") == (rule(yes, long, other), rule(yes, end, replace(long, at=NOW, version=4))), (
        "as wide, and later"
    )
    assert (long, None) == (snooze((yes, long, other), "*", None, NOW), snooze((yes, long, end), "*", None, NOW))
    longer = replace(long, until=NOW + timedelta(days=31), version=5)
    assert longer == snooze((longer, long, yes), "*", None, NOW) == snooze((long, longer), "*", None, NOW)
    assert snooze((yes, long), "email", None, NOW) is None is snooze((replace(long, until=NOW),), "*", None, NOW)
    assert "withdrawn" == rule(ConsentFact("*", None, "withdrawn", NOW - timedelta(days=1)), long, end), "for good is for good"
