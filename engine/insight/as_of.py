"""What stood at a moment: a passage cut back to what had happened by then. Pure; `why` reads the whole passage before.

A message's status at a moment follows from its decisions. Where an enrollment stood between its messages isn't kept anywhere, so
what came next is told instead.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from engine.core.telling import tell_moment
from engine.insight.story import Decision, Message, Moment, Passage

UNDER_WAY = ("deferred", "reserved", "handed_over")
"""Statuses of messages that are neither through nor given up."""


def passage_at(passage: Passage, at: datetime, zone: ZoneInfo) -> Passage:
    """`passage`, which had begun by `at`, as it stood then. Its step and its next waking are not known."""
    over = passage.ended_at is not None and passage.ended_at <= at
    moments = tuple(m for whole in passage.moments if (m := _moment_at(whole, passage.ended_at, at)) is not None)
    later = sorted((m for m in passage.moments if m.at > at), key=lambda m: m.at)
    now_still = over or (passage.status != "ended" and not later)
    stood = replace(
        passage,
        status=passage.status if now_still else "live",
        reason=passage.reason if now_still else "",
        ended_at=passage.ended_at if over else None,
        step=None,
        wake_at=None,
        moments=moments,
    )
    return stood if now_still and passage.status != "live" else replace(stood, now=_stood(stood, later, zone))


def stands_at(message: Message, zone: ZoneInfo) -> str:
    """Where an enrollment stands whose `message` is under way."""
    until = f" until {tell_moment(message.until, zone)}" if message.until is not None else ""
    return f"At {message.step}, whose message {'is being handed over' if not until else 'waits'}{until}."


def _stood(stood: Passage, later: list[Moment], zone: ZoneInfo) -> str:
    messages = [m.message for m in stood.moments if m.message is not None]
    waiting = next((m for m in reversed(messages) if m.status in UNDER_WAY), None)
    if waiting is not None:
        return stands_at(waiting, zone)
    if not later:
        return "No message of it stood before the gates, and nothing has come since."
    then = later[0]
    what = then.text if then.message is None else f"{then.text} stood before the gates, at {then.message.step}."
    return f"No message of it stood before the gates. What came next, on {tell_moment(then.at, zone)}: {what}"


def _moment_at(moment: Moment, ended_at: datetime | None, at: datetime) -> Moment | None:
    if moment.at > at:
        return None
    if moment.message is None:
        return moment
    known = replace(moment.message, became=tuple(b for b in moment.message.became if b.at <= at))
    return replace(moment, message=_message_at(known, ended_at, at))


def _message_at(message: Message, ended_at: datetime | None, at: datetime) -> Message:
    decided = tuple(d for d in message.decisions if d.at <= at)
    if not decided or (len(decided) == len(message.decisions) and not _waited(message, decided[-1], ended_at, at)):
        return message
    last = decided[-1]
    then = message.decisions[len(decided)].at if len(decided) < len(message.decisions) else None
    status, until = {"defer": ("deferred", last.until), "drop": ("dropped", None), "allow": ("reserved", then)}[last.decision]
    return replace(
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


def _waited(message: Message, last: Decision, ended_at: datetime | None, at: datetime) -> bool:
    """Whether it still waited at `at`, and was given up later without another decision: with its enrollment's end, or because its
    step's condition no longer held when its time came."""
    if last.decision != "defer" or message.status == "deferred" or message.until is not None:
        return False
    given_up = last.until if message.reason == "condition" else ended_at
    return given_up is not None and at < given_up
