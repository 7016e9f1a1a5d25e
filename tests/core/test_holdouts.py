"""Who is held out: a stable share, other people under another salt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.holdouts import by_journey, by_policy
from engine.core.plan import Entry, Plan, plan_from_json, plan_to_json
from engine.core.policy import Holdout, policy_from_json, policy_to_json
from tests.core.governing import policy

PEOPLE = range(1, 4001)


def journey(share: float, salt: str = "", name: str = "j") -> Plan:
    return Plan(name, "lifecycle", (), (Entry("api"),), holdout=share, holdout_salt=salt)


def test_another_salt_or_name_holds_out_other_people_of_the_same_share() -> None:
    """Of two divisions that know nothing of each other a quarter is in both; each has its share."""
    rules = [policy(holdout=Holdout(name, 0.5, ("lifecycle",), salt)) for name, salt in (("a", ""), ("a", "new"), ("b", ""))]
    groups = [{p for p in PEOPLE if by_journey(plan, p)} for plan in (journey(0.5), journey(0.5, "new"), journey(0.5, "", "k"))]
    groups += [{p for p in PEOPLE if by_policy(rule, p)} for rule in rules]
    for i, one in enumerate(groups):
        assert 0.45 < len(one) / len(PEOPLE) < 0.55
        for other in groups[:i]:
            assert 0.21 < len(one & other) / len(PEOPLE) < 0.29


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 2**63), st.sampled_from(["", "x"]))
def test_a_larger_share_keeps_those_of_the_smaller(one: float, other: float, customer: int, salt: str) -> None:
    """Nobody leaves a holdout because it grew; none has nobody and all has everybody."""
    small, large = sorted((one, other))
    assert by_journey(journey(small, salt), customer) <= by_journey(journey(large, salt), customer)
    assert not by_journey(journey(0, salt), customer)
    assert by_journey(journey(1, salt), customer)


def test_a_salt_is_part_of_the_plan_and_its_absence_changes_no_hash() -> None:
    """A plan with a salt is another plan; one without is written as it was before there were salts."""
    plain, salted = (plan_from_json(plan_to_json(journey(0.1, salt))) for salt in ("", "x"))
    assert "holdout_salt" not in plan_to_json(plain)
    assert (plain.hash == salted.hash, salted.holdout_salt) == (False, "x")
    rule = policy(holdout=Holdout("g", 0.1, ("lifecycle",), "x"))
    assert rule == policy_from_json(policy_to_json(rule))
