"""`migrate` and `reset` on the real engine: people standing everywhere go on as the preview said, nobody twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.app.deploying import Changes, Stranded, Wishes, deploy, preview
from engine.authoring.project import load_project
from engine.delivery import moving as handing
from engine.delivery.channel import Receipt, Result
from engine.delivery.deployments import Deployments
from engine.intake import erasing, moving
from engine.store.database import Connection, Database, transaction
from engine.temporal import activities
from tests.asking import ask, replayed, shown
from tests.harness import POLICY, Running, running, write_project

HEAD = "journey: welcome\ntier: lifecycle\nenter: {event: signed_up, key: order_id, again: always}\nsteps:\n"


def written(*steps: str) -> dict[str, str]:
    """The journey with these steps."""
    return {"journeys/welcome.yaml": HEAD + "".join(f"  - {step}\n" for step in steps)}


def send(step: str, channel: str = "email") -> str:
    """A send."""
    return f"{{send: {channel}, id: {step}, template: hello, topic: news}}"


def awaits(number: int, days: int = 30) -> str:
    """A step in which people stay until they are pinged with its number."""
    return f"{{wait_for: pinged, where: event.number == {number}, id: at_{number}, timeout: {days}d}}"


def wishes(**named: str) -> Wishes:
    """Everybody goes on with the new plan; these steps are called otherwise there."""
    return Wishes("migrate", named=tuple(("", old, new) for old, new in named.items()))


async def release(run: Running, files: dict[str, str], how: Wishes) -> Changes:
    """Deploy other files and ask whom that moves; what was previewed, which is what was done."""
    compiled = load_project(write_project(run.folder, files), {"email", "sms"})
    database = run.worker.core.database
    async with transaction(database) as c:
        seen = await preview(c, compiled, how)
    _, done = await deploy(database, compiled, "test", how)
    assert seen == done
    mover = moving.Moving(database, Deployments())
    while await mover.round():
        pass
    return done


async def arrived(run: Running, changes: Changes) -> None:
    """Wait until everybody stands where the preview said, in a cohort of the plan that it said."""
    wanted: Counter[tuple[str, str]] = Counter()
    for change in changes.journeys:
        for fate in change.fates:
            wanted[str(change.new) if fate.becomes == "moves" else fate.plan, fate.to] += fate.count

    async def there() -> bool:
        rows = await run.query(
            "select e.plan, e.step, count(*) as n from enrollments e join cohorts k on k.id = e.cohort_id and k.plan = e.plan "
            "where e.status = 'parked' or (e.status = 'live' and e.wake_at is not null) group by 1, 2"
        )
        return Counter({(r.plan, r.step): r.n for r in rows}) == wanted

    await run.until(there)


async def reset(run: Running, enrollment: int, step: str) -> None:
    """What `sojourn reset` does."""
    async with transaction(run.worker.core.database) as c:
        await moving.reset(c, Deployments(), [enrollment], step, "test")


async def test_random_edits_do_what_was_shown_and_everybody_gets_to_the_end(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People stand in every wait; steps come, go, are renamed and change places; each time all are where the preview said. One
    hand-over dies before its commit, and one after it. In the end nobody has any message twice."""
    chance = random.Random(7)
    numbers = list(range(4))
    steps = {n: awaits(n) for n in numbers}
    folder = write_project(tmp_path, written(*(text for n in numbers for text in (send(f"m{n}"), steps[n]))))
    faults = iter(("before", "after"))
    dying: list[str] = []
    real, begin = handing.hand_over, activities.transaction

    async def faulty(*arguments: Any) -> None:
        dying.append(next(faults, ""))
        await real(*arguments)
        if dying[-1] == "before":
            raise ConnectionError("the worker died before its commit")

    @asynccontextmanager
    async def committed(database: Database) -> AsyncIterator[Connection]:
        async with begin(database) as c:
            yield c
        if "after" in dying:
            dying.clear()
            raise ConnectionError("the worker died after its commit")

    monkeypatch.setattr(handing, "hand_over", faulty)
    monkeypatch.setattr(activities, "transaction", committed)
    async with running(folder, database_url, temporal_address, task_queue_prefix, max_size=4) as run:
        for n in numbers:
            for copy in "ab":
                await run.identify(f"u{n}{copy}")
                await run.track(f"u{n}{copy}", "signed_up", order_id="1")
        await run.waiting_in("at_0", 8)
        for n in numbers:
            for later in range(n):
                await run.accept([run.event(f"u{n}{copy}", "pinged", number=later) for copy in "ab"])
                await run.waiting_in(f"at_{later + 1}", 1)
        await run.waiting_in("at_3", 2)
        for turn in range(2):
            gone, new = chance.choice([n for n in numbers[1:] if n in steps]), 10 + turn
            order = [new if n == gone else n for n in steps]
            chance.shuffle(order)
            steps = {n: awaits(n, 20 + turn) for n in order}
            lines = [text for n in steps for text in (send(f"m{n}"), steps[n])]
            with pytest.raises(Stranded, match=f"at_{gone}"):
                await release(run, written(*lines), wishes())
            done = await release(run, written(*lines, send("goodbye")), wishes(**{f"at_{gone}": f"at_{new}"}))
            await arrived(run, done)
        assert next(faults, None) is None
        for _ in numbers:
            for n in steps:
                await run.accept([run.event(f"u{m}{copy}", "pinged", number=n) for m in numbers for copy in "ab"])
        await run.settled()
        assert {("welcome", "ended", "completed")} == set(await run.ends())
        got = Counter((m.customer, m.step) for m in run.email.seen)
        assert {1} == set(got.values()), "nobody has any of them twice"
        assert 8 == sum(n for (_, step), n in got.items() if step == "goodbye")
        lives = await replayed(run)
        assert [] == [shown(told) for told in lives if not told.exact]
        assert {2} == {sum(t.what.startswith("moved to plan") for t in told.transitions) for told in lives}


async def test_what_waits_goes_along_or_is_dropped(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A message that a hold puts off waits on under its key; its step renamed, the old one is dropped and the new one waits;
    one that is parked stays so and goes on after the mend; a wait that is over on the new plan ends; a reset sends again."""
    holds = "holds: [{from: complaint_filed, until: complaint_resolved, pause: [lifecycle], at_most: 30d}]\n"
    broken = HEAD.replace("welcome", "broken").replace("signed_up", "confirmed").replace("lifecycle", "service")
    files = {
        **written(send("late", "sms")),
        "journeys/policy.yaml": POLICY + holds,
        "journeys/broken.yaml": broken
        + "  - {send: email, id: mail, template: hello, topic: news}\n  - {wait: 30d, id: month}\n",
    }
    async with running(write_project(tmp_path, files), database_url, temporal_address, task_queue_prefix) as run:
        run.email.answer = lambda m: ValueError("a bug of the adapter's")
        ada = await run.identify("ada", phone="+39333123456")
        await run.track("ada", "complaint_filed", ticket_id="1")
        await run.track("ada", "signed_up", order_id="1")
        await run.track("ada", "confirmed", order_id="1")
        await run.message_is("deferred")

        async def parked() -> bool:
            return 1 == len(await run.query("select 1 from enrollments where status = 'parked'"))

        await run.until(parked)
        waits = {r.journey: r.id for r in await run.query("select journey, id from enrollments")}
        await arrived(run, await release(run, {**files, **written(send("late", "sms"), awaits(1))}, wishes()))
        assert [(f"{waits['welcome']}/late/0/0", "deferred")] == [
            (m.key, m.status) for m in await run.messages() if m.step == "late"
        ]
        files |= written(send("later", "sms"), awaits(1))
        done = await release(run, files, wishes(late="later"))
        await run.message_is("dropped")
        await arrived(run, done)
        assert [("late", "dropped", "moved"), ("later", "deferred", "hold")] == [
            (m.step, m.status, m.reason) for m in await run.messages() if m.channel == "sms"
        ]
        files["journeys/broken.yaml"] = files["journeys/broken.yaml"].replace("30d", "1d")
        await arrived(run, await release(run, files, wishes()))
        assert [("broken", "parked")] == [
            (r.journey, r.status) for r in await run.query("select journey, status from enrollments where status = 'parked'")
        ]
        run.email.answer = lambda m: Receipt(Result.ACCEPTED)
        run.email.seen.clear()
        await run.unpark()
        await run.waiting_in("month")
        assert 1 == len(run.email.to(ada))
        await reset(run, waits["broken"], "mail")
        await run.message_is("sent", 2)
        assert [f"{waits['broken']}/mail/0/0", f"{waits['broken']}/mail/1/0"] == [m.key for m in run.email.to(ada)]
        await run.waiting_in("month")
        told = (await ask(run, ada, "broken")).passages[0].moments
        plan = (await run.query("select plan from enrollments where journey = 'broken'"))[0].plan
        texts = [m.text.partition(" (first")[0].rstrip(".") for m in told if m.kind in ("move", "moved", "retry", "message")]
        message = "email hello"
        assert [
            *(f"Asked to go on with plan {plan}", f"Went on with plan {plan}"),
            *("Retried by an operator, after it was parked", message),
            *("Asked to go on at mail", "Went on at mail", message),
        ] == texts
        files["journeys/broken.yaml"] = files["journeys/broken.yaml"].replace("wait: 1d", "wait: 1s")
        await release(run, files, wishes())

        async def over() -> bool:
            return ["completed"] == [
                r.reason for r in await run.query("select reason from enrollments where journey = 'broken' and status = 'ended'")
            ]

        await run.until(over)
        assert [] == [shown(told) for told in await replayed(run) if not told.exact]
        await erasing.erase(run.worker.core.intake, ada, "test")
        assert [0] == [r.n for r in await run.query("select count(state) as n from moved")]
        assert [] == [shown(told) for told in await replayed(run) if told.differs]
        await run.query("with gone as (delete from moved returning 1) select count(*) from gone")
        assert {(False, False)} == {(told.exact, told.to_json()["compared"]) for told in await replayed(run)}


async def test_a_reset_and_a_migration_that_is_asked_after_it_both_happen(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Asked while no worker is there, and brought to the cohort together: the step that the reset leads to is begun once more, on
    the new plan."""
    folder = write_project(tmp_path, written(send("hello"), awaits(0)))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada = await run.identify("ada")
        await run.track("ada", "signed_up", order_id="1")
        await run.waiting_in("at_0")
        await run.pause()
        enrollment = (await run.query("select id from enrollments"))[0].id
        await reset(run, enrollment, "hello")
        done = await release(run, written(send("hello"), awaits(0, 5)), wishes())
        run.resume()
        await run.message_is("sent", 2)
        await arrived(run, done)
        assert [f"{enrollment}/hello/0/0", f"{enrollment}/hello/1/0"] == [m.key for m in run.email.to(ada)]
        told = (await ask(run, ada)).passages[0].moments
        new = done.plans()["welcome"]
        assert [f"Went on at hello, and from there with plan {new}."] == [m.text for m in told if m.kind == "moved"]
        assert [] == [shown(told) for told in await replayed(run) if not told.exact]
