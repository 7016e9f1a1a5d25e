"""Entering a journey: again, while it runs, in one batch and in several. At most one lives per customer, journey and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Running, running, write_project


def journey(rules: str) -> str:
    """A journey that waits for a month, entered under these rules."""
    return f"""
    journey: month
    tier: lifecycle
    enter: {{event: signed_up, {rules}}}
    exit: [{{event: cancelled}}]
    steps:
      - wait: 30d
        id: month
    """


async def enter(sojourn: Running, times: int, together: bool) -> None:
    """`times` entries of one customer, in one batch or one by one."""
    events = [sojourn.event("ada", "signed_up") for _ in range(times)]
    for batch in [events] if together else [[e] for e in events]:
        await sojourn.accept(batch)


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "several"])
@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("again: always", {("live", ""): 1}),
        ("again: never", {("live", ""): 1}),
        ("again: always, while_active: restart", {("live", ""): 1, ("ended", "restarted"): 2}),
        ("again: always, while_active: parallel", {("live", ""): 3}),
    ],
    ids=["ignore", "never", "restart", "parallel"],
)
async def test_the_same_key_while_it_runs(
    rules: str,
    found: dict[tuple[str, str], int],
    together: bool,
    tmp_path: Path,
    database_url: str,
    temporal_address: str,
    task_queue_prefix: str,
) -> None:
    """Three entries of one customer: ignored, restarted or side by side, alike in one batch and in three."""
    folder = write_project(tmp_path, {"journeys/month.yaml": journey(rules)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await enter(sojourn, 3, together)
        rows = await sojourn.query("select status, reason, count(*) as n from enrollments group by 1, 2")
        assert found == {(r.status, r.reason): r.n for r in rows}
        await sojourn.waiting_in("month", found[("live", "")])
        await sojourn.track("ada", "cancelled")
        await sojourn.settled()
        await sojourn.relayed()


@pytest.mark.parametrize(
    ("rules", "count"), [("again: never", 1), ("again: always", 2), ("again: after 30d", 1), ("again: after 1s", 2)]
)
async def test_who_has_left_comes_back_as_again_says(
    rules: str, count: int, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """After the end `never` lets nobody in again, `always` everybody, `after` whoever has been away so long."""
    folder = write_project(tmp_path, {"journeys/month.yaml": journey(rules)})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.track("ada", "cancelled")

        async def later() -> bool:
            row = (await sojourn.query("select sojourn_now() > entered_at + interval '1 second' as over from enrollments"))[0]
            return bool(row.over)

        await sojourn.until(later)
        await sojourn.track("ada", "signed_up")
        assert count == len(await sojourn.ends())


async def test_a_repeated_message_id_changes_nothing(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The same event again, in its batch and later, is acknowledged as a duplicate and enrolls nobody."""
    folder = write_project(tmp_path, {"journeys/month.yaml": journey("again: always, while_active: parallel")})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        event = sojourn.event("ada", "signed_up")
        answers = [*await sojourn.accept([event, event]), *await sojourn.accept([event])]
        assert [False, True, True] == [a.duplicate for a in answers]
        assert 1 == len(await sojourn.ends())


async def test_history_enrolls_nobody(tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str) -> None:
    """An event that is imported as history is stored, and starts nothing."""
    from dataclasses import replace

    folder = write_project(tmp_path, {"journeys/month.yaml": journey("again: always")})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.accept([replace(sojourn.event("ada", "signed_up"), history=True)])
        assert [] == await sojourn.ends()
        assert 1 == len(await sojourn.query("select 1 from events where name = 'signed_up'"))
