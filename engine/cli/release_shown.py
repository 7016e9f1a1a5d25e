"""What a release does, for people and for machines: which journeys change, what becomes of those inside, who enters by what."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from engine.cli.shown import listing
from engine.cli.terminal import out, show_table

if TYPE_CHECKING:
    from engine.app.release import Change, Changes, Fate, Release

KINDS = {"new": "green", "changed": "yellow", "same": "dim", "gone": "red"}
SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": "^"}

OLD, TRIED, ALREADY = " (they finish on the old plan)", " (they finish on the plan that was tried)", " (on the new plan already)"


def unchanged(changes: Changes) -> str:
    """What to say where there is nothing to put in force."""
    return f"nothing has changed since deployment {changes.since}"


def summary(changes: Changes) -> str:
    """What to add where nobody finds a change in the table."""
    if any(not c.nothing() for c in changes.journeys):
        return ""
    return "; no journey changed" + (f", but {', '.join(name for name, _ in changes.shared)}" if changes.shared else "")


def show_release(release: Release) -> None:
    """Which deployment of the past it is, and what of it isn't done again."""
    if release.told:
        out.print(release.told, markup=False, soft_wrap=True)
    if release.untried:
        told = f"what was on trial with it ({', '.join(release.untried)}) isn't tried again: `sojourn deploy --canary` does that"
        out.print(told, style="yellow", markup=False, soft_wrap=True)


def show_changes(changes: Changes) -> None:
    """A table: each journey, what happens to it, and to whom that is inside; what is other in the steps; what journeys share."""
    table = listing("journey", "change", "inside now", folds=("inside now",))
    trial = any(change.canary is not None for change in changes.journeys)
    for change in changes.journeys:
        table.add_row(change.journey, f"[{KINDS[change.kind]}]{change.kind}[/]", Text(_inside(change, trial)))
    show_table(table)
    for change in changes.journeys:
        told = [f"{SIGNS[s.kind]} {s.step}" + (f" ({', '.join(s.fields)})" if s.fields else "") for s in change.steps]
        told += [f"~ {name}" for name in change.head]
        if told:
            out.print(f"{change.journey}: {', '.join(told)}", markup=False, soft_wrap=True)
    for name, kind in changes.shared:
        out.print(Text.assemble(f"{name} ", (kind, KINDS[kind]), ", for those inside too"), soft_wrap=True)
    if any(_remark(change, fate) == TRIED for change in changes.journeys if change.canary is None for fate in change.fates):
        told_so = "--strategy migrate brings those along who entered on a plan that was tried"
        out.print(told_so, style="dim", markup=False, soft_wrap=True)


def _inside(change: Change, trial: bool) -> str:
    """Who is inside a journey, what becomes of them, and who enters from now on. `trial`: some journey has a canary."""
    told: dict[str, dict[str, int]] = {}
    for fate in change.fates:
        step = fate.step or "its beginning"
        to = "" if fate.becomes != "moves" else f" → {fate.to}" if fate.to else " → their next step"
        place = f"{step}{to}{' (the new plan has no such step)' if fate.becomes == 'stranded' else ''}"
        there = told.setdefault(_remark(change, fate), {})
        there[place] = there.get(place, 0) + fate.count
    groups = (f"{', '.join(f'{n} at {place}' for place, n in sorted(told[r].items()))}{r}" for r in sorted(told))
    inside = "; ".join(groups)
    stands = f"paused until `sojourn resume {change.journey}`" if change.paused else ""
    if change.kind == "gone":
        said = [f"{inside or 'nobody'} (enrolls nobody any more)", stands]
    else:
        said = [inside, _entering(change, trial), _drained(change), stands]
    return "; ".join(part for part in said if part)


def _remark(change: Change, fate: Fate) -> str:
    """On which plan they finish who stay where they are, where that goes without saying it is ""."""
    if fate.becomes != "stays" or change.kind in ("new", "gone"):
        return ""
    if fate.plan == change.new:
        return ALREADY if change.kind == "changed" else ""
    return TRIED if fate.plan == change.tried else OLD if change.kind == "changed" else ""


def _entering(change: Change, trial: bool) -> str:
    """Which plan those get who enter, where that is other than before, or than of other journeys, and somebody can."""
    if change.strategy == "drain" and change.canary is None:
        return ""
    over = "" if change.tried in (None, change.new, change.old) else ", and nobody the one that was tried"
    if change.canary is not None:
        so_far = f" ({100 * change.was_canary:g}% so far)" if change.was_canary is not None and change.tried == change.new else ""
        return f"{100 * change.canary:g}% of new entries get the new plan{so_far}{over}"
    if change.was_canary is not None or (trial and change.kind == "changed"):
        return "all new entries get this plan again" if change.kind == "same" else f"all new entries get the new plan{over}"
    return ""


def _drained(change: Change) -> str:
    if change.strategy == "drain":
        return "takes nobody in"
    return "takes people in again" if change.was_drained else ""


def plain(changes: Changes) -> dict[str, Any]:
    """What a release does, for machines."""
    return {
        "changes": [{**asdict(c), "inside": dict(c.inside)} for c in changes.journeys],
        "shared": [{"name": name, "change": kind} for name, kind in changes.shared],
        "moves": sum(c.moves() for c in changes.journeys),
    }
