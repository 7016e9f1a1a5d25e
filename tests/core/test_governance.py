"""What the gates say one by one, and what their answers add up to: allow, defer or drop."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.core.facts import GATES, HoldFact, SlotFact
from engine.core.governance import decide
from engine.core.plan import Window
from engine.core.policy import Holdout, QuietHours
from engine.core.wire import dump
from tests.core.governing import BELOW, DAILY, NIGHT, NOON, WEEKLY, facts, message, policy, rome

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
COMPLAINT = HoldFact("complaint", ("lifecycle",), NOON - DAY, NOON + 9 * DAY)
SENT = SlotFact("lifecycle", "email", "offers", "care", rome("2026-03-03 09:00"))


def test_a_message_that_nothing_stops_is_allowed() -> None:
    """Eleven gates answer in their order, each with a sentence."""
    verdict = decide(policy(caps=(DAILY, WEEKLY), quiet_hours=(NIGHT,)), facts(), message(), NOON)
    assert ("allow", "", "", None, None) == (verdict.decision, verdict.reason, verdict.rule, verdict.until, verdict.earliest)
    assert GATES == tuple(g.gate for g in verdict.gates)
    assert all(g.answer == "pass" and g.detail.endswith(".") for g in verdict.gates)
    assert "Every gate lets it pass." == verdict.detail


@pytest.mark.parametrize(
    ("known", "changed", "expected"),
    [
        ({"live": False, "ended_reason": "order_refunded"}, {}, ("live", "order_refunded")),
        ({"known": False}, {}, ("customer", "unknown")),
        ({"erased": True}, {}, ("customer", "erased")),
        ({"restricted": True}, {}, ("customer", "restricted")),
        ({}, {"expires_at": NOON}, ("expired", "expires")),
        ({"address": None}, {}, ("reachable", "no_address")),
        ({"suppressed": "hard bounce"}, {}, ("suppression", "hard bounce")),
        ({"suppressed": "STOP"}, {"tier": "transactional"}, ("suppression", "STOP")),
        ({"consents": ()}, {}, ("consent", "none")),
        ({"holdout": "global"}, {}, ("holdout", "global")),
        ({"holdout": "arm"}, {"tier": "promotional"}, ("holdout", "arm")),
        ({"zone": "Mars/Base"}, {}, ("quiet_hours", "invalid_timezone")),
        ({"zone": None}, {"channel": "sms"}, ("quiet_hours", "unknown_timezone")),
        ({"live": False, "suppressed": "STOP"}, {"expires_at": NOON}, ("live", "ended")),
    ],
)
def test_a_drop_names_its_gate_and_rule(known: dict[str, Any], changed: dict[str, Any], expected: tuple[str, str]) -> None:
    """The first gate that drops is the reason; the others have answered too, and no tier skips a suppression."""
    rules = policy(quiet_hours=(NIGHT,), holdout=Holdout("global", 0.1, ("lifecycle",)), unknown_timezone={"sms": "drop"})
    verdict = decide(rules, facts(**known), message(**changed), NOON)
    assert ("drop", *expected) == (verdict.decision, verdict.reason, verdict.rule)
    assert (None, 11) == (verdict.until, len(verdict.gates))


def test_a_drop_says_what_its_gate_said() -> None:
    """One sentence with one full stop, whatever it ends with."""
    verdict = decide(policy(), facts(suppressed="BY FAX"), message(), NOON)
    assert "Dropped: The address must not be used: BY FAX." == verdict.detail


def test_a_holdout_of_policy_leaves_other_tiers_alone() -> None:
    """A customer in the global holdout still gets what the holdout doesn't name."""
    rules = policy(holdout=Holdout("global", 0.1, ("promotional",)))
    assert "allow" == decide(rules, facts(holdout="global"), message(), NOON).decision


def test_a_drop_beats_a_defer() -> None:
    """In quiet hours and suppressed: dropped, and the quiet hours are still told."""
    verdict = decide(policy(quiet_hours=(NIGHT,)), facts(suppressed="STOP"), message(), rome("2026-03-03 22:00"))
    assert ("drop", "suppression", "defer") == (verdict.decision, verdict.reason, verdict.gates[9].answer)


def test_a_tier_skips_what_policy_says() -> None:
    """Transactional mail passes consent, caps, quiet hours and holds, and says so."""
    rules = policy(caps=(DAILY,), quiet_hours=(NIGHT,))
    verdict = decide(rules, facts(consents=(), holds=(COMPLAINT,)), message(tier="transactional"), rome("2026-03-03 22:00"))
    assert ("allow", ["consent", "hold", "quiet_hours", "cap"]) == (
        verdict.decision,
        [g.gate for g in verdict.gates if g.answer == "skip"],
    )


def test_skipping_quiet_hours_does_not_skip_the_sends_own_window() -> None:
    """A send's window is the author's word and holds for every tier."""
    own = message(tier="transactional", window=Window("09:00", "17:00"))
    verdict = decide(policy(quiet_hours=(NIGHT,)), facts(), own, rome("2026-03-03 18:00"))
    assert ("defer", "window 09:00-17:00", rome("2026-03-04 09:00")) == (verdict.decision, verdict.rule, verdict.until)


def test_an_unknown_zone_takes_policys_unless_the_channel_must_not_guess() -> None:
    """E-mail to a customer without a zone keeps Rome's quiet hours; transactional text messages need no zone."""
    rules = policy(quiet_hours=(NIGHT,), unknown_timezone={"sms": "drop"})
    assert rome("2026-03-04 08:00") == decide(rules, facts(zone=None), message(), rome("2026-03-03 22:00")).until
    assert "allow" == decide(rules, facts(zone=None), message(channel="sms", tier="transactional"), NOON).decision


@pytest.mark.parametrize("zone", [None, "", "Mars/Base"])
def test_a_channel_that_must_not_guess_needs_a_zone_that_exists(zone: str | None) -> None:
    """By day too, and where no quiet hours apply: dropped; on other channels the message goes."""
    rules = policy(unknown_timezone={"sms": "drop"})
    verdict = decide(rules, facts(zone=zone), message(channel="sms"), NOON)
    assert ("drop", "quiet_hours", "unknown_timezone") == (verdict.decision, verdict.reason, verdict.rule)
    assert "allow" == decide(rules, facts(zone=zone), message(), NOON).decision
    assert "allow" == decide(rules, facts(), message(channel="sms"), NOON).decision


@pytest.mark.parametrize(
    ("rule", "flags", "expected"),
    [
        (NIGHT, (), "defer"),
        (NIGHT, (True,), "defer"),
        (NIGHT, (False,), "allow"),
        (QuietHours("21:00", "08:00", channels=("sms",)), (), "allow"),
        (QuietHours("21:00", "08:00", tiers=("promotional",)), (), "allow"),
        (QuietHours("21:00", "08:00", days=("mon",)), (), "allow"),
        (QuietHours("21:00", "08:00", days=("tue",)), (), "defer"),
        (QuietHours("21:00", "26:00"), (), "drop"),
        (QuietHours("09:00", "09:00"), (), "drop"),
    ],
)
def test_quiet_hours_apply_where_they_say(rule: QuietHours, flags: tuple[bool, ...], expected: str) -> None:
    """Channel, tier, day and condition must match; a missing flag applies; what can't be evaluated or never ends doesn't send."""
    verdict = decide(policy(quiet_hours=(rule,)), facts(quiet=flags), message(), rome("2026-03-03 22:00"))
    assert expected == verdict.decision


def test_several_defers_settle_at_a_time_that_suits_all() -> None:
    """Room at 02:00 lies in the night; the night's end lies before the window: it goes when the window opens."""
    slots = tuple(SlotFact("lifecycle", "email", None, "care", rome(f"2026-02-{d} 02:00")) for d in (25, 26, 27))
    rules, own = policy(caps=(WEEKLY,), quiet_hours=(NIGHT,)), message(window=Window("10:00", "12:00"))
    verdict = decide(rules, facts(slots=slots), own, rome("2026-03-03 22:00"))
    assert ("defer", rome("2026-03-04 10:00"), rome("2026-03-04 10:00")) == (verdict.decision, verdict.until, verdict.earliest)
    assert "allow" == decide(rules, facts(slots=slots), own, rome("2026-03-04 10:00")).decision


def test_a_window_inside_quiet_hours_never_opens() -> None:
    """Two certain rules that leave no time between them drop the message rather than let it wait for ever."""
    own = message(window=Window("22:00", "23:00"))
    verdict = decide(policy(quiet_hours=(NIGHT,)), facts(), own, NOON)
    assert ("drop", "quiet_hours", None) == (verdict.decision, verdict.reason, verdict.earliest)
    assert GATES == tuple(g.gate for g in verdict.gates)
    ending = decide(policy(quiet_hours=(NIGHT,)), facts(), replace(own, expires_at=NOON + 9 * DAY), NOON)
    assert ("drop", "expired", None) == (ending.decision, ending.reason, ending.earliest)


def test_a_message_waits_while_a_hold_may_yet_be_lifted_even_where_no_time_would_suit() -> None:
    """A hold is uncertain, so nothing is certain: it is decided again, and says how things stand."""
    own = message(window=Window("22:00", "23:00"))
    verdict = decide(policy(quiet_hours=(NIGHT,)), facts(holds=(COMPLAINT,)), own, NOON)
    assert ("defer", "hold", None) == (verdict.decision, verdict.reason, verdict.earliest)
    assert verdict.until is not None
    assert verdict.until > COMPLAINT.until
    assert verdict.detail.endswith(" (Europe/Rome). As the rules stand, no time would let it pass.")


def test_of_several_rules_in_the_way_the_one_that_ends_last_is_named() -> None:
    """In the night of a day whose one message is used up: the cap, which is asked last, is in the way until noon."""
    verdict = decide(policy(caps=(DAILY,), quiet_hours=(NIGHT,)), facts(slots=(SENT,)), message(), rome("2026-03-03 22:00"))
    assert ("cap", "daily", rome("2026-03-04 12:00")) == (verdict.reason, verdict.rule, verdict.until)


def test_a_certain_wait_that_ends_before_the_message_does_is_a_wait() -> None:
    """It goes in the morning, and says so."""
    own = message(expires_at=NOON + DAY)
    verdict = decide(policy(quiet_hours=(NIGHT,)), facts(), own, rome("2026-03-03 22:00"))
    assert ("defer", rome("2026-03-04 08:00")) == (verdict.decision, verdict.until)
    until = "until 4 March 2026 at 08:00 (Europe/Rome)"
    assert (
        f"Waits for Quiet hours from 21:00 to 08:00 {until}. "
        "If nothing else changes it goes on 4 March 2026 at 08:00 (Europe/Rome)."
    ) == verdict.detail


def test_a_certain_wait_that_outlives_the_message_drops_it_at_once() -> None:
    """Quiet hours end after it expires: expired now, naming what it would have waited for."""
    own = message(expires_at=rome("2026-03-04 08:00"))
    verdict = decide(policy(quiet_hours=(NIGHT,)), facts(), own, rome("2026-03-03 22:00"))
    assert ("drop", "expired", "quiet_hours 21:00-08:00", rome("2026-03-04 08:00")) == (
        verdict.decision,
        verdict.reason,
        verdict.rule,
        verdict.earliest,
    )


def test_an_uncertain_wait_lasts_until_the_message_expires() -> None:
    """A full cap may be freed: the message waits for its end and is dropped there, naming the cap."""
    rules, known = policy(caps=(DAILY,)), facts(slots=(SENT,))
    own = message(expires_at=rome("2026-03-03 20:00"))
    verdict = decide(rules, known, own, NOON)
    assert ("defer", "cap", "daily", rome("2026-03-03 20:00"), rome("2026-03-04 12:00")) == (
        verdict.decision,
        verdict.reason,
        verdict.rule,
        verdict.until,
        verdict.earliest,
    )
    last = decide(rules, known, own, rome("2026-03-03 20:00"))
    assert ("drop", "expired", "daily") == (last.decision, last.reason, last.rule)
    assert "daily: 1 of 1 used on 3 March (Europe/Rome)" in last.detail
    assert GATES == tuple(g.gate for g in last.gates)


@pytest.mark.parametrize(
    ("closed", "now", "expected"),
    [
        (None, "2026-03-03 13:00", ("defer", "2026-03-12 12:00", False)),
        (None, "2026-03-12 12:00", ("pass", None, True)),
        ("2026-03-03 11:59", "2026-03-03 12:00", ("pass", None, True)),
        ("2026-03-05 10:00", "2026-03-05 10:00", ("defer", "2026-03-05 12:00", True)),
        ("2026-03-05 12:00", "2026-03-05 12:00", ("pass", None, True)),
        ("2026-03-05 15:00", "2026-03-05 15:01", ("defer", "2026-03-06 12:00", True)),
        ("2026-03-05 15:00", "2026-03-06 12:00", ("pass", None, True)),
    ],
)
def test_a_hold_lets_go_at_the_planned_time_of_day(closed: str | None, now: str, expected: tuple[str, str | None, bool]) -> None:
    """Open: until `at_most`, uncertain. Closed after it was planned: the first noon from then. Closed before: nothing."""
    hold = HoldFact("complaint", BELOW, NOON - DAY, NOON + 9 * DAY, closed and rome(closed))
    gate = decide(policy(), facts(holds=(hold,)), message(), rome(now)).gates[8]
    assert (expected[0], expected[1] and rome(expected[1]), expected[2]) == (gate.answer, gate.until, gate.certain)


def test_one_complaint_resolved_and_one_open_hold_on() -> None:
    """Two holds of one name: the open one counts, and so does one that pauses another tier only for that tier."""
    closed = HoldFact("complaint", BELOW, NOON - DAY, NOON + 9 * DAY, NOON)
    verdict = decide(policy(), facts(holds=(closed, COMPLAINT)), message(), NOON + HOUR)
    assert ("defer", "hold", "complaint") == (verdict.decision, verdict.reason, verdict.rule)
    assert "allow" == decide(policy(), facts(holds=(COMPLAINT,)), message(tier="promotional"), NOON).decision


@pytest.mark.parametrize("closed", [None, NOON + 30 * HOUR])
def test_a_message_that_expired_in_a_hold_names_the_hold(closed: datetime | None) -> None:
    """Whether it is open still or closed too late, the hold is the cause."""
    hold = HoldFact("complaint", BELOW, NOON - DAY, NOON + 9 * DAY, closed)
    own = message(expires_at=NOON + DAY)
    verdict = decide(policy(), facts(holds=(hold,)), own, NOON + DAY if closed is None else closed)
    assert ("drop", "hold", "complaint") == (verdict.decision, verdict.reason, verdict.rule)
    assert "Not worth sending after 4 March 2026 at 12:00 (Europe/Rome); complaint held it back." == verdict.detail
    assert GATES == tuple(g.gate for g in verdict.gates)


@pytest.mark.parametrize(
    ("longest", "other"),
    [
        ((9, None), (8, None)),
        ((2, None), (9, 8)),
        ((6, 5), (9, 4)),
        ((4, 8), (9, 5)),
    ],
)
def test_of_several_holds_the_one_that_held_longest_is_named(
    longest: tuple[int, int | None], other: tuple[int, int | None]
) -> None:
    """An open one holds longer than any that was closed; of open ones the later end counts, of closed ones the later close."""
    holds = [
        HoldFact(name, BELOW, NOON - DAY, NOON + until * DAY, closed and NOON + closed * HOUR)
        for name, (until, closed) in (("complaint", longest), ("refund", other))
    ]
    own = message(expires_at=NOON + HOUR)
    for known in (holds, holds[::-1]):
        verdict = decide(policy(), facts(holds=tuple(known)), own, NOON + DAY)
        assert ("hold", "complaint") == (verdict.reason, verdict.rule)


@pytest.mark.parametrize("opened", [HOUR, 2 * HOUR])
def test_a_hold_that_opened_after_the_end_is_not_its_cause(opened: timedelta) -> None:
    """A message that had expired before the complaint came, or as it came, is dropped as expired."""
    hold = HoldFact("complaint", BELOW, NOON + opened, NOON + 9 * DAY)
    verdict = decide(policy(), facts(holds=(hold,)), message(expires_at=NOON + HOUR), NOON + 3 * HOUR)
    assert ("drop", "expired") == (verdict.decision, verdict.reason)


def test_a_message_that_nothing_held_just_expired() -> None:
    """Its verdict says when, and names nothing else."""
    verdict = decide(policy(), facts(), message(expires_at=NOON + HOUR), NOON + HOUR)
    assert "Not worth sending after 3 March 2026 at 13:00 (Europe/Rome)." == verdict.detail


def test_a_release_whose_time_of_day_comes_too_late_drops_at_once() -> None:
    """Released at 15:00 and expiring at 20:00, the planned noon is tomorrow: dropped, naming the hold."""
    hold = HoldFact("complaint", BELOW, NOON - DAY, NOON + 9 * DAY, rome("2026-03-03 15:00"))
    verdict = decide(policy(), facts(holds=(hold,)), message(expires_at=rome("2026-03-03 20:00")), rome("2026-03-03 15:00"))
    assert ("drop", "hold", "complaint", rome("2026-03-04 12:00")) == (
        verdict.decision,
        verdict.reason,
        verdict.rule,
        verdict.earliest,
    )


def test_a_message_planned_in_the_night_goes_in_the_morning_that_a_cap_frees() -> None:
    """Planned at 22:00 it would have gone at 08:00: the new day's 08:00 is its time, not 22:00 and then the next morning."""
    rules = policy(caps=(DAILY,), quiet_hours=(NIGHT,))
    late = message(planned_at=rome("2026-03-03 22:00"))
    assert rome("2026-03-04 08:00") == decide(rules, facts(slots=(SENT,)), late, rome("2026-03-03 22:00")).until


def test_a_tier_that_policy_no_longer_has_skips_nothing() -> None:
    """An old plan's tier is decided, not crashed on."""
    assert "allow" == decide(policy(), facts(), message(tier="gone"), NOON).decision


def test_a_verdict_is_json() -> None:
    """What is decided can be stored: every verdict survives `wire.dump` and `json.dumps`, and says one sentence or two."""
    rules = policy(caps=(DAILY,), quiet_hours=(NIGHT,))
    kept = [
        decide(rules, facts(slots=slots, holds=holds), message(expires_at=NOON + 2 * DAY), NOON + HOUR * hours)
        for slots in ((), (SENT,))
        for holds in ((), (COMPLAINT,))
        for hours in (0, 10, 72)
    ]
    assert {"allow", "defer", "drop"} == {json.loads(json.dumps(dump(v)))["decision"] for v in kept}
    assert all(v.detail.endswith(".") for v in kept)


def test_details_speak_local_time() -> None:
    """A marketer reads the customer's clock and the zone."""
    verdict = decide(policy(caps=(DAILY,)), facts(slots=(SENT,)), message(), NOON)
    assert "daily: 1 of 1 used on 3 March (Europe/Rome); the message goes on 4 March 2026 at 12:00 (Europe/Rome)." == (
        verdict.gates[10].detail
    )
    assert datetime(2026, 3, 4, 11, tzinfo=UTC) == verdict.until
