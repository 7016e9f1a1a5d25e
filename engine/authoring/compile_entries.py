"""Entries to what a plan holds of them: the events, calls and occasions by which people come in, and who is meant.

What only broadcasts and dates need stands in the entry's `options` as JSON: `schedule` (`core.occasions.Schedule`), `date`
(`core.occasions.Anniversary`), `audience` (a condition, as a `Segment` without a name), `rate` (people a second, or null), and
`segment` (a name) with `existing`: whether those who are in it already are enrolled too, as an audience.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.authoring import shape_journey as shape
from engine.authoring.compile_tracking import compile_condition
from engine.authoring.model_segments import Condition, Holds, InSegment, Segment
from engine.authoring.scopes import Names
from engine.authoring.shape_tracking import Condition as WrittenCondition
from engine.authoring.shapes import time_meant
from engine.authoring.spots import Spot
from engine.authoring.world import MOVES, World, fields_of
from engine.core.clock import parse_duration, parse_time
from engine.core.cron import parse_cron
from engine.core.occasions import Anniversary, Schedule
from engine.core.plan import Entry
from engine.core.wire import Json, dump

_ATTRIBUTE = re.compile(r"customer\.([A-Za-z_][A-Za-z0-9_]*)\Z")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def compile_entry(written: shape.Entry, spot: Spot, world: World) -> Entry:
    """The entry; what is wrong with it is reported below `spot`."""
    again, after = written.again or "always", None
    if again.startswith("after"):
        again, after = "after", parse_duration(again.removeprefix("after"))
    fields = fields_of(world, written)
    names = world.names(entry=fields, event=fields)
    made = _Made()
    match written:
        case shape.EventEntry():
            made = _event(written, spot, world)
            (spot / "where").expression(written.where, names)
        case shape.ScheduleEntry():
            made = _schedule(written, spot, world)
        case shape.BroadcastEntry():
            made = _broadcast(written, spot, world)
        case shape.DateEntry():
            made = _date(written, spot, world)
        case shape.SegmentEntry():
            made = _segment(written, spot, world)
    (spot / "if").expression(written.if_, names)
    (spot / "once_per").expression(written.once_per, names, "any")
    return Entry(
        kind=written.kind,  # type: ignore[arg-type]  # the shapes' kinds are the plan's
        event=made.event,
        where=written.where if isinstance(written, shape.EventEntry) else None,
        condition=written.if_,
        key=written.key,
        again="after" if after else "never" if again == "never" else "always",
        again_after=after,
        while_active=written.while_active,
        once_per=written.once_per,
        options=made.options,
    )


@dataclass(frozen=True, slots=True)
class _Made:
    """What is particular to one kind of entry."""

    event: str | None = None
    options: Json = None


def _event(written: shape.EventEntry, spot: Spot, world: World) -> _Made:
    _by_event(written, written.event, spot, spot / "event", world)
    return _Made(written.event)


def _by_event(written: shape.Entry, name: str, spot: Spot, named: Spot, world: World) -> None:
    """An entry that begins with an event: it exists, has the key, and it is said whether somebody may enter again."""
    event = world.event(named, name)
    if written.key and event and not event.property(written.key):
        (spot / "key").unknown("SJ211", f"property of {event.name} called", written.key, {n for n, _ in event.properties})
    _said_again(written, named)


def _said_again(written: shape.Entry, named: Spot) -> None:
    if not written.key and not written.again:
        hint = "add again: never, always, or after 30d (or a key: that tells enrollments apart)"
        named.report("SJ413", "may the same customer enter again? An entry without a key must say so", hint, key=True)


def _broadcast(written: shape.BroadcastEntry, spot: Spot, world: World) -> _Made:
    _by_event(written, written.broadcast, spot, spot / "broadcast", world)
    names = world.names(entry=fields_of(world, written))
    audience = _audience(written.audience, spot / "audience", world, names)
    return _Made(written.broadcast, {"audience": dump(Segment("", audience)), "rate": written.rate})


def _schedule(written: shape.ScheduleEntry, spot: Spot, world: World) -> _Made:
    if written.again:
        (spot / "again").report("SJ420", "each occurrence of a schedule enrolls afresh", "remove again:", key=True)
    _keyless(written, spot)
    schedule = _occasions(written.schedule, spot / "schedule", world)
    audience = _audience(written.audience, spot / "audience", world, world.names())
    options = {"schedule": dump(schedule), "audience": dump(Segment("", audience)), "rate": written.rate}
    return _Made(None, options)


def _segment(written: shape.SegmentEntry, spot: Spot, world: World) -> _Made:
    _keyless(written, spot)
    world.segment(spot / "segment", written.segment)
    _said_again(written, spot / "segment")
    if written.when == "leaves" and written.existing == "enroll":
        message = "who is in the segment at the deploy hasn't left it, so there is nobody to enroll"
        (spot / "existing").report("SJ420", message, "write existing: ignore", key=True)
    options: dict[str, Json] = {"segment": written.segment, "existing": written.existing}
    if written.existing == "enroll":
        options |= {"audience": dump(Segment("", InSegment(written.segment))), "rate": None}
    return _Made(MOVES[written.when], options)


def _keyless(written: shape.Entry, spot: Spot) -> None:
    if written.key:
        message = f"a {written.kind}: has no event, so there is nothing that a key: could name"
        (spot / "key").report("SJ420", message, "remove it", key=True)


def _occasions(written: str | shape.Occasions, spot: Spot, world: World) -> Schedule:
    if isinstance(written, str):
        return _once(written, spot, world.policy.timezone)
    if (written.at is None) == (written.cron is None):
        spot.report(
            "SJ420", "a schedule has either at: or cron:", 'write at: "09:00" with days:, or cron: "0 9 * * tue"', key=True
        )
        return Schedule("UTC")
    if written.cron is not None:
        if written.days:
            (spot / "days").report("SJ420", "with cron: the days stand in its last field", "remove days:", key=True)
        try:
            parse_cron(written.cron)
        except ValueError as wrong:
            (spot / "cron").report("SJ421", str(wrong), 'write five fields, such as "0 9 * * tue"')
            return Schedule("UTC")
        return Schedule(written.timezone, cron=written.cron)
    at = written.at or ""
    if len(at) > len("09:00"):
        if written.days:
            (spot / "days").report("SJ420", "days: belongs to a time of day; this is one date", "remove days:", key=True)
        return _once(at, spot / "at", written.timezone)
    try:
        return Schedule(written.timezone, at=parse_time(at).strftime("%H:%M"), days=written.days)
    except ValueError:
        meant = time_meant(at)
        hint = f'write at: "{meant}"' if meant else 'write at: "09:00", or at: "2026-12-01 09:00"'
        (spot / "at").report("SJ112", f"{at!r} is not a time of day", hint)
        return Schedule("UTC")


def _once(text: str, spot: Spot, timezone: str) -> Schedule:
    """A date with a time of day, in `timezone` unless an offset from UTC is written."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or len(text) < len("2026-12-01 09:00"):
        what = f"{text!r} is not a date with a time of day"
        spot.report("SJ421", what, 'write "2026-12-01 09:00", or {days: [tue], at: "09:00"}, or {cron: "0 9 * * tue"}')
        return Schedule("UTC")
    if moment.tzinfo is not None:
        moment, timezone = moment.astimezone(UTC).replace(tzinfo=None), "UTC"
    return Schedule(timezone, once=moment.isoformat(timespec="minutes"))


def _audience(written: object, spot: Spot, world: World, names: Names) -> Condition:
    if isinstance(written, WrittenCondition):
        return compile_condition(written, spot, world.tracking, names)
    text = str(written)
    if _PLAIN.match(text):
        world.segment(spot, text)
        return InSegment(text)
    spot.expression(text, names)
    return Holds(text)


def _date(written: shape.DateEntry, spot: Spot, world: World) -> _Made:
    _keyless(written, spot)
    found = _ATTRIBUTE.match(written.date)
    name = found[1] if found else ""
    declared = world.tracking.attribute(name)
    if declared is None or declared.kind not in ("date", "datetime"):
        dates = {n for n, t in world.tracking.attributes if t.kind in ("date", "datetime")}
        known = ", ".join(f"customer.{n}" for n in sorted(dates))
        hint = f"one of {known}" if known else "declare one under attributes: in tracking.yaml, such as birthday: date"
        message = f"{written.date!r} is not an attribute of the customer that is declared as a date"
        (spot / "date").report("SJ425", message, hint)
    rule = Anniversary(name, written.at, written.offset, written.every, written.on_past or "skip")
    return _Made(None, {"date": dump(rule)})
