"""Answers to `Evaluate`: which branch, what moment, which event. One transaction for a batch, nothing sent, nothing decided
about caps.

The core never evaluates, because conditions need personal data; this module never moves anybody, because that is the core's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from engine.authoring.expressions import Context, ExpressionError
from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.core.compact import encode_state
from engine.core.enrollment import Command, Outcome, State
from engine.core.interpreter import recent
from engine.core.plan import Branch, Exit, Loop, Moment, Plan, Split, Wait, WaitFor
from engine.core.upcoming import literal, over
from engine.core.wire import share
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.delivery.queueing import registration, requeue
from engine.store import enrollments, planned
from engine.store.database import Database, now, transaction

Asked = tuple[int, Command, State | None]
"""Enrollment, what it asks, and its state when it asked."""


@dataclass(slots=True)
class Evaluation:
    """Answers for one process."""

    database: Database
    deployments: Deployments

    async def evaluate(self, plan: Plan, asked: Sequence[Asked]) -> list[tuple[int, Outcome]]:
        """One outcome per member, in order. A condition that can't be evaluated parks its member. Positions of those that
        now wait are recorded in the same transaction."""
        async with transaction(self.database) as c:
            deployment = await self.deployments.current(c)
            moment = await now(c)
            rows = await enrollments.contexts(c, [(m, command.event) for m, command, _ in asked])
            people = await People.load(c, deployment, [r.customer_id for r in rows.values()], deployment.needs(plan), moment)
            inputs: dict[int, list[Any]] = defaultdict(list)
            waiting = [m for m, command, _ in asked if isinstance(plan.ops[command.op], WaitFor)]
            if waiting:
                for r in await enrollments.matched_inputs(c, waiting):
                    inputs[r.enrollment_id].append(r)
            answers = []
            positions = []
            registrations = []
            for member, command, state in asked:
                outcome = self._answer(deployment, plan, people, rows[member], inputs[member], command, state)
                answers.append((member, outcome))
                if outcome.kind == "sleep":
                    step = getattr(plan.ops[command.op], "step", "")
                    body = None if state is None else encode_state(state)
                    positions.append({"id": member, "step": step, "wake_at": outcome.until, "state": body})
                coming = _registration(deployment, plan, people, rows[member], state, outcome)
                if coming is not None:
                    registrations.append(coming)
            await enrollments.record_positions(c, positions)
            await planned.register(c, registrations)
            # Each answer says where its member goes: what was registered before and isn't now will not come.
            coming_ids = {r["enrollment_id"] for r in registrations}
            left = await planned.forget(c, [m for m, _, _ in asked if m not in coming_ids])
        if left:
            async with transaction(self.database) as c:
                await requeue(c, deployment, sorted(set(left.values())), await now(c))
        return answers

    def _answer(
        self,
        deployment: Deployment,
        plan: Plan,
        people: People,
        row: Any,
        inputs: Sequence[Any],
        command: Command,
        state: State | None,
    ) -> Outcome:
        try:
            context = people.context(row, command.at)
            return Question(deployment, plan, row, context, command, state, inputs).answer()
        except (ExpressionError, ValueError) as wrong:
            return Outcome("park", command.op, command.visit, command.attempt, reason=f"condition: {wrong}"[:180])


def _registration(
    deployment: Deployment, plan: Plan, people: People, row: Any, state: State | None, outcome: Outcome
) -> dict[str, Any] | None:
    """What the member will send next, if only time stands between; None also for one that has ended meanwhile."""
    if state is None or (state.op, state.visit, state.attempt) != (outcome.op, outcome.visit, outcome.attempt):
        return None
    return registration(deployment.policy, plan, row.id, state, outcome, people.zone(row.customer_id, row.attributes))


@dataclass(slots=True)
class Question:
    """One member's question. `row`: their context (`store.enrollments.contexts`); `inputs`: those that matched a wait, in order
    of occurrence (`store.enrollments.matched_inputs`)."""

    deployment: Deployment
    plan: Plan
    row: Any
    context: Context
    command: Command
    state: State | None
    inputs: Sequence[Any]

    def answer(self) -> Outcome:
        """The outcome for the operation that is asked about."""
        op = self.plan.ops[self.command.op]
        if isinstance(op, Exit):
            return self.out("exit", reason=op.reason) if self.true(op.condition) else self.out("next")
        if isinstance(op, Loop):
            stop = (op.until is not None and self.true(op.until)) or not self.true(op.condition)
            return self.out("goto", choice=op.done) if stop else self.out("next")
        if not isinstance(op, (Wait, WaitFor, Branch, Split)):
            raise ValueError(f"operation {self.command.op} asks for no evaluation")
        if not self.command.confirm and not self.true(op.condition):
            return self.out("goto", choice=op.skip_to) if op.skip_to >= 0 else self.out("next")
        if isinstance(op, Wait):
            return self.wait(op)
        if isinstance(op, WaitFor):
            return self.wait_for(op)
        if isinstance(op, Branch):
            return self.out("goto", choice=next((a.target for a in op.arms if self.true(a.condition)), op.otherwise))
        return self.out("goto", choice=self.split(op))

    def out(self, kind: Any, **values: Any) -> Outcome:
        c = self.command
        return Outcome(kind, c.op, c.visit, c.attempt, **values)

    def true(self, condition: str | None) -> bool:
        return condition is None or self.deployment.expression(condition).test(self.context)

    def wait(self, op: Wait) -> Outcome:
        """When the wait ends."""
        moment = self.moment(op.until)
        if moment is None:
            return self.out("exit", reason="no_date")
        return over(op, self.command, moment)

    def wait_for(self, op: WaitFor) -> Outcome:
        """An event that came already, else the deadline; at the deadline, whether one came before it after all."""
        deadline = self.state.deadline if self.command.confirm and self.state is not None else None
        deadline = deadline or self.moment(op.timeout)
        if deadline is None:
            return self.out("exit", reason="no_date")
        first = self.first_match(op, deadline)
        if first is not None:
            return self.out("took", choice=first[1], seq=first[0].seq, at=first[0].at)
        if self.command.confirm:
            return self.out("timeout", at=deadline)
        for a in op.alternatives:
            if (a.segment is not None and self.context.segments(a.segment)) or (
                a.condition is not None and self.true(a.condition)
            ):
                return self.out("goto", choice=a.target)
        return self.out("sleep", until=deadline)

    def first_match(self, op: WaitFor, deadline: datetime) -> tuple[Any, int] | None:
        """The earliest input that matched this wait, isn't used up, and occurred in time; with its alternative."""
        for r in self.inputs:
            if r.seq in self.command.taken or r.at > deadline:
                continue
            for number, alternative in r.matched:
                if number == self.command.op and recent(op, alternative, r.at, self.command.at):
                    return r, alternative
        return None

    def split(self, op: Split) -> int:
        """Stable by customer: edits elsewhere never reshuffle. Each occurrence of a schedule divides people anew."""
        subject = str(self.row.customer_id)
        salt = f"split/{self.plan.journey}/{op.name}"
        if self.row.entry_name == "$schedule":
            salt = f"{salt}/{self.row.entry.get('occurrence', '')}"
        if op.holdout and share(f"{salt}/holdout", subject) < op.holdout:
            return op.skip_to
        left = share(salt, subject) * sum(a.weight for a in op.arms)
        for arm in op.arms:
            left -= arm.weight
            if left < 0:
                return arm.target
        return op.arms[-1].target

    def moment(self, written: Moment) -> datetime | None:
        """The moment that was written, from the step's start, in the customer's zone."""
        at = self.command.at
        zone = zone_named(self.context.zone if written.timezone == "customer" else written.timezone)
        found: datetime | None
        if written.expression is None:
            found = literal(written, at, self.context.zone)
        else:
            found = self.deployment.expression(written.expression).moment(self.context)
            if found is None:
                return None
            if written.offset is not None:
                found = add(found, written.offset, zone)
        if written.jitter is not None:
            found += _spread(written.jitter, found, zone, f"{self.row.id}/{self.command.op}/{self.command.visit}")
        return found


def _spread(jitter: Duration, at: datetime, zone: Any, subject: str) -> timedelta:
    """A stable part of [0, jitter)."""
    whole = add(at, jitter, zone) - at
    return timedelta(seconds=int(whole.total_seconds() * share("jitter", subject)))
