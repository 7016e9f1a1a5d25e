"""What is different between two plans of a journey, step by step; by ids, which survive edits. Pure.

A step's own fields count, and where it stands among the others. Where it leads follows from those, so that a step put into a
branch is one step more and not a changed branch as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from engine.core.moving import places
from engine.core.plan import Op, Plan
from engine.core.wire import Json, dump

LEADS = frozenset({"target", "skip_to", "on_timeout", "otherwise", "done"})
"""Fields of operations that hold the number of another."""

HEAD = ("tier", "entries", "exits", "goal", "key", "holdout", "holdout_salt", "status", "starts", "ends")
"""Fields of a plan beside its steps that change what it does."""


@dataclass(frozen=True, slots=True)
class StepChange:
    """One step that two plans have in different ways. `fields`: of a `changed` one, what is other than before, by the names of
    `core.plan` (`kind`: it is another verb). `moved`: it stands elsewhere among the steps that both have."""

    step: str
    kind: Literal["added", "removed", "changed", "moved"]
    fields: tuple[str, ...] = ()


def steps_changed(old: Plan, new: Plan) -> tuple[StepChange, ...]:
    """Every step that is other in `new`, those of `new` in its order, then those that are gone in the order of `old`. Empty where
    the steps are the same. A step that is changed and moved comes once for each."""
    was, will = steps_of(old), steps_of(new)
    moved = _moved([s for s in was if s in will], [s for s in will if s in was])
    found: list[StepChange] = []
    for step, op in will.items():
        if step not in was:
            found.append(StepChange(step, "added"))
            continue
        if fields := _fields_changed(was[step], op):
            found.append(StepChange(step, "changed", fields))
        if step in moved:
            found.append(StepChange(step, "moved"))
    return (*found, *(StepChange(step, "removed") for step in was if step not in will))


def head_changed(old: Plan, new: Plan) -> tuple[str, ...]:
    """The fields of `HEAD` that are other in `new`."""
    return tuple(name for name in HEAD if getattr(old, name) != getattr(new, name))


def steps_of(plan: Plan) -> dict[str, Op]:
    """The operations that are steps, by id, in order: jumps have none."""
    return {step: plan.ops[at] for step, at in places(plan).items()}


def _fields_changed(old: Op, new: Op) -> tuple[str, ...]:
    if type(old) is not type(new):
        return ("kind",)
    was, will = _own(dump(old)), _own(dump(new))
    return tuple(sorted(name for name in was.keys() | will.keys() if was.get(name) != will.get(name)))


def _own(body: Json) -> Json:
    """An operation's JSON without the numbers of others: `with`, conditions and texts stay as they are."""
    own = {name: value for name, value in body.items() if name not in LEADS}
    for name in ("arms", "alternatives"):
        if name in own:
            own[name] = [{k: v for k, v in one.items() if k not in LEADS} for one in own[name]]
    return own


def _moved(old: Sequence[str], new: Sequence[str]) -> set[str]:
    """Those that don't stand in the longest order that both have in common."""
    same = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return set(new) - {new[at] for block in same for at in range(block.b, block.b + block.size)}
