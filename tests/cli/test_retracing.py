"""A customer's own history again: what the real engine did comes out of the record, step for step."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory

from engine.app.reliving import Relived, compiled_with, read_past, relive
from engine.delivery.channel import USUAL_ADDRESS, Outgoing, Receipt, Result
from engine.delivery.deployments import Deployments
from engine.insight.lived import PRUNED, read_lives
from engine.insight.retracing import Retraced, retrace
from engine.intake import erasing
from engine.store.database import run as execute
from engine.store.database import transaction
from tests.asked import asked_for, asked_in
from tests.cli.commands import sojourn
from tests.harness import Running, running, write_project
from tests.people import opened

TOUR = """
journey: tour
tier: lifecycle
enter: {event: signed_up, again: never}
exit: [{event: cancelled}]
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - branch:
      - if: customer.country == "IT"
        then:
          - wait_for: confirmed
            id: confirm
            timeout: 6s
            then:
              - task: service
                id: look
                title: "Look"
            else:
              - exit: silent
      - else:
          - split: {split}
            arms:
              - {name: a, weight: 1, then: [{send: email, id: in_a, template: again, topic: news}]}
              - {name: b, weight: 1, then: [{send: email, id: in_b, template: again, topic: news}]}
          - send: sms
            id: text
            if: customer.country == "FR"
            template: hello
            topic: news
  - wait: 30d
    id: month
""".replace("{split}", "ab")
KEYED = """
journey: keyed
tier: lifecycle
enter: {event: cancelled, again: always}
steps:
  - wait: 30d
    id: month
"""
SETTINGS = "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\n"
PEOPLE = {"ada": "IT", "eve": "IT", "bob": "FR", "joe": "DE", "ann": "FR"}


async def retraced(run: Running, user: str) -> Retraced:
    """The one enrollment of a customer, replayed."""
    async with transaction(run.worker.core.database) as c:
        (life,) = await read_lives(c, run.customers[user], None, Deployments())
        return retrace(life)


def path(told: Retraced) -> list[str]:
    """Where it stood after each step, without repeats."""
    places = [t.way[1] for t in told.transitions]
    return [p for p, before in zip(places, ["", *places], strict=False) if p != before]


async def live_through(run: Running) -> None:
    """One confirms, one is silent, one is parked and retried, one can't be texted, one cancels."""
    for user, country in PEOPLE.items():
        await run.identify(user, country=country, phone="+3933300000")

    def answer(message: Outgoing) -> Receipt | Exception:
        bob = message.customer == str(run.customers["bob"]) and message.step != "hello"
        return RuntimeError("a bug") if bob else Receipt(Result.ACCEPTED)

    run.email.answer = answer
    await run.accept([run.event(user, "signed_up") for user in PEOPLE])
    await run.waiting_in("confirm", 2)
    await run.track("ada", "confirmed")

    async def parked() -> bool:
        return bool(await run.query("select 1 from enrollments where status = 'parked'"))

    await run.until(parked)
    told = await retraced(run, "bob")
    assert ([], "parked") == (list(told.differs), told.state.status)
    run.email.answer = lambda m: Receipt(Result.ACCEPTED)
    await run.unpark()
    await run.waiting_in("month", 4)
    await run.track("ann", "cancelled")

    async def ended() -> bool:
        return len(await run.query("select 1 from enrollments where status = 'ended'")) == 2

    await run.until(ended)
    await run.relayed()


async def test_what_the_engine_did_comes_out_of_the_record(
    tmp_path: Path,
    database_url: str,
    temporal_address: str,
    task_queue_prefix: str,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each life ends as it is recorded, and says on what each step rests. What has changed since misleads nobody: a message, a
    task, an exit tell which way it went."""
    folder = write_project(tmp_path, {"journeys/tour.yaml": TOUR, "sojourn.yaml": SETTINGS})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        await live_through(engine)
        lives: dict[str, Any] = {user: await retraced(engine, user) for user in PEOPLE}
        assert {user: [] for user in PEOPLE} == {user: list(told.differs) for user, told in lives.items()}
        assert path(lives["ada"])[-1] == "month, waiting"
        assert "look, running" in path(lives["ada"])
        assert path(lives["eve"])[-1] == "ended: silent"
        assert {"ended: cancelled"} == {path(lives["ann"])[-1]}
        bob = [t.way[1] for t in lives["bob"].transitions]
        assert any(p.startswith("parked at in_") for p in bob)
        messages = {m.key for m in await engine.query("select key from messages")}
        asked = {key for told in lives.values() for key in told.life.messages}
        assert messages == asked
        really = await asked_for(await histories_of(engine))
        assert really == {told.life.id: asked_in(told) for told in lives.values()}
        sent = {m.key: m.sent_at for m in await engine.query("select key, sent_at from messages where status = 'sent'")}
        for told in lives.values():
            told_at = {t.at for t in told.transitions}
            assert all(sent[key] in told_at for key in told.life.messages if key in sent)
        # Everybody has moved since: today's data would lead them elsewhere.
        for user in PEOPLE:
            await engine.identify(user, country="US")
        for user in ("ada", "eve", "bob", "ann"):
            again = await retraced(engine, user)
            assert (path(lives[user]), []) == (path(again), list(again.differs)), user
            assert again.exact, [t for t in again.transitions if t.basis not in ("recorded", "follows")]
        assert any("would say otherwise" in t.words for t in (await retraced(engine, "ada")).transitions)
        at_the_prompt(await asyncio.to_thread(prompted, folder, database_url))
        through_the_same = await relived(engine, folder)
        for told in through_the_same.values():
            assert ((), (), ()) == (told.added, told.gone, told.refused), told
        assert {"ada": 1, "eve": 1, "bob": 3, "joe": 2, "ann": 3} == {user: told.same for user, told in through_the_same.items()}
        assert ["silent"] == [t.reason for t in through_the_same["eve"].told if t.kind == "exit"]
        monkeypatch.setattr("sys.stdin", io.StringIO("p\ns\nc\n"))
        through_another = await run("replay", "--customer", "ada", "--step", "--with", another(tmp_path))
        assert (0, "") == (through_another.returncode, through_another.stderr)
        assert "more than recorded: 1 × tour second" in through_another.stdout
        assert through_another.stdout.rstrip().endswith("1 messages as recorded, 1 more, 0 less")
        for wrong, told_so in ((("--with", "nowhere.yaml"), "can't be read"), (("--journey", "tuor"), "'tuor'"), ((), "nobody")):
            done = await run("replay", "--customer", "ada" if wrong else "nobody", *wrong)
            assert (True, True) == (done.returncode in (1, 2), told_so in done.stderr), done
        await what_is_gone_is_said(engine)


async def test_a_life_without_the_journey_that_is_asked_for_says_so(tmp_path: Path, database_url: str, run: Any) -> None:
    """They may have been in another one."""
    files = {"sojourn.yaml": SETTINGS, "journeys/tour.yaml": TOUR, "journeys/keyed.yaml": KEYED}
    async with opened(tmp_path, database_url, files=files) as people:
        await people.identify("ada")
        await people.track("ada", "signed_up")
        told = (await run("replay", "--customer", "ada", "--journey", "keyed")).stdout
        assert "no enrollment of theirs in keyed is recorded\n" == told
        assert "enrollment 1 in tour" in (await run("replay", "--customer", "ada")).stdout


async def test_a_file_beside_it_that_cannot_be_read_is_named(tmp_path: Path, run: Any) -> None:
    """Where a journey's file is tried in the project, what is wrong with the others is told as ever."""
    folder = write_project(tmp_path, {"journeys/tour.yaml": TOUR})
    (folder / "journeys" / "cafe.yaml").write_bytes("journey: café\n".encode("latin-1"))
    (folder / "journeys" / "folder.yaml").mkdir()
    (folder / "other.yaml").write_text(TOUR)
    done = await run("replay", "--customer", "ada", "--with", str(folder / "other.yaml"))
    assert (1, True) == (done.returncode, "journeys/cafe.yaml:1:1: error SJ108" in done.stderr), done


async def histories_of(run: Running) -> list[WorkflowHistory]:
    """What Temporal has of everybody's cohorts."""
    journeys = run.worker.relay.journeys
    ids = [journeys.cohort_id(r.id) for r in await run.query("select id from cohorts")]
    return [await journeys.client.get_workflow_handle(i).fetch_history() for i in ids]


async def relived(run: Running, folder: Path) -> dict[str, Relived]:
    """Everybody's recorded events through the project as it is."""
    compiled = compiled_with(folder, folder, {"email", "sms"})
    async with transaction(run.worker.core.database) as c:
        pasts = {user: await read_past(c, run.customers[user]) for user in PEOPLE}
    return {user: relive(compiled, past, "tour", USUAL_ADDRESS) for user, past in pasts.items()}


def another(tmp_path: Path) -> str:
    """The journey with one more message."""
    file = tmp_path / "other.yaml"
    file.write_text(TOUR.replace("  - branch:", "  - {send: email, id: second, template: again, topic: news}\n  - branch:", 1))
    return str(file)


def prompted(folder: Path, url: str) -> Any:
    """A process that is asked for the state, the plan, something it doesn't know, two steps on, and the rest."""
    answers = "state\nplan\nplan 0\nplan 99\nwhat\n\nn\nc\n"
    return sojourn(
        "replay", "--customer", "ada", "--journey", "tour", "--step", cwd=folder, stdin=answers, SOJOURN_DATABASE_URL=url
    )


def at_the_prompt(done: Any) -> None:
    """Each answer stands behind its question; after `continue` the rest comes at once."""
    assert (0, "") == (done.returncode, done.stderr)
    said = done.stdout
    assert ("began with signed_up" in said, "status: running" in said, '0: {"kind"' in said or '"hello"' in said) == (True,) * 3
    assert ("the plan has operations 0 to" in said, "n(ext) · c(ontinue)" in said) == (True, True)
    assert 8 == said.count("(replay)")
    assert said.rstrip().endswith("as recorded: each step rests on the record, or follows from the plan")


async def what_is_gone_is_said(run: Running) -> None:
    """Decisions that retention took, inputs that are gone, a customer who was erased: the replay goes on as far as it can."""
    async with transaction(run.worker.core.database) as c:
        await execute(c, "delete from decisions where customer_id = :id", id=run.customers["eve"])
        await execute(
            c,
            "delete from inputs where enrollment_id in (select id from enrollments where customer_id = :id)",
            id=run.customers["ann"],
        )
    await erasing.erase(run.worker.core.intake, run.customers["ada"], "cli/test")
    eve, ann, ada = [await retraced(run, user) for user in ("eve", "ann", "ada")]
    assert ("ended: silent", ()) == (path(eve)[-1], eve.differs)
    assert ["the decisions on 1 of its messages are gone"] == [told.partition(" (")[0] for told in eve.missing]
    assert ((), "its inputs are gone (retention of `inputs`): nothing can be replayed") == (ann.transitions, ann.missing[0])
    assert ("ended: erased", ()) == (path(ada)[-1], ada.differs)
    assert "the customer was erased" in ada.missing[0]
    async with transaction(run.worker.core.database) as c:
        await execute(c, "insert into retention (kind) values ('messages/messages')")
    assert PRUNED in (await retraced(run, "bob")).missing
