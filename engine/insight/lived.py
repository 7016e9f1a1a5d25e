"""One enrollment's life as it is recorded: its inputs, its messages with every decision, and the traces that its acts left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core.compact import decode_state
from engine.core.enrollment import Begin, Input
from engine.core.plan import Exit, Loop, Plan
from engine.delivery.acts import SOURCE
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.store import history, lived
from engine.store.database import Connection, now
from engine.store.relay import DONE

PRUNED = "retention removes old messages here: a send of which nothing is recorded may have been made"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One input: `given` goes into the core at `came`, when it was accepted. `name`: of the event behind it, "" without one ·
    `row`: what the store has of it."""

    given: Begin | Input
    came: datetime
    name: str
    row: Any


@dataclass(frozen=True, slots=True)
class Life:
    """All that is recorded of one enrollment. `decisions` and `messages` by key · `traces`: key → when, of everything that left
    one: messages, tasks, events of its own · `missing`: what is known to be gone, in words · `pruned`: retention removes
    messages here, so that none of a step says nothing · `now`: when it was read."""

    row: Any
    plan: Plan
    inputs: Sequence[Recorded]
    decisions: Mapping[str, Sequence[Any]]
    messages: Mapping[str, Any]
    traces: Mapping[str, datetime]
    deployment: Deployment
    people: People
    now: datetime
    missing: tuple[str, ...] = ()
    pruned: bool = False

    @property
    def id(self) -> int:
        """The enrollment's number."""
        return int(self.row.id)

    @property
    def moved(self) -> bool:
        """Whether it has gone on with another plan or at another step, which a replay along one plan can't follow."""
        return any(map(_moved, self.inputs))


async def read_lives(c: Connection, customer: int, journey: str | None, deployments: Deployments) -> list[Life]:
    """The customer's enrollments, oldest first. Raises NothingDeployed."""
    deployment = await deployments.current(c)
    rows = await lived.enrollments_of(c, customer, journey)
    ids = [r.id for r in rows]
    moment = await now(c)
    pruned = await lived.removes_messages(c)
    inputs: dict[int, list[Recorded]] = defaultdict(list)
    for i in await lived.inputs(c, ids):
        inputs[i.enrollment_id].append(_recorded(i))
    messages = {m.key: m for m in await history.messages(c, ids)}
    decisions: dict[str, list[Any]] = defaultdict(list)
    for d in await history.decisions(c, list(messages)):
        decisions[d.key].append(d)
    traces = {key: m.planned_at for key, m in messages.items()}
    traces |= {t.key: t.at for t in await lived.tasks(c, ids)}
    traces |= {e.key: e.at for e in await lived.brought_about(c, customer, SOURCE)}
    plans = {h: await deployments.plan(c, h) for h in {r.plan for r in rows}}
    needs = deployment.needs(*plans.values())
    people = await People.load(c, deployment, [r.customer_id for r in rows], needs, moment)
    lives = []
    for r in rows:
        plan = plans[r.plan]
        begin = f"{r.id}/"
        own = {k: m for k, m in messages.items() if m.enrollment_id == r.id}
        decided = {k: decisions[k] for k in own}
        lives.append(
            Life(
                row=r,
                plan=plan,
                inputs=inputs[r.id],
                decisions=decided,
                messages=own,
                traces={**{k: at for k, at in traces.items() if k.startswith(begin)}, **_stood(r, plan)},
                deployment=deployment,
                people=people,
                now=moment,
                missing=(*_missing(r, inputs[r.id], own, decided), *((PRUNED,) if pruned else ())),
                pruned=pruned,
            )
        )
    return lives


def _stood(row: Any, plan: Plan) -> dict[str, datetime]:
    """What the enrollment's own row says of where it has been: the last wait that was recorded, and the exit that it took."""
    found: dict[str, datetime] = {}
    if row.state is not None:
        state = decode_state(row.state)
        step = plan.step_at(state.op)
        if step is not None and state.at is not None:
            found[f"{row.id}/{step}/{state.visit}/0"] = state.at
    if row.status == "ended" and row.ended_at is not None and not any(isinstance(op, Loop) for op in plan.ops):
        exits = [op.step for op in plan.ops if isinstance(op, Exit) and op.reason == row.reason]
        if len(exits) == 1:
            found[f"{row.id}/{exits[0]}/0/0"] = row.ended_at
    return found


def _recorded(i: Any) -> Recorded:
    came = i.at if i.accepted_at is None else max(i.at, i.accepted_at)
    if i.kind == "begin":
        return Recorded(Begin(i.seq, i.at), came, i.event_name or "", i)
    matched = tuple((op, alternative) for op, alternative in i.matched)
    return Recorded(Input(i.seq, i.at, i.kind, matched, i.reason), came, i.event_name or "", i)


def _moved(one: Recorded) -> bool:
    return bool(one.row.kind == "move" and one.row.note == DONE)


def _missing(row: Any, inputs: Sequence[Recorded], messages: Mapping[str, Any], decisions: Mapping[str, Any]) -> list[str]:
    """What a replay lacks, in words."""
    found = []
    if row.erased_at is not None:
        found.append("the customer was erased: conditions can't be worked out again")
    if not inputs:
        found.append("its inputs are gone (retention of `inputs`): nothing can be replayed")
    elif len(inputs) < row.last_seq:
        found.append(f"{row.last_seq - len(inputs)} of its {row.last_seq} inputs are gone")
    if row.emptied or any(i.row.emptied for i in inputs):
        found.append(
            "properties of its events are gone (retention of `event_properties`): conditions on them can't be asked again"
        )
    bare = sum(m.decided_at is not None and not decisions[k] and m.reason != "condition" for k, m in messages.items())
    if bare:
        found.append(
            f"the decisions on {bare} of its messages are gone (retention of `decisions`): only the last one's result is known"
        )
    if any(map(_moved, inputs)):
        found.append(
            "it was brought to another plan or another step: a replay doesn't follow that, and isn't compared with the end"
        )
    if row.merged:
        found.append("somebody was merged into the customer: what a split said before the merge may be another arm")
    return found
