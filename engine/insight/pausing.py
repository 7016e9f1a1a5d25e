"""Pauses of an enrollment and of its journey, in words, from a row of `history.passages`. Of pauses that are over the last one is
known."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from engine.core.telling import tell_moment
from engine.insight.story import Moment


def pauses_of(r: Any, last_reason: str = "") -> list[Moment]:
    """When it was paused and resumed while somebody was inside. `last_reason`: why its journey was in the pause that is over."""
    before = f": {last_reason}" if last_reason else ""
    because = f": {r.paused_reason}" if r.paused_reason else ""
    found = [
        (r.last_paused_at, "paused", "Paused by an operator."),
        (r.resumed_at, "resumed", "Resumed by an operator."),
        (r.paused_at, "paused", "Paused by an operator."),
        (r.journey_last_paused_at, "paused", f"An operator paused {r.journey}{before}."),
        (r.journey_resumed_at, "resumed", f"An operator resumed {r.journey}."),
        (r.journey_paused_at, "paused", f"An operator paused {r.journey}{because}."),
    ]
    over = [(r.last_paused_at, r.resumed_at), (r.journey_last_paused_at, r.journey_resumed_at)]
    outside = {m for pair in over if pair[1] is not None and pair[1] < r.entered_at for m in pair}
    return [
        Moment(at, kind, text)
        for at, kind, text in found
        if at is not None and at not in outside and (r.ended_at is None or at <= r.ended_at)
    ]


def paused(r: Any, zone: ZoneInfo) -> str:
    """The end of a sentence about where it stands, "" where nothing pauses it."""
    if r.status == "ended" or (r.journey_paused_at is None and r.paused_at is None):
        return ""
    what, since, mend = ("It", r.paused_at, str(r.id)) if r.paused_at else (r.journey, r.journey_paused_at, r.journey)
    because = f" ({r.paused_reason})" if r.paused_reason and not r.paused_at else ""
    return f" {what} is paused since {tell_moment(since, zone)}{because}: nothing is sent until `sojourn resume {mend}`."
