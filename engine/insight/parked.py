"""What an enrollment was parked for, from when until when, from rows of `lived.parkings`. Pure.

The end of a parking makes no row of its own: it is the first input that ended it, or the end of the enrollment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.insight.story import Moment, Parking
from engine.store.relay import UNDONE

ENDING = ("retry", "skip", "exit", "stop")
"""Kinds of inputs that end a parking; a move that lets somebody begin anew brings a `retry`."""


def parkings_of(r: Any, rows: Sequence[Any], inputs: Sequence[Any]) -> tuple[Parking, ...]:
    """The parkings of one enrollment (row `r`), with its inputs. Of one that lasts the whole reason is told."""
    found = []
    for p in rows:
        ends = [i.at for i in inputs if i.seq > p.seq and i.kind in ENDING and i.note != UNDONE]
        until = min(ends, default=r.ended_at)
        reason = r.reason if until is None and r.status == "parked" else p.reason
        found.append(Parking(p.at, p.step, reason, until))
    return tuple(found)


def told_of(parkings: Sequence[Parking]) -> list[Moment]:
    """Each as a moment of its enrollment."""
    return [Moment(p.at, "parked", f"{p.told}.") for p in parkings]
