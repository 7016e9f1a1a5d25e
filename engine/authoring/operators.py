"""What the operators of conditions and templates mean: total functions over JSON values, dates, moments and durations.

None stands for a missing value everywhere. Nothing here raises on data, with one exception: a result too large to be
meant raises ExpressionError. Add an operator's meaning here and nowhere else; the simulator and the engine share it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TypeVar
from zoneinfo import ZoneInfo

from engine.authoring.expression_syntax import ExpressionError
from engine.core import clock
from engine.core.clock import Duration

T = TypeVar("T")

MAX_TEXT = 200_000
"""Characters in any one text that an expression makes."""
MAX_ITEMS = 10_000
"""Items in any one list that an expression makes."""
MAX_BITS = 256
"""Bits in any whole number that an expression makes."""
_DAY = 86_400


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The IANA zone called `name`; UTC where there is none such (intake refuses unknown zones long before)."""
    try:
        return clock.zone(name)
    except ValueError:
        return clock.zone("UTC")


def property_of(value: object, name: object) -> object:
    """`value.name` and `value[name]`: a property of an object or an item of a list, never anything of Python's."""
    if type(value) is dict:
        return value.get(name) if isinstance(name, str) else None
    if isinstance(value, Mapping):
        return value.get(name) if isinstance(name, str) else None
    if isinstance(value, (list, tuple, str)) and type(name) is int and -len(value) <= name < len(value):
        return value[name]
    return None


def slice_of(value: object, start: object, stop: object) -> object:
    """`value[start:stop]` of a list or a text."""
    if not isinstance(value, (list, tuple, str)):
        return None
    low, high = (n if type(n) is int else None for n in (start, stop))
    return value[low:high]


def is_number(value: object) -> bool:
    """Whether `value` counts as a number; true and false don't."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def moment_of(value: object, zone: str) -> datetime | None:
    """The moment (UTC) that a datetime, a date (its local midnight) or an ISO text means; None where it means none.

    A datetime or text without an offset is local in `zone`; a midnight that DST skips is the first moment after the gap."""
    if isinstance(value, str):
        value = _parsed(value)
    try:
        if isinstance(value, datetime):
            if value.tzinfo is not None:
                return value.astimezone(UTC)
            return clock.resolve_local(value, zone_of(zone))
        if isinstance(value, date):
            return clock.resolve_local(datetime.combine(value, time()), zone_of(zone))
    except (OverflowError, ValueError):  # the first and last day of the calendar, shifted by a zone
        return None
    return None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> date | datetime | None:
    """The date or datetime that an ISO text says."""
    if not 8 <= len(text) <= 40 or not text[:4].isdigit():
        return None
    try:
        return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
    except ValueError:
        return None


def seconds_of(duration: Duration) -> int:
    """A duration's length for comparison: a day counts 24 hours and a month 30 days."""
    return (duration.months * 30 + duration.days) * _DAY + duration.seconds


def equal(left: object, right: object, zone: str) -> bool:
    """`left == right`; missing equals only missing, a date equals the moment of its local midnight."""
    if left is None or right is None:
        return left is right
    if isinstance(left, date) or isinstance(right, date):
        if type(left) is date and type(right) is date:
            return left == right
        moment = moment_of(left, zone)
        return moment is not None and moment == moment_of(right, zone)
    try:
        return bool(left == right)
    except RecursionError:
        return False


def ordered(left: object, right: object, zone: str) -> int | None:
    """Negative, zero or positive as `left` stands to `right`; None where they can't be compared."""
    if is_number(left) and is_number(right):
        if left != left or right != right:
            return None
        return (left > right) - (left < right)  # type: ignore[operator, no-any-return]  # is_number has looked at both
    if isinstance(left, date) or isinstance(right, date):
        if type(left) is date and type(right) is date:
            return (left > right) - (left < right)
        one, other = moment_of(left, zone), moment_of(right, zone)
        return None if one is None or other is None else (one > other) - (one < other)
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    if isinstance(left, Duration) and isinstance(right, Duration):
        return seconds_of(left) - seconds_of(right)
    return None


def contains(holder: object, item: object, zone: str) -> bool:
    """`item in holder`: an item of a list, a key of an object, a part of a text."""
    if isinstance(holder, str):
        return isinstance(item, str) and item in holder
    if isinstance(holder, (list, tuple)):
        return any(equal(item, one, zone) for one in holder)
    if isinstance(holder, Mapping):
        return isinstance(item, str) and item in holder
    return False


def plus(left: object, right: object, zone: str) -> object:
    """`left + right`: numbers, texts, lists, durations, and a duration after a date or a moment."""
    if is_number(left) and is_number(right):
        return arithmetic("+", left, right)
    if isinstance(left, str) and isinstance(right, str):
        return joined([left, right])
    if isinstance(left, list) and isinstance(right, list):
        return bounded([*left, *right])
    if isinstance(right, Duration):
        if isinstance(left, Duration):
            return Duration(left.months + right.months, left.days + right.days, left.seconds + right.seconds)
        return shifted(left, right, zone)
    return shifted(right, left, zone) if isinstance(left, Duration) else None


def minus(left: object, right: object, zone: str) -> object:
    """`left - right`: numbers, durations, a duration before a moment, and the time between two moments."""
    if is_number(left) and is_number(right):
        return arithmetic("-", left, right)
    if isinstance(right, Duration):
        return plus(left, Duration(-right.months, -right.days, -right.seconds), zone)
    if type(left) is date and type(right) is date:
        return Duration(days=(left - right).days)
    if isinstance(left, date) or isinstance(right, date):
        one, other = moment_of(left, zone), moment_of(right, zone)
        return None if one is None or other is None else Duration(seconds=int((one - other).total_seconds()))
    return None


def negated(value: object) -> object:
    """`-value` of a number or a duration."""
    if isinstance(value, Duration):
        return Duration(-value.months, -value.days, -value.seconds)
    return arithmetic("-", 0, value)


def shifted(start: object, by: Duration, zone: str) -> date | datetime | None:
    """`start` moved by a duration: days and months keep the local wall-clock time. A date moved by whole days stays a date."""
    moment = moment_of(start, zone)
    if moment is None:
        return None
    try:
        if type(start) is date and not by.months and not by.seconds:
            return start + timedelta(days=by.days)
        return clock.add(moment, by, zone_of(zone))
    except (OverflowError, ValueError):
        return None


def arithmetic(operator: str, left: object, right: object) -> object:
    """`+ - * / // % **` of two numbers; missing where an operand is no number or the result is none (a division by zero)."""
    if not is_number(left) or not is_number(right):
        return None
    a: float = left  # type: ignore[assignment]  # is_number has looked at both
    b: float = right  # type: ignore[assignment]  # likewise
    try:
        if operator == "+":
            return number(a + b)
        if operator == "-":
            return number(a - b)
        if operator == "*":
            return number(a * b)
        if operator == "**":
            return number(_power(a, b))
        if b == 0:
            return None
        return number(a / b if operator == "/" else a // b if operator == "//" else a % b)
    except OverflowError:
        raise ExpressionError(f"the result of `{operator}` is too large", code="SJ121") from None


def _power(base: float, exponent: float) -> object:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MAX_BITS:
        raise ExpressionError("the result of `**` is too large", code="SJ121")
    if base == 0 and exponent < 0:
        return None
    return base**exponent


def number(value: object) -> object:
    """`value` if it is a number that JSON can say, else missing. Raises ExpressionError on one too large to be meant."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise ExpressionError("the number is too large", code="SJ121")
        return value
    return None  # the root of a negative number


def joined(parts: list[str]) -> str:
    """The parts as one text. Raises ExpressionError where it is too long."""
    if sum(map(len, parts)) > MAX_TEXT:
        raise ExpressionError(f"the text is longer than {MAX_TEXT} characters", code="SJ121")
    return "".join(parts)


def bounded(items: list[object]) -> list[object]:
    """The same list. Raises ExpressionError where it is too long."""
    if len(items) > MAX_ITEMS:
        raise ExpressionError(f"the list has more than {MAX_ITEMS} items", code="SJ121")
    return items


def built(value: T) -> T:
    """The same list or object, just made. Raises ExpressionError where what is in it, at all depths and each time it occurs, is
    too much: a list that holds itself twice, again and again, would otherwise take for ever to print or compare."""
    if size_of(value) > MAX_ITEMS:
        raise ExpressionError(f"the value holds more than {MAX_ITEMS} items", code="SJ121")
    return value


def size_of(value: object) -> int:
    """How many items a list or an object holds at all depths, each as often as it occurs; a number over MAX_ITEMS may be any
    such."""
    todo: list[object] = [value]
    count = 0
    while todo and count <= MAX_ITEMS:
        one = todo.pop()
        inner = list(one.values()) if isinstance(one, Mapping) else one if isinstance(one, (list, tuple)) else ()
        count += len(inner)
        todo.extend(inner)
    return count


def text_of(value: object, zone: str) -> str:
    """How a value reads inside a text: missing is empty, 40.0 is 40, moments are ISO in the local zone, lists are JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime):
        moment = moment_of(value, zone)
        return "" if moment is None else _there(moment, zone).isoformat(timespec="seconds")
    if isinstance(value, (list, tuple, Mapping)):
        return json.dumps(json_of(value), ensure_ascii=False, separators=(", ", ": "))
    if isinstance(value, Duration):
        return str(json_of(value))
    return str(value)


def _there(moment: datetime, zone: str) -> datetime:
    try:
        return moment.astimezone(zone_of(zone))
    except OverflowError:
        return moment


def json_of(value: object) -> object:
    """`value` with everything that JSON can't say made text: moments and dates ISO, durations as journeys write them."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value if type(value) is str else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(k): json_of(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_of(v) for v in value]
    if isinstance(value, Duration):
        return clock.format_duration(value)
    return str(value)
