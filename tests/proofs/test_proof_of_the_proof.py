"""The search of `test_governance_holds.py` finds what is wrong: with any of these faults put into the engine it goes red."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase

from engine.core import governance
from engine.core.caps import open_book
from engine.core.tally import Tally
from engine.store import customers, planned
from tests.proofs.test_governance_holds import explore

Fault = Callable[[pytest.MonkeyPatch], None]


def no_lock(m: pytest.MonkeyPatch) -> None:
    """Two transactions decide for one customer at once."""

    async def lock(c: Any, ids: Any) -> dict[int, Any]:
        found = await customers.fetch(
            c,
            "select id, attributes, restricted, erased_at from customers where id = any(:ids) order by id",
            ids=sorted(set(ids)),
        )
        return {r.id: r for r in found}

    m.setattr(customers, "lock", lock)


def one_too_many(m: pytest.MonkeyPatch) -> None:
    """A cap counts one less than there is."""
    counted = Tally.rolling
    m.setattr(Tally, "rolling", lambda self, now: counted(self, now) - 1)


def nothing_forgotten(m: pytest.MonkeyPatch) -> None:
    """Registrations stay."""

    async def forget(c: Any, enrollments: Any) -> dict[int, int]:
        return {}

    m.setattr(planned, "forget", forget)


def no_precedence(m: pytest.MonkeyPatch) -> None:
    """Nothing is set aside for anybody."""
    m.setattr(governance, "ahead", lambda case, now: open_book(case.policy, case.facts.slots, case.zone))


def without(gate: str) -> Fault:
    """One gate isn't asked."""

    def fault(m: pytest.MonkeyPatch) -> None:
        passes = governance.gates.live
        m.setattr(governance, "_ORDER", tuple(passes if g.__name__ == gate else g for g in governance._ORDER))

    return fault


FAULTS: dict[str, tuple[Fault, str]] = {
    "no lock": (no_lock, "more than|handed over twice|was kept for|deadlock"),
    "one too many": (one_too_many, "more than|was kept for"),
    "nothing forgotten": (nothing_forgotten, "registered for ever|overlooked"),
    "no precedence": (no_precedence, "was kept for"),
    "no consent": (without("consent"), "against consent"),
    "no holds": (without("hold"), "against a hold"),
    "no quiet hours": (without("quiet_hours"), "in quiet hours"),
}
"""Faults by name, with what the search says of them."""


@pytest.mark.nightly
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the examples of a small search."""
    fault, said = FAULTS[name]
    fault(monkeypatch)
    with pytest.raises(AssertionError, match=said):
        explore(tmp_path, database_url, 60, 30, derandomize=True, phases=[Phase.generate])
