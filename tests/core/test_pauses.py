"""Gate 2: what a pause keeps back, for how long, and what is said of it afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings

from engine.core.facts import PauseFact
from engine.core.gates import ASK_AGAIN
from engine.core.governance import decide
from engine.core.recording import recall, record
from tests.core.cases import cases
from tests.core.governing import DAILY, NIGHT, NOON, facts, message, policy

HOUR = timedelta(hours=1)
PAUSED = PauseFact("care", NOON - HOUR, None, "a typo")
OVER = PauseFact("care", NOON - HOUR, NOON + HOUR)


def test_what_is_paused_waits_for_the_resume_whatever_else_is_in_the_way() -> None:
    """Deferred, with the pause as its reason and nobody knowing until when; also for tiers that skip everything."""
    rules = policy(caps=(DAILY,), quiet_hours=(NIGHT,))
    for tier in ("transactional", "promotional"):
        verdict = decide(rules, facts(pauses=(PAUSED,)), message(tier=tier, expires_at=None), NOON)
        assert ("defer", "journey", "care") == (verdict.decision, verdict.reason, verdict.rule)
        assert (NOON + ASK_AGAIN, None) == (verdict.until, verdict.earliest)
        said = "Waits until it is resumed: care is paused since 3 March 2026 at 11:00 (Europe/Rome) (a typo)."
        assert said == verdict.detail


def test_it_is_decided_a_last_time_when_it_expires_and_the_pause_is_its_cause() -> None:
    """Still paused, or resumed too late for it; a pause that was over before it was planned has nothing to do with it."""
    asked = message(planned_at=NOON, expires_at=NOON + 2 * HOUR)
    assert NOON + 2 * HOUR == decide(policy(), facts(pauses=(PAUSED,)), asked, NOON).until
    for pause in (PAUSED, OVER):
        late = decide(policy(), facts(pauses=(pause,)), asked, NOON + 2 * HOUR)
        assert ("drop", "journey", "care") == (late.decision, late.reason, late.rule)
        assert late.detail.endswith("; care was paused.")
    before = PauseFact("care", NOON - 2 * HOUR, NOON)
    after = PauseFact("care", NOON + 2 * HOUR)
    for pause in (before, after):
        assert "expired" == decide(policy(), facts(pauses=(pause,)), asked, NOON + 4 * HOUR).reason


def test_a_drop_beats_a_pause() -> None:
    """What would be dropped in any case is dropped now."""
    assert "suppression" == decide(policy(), facts(pauses=(PAUSED,), suppressed="STOP"), message(), NOON).reason


@given(cases())
@settings(max_examples=40)
def test_nothing_passes_a_pause_and_a_resume_leaves_the_rest_to_the_other_gates(case) -> None:  # type: ignore[no-untyped-def]
    """Paused, no message is allowed; without its pauses the same message is decided as if there had never been any, unless it has
    expired. What was recorded says so again."""
    rules, known, asked, now = case
    paused = replace(known, pauses=(PauseFact("care", now - HOUR),))
    assert "allow" != decide(rules, paused, asked, now).decision
    assert decide(rules, paused, asked, now) == decide(rules, *recall(record(paused, asked)), now)
    resumed = decide(rules, replace(known, pauses=(PauseFact("care", now - HOUR, now),)), asked, now)
    never = decide(rules, replace(known, pauses=()), asked, now)
    assert (resumed.decision, resumed.until) == (never.decision, never.until)
    assert resumed.reason in (never.reason, "journey")
