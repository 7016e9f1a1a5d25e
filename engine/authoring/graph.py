"""A plan drawn as a Mermaid flowchart, with labels that a marketer reads. Only draws: it decides nothing about order."""

from __future__ import annotations

from collections.abc import Iterator

from engine.authoring.world import MOVES
from engine.core.clock import format_duration
from engine.core.occasions import Anniversary, Schedule, told_date, told_schedule
from engine.core.plan import (
    Act,
    Alternative,
    Branch,
    Entry,
    Exit,
    Jump,
    Loop,
    Moment,
    NextChannel,
    Op,
    Plan,
    Send,
    Split,
    Wait,
    WaitFor,
)
from engine.core.wire import load

Edge = tuple[int, str]
"""Where an operation leads, and the words on the arrow."""


def mermaid(plan: Plan) -> str:
    """The flowchart of `plan`, ending in a newline. Jumps aren't drawn; the arrow goes to where they lead."""
    lines = ["flowchart TD", f'  enter(["{_quote(_entry(plan))}"])', f"  enter --> {_node(plan, 0)}"]
    found = set(reached(plan))
    done = not plan.ops or any(_behind(plan, to) >= len(plan.ops) for at in found for to, _ in _edges(plan.ops[at], at))
    for at, op in enumerate(plan.ops):
        if at not in found or isinstance(op, Jump):
            continue
        left, right = _frame(op)
        lines.append(f'  n{at}{left}"{_quote(_label(op))}"{right}')
        seen: set[tuple[str, str]] = set()
        for to, words in _edges(op, at):
            target = _node(plan, to)
            if (target, words) not in seen:
                arrow = f'-->|"{_quote(words)}"|' if words else "-->"
                lines.append(f"  n{at} {arrow} {target}")
            seen.add((target, words))
    if done:
        lines.append('  done(["completed"])')
    for rule in plan.exits:
        words = rule.event or f"if {rule.condition}"
        lines.append(f'  enter -.->|"at any time: {_quote(words)}"| left(["leaves"])')
    return "\n".join(lines) + "\n"


def _behind(plan: Plan, at: int) -> int:
    """The operation that really comes at `at`: jumps followed."""
    hops = 0
    while at < len(plan.ops) and isinstance(jump := plan.ops[at], Jump) and hops <= len(plan.ops):
        at, hops = jump.target, hops + 1
    return at


def _node(plan: Plan, at: int) -> str:
    at = _behind(plan, at)
    return f"n{at}" if at < len(plan.ops) else "done"


def reached(plan: Plan) -> Iterator[int]:
    """The operations that somebody can get to, jumps left out."""
    seen: set[int] = set()
    todo = [_behind(plan, 0)]
    while todo:
        at = todo.pop()
        if at in seen or at >= len(plan.ops):
            continue
        seen.add(at)
        yield at
        todo.extend(_behind(plan, to) for to, _ in _edges(plan.ops[at], at))


def _edges(op: Op, at: int) -> list[Edge]:
    match op:
        case Exit():
            return [(at + 1, "otherwise")] if op.condition else []
        case Jump():
            return [(op.target, "")]
        case NextChannel():
            return [(op.send, "next channel"), (at + 1, "none is left")]
        case Wait():
            past = {"skip": [(op.skip_to, "already past")], "exit": [], "run": []}[op.on_past]
            return [(at + 1, ""), *past, *_skipped(op.condition, op.skip_to)]
        case WaitFor():
            found = [(a.target, awaited(a)) for a in op.alternatives]
            return [*found, (op.on_timeout, f"nothing in {_moment(op.timeout)}"), *_skipped(op.condition, op.skip_to)]
        case Branch():
            return [*((a.target, a.condition) for a in op.arms), (op.otherwise, "else"), *_skipped(op.condition, op.skip_to)]
        case Split():
            total = sum(a.weight for a in op.arms)
            shares = [(a.target, f"{a.name} {(1 - op.holdout) * a.weight / total:.0%}") for a in op.arms]
            held = [(op.skip_to, f"held out {op.holdout:.0%}")] if op.holdout else []
            return [*shares, *held, *_skipped(op.condition, op.skip_to)]
        case Loop():
            return [(at + 1, "again"), (op.done, "enough")]
    return [(at + 1, "")]


def _skipped(condition: str | None, to: int) -> list[Edge]:
    return [(to, "if not")] if condition else []


def _entry(plan: Plan) -> str:
    return f"{plan.journey}: {' or '.join(map(_way, plan.entries))}"


def _way(entry: Entry) -> str:
    """A way in."""
    match entry.kind:
        case "event":
            return f"{entry.event}{f' where {entry.where}' if entry.where else ''}"
        case "broadcast":
            return f"whom {entry.event} concerns"
        case "segment":
            return f"who {'enters' if entry.event == MOVES['enters'] else 'leaves'} {entry.options['segment']}"
        case "schedule":
            return told_schedule(load(Schedule, entry.options["schedule"]))
        case "date":
            return told_date(load(Anniversary, entry.options["date"]))
    return entry.kind


def _frame(op: Op) -> tuple[str, str]:
    match op:
        case Branch() | Split() | Loop() | NextChannel():
            return "{", "}"
        case Wait() | WaitFor():
            return "([", "])"
        case Exit():
            return "((", "))"
    return "[", "]"


def _label(op: Op) -> str:
    only = f" if {op.condition}" if not isinstance(op, (Jump, NextChannel)) and op.condition else ""
    match op:
        case Wait():
            return f"wait {_moment(op.until)}{only}"
        case WaitFor():
            return (
                f"wait for {' or '.join(dict.fromkeys(a.event or a.segment or a.condition or '' for a in op.alternatives))}{only}"
            )
        case Send():
            return f"{', else '.join(op.channels)}: {op.template}{only}"
        case Branch():
            return f"which?{only}"
        case Split():
            return f"split {op.name}{only}"
        case Loop():
            return f"{op.times} times{f', until {op.until}' if op.until else ''}{only}"
        case Exit():
            return f"exit {op.reason}{only}"
        case Act():
            return f"{_act(op)}{only}"
        case NextChannel():
            return "not delivered"
        case Jump():
            return ""


def _act(op: Act) -> str:
    about = {"task": "queue", "call": "url", "emit": "event", "start": "journey"}.get(op.verb)
    return f"{op.verb} {op.fields[about]}" if about else f"set {', '.join(op.fields)}"


def awaited(found: Alternative) -> str:
    """What an alternative waits for."""
    if found.segment:
        return f"in {found.segment}"
    return f"{found.event}{f' where {found.where}' if found.where else ''}" if found.event else found.condition or ""


def _moment(moment: Moment) -> str:
    if moment.after is not None:
        return format_duration(moment.after)
    base = f"until {moment.time_of_day or moment.expression}"
    days = f" on {', '.join(moment.days)}" if moment.days else ""
    if not moment.offset:
        return base + days
    offset = format_duration(moment.offset)
    return base + days + (f" minus {offset[1:]}" if offset.startswith("-") else f" plus {offset}")


def _quote(text: str) -> str:
    """Text as Mermaid takes it inside quotes."""
    marks = {"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "\n": " "}
    return "".join(marks.get(c, c) for c in text.replace("#", "#35;"))
