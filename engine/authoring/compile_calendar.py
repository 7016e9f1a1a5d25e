"""Files with days off, which quiet hours name: their shape, and what the policy keeps of them.

A calendar is frozen into the policy that is deployed, so that an old decision can be worked out again by the days it knew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from engine.authoring.shapes import Filled
from engine.authoring.spots import Spot
from engine.core.policy import DayOff
from engine.settings.problems import nearest
from engine.settings.shape import FORM, MAP, TEXT, Shape, validate
from engine.settings.yaml import Document

_DATE = r"^(\d{4}-)?\d{2}-\d{2}$"
_LEAP = "2024-"
"""A year in which every day of a year stands."""


def _day(text: str) -> str:
    try:
        if not re.fullmatch(_DATE, text, re.ASCII):
            raise ValueError(text)
        date.fromisoformat(text if len(text) == 10 else _LEAP + text)
    except ValueError:
        hint = "write 2026-12-25, or 12-25 for the 25th of December of each year"
        raise PydanticCustomError("day", "{shown} is not a day", {"shown": repr(text), "hint": hint, "code": "SJ421"}) from None
    return text


Day = Annotated[str, AfterValidator(_day), WithJsonSchema({"type": "string", "pattern": _DATE})]
"""2026-12-25, or 12-25 for each year."""


class Off(Shape):
    """One `date`, or all days `from` one `to` another."""

    date: Day | None = None
    from_: Day | None = Field(None, alias="from")
    to: Day | None = None
    name: Filled = ""


class Calendar(Shape):
    """A file with days off."""

    days_off: Annotated[tuple[Annotated[Annotated[Day, TEXT] | Annotated[Off, MAP], FORM], ...], Field(min_length=1)]


Open = Callable[[str], Document | None]
"""A file of the project by its path below journeys/, None where there is none. Its problems are told with all others."""


class Calendars:
    """The calendars that a policy names. `there`: the paths of the files that could be meant."""

    def __init__(self, read: Open, there: tuple[str, ...]) -> None:
        self._read, self._there = read, there
        self._known: dict[str, tuple[DayOff, ...]] = {}

    def days_off(self, name: str, spot: Spot) -> tuple[DayOff, ...]:
        """What the file `name` says. What is wrong with the name is reported at `spot`, what is wrong in the file there."""
        if name in self._known:
            return self._known[name]
        if not _usable(name):
            hint = "write the path of a YAML file in a folder below journeys/, such as holidays/it.yaml"
            spot.report("SJ213", f"{name!r} can't be a calendar of days off", hint)
            return ()
        document = self._read(name)
        if document is None:
            hint = nearest(name, self._there) or f"write the file journeys/{name} with days_off: [2026-12-25, …]"
            spot.report("SJ213", f"there is no calendar journeys/{name}", hint)
            return ()
        written = validate(document, Calendar)
        top = Spot(document) / "days_off"
        self._known[name] = tuple(_compiled(each, top / i) for i, each in enumerate(written.days_off)) if written else ()
        return self._known[name]


def _usable(name: str) -> bool:
    """Whether `name` is the path of a YAML file in a folder below journeys/ that isn't the tests'."""
    path = PurePosixPath(name)
    inside = path.as_posix() == name and len(name) < 200 and not path.is_absolute() and ".." not in path.parts
    return inside and path.suffix in (".yaml", ".yml") and len(path.parts) > 1 and path.parts[0] != "tests"


def _compiled(written: str | Off, spot: Spot) -> DayOff:
    if isinstance(written, str):
        return DayOff(written, written)
    ends = [written.from_, written.to]
    if (written.date is None) == (None in ends) or (written.date and any(ends)):
        hint = "write {date: 2026-12-25}, or both ends of a stretch"
        spot.report("SJ420", "a day off has either date:, or from: and to:", hint)
    first, last = written.date or written.from_ or "", written.date or written.to or ""
    if first and last and len(first) != len(last):
        (spot / "to").report("SJ421", "one of the two has a year and the other hasn't", "write both with a year, or both without")
    elif last and len(first) == 10 and last < first:
        (spot / "to").report("SJ421", f"{last} lies before {first}", "the first day comes first")
    return DayOff(first, last, written.name)
