"""A channel that gets through few of a cohort at a time isn't given everybody each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.core.enrollment import Command
from engine.core.plan import Plan
from engine.delivery import deliver
from engine.delivery.deliver import Delivery
from tests.harness import running, write_project
from tests.letters import letter

PEOPLE, AT_ONCE = 240, 20


async def test_a_slow_channel_is_given_what_it_gets_through(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty at a time, of 240: everybody gets the letter once, and few are handed over in vain."""
    given: list[int] = []
    really = Delivery.deliver

    async def counted(self: Delivery, channel: str, plan: Plan, members: Sequence[tuple[int, Command]]) -> Any:
        given.append(len(members))
        return await really(self, channel, plan, members)

    monkeypatch.setattr(Delivery, "deliver", counted)
    monkeypatch.setattr(deliver, "SOFT_LIMIT_SECONDS", 0.0)  # a chunk of the channel's own concurrency is all of a turn
    folder = write_project(tmp_path, {"journeys/letter.yaml": letter("letter")})
    async with running(folder, database_url, temporal_address, task_queue_prefix, partitions=1) as sojourn:
        users = [f"u{i}" for i in range(PEOPLE)]
        await sojourn.accept([sojourn.known(u) for u in users])
        sojourn.email.capabilities = replace(sojourn.email.capabilities, concurrency=AT_ONCE)
        await sojourn.accept([sojourn.event(u, "signed_up") for u in users])
        await sojourn.settled(60)
        assert {"sent": PEOPLE} == await sojourn.statuses()
        assert PEOPLE == len(sojourn.email.seen)
        assert PEOPLE == given[0]
        assert sum(given[1:]) <= 1.5 * PEOPLE
