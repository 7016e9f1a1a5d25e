"""Tasks handed to the company's own programs: once under the step's key, by the rules for messages, and closed there when they
are over here. Source of the rules: semantics.md, "Sending once".

    claim (commit) ─▶ receiver.send_many ─▶ record     while the step waits: an outcome for each
    take what is over ─▶ receiver.finish ─▶ record     a chore
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from engine.core.clock import zone as zone_named
from engine.core.logical import LogicalClock
from engine.delivery.channel import Content, Outgoing, Receipt, Result
from engine.delivery.receiving import Receiver
from engine.store import tasks
from engine.store.database import Database, now, transaction

DEFAULT = "default"
"""The receiver of every queue that has none of its own."""

LEASE_SECONDS = 60.0
"""Longer than a receiver's own timeout."""

BEGIN_SECONDS = 5.0
"""After this long no further chunk is begun: with a receiver's timeout a batch stays under the activity's minute."""

TRIES = 10
"""Of a handover whose outcome is unknown, where the receiver recognises a key."""

FINISHING_TRIES = 20

PAGE = 100
"""Tasks that are closed in one go."""

LONGEST_WAIT = 300.0


@dataclass(frozen=True, slots=True)
class Handed:
    """What became of one task. `again`: logical time of the next try; `parked`: why a person must look."""

    again: datetime | None = None
    parked: str = ""


@dataclass(slots=True)
class Handing:
    """For one process. `receivers`: queue → who takes its tasks; `None`: our own list, whatever the default."""

    database: Database
    clock: LogicalClock
    receivers: Mapping[str, Receiver | None] = field(default_factory=dict)

    def receiver(self, queue: str) -> str:
        """The name of who takes the tasks of `queue`, "" where that is our own list."""
        found = self.receivers.get(queue, self.receivers.get(DEFAULT))
        return "" if found is None else found.name

    async def hand_over(self, messages: Sequence[Outgoing]) -> dict[str, Handed]:
        """Key → what became of the task, each of which is in the store, and goes out as it stands there. Who isn't reached in
        time comes again at once."""
        end, done = time.monotonic() + BEGIN_SECONDS, dict[str, Handed]()
        by_name = {r.name: r for r in self.receivers.values() if r is not None}
        waiting = list(messages)
        size = min((r.capabilities.at_once for r in by_name.values()), default=1)
        while waiting and time.monotonic() < end:
            chunk, waiting = waiting[:size], waiting[size:]
            done |= await self._chunk(by_name, chunk)
        if waiting:
            async with transaction(self.database) as c:
                moment = await now(c)
            done |= {m.key: Handed(again=moment) for m in waiting}
        return done

    async def _chunk(self, by_name: Mapping[str, Receiver], chunk: Sequence[Outgoing]) -> dict[str, Handed]:
        owner, keys = uuid.uuid4().hex, [m.key for m in chunk]
        async with transaction(self.database) as c:
            claimed = await tasks.claim(c, keys, owner, LEASE_SECONDS)
            busy = await tasks.under_way(c, keys)
            moment = await now(c)
        done = {m.key: Handed() for m in chunk}  # there, closed meanwhile, or another task stands for it
        done |= {k: self._later(moment, left) for k, left in busy.items() if k not in claimed}
        written: list[dict[str, Any]] = []
        for name in sorted({row.receiver for row in claimed.values()}):
            theirs = [stored(m, claimed[m.key]) for m in chunk if m.key in claimed and claimed[m.key].receiver == name]
            receiver = by_name.get(name)
            if receiver is None:  # sojourn.yaml doesn't name it any more
                answers: Sequence[Receipt | Exception] = [LookupError("it isn't configured")] * len(theirs)
            else:
                lost = [m for m in theirs if claimed[m.key].uncertain and not self._may_repeat(receiver, claimed[m.key], moment)]
                written += [_row(m.key, "unknown", words="the handover before this one had no answer") for m in lost]
                theirs = [m for m in theirs if m not in lost]
                answers = await receiver.send_many(theirs)
            for message, told in zip(theirs, answers, strict=True):
                task = claimed[message.key]
                may_repeat = receiver is not None and self._may_repeat(receiver, task, moment)
                row = _became(message.key, told, task.tries, may_repeat, task.uncertain)
                written.append(row)
                if row["handover"] in ("waiting", "handed_over"):
                    parked = isinstance(told, Exception) or told.result is Result.REFUSED
                    done[message.key] = (
                        Handed(parked=f"task: {name}: {row['words']}") if parked else self._later(moment, row["wait"])
                    )
        async with transaction(self.database) as c:
            await tasks.record(c, owner, written)
        return done

    def _may_repeat(self, receiver: Receiver, task: Any, moment: datetime) -> bool:
        """Whether the receiver still recognises the key of a task, however long ago it heard it first."""
        age = self.clock.real_seconds(moment - task.created_at) + LEASE_SECONDS
        return receiver.capabilities.on_unknown == "retry" and age < receiver.remembers

    def _later(self, moment: datetime, seconds: float) -> Handed:
        return Handed(again=moment + max(self.clock.logical_span(seconds), timedelta(milliseconds=1)))

    async def finish(self) -> bool:
        """Close where they were handed to a page of tasks that are over here; whether there may be more to do at once."""
        by_name, owner = {r.name: r for r in self.receivers.values() if r is not None}, uuid.uuid4().hex
        async with transaction(self.database) as c:
            taken = await tasks.to_finish(c, owner, PAGE, LEASE_SECONDS)
        written: list[dict[str, Any]] = []
        began = time.monotonic()
        for row in taken:
            receiver = by_name.get(row.receiver)
            if time.monotonic() - began > LEASE_SECONDS / 2:  # its turn comes with the next page
                written.append(_row(row.key, row.handover))
            elif receiver is None:
                written.append(_row(row.key, "left", words="its receiver isn't configured any more"))
            elif row.handover == "handed_over" and not row.remote_id and not receiver.by_key:
                written.append(_row(row.key, "unknown", words="it was over before the receiver had answered"))
            else:
                told = await receiver.finish(row.key, row.remote_id)
                over = told.result is Result.REFUSED or row.tries >= FINISHING_TRIES
                how = "finished" if told.result is Result.ACCEPTED else "left" if over else row.handover
                written.append(_row(row.key, how, words=told.words, wait=_wait(told, row.tries) if how == row.handover else 0.0))
        async with transaction(self.database) as c:
            await tasks.record(c, owner, written)
        return len(taken) == PAGE


def stored(message: Outgoing, row: Any) -> Outgoing:
    """The task as it was made, whatever has changed since. `zone` of the message's fields: in which it says when it is due."""
    fields = dict(message.content.fields)
    zone = zone_named(fields.pop("zone", "UTC"))
    due = row.due_at.astimezone(zone).isoformat() if row.due_at else ""
    content = Content({**fields, "title": row.title, "queue": row.queue, "due": due}, text=row.body)
    return replace(message, to=row.assignee, content=content)


def _became(key: str, told: Receipt | Exception, tries: int, may_repeat: bool, uncertain: bool) -> dict[str, Any]:
    """The row of `store.tasks.record` for what a receiver said. Once an outcome is unknown, only a clear answer ends that."""
    kept = "handed_over" if uncertain else "waiting"
    if isinstance(told, Exception):
        return _row(key, kept, words=f"{type(told).__name__}: {told}"[:500])
    if told.result is Result.ACCEPTED:
        return _row(key, "there", told.provider_id, told.words)
    if told.result is Result.UNKNOWN and not (may_repeat and tries < TRIES):
        return _row(key, "unknown", words=told.words)
    if told.result is Result.REFUSED:
        return _row(key, "waiting", words=told.words)
    return _row(key, "handed_over" if told.result is Result.UNKNOWN else kept, words=told.words, wait=_wait(told, tries))


def _wait(told: Receipt, tries: int) -> float:
    """Seconds."""
    return told.retry_after if told.retry_after is not None else min(2.0 ** min(tries, 9), LONGEST_WAIT)


def _row(key: str, handover: str, remote_id: str = "", words: str = "", wait: float = 0.0) -> dict[str, Any]:
    return {"key": key, "handover": handover, "remote_id": remote_id, "words": words, "wait": wait}
