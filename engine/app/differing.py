"""What differs between two compiled projects, in words: each journey's steps by their ids, and what journeys share. Pure.

Operations are compared without their numbers, which every insertion changes; where a step leads is told where neither an added
nor a removed step explains it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from engine.app.differences import Difference, differences, plain
from engine.authoring.graph import awaited
from engine.authoring.project import Compiled
from engine.authoring.templates import Template
from engine.core.plan import Alternative, Arm, Jump, NextChannel, Op, Plan, SplitArm
from engine.core.wire import Json

NUMBERS = ("target", "on_timeout", "otherwise", "skip_to", "done")
"""Fields that hold the number of an operation."""


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step that is `added`, `removed`, `changed` or `moved`. `verb`: what it is; `before`: the step that stands behind it in
    the new plan ("": none)."""

    step: str
    kind: str
    verb: str
    before: str = ""
    fields: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class JourneyChange:
    """A journey that is `new`, `gone` or `changed`. `fields`: of the journey as a whole."""

    journey: str
    kind: str
    fields: tuple[Difference, ...] = ()
    steps: tuple[StepChange, ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectChanges:
    """All that differs. `shared`: file (policy.yaml, segments.yaml, tracking.yaml) → what differs in it. `templates`: (name,
    what happened to it)."""

    journeys: tuple[JourneyChange, ...] = ()
    shared: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    templates: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.journeys or self.shared or self.templates)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "journeys": [
                {
                    "journey": j.journey,
                    "change": j.kind,
                    "fields": [_json(d) for d in j.fields],
                    "steps": [
                        {
                            "step": s.step,
                            "change": s.kind,
                            "verb": s.verb,
                            "before": s.before,
                            "fields": [_json(d) for d in s.fields],
                        }
                        for s in j.steps
                    ],
                }
                for j in self.journeys
            ],
            "shared": {name: [_json(d) for d in found] for name, found in self.shared.items()},
            "templates": [{"template": name, "change": change} for name, change in self.templates],
        }


def _json(one: Difference) -> dict[str, str]:
    return {"path": one.path, "old": one.old, "new": one.new}


def project_changes(old: Compiled, new: Compiled) -> ProjectChanges:
    """What differs in `new`."""
    shared = {
        f"{name}.yaml": found
        for name in ("policy", "segments", "tracking")
        if (found := tuple(differences(plain(getattr(old, name)), plain(getattr(new, name)))))
    }
    return ProjectChanges(tuple(_journeys(old.plans, new.plans)), shared, tuple(_templates(old.templates, new.templates)))


def steps_of(plan: Plan) -> dict[str, list[Op]]:
    """The operations of each step, in the plan's order."""
    found: dict[str, list[Op]] = {}
    for op in plan.ops:
        if not isinstance(op, (Jump, NextChannel)):
            found.setdefault(op.step, []).append(op)
    return found


def _journeys(old: Mapping[str, Plan], new: Mapping[str, Plan]) -> Iterator[JourneyChange]:
    for name in sorted({*old, *new}):
        was, will = old.get(name), new.get(name)
        if was is None and will is not None:
            steps = tuple(StepChange(s, "added", verb(ops), before) for s, ops, before in _in_order(will))
            yield JourneyChange(name, "new", (), steps)
        elif will is None and was is not None:
            yield JourneyChange(name, "gone", (), tuple(StepChange(s, "removed", verb(o)) for s, o in steps_of(was).items()))
        elif was is not None and will is not None and was.hash != will.hash:
            top = tuple(differences(_top(was), _top(will)))
            yield JourneyChange(name, "changed", top, tuple(_step_changes(was, will)))


def _in_order(plan: Plan) -> Iterator[tuple[str, list[Op], str]]:
    """Each step with its operations and the step behind it."""
    found = steps_of(plan)
    for (step, ops), behind in zip(found.items(), [*list(found)[1:], ""], strict=True):
        yield step, ops, behind


def _top(plan: Plan) -> Json:
    return {name: value for name, value in plain(plan).items() if name not in ("ops", "hash", "format", "journey")}


def _step_changes(old: Plan, new: Plan) -> Iterator[StepChange]:
    was, will = steps_of(old), steps_of(new)
    kept = [s for s in will if s in was]
    moved = _moved([s for s in was if s in will], kept)
    for step, ops, before in _in_order(new):
        if step not in was:
            yield StepChange(step, "added", verb(ops), before)
            continue
        found = [*differences(_bodies(was[step]), _bodies(ops)), *_leads(old, new, step)]
        if step in moved:
            yield StepChange(step, "moved", verb(ops), before, tuple(found))
        elif found:
            yield StepChange(step, "changed", verb(ops), before, tuple(found))
    for step, ops in was.items():
        if step not in will:
            yield StepChange(step, "removed", verb(ops))


def _moved(old: Sequence[str], new: Sequence[str]) -> set[str]:
    """Steps that stand elsewhere among those that both have."""
    kept = {new[m.b + i] for m in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks() for i in range(m.size)}
    return set(new) - kept


def _bodies(ops: Sequence[Op]) -> Json:
    """What the operations of a step say, without where they stand."""
    bodies = [{k: v for k, v in _without_numbers(plain(op)).items() if k != "step"} for op in ops]
    merged: dict[str, Json] = {}
    for op, body in zip(ops, bodies, strict=True):
        for name, value in body.items():
            merged[name if name not in merged else f"{type(op).__name__.lower()}.{name}"] = value
    return merged | {"is": verb(ops)}


def _without_numbers(body: Json) -> Json:
    if isinstance(body, dict):
        return {k: _without_numbers(v) for k, v in body.items() if k not in NUMBERS and not (k == "send" and isinstance(v, int))}
    return [_without_numbers(v) for v in body] if isinstance(body, list) else body


def _leads(old: Plan, new: Plan, step: str) -> Iterator[Difference]:
    """Ways out of a step that lead elsewhere, though neither an added nor a removed step stands at their end."""
    was, will = (_ways(plan, step) for plan in (old, new))
    kept_old, kept_new = steps_of(old), steps_of(new)
    for name in (name for name in was if name in will):
        before, after = was[name], will[name]
        if before != after and (before == END or before in kept_new) and (after == END or after in kept_old):
            yield Difference(f"{name} leads to", before, after)


END = "the end"


def _ways(plan: Plan, step: str) -> dict[str, str]:
    """What each way out of a step that has several is called, and the step to which it leads. Of ways that are called the same
    all but the first have their positions behind."""
    found: dict[str, str] = {}
    for op in steps_of(plan)[step]:
        for number, item in enumerate((*getattr(op, "arms", ()), *getattr(op, "alternatives", ())), 1):
            name = _named(item)
            found[name if name not in found else f"{name} ({number})"] = _place(plan, item.target)
        for name in ("on_timeout", "otherwise"):
            if hasattr(op, name):
                found[{"on_timeout": "timeout", "otherwise": "else"}[name]] = _place(plan, getattr(op, name))
    return found


def _named(item: Alternative | Arm | SplitArm) -> str:
    if isinstance(item, Alternative):
        return awaited(item)
    return item.condition if isinstance(item, Arm) else item.name


def _place(plan: Plan, number: int) -> str:
    for _ in plan.ops:
        if number >= len(plan.ops):
            break
        op = plan.ops[number]
        if not isinstance(op, (Jump, NextChannel)):
            return op.step
        number = op.target if isinstance(op, Jump) else number + 1
    return END


def verb(ops: Sequence[Op]) -> str:
    """What a step is, as a journey writes it."""
    name = getattr(ops[0], "verb", None) or type(ops[0]).__name__
    return {"WaitFor": "wait_for", "Loop": "repeat"}.get(name, name.lower())


def _templates(old: Mapping[tuple[str, str], Template], new: Mapping[tuple[str, str], Template]) -> Iterator[tuple[str, str]]:
    for place in sorted({*old, *new}):
        name = "/".join(place)
        if place not in old:
            yield name, "new"
        elif place not in new:
            yield name, "gone"
        elif old[place].hash != new[place].hash:
            texts = (_texts(old[place]), _texts(new[place]))
            named = sorted({k for k in texts[0].keys() | texts[1].keys() if texts[0].get(k) != texts[1].get(k)})
            yield name, f"changed: {', '.join(named)}"


def _texts(template: Template) -> dict[str, str]:
    groups = (template.fields, template.parts, template.sources)
    found = {name: source.text for group in groups for name, source in group.items()}
    return found | {f"in {locale}": version.hash for locale, version in template.versions.items()}
