"""`why` on a screen: an `insight.story.Why` as rich renderables, calm and narrow, times in the customer's zone.

Only drawing belongs here: every sentence comes from the story or from the gates themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engine.core.clock import local
from engine.core.clock import zone as zone_named
from engine.insight.inputs import INNER
from engine.insight.story import Absence, Decision, Gate, Merge, Message, Moment, Passage, StageMove, Why

GATES = {
    "live": "enrollment",
    "customer": "customer",
    "journey": "journey",
    "expires": "expiry",
    "reachable": "address",
    "suppression": "suppression",
    "consent": "consent",
    "holdout": "holdout",
    "hold": "holds",
    "quiet_hours": "hours",
    "cap": "caps",
}
"""What people call the gates."""

ANSWERS = {"pass": ("✓", "green"), "skip": ("–", "dim"), "defer": ("…", "yellow"), "drop": ("✗", "red")}

STATUSES = {
    "sent": ("sent", "green"),
    "deferred": ("waits", "yellow"),
    "reserved": ("will be tried again", "yellow"),
    "handed_over": ("being handed over", "yellow"),
    "dropped": ("not sent", "red"),
    "refused": ("refused by the provider", "red"),
    "unknown": ("perhaps sent, counted as sent", "yellow"),
    "parked": ("needs mending", "red"),
}
BECAME = {
    "message_delivered": ("delivered", "green"),
    "message_opened": ("opened", "green"),
    "message_clicked": ("clicked", "green"),
    "message_bounced": ("bounced", "red"),
    "message_complained": ("complained of", "red"),
    "message_replied": ("replied to", "yellow"),
    "unsubscribed": ("unsubscribed", "yellow"),
}
VERDICTS = {"allow": "green", "defer": "yellow", "drop": "red"}
QUIET = ("no_event", "api")
"""Absences that call for no explanation."""
STANDING = {"live": ("live", "green"), "parked": ("parked", "red"), "ended": ("ended", "dim")}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def draw(told: Why, *, short: bool = False) -> RenderableType:
    """The whole answer. `short`: of each decision only the gates that don't simply pass."""
    zone = zone_named(told.zone)
    parts: list[RenderableType] = [_head(told, zone)]
    for passage in told.passages:
        parts += [Text(), draw_passage(passage, zone, short=short)]
    if told.absences:
        parts += [Text(), _absences(told)]
    elif not told.passages:
        parts += [Text(), Text("Not in any journey, and none is deployed.", "dim")]
    return Group(*parts)


def when(moment: datetime, zone: ZoneInfo, *, day: bool = True) -> str:
    """ "Mon 2 Mar 2026 10:00:03" in `zone`, or the time alone; seconds where they aren't zero."""
    there = local(moment, zone)
    seconds = f":{there.second:02}" if there.second else ""
    clock = f"{there.hour:02}:{there.minute:02}{seconds}"
    return f"{DAYS[there.weekday()]} {there.day} {MONTHS[there.month - 1]} {there.year} {clock}" if day else clock


def _head(told: Why, zone: ZoneInfo) -> RenderableType:
    """Who it is, in which zone times are told, and what holds for every message now."""
    names = [v for _, v in told.identifiers] or ["(no identifier)"]
    title = Text.assemble((names[0], "bold"), (f"  customer {told.customer}", "dim"))
    if names[1:]:
        title.append(f", also {', '.join(names[1:4])}{' …' if len(names) > 4 else ''}", "dim")
    whose = "the customer's zone" if told.own_zone else "the project's zone: the customer's is not known"
    if told.unusable_zone is not None:
        whose = f"the project's zone: the customer's timezone {told.unusable_zone[:60]!r} is none that IANA names"
    moment = f"this is how it stood on {when(told.at, zone)}" if told.past else f"now it is {when(told.at, zone)}"
    lines = [title, Text(f"Times are {told.zone} ({whose}); {moment}.", "dim")]
    if told.erased:
        lines.append(Text("This customer was erased: nothing is sent.", "red"))
    if told.restricted:
        lines.append(Text("This customer is restricted: nothing may be sent.", "red"))
    if told.objected:
        lines.append(Text("This customer objects to profiling: computed attributes and segments are not used.", "yellow"))
    lines += [Text(_merge(m, zone), "dim") for m in told.merges]
    if told.stages:
        lines.append(Text(_stages(told.stages, zone)))
    if told.segments:
        names = [f"{m.segment} (since {when(m.since, zone)}, {_cause(m.cause, m.event)})" for m in told.segments]
        lines.append(Text(f"In the segments {', '.join(names)}."))
    for hold in told.holds:
        about = f" ({hold.key})" if hold.key else ""
        pause = ", ".join(hold.pause)
        text = f"On hold since {when(hold.opened_at, zone)}: {hold.name}{about} pauses {pause}, "
        text += f"until {when(hold.until, zone)} at the latest."
        lines.append(Text(text, "yellow"))
    return Group(*lines)


SHOWN_STAGES = 4


def _stages(moves: Sequence[StageMove], zone: ZoneInfo) -> str:
    """The stage, and those before it, in a sentence."""
    told = [f"{m.stage} since {when(m.since, zone)} ({_cause(m.cause, m.event)})" for m in moves[:SHOWN_STAGES]]
    over = moves[0].until
    now = f"Stage {told[0]}" if over is None else f"In no stage since {when(over, zone)}; before that {told[0]}"
    more = " …" if len(moves) > SHOWN_STAGES else ""
    return f"{'; before that '.join([now, *told[1:]])}{more}."


def _cause(cause: str, event: str | None) -> str:
    """Why somebody moved."""
    if cause == "event":
        return f"by {INNER.get(event or '', event) or 'an event'}"
    return "by time" if cause == "time" else "as deployed"


def _merge(merge: Merge, zone: ZoneInfo) -> str:
    """A merge in a sentence."""
    names = ", ".join(value for _, value in merge.names[:4])
    who = f"customer {merge.gone} ({names})" if names else f"customer {merge.gone}"
    by = {"command": "by an operator", "identify": "by an identify call", "alias": "by an alias call"}
    how = by.get(merge.cause, f"by the same {merge.cause}")
    text = f"Merged with {who} on {when(merge.at, zone)}, {how}: number {merge.id}"
    return f"{text}, undone on {when(merge.undone_at, zone)}." if merge.undone_at is not None else f"{text}."


def draw_passage(passage: Passage, zone: ZoneInfo, *, short: bool = False) -> RenderableType:
    """One enrollment: its name, where it stands, and its moments in order, under the day on which they fell."""
    word, style = STANDING[passage.status]
    title = Text.assemble((passage.journey, "bold"), f" {passage.key}" if passage.key else "", "  ", (word, style))
    title.append(f"  enrollment {passage.enrollment}", "dim")
    lines: list[RenderableType] = [title]
    if passage.status != "ended":
        lines.append(Padding(Text(_plain(passage.now, zone), "red" if passage.status == "parked" else ""), (0, 0, 0, 2)))
    if passage.holdout:
        lines.append(
            Padding(Text("In the journey's holdout: counted, but sent nothing and given no tasks.", "yellow"), (0, 0, 0, 2))
        )
    if passage.global_holdout:
        held = f"In the holdout {passage.global_holdout}: counted, but sent nothing of the tiers that it names."
        lines.append(Padding(Text(held, "yellow"), (0, 0, 0, 2)))
    day = ""
    for moment in passage.moments:
        today = when(moment.at, zone).rpartition(" ")[0]
        if today != day:
            lines.append(Padding(Text(today, "cyan"), (0, 0, 0, 2)))
            day = today
        lines.append(Padding(_moment(moment, zone, short), (0, 0, 0, 2)))
    return Group(*lines)


def _moment(moment: Moment, zone: ZoneInfo, short: bool) -> RenderableType:
    clock = Text(when(moment.at, zone, day=False), "dim")
    if moment.message is None:
        return _row(clock, Text(_plain(moment.text, zone), "dim" if moment.kind in ("again", "replan") else ""))
    return _row(clock, Group(*_message(moment, moment.message, zone, short)))


def _row(left: Text, right: RenderableType, width: int = 8) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(width=width, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    grid.add_row(left, right)
    return grid


def _message(moment: Moment, m: Message, zone: ZoneInfo, short: bool) -> Iterator[RenderableType]:
    """The message and what became of it, then the decisions."""
    word, style = STATUSES[m.status]
    line = Text.assemble(f"{m.channel} ", (m.template, "bold"), "  ", (word, style))
    if m.until is not None and m.status in ("deferred", "reserved"):
        line.append(f" until {when(m.until, zone)}" if m.status == "deferred" else f" {when(m.until, zone)}", style)
    elif m.reason:
        line.append(f": {GATES.get(m.reason, m.reason)}", style)
    yield line
    about = f"step {m.step}, tier {m.tier}" + (f", topic {m.topic}" if m.topic else "")
    about += f", tagged {', '.join(m.tags)}" if m.tags else ""
    yield Text(about, "dim")
    for before, decision in zip((None, *m.decisions), m.decisions, strict=False):
        yield from _decision(decision, before, moment.at, zone, short)
    last = m.decisions[-1].detail if m.decisions else ""
    if m.detail and m.detail != last:
        yield Text(_sentence(_plain(m.detail, zone)))
    if m.tries > 1:
        yield Text(f"Handed over {m.tries} times.")
    if m.words:
        yield Text.assemble("The provider said: ", (m.words, "italic"))
    for b in m.became:
        word, style = BECAME.get(b.event, (b.event, ""))
        by = " by a machine" if b.machine else ""
        line = Text.assemble((f"{when(b.at, zone)}  ", "cyan"), (f"{word}{by}", style))
        yield line.append(f" {b.url}" if b.url else "").append(f": {b.words}" if b.words else "")


def _decision(
    decision: Decision, before: Decision | None, beside: datetime, zone: ZoneInfo, short: bool
) -> Iterator[RenderableType]:
    """The verdict, then what each gate said; gates that say what they said the time before are told once. `beside`: the moment
    that stands in the margin."""
    line = Text()
    if before is not None or when(decision.at, zone) != when(beside, zone):
        line.append(f"{when(decision.at, zone)}  ", "cyan")
    line.append(_sentence(_plain(decision.detail, zone)), VERDICTS[decision.decision])
    if decision.decision == "drop" and decision.earliest is not None:
        line.append(f" It would have passed on {when(decision.earliest, zone)}.")
    elif decision.decision == "drop":
        line.append(" Time alone would not have let it pass.")
    if decision.change is not None:
        line.append(f" {decision.change.text}")
    yield line
    known = {g.gate: (g.answer, g.detail) for g in before.gates} if before else {}
    told = [g for g in decision.gates if known.get(g.gate) != (g.answer, g.detail)]
    if short:
        told = [g for g in told if g.answer in ("defer", "drop")]
    if told:
        yield _gates(told, zone)
    same = len(decision.gates) - len(told)
    if before is not None and same and not short:
        yield Padding(Text(f"the other {same} gates say what they said before", "dim"), (0, 0, 0, 2))


def _gates(gates: list[Gate], zone: ZoneInfo) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=1)
    grid.add_column(width=11, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    for gate in gates:
        mark, style = ANSWERS[gate.answer]
        quiet = "dim" if gate.answer in ("pass", "skip") else ""
        grid.add_row(Text(mark, style), Text(GATES.get(gate.gate, gate.gate), quiet), Text(_plain(gate.detail, zone), quiet))
    return Padding(grid, (0, 0, 0, 2))


def _absences(told: Why) -> RenderableType:
    """Why not (again), one journey to a line; those whose event simply never came stand last and quiet."""
    lines: list[RenderableType] = [Text("Not entered" if not told.passages else "Not entered, or not again", "bold")]
    lines += [_absence(a, zone_named(told.zone)) for a in sorted(told.absences, key=lambda a: a.reason in QUIET)]
    return Group(*lines)


def _absence(a: Absence, zone: ZoneInfo) -> RenderableType:
    quiet = a.reason in QUIET
    return Padding(
        Text.assemble((a.journey, "dim" if quiet else "bold"), "  ", (_plain(a.detail, zone), "dim" if quiet else "")),
        (0, 0, 0, 2),
    )


def _plain(text: str, zone: ZoneInfo) -> str:
    """`text` without the zone's name, which the head of the screen says once; another zone's stays."""
    return text.replace(f" ({zone.key})", "")


def _sentence(text: str) -> str:
    """`text` as a sentence. A path or another name that it begins with stays as it is written."""
    name = set(text.partition(" ")[0].rstrip(".,:;!?")) & set("/.:_@")
    return (text if name else text[:1].upper() + text[1:]) + ("" if text.endswith((".", "!", "?")) else ".")
