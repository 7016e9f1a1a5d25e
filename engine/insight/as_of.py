"""What stood at a moment: a passage cut back to what had happened by then. Pure; `why` reads the whole passage before.

A message's status at a moment follows from its decisions. Where an enrollment stood between its messages isn't kept anywhere, so
what came next is told instead.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from engine.core.telling import tell_moment
from engine.insight.story import Message, Moment, Parking, Passage, in_order

UNDER_WAY = ("deferred", "reserved", "handed_over")
"""Statuses of messages that are neither through nor given up."""


def passage_at(passage: Passage, at: datetime, zone: ZoneInfo) -> Passage:
    """`passage`, which had begun by `at`, as it stood then. Its step and its next waking are not known."""
    parkings = tuple(
        replace(p, until=None if p.until is None or p.until > at else p.until) for p in passage.parkings if p.at <= at
    )
    over = passage.ended_at is not None and passage.ended_at <= at
    moments = in_order((m for whole in passage.moments if (m := _moment_at(whole, at)) is not None), passage.entered_at)
    later = sorted((m for m in passage.moments if _began(m) > at), key=_began)
    now_still = over or (passage.status != "ended" and all(m.at <= at for m in passage.moments))
    parked = next((p for p in passage.parkings if p.at <= at and (p.until is None or p.until > at)), None)
    stood = replace(
        passage,
        status=passage.status if now_still else "live" if parked is None else "parked",
        reason=passage.reason if now_still else "" if parked is None else parked.reason,
        ended_at=passage.ended_at if over else None,
        step=None,
        wake_at=None,
        moments=moments,
        parkings=parkings,
    )
    if now_still and passage.status != "live":
        return stood
    return replace(stood, now=_stood(stood, later, zone) if parked is None else _parked(parked, zone))


def stands_at(message: Message, zone: ZoneInfo) -> str:
    """Where an enrollment stands whose `message` is under way."""
    until = f" until {tell_moment(message.until, zone)}" if message.until is not None else ""
    return f"At {message.step}, whose message {'is being handed over' if not until else 'waits'}{until}."


def _parked(parking: Parking, zone: ZoneInfo) -> str:
    until = f" That was over on {tell_moment(parking.until, zone)}." if parking.until is not None else ""
    return f"{parking.told}.{until}"


def _stood(stood: Passage, later: list[Moment], zone: ZoneInfo) -> str:
    messages = [m.message for m in stood.moments if m.message is not None]
    waiting = next((m for m in reversed(messages) if m.status in UNDER_WAY), None)
    if waiting is not None:
        return stands_at(waiting, zone)
    if not later:
        return "No message of it stood before the gates, and nothing has come since."
    then = later[0]
    what = then.text if then.message is None else f"{then.text} stood before the gates, at {then.message.step}."
    return f"No message of it stood before the gates. What came next, on {tell_moment(_began(then), zone)}: {what}"


def _began(moment: Moment) -> datetime:
    """When it happened; of a message, when it was decided first."""
    return moment.message.decisions[0].at if moment.message is not None and moment.message.decisions else moment.at


def _moment_at(moment: Moment, at: datetime) -> Moment | None:
    if _began(moment) > at:
        return None
    if moment.message is None:
        return moment
    known = replace(moment.message, became=tuple(b for b in moment.message.became if b.at <= at))
    return replace(moment, message=known) if moment.at <= at else _message_at(moment, known, at)


def _message_at(moment: Moment, message: Message, at: datetime) -> Moment:
    """A message of which what stands now came later: with another decision, with what its provider said, or given up."""
    decided = tuple(d for d in message.decisions if d.at <= at)
    last = decided[-1]
    then = message.decisions[len(decided)].at if len(decided) < len(message.decisions) else None
    status, until = {"defer": ("deferred", last.until), "drop": ("dropped", None), "allow": ("reserved", then)}[last.decision]
    stood = replace(
        message,
        status=status,
        reason=last.reason,
        detail=last.detail,
        until=until,
        sent_at=None,
        tries=sum(d.decision == "allow" for d in decided),
        provider_id="",
        words="",
        decisions=decided,
    )
    return replace(moment, at=last.at, message=stood)
