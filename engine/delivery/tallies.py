"""What a computed attribute keeps of the events that count for it, and the value that follows. Pure.

A tally is JSON. It is the same whatever the order in which events come to it, and exact: nothing is rounded before the value is
asked for. So what was kept event by event equals what all events together give, also when some come late.
"""

from __future__ import annotations

import decimal
import hashlib
import math
import re
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from engine.authoring.model_tracking import Computed
from engine.authoring.operators import is_number, json_of
from engine.core.clock import Duration, format_duration, parse_duration
from engine.core.wire import Json, canonical

Tally = dict[str, Any]

Counted = tuple[int, int, Json]
"""An event that counts: when it occurred (microseconds since 1970, see `micros`), its number, and the packed value of the
attribute's expression (None: it has none)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
_DAY = 86_400 * 10**6
_MILLENNIUM = (datetime(2000, 1, 1, tzinfo=UTC) - _EPOCH) // _MICRO
_BITS = 52
"""Binary digits to which half of a half-life is told from the next moment."""

_LARGEST = 900
"""A power of two that any points may be multiplied with and stay finite."""

_LONG = 40
"""Characters of a value that stand in a tally as they are where only its sameness matters; longer ones are hashed."""

_EXACT = decimal.Context(prec=2_000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
"""Enough digits to add any numbers that JSON and expressions can hold (1e308 and 1e-324) without rounding."""

_UNSAID = re.compile("[\x00\ud800-\udfff]")
"""Characters that PostgreSQL's JSON can't hold. No event has them; an expression could make them."""


def micros(moment: datetime) -> int:
    """A moment as whole microseconds since 1970, as PostgreSQL keeps it."""
    return (moment - _EPOCH) // _MICRO


def pack(value: object) -> Json:
    """A value of an expression as JSON that `unpack` reads back: dates, moments and durations as objects with one key."""
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, Duration):
        return {"$duration": format_duration(value)}
    if isinstance(value, (list, tuple)):
        return [pack(v) for v in value]
    if isinstance(value, Mapping):
        made = {_said(str(k)): pack(v) for k, v in value.items()}
        return {"$": made} if any(k.startswith("$") for k in made) else made
    plain = json_of(value)
    if type(plain) is int:
        return _small(plain)
    return _said(plain) if isinstance(plain, str) else plain


def _small(number: int) -> int | float:
    """JSON as the store writes it has whole numbers of 64 bits; larger ones are floating."""
    return number if -(2**63) <= number < 2**63 else float(number)


def _said(text: str) -> str:
    return _UNSAID.sub("", text)


def unpack(packed: Json) -> Any:
    """The value that `pack` packed."""
    if isinstance(packed, list):
        return [unpack(v) for v in packed]
    if not isinstance(packed, dict):
        return packed
    if len(packed) == 1:
        (key, inner), *_ = packed.items()
        if key in _READ:
            return _READ[key](inner)
        if key == "$":
            return {k: unpack(v) for k, v in inner.items()}
    return {k: unpack(v) for k, v in packed.items()}


_READ = {"$datetime": datetime.fromisoformat, "$date": date.fromisoformat, "$duration": parse_duration}


def tallied(computed: Computed, tally: Tally | None, counted: Iterable[Counted]) -> Tally:
    """The tally with these events in it, each of which comes once; None is the tally of no event. `tally` may be changed."""
    made = tally if tally is not None else _EMPTY[computed.kind]()
    add = _ADD[computed.kind]
    for one in counted:
        made["n"] += 1
        add(computed, made, one)
    return made


def value_of(computed: Computed, tally: Tally) -> Any:
    """The attribute's value; its default where fewer than `at_least` events count, or where none of them has a value."""
    if tally["n"] < computed.at_least:
        return computed.default
    return _VALUES[computed.kind](computed, tally)


def _nothing(_: Computed, tally: Tally, one: Counted) -> None:
    pass


def _sum(_: Computed, tally: Tally, one: Counted) -> None:
    if is_number(one[2]):
        tally["sum"] = str(_EXACT.add(decimal.Decimal(tally["sum"]), decimal.Decimal(repr(one[2]))))
        tally["whole"] = tally["whole"] and isinstance(one[2], int)


def _total(computed: Computed, tally: Tally) -> Any:
    total = decimal.Decimal(tally["sum"])
    if tally["whole"]:
        return _small(int(total))
    rounded = round(float(total), 6)
    return rounded if math.isfinite(rounded) else computed.default


def _ends(computed: Computed, tally: Tally, one: Counted) -> None:
    """The latest, or the earliest, of those that have a value."""
    if one[2] is None:
        return
    kept: list[list[Any]] = tally["kept"]
    insort(kept, list(one), key=_when)
    most = computed.last or 1
    if len(kept) > most:
        del kept[0 if computed.kind in ("latest", "last") else -1]


def _when(one: Any) -> tuple[int, int]:
    return one[0], one[1]


def _end(computed: Computed, tally: Tally) -> Any:
    return unpack(tally["kept"][0][2]) if tally["kept"] else computed.default


def _listed(computed: Computed, tally: Tally) -> Any:
    kept = tally["kept"] if computed.kind == "first" else tally["kept"][::-1]
    return [unpack(one[2]) for one in kept]


def _moments(_: Computed, tally: Tally, one: Counted) -> None:
    insort(tally["at"], one[0])


def _gap(computed: Computed, tally: Tally) -> Any:
    gaps = [(b - a) / _DAY for a, b in pairwise(tally["at"])]
    return round(median(gaps)) if gaps else computed.default


def _each(_: Computed, tally: Tally, one: Counted) -> None:
    """How often each value came, and when last."""
    if one[2] is None:
        return
    found = tally["of"].setdefault(sameness(one[2]), [0, one[0], one[1], one[2]])
    found[0] += 1
    if (one[0], one[1]) >= (found[1], found[2]):
        found[1:] = one


def _most(computed: Computed, tally: Tally) -> Any:
    """The value that comes most often; of several, the one that came last."""
    found = max(tally["of"].values(), key=lambda v: (v[0], v[1], v[2]), default=None)
    return unpack(found[3]) if found is not None else computed.default


def _kinds(_: Computed, tally: Tally, one: Counted) -> None:
    if one[2] is not None:
        key = sameness(one[2])
        if key not in tally["of"]:
            tally["of"].append(key)


def _orders(_: Computed, tally: Tally, one: Counted) -> None:
    """The days on which something came, what all of it was worth, and what the first day's was. Days are of UTC; what comes on
    one day counts as one order."""
    day, days = one[0] // _DAY, tally["days"]
    worth = decimal.Decimal(repr(one[2])) if is_number(one[2]) else decimal.Decimal(0)
    if not days or day < days[0]:
        tally["first"] = str(worth)
    elif day == days[0]:
        tally["first"] = str(_EXACT.add(decimal.Decimal(tally["first"]), worth))
    tally["sum"] = str(_EXACT.add(decimal.Decimal(tally["sum"]), worth))
    place = bisect_left(days, day)
    if place == len(days) or days[place] != day:
        days.insert(place, day)


def _summary(_: Computed, tally: Tally) -> Any:
    """`first` and `last` day (since 1970), how many `days`, and the `mean` worth of those after the first."""
    days = tally["days"]
    rest = _EXACT.subtract(decimal.Decimal(tally["sum"]), decimal.Decimal(tally["first"]))
    mean = float(_EXACT.divide(rest, decimal.Decimal(len(days) - 1))) if len(days) > 1 else None
    return {"first": days[0], "last": days[-1], "days": len(days), "mean": mean}


def _points(computed: Computed, tally: Tally, one: Counted) -> None:
    """Points (in thousandths) as they would be worth if what fades had grown since 2000 instead: then all moments agree about
    their sum, and it is exact, as a whole number times a power of two."""
    whole, power = one[2], 0
    if computed.half_life is not None:
        power, rest = divmod(one[0] - _MILLENNIUM, half_life(computed))
        whole, power = whole * int(2 ** (_BITS + rest / half_life(computed))), power - _BITS
    total, least = int(tally["points"], 16), min(power, tally["power"])
    total = (total << (tally["power"] - least)) + (whole << (power - least))
    spare = (total & -total).bit_length() - 1 if total else 0
    tally["points"], tally["power"] = f"{total >> spare:x}", least + spare if total else 0


def score_at(computed: Computed, tally: Tally, at: int) -> float:
    """The points of a tally at a moment (microseconds), not rounded."""
    total, power = int(tally["points"], 16), tally["power"]
    spare = max(0, total.bit_length() - 60)
    faded, rest = divmod(at - _MILLENNIUM, half_life(computed)) if computed.half_life is not None else (0, 0)
    left = 2 ** -(rest / half_life(computed)) if rest else 1.0
    return math.ldexp(float(total >> spare) * left, min(max(power + spare - faded, -5_000), _LARGEST)) / 1_000


def half_life(computed: Computed) -> int:
    """In microseconds."""
    assert computed.half_life is not None
    return (computed.half_life.days * 86_400 + computed.half_life.seconds) * 10**6


def sameness(packed: Json) -> str:
    """A text that two packed values share if they are the same; 1 and 1.0 are, 1 and true are not."""
    text = canonical(_plain(packed)).decode()
    return text if len(text) <= _LONG else "#" + hashlib.sha256(text.encode()).hexdigest()[:24]


def _plain(packed: Json) -> Json:
    if isinstance(packed, float):
        return int(packed) if packed.is_integer() else packed
    if isinstance(packed, list):
        return [_plain(v) for v in packed]
    return {k: _plain(v) for k, v in packed.items()} if isinstance(packed, dict) else packed


_EMPTY: Mapping[str, Any] = {
    "count": lambda: {"n": 0},
    "sum": lambda: {"n": 0, "sum": "0", "whole": True},
    **dict.fromkeys(("latest", "earliest", "last", "first"), lambda: {"n": 0, "kept": []}),
    "median_gap_days": lambda: {"n": 0, "at": []},
    "most_frequent": lambda: {"n": 0, "of": {}},
    "distinct": lambda: {"n": 0, "of": []},
    "score": lambda: {"n": 0, "points": "0", "power": 0},
    "orders": lambda: {"n": 0, "days": [], "sum": "0", "first": "0"},
}
_ADD: Mapping[str, Any] = {
    "count": _nothing,
    "sum": _sum,
    **dict.fromkeys(("latest", "earliest", "last", "first"), _ends),
    "median_gap_days": _moments,
    "most_frequent": _each,
    "distinct": _kinds,
    "score": _points,
    "orders": _orders,
}
_VALUES: Mapping[str, Any] = {
    "count": lambda _, tally: tally["n"],
    "sum": _total,
    **dict.fromkeys(("latest", "earliest"), _end),
    **dict.fromkeys(("last", "first"), _listed),
    "median_gap_days": _gap,
    "most_frequent": _most,
    "distinct": lambda _, tally: len(tally["of"]),
    "score": lambda computed, tally: score_at(computed, tally, _MILLENNIUM),
    "orders": _summary,
}
