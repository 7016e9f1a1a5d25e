"""The filters, tests and functions of conditions and templates. The tables at the end are the whole list.

A filter takes the value, the customer's zone, and what is written in its brackets; it is total (None for what makes no
sense) and bounded. To add one, write it here, add it to `FILTERS` with the kind that it gives, and to the reference.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cmp_to_key
from urllib.parse import quote

from markupsafe import Markup, escape

from engine.authoring.expression_syntax import ExpressionError
from engine.authoring.operators import (
    MAX_TEXT,
    bounded,
    equal,
    is_number,
    joined,
    json_of,
    moment_of,
    number,
    ordered,
    plus,
    property_of,
    seconds_of,
    text_of,
    zone_of,
)
from engine.authoring.types import Kind
from engine.core.clock import Duration

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DIRECTIVE = re.compile(r"%(-?)([A-Za-z%])")
_LONGEST_FORMAT = 100


def _default(value: object, zone: str, default_value: object = "", boolean: object = False) -> object:
    return default_value if value is None or (boolean and not value) else value


def _text(change: Callable[[str], str]) -> Callable[[object, str], object]:
    def filtered(value: object, zone: str) -> object:
        return None if value is None else joined([change(text_of(value, zone))])

    return filtered


def _trim(value: object, zone: str, chars: object = None) -> object:
    return None if value is None else text_of(value, zone).strip(None if chars is None else text_of(chars, zone))


def _length(value: object, zone: str) -> object:
    return len(value) if isinstance(value, (str, list, tuple, Mapping)) else None


def _round(value: object, zone: str, precision: object = 0, method: object = "common") -> object:
    digits = precision if type(precision) is int and abs(precision) <= 15 else 0
    if not is_number(value):
        return None
    amount: float = value  # type: ignore[assignment]  # is_number has looked at it
    if method == "common":
        return number(round(amount, digits) if digits else round(amount))
    factor = 10.0**digits
    return number((math.ceil if method == "ceil" else math.floor)(amount * factor) / factor)


def _number(value: object, default: object) -> object:
    """The number that a number, true, false or a text says."""
    if isinstance(value, bool):
        return int(value)
    if is_number(value):
        return value
    try:
        return number(float(value) if len(value) <= 40 else None) if isinstance(value, str) else default
    except ValueError:
        return default


def _int(value: object, zone: str, default: object = None) -> object:
    if isinstance(value, Duration):
        return seconds_of(value) // 86_400
    found = _number(value, default)
    return int(found) if isinstance(found, float) else found


def _float(value: object, zone: str, default: object = None) -> object:
    found = _number(value, default)
    return float(found) if isinstance(found, int) and not isinstance(found, bool) else found


def _abs(value: object, zone: str) -> object:
    return abs(value) if is_number(value) else None  # type: ignore[arg-type]  # is_number has looked at it


def _end(index: int) -> Callable[[object, str], object]:
    return lambda value, zone: value[index] if isinstance(value, (list, tuple, str)) and value else None


def _join(value: object, zone: str, d: object = "", attribute: object = None) -> object:
    parts = [text_of(v, zone) for v in _list_of(value, attribute)]
    between = text_of(d, zone)
    return joined([p for part in parts for p in (between, part)][1:])


def _replace(value: object, zone: str, old: object, new: object) -> object:
    if value is None:
        return None
    text, was, becomes = text_of(value, zone), text_of(old, zone), text_of(new, zone)
    if len(text) + text.count(was) * (len(becomes) - len(was)) > MAX_TEXT:
        raise ExpressionError(f"the text is longer than {MAX_TEXT} characters", code="SJ121")
    return text.replace(was, becomes)


def _truncate(value: object, zone: str, length: object = 255, end: object = "…") -> object:
    text = text_of(value, zone)
    if type(length) is not int or length < 0 or len(text) <= length:
        return text
    return text[: max(0, length - len(text_of(end, zone)))].rstrip() + text_of(end, zone)


def _list_of(value: object, attribute: object = None) -> list[object]:
    """The items of a list (of an object: its names), or of each item the property `attribute` ("a.b" goes deeper)."""
    items = list(value) if isinstance(value, (list, tuple, Mapping)) else []
    if attribute is None:
        return items
    for name in text_of(attribute, "UTC").split("."):
        items = [property_of(item, name) for item in items]
    return items


def _map(value: object, zone: str, attribute: object, default: object = None) -> object:
    return [default if v is None else v for v in _list_of(value, attribute)]


def _sum(value: object, zone: str, attribute: object = None, start: object = 0) -> object:
    total = start
    for item in _list_of(value, attribute):
        total = plus(total, item, zone) if is_number(item) else total
    return total


def _extreme(sign: int) -> Callable[..., object]:
    def extreme(value: object, zone: str, attribute: object = None) -> object:
        best: object = None
        for item in _list_of(value, attribute):
            order = ordered(item, best, zone)
            if item is not None and (best is None or (order is not None and order * sign > 0)):
                best = item
        return best

    return extreme


def _sort(value: object, zone: str, reverse: object = False, attribute: object = None) -> object:
    """Sorted; what is missing or of another kind stays at the end."""

    def compare(one: tuple[object, object], other: tuple[object, object]) -> int:
        order = ordered(one[0], other[0], zone)
        if order is None:
            return (one[0] is None) - (other[0] is None)
        return -order if reverse else order

    pairs = list(zip(_list_of(value, attribute), _list_of(value), strict=True))
    return [item for _, item in sorted(pairs, key=cmp_to_key(compare))]


def _unique(value: object, zone: str) -> object:
    seen: list[object] = []
    for item in _list_of(value)[:1000]:
        if not any(equal(item, one, zone) for one in seen):
            seen.append(item)
    return seen


def _reverse(value: object, zone: str) -> object:
    return value[::-1] if isinstance(value, (list, tuple, str)) else None


def _items(value: object, zone: str) -> object:
    return [[k, v] for k, v in value.items()] if isinstance(value, Mapping) else []


def _date(value: object, zone: str, format: object = "%d %B %Y") -> object:
    """A moment or date as text, by strftime's directives, in the customer's zone. English names; `%-d` has no leading zero."""
    layout = text_of(format, zone)[:_LONGEST_FORMAT]
    if type(value) is date or (isinstance(value, str) and len(value) <= 10):
        moment = moment_of(value, "UTC")
    else:
        moment = moment_of(value, zone)
        moment = moment and moment.astimezone(zone_of(zone))
    if moment is None:
        return None
    return _DIRECTIVE.sub(lambda found: _directive(moment, found[1], found[2]), layout)


def _directive(moment: datetime, bare: str, letter: str) -> str:
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    hour = moment.hour % 12 or 12
    words = {"A": day, "a": day[:3], "B": month, "b": month[:3], "p": "AM" if moment.hour < 12 else "PM", "%": "%"}
    words |= {"Y": f"{moment.year}", "Z": moment.tzname() or "", "z": f"{moment:%z}"}
    numbers = {"d": moment.day, "m": moment.month, "H": moment.hour, "I": hour, "M": moment.minute, "S": moment.second}
    numbers |= {"y": moment.year % 100}
    if letter in words:
        return words[letter]
    if letter == "j":
        return f"{moment:%j}".lstrip("0") if bare else f"{moment:%j}"
    if letter == "u":
        return str(moment.isoweekday())
    if letter not in numbers:
        return ""
    return str(numbers[letter]) if bare else f"{numbers[letter]:02d}"


def _time(value: object, zone: str, format: object = "%H:%M") -> object:
    return _date(value, zone, format)


def _money(value: object, zone: str, currency: object = "", decimals: object = 2) -> object:
    """`1234.5 | money("€")` is €1,234.50; a currency of letters stands behind: 1,234.50 EUR."""
    amount, unit = _number(value, None), text_of(currency, zone)[:10]
    digits = decimals if type(decimals) is int and 0 <= decimals <= 6 else 2
    if not is_number(amount):
        return None
    body, sign = f"{abs(amount):,.{digits}f}", "-" if amount < 0 else ""  # type: ignore[arg-type, operator]  # is_number has looked
    return f"{sign}{body} {unit}" if unit.isalpha() and unit.isascii() else f"{sign}{unit}{body}"


def _tojson(value: object, zone: str) -> object:
    """JSON that is safe inside HTML too, as Jinja's filter of this name makes it."""
    body = json.dumps(json_of(value), ensure_ascii=False)
    for sign, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("'", "\\u0027")):
        body = body.replace(sign, code)
    return Markup(joined([body]))  # the four signs that HTML reads are written as codes


def _urlencode(value: object, zone: str) -> object:
    return joined([quote(text_of(value, zone), safe="")])


def _safe(value: object, zone: str) -> object:
    return Markup(text_of(value, zone))  # the author says so, and what it says goes into mail only


def _escape(value: object, zone: str) -> object:
    return value if isinstance(value, Markup) else escape(joined([text_of(value, zone)]))


def _list(value: object, zone: str) -> object:
    return bounded(list(value)) if isinstance(value, str) else _list_of(value)


@dataclass(frozen=True, slots=True)
class Filter:
    """`call(value, zone, *args, **kwargs)`, and the kind of what it gives ("any": depends on the value)."""

    call: Callable[..., object]
    gives: Kind

    def accepts(self, positional: int, named: tuple[str, ...]) -> str:
        """Why the filter can't be called with so many arguments and these names; empty where it can."""
        try:
            inspect.signature(self.call).bind(None, "", *[None] * positional, **dict.fromkeys(named))
        except TypeError as error:
            return str(error)
        return ""


FILTERS: Mapping[str, Filter] = {
    "abs": Filter(_abs, "number"),
    "capitalize": Filter(_text(str.capitalize), "string"),
    "count": Filter(_length, "integer"),
    "d": Filter(_default, "any"),
    "date": Filter(_date, "string"),
    "default": Filter(_default, "any"),
    "e": Filter(_escape, "string"),
    "escape": Filter(_escape, "string"),
    "first": Filter(_end(0), "any"),
    "float": Filter(_float, "number"),
    "int": Filter(_int, "integer"),
    "items": Filter(_items, "list"),
    "join": Filter(_join, "string"),
    "last": Filter(_end(-1), "any"),
    "length": Filter(_length, "integer"),
    "list": Filter(_list, "list"),
    "lower": Filter(_text(str.lower), "string"),
    "map": Filter(_map, "list"),
    "max": Filter(_extreme(1), "any"),
    "min": Filter(_extreme(-1), "any"),
    "money": Filter(_money, "string"),
    "replace": Filter(_replace, "string"),
    "reverse": Filter(_reverse, "any"),
    "round": Filter(_round, "number"),
    "safe": Filter(_safe, "string"),
    "sort": Filter(_sort, "list"),
    "string": Filter(_text(str), "string"),
    "sum": Filter(_sum, "number"),
    "time": Filter(_time, "string"),
    "title": Filter(_text(str.title), "string"),
    "tojson": Filter(_tojson, "string"),
    "trim": Filter(_trim, "string"),
    "truncate": Filter(_truncate, "string"),
    "unique": Filter(_unique, "list"),
    "upper": Filter(_text(str.upper), "string"),
    "urlencode": Filter(_urlencode, "string"),
}

TESTS: Mapping[str, Callable[[object], bool]] = {
    "none": lambda v: v is None,
    "defined": lambda v: v is not None,
    "undefined": lambda v: v is None,
    "true": lambda v: v is True,
    "false": lambda v: v is False,
    "boolean": lambda v: isinstance(v, bool),
    "number": is_number,
    "string": lambda v: isinstance(v, str),
    "list": lambda v: isinstance(v, (list, tuple)),
    "even": lambda v: isinstance(v, int) and v % 2 == 0,
    "odd": lambda v: isinstance(v, int) and v % 2 == 1,
}


def _duration(unit: str, value: object) -> Duration | None:
    found = _number(value, None)
    if not is_number(found) or abs(found) > 9_000_000:  # type: ignore[arg-type]  # is_number has looked at it
        return None
    amount = float(found)  # type: ignore[arg-type]  # likewise
    if unit == "hours":
        return Duration(seconds=round(amount * 3600))
    return Duration(days=int(amount), seconds=round((amount - int(amount)) * 86_400))


def days(value: object) -> Duration | None:
    """`days(n)`: wall-clock days; a fraction of a day is absolute. Missing where `n` is no number."""
    return _duration("days", value)


def hours(value: object) -> Duration | None:
    """`hours(n)`: absolute."""
    return _duration("hours", value)


def any_item(items: object, field: object, value: object, zone: str) -> bool:
    """`any_item(event.items, "sku", x)`: whether a list of objects has one whose `field` equals `value`."""
    return isinstance(items, (list, tuple)) and any(equal(property_of(item, field), value, zone) for item in items)
