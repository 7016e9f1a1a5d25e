"""The demo's result on the terminal: tables, one customer's story, a letter, the checks, and where to look next.

Reads well at 80 columns, and without colours where nobody watches. What things are called is `demo_words`' business.
"""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engine.cli.demo_words import moment, outcome, timeline

if TYPE_CHECKING:
    from engine.app.demo import Demo
    from engine.app.demo_outcome import Outcome, Story

STYLES = {"sent": "green", "waiting": "yellow", "dropped": "red"}
SIGNS = {
    "event": ("•", "dim"),
    "begun": ("→", "cyan"),
    "waits": ("…", "yellow"),
    "decision": ("✗", "red"),
    "sent": ("✉", "green"),
}
ORDER = {"sent": 0, "waiting": 1, "dropped": 2}
LINES = 18
WIDTH = 100


def show(console: Console, demo: Demo, seconds: float, kept: bool) -> None:
    """Everything a newcomer should see, on `console`. `seconds`: how long it all took."""
    shown, sample = demo.outcome, demo.sample
    width = min(console.width, WIDTH)
    console.print()
    console.print(
        f"[bold]{sample.households} households[/] of a real grocer lived {demo.options.days} days in "
        f"{demo.options.days * demo.options.seconds_per_day:.0f} seconds: {len(sample.history)} events of history, "
        f"{len(sample.live)} live ones, {sum(shown.enrolled.values())} enrollments in {demo.journeys} deployed journeys.",
        width=width,
    )
    console.print()
    console.print(_table(shown), width=width)
    if shown.story is not None:
        _story(console, shown.story, width)
    console.print(_checks(shown), width=width)
    console.print()
    _next(console, demo, kept, width)
    console.print(f"\n[dim]{seconds:.0f} s in all.[/]")


def _table(shown: Outcome) -> Table:
    """Messages by journey, what became of them, and why."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="[bold]Messages by journey[/]", title_justify="left")
    table.add_column("Journey", no_wrap=True)
    table.add_column("Outcome", no_wrap=True)
    table.add_column("Why")
    table.add_column("Messages", justify="right", no_wrap=True)
    counted: Counter[tuple[str, str, str]] = Counter()
    for f in shown.figures:
        counted[(f.journey, *outcome(f))] += f.n
    rows = sorted(counted.items(), key=lambda r: (r[0][0], ORDER.get(r[0][1], 3), r[0][2] != "at once", -r[1], r[0][2]))
    before = ""
    for (journey, status, why), n in rows:
        if before and journey != before:
            table.add_section()
        style = STYLES.get(status, "bold red")
        table.add_row(Text(journey if journey != before else "", "bold"), Text(status, style), Text(why), str(n))
        before = journey
    table.add_section()
    totals: Counter[str] = Counter()
    for (_, status, _), n in rows:
        totals[status] += n
    told = ", ".join(f"{n} {status}" for status, n in sorted(totals.items(), key=lambda t: ORDER.get(t[0], 3)))
    table.add_row(Text("in all", "bold"), "", told, str(sum(totals.values())), style="bold")
    return table


def _story(console: Console, story: Story, width: int) -> None:
    """One customer's days, and their last letter."""
    console.print(f"\n[bold]One of them: {story.name or story.user_id}[/] [dim]({story.user_id}, clock of {story.zone.key})[/]\n")
    lines = list(timeline(story.lines, story.zone))
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column()
    for at, kind, text in lines[:LINES]:
        sign, style = SIGNS[kind]
        table.add_row(moment(at, story.zone), Text(sign, style), Text(text, "" if kind == "event" else style))
    if len(lines) > LINES:
        table.add_row("", "", Text(f"and {len(lines) - LINES} lines more", "dim"))
    console.print(Padding(table, (0, 0, 0, 2)), width=width)
    note = "[dim]With so fast a clock a tenth of a second looks like forty minutes: that is why little here is on the dot.[/]"
    console.print(Padding(note, (1, 0, 0, 2)), width=width)
    if story.letter is None:
        return
    head = Table.grid(padding=(0, 1))
    for name, value in story.letter.headers:
        head.add_row(Text(name, "dim"), Text(value))
    body = Text("\n".join(story.letter.lines) + "\n…")
    console.print()
    title = Text(f"The last letter in {story.name or 'their'}’s mailbox".replace("their’s", "their"), "bold")
    console.print(Panel(Group(head, "", body), title=title, title_align="left", border_style="dim", box=box.ROUNDED), width=width)
    console.print()


def _checks(shown: Outcome) -> Table:
    table = Table.grid(padding=(0, 1))
    for check in shown.checks:
        sign = Text("✓", "green") if check.ok else Text("✗", "bold red")
        table.add_row(sign, Text(check.what, "" if check.ok else "bold red"), Text(f"({check.found})", "dim"))
    return table


def _next(console: Console, demo: Demo, kept: bool, width: int) -> None:
    """Where to look next."""
    table = Table.grid(padding=(0, 2))
    folder = demo.options.folder
    rows = [
        ("sojourn up", "the whole system, kept running: API, worker, Temporal’s web UI"),
        ("sojourn why CUSTOMER", "there: every decision about one person, with every gate"),
        ("journeys/", "what was played, one YAML file each; policy.yaml has the rules"),
        ("docs/language.md", "how to write your own"),
    ]
    if shutil.which("sojourn") is None:
        rows.insert(0, ('export PATH="$PWD/.venv/bin:$PATH"', "so that the shell finds `sojourn`"))
    if not kept:
        rows.append(("sojourn demo --keep", "keeps the letters, a maildir, and says where"))
    console.print("[bold]Where to look next[/]\n")
    for what, told in rows:
        table.add_row("  " + what, Text(told, "dim"))
    console.print(table, width=width)
    if kept:
        for name, told in (("mailbox", "The letters, a maildir"), ("log", "What was logged")):
            console.print(Text(f"\n  {told}:\n  {folder / name}"), soft_wrap=True)


def figures(demo: Demo) -> dict[str, Any]:
    """The same for machines: figures by journey, checks, and every message of the ledger."""
    shown = demo.outcome
    return {
        "households": demo.sample.households,
        "days": demo.options.days,
        "history_events": len(demo.sample.history),
        "live_events": len(demo.sample.live),
        "enrollments": shown.enrolled,
        "sent": shown.count("sent"),
        "waiting": shown.count("deferred"),
        "dropped": shown.count("dropped"),
        "letters": demo.mailbox.count(),
        "figures": [
            {
                "journey": f.journey,
                "channel": f.channel,
                "topic": f.topic,
                "status": f.status,
                "reason": f.reason,
                "rule": f.rule,
                "n": f.n,
            }
            for f in shown.figures
        ],
        "checks": [{"what": c.what, "ok": c.ok, "found": c.found} for c in shown.checks],
        "messages": [{k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in m.items()} for m in shown.messages],
        "folder": str(demo.options.folder),
        "ok": shown.ok,
    }
