"""A stage on which acts of the real engine meet: each runs in a task and on connections of its own, stops before every
statement, commit and handover, and goes on, or dies, as the test says. Whatever happens, happens in the same order again.

Only one act runs at a time; one that PostgreSQL lets wait for another's lock stands aside until it has the lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.util import await_only

from engine.store.database import Database

PATIENCE = 0.002
"""Seconds until an act that hasn't come to its next stop is asked for in PostgreSQL."""


class Crash(BaseException):
    """The process of this act is gone: nothing that it would have done comes about, and nobody hears of it."""


@dataclass
class Commit:
    """One transaction of an act, at the moment at which it took effect. `handed`: what it handed over afterwards."""

    act: Act
    handed: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class Act:
    """Something that one process does. `dies_at`: the number of the stop that it doesn't survive (0: it survives all).

    `answer` once it has come to its end; `died` where it was killed, `error` where the engine raised."""

    name: str
    do: Callable[[], Awaitable[Any]]
    dies_at: int = 0
    stops: int = 0
    pid: int = 0
    answer: Any = None
    died: bool = False
    error: BaseException | None = None
    commits: list[Commit] = field(default_factory=list)
    _go: asyncio.Event = field(default_factory=asyncio.Event)
    _here: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether it has come to its end, this way or the other."""
        return self._task is not None and self._task.done()

    @property
    def ready(self) -> bool:
        """Whether it stands at a stop."""
        return self._here.is_set() and not self.over

    async def stop(self) -> None:
        """Wait here until the stage says go; or die here."""
        self.stops += 1
        self._here.set()
        await self._go.wait()
        self._go.clear()
        if self.stops == self.dies_at:
            raise Crash(self.name)

    def start(self) -> None:
        """Run up to the first stop."""
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        _acting.set(self)
        try:
            await self.stop()
            self.answer = await self.do()
            await self.stop()  # an answer that nobody hears
        except Crash:
            self.died, self.answer = True, None
        except Exception as wrong:  # noqa: BLE001 - the stage's caller looks at every error
            self.error = wrong

    def go(self) -> None:
        """From this stop to the next."""
        self._here.clear()
        self._go.set()

    async def settled(self, seconds: float) -> bool:
        """Whether it has come to a stop or its end within `seconds`."""
        assert self._task is not None
        arriving = asyncio.ensure_future(self._here.wait())
        try:
            await asyncio.wait({arriving, self._task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arriving.cancel()
        return self._here.is_set() or self._task.done()


_acting: ContextVar[Act | None] = ContextVar("acting", default=None)


async def stop() -> None:
    """A stop of the act that runs here, for a channel of the test's own."""
    act = _acting.get()
    assert act is not None
    await act.stop()


def handed(messages: Sequence[Any]) -> None:
    """The act that runs here hands these over: its last transaction allowed them."""
    act = _acting.get()
    assert act is not None
    act.commits[-1].handed.extend(messages)


class Stage:
    """Acts on one database. `log`: every transaction since it was last emptied, in the order in which they took effect."""

    def __init__(self, database: Database, url: str) -> None:
        self.log: list[Commit] = []
        self._watch = psycopg.connect(url, autocommit=True)
        event.listen(database.sync_engine, "before_cursor_execute", self._statement)
        event.listen(database.sync_engine, "commit", self._commit)

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()

    def _statement(self, connection: Any, *_: Any) -> None:
        act = _acting.get()
        if act is not None:
            act.pid = connection.connection.dbapi_connection.driver_connection.info.backend_pid
            await_only(act.stop())

    def _commit(self, connection: Any) -> None:
        act = _acting.get()
        if act is not None:
            await_only(act.stop())
            done = Commit(act)
            act.commits.append(done)
            self.log.append(done)

    async def play(self, acts: Sequence[Act], turns: Iterator[int]) -> None:
        """Run `acts` to their end; `turns` says, at each stop, which of those who can go on does."""
        for act in acts:
            act.start()
        while True:
            for act in acts:
                await self._come_to_rest(act)
            ready = [a for a in acts if a.ready]
            if ready:
                ready[next(turns) % len(ready)].go()
            elif all(a.over for a in acts):
                return
            else:
                await asyncio.sleep(PATIENCE)  # all wait for locks: PostgreSQL ends this by itself

    async def _come_to_rest(self, act: Act) -> None:
        """Until the act stands at a stop, is over, or waits for a lock."""
        while not await act.settled(PATIENCE):
            row = self._watch.execute("select cardinality(pg_blocking_pids(%s))", (act.pid,)).fetchone()
            assert row is not None
            if row[0] and not await act.settled(0):
                return
