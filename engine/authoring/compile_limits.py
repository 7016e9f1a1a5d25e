"""`limits` of policy.yaml: how many journeys a customer may be in, checked against each other."""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import combinations

from engine.authoring import shape_policy as shape
from engine.authoring.spots import Spot
from engine.core.policy import JourneyLimit


def compile_limits(written: Sequence[shape.JourneyLimit], spot: Spot, journeys: Set[str]) -> tuple[JourneyLimit, ...]:
    """The limits; what is wrong is reported below `spot`. `journeys`: the names that there are."""
    for i, limit in enumerate(written):
        _limit(limit, spot / i, journeys)
        if limit.name in [other.name for other in written[:i]]:
            (spot / i / "name").report("SJ411", f"two limits are called {limit.name!r}", "each needs its own name")
    _orders(written, spot)
    return tuple(
        JourneyLimit(w.name, w.journeys, w.at_once, w.entries, w.per or "day", w.when_full == "displace") for w in written
    )


def _limit(written: shape.JourneyLimit, spot: Spot, journeys: Set[str]) -> None:
    for i, name in enumerate(written.journeys):
        if name not in journeys:
            (spot / "journeys" / i).unknown("SJ206", "journey", name, set(journeys))
        if name in written.journeys[:i]:
            (spot / "journeys" / i).report("SJ411", f"{name!r} stands in this limit twice", "remove one")
    if (written.at_once is None) == (written.entries is None):
        hint = "write at_once: 1, or entries: 3 with per: day"
        (spot / "name").report("SJ420", "a limit has either at_once: or entries:", hint)
    if written.entries is None and written.per is not None:
        (spot / "per").report("SJ420", "per: goes with entries:", "remove it: at_once: holds at any moment", key=True)
    if written.entries is not None and written.per is None:
        (spot / "entries").report("SJ111", "'per' is missing here", "write per: day, week or month", key=True)
    if written.at_once is None and written.when_full is not None:
        (spot / "when_full").report("SJ420", "when_full: goes with at_once:", "remove it: an entry can't be undone", key=True)
    if written.when_full == "displace" and len(written.journeys) < 2:
        hint = "list the journeys, highest first: a higher one ends a lower one"
        (spot / "when_full").report("SJ420", "nothing says which journey is higher", hint, key=True)


def _orders(written: Sequence[shape.JourneyLimit], spot: Spot) -> None:
    """Reports two journeys of which each stands above the other, in two limits or by way of several."""
    above: dict[str, set[str]] = {}
    said: dict[tuple[str, str], str] = {}
    for i, limit in enumerate(written):
        if limit.at_once is None:
            continue
        for (_, one), (at, other) in combinations(enumerate(limit.journeys), 2):
            if one != other and _reaches(above, other, one):
                where = f"the limit {said[(other, one)]!r}" if (other, one) in said else "what the limits before it say together"
                hint = f"journeys stand highest first: write them in one order here and in {where}"
                (spot / i / "journeys" / at).report("SJ440", f"{one!r} and {other!r} exclude each other both ways", hint)
                return
        for higher, lower in combinations(limit.journeys, 2):
            above.setdefault(higher, set()).add(lower)
            said.setdefault((higher, lower), limit.name)


def _reaches(above: dict[str, set[str]], one: str, other: str) -> bool:
    seen: set[str] = set()
    todo = [one]
    while todo:
        name = todo.pop()
        if name == other:
            return True
        if name not in seen:
            seen.add(name)
            todo += above.get(name, ())
    return False
