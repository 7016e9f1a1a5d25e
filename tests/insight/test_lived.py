"""What is read of lives is read once, however many there are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from engine.insight import lived as lives


async def test_lives_of_one_customer_share_what_is_read_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all that any of their plans asks."""
    gone = {"erased_at": None, "emptied": False, "merged": False, "state": None, "ended_at": None}
    rows = [SimpleNamespace(id=n, customer_id=7, plan=f"plan {n % 2}", status="live", last_seq=0, **gone) for n in range(4)]
    for of, name, found in (
        (lives.lived, "enrollments_of", rows),
        (lives.lived, "removes_messages", False),
        *((lives.lived, name, []) for name in ("inputs", "moved", "parkings", "tasks", "brought_about")),
        *((lives.history, name, []) for name in ("messages", "decisions")),
        (lives, "now", None),
    ):
        monkeypatch.setattr(of, name, AsyncMock(return_value=found))
    load = AsyncMock()
    monkeypatch.setattr(lives.People, "load", load)
    deployments: Any = SimpleNamespace(
        current=AsyncMock(return_value=SimpleNamespace(needs=lambda *plans: set(plans))),
        plan=AsyncMock(side_effect=lambda _, h: h),
    )
    found = await lives.read_lives(AsyncMock(), 7, None, deployments)
    load.assert_awaited_once()
    assert ({7}, {"plan 0", "plan 1"}) == (set(load.await_args.args[2]), load.await_args.args[3])
    assert (2, [r.plan for r in rows]) == (deployments.plan.await_count, [life.plan for life in found])
    assert {id(load.return_value)} == {id(life.people) for life in found}
