"""What two plans have in different ways, step by step."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from engine.authoring.plan_diff import StepChange, head_changed, steps_changed, steps_of
from engine.core.clock import Duration
from engine.core.plan import Arm, Branch, Jump, Moment, Plan, Send, Wait
from tests.core.passage import plan_of
from tests.core.strategies import plans

A, B = Wait("a", Moment(after=Duration(days=1))), Wait("b", Moment(after=Duration(days=2)))
MAIL = Send("mail", ("email",), "t", "lifecycle")


def test_an_edit_is_told_by_ids() -> None:
    """Added, removed, changed (with the fields) and moved, those of the new plan first."""
    longer = replace(A, until=Moment(after=Duration(days=3)))
    old, new = plan_of(A, MAIL, B), plan_of(Send("hello", ("email",), "t", "lifecycle"), longer, MAIL)
    expected = (StepChange("hello", "added"), StepChange("a", "changed", ("until",)), StepChange("b", "removed"))
    assert expected == steps_changed(old, new)
    assert (StepChange("b", "moved"),) == steps_changed(plan_of(A, MAIL, B), plan_of(B, A, MAIL))
    assert (StepChange("a", "changed", ("kind",)),) == steps_changed(plan_of(A), plan_of(replace(MAIL, step="a")))


def test_where_a_step_leads_is_no_change_of_its_own() -> None:
    """A step put into an arm is one step more; another condition is a changed branch."""
    old = plan_of(Branch("if", (Arm("x", 1),), 2, skip_to=2), A)
    new = plan_of(Branch("if", (Arm("x", 1),), 4, skip_to=4), A, MAIL, Jump(4))
    assert (StepChange("mail", "added"),) == steps_changed(old, new)
    other = plan_of(Branch("if", (Arm("y", 1),), 2, skip_to=2), A)
    assert (StepChange("if", "changed", ("arms",)),) == steps_changed(old, other)


def test_what_changes_beside_the_steps_is_named() -> None:
    """Of the plan's head, what changes what it does."""
    old = plan_of(A)
    assert ("tier", "status") == head_changed(old, replace(old, tier="service", status="closed", summary="other words"))


@given(plans(), plans())
@settings(max_examples=60, deadline=None)
def test_changes_lead_from_one_plan_to_the_other(old: Plan, new: Plan) -> None:
    """Same steps: nothing is told. Else what is added and removed turns the ids of one into those of the other."""
    assert () == steps_changed(old, old)
    told = steps_changed(old, new)
    gone = {c.step for c in told if c.kind == "removed"}
    more = {c.step for c in told if c.kind == "added"}
    assert set(steps_of(new)) == (set(steps_of(old)) - gone) | more
    assert {c.step for c in told if c.kind in ("changed", "moved")} <= set(steps_of(old)) & set(steps_of(new))
