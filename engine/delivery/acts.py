"""Answers to `Act`: set, task, call, emit, start. Each is done once under its key, however often it is asked for.

Changes of people and events of our own go through the one door; tasks and variables are written here; calls leave the house.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from engine.authoring.expressions import Context, ExpressionError
from engine.core.clock import add, parse_duration
from engine.core.clock import zone as zone_named
from engine.core.enrollment import Command, Outcome
from engine.core.gates import ASK_AGAIN
from engine.core.incoming import CHAIN_LIMIT, Door, Incoming
from engine.core.interpreter import key
from engine.core.logical import LogicalClock
from engine.core.plan import Act, Plan
from engine.core.wire import Json, digest
from engine.delivery.channel import Content, Outgoing
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.guard import Forbidden
from engine.delivery.people import People
from engine.delivery.tasks import Handing
from engine.store import enrollments, ledger, pauses, tasks
from engine.store.database import Connection, Database, now, transaction

SOURCE = "journey"
"""The source of what journeys themselves bring about."""

CALL_RETRY_SECONDS = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Waits of real time between the tries of a `call` with `on_error: retry`; the last one repeats."""


EXPRESSIONS = ("once_per", "to")
"""Fields of an act that are expressions as they stand, without `{{ }}`."""


CALL_ANSWER_BYTES = 262_144
"""Of an answer, which becomes a variable."""

CALLS_AT_ONCE = 20
CALLS_BEGIN_SECONDS = 20.0
"""Together with a call's own 30 seconds at the most, a batch of calls stays under the activity's minute."""


@dataclass(slots=True)
class Asked:
    """One member's act, its `{{ }}` filled in. `row`: the member's context (`store.enrollments.contexts`); `key`: under which it
    is done once; `zone`: the customer's; `stored`: its task was made by an earlier try, and waits to be handed over."""

    enrollment: int
    command: Command
    op: Act
    row: Any
    key: str
    zone: str
    fields: dict[str, Any]
    outcome: Outcome | None = None
    paused: bool = False
    stored: bool = False

    def done(self, kind: Any, **values: Any) -> None:
        c = self.command
        self.outcome = Outcome(kind, c.op, c.visit, c.attempt, **values)

    def position(self) -> dict[str, Any]:
        """The row of `store.enrollments.record_deferrals` of one that is asked for again."""
        until = self.outcome.until if self.outcome is not None else None
        return {"id": self.enrollment, "step": self.op.step, "wake_at": until, "kept_back": self.paused}


@dataclass(slots=True)
class Acting:
    """Acts for one process. `http` makes the calls, and goes only where the settings let it (`guard.Outward`)."""

    database: Database
    deployments: Deployments
    door: Door
    clock: LogicalClock
    http: httpx.AsyncClient
    handing: Handing

    async def act(self, plan: Plan, members: Sequence[tuple[int, Command]]) -> list[tuple[int, Outcome]]:
        """One outcome per member, in order; what goes wrong for one is that one's."""
        asked = await self._asked(plan, members)
        incoming: list[tuple[Asked, Incoming]] = []
        variables: list[dict[str, Any]] = []
        new_tasks: list[dict[str, Any]] = []
        for a in asked:
            if a.outcome is not None:
                continue
            if a.op.verb == "task":
                if not a.row.holdout and not a.stored:
                    note_task(a, new_tasks, self.handing.receiver)
            elif a.op.verb != "call":
                incoming += [(a, i) for i in incoming_of(a, variables)]
        await self._calls([a for a in asked if a.outcome is None and a.op.verb == "call"], variables)
        again = [a for a in asked if a.outcome is not None and a.outcome.kind == "again" and not a.paused]
        async with transaction(self.database) as c:
            kept = await keep_back(c, [a for a in asked if a.outcome is None and a.op.verb == "task"])
            new_tasks = [t for t in new_tasks if t["key"] not in {a.key for a in kept}]
            again += kept
            await enrollments.lock_rows(c, [*(t["enrollment_id"] for t in new_tasks), *(a.enrollment for a in again)])
            await enrollments.record_deferrals(c, [a.position() for a in again])
            await tasks.insert(c, new_tasks)
            await enrollments.write_vars(c, variables)
        accepted = await self.door.accept([i for _, i in incoming]) if incoming else []
        await self._hand_over([a for a in asked if a.outcome is None and a.op.verb == "task" and not a.row.holdout])
        for (a, _), answer in zip(incoming, accepted, strict=True):
            if answer.quarantined and not answer.erased:
                a.done("park", reason=f"{a.op.verb}: {answer.quarantined}"[:180])
        for a in asked:
            if a.outcome is None:
                a.done("next")
        return [(a.enrollment, a.outcome) for a in asked if a.outcome is not None]

    async def _asked(self, plan: Plan, members: Sequence[tuple[int, Command]]) -> list[Asked]:
        async with transaction(self.database) as c:
            await pauses.stand_still(c)
            moment = await now(c)
            deployment = await self.deployments.current(c)
            rows = await enrollments.contexts(c, [(m, command.event) for m, command in members])
            people = await People.load(c, deployment, [r.customer_id for r in rows.values()], deployment.needs(plan), moment)
            states = await ledger.journey_states(c, list(rows))
            asked = []
            for member, command in members:
                op = plan.ops[command.op]
                assert isinstance(op, Act)
                row, state = rows[member], states[member]
                zone = people.zone(row.customer_id, row.attributes)
                a = Asked(member, command, op, row, key(member, plan, command), zone, {})
                asked.append(a)
                if row.status != "ended" and state.skipped == op.step and state.skipped_at > command.at:
                    a.done("next", at=state.skipped_at)
                elif row.status != "ended" and state.paused:
                    a.paused = True
                    a.done("again", until=moment + ASK_AGAIN)
            await enrollments.record_deferrals(c, [a.position() for a in asked if a.paused])
            made = await tasks.under_way(c, [a.key for a in asked if a.outcome is None and a.op.verb == "task"])
        for a in asked:
            a.stored = a.key in made and a.row.status != "ended"
            if a.outcome is None and not a.stored:
                fill(a, deployment, people)
        return asked

    async def _hand_over(self, asked: Sequence[Asked]) -> None:
        """The tasks that a program of the company's takes; the others are on our own list by now."""
        theirs = [a for a in asked if a.stored or self.handing.receiver(str(a.fields["queue"]))]
        handed = await self.handing.hand_over([_handover(a) for a in theirs]) if theirs else {}
        for a in theirs:
            told = handed[a.key]
            if told.parked:
                a.done("park", reason=told.parked[:180])
            elif told.again is not None:
                a.done("again", until=told.again)
        again = [a for a in theirs if a.outcome is not None and a.outcome.kind == "again"]
        if again:
            async with transaction(self.database) as c:
                await enrollments.lock_rows(c, [a.enrollment for a in again])
                await enrollments.record_deferrals(c, [a.position() for a in again])

    async def _calls(self, calls: Sequence[Asked], variables: list[dict[str, Any]]) -> None:
        """Many calls, a group at a time, each after another look at the pauses; those that a slow server keeps from being begun
        in time come again at once."""
        end = time.monotonic() + CALLS_BEGIN_SECONDS
        for group in (calls[i : i + CALLS_AT_ONCE] for i in range(0, len(calls), CALLS_AT_ONCE)):
            if time.monotonic() < end:
                async with transaction(self.database) as c:
                    await enrollments.record_deferrals(c, [a.position() for a in await keep_back(c, group)])
                await asyncio.gather(*(self._call(a, variables) for a in group if a.outcome is None))
            else:
                for a in group:
                    a.done("again", until=a.command.at)

    async def _call(self, a: Asked, variables: list[dict[str, Any]]) -> None:
        """An HTTP call under the step's idempotency key."""
        f = a.fields
        headers = {str(k): str(v) for k, v in (f.get("headers") or {}).items()}
        try:
            timeout = parse_duration(str(f.get("timeout") or "10s")).seconds
            response = await self.http.request(
                str(f["method"]),
                str(f["url"]),
                json=f.get("json"),
                headers={**headers, "Idempotency-Key": a.key},
                timeout=min(timeout, 30),
                follow_redirects=False,
            )
        except (Forbidden, httpx.InvalidURL, ValueError, TypeError) as refused:  # no later try would fare better
            a.done("park", reason=f"call: {refused}"[:180])
            return
        except httpx.HTTPError as failed:
            await self._call_failed(a, f"{type(failed).__name__}: {failed}")
            return
        if len(response.content) > CALL_ANSWER_BYTES:
            await self._call_failed(a, f"answered with {len(response.content)} bytes, and {CALL_ANSWER_BYTES} are the limit")
        elif response.is_success:
            if f.get("into"):
                variables.append({"id": a.enrollment, "vars": nested(str(f["into"]), _body(response))})
            a.done("next")
        else:
            await self._call_failed(a, f"answered {response.status_code}")

    async def _call_failed(self, a: Asked, what: str) -> None:
        async with transaction(self.database) as c:
            call_failed(a, what, self.clock, await now(c))


async def keep_back(c: Connection, asked: Sequence[Asked]) -> list[Asked]:
    """Have those come again whom an operator has paused since they were looked at; which these are. Nobody pauses while `c`
    lasts, and their positions are the caller's to record."""
    if not asked:
        return []
    await pauses.stand_still(c)
    states, moment = await ledger.journey_states(c, [a.enrollment for a in asked]), await now(c)
    for a in asked:
        if a.row.status != "ended" and states[a.enrollment].paused:
            a.paused = True
            a.done("again", until=moment + ASK_AGAIN)
    return [a for a in asked if a.paused]


def fill(a: Asked, deployment: Deployment, people: People) -> None:
    """Evaluate the condition and the fields; what is over then, or goes wrong, is the act's outcome."""
    if a.row.status == "ended":  # while the act was on its way: its answer interests nobody
        a.done("next")
        return
    try:
        _fill(a, deployment, people.context(a.row, a.command.at))
    except (ExpressionError, ValueError) as wrong:
        a.done("park", reason=f"{a.op.verb}: {wrong}"[:180])


def _fill(a: Asked, deployment: Deployment, context: Context) -> None:
    """`secrets` are seen by `call` alone."""
    if a.op.condition is not None and not deployment.expression(a.op.condition).test(context):
        a.done("next")
        return
    if a.op.verb == "call":
        context = Context(
            context.customer, context.now, context.entry, context.event, context.vars, context.segments, context.zone, _Secrets()
        )
    written = dict(a.op.fields)
    sources = {n: str(written.pop(n)) for n in EXPRESSIONS if written.get(n) is not None}
    a.fields = deployment.values(written, context)
    a.fields |= {n: deployment.expression(source).evaluate(context) for n, source in sources.items()}
    if a.op.verb in ("emit", "start", "set") and a.row.depth + 1 > CHAIN_LIMIT:
        a.done("park", reason=f"{a.op.verb}: a chain of {CHAIN_LIMIT} emits and starts led here, which looks like a circle")


class _Secrets(Mapping[str, object]):
    """`secrets.NAME` is the environment variable SOJOURN_SECRET_NAME. One that isn't set is a ValueError: a call without its
    credentials helps nobody."""

    def __getitem__(self, name: str) -> object:
        variable = f"SOJOURN_SECRET_{name}"
        if not os.environ.get(variable):
            raise ValueError(f"the environment variable {variable} isn't set")
        return os.environ[variable]

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def incoming_of(a: Asked, variables: list[dict[str, Any]]) -> list[Incoming]:
    """What an act sends through the door; `vars` are written to the enrollment instead."""
    depth = a.row.depth + 1
    if a.op.verb == "set":
        mine = {k.removeprefix("vars."): v for k, v in a.fields.items() if k.startswith("vars.")}
        traits = {k.removeprefix("customer."): v for k, v in a.fields.items() if k.startswith("customer.")}
        if mine:
            variables.append({"id": a.enrollment, "vars": mine})
        if not traits:
            return []
        return [Incoming("set", SOURCE, a.key, traits=traits, customer=a.row.customer_id, occurred_at=a.command.at, depth=depth)]
    given = dict(a.fields.get("with") or {})
    if a.op.verb == "start":
        journey = str(a.fields["journey"])
        return [
            Incoming(
                "enroll", SOURCE, a.key, properties=given, customer=a.row.customer_id, journey=journey, depth=depth,
                occurred_at=a.command.at,
            )
        ]  # fmt: skip
    to = a.fields.get("to")
    if a.op.fields.get("to") is not None and to in (None, ""):
        return []
    named: dict[str, Any] = {"identifiers": {"user_id": str(to)}} if to else {"customer": a.row.customer_id}
    name = str(a.fields["event"])
    return [Incoming("track", SOURCE, a.key, name, properties=given, occurred_at=a.command.at, depth=depth, **named)]


def call_failed(a: Asked, what: str, clock: LogicalClock, moment: datetime) -> None:
    """`on_error`: retry (with growing waits), skip or exit."""
    how = a.fields.get("on_error") or "retry"
    if how == "skip":
        a.done("next")
    elif how == "exit":
        a.done("exit", reason="call_failed")
    else:
        waited = clock.real_seconds(moment - a.command.at)
        wait = next((s for s in CALL_RETRY_SECONDS if s > waited / 2), CALL_RETRY_SECONDS[-1])
        a.done("again", until=moment + clock.logical_span(wait), reason=f"call: {what}"[:180])


def note_task(a: Asked, new_tasks: list[dict[str, Any]], receiver: Callable[[str], str]) -> None:
    """Adds the row of `store.tasks.create`, where it can be made. `receiver`: queue → the program that takes its tasks."""
    try:
        new_tasks.append({**task_of(a), "receiver": receiver(str(a.fields["queue"]))})
    except ValueError as wrong:
        a.done("park", reason=f"task: {wrong}"[:180])


def task_of(a: Asked) -> dict[str, Any]:
    f = a.fields
    due: datetime | None = None
    if f.get("due"):
        due = add(a.command.at, parse_duration(str(f["due"])), zone_named(a.zone))
    once = f.get("once_per")
    return {
        "key": a.key,
        "enrollment_id": a.enrollment,
        "queue": str(f["queue"]),
        "title": str(f.get("title") or ""),
        "body": str(f.get("body") or ""),
        "assignee": str(f.get("assignee") or ""),
        "once": digest([a.row.journey, a.op.step, f["queue"], str(once)]) if once not in (None, "") else None,
        "due_at": due,
    }


def _handover(a: Asked) -> Outgoing:
    """What the stored task doesn't say of itself (`engine.delivery.tasks.stored`)."""
    return Outgoing(
        key=a.key,
        to="",
        content=Content({"at": a.command.at.isoformat(), "zone": a.zone}, text=""),
        sender={},
        customer=str(a.row.customer_id),
        journey=a.row.journey,
        step=a.op.step,
        template="",
        tier="",
    )


def nested(path: str, value: Json) -> dict[str, Json]:
    """{"y": value} for `vars.y`."""
    return {path.removeprefix("vars."): value}


def _body(response: httpx.Response) -> Json:
    """The answer's JSON, else its text (at most 64 KB of it)."""
    try:
        return response.json()
    except ValueError:
        return response.text[:65536]
