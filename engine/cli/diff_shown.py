"""A diff on a screen, and as a comment for a pull request. Only drawing belongs here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engine.app.comparing import Change, by_customer, totals
from engine.app.differing import JourneyChange, StepChange
from engine.cli.authoring import count
from engine.cli.forecast_shown import refusals
from engine.cli.shown import listing, when

if TYPE_CHECKING:
    from engine.app.versions import Stranded
    from engine.cli.differing import Diff, Messages

MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow"), "moved": (">", "cyan")}
"""Of steps."""
KINDS = {"added": "green", "lost": "red", "moved": "yellow"}
"""Of messages."""
SHOWN = 20
"""Messages, customers and people inside that a screen lists; --json has all."""
LISTED = 50
"""The same of a comment."""
LIMIT = 60_000
"""Characters of a comment: GitHub takes 65,536."""


def draw(found: Diff) -> RenderableType:
    """Everything, in sections."""
    parts: list[RenderableType] = []
    if not found:
        parts.append(Text(f"nothing differs between {found.old} and {found.new}", "dim"))
    for journey in found.project.journeys:
        parts += [Text.assemble((journey.journey, "bold"), f"  {journey.kind}"), *_journey(journey), Text()]
    for name, differences in found.project.shared.items():
        parts += [Text(name, "bold"), *(Text(f"  {d.told()}") for d in differences), Text()]
    if found.project.templates:
        parts += [Text("templates", "bold"), *(Text(f"  {name}: {change}") for name, change in found.project.templates), Text()]
    if found.messages is not None:
        parts += _messages(found.messages)
    if found.stranded is not None:
        parts.append(_inside(found.stranded))
    return Group(*parts)


def _journey(journey: JourneyChange) -> Iterator[RenderableType]:
    for d in journey.fields:
        yield Text(f"  {d.told()}")
    for step in journey.steps:
        mark, style = MARKS[step.kind]
        yield Text.assemble(f"  {mark} ", (step.step, style), f" ({_about(step)})")
        for d in step.fields:
            yield Text(f"      {d.told()}")


def _about(step: StepChange) -> str:
    where = f", now before {step.before}" if step.kind == "moved" else f", before {step.before}" if step.kind == "added" else ""
    return step.verb + (where if step.before else "")


def _messages(found: Messages) -> Iterator[RenderableType]:
    yield Text(_head(found), "bold")
    if found.span.refused:
        yield Text(f"  {refusals(found.span)}", "yellow")
    if found.changes:
        yield Padding(_totals(found), (0, 0, 1, 2))
        yield Padding(_changes(found.changes[:SHOWN]), (0, 0, 0, 2))
    more = len(found.changes) - SHOWN
    if more > 0:
        people = len(by_customer(found.changes))
        yield Text(f"  … and {more} more, of {count(people, 'customer')} in all; --json has every one", "dim")
    yield Text()


def _totals(found: Messages) -> Table:
    table = listing("journey", "step", "added", "lost", "moved", "same", right=("added", "lost", "moved", "same"))
    for row in totals(found.changes, found.same):
        if row["added"] or row["lost"] or row["moved"]:
            table.add_row(*(Text(str(value or "")) for value in row.values()))
    return table


def _changes(changes: Sequence[Change]) -> Table:
    table = listing("customer", "journey", "step", "", "was", "will be", folds=("was", "will be"))
    for change in changes:
        place = (Text(change.user), Text(change.journey), Text(change.step))
        table.add_row(*place, Text(change.kind, KINDS[change.kind]), *map(Text, fates(change)))
    return table


def fates(change: Change) -> tuple[str, str]:
    """What became of a message and what will, in words."""
    was, will = (
        f"{when(at)} by {channel}{f' ({why})' if why else ''}" if at is not None else why
        for at, channel, why in (
            (change.old_at, change.old_channel, change.old_why),
            (change.new_at, change.new_channel, change.new_why),
        )
    )
    return was, will


def _head(found: Messages) -> str:
    """How many messages differ, and over what."""
    kinds = Counter(str(change.kind) for change in found.changes)
    told = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS)
    span = f"{found.span.source}, {when(found.span.start)} to {when(found.span.end)} UTC, {count(found.span.incoming, 'event')}"
    return f"Messages over {span}: {told}, {found.same.total()} the same"


def _inside(stranded: Stranded) -> RenderableType:
    n = sum(n for _, _, n in stranded.places)
    if not n:
        return Text("Nobody inside would be stranded.", "dim")
    lines = [Text(f"{count(n, 'enrollment')} inside would be stranded, whose step isn't there any more:", "red")]
    lines += [Text(f"  {journey} at {step}: {n}") for journey, step, n in stranded.places]
    named = ", ".join(f"{p['user'] or p['enrollment']} ({p['journey']})" for p in stranded.people[:SHOWN])
    lines.append(Text(f"  {named}{' …' if n > SHOWN else ''}", "dim"))
    return Group(*lines)


def write_markdown(found: Diff) -> str:
    """A comment for a pull request: at most LIMIT characters, whole lines."""
    lines = list(_lines(found))
    size = 0
    kept: list[str] = []
    for line in lines:
        if size + len(line) + 1 > LIMIT - 100:
            kept.append(f"\n… and {len(lines) - len(kept)} more lines; `sojourn diff --json` has everything.")
            break
        kept.append(line)
        size += len(line) + 1
    return "\n".join(kept) + "\n"


def _lines(found: Diff) -> Iterator[str]:
    yield f"## Journeys: {_md(found.old)} → {_md(found.new)}"
    if not found:
        yield "\nNothing differs."
    if found.stranded is not None and found.stranded.places:
        yield from _md_inside(found.stranded)
    for journey in found.project.journeys:
        yield f"\n### {_md(journey.journey)}: {journey.kind}\n"
        yield from (f"- {_md(d.told())}" for d in journey.fields)
        for step in journey.steps:
            yield f"- **{step.kind}** `{step.step}` ({_md(_about(step))})"
            yield from (f"  - {_md(d.told())}" for d in step.fields)
    for name, differences in found.project.shared.items():
        yield f"\n### {name}\n"
        yield from (f"- {_md(d.told())}" for d in differences)
    if found.project.templates:
        yield "\n### Templates\n"
        yield from (f"- {_md(name)}: {_md(change)}" for name, change in found.project.templates)
    if found.messages is not None:
        yield f"\n### Messages\n\n{_md(_head(found.messages))}."
        if found.messages.changes:
            yield from _md_messages(found.messages)


def _md_messages(found: Messages) -> Iterator[str]:
    yield "\n| journey | step | added | lost | moved | same |\n| --- | --- | ---: | ---: | ---: | ---: |"
    for row in totals(found.changes, found.same)[:LISTED]:
        if row["added"] or row["lost"] or row["moved"]:
            yield _row([str(value) for value in row.values()])
    yield "\n<details><summary>By customer</summary>\n"
    yield "| customer | journey | step | | was | will be |\n| --- | --- | --- | --- | --- | --- |"
    for change in found.changes[:LISTED]:
        yield _row([change.user, change.journey, change.step, change.kind, *fates(change)])
    more = len(found.changes) - LISTED
    yield f"\n… and {more} more.\n\n</details>" if more > 0 else "\n</details>"


def _md_inside(stranded: Stranded) -> Iterator[str]:
    yield f"\n> [!WARNING]\n> {count(sum(n for _, _, n in stranded.places), 'enrollment')} inside would be stranded."
    yield "\n| journey | step that isn't there any more | inside now |\n| --- | --- | ---: |"
    yield from (_row([journey, step, str(n)]) for journey, step, n in stranded.places[:LISTED])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_md(cell) for cell in cells)} |"


def _md(text: str) -> str:
    """Text as it stands, in a cell too: nothing in it is markup."""
    plain = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in plain)
