"""What operators do to people inside, on the real engine: pausing and resuming journeys and enrollments, skipping a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from engine.delivery.channel import Receipt, Result
from engine.insight.timeline import timeline
from engine.intake import operators
from engine.store import pauses
from engine.store.database import Connection, transaction
from tests.asking import ask
from tests.harness import HELLO, Running, running, write_project

CARE = """
journey: care
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: first
    template: hello
    topic: news
  - wait_for: confirmed
    id: confirm
    timeout: 30d
  - send: email
    id: second
    template: again
    topic: news
    expires: 2s
  - wait: 30d
    id: month
"""
DESK = """
journey: desk
tier: lifecycle
enter: {event: pinged, again: never}
steps:
  - task: service
    id: call
    title: Call
  - wait: 30d
    id: month
"""
FILES = {"journeys/care.yaml": CARE, "journeys/desk.yaml": DESK}
TOO_LONG = "A" * 9999
BROKEN = {"templates/email/hello.txt": HELLO.replace("Hi", "Hi {{ 2 ** (customer.first_name | length) }}")}
"""Breaks on TOO_LONG."""


async def do(run: Running, act: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """An operator's act, in a transaction."""

    async def whole(c: Connection) -> Any:
        return await act(c, *arguments, "test")

    async with transaction(run.worker.core.database) as c:
        return await whole(c)


async def let_go(run: Running, journey: str) -> list[int]:
    """Everybody who was kept back, in one batch; their numbers."""
    async with transaction(run.worker.core.database) as c:
        ids = await pauses.kept_back(c, journey)
        assert len(ids) == await operators.let_go(c, ids)
        return ids


async def kept_back(run: Running, count: int) -> None:
    """Wait until so many enrollments wait because of a pause."""

    async def there() -> bool:
        return len(await run.query("select 1 from enrollments where kept_back")) == count

    await run.until(there)


async def test_a_pause_keeps_everything_back_and_a_resume_brings_it_once(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """People enter and wait, nothing is sent and no task made; resumed, each goes on by itself. An enrollment stays paused when
    its journey is resumed, and the other way round. What expires meanwhile names the pause."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        assert (True, True, False) == (
            await do(run, operators.pause_journey, "care", ""),
            await do(run, operators.pause_journey, "desk", "nobody is in"),
            await do(run, operators.pause_journey, "desk", ""),
        )
        ada, bob = await run.identify("ada"), await run.identify("bob")
        (a,) = (await run.track("ada", "signed_up")).enrollments
        (b,) = (await run.track("bob", "signed_up")).enrollments
        await run.track("ada", "pinged", number=1)
        await kept_back(run, 3)
        assert {("defer", "journey", "care")} == {(d.decision, d.reason, d.rule) for d in await run.decisions()}
        assert ([], []) == (run.email.seen, await run.query("select 1 from tasks"))
        assert [b] == await do(run, operators.pause, [b])
        assert [] == await do(run, operators.pause, [b])

        assert await do(run, operators.resume_journey, "desk")
        assert 1 == len(await let_go(run, "desk"))
        assert await do(run, operators.resume_journey, "care")
        assert [a] == await let_go(run, "care")
        await run.waiting_in("confirm")
        await run.waiting_in("month")
        assert (1, 0, 1) == (len(run.email.to(ada)), len(run.email.to(bob)), len(await run.query("select 1 from tasks")))

        await do(run, operators.pause_journey, "care", "a typo in second")
        assert [b] == await do(run, operators.resume, [b])
        await run.track("ada", "confirmed")
        await run.waiting_in("month", 2)
        first, second = (m for m in await run.messages() if m.enrollment_id == a)
        assert ("sent", "dropped", "journey") == (first.status, second.status, second.reason)
        assert second.detail.endswith("; care was paused.")

        assert not await do(run, operators.resume_journey, "desk")
        assert await do(run, operators.resume_journey, "care")
        assert [b] == await let_go(run, "care")
        await run.waiting_in("confirm")
        assert (1, 1) == (len(run.email.to(ada)), len(run.email.to(bob)))
        texts = [m.text for m in (await ask(run, ada, "care")).passages[0].moments if m.kind in ("paused", "resumed", "entered")]
        assert ["Entered by signed_up.", "An operator paused care: a typo in second.", "An operator resumed care."] == texts
        texts = [m.text for m in (await ask(run, ada, "desk")).passages[0].moments if m.kind in ("paused", "resumed", "entered")]
        paused = "An operator paused desk: nobody is in."
        assert [paused, "Entered by pinged (number 1).", "An operator resumed desk."] == texts
        because = await run.query("select detail from audit where act = 'pause' and detail <> '{}' order by id")
        assert [{"because": "nobody is in"}, {"because": "a typo in second"}] == [r.detail for r in because]
        noted = await run.query("select act, subject from audit where act in ('pause', 'resume') order by id")
        assert [
            *(("pause", "journey/care"), ("pause", "journey/desk"), ("pause", f"enrollment/{b}")),
            *(("resume", "journey/desk"), ("resume", "journey/care"), ("pause", "journey/care")),
            *(("resume", f"enrollment/{b}"), ("resume", "journey/care")),
        ] == [tuple(r) for r in noted]


async def test_a_skip_goes_past_the_step_wherever_somebody_stands_in_it(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Parked, asleep, and while the provider is asked, whose `later` is then the last word: the message is dropped, its slot is
    free, and nobody is sent it. What was sent before stays sent."""
    folder = write_project(tmp_path, {**FILES, **BROKEN})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada, bob = await run.identify("ada", first_name=TOO_LONG), await run.identify("bob")
        (a,) = (await run.track("ada", "signed_up")).enrollments
        await run.message_is("parked")

        async def parked() -> bool:
            return ("care", "parked") in [(j, s) for j, s, _ in await run.ends()]

        await run.until(parked)
        assert [a] == await do(run, operators.skip, [a])
        await run.waiting_in("confirm")
        async with transaction(run.worker.core.database) as c:
            shown = [line.kind for line in (await timeline(c, a)).lines if line.kind in ("entered", "allow", "skip", "dropped")]
        assert ["entered", "allow", "skip", "dropped"] == shown
        assert [a] == await do(run, operators.skip, [a])
        await run.waiting_in("month")
        assert ["second"] == [m.step for m in run.email.to(ada)]

        original, skipped = run.email.send, []

        async def send(message: Any) -> Receipt:
            if not skipped:
                skipped.extend(await do(run, operators.skip, [b_of[0]]))
                return Receipt(Result.LATER, retry_after=0.1)
            return await original(message)

        b_of: list[int] = []
        run.email.send = send  # type: ignore[method-assign]  # a provider that takes its time
        b_of.extend((await run.track("bob", "signed_up")).enrollments)
        await run.waiting_in("confirm")
        assert b_of == skipped
        assert [] == run.email.to(bob)
        messages = [(m.enrollment_id, m.step, m.status, m.reason, m.slot_at) for m in await run.messages()]
        assert (a, "first", "dropped", "skipped", None) in messages
        assert (b_of[0], "first", "dropped", "skipped", None) in messages
        noted = await run.query("select subject, detail from audit where act = 'skip' order by id")
        steps = [(r.subject, r.detail["step"]) for r in noted]
        assert [(f"enrollment/{a}", "first"), (f"enrollment/{a}", "confirm"), (f"enrollment/{b_of[0]}", "first")] == steps
        assert [] == await run.query("select 1 from planned where step = 'first'")
