"""The filters, tests and functions of conditions and templates. The tables at the end are the whole list.

A filter takes the value, the customer's zone, and what is written in its brackets; it is total (None for what makes no
sense) and bounded. To add one, write it here, add it to `FILTERS` with the kind that it gives, and to the reference.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from urllib.parse import quote

from markupsafe import Markup, escape

from engine.authoring.expression_syntax import ExpressionError
from engine.authoring.formats import date_text, money, number_of, number_text, time_text
from engine.authoring.operators import (
    MAX_TEXT,
    bounded,
    equal,
    is_number,
    joined,
    json_of,
    number,
    ordered,
    plus,
    property_of,
    seconds_of,
    text_of,
)
from engine.authoring.types import Kind
from engine.core.clock import Duration


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


def _int(value: object, zone: str, default: object = None) -> object:
    if isinstance(value, Duration):
        return seconds_of(value) // 86_400
    found = number_of(value, default)
    return int(found) if isinstance(found, float) else found


def _float(value: object, zone: str, default: object = None) -> object:
    found = number_of(value, default)
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
    found: dict[object, object] = {}
    for item in _list_of(value):
        found.setdefault(_frozen(item), item)
    return list(found.values())


def _frozen(value: object) -> object:
    """What is equal for equal values, and can be looked up."""
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(one)) for name, one in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _reverse(value: object, zone: str) -> object:
    return value[::-1] if isinstance(value, (list, tuple, str)) else None


def _items(value: object, zone: str) -> object:
    return [[k, v] for k, v in value.items()] if isinstance(value, Mapping) else []


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
    """`call(value, zone, *args, **kwargs)`, and the kind of what it gives ("any": depends on the value). `local`: it takes a
    `locale`, which is the text's own where nothing else is written."""

    call: Callable[..., object]
    gives: Kind
    local: bool = False

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
    "date": Filter(date_text, "string", local=True),
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
    "money": Filter(money, "string", local=True),
    "number": Filter(number_text, "string", local=True),
    "replace": Filter(_replace, "string"),
    "reverse": Filter(_reverse, "any"),
    "round": Filter(_round, "number"),
    "safe": Filter(_safe, "string"),
    "sort": Filter(_sort, "list"),
    "string": Filter(_text(str), "string"),
    "sum": Filter(_sum, "number"),
    "time": Filter(time_text, "string", local=True),
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
    found = number_of(value, None)
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
