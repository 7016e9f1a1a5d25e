"""A forecast as one page that needs nothing else: words, tables, and plots as SVG in it. Only drawing belongs here.

No script, no font and no picture comes from anywhere: the page can be attached to a mail or lie in an archive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from engine.app.forecast import Figures, days_between, period_of, reason_words, span_words
from engine.app.simulating import Span

WIDE, HIGH = 960, 220
"""Units of the plot of messages, without the room for its words."""
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7a00", "#777777")
"""Okabe and Ito's, which people with any kind of colour vision tell apart; the rest share the last."""
MARKS = 5
"""Lines across a plot, at most."""
MOST = 15
"""Bars of a list of reasons."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a column: where it stands in the plot, its colour, and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    words: str


def page(figures: Figures, span: Span, title: str) -> str:
    """The whole page as HTML."""
    found = figures.to_json()
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_name("forecast_page.html.j2").read_text(encoding="utf-8")
    )
    days = days_between(span.start, span.end, figures.zone)
    return template.render(
        title=title,
        span=span,
        sent=sum(figures.sent.values()),
        people=len(figures.people),
        messages=_messages(figures, days),
        wide=WIDE,
        high=HIGH,
        caps=found["caps"],
        defers=_ranked(found["defers"]),
        drops=_ranked(found["drops"]),
        journeys=[one for one in found["journeys"] if one["entered"]],
        steps=_steps(found["steps"]),
        ways=_ways(found["branches"]),
        parked=found["parked"],
        zone=figures.zone.key,
    )


def _messages(figures: Figures, days: Sequence[str]) -> dict[str, Any]:
    """The plot of messages: columns by day, week or month, each of blocks by tier and channel; its lines and its legend."""
    name, period = period_of(len(days))
    labels = list(dict.fromkeys(period(day) for day in days))
    counted: dict[str, Counter[str]] = {label: Counter() for label in labels}
    for (day, tier, channel), n in figures.sent.items():
        counted.setdefault(period(day), Counter())[f"{tier} by {channel}"] += n
    labels = sorted(counted)
    ranked = [kind for kind, _ in sum(counted.values(), Counter[str]()).most_common()]
    colours = {kind: COLOURS[min(i, len(COLOURS) - 1)] for i, kind in enumerate(ranked)}
    most = max((row.total() for row in counted.values()), default=0)
    scale = _scale(most)
    step = WIDE / max(len(labels), 1)
    blocks = []
    for number, label in enumerate(labels):
        below = 0
        for kind in ranked:
            n = counted[label][kind]
            height = HIGH * n / scale[-1]
            below += n
            if n:
                y, words = HIGH - HIGH * below / scale[-1], f"{label}: {n} {kind}"
                blocks.append(Block(step * number + step * 0.1, y, step * 0.8, height, colours[kind], words))
    every = max(1, -(-len(labels) // 10))
    named = [(step * (i + 0.5), label) for i, label in enumerate(labels) if i % every == 0]
    lines = [(HIGH - HIGH * n / scale[-1], n) for n in scale]
    legend = [(kind, colours[kind], sum(row[kind] for row in counted.values())) for kind in ranked]
    return {"per": name, "blocks": blocks, "named": named, "lines": lines, "legend": legend}


def _scale(most: int) -> list[int]:
    """Round numbers from 0 to at least `most`, a handful of them."""
    size = 1
    while size * MARKS < most:
        size *= 2 if str(size)[0] in "15" else 1
        if size * MARKS < most and str(size)[0] == "2":
            size = size // 2 * 5
    return [size * i for i in range(max(-(-most // size), 1) + 1)]


def _ranked(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Reasons, each with its share of the largest."""
    most = max((one["messages"] for one in found), default=1)
    return [{**one, "reason": reason_words(one["reason"]), "share": one["messages"] / most} for one in found[:MOST]]


def _steps(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Steps that took time, with their bars as shares of the longest."""
    told = [one for one in found if one["p90"] or one["inside"] or one["sent"]]
    most = max((one["p90"] or 0 for one in told), default=0) or 1
    return [
        {
            **one,
            "told": (span_words(one["median"]), span_words(one["p90"])),
            "bars": ((one["median"] or 0) / most, (one["p90"] or 0) / most),
        }
        for one in told
    ]


def _ways(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ways out of steps, each with its share of those who went on from there."""
    totals: Counter[tuple[str, str]] = Counter()
    for one in found:
        totals[one["journey"], one["step"]] += one["people"]
    return [{**one, "share": one["people"] / totals[one["journey"], one["step"]]} for one in found]
