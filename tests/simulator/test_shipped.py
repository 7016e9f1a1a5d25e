"""Every journey that ships, on the simulator, by the tests that stand next to it."""

from __future__ import annotations

import pytest

from engine.app.testing.expectations import compared
from tests.journeys.test_shipped import shipped, together
from tests.simulator.played import played


@pytest.mark.parametrize("name", together())
def test_a_journey_does_on_the_simulator_what_its_tests_say(name: str) -> None:
    """Messages, tasks and exits come as listed, in order, to the minute, and nothing comes beside them."""
    chosen = together()[name]
    found = played(shipped(), chosen[0].journeys, [c.test for c in chosen])
    told = {p.test.test: compared(p.test.expect, lines, p.zone) for p, lines in found}
    assert len(chosen) == len(told)
    assert {} == {title: rows for title, rows in told.items() if any(row.wrong for row in rows)}
