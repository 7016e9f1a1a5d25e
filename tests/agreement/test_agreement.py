"""The simulator and the real engine do the same: random journeys, random lives, message by message.

The real engine is PostgreSQL, a time-skipping Temporal server, intake, relay, worker and gates; both get the same project and the
same events, and tell the same lines.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from temporalio.testing import WorkflowEnvironment

from engine.app.testing import simulated
from engine.app.testing.expectations import TOLERANCE, Line, kind
from engine.app.testing.timeline import timeline
from engine.authoring.project import AuthoringError, Compiled, load_project
from engine.authoring.shape_tests import Test as Written
from engine.core.plan import Op, WaitFor
from engine.simulator.told import TIMEOUT
from tests import servers
from tests.harness import write_project
from tests.simulator.played import ADDRESSES, played
from tests.simulator.strategies import FIRST, Project, projects

AT_ONCE = 5
"""Journeys of one project, which share customers, caps and holds."""

UNTIL = FIRST + timedelta(days=14)
"""The clocks' end. What is drawn has come to its own by then, almost always."""

Happened = dict[tuple[str, ...], list[datetime]]
"""What happened (kind, journey, channel or reason, template, reason, text) → when, in order."""


def drawn(number: int, folder: Path) -> tuple[Project, Compiled]:
    """The project of this number, always the same, written to `folder`. What `validate` refuses is drawn anew."""
    found: list[tuple[Project, Compiled]] = []

    @seed(number)
    @settings(max_examples=2, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(projects(AT_ONCE))
    def draw(project: Project) -> None:
        try:
            found.append((project, load_project(write_project(folder, project.files), {"email", "sms", "push"})))
        except AuthoringError:
            reject()

    draw()
    return found[-1]  # the first one drawn is the smallest there is


def happened(lines: Sequence[Line]) -> Happened:
    """The lines of one customer, without what differs from run to run: links, and in which order things of a moment came."""
    found: Happened = defaultdict(list)
    for line in lines:
        which = kind(line)
        if which in ("defer", "call") or line.get("reason") == "live":
            # The real engine asks again as often as it is early by a moment; and whether a message had been asked for already
            # when its journey ended at that very moment is chance there.
            continue
        text = re.sub(r"https?://\S+", "…", line.get("text", ""))
        about = (which, *(str(line.get(name, "")) for name in (which, "journey", "template", "reason", "title")), text)
        found[about].append(line["at"])
    return {about: sorted(moments) for about, moments in found.items()}


def differences(real: Happened, simulated: Happened) -> list[str]:
    """What only one of the two did, or did at another time."""
    found = []
    for about in sorted({*real, *simulated}):
        one, other = real.get(about, []), simulated.get(about, [])
        near = len(one) == len(other) and all(abs(a - b) <= TOLERANCE for a, b in zip(one, other, strict=True))
        if not near:
            found.append(f"{about}: {[str(at) for at in one]} on the real engine, {[str(at) for at in other]} on the simulator")
    return found


async def both(project: Project, compiled: Compiled, environment: WorkflowEnvironment, prefix: str) -> tuple[list[str], int]:
    """What differs between the two, and how many messages were sent or dropped."""
    tests = [Written.model_validate({**t, "until": UNTIL.isoformat()}) for t in project.tests]
    there = {p.user: happened(lines) for p, lines in played(compiled, project.journeys, tests)}
    wrong, messages = [], 0
    with servers.fresh_database() as url:
        on_servers = partial(timeline, channels=ADDRESSES, database_url=url, environment=environment, prefix=prefix)
        async with on_servers(compiled, project.journeys, tests) as real:
            await real.play()
            for passage in real.passages:
                here = happened(await real.lines(passage))
                messages += sum(len(moments) for about, moments in here.items() if about[0] in ("send", "drop"))
                wrong += [f"{passage.user}: {d}" for d in differences(here, there[passage.user])]
    return wrong, messages


def numbers() -> list[object]:
    """Ten projects (50 journeys) in every run, a hundred (500) in the nightly one."""
    return [pytest.param(n, marks=[pytest.mark.nightly] if n >= 10 else []) for n in range(100)]


@pytest.mark.parametrize("number", numbers())
async def test_both_do_the_same(number: int, tmp_path: Path, skipping: WorkflowEnvironment, task_queue_prefix: str) -> None:
    """Messages (by channel, template, words and reason), tasks and ends are the same, to two minutes."""
    wrong, messages = await both(*drawn(number, tmp_path), skipping, task_queue_prefix)
    assert [] == wrong
    assert messages or number >= 10, "those of every run say something"


@pytest.mark.parametrize("number", [71])
def test_nothing_is_sent_in_at_the_moment_at_which_a_wait_for_it_is_over(number: int, tmp_path: Path) -> None:
    """Which of the two comes first is chance on the real engine: what is drawn keeps an `emit` and such an end apart."""
    project, compiled = drawn(number, tmp_path)
    tests = [Written.model_validate({**t, "until": UNTIL.isoformat()}) for t in project.tests]
    for _, told in simulated.played(compiled, project.journeys, tests, ADDRESSES):
        over = {t.at for t in told if t.choice == TIMEOUT and noted(compiled.plans[t.journey].ops[t.op])}
        assert set() == over & {t.at for t in told if t.kind == "emit"}


def noted(op: Op) -> bool:
    """Whether this is a wait for what journeys send in."""
    return isinstance(op, WaitFor) and any(one.event == "noted" for one in op.alternatives)


def test_a_difference_is_told() -> None:
    """What only one did, did otherwise or at another time differs; a link and two minutes don't."""
    line: Line = {"at": FIRST, "send": "email", "journey": "j0", "template": "hello", "text": "Hi https://a.example/u/1"}
    ended: Line = {"at": FIRST, "drop": "email", "journey": "j0", "template": "hello", "reason": "expired"}
    here = happened([line, ended])
    assert [] == differences(here, happened([{**line, "text": "Hi https://b.example/u/2"}, ended]))
    assert [] == differences(here, happened([{**line, "at": FIRST + TOLERANCE}, ended]))
    others: list[Line] = [
        {**line, "at": FIRST + 2 * TOLERANCE},
        {**line, "send": "sms"},
        {**line, "text": "Hello"},
        {**line, "template": "again"},
    ]
    for other in others:
        assert differences(here, happened([other, ended]))
    assert differences(here, happened([ended]))
    assert differences(here, happened([line, line, ended]))
    assert differences(here, happened([line, {**ended, "reason": "cap"}]))
