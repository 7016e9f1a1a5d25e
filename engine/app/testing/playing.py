"""Tests in, results out, on the simulator; `for_real` does the same on the real engine, with the same expectations."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from engine.app.testing.chosen import Chosen
from engine.app.testing.expectations import Row, compared
from engine.app.testing.passages import NobodyFits, NotTaken
from engine.app.testing.simulated import line, played
from engine.authoring.project import Compiled
from engine.simulator.told import Told


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one test. `rows`: what was expected beside what happened, in the zone `zone`. `wrong`: why it couldn't be
    played at all, "" where it could. `seconds`: real ones; of tests that were played together each has its share. `told`: all
    that happened, on the simulator."""

    chosen: Chosen
    zone: str
    rows: Sequence[Row] = ()
    wrong: str = ""
    seconds: float = 0.0
    told: Sequence[Told] = ()

    @property
    def passed(self) -> bool:
        """Whether all that was expected happened, and nothing beside it."""
        return not self.wrong and not any(row.wrong for row in self.rows)


def play(compiled: Compiled, chosen: Sequence[Chosen], channels: Mapping[str, str]) -> Generator[Result, None, None]:
    """Play on the simulator, each test by itself. `channels`: name → the attribute that it sends to."""
    for c in chosen:
        began = time.monotonic()
        try:
            ((passage, told),) = played(c.project(compiled), c.journeys, [c.test], channels)
        except (NobodyFits, NotTaken) as wrong:
            result = Result(c, compiled.policy.timezone, wrong=str(wrong), seconds=time.monotonic() - began)
        else:
            lines = [x for x in map(line, told) if x is not None]
            rows = compared(c.test.expect, lines, passage.zone)
            result = Result(c, passage.zone.key, rows, seconds=time.monotonic() - began, told=told)
        yield result
