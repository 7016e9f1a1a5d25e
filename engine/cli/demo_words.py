"""The demo's words: what a status, a gate's reason and a happening are called in front of somebody who sees them first.

Pure functions from rows to text; tables and colours are `demo_shown`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from engine.app.demo_outcome import Figure, Happened

CHANNELS = {"email": "e-mail", "sms": "text message", "push": "push"}


def outcome(figure: Figure) -> tuple[str, str]:
    """(outcome, why) for one row of the table."""
    reason = why(figure.reason, figure.rule, figure.topic)
    if figure.status == "sent":
        return "sent", f"after waiting: {reason}" if reason else "at once"
    if figure.status == "deferred":
        return "waiting", reason
    if figure.status == "dropped" and figure.reason == "expired":
        return "dropped", f"too late: {_expired(figure.rule)}"
    return figure.status, reason


def why(reason: str, rule: str, topic: str) -> str:
    """What a gate's reason and rule mean, "" where there are none."""
    about = f" for {topic.replace('_', ' ')}" if topic else ""
    match reason:
        case "consent":
            return f"consent{about} withdrawn" if rule == "withdrawn" else f"no consent{about}"
        case "holdout":
            return f"{rule} holdout, left out to measure"
        case "cap":
            return f"the {rule} cap was full"
        case "quiet_hours":
            name, _, hours = rule.partition(" ")
            return f"{'quiet hours' if name == 'quiet_hours' else 'its send window is'} {hours.replace('-', '–')}".strip()
        case "hold":
            return f"held back by {rule}"
        case "live":
            return "the journey had begun anew" if rule == "restarted" else f"the journey had ended: {rule}"
        case "reachable":
            return "no address"
        case "suppression":
            return f"address suppressed: {rule}"
    return " ".join(part for part in (reason.replace("_", " "), rule) if part)


def _expired(rule: str) -> str:
    if rule == "expires":
        return "it came up after its time"
    if rule.startswith("quiet_hours"):
        return "quiet hours lasted longer"
    return "its send window opened later" if rule.startswith("window") else f"the {rule} cap had no room"


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
    reason = why(line.reason, line.rule, line.topic)
    if line.subject == "defer":
        until = f", until {moment(line.until, zone)}" if line.until else ""
        return f"{line.journey}'s {line.step} waits: {reason}{until}"
    if line.reason == "expired":
        reason = f"too late, {_expired(line.rule)}"
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
