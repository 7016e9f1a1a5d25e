"""Tests of journeys on the simulator, as `sojourn test` plays them: what `app.testing.timeline` does on the real engine."""

from __future__ import annotations

from collections.abc import Sequence

from engine.app.testing import simulated
from engine.app.testing.expectations import Line
from engine.app.testing.passages import Passage
from engine.authoring.project import Compiled
from engine.authoring.shape_tests import Test

ADDRESSES = {"email": "email", "sms": "phone", "push": "push_token"}
"""Where the tests' sinks find a customer."""


def played(compiled: Compiled, journeys: Sequence[str], tests: Sequence[Test]) -> list[tuple[Passage, list[Line]]]:
    """Each test with what happened to its customer while its clock ran."""
    return [
        (passage, [x for x in map(simulated.line, told) if x is not None])
        for passage, told in simulated.played(compiled, journeys, tests, ADDRESSES)
    ]
