"""Scalars that the shapes of all files share: durations, times of day, names, entries of lists. Text in, typed values out;
nothing here looks beyond the one value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from engine.core.clock import Duration, parse_duration, parse_time, zone
from engine.settings import project
from engine.settings.shape import Shape

_DURATION = r"^-?\d+\s*(s|m|h|d|w|second|seconds|minute|minutes|hour|hours|day|days|week|weeks|month|months|year|years)$"


def _duration(sign: bool) -> Callable[[Any], Duration]:
    def read(data: Any) -> Duration:
        if isinstance(data, Duration):
            return data
        try:
            found = parse_duration(data if isinstance(data, str) else "")
        except ValueError:
            hint = "write 30s, 15m, 2h, 3d, 2w, 1 month or 1 year"
            if isinstance(data, str) and not data.isdigit() and (meant := time_meant(data)):
                hint = f'{hint}; a time of day goes under until: {{until: "{meant}"}}'
            raise PydanticCustomError("duration", "{shown} is not a duration", {"shown": repr(data), "hint": hint}) from None
        if not sign and min(found.months, found.days, found.seconds) < 0:
            raise PydanticCustomError("duration", "this duration can't be negative")
        return found

    return read


Span = Annotated[Duration, PlainValidator(_duration(sign=False)), WithJsonSchema({"type": "string", "pattern": _DURATION})]
"""A duration, 0 or longer."""
Offset = Annotated[Duration, PlainValidator(_duration(sign=True)), WithJsonSchema({"type": "string", "pattern": _DURATION})]
"""A duration with a sign."""


_CLOCK = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?\s*(?:o'clock|h)?\s*(?:([ap])\.?m\.?)?", re.IGNORECASE)
_NAMED = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}


def time_meant(text: str) -> str | None:
    """The time of day that somebody means who writes `9am`, `9.30 pm`, `21h` or `noon`, as the language has it; None where it
    isn't one."""
    found = _CLOCK.fullmatch(text.strip())
    if not found:
        return _NAMED.get(text.strip().lower())
    hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").lower()
    if half and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else None


def _time_of_day(text: str) -> str:
    try:
        return parse_time(text).strftime("%H:%M")
    except ValueError:
        meant = time_meant(text)
        told = {"hint": f'write "{meant}"'} if meant else {}
        raise PydanticCustomError("time_of_day", "this must be a time of day such as 09:00", told) from None


def _zone_name(text: str) -> str:
    try:
        zone(text)
    except ValueError:
        hint = "write an IANA name such as Europe/Rome"
        raise PydanticCustomError("zone", "{name} is not a time zone", {"name": repr(text), "hint": hint}) from None
    return text


def _customer_or_zone(text: str) -> str:
    return text if text == "customer" else _zone_name(text)


TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
ZoneName = Annotated[str, AfterValidator(_zone_name)]
ZoneOrCustomer = Annotated[str, AfterValidator(_customer_or_zone)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Days = tuple[Day, ...]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


def _word(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if len(text) > 100 or not pattern.match(text):
            raise PydanticCustomError("name", "{name} can't be a name: use {what}", {"name": repr(text), "what": what})
        return text

    return check


Name = Annotated[str, AfterValidator(_word(_NAME, "letters, digits and _, at most 100, not beginning with a digit"))]
"""A name that expressions can read: an event's, a property's, a journey's, a segment's."""
Id = Annotated[str, AfterValidator(_word(_ID, "letters, digits, _ . and -, at most 100"))]
"""A step's id, a rule's name."""


def _text(data: Any) -> Any:
    if data == "":
        raise PydanticCustomError("text", "this can't be empty")
    return data


Filled = Annotated[str, BeforeValidator(_text)]
"""Text that isn't empty: a reference, a title."""
Expression = Annotated[Filled, WithJsonSchema({"type": "string", "description": "an expression, such as event.total >= 50"})]
Value = Annotated[Any, Field(json_schema_extra={"description": "a value; text may hold {{ }}"})]
Rate = Annotated[project.Rate, WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?/[smh]$"})]
"""Written `500/s`, `600/m` or `5000/h`; the value is per second."""


def _one_or_more(data: Any) -> Any:
    return data if isinstance(data, list) else [data]


OneOrMore = BeforeValidator(_one_or_more)
"""Before a tuple: a single value stands for a list of one."""


class Window(Shape):
    """A local send window; it may pass midnight."""

    from_: TimeOfDay = Field(alias="from")
    to: TimeOfDay
    days: Days = ()
