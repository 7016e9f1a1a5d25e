"""Tests of journeys on the real engine: PostgreSQL and Temporal started for them, those of the same journeys at once."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from functools import partial

from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from engine.app.ending import ending_on_request
from engine.app.testing.chosen import Chosen, rounds
from engine.app.testing.expectations import compared
from engine.app.testing.passages import NobodyFits, NotTaken, Passage
from engine.app.testing.playing import Result
from engine.app.testing.servers import Servers, real_servers
from engine.app.testing.timeline import Restless, timeline
from engine.authoring.project import Compiled
from engine.observe.quiet import quiet


def play_for_real(compiled: Compiled, chosen: Sequence[Chosen], channels: Mapping[str, str]) -> Generator[Result, None, None]:
    """Play on the real engine, tests of the same journeys at once. `channels`: name → the attribute that it sends to. Raises
    ServerError."""
    words = TelemetryConfig(logging=LoggingConfig(TelemetryFilter(core_level="ERROR", other_level="ERROR")))
    Runtime.set_default(Runtime(telemetry=words), error_if_already_set=False)  # it warns of what the test server hasn't got
    # Where time jumps, cohorts are over at times with members who live: of that the relay warns, and nobody need know here.
    with ending_on_request(), quiet("sojourn.relay", logging.ERROR), asyncio.Runner() as runner, real_servers(runner) as servers:
        for together in rounds(compiled, chosen):
            fitting = []
            for c in together:
                if wrong := _unplayable(compiled, c):
                    yield Result(c, compiled.policy.timezone, wrong=wrong)
                else:
                    fitting.append(c)
            yield from runner.run(_together(servers, channels, compiled, fitting))


async def _together(servers: Servers, channels: Mapping[str, str], compiled: Compiled, chosen: Sequence[Chosen]) -> list[Result]:
    """Tests of one round. Where something is wrong that stops them all, each is played alone, so that it is that one's."""
    if not chosen:
        return []
    began = time.monotonic()
    on_servers = partial(timeline, database_url=servers.database(), environment=servers.environment, channels=channels)
    project, tests = chosen[0].project(compiled), [c.test for c in chosen]
    try:
        async with on_servers(project, chosen[0].journeys, tests, prefix=f"test-{secrets.token_hex(6)}") as moved:
            await moved.play()
            lines = [await moved.lines(p) for p in moved.passages]
    except (NotTaken, Restless) as wrong:
        if len(chosen) == 1:
            return [Result(chosen[0], project.policy.timezone, wrong=str(wrong), seconds=time.monotonic() - began)]
        return [r for c in chosen for r in await _together(servers, channels, compiled, [c])]
    share = (time.monotonic() - began) / len(chosen)
    return [
        Result(c, p.zone.key, compared(c.test.expect, found, p.zone), seconds=share)
        for c, p, found in zip(chosen, moved.passages, lines, strict=True)
    ]


def _unplayable(compiled: Compiled, chosen: Chosen) -> str:
    """Why no customer can be who a test says, or call as it says; "" where one can."""
    plans = chosen.project(compiled).plans
    try:
        Passage.of(0, chosen.test, compiled.policy, plans).falls(compiled.policy, list(plans.values()), 0)
    except (NobodyFits, NotTaken) as wrong:
        return str(wrong)
    return ""
