"""Tests of journeys on the real engine: PostgreSQL and Temporal started for them, those of the same journeys at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Mapping, Sequence

from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from engine.app.ending import ending_on_request
from engine.app.testing.chosen import Chosen, rounds
from engine.app.testing.passages import NobodyFits, NotTaken, Passage
from engine.app.testing.playing import Result
from engine.app.testing.servers import real_servers
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


def _unplayable(compiled: Compiled, chosen: Chosen) -> str:
    """Why no customer can be who a test says, or call as it says; "" where one can."""
    plans = chosen.project(compiled).plans
    try:
        Passage.of(0, chosen.test, compiled.policy, plans).falls(compiled.policy, list(plans.values()), 0)
    except (NobodyFits, NotTaken) as wrong:
        return str(wrong)
    return ""
