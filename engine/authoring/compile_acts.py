"""The steps that do something besides sending: `set`, `task`, `call`, `emit`, `start`, to operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.authoring import shape_steps as shape
from engine.authoring.model_tracking import BUILTIN, convert
from engine.authoring.shape_journey import EventEntry
from engine.authoring.spots import Spot
from engine.authoring.types import Type
from engine.core.clock import format_duration
from engine.core.plan import Act
from engine.core.wire import Json
from engine.settings.problems import nearest

if TYPE_CHECKING:
    from engine.authoring.compile_steps import Steps


def act(build: Steps, step: shape.Step, spot: Spot) -> Act:
    """The operation of one of these steps."""
    match step:
        case shape.Set():
            return Act(build.id(step, spot), "set", _set(build, step, spot / "set"), step.if_)
        case shape.Task():
            return Act(build.id(step, spot, step.task), "task", _task(build, step, spot), step.if_)
        case shape.Call():
            return Act(build.id(step, spot), "call", _call(build, step, spot), step.if_)
        case shape.Emit():
            return Act(build.id(step, spot, step.emit), "emit", _emit(build, step, spot), step.if_)
        case shape.Start():
            return Act(build.id(step, spot, step.start), "start", _start(build, step, spot), step.if_)
    raise AssertionError(f"no verb compiles {type(step).__name__}")


def _literal(declared: Type | None, value: Json, spot: Spot) -> Json:
    """A value as its declared type wants it. A text with `{{ }}` is converted when it has been filled in."""
    if declared is None or (isinstance(value, str) and "{{" in value):
        return value
    found, wrong = convert(declared, value)
    if wrong and "{{" not in str(value):
        spot.report("SJ302", f"this {wrong}", f"tracking.yaml declares it as {declared.describe()}")
    return value if wrong else found


def _set(build: Steps, step: shape.Set, spot: Spot) -> Json:
    fields: dict[str, Json] = {}
    for name, value in step.set.items():
        place = spot / name
        place.value(value, build.names)
        owner, _, key = name.partition(".")
        declared = None
        if owner == "customer" and key.isidentifier():
            declared = build.world.tracking.attribute(key)
            if key in build.world.tracking.worked_out:
                place.report("SJ423", f"{key!r} is computed and can't be set", "set another attribute", key=True)
            elif declared is None:
                known = {n for n, _ in build.world.tracking.attributes}
                hint = nearest(key, known) or "declare it under attributes: in tracking.yaml"
                place.report("SJ208", f"there is no attribute {key!r}", hint, key=True)
        elif owner == "vars" and key.isidentifier() and key != "last_send":
            build.set_variable(key)
        else:
            place.report("SJ112", f"{name!r} can't be set", "write customer.NAME or vars.NAME", key=True)
        fields[name] = _literal(declared, value, place)
    return fields


def _task(build: Steps, step: shape.Task, spot: Spot) -> Json:
    for part in ("title", "body", "assignee"):
        (spot / part).value(getattr(step, part), build.names)
    (spot / "once_per").expression(step.once_per, build.names, "any")
    return {
        "queue": step.task,
        "title": step.title,
        "body": step.body,
        "due": format_duration(step.due) if step.due else None,
        "assignee": step.assignee,
        "once_per": step.once_per,
    }


def _call(build: Steps, step: shape.Call, spot: Spot) -> Json:
    names = build.names.with_secrets()
    for part, body in (("call", step.call), ("json", step.json_), ("headers", step.headers)):
        (spot / part).value(body, names)
    if step.into:
        if step.into == "vars.last_send":
            (spot / "into").report("SJ112", "vars.last_send is written by sends", "take another name")
        build.set_variable(step.into.removeprefix("vars."))
    method, _, url = step.call.partition(" ")
    return {
        "method": method,
        "url": url.strip(),
        "json": step.json_,
        "headers": step.headers,
        "into": step.into,
        "timeout": format_duration(step.timeout) if step.timeout else None,
        "on_error": step.on_error,
    }


def _emit(build: Steps, step: shape.Emit, spot: Spot) -> Json:
    if any(e.name == step.emit for e in BUILTIN):
        (spot / "emit").report("SJ422", f"{step.emit!r} is an event of the engine's own", "emit one that tracking.yaml declares")
    event = build.world.event(spot / "emit", step.emit)
    (spot / "with").value(step.with_, build.names)
    (spot / "to").expression(step.to, build.names, "any")
    fields = step.with_
    if event:
        fields = _properties(dict(event.properties), event.required, step.with_, spot, f"the event {event.name!r}")
    return {"event": step.emit, "with": fields, "to": step.to}


def _start(build: Steps, step: shape.Start, spot: Spot) -> Json:
    (spot / "with").value(step.with_, build.names)
    found = build.world.journeys.get(step.start)
    if not found:
        if step.start not in build.world.unreadable:
            (spot / "start").unknown("SJ206", "journey", step.start, set(build.world.journeys))
        return {"journey": step.start, "with": step.with_}
    key = next((e.key for e in found.enter if e.key), None)
    if key and key not in step.with_:
        hint = f"add with: {{{key}: …}}: it tells that journey's enrollments apart"
        (spot / "start").report("SJ111", f"{step.start!r} needs its key {key!r}", hint)
    event = next((build.world.tracking.event(e.event) for e in found.enter if isinstance(e, EventEntry)), None)
    known = dict(event.properties) if event else {}
    fields = {name: _literal(known.get(name), value, spot / "with" / name) for name, value in step.with_.items()}
    return {"journey": step.start, "with": fields}


def _properties(
    known: Mapping[str, Type], required: tuple[str, ...], given: dict[str, Json], spot: Spot, owner: str
) -> dict[str, Json]:
    """What `with` gives an event, converted to the declared types."""
    for name in given.keys() - known.keys():
        hint = nearest(name, known) or "declare it in tracking.yaml"
        (spot / "with" / name).report("SJ211", f"{owner} has no property {name!r}", hint, key=True)
    if missing := [name for name in required if name not in given]:
        (spot / "emit").report("SJ111", f"{owner} needs {', '.join(missing)}", "add it under with:")
    return {name: _literal(known.get(name), value, spot / "with" / name) for name, value in given.items()}
