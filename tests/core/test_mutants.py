"""Small changes of the clock and the gates don't go unnoticed, and those that do are explained in `mutants.md`."""

from __future__ import annotations

import pytest

from tests.core import mutating

EXPLAINED = mutating.explained()


@pytest.mark.nightly
def test_nine_of_ten_mutants_are_killed_and_the_others_explained() -> None:
    """Of each module alone. A survivor that `mutants.md` doesn't explain is shown as the change that no test noticed."""
    outcome = mutating.run()
    print(outcome)
    assert set(mutating.MODULES) == set(outcome.counts)
    assert [] == [module for module in outcome.counts if outcome.killed(module) < 0.9]
    assert [] == [survivor for survivor in outcome.survivors if survivor not in EXPLAINED]


@pytest.mark.parametrize("change", EXPLAINED)
def test_an_explained_mutant_is_of_a_line_that_is_still_there(change: str) -> None:
    """What the code no longer says needs no explanation."""
    place, *lines = change.splitlines()
    module = (mutating.ROOT / "engine" / "core" / f"{place.partition('.')[0]}.py").read_text()
    assert [line[2:] for line in lines if line.startswith("- ") and line[2:] in module]
