"""Parking on the real engine: what a member comes back with, and that an activity which runs twice parks nobody twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio import activity

from engine.core import interpreter
from engine.core.wire import Json
from engine.insight.timeline import timeline
from engine.intake import operators
from engine.store.database import transaction
from engine.temporal.activities import Activities
from tests.asking import ask, replayed, shown
from tests.harness import HELLO, Running, running, write_project

BROKEN = {"templates/email/hello.txt": HELLO.replace("Hi", "Hi {{ 2 ** (customer.first_name | length) }}")}

TOO_LONG = "A" * 9999
"""A first name on which BROKEN breaks."""

ONE = """
journey: one
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: only
    template: hello
    topic: news
  - wait_for: confirmed
    id: confirm
    timeout: 30d
"""


MANY = (
    ONE.replace("journey: one", "journey: many")
    + """\
    since: step
  - wait_for: {event: pinged, where: event.number == 9}
    id: ping
    timeout: 30d
  - wait_for: {event: pinged, where: event.number == 1}
    id: another
    timeout: 30d
"""
)


async def mend(sojourn: Running) -> list[int]:
    """Deploy a template that works, and retry everybody who is parked."""
    write_project(sojourn.folder, {"templates/email/hello.txt": HELLO})
    await sojourn.deploy()
    return await sojourn.unpark()


async def is_parked(sojourn: Running) -> None:
    """Wait until somebody is parked."""

    async def parked() -> bool:
        return bool(await sojourn.query("select 1 from enrollments where status = 'parked'"))

    await sojourn.until(parked)


async def test_a_parking_that_is_recorded_again_after_the_retry_parks_nobody(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`record` commits, its answer is lost, an operator retries, Temporal runs it again: the member goes on, and its next
    parking counts as ever."""
    recorded: list[Json] = []
    original = Activities.record

    async with running(
        write_project(tmp_path, {"journeys/one.yaml": ONE, **BROKEN}), database_url, temporal_address, task_queue_prefix
    ) as sojourn:
        await sojourn.pause()

        @activity.defn(name="record")
        async def record(self: Activities, batch: Json) -> list[Json]:
            answer = await original(self, batch)
            recorded.append(batch)
            if len(recorded) == 1:
                assert [1] == await mend(sojourn)
                raise RuntimeError("the answer is lost")
            return answer

        monkeypatch.setattr(Activities, "record", record)
        sojourn.resume()
        ada = await sojourn.identify("ada", first_name=TOO_LONG)
        await sojourn.track("ada", "signed_up")
        await sojourn.until(lambda: len(recorded) == 2)
        assert recorded[0] == recorded[1]
        assert [("one", "live", "")] == await sojourn.ends()
        await sojourn.waiting_in("confirm")
        assert 1 == len(sojourn.email.to(ada))
        await sojourn.track("ada", "confirmed")
        await sojourn.settled()
        assert [("one", "ended", "completed")] == await sojourn.ends()


async def test_whoever_was_skipped_before_the_parking_was_recorded_is_not_parked(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record waits behind another one while an operator skips the step: the member waits in the next by then."""
    begun: list[Json] = []
    recorded: list[Json] = []
    going = asyncio.Event()
    original = Activities.record

    @activity.defn(name="record")
    async def record(self: Activities, batch: Json) -> list[Json]:
        begun.append(batch)
        await going.wait()
        answer = await original(self, batch)
        recorded.append(batch)
        return answer

    monkeypatch.setattr(Activities, "record", record)
    folder = write_project(tmp_path, {"journeys/one.yaml": ONE, **BROKEN})
    async with running(folder, database_url, temporal_address, task_queue_prefix, partitions=1) as sojourn:
        for user in ("ada", "bob"):
            await sojourn.identify(user, first_name=TOO_LONG)
        await sojourn.track("ada", "signed_up")
        await sojourn.until(lambda: len(begun) == 1)
        await sojourn.track("bob", "signed_up")

        async def broken() -> bool:
            return 2 == len(await sojourn.query("select 1 from messages where status = 'parked'"))

        await sojourn.until(broken)
        async with transaction(sojourn.worker.core.database) as c:
            assert [2] == await operators.skip(c, [2], "test")
        await sojourn.waiting_in("confirm")
        going.set()
        await sojourn.until(lambda: len(recorded) == 2)
        assert [("one", "live", "")] == (await sojourn.ends())[1:]
        assert [1] == [r.enrollment_id for r in await sojourn.query("select enrollment_id from parkings")]


async def test_what_somebody_was_parked_for_is_known_after_the_retry(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """When, at which step, why and until when: `why`, also of a moment then, `show` and the replay tell it. In full as long as it
    lasts; what stays quotes nobody."""
    folder = write_project(tmp_path, {"journeys/one.yaml": ONE, **BROKEN})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", first_name=TOO_LONG)
        await sojourn.track("ada", "signed_up")
        await is_parked(sojourn)
        (lasting,) = (await ask(sojourn, ada)).passages[0].parkings
        assert (None, True) == (lasting.until, ":" in lasting.reason)
        (then,) = [r.now for r in await sojourn.query("select sojourn_now() as now")]
        assert ["parked"] == [told.state.status for told in await replayed(sojourn)]
        await mend(sojourn)
        await sojourn.waiting_in("confirm")
        (kept,) = await sojourn.query("select enrollment_id, seq, at, step, visit, attempt, reason from parkings")
        assert (1, 1, "only", 0, 0, "templates/email/hello.txt") == (*kept[:2], *kept[3:])
        passage, before = (await ask(sojourn, ada)).passages[0], (await ask(sojourn, ada, at=then)).passages[0]
        (over,) = passage.parkings
        assert (kept.at, "only", kept.reason) == (over.at, over.step, over.reason)
        assert ["entered", "parked", "retry", "message"] == [m.kind for m in passage.moments]
        assert [over.until] == [m.at for m in passage.moments if m.kind == "retry"]
        assert ("live", "parked", kept.reason) == (passage.status, before.status, before.reason)
        assert before.now.startswith("Parked at only: templates/email/hello.txt. That was over on ")
        assert [None] == [p.until for p in before.parkings]
        async with transaction(sojourn.worker.core.database) as c:
            lines = (await timeline(c, 1)).lines
        assert [(kept.at, "only")] == [(line.at, line.step) for line in lines if line.kind == "parked"]
        (told,) = await replayed(sojourn)
        assert told.exact, shown(told)
        parked = [t for t in told.transitions if t.after.status == "parked"]
        assert [(kept.at, "parked at only: templates/email/hello.txt")] == [(t.at, t.way[1]) for t in parked]


async def test_what_happens_to_a_parked_member_is_found_in_the_store_after_the_retry(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that keeps two events at the most loses none of those that came while it was parked: each wait finds its own,
    except the one that looks only forward."""
    monkeypatch.setattr(interpreter, "HELD", 2)
    folder = write_project(tmp_path, {"journeys/many.yaml": MANY, **BROKEN})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada", first_name=TOO_LONG)
        await sojourn.track("ada", "signed_up")
        await is_parked(sojourn)
        for number in (1, 1, 1, 9):
            await sojourn.track("ada", "pinged", number=number)
        await sojourn.track("ada", "confirmed")
        await sojourn.relayed()
        await mend(sojourn)
        await sojourn.waiting_in("confirm")
        await sojourn.track("ada", "confirmed")
        await sojourn.settled()
        inputs = await sojourn.query("select seq, kind from inputs order by seq")
        assert ["begin", *["event"] * 5, "retry", "event"] == [r.kind for r in inputs]
        assert [("many", "ended", "completed")] == await sojourn.ends()
