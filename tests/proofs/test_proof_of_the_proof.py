"""The search of `test_governance_holds.py` finds what is wrong: with any of these faults put into the engine it goes red."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase

from engine.core import governance
from engine.core.caps import open_book
from engine.core.facts import Verdict
from engine.core.tally import Tally
from engine.delivery import deciding, deliver, queueing, rulings
from engine.store import customers, enrollments, ledger, planned
from tests.proofs.test_governance_holds import STARTS, Governance, explore
from tests.proofs.world import World

Fault = Callable[[pytest.MonkeyPatch], None]
Acts = Callable[[Governance], None]
DAY = timedelta(days=1)
START = STARTS[1]
EVENING = datetime(2026, 6, 3, 18, 59, 40, tzinfo=UTC)
"""Twenty seconds before quiet hours begin in Rome."""


def no_lock(m: pytest.MonkeyPatch) -> None:
    """Two transactions decide for one customer at once."""

    async def lock(c: Any, ids: Any) -> dict[int, Any]:
        found = await customers.fetch(
            c,
            "select id, attributes, restricted, erased_at, merged_into from customers where id = any(:ids) order by id",
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


def nobody_woken(m: pytest.MonkeyPatch) -> None:
    """What becomes free is told to nobody who waits for it."""

    async def nearer(c: Any, deployment: Any, ids: Any, now: Any) -> list[dict[str, Any]]:
        return []

    m.setattr(queueing, "nearer", nearer)
    m.setattr(deliver, "nearer", nearer)


def holds_wake_nobody(m: pytest.MonkeyPatch) -> None:
    """A hold that ends early is told to nobody."""

    async def wake(c: Any, concerned: Any) -> None:
        return None

    m.setattr(enrollments, "wake_deferred", wake)


def told_too_late(m: pytest.MonkeyPatch) -> None:
    """Whoever waits for room is asked for two days after there is some."""

    def decide(*asked: Any) -> Verdict:
        told = governance.decide(*asked)
        return replace(told, until=told.until + 2 * DAY) if told.until is not None and told.reason == "cap" else told

    m.setattr(deciding, "decide", decide)


def given_up_at_once(m: pytest.MonkeyPatch) -> None:
    """What waits for anything but the clock is dropped."""

    def decide(*asked: Any) -> Verdict:
        told = governance.decide(*asked)
        return replace(told, decision="drop", reason="expired", until=None) if told.reason == "cap" else told

    m.setattr(deciding, "decide", decide)


def refused_keeps_its_slot(m: pytest.MonkeyPatch) -> None:
    """A message that the provider refused counts for ever."""
    ruled = rulings.receipt

    def receipt(*told: Any) -> Any:
        row = ruled(*told)
        return {**row, "keep_slot": True} if row["status"] == "refused" else row

    m.setattr(rulings, "receipt", receipt)


def dropped_keeps_its_slot(m: pytest.MonkeyPatch) -> None:
    """A message that held a slot when its journey ended counts for ever."""
    dropped = ledger.drop

    async def drop(c: Any, enrollments: Any, reason: str, detail: str) -> list[int]:
        held = await ledger.fetch(
            c, "select key, slot_at from messages where enrollment_id = any(:ids) and slot_at is not null", ids=list(enrollments)
        )
        told = await dropped(c, enrollments, reason, detail)
        for r in held:
            await ledger.run(c, "update messages set slot_at = :at where key = :key", at=r.slot_at, key=r.key)
        return told

    m.setattr(ledger, "drop", drop)


def stands_in_no_queue(m: pytest.MonkeyPatch) -> None:
    """Whoever waits isn't registered, so that nobody sets a slot aside for it, or wakes it."""
    registered = planned.register

    async def register(c: Any, items: Any) -> None:
        await registered(c, [i for i in items if not i["waiting"]])

    m.setattr(planned, "register", register)


def old_slots_are_kept(m: pytest.MonkeyPatch) -> None:
    """Who holds a slot and is put off keeps it, however long."""
    m.setattr(rulings, "let_old_slot_go", lambda *_: False)


def without(gate: str) -> Fault:
    """One gate isn't asked."""

    def fault(m: pytest.MonkeyPatch) -> None:
        passes = governance.gates.live
        m.setattr(governance, "_ORDER", tuple(passes if g.__name__ == gate else g for g in governance._ORDER))

    return fault


FAULTS: dict[str, tuple[Fault, str]] = {
    "no lock": (no_lock, "more than|handed over twice|was kept for|deadlock"),
    "one too many": (one_too_many, "more than|was kept for"),
    "nothing forgotten": (nothing_forgotten, "registered for ever|overlooked|set aside for"),
    "nobody woken": (nobody_woken, "overlooked"),
    "holds wake nobody": (holds_wake_nobody, "overlooked"),
    "told too late": (told_too_late, "overlooked"),
    "given up at once": (given_up_at_once, "given up too early"),
    "refused keeps its slot": (refused_keeps_its_slot, "has a slot for nothing|slot without a message"),
    "dropped keeps its slot": (dropped_keeps_its_slot, "has a slot for nothing|slot without a message"),
    "stands in no queue": (stands_in_no_queue, "waits in no queue"),
    "old slots are kept": (old_slots_are_kept, "has a slot for nothing|more than"),
    "no precedence": (no_precedence, "was kept for"),
    "no consent": (without("consent"), "against consent"),
    "no holds": (without("hold"), "against a hold"),
    "no quiet hours": (without("quiet_hours"), "in quiet hours"),
}
"""Faults by name, with what the search says of them."""


def enter(*events: str) -> Acts:
    """Ada's events, and all that follows."""

    def acts(m: Governance) -> None:
        for event in events:
            m.meet([("enter", "ada", event)], [0], 0, [])
        m.settle()

    return acts


def told(kind: str, what: Any) -> Acts:
    """One more thing happens to her, and all that follows."""

    def acts(m: Governance) -> None:
        m.meet([(kind, "ada", what)], [0], 0, [])
        m.settle()

    return acts


def answered(answer: str, at: datetime = START, later: timedelta = timedelta()) -> Acts:
    """A letter and an offer to which the provider gives this answer; time passes, and all that follows."""

    def acts(m: Governance) -> None:
        m._move_clock(at)
        m.meet([("enter", "ada", "signed_up")], [0], 0, [])
        m.rush([0, 0, 0], 0, [answer] * 9, None)
        m._move_clock(at + later)

    return acts


FULL = (enter("signed_up", "ordered"),)
"""Two lifecycle messages take the week's two places, and an offer waits."""

LOSING: dict[str, tuple[Acts, ...]] = {
    "nothing forgotten": FULL,
    "nobody woken": (enter("pinged", "pinged", "signed_up"), told("cancelled", 0), told("cancelled", 1)),
    "holds wake nobody": (told("complaint", ("a", True)), enter("signed_up"), told("complaint", ("a", False))),
    "told too late": FULL,
    "given up at once": FULL,
    "refused keeps its slot": (answered("refused"), enter("pinged")),
    "dropped keeps its slot": (answered("soon"), told("cancelled", 0)),
    "stands in no queue": FULL,
    "old slots are kept": (answered("soon", EVENING, timedelta(seconds=30)), enter("pinged")),
}
"""Acts after which a slot is lost, by the fault that loses it."""


def test_a_lost_slot_is_found(tmp_path: Path, database_url: str) -> None:
    """The same few acts pass without the fault and fail with it, for the reason that it gives."""
    world = World(tmp_path, database_url)
    machine = type("Here", (Governance,), {"world": world, "_numbers": itertools.count()})

    def play(name: str) -> None:
        m = machine()
        m.begin("one", START)
        for acts in LOSING[name]:
            acts(m)
        m.teardown()

    try:
        for name in LOSING:
            fault, said = FAULTS[name]
            play(name)
            with pytest.MonkeyPatch.context() as patch:
                fault(patch)
                with pytest.raises(AssertionError, match=said):
                    play(name)
    finally:
        world.close()


@pytest.mark.nightly
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the examples of a small search."""
    fault, said = FAULTS[name]
    fault(monkeypatch)
    with pytest.raises(AssertionError, match=said):
        explore(tmp_path, database_url, 60, 30, derandomize=True, phases=[Phase.generate])
