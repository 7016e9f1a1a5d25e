"""The real store, door, gates and interpreter under a test's own clock, with the test in Temporal's place: it carries inputs to
passages and commands to activities, in any order, and again after a crash.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine.app.deploying import deploy
from engine.authoring.project import Compiled, load_project
from engine.core import compact
from engine.core.enrollment import Begin, Command, Input, Outcome, State, Wake
from engine.core.interpreter import advance
from engine.core.logical import LogicalClock
from engine.core.plan import Plan
from engine.delivery.channel import Adapter, Capabilities, Outgoing, Receipt, Result
from engine.delivery.deliver import Delivery
from engine.delivery.deployments import Deployments
from engine.delivery.evaluate import Evaluation
from engine.delivery.links import load_links
from engine.intake import operators
from engine.intake.commanded import CantMerge
from engine.intake.door import Intake
from engine.store import planned
from engine.store.database import connect, fetch, run, transaction
from engine.temporal.activities import Activities
from tests.harness import write_project
from tests.proofs import stage
from tests.proofs.project import CAPS, files
from tests.proofs.stage import Act, Stage

EPOCH = datetime.fromisoformat("2026-01-01T00:00:00+00:00")

ANSWERS = {
    "accepted": Receipt(Result.ACCEPTED),
    "refused": Receipt(Result.REFUSED),
    "soon": Receipt(Result.LATER, retry_after=30.0),
    "later": Receipt(Result.LATER, retry_after=3600.0),
    "unknown": Receipt(Result.UNKNOWN),
    "broken": RuntimeError("the adapter is broken"),
}
"""What the provider says, by name. With `accepted` and `unknown` the customer has, or may have, the message."""


class Provider(Adapter):
    """A channel that answers as the test says, and stops before and after each handover."""

    def __init__(self, name: str, address: str, on_unknown: Any) -> None:
        self.name = name
        self.capabilities = Capabilities(address, idempotent=True, concurrency=500, on_unknown=on_unknown, local=True)
        self.answers: Iterator[str] = itertools.repeat("accepted")

    async def send_many(self, messages: Sequence[Outgoing]) -> list[Receipt | Exception]:
        """One answer each."""
        await stage.stop()
        told = [(m, next(self.answers)) for m in messages]
        stage.handed(told)
        await stage.stop()
        return [ANSWERS[name] for _, name in told]  # type: ignore[misc]  # receipts and exceptions, as written above


@dataclass
class Passages:
    """Where the enrollments of one example stand, as Temporal would keep it. `asked`: commands that nobody has answered."""

    states: dict[int, State] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)
    asked: list[tuple[int, Command]] = field(default_factory=list)

    def give(self, member: int, given: Any, now: datetime) -> None:
        """Something happens to `member`."""
        state, commands = advance(self.plans[member], self.states[member], given, now)
        self.states[member] = state
        self.asked += [(member, c) for c in commands]

    def wakes(self) -> list[datetime]:
        """When somebody is to be woken."""
        return sorted(s.wake for s in self.states.values() if s.status == "waiting" and s.wake is not None)

    def groups(self) -> list[tuple[str, str, str]]:
        """What is asked for, as activities: kind, plan, channel."""
        return sorted({(c.kind, self.plans[m].hash, c.channel) for m, c in self.asked})


class World:
    """One database with everything that acts on it. `now`: what the database's clock shows."""

    def __init__(self, folder: Path, url: str) -> None:
        self._runner = asyncio.Runner()
        self.database = connect(url, pool=8, name="proofs")
        self.projects = {name: _compiled(folder / name, name) for name in CAPS}
        self.deployments = Deployments()
        self.email, self.sms = Provider("email", "email", "retry"), Provider("sms", "phone", "assume_sent")
        self.now = EPOCH
        self.intake = Intake(self.database, self.deployments)
        self.activities = self.run(self._open())
        self.stage = Stage(self.database, url)

    def run(self, what: Awaitable[Any]) -> Any:
        """Do it now."""

        async def whole() -> Any:
            return await what

        return self._runner.run(whole())

    def close(self) -> None:
        """Give everything up."""
        self.stage.close()
        self.run(self.database.dispose())
        self._runner.close()

    async def _open(self) -> Activities:
        async with transaction(self.database) as c:
            await run(
                c,
                "create or replace function sojourn_now() returns timestamptz language sql volatile as "
                "$$ select logical_epoch from clock $$",
            )
            await planned.know_channels(c, {"email": "email", "sms": "phone"})
            links = await load_links(c, "http://127.0.0.1")
        channels = {"email": self.email, "sms": self.sms}
        clock = LogicalClock(1.0, EPOCH, EPOCH)
        delivery = Delivery(self.database, self.deployments, channels, {}, links, clock, self.intake)
        evaluation = Evaluation(self.database, self.deployments)
        return Activities(self.database, self.deployments, evaluation, None, delivery)  # type: ignore[arg-type] # nobody acts

    def deploy(self, caps: str) -> None:
        """The project with these caps, from now on."""
        self.run(deploy(self.database, self.projects[caps], "test"))

    def set_clock(self, now: datetime) -> None:
        """Let it be `now`. Whoever held a lease has lost it: that takes seconds."""

        async def move() -> None:
            async with transaction(self.database) as c:
                await run(c, "update clock set logical_epoch = :now", now=now)
                await run(c, "update messages set lease_until = '2000-01-01Z' where lease_until is not null")

        self.run(move())
        self.now = now

    def ask(self, statement: str, **values: Any) -> Sequence[Any]:
        """Rows straight from the store."""

        async def look() -> Sequence[Any]:
            async with transaction(self.database) as c:
                return await fetch(c, statement, **values)

        found: Sequence[Any] = self.run(look())
        return found

    def play(self, acts: Sequence[Act], turns: Iterator[int]) -> None:
        """Let `acts` meet."""
        self.stage.log.clear()
        self.run(self.stage.play(acts, turns))

    def relay(self, passages: Passages, customers: Sequence[int]) -> None:
        """Bring what has happened to these customers' enrollments to their passages."""
        pending = self.ask(
            "select i.id, i.enrollment_id, i.seq, i.kind, i.at, i.matched, i.reason, e.plan from inputs i "
            "join enrollments e on e.id = i.enrollment_id where i.relayed_at is null and e.customer_id = any(:ids) order by i.id",
            ids=list(customers),
        )
        for r in pending:
            if r.enrollment_id not in passages.plans:
                passages.plans[r.enrollment_id] = self.plan(r.plan)
                passages.states[r.enrollment_id] = State()
            begun = Begin(r.seq, r.at) if r.kind == "begin" else None
            matched = tuple((op, alternative) for op, alternative in r.matched)
            passages.give(r.enrollment_id, begun or Input(r.seq, r.at, r.kind, matched, r.reason), self.now)

        async def mark() -> None:
            async with transaction(self.database) as c:
                await run(c, "update inputs set relayed_at = now() where id = any(:ids)", ids=[r.id for r in pending])

        if pending:
            self.run(mark())

    def wake(self, passages: Passages) -> None:
        """Wake whoever is due."""
        for member, state in list(passages.states.items()):
            if state.status == "waiting" and state.wake is not None and state.wake <= self.now:
                passages.give(member, Wake(), self.now)

    def plan(self, plan_hash: str) -> Plan:
        """A deployed plan."""
        return next(p for project in self.projects.values() for p in project.plans.values() if p.hash == plan_hash)

    def activity(self, passages: Passages, group: tuple[str, str, str]) -> tuple[Act, list[tuple[int, Command]]]:
        """The activity that answers all that is asked of this group, and what it answers."""
        kind, plan_hash, channel = group
        plan = self.plan(plan_hash)
        members = [(m, c) for m, c in passages.asked if (c.kind, c.channel) == (kind, channel) and passages.plans[m] is plan]
        states = {m: passages.states[m] for m, _ in members}

        async def do() -> list[tuple[int, Outcome]]:
            if kind == "evaluate":
                return await self.activities.evaluation.evaluate(plan, [(m, c, states[m]) for m, c in members])
            if kind == "deliver":
                return await self.activities.delivery.deliver(channel, plan, members)
            bodies = [[m, compact.encode_command(c), compact.encode_state(states[m])] for m, c in members]
            await self.activities.record({"plan": plan_hash, "members": bodies})
            return []

        return Act(f"{kind} {plan.journey} {channel}", do), members

    def operator(self, act: str, enrollments: Sequence[int]) -> Callable[[], Awaitable[Any]]:
        """`retry` or `stop` these enrollments."""

        async def do() -> None:
            async with transaction(self.database) as c:
                await getattr(operators, act)(c, enrollments, "test")

        return do

    def merge(self, kept: int, gone: int) -> Callable[[], Awaitable[Any]]:
        """Make one of two customers, unless another has done it."""

        async def do() -> None:
            with suppress(CantMerge):
                await self.intake.merge(kept, gone, "proofs")

        return do


def _compiled(folder: Path, caps: str) -> Compiled:
    return load_project(write_project(folder, files(caps)), {"email", "sms"})


HOUR = timedelta(hours=1)
