"""Which one change would have let a message pass: true of what it names, and nothing is left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings

from engine.core.facts import ConsentFact, Facts, HoldFact, Message, PauseFact, PlannedFact, SlotFact
from engine.core.governance import decide
from engine.core.obstacles import Obstacles, in_the_way
from engine.core.policy import Holdout, Policy, QuietHours
from tests.core.cases import CALENDARS, cases
from tests.core.governing import DAILY, NIGHT, NOON, WEEKLY, facts, message, policy, rome

Case = tuple[Policy, Facts, Message, datetime]
SENT = SlotFact("lifecycle", "email", "offers", "care", rome("2026-03-03 09:00"))
COMPLAINT = HoldFact("complaint", ("lifecycle",), NOON - timedelta(days=1), NOON + timedelta(days=9))
RECOVERY = HoldFact("recovery", ("lifecycle",), NOON - timedelta(days=1), NOON + timedelta(days=2))
LATE = rome("2026-03-03 22:00")


def named(found: Obstacles) -> tuple[list[str], list[str]]:
    """The rules of those that were enough alone, and of those that were not."""
    return [o.rule for o in found.alone], [o.rule for o in found.together]


def left(asked: Policy, known: Facts, rules: list[QuietHours]) -> tuple[Policy, Facts]:
    """With `rules` for its quiet hours, of which those that say nothing any more are gone, and the flags of the others."""
    kept = [i for i, q in enumerate(rules) if q.start or q.calendar]
    flags = tuple(i >= len(known.quiet) or known.quiet[i] for i in kept)
    return replace(asked, quiet_hours=tuple(rules[i] for i in kept)), replace(known, quiet=flags)


def removals(asked: Policy, known: Facts) -> dict[tuple[str, str], tuple[Policy, Facts]]:
    """Every rule of policy taken out of it, as somebody would who edits policy.yaml: (gate, rule) → policy and facts then. Hours
    and days off that stand in one rule go one without the other.

    Facts keep one flag to a quiet hour; without the hold's rule the hold is not there."""
    fresh = replace(known, queue=None)
    found = {}
    for cap in asked.caps:
        found["cap", cap.name] = replace(asked, caps=tuple(c for c in asked.caps if c.name != cap.name)), fresh
    for times in {(q.start, q.end) for q in asked.quiet_hours if q.start}:
        rules = [replace(q, start="", end="") if (q.start, q.end) == times else q for q in asked.quiet_hours]
        found["quiet_hours", f"quiet_hours {'-'.join(times)}"] = left(asked, fresh, rules)
    for calendar in {q.calendar for q in asked.quiet_hours if q.calendar}:
        rules = [replace(q, calendar="", days_off=()) if q.calendar == calendar else q for q in asked.quiet_hours]
        found["quiet_hours", f"days_off {calendar}"] = left(asked, fresh, rules)
    for name in {h.name for h in known.holds}:
        found["hold", name] = asked, replace(fresh, holds=tuple(h for h in known.holds if h.name != name))
    return found


@settings(max_examples=120)
@given(cases())
def test_exactly_the_rules_whose_removal_lets_it_pass_are_named(case: Case) -> None:
    """Each rule that is named: without it policy allows. Each that isn't: without it policy doesn't."""
    asked, known, about, now = case
    found = {(o.gate, o.rule) for o in in_the_way(asked, known, about, now).alone}
    if decide(asked, known, about, now).decision == "allow":
        assert set() == found
        return
    enough = {rule for rule, (p, f) in removals(asked, known).items() if decide(p, f, about, now).decision == "allow"}
    assert enough == {rule for rule in found if rule[0] in ("cap", "hold") or rule[1].startswith(("quiet_hours ", "days_off "))}


@settings(max_examples=150)
@given(cases())
def test_what_stands_together_must_all_go(case: Case) -> None:
    """Where no change is enough alone, all that are named together are, and none of them can stay."""
    asked, known, about, now = case
    found = in_the_way(asked, known, about, now)
    assert found is not None, "a gate stands in the way of which engine.core.obstacles says nothing"
    assert not (found.alone and found.together)

    def passes(without: tuple[object, ...]) -> bool:
        changed = (asked, known, about)
        for each in found.together:
            if each in without:
                changed = each.lift(*changed)
        return decide(*changed, now).decision == "allow"

    if found.together:
        assert len(found.together) > 1
        assert passes(found.together)
        assert not any(passes(tuple(o for o in found.together if o != left)) for left in found.together)


@pytest.mark.parametrize(
    ("known", "changed", "expected"),
    [
        ({"live": False}, {}, "were the enrollment still live"),
        ({"known": False}, {}, "were the customer known"),
        ({"erased": True}, {}, "had the customer not been erased"),
        ({"restricted": True}, {}, "were the customer not restricted"),
        ({"pauses": (PauseFact("care", NOON),)}, {}, "were care not paused"),
        ({}, {"expires_at": NOON}, "were it worth sending for longer"),
        ({"address": None}, {}, "with an address on email"),
        ({"suppressed": "STOP"}, {}, "were the address not suppressed"),
        ({"consents": ()}, {}, "with consent to email about offers"),
        ({"consents": (ConsentFact("*", None, "withdrawn", NOON),)}, {"topic": None}, "with consent to email"),
        ({"holdout": "global"}, {}, "outside the holdout global"),
        ({"holds": (COMPLAINT,)}, {}, "without the hold complaint"),
        ({"slots": (SENT,)}, {}, "without the cap daily"),
        ({"zone": None}, {"channel": "sms"}, "were sms allowed to guess the time zone"),
    ],
)
def test_each_gate_says_what_would_have_been_enough(known: dict[str, object], changed: dict[str, object], expected: str) -> None:
    """One thing in the way: the one that is named."""
    rules = policy(
        caps=(DAILY, WEEKLY),
        quiet_hours=(NIGHT,),
        unknown_timezone={"sms": "drop"},
        holdout=Holdout("global", 0.1, ("lifecycle",)),
    )
    found = in_the_way(rules, facts(**known), message(**changed), NOON)
    assert ([expected], ()) == ([o.without for o in found.alone], found.together)


def test_nothing_is_in_the_way_of_what_passes() -> None:
    """Not even rules that apply to it."""
    rules = policy(caps=(DAILY,), quiet_hours=(NIGHT,))
    assert Obstacles() == in_the_way(rules, facts(), message(), NOON)


@pytest.mark.parametrize(
    ("rules", "known", "at", "expected"),
    [
        (policy(caps=(DAILY,), quiet_hours=(NIGHT,)), facts(slots=(SENT,)), LATE, ["quiet_hours 21:00-08:00", "daily"]),
        (policy(caps=(DAILY, replace(WEEKLY, limit=1))), facts(slots=(SENT,)), NOON, ["daily", "weekly"]),
        (policy(), facts(holds=(COMPLAINT, RECOVERY)), NOON, ["complaint", "recovery"]),
        (
            policy(quiet_hours=(NIGHT, QuietHours("20:00", "09:00"))),
            facts(),
            LATE,
            ["quiet_hours 21:00-08:00", "quiet_hours 20:00-09:00"],
        ),
        (policy(caps=(DAILY,)), facts(slots=(SENT,), consents=()), NOON, ["none", "daily"]),
    ],
)
def test_where_two_stand_in_the_way_neither_alone_would_have_let_it(
    rules: Policy, known: Facts, at: datetime, expected: list[str]
) -> None:
    """Of two gates, or of two rules of one gate, of which the verdict names one."""
    assert ([], expected) == named(in_the_way(rules, known, message(), at))


BG, COMPANY = (QuietHours("", "", calendar=name, days_off=days) for name, days in CALENDARS.items())


@pytest.mark.parametrize(
    ("rules", "at", "alone", "together"),
    [
        ((BG,), "2026-03-03 12:00", ["days_off holidays/bg.yaml"], []),
        ((BG, COMPANY), "2026-03-03 12:00", [], ["days_off holidays/bg.yaml", "days_off holidays/company.yaml"]),
        ((BG, COMPANY), "2026-03-04 12:00", ["days_off holidays/company.yaml"], []),
        ((NIGHT, BG), "2026-03-03 22:00", [], ["quiet_hours 21:00-08:00", "days_off holidays/bg.yaml"]),
        ((replace(BG, start="21:00", end="08:00"),), "2026-03-03 12:00", ["days_off holidays/bg.yaml"], []),
        ((replace(BG, start="21:00", end="08:00"),), "2026-03-04 22:00", ["quiet_hours 21:00-08:00"], []),
        (
            (replace(BG, start="21:00", end="08:00"), replace(COMPANY, start="21:00", end="08:00")),
            "2026-03-04 12:00",
            ["days_off holidays/company.yaml"],
            [],
        ),
    ],
)
def test_days_off_go_calendar_by_calendar(rules: tuple[QuietHours, ...], at: str, alone: list[str], together: list[str]) -> None:
    """Each is named by its file, and lifting it leaves another's day off, and hours of its own rule, as they are."""
    found = in_the_way(policy(quiet_hours=rules), facts(), message(planned_at=rome(at)), rome(at))
    assert found is not None
    assert (alone, together) == named(found)
    said = {f"without the {o.rule.replace('quiet_hours', 'quiet hours').replace('days_off', 'days off of')}" for o in found.alone}
    assert said == {o.without for o in found.alone}


def test_a_cap_without_which_others_would_have_gone_first_is_not_enough() -> None:
    """A higher message waits for the cap's room. Without the cap it goes at once, and then its own slot fills the other cap."""
    higher = PlannedFact("lifecycle", "email", "offers", "cart", NOON, enrollment=1, entered_at=NOON, waiting=True)
    rules = policy(caps=(DAILY, replace(DAILY, name="two", limit=2)))
    lower = message(tier="promotional", enrollment=2, entered_at=NOON)
    assert (["daily"], []) == named(in_the_way(rules, facts(slots=(SENT,)), lower, NOON))
    assert ([], ["daily", "two"]) == named(in_the_way(rules, facts(slots=(SENT,), planned=(higher,)), lower, NOON))


def test_where_either_of_two_changes_was_enough_both_are_named() -> None:
    """Quiet hours in a zone that doesn't exist can't be evaluated; without quiet hours nobody needs the zone."""
    found = in_the_way(policy(quiet_hours=(NIGHT,)), facts(zone="Mars/Base"), message(), NOON)
    assert ["with a time zone that exists", "without the quiet hours 21:00-08:00"] == [o.without for o in found.alone]
