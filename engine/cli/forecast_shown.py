"""A forecast on a screen: tables with bars, calm and narrow. Only drawing belongs here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.app.forecast import Figures, days_between, period_of, reason_words, span_words
from engine.app.simulating import Span
from engine.cli.authoring import count
from engine.cli.shown import listing, when

WIDTH = 28
"""Columns of the longest bar."""
MOST = 12
"""Rows of a list of reasons."""


def draw(figures: Figures, span: Span) -> RenderableType:
    """Everything, in sections; what didn't happen has none."""
    sent = sum(figures.sent.values())
    head = f"{span.source}, {when(span.start)} to {when(span.end)} UTC{span.how}"
    told = (
        f"{count(len(figures.people), 'customer')} in journeys, {count(span.incoming, 'event')} in, {count(sent, 'message')} out"
    )
    parts: list[RenderableType] = [Text(head, "bold"), Text(told)]
    if span.refused:
        parts.append(Text(refusals(span), "yellow"))
    for title, table in _sections(figures, span):
        if table.row_count:
            parts += [Text(), Text(title, "bold"), table]
    return Group(*parts)


def refusals(span: Span) -> str:
    """What would be put aside, and mostly why."""
    told = "; ".join(f"{n} times {why}" for why, n in span.refused.most_common(3))
    return f"{count(span.refused.total(), 'event')} would be put aside: {told}"


def _sections(figures: Figures, span: Span) -> Iterator[tuple[str, Table]]:
    found = figures.to_json()
    yield "Journeys", _journeys(found["journeys"])
    yield "Messages", _messages(figures, days_between(span.start, span.end, figures.zone))
    yield "Caps that stood in the way", _caps(found["caps"])
    yield "Put off", _stopped(found["defers"])
    yield "Not sent", _stopped(found["drops"])
    yield "Time in steps", _steps(found["steps"])
    yield "Ways taken", _ways(found["branches"])
    yield "Tasks", _ranked("queue", figures.tasks)
    yield "Parked, which a person would have to mend", _parked(found["parked"])


def _journeys(found: Sequence[Mapping[str, Any]]) -> Table:
    table = listing("journey", "entered", "inside", "goals", "sent", "left by", folds=("left by",), right=NUMBERS)
    for one in found:
        if one["entered"]:
            left = ", ".join(f"{reason} {n}" for reason, n in sorted(one["exits"].items(), key=lambda e: -e[1]))
            table.add_row(Text(one["journey"]), *(str(one[k]) for k in ("entered", "inside", "goals", "sent")), Text(left, "dim"))
    return table


NUMBERS = (
    "entered",
    "inside",
    "goals",
    "sent",
    "messages",
    "people",
    "stays",
    "median",
    "9 of 10",
    "share",
    "defers",
    "drops",
    "tasks",
    "enrollments",
)


def _messages(figures: Figures, days: Sequence[str]) -> Table:
    """A bar for each day (or week, or month), with its messages by tier and channel."""
    name, period = period_of(len(days))
    rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for day in days:
        rows[period(day)].update()
    for (day, tier, channel), n in figures.sent.items():
        rows[period(day)][f"{tier} {channel}"] += n
    kinds = sorted({kind for row in rows.values() for kind in row})
    table = listing(name, "sent", "", *kinds, right=("sent", *kinds))
    most = max((row.total() for row in rows.values()), default=0)
    if not most:
        return table
    for label, row in sorted(rows.items()):
        bar = Bar(most, 0, row.total(), width=WIDTH, color="cyan")
        table.add_row(label, str(row.total()), bar, *(str(row[kind] or "") for kind in kinds))
    return table


def _caps(found: Sequence[Mapping[str, Any]]) -> Table:
    table = listing("cap", "defers", "drops", "people", "share", "", right=NUMBERS)
    for one in found:
        bar = Bar(1, 0, one["share"], width=WIDTH, color="yellow")
        table.add_row(one["cap"], str(one["defers"]), str(one["drops"]), str(one["people"]), f"{one['share']:.1%}", bar)
    return table


def _stopped(found: Sequence[Mapping[str, Any]]) -> Table:
    table = listing("reason", "rule", "messages", "people", "", right=NUMBERS)
    most = max((one["messages"] for one in found), default=1)
    for one in found[:MOST]:
        bar = Bar(most, 0, one["messages"], width=WIDTH, color="red")
        table.add_row(reason_words(one["reason"]), Text(one["rule"]), str(one["messages"]), str(one["people"]), bar)
    return table


def _steps(found: Sequence[Mapping[str, Any]]) -> Table:
    table = listing("journey", "step", "stays", "median", "9 of 10", "inside", "sent", right=NUMBERS)
    for one in found:
        if one["p90"] or one["inside"] or one["sent"]:
            spans = (span_words(one[k]) for k in ("median", "p90"))
            table.add_row(
                Text(one["journey"]), Text(one["step"]), str(one["stays"]), *spans, str(one["inside"]), str(one["sent"] or "")
            )
    return table


def _ways(found: Sequence[Mapping[str, Any]]) -> Table:
    table = listing("journey", "step", "way", "people", "", folds=("way",), right=NUMBERS)
    totals: Counter[tuple[str, str]] = Counter()
    for one in found:
        totals[one["journey"], one["step"]] += one["people"]
    for one in found:
        bar = Bar(totals[one["journey"], one["step"]], 0, one["people"], width=WIDTH // 2, color="green")
        table.add_row(Text(one["journey"]), Text(one["step"]), Text(one["way"]), str(one["people"]), bar)
    return table


def _ranked(name: str, found: Counter[str]) -> Table:
    table = listing(name, "tasks", right=NUMBERS)
    for what, n in found.most_common(MOST):
        table.add_row(Text(what), str(n))
    return table


def _parked(found: Sequence[Mapping[str, Any]]) -> Table:
    table = listing("journey", "step", "enrollments", "reason", folds=("reason",), right=NUMBERS)
    for one in found[:MOST]:
        table.add_row(Text(one["journey"]), Text(one["step"]), str(one["enrollments"]), Text(one["reason"], "red"))
    return table
