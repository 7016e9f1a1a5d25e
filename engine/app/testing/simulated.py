"""Tests of journeys on the simulator: what `timeline` does on the real engine, in memory and at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC

from engine.app.offline import stand_ins
from engine.app.testing.expectations import Line
from engine.app.testing.passages import BEFORE, NotTaken, Passage, begins
from engine.authoring.project import Compiled
from engine.authoring.shape_tests import Test
from engine.core.brief import brief
from engine.simulator.play import Call, Play
from engine.simulator.stage import Answer
from engine.simulator.told import Told

TRIES = 50
"""So often a call may fail after the last event of a test: it would be tried again for ever, and nothing else is to come."""


class _Enough(Exception):
    """Nothing happens any more but calls that fail again and again."""


def line(told: Told) -> Line | None:
    """What happened as a line of `expectations`; None for what no test can list or would care to see."""
    about = {"at": told.at, "journey": told.journey}
    match told.kind:
        case "send":
            return {**about, "send": told.channel, "template": told.template, "text": told.text}
        case "drop" | "defer":
            why = {"reason": told.reason, "words": brief(told.reason, told.rule, told.topic)}
            until = {"until": told.until} if told.kind == "defer" else {}
            return {**about, told.kind: told.channel, "template": told.template, **why, **until}
        case "task":
            return {**about, "task": told.reason, "title": told.title}
        case "call":
            return {**about, "call": told.reason, "status": f"{told.value:.0f}"}
        case "exit" | "parked":
            return {**about, told.kind: told.reason}
    return None


def played(
    compiled: Compiled, journeys: Sequence[str], tests: Sequence[Test], addresses: Mapping[str, str]
) -> list[tuple[Passage, list[Told]]]:
    """Each test with all that happened to its customer while its clock ran, in order of time. `addresses`: channel → the
    attribute that it sends to. Raises NobodyFits and NotTaken."""
    plans = {name: compiled.plans[name] for name in journeys}
    passages = [Passage.of(n, t, compiled.policy, plans) for n, t in enumerate(tests)]
    happened: dict[int, list[Told]] = {}
    start = min(begins(t, compiled.policy) for t in tests).astimezone(UTC) - BEFORE
    of = {p.user: p for p in passages}
    failed = 0
    over = False

    def answer(call: Call) -> Answer:
        nonlocal failed
        status, body = of[call.user].answer(call.url)
        failed += status >= 300
        if over and failed > TRIES:
            raise _Enough
        return Answer(status, body)

    def tell(told: Told) -> None:
        happened.setdefault(told.customer, []).append(told)

    with stand_ins(plans.values()):
        play = Play(compiled, journeys=journeys, start=start, calls=answer, tell=tell, addresses=addresses, repeats=True)
        taken = 0
        for passage in passages:
            taken = passage.falls(compiled.policy, list(plans.values()), taken)
            play.known(passage.user, taken)
            play.take(passage.introduction())
        coming = sorted(((at, p.user, item) for p in passages for at, item in p.coming), key=lambda c: c[:2])
        play.take(item for _, _, item in coming)
        over, failed = True, 0
        ends = [p.until for p in passages if p.until is not None]
        with suppress(_Enough):
            play.run(max(ends) if len(ends) == len(passages) else None)
    for item, why in play.refused:
        raise NotTaken(f"{item.name or item.kind} isn't taken: {why}")
    return [(p, sorted((t for t in happened.get(p.customer, ()) if p.watched(t.at)), key=lambda t: t.at)) for p in passages]
