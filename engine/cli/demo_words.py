"""The demo's words: what a status, a gate's reason and a happening are called in front of somebody who sees them first.

Pure functions from rows to text; tables and colours are `demo_shown`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from engine.app.demo_outcome import Figure, Happened
from engine.core.brief import brief

CHANNELS = {"email": "e-mail", "sms": "text message", "push": "push"}


def outcome(figure: Figure) -> tuple[str, str]:
    """(outcome, why) for one row of the table."""
    reason = brief(figure.reason, figure.rule, figure.topic)
    if figure.status == "sent":
        return "sent", f"after waiting: {reason}" if reason else "at once"
    if figure.status == "deferred":
        return "waiting", reason
    return figure.status, reason


def moment(at: datetime, zone: ZoneInfo) -> str:
    """ "Tue  7 Mar 10:30", local."""
    there = at.astimezone(zone)
    return f"{there:%a} {there.day:>2} {there:%b %H:%M}"


def timeline(lines: Sequence[Happened], zone: ZoneInfo) -> Iterator[tuple[datetime, str, str]]:
    """(moment, kind, text) in order: what happened at one moment for one reason stands in one line."""
    begun: dict[datetime, list[str]] = {}
    for line in lines:
        if line.kind == "begun":
            begun.setdefault(line.at, []).append(f"{line.journey} ({line.subject})" if line.subject else line.journey)
    for line in lines:
        if line.kind == "begun" and line.at in begun:
            yield line.at, "begun", "enters " + ", ".join(begun.pop(line.at))
        elif line.kind not in ("begun", "ended"):
            yield line.at, "waits" if line.subject == "defer" else line.kind, _told(line, zone)


def _told(line: Happened, zone: ZoneInfo) -> str:
    channel = CHANNELS.get(line.channel, line.channel)
    if line.kind == "event":
        return _event(line)
    if line.kind == "sent":
        return f"{channel} {line.subject} sent"
    reason = brief(line.reason, line.rule, line.topic)
    if line.subject == "defer":
        until = f", until {moment(line.until, zone)}" if line.until else ""
        return f"{line.journey}'s {line.step} waits: {reason}{until}"
    return f"{line.journey}'s {line.step} dropped: {reason}"


def _event(line: Happened) -> str:
    p = line.properties or {}
    if line.subject == "order_completed":
        total = f", {p['total']:.2f} in all" if isinstance(p.get("total"), (int, float)) else ""
        return f"buys {_few(p.get('departments') or ['something'])}{total}"
    if line.subject == "consent_changed":
        verb = "agrees to" if p.get("state") == "granted" else "wants no more"
        topic = str(p.get("topic") or "messages").replace("_", " ")
        return f"{verb} {topic} by {CHANNELS.get(str(p.get('channel')), 'any channel')}"
    return "becomes known" if line.subject == "$identify" else line.subject.replace("_", " ")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
