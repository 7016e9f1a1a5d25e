"""What a test names is there: journeys, events, segments, channels, topics, templates; and its times are times.

What only playing it can tell (whether a property fits its type, whether anybody falls into an arm) is told by `sojourn test`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from engine.authoring.shape_journey import ApiEntry
from engine.authoring.shape_tests import Enroll, Event, Expected, Test
from engine.authoring.spots import Spot
from engine.authoring.world import World
from engine.core.clock import is_zone

FIRST_YEAR, LAST_YEAR = 1970, 9000
"""In which a test may be: time zones and waits can be counted on both sides of it."""


def check_test(test: Test, spot: Spot, world: World) -> None:
    """Reports what is wrong with a test that has the right form."""
    if (test.journey is None) == (not test.journeys):
        spot.report("SJ420", "a test names either journey: or journeys:")
    known = {*world.journeys, *world.unreadable}
    for name, place in [(test.journey, spot / "journey"), *((j, spot / "journeys" / k) for k, j in enumerate(test.journeys))]:
        if name and name not in known:
            place.unknown("SJ206", "journey", name, known)
    _customer(test, spot / "customer", world)
    _moment(test.until, spot / "until")
    for i, happening in enumerate(test.events):
        _moment(happening.at, spot / "events" / i / "at")
        _texts({**happening.properties, "key": getattr(happening, "key", None)}, spot / "events" / i)
        if isinstance(happening, Event):
            world.event(spot / "events" / i / "event", happening.event)
        elif isinstance(happening, Enroll):
            _enroll(happening, test, spot / "events" / i, world)
    for i, answer in enumerate(test.calls):
        _texts(answer.json_, spot / "calls" / i / "json")
        if not (answer.status.isdigit() and 100 <= int(answer.status) <= 599):
            hint = "write a number, such as 200, 404 or 500"
            (spot / "calls" / i / "status").report("SJ112", f"{answer.status!r} is no status of HTTP", hint)
    for i, expected in enumerate(test.expect):
        _expected(expected, spot / "expect" / i, world, known)


def _enroll(happening: Enroll, test: Test, spot: Spot, world: World) -> None:
    """Whether a call can enroll there, by the rules of `POST /v1/journeys/NAME/enroll`; what a key may be is told by playing."""
    name = happening.enroll
    if name not in world.journeys:
        if name not in world.unreadable:
            (spot / "enroll").unknown("SJ206", "journey", name, {*world.journeys, *world.unreadable})
        return
    if name not in (test.journey, *test.journeys):
        hint = (
            f"write `journeys: [{test.journey}, {name}]` in place of `journey:`"
            if test.journey
            else "name it under journeys: too"
        )
        (spot / "enroll").report("SJ428", f"this test doesn't run the journey {name!r}", hint)
        return
    entry = next((e for e in world.journeys[name].enter if isinstance(e, ApiEntry)), None)
    if entry is None:
        hint = "write api: true as an entry of it, also beside others"
        (spot / "enroll").report("SJ428", f"the journey {name!r} can't be entered by a call", hint)
    elif entry.key is None and happening.key is not None:
        (spot / "key").report("SJ428", f"the api entry of {name!r} has no key, so none can be given", "take it out", key=True)
    elif entry.key is not None and happening.key is None and happening.properties.get(entry.key) in (None, ""):
        hint = f"write key: or {entry.key}:"
        (spot / "enroll").report("SJ428", f"key is missing, and {name!r} has one enrollment per {entry.key}", hint)


def _customer(test: Test, spot: Spot, world: World) -> None:
    zone = (test.customer.model_extra or {}).get("timezone")
    if zone is not None and not is_zone(str(zone)):
        (spot / "timezone").report("SJ112", f"{zone!r} is not a time zone", "write an IANA name such as Europe/Rome")
    _texts(test.customer.model_extra, spot)
    for i, name in enumerate(test.customer.segments):
        world.segment(spot / "segments" / i, name)
    for channel, topics in test.customer.consents.items():
        if world.channel(spot / "consents" / channel, channel):
            for topic in topics:
                world.topic(spot / "consents" / channel / topic, topic)


def _expected(expected: Expected, spot: Spot, world: World, journeys: set[str]) -> None:
    _moment(expected.at, spot / "at")
    _moment(expected.until, spot / "until")
    if expected.journey is not None and expected.journey not in journeys:
        (spot / "journey").unknown("SJ206", "journey", expected.journey, journeys)
    for verb in ("send", "defer", "drop"):
        channel = getattr(expected, verb)
        if channel is not None and world.channel(spot / verb, channel) and expected.template is not None:
            world.template(spot / "template", channel, expected.template)


def _texts(value: Any, spot: Spot) -> None:
    """Whether all text in there can be stored, also the names in it."""
    if isinstance(value, str) and "\x00" in value:
        spot.report("SJ112", "this holds a NUL character", "no text may hold a NUL character")
    elif isinstance(value, dict):
        for name, item in value.items():
            _texts(name, spot)
            _texts(item, spot / name)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _texts(item, spot / i)


def _moment(written: str | None, spot: Spot) -> None:
    if written is None:
        return
    try:
        if not FIRST_YEAR <= datetime.fromisoformat(written).year <= LAST_YEAR:
            hint = f"write a year from {FIRST_YEAR} to {LAST_YEAR}"
            spot.report("SJ112", f"{written!r} is too far away for a test", hint)
    except ValueError:
        spot.report("SJ112", f"{written!r} is not a moment", "write 2026-03-02 10:00, or with its offset 2026-03-02T10:00+01:00")
