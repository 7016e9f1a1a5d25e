"""`replay --customer`: what one customer lived through, step by step, and the prompt that stops after each step. Reads only."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from engine.cli.located import Located
from engine.cli.terminal import Code, Failure, out, print_json

if TYPE_CHECKING:
    from engine.app.reliving import Past
    from engine.authoring.project import Compiled
    from engine.core.plan import Plan
    from engine.insight.retracing import Retraced
    from engine.insight.transitions import Transition
    from engine.simulator.told import Told
    from engine.store.database import Connection

HELP = "n(ext) · c(ontinue) · s(tate) · p(lan) [OPERATION] · q(uit)"
BASES = {"recorded": "green", "follows": "dim", "recomputed": "yellow", "assumed": "red"}


class Prompt:
    """Stops after each step and shows what is asked for, until somebody says `continue`. End of input continues, too."""

    def __init__(self, asks: bool) -> None:
        self.asks = asks

    def stop(self, shown: dict[str, Callable[[str], str]]) -> None:
        """Ask until it is to go on. `shown`: a word's first letter → what it shows, given what stands behind it. Raises Exit."""
        while self.asks:
            out.print(Text("(replay) ", "bold"), end="")
            line = sys.stdin.readline()
            if not sys.stdin.isatty():
                out.print(line.strip())
            word, _, rest = line.strip().partition(" ")
            if not line or word in ("c", "continue"):
                self.asks = False
            elif word in ("", "n", "next"):
                return
            elif word in ("q", "quit"):
                raise typer.Exit(Code.FINE)
            elif word and word in _words(shown):
                out.print(shown[word[0]](rest.strip()), markup=False, soft_wrap=True)
            else:
                out.print(HELP, style="dim")


def _words(shown: dict[str, Any]) -> set[str]:
    whole = {"s": "state", "p": "plan"}
    return {*shown, *(whole[letter] for letter in shown)}


def replay_customer(
    located: Located, customer: str, journey: str | None, through: Path | None, *, step: bool, as_json: bool
) -> None:
    """Replay a customer's enrollments as they are recorded, or their events `through` another project. Raises Exit with 1 where
    an enrollment ends otherwise."""
    if step and as_json:
        raise Failure("--step is for people: it doesn't go with --json")
    if through is not None:
        _relive(located, customer, journey, through, Prompt(step), as_json=as_json)
        return
    told = _retraced(located, customer, journey)
    if as_json:
        print_json([r.to_json() for r in told])
    elif not told:
        there = f" in {journey}" if journey is not None else ""
        out.print(f"no enrollment of theirs{there} is recorded", style="dim", markup=False)
    else:
        prompt = Prompt(step)
        for one in told:
            _show(one, prompt)
    raise typer.Exit(Code.NO if any(r.differs for r in told) else Code.FINE)


def _retraced(located: Located, customer: str, journey: str | None) -> list[Retraced]:
    from engine.delivery.deployments import Deployments
    from engine.insight.finding import check_journey, find_customer
    from engine.insight.lived import read_lives
    from engine.insight.retracing import retrace
    from engine.store import identities

    async def act(c: Connection) -> list[Retraced]:
        if journey is not None:
            await check_journey(c, journey)
        found = await identities.survivor(c, await find_customer(c, customer))
        return [retrace(life) for life in await read_lives(c, found, journey, Deployments())]

    return located.in_transaction(act)


def _relive(located: Located, customer: str, journey: str | None, through: Path, prompt: Prompt, *, as_json: bool) -> None:
    """What would have happened with other plans."""
    from engine.app.offline import addresses_of
    from engine.app.reliving import NoPlan, compiled_with, read_past, relive, sentence
    from engine.insight.finding import find_customer
    from engine.settings.problems import nearest
    from engine.store import identities

    async def read(c: Connection) -> Past:
        return await read_past(c, await identities.survivor(c, await find_customer(c, customer)))

    try:
        compiled = compiled_with(located.folder, through, located.settings.channels)
    except NoPlan as wrong:
        raise Failure(str(wrong), wrong.hint) from None
    if journey is not None and journey not in compiled.plans:
        raise Failure(f"{through} has no journey {journey!r}", nearest(journey, compiled.plans))
    done = relive(compiled, located.in_transaction(read), journey, addresses_of(located.settings))
    if as_json:
        print_json(done.to_json())
        return
    left_out = (f"left out, the whole life is played on these plans: {what}" for what in done.moves)
    for line in (*done.missing, *(f"not taken in: {what}" for what in done.refused), *left_out):
        out.print(f"  {line}", style="yellow", markup=False, soft_wrap=True)
    for told in done.told:
        out.print(Text.assemble((f"{moment_of(told.at)}  ", "dim"), sentence(told)), soft_wrap=True)
        prompt.stop({"s": partial(_fields, told), "p": partial(_planned, compiled, told)})
    for word, places, style in (("more", done.added, "green"), ("less", done.gone, "red")):
        for (name, at), n in places:
            out.print(f"  {word} than recorded: {n} × {name} {at}", style=style, markup=False, soft_wrap=True)
    out.print(f"  {done.same} messages as recorded, {sum(n for _, n in done.added)} more, {sum(n for _, n in done.gone)} less")


def _show(told: Retraced, prompt: Prompt) -> None:
    """One enrollment, for people."""
    plan = told.life.plan
    out.print(Text(f"enrollment {told.life.id} in {plan.journey} (plan {plan.hash})", "bold"))
    for reason in told.missing:
        out.print(f"  {reason}", style="yellow", markup=False, soft_wrap=True)
    for transition in told.transitions:
        out.print(_line(transition), soft_wrap=True)
        prompt.stop({"s": partial(_state, transition), "p": partial(_operation, transition)})
    out.print(*_verdict(told), soft_wrap=True)


def moment_of(at: datetime) -> str:
    """To the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _line(t: Transition) -> Text:
    from engine.insight.transitions import asked

    text = Text.assemble((f"{moment_of(t.at)}  ", "dim"), t.what)
    text.append(f" [{t.basis}]", BASES[t.basis])
    if t.words:
        text.append(f" {t.words}", "dim")
    text.append(f"\n    {t.way[0]} → {t.way[1]}")
    for command in t.commands:
        text.append(f"\n    asks: {asked(t.plan, command)}", "cyan")
    return text


def _verdict(told: Retraced) -> Sequence[Text]:
    if told.differs:
        return [Text("\n".join(f"  differs: {what}" for what in told.differs), "red")]
    if told.exact:
        return [Text("  as recorded: each step rests on the record, or follows from the plan", "green")]
    unsure = sum(t.basis in ("recomputed", "assumed") for t in told.transitions)
    verdict = "as recorded" if told.compared else "not compared with the end, because it was moved"
    return [Text(f"  {verdict}; {unsure} of {len(told.transitions)} steps rest on today's data or on nothing", "yellow")]


def _state(t: Transition, rest: str) -> str:
    """The state after a step, field by field."""
    return _fields(t.after, rest)


def _fields(value: Any, _: str) -> str:
    """The fields of a value that say something."""
    found = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return "\n".join(f"  {name}: {one}" for name, one in found.items() if one not in (None, (), "", False))


def _operation(t: Transition, number: str) -> str:
    """An operation of the plan: the one that the step leads to, or the one of this number."""
    return _op(t.plan, t.after.op, number)


def _planned(compiled: Compiled, told: Told, number: str) -> str:
    """The same of a plan that is played."""
    return _op(compiled.plans[told.journey], max(0, told.op), number)


def _op(plan: Plan, at: int, number: str) -> str:
    from engine.core.plan import plan_to_json

    ops = plan_to_json(plan)["ops"]
    if number and not (number.isascii() and number.isdigit() and int(number[:6]) < len(ops)):
        return f"the plan has operations 0 to {len(ops) - 1}"
    at = int(number) if number else at
    return f"  {at}: {json.dumps(ops[at], ensure_ascii=False)}" if at < len(ops) else "the end"
