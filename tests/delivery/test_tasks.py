"""Tasks that are handed to another program, on the real database: each once, whoever comes between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from channels import zendesk_tasks
from engine.core.logical import LogicalClock
from engine.delivery.channel import Content, Outgoing, Receipt, Result
from engine.delivery.tasks import Handed, Handing
from engine.store import clock as clock_store
from engine.store import tasks
from engine.store.database import Database, connect, fetch, transaction
from tests.harness import utc


class Program(zendesk_tasks.Zendesk):
    """A receiver without HTTP. `answers`: by turns; `heard`: the tasks, `closed`: (key, id)."""

    def __init__(self) -> None:
        super().__init__(zendesk_tasks.Settings.model_validate({"subdomain": "skin", "token": "t"}))
        self.name = "tasks.service"
        self.answers: list[Receipt] = []
        self.heard: list[Outgoing] = []
        self.closed: list[tuple[str, str]] = []

    async def send(self, message: Outgoing) -> Receipt:
        """Its answer."""
        self.heard.append(message)
        return self.answers.pop(0) if self.answers else Receipt(Result.ACCEPTED, provider_id="1")

    async def finish(self, key: str, id: str) -> Receipt:
        """Done."""
        self.closed.append((key, id))
        return Receipt(Result.ACCEPTED)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An engine on the test's database."""
    made = connect(database_url)
    async with transaction(made) as c:
        await clock_store.begin(c, 1, utc("2026-03-01 20:00"))
    yield made
    await made.dispose()


async def asked(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """The rows."""
    async with transaction(database) as c:
        return [tuple(r) for r in await fetch(c, sql)]


async def put(database: Database, key: str, status: str = "open", handover: str = "waiting", age: str = "0 s") -> Outgoing:
    """A task of the queue "service" that was made `age` ago, and the message that hands it over."""
    await asked(
        database,
        "insert into tasks (key, enrollment_id, customer_id, queue, title, body, assignee, created_at, status, receiver, "
        f"handover) values ('{key}', 1, 41, 'service', 'Call Ada', 'Two stars', 'bea', sojourn_now() - interval '{age}', "
        f"'{status}', 'tasks.service', '{handover}') returning 1",
    )
    return Outgoing(key, "", Content({"title": "x"}, text=""), {}, "41", "care", "tell", "", "")


def handing(database: Database) -> tuple[Handing, Program]:
    """What hands over, and to whom."""
    program = Program()
    return Handing(database, LogicalClock(1, utc("2026-03-01 20:00"), utc("2026-03-01 20:00")), {"service": program}), program


async def test_whoever_comes_between_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that another process takes meanwhile, or has put off again, isn't taken for one that is there."""
    ours, program = handing(database)
    message, other = await put(database, "a"), await put(database, "b")
    claim = tasks.claim

    async def late(c: Any, keys: Any, owner: str, seconds: float) -> Any:
        async with transaction(database) as theirs:
            await claim(theirs, keys, "another", 30.0)
        found = await claim(c, keys, owner, seconds)
        if keys == ["b"]:
            async with transaction(database) as theirs:
                await tasks.record(
                    theirs, "another", [{"key": "b", "handover": "waiting", "remote_id": "", "words": "", "wait": 9}]
                )
        return found

    monkeypatch.setattr(tasks, "claim", late)
    assert (await ours.hand_over([message]))["a"].again is not None
    assert (await ours.hand_over([other]))["b"].again is not None
    monkeypatch.undo()
    assert await ours.hand_over([other]) == {"b": Handed()}
    assert [m.key for m in program.heard] == ["b"]


async def dead(database: Database) -> None:
    """Every lease is over."""
    await asked(database, "update tasks set lease_until = clock_timestamp() - interval '1 s' returning 1")


async def test_a_key_is_trusted_while_it_is_remembered(database: Database) -> None:
    """After an unknown outcome a task is handed over again while the receiver knows its key, and then counts as made; one that
    was certainly not made is tried whenever it is."""
    ours, program = handing(database)
    young, old, fresh = await put(database, "a"), await put(database, "b"), await put(database, "c", age="3 hours")
    program.answers = [Receipt(Result.UNKNOWN), Receipt(Result.UNKNOWN), Receipt(Result.LATER)]
    for message in (young, old, fresh):
        assert (await ours.hand_over([message]))[message.key].again is not None
    await dead(database)
    program.answers = [Receipt(Result.LATER, retry_after=0.0)]
    assert (await ours.hand_over([young]))["a"].again is not None
    await asked(database, "update tasks set created_at = created_at - interval '2 hours' where key = 'b' returning 1")
    await dead(database)
    assert await ours.hand_over([young, old, fresh]) == {"a": Handed(), "b": Handed(), "c": Handed()}
    assert [m.key for m in program.heard] == ["a", "b", "c", "a", "a", "c"]
    assert await asked(database, "select key, handover from tasks order by key") == [
        ("a", "there"),
        ("b", "unknown"),
        ("c", "there"),
    ]


async def test_over_before_the_answer(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task whose handover had no answer when it was over here is closed by its key where the program finds it by that, and is
    else of unknown fate; a live lease is left alone."""
    ours, program = handing(database)
    await put(database, "a", "closed", "handed_over")
    await dead(database)
    await ours.finish()
    monkeypatch.setattr(Program, "by_key", True)
    await put(database, "b", "closed", "handed_over")
    await dead(database)
    await put(database, "c", "closed", "handed_over")
    await asked(database, "update tasks set lease_until = clock_timestamp() + interval '60 s' where key = 'c' returning 1")
    await ours.finish()
    assert program.closed == [("b", "")]
    assert await asked(database, "select key, handover from tasks order by key") == [
        ("a", "unknown"),
        ("b", "finished"),
        ("c", "handed_over"),
    ]


async def test_what_goes_out_is_what_was_made(database: Database) -> None:
    """However the step reads by now: title, body, queue, assignee and due date are the task's."""
    ours, program = handing(database)
    message = await put(database, "a")
    await asked(database, "update tasks set due_at = '2026-03-04 00:30+01' returning 1")
    changed = replace(message, to="eve", content=Content({"title": "y", "at": "now", "zone": "Europe/Rome"}, text="z"))
    assert await ours.hand_over([changed]) == {"a": Handed()}
    (heard,) = program.heard
    due = "2026-03-04T00:30:00+01:00"
    assert (heard.to, heard.content.text) == ("bea", "Two stars")
    assert heard.content.fields == {"title": "Call Ada", "queue": "service", "due": due, "at": "now"}


async def test_a_step_that_is_left_gives_its_tasks_up(database: Database) -> None:
    """Those that wait are closed, of that step or of all; who is being handed over, or is there, stays."""
    for key, handover in (("1/tell/0/0", "waiting"), ("1/call/0/0", "handed_over"), ("1/tell/1/0", "there")):
        await put(database, key, handover=handover)
    await put(database, "1/tell/2/0")
    async with transaction(database) as c:
        await tasks.claim(c, ["1/tell/2/0"], "another", 60.0)
        await tasks.give_up(c, [1], "tell")
    said = "select status from tasks order by id"
    assert await asked(database, said) == [("closed",), ("open",), ("open",), ("open",)]
    async with transaction(database) as c:
        await tasks.give_up(c, [1])
    assert await asked(database, said) == [("closed",), ("closed",), ("open",), ("open",)]
