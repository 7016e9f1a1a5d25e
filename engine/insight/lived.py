"""One enrollment's life as it is recorded: its inputs, its messages with every decision, and the traces that its acts left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core.compact import decode_state
from engine.core.enrollment import Begin, Input, State
from engine.core.plan import Plan
from engine.delivery.acts import SOURCE
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.insight.inputs import begun
from engine.store import history, lived
from engine.store.database import Connection, now

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
class Moved:
    """One hand-over. `move`: what it was asked, and whether it `followed` that: else it went on as before · `first`: the reset
    that it followed before that, at the same time · `seq`: of the input with which it begins there; those before it came on plan
    `old` · `done_to`: the input up to which its moves are over · `state`: in which it was let go, None where an erasure has taken
    that · `behind`: it went on behind the send it stood at."""

    at: datetime
    seq: int
    move: Input
    followed: bool
    done_to: int
    old: Plan
    new: Plan
    behind: bool
    state: State | None
    first: Input | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """All that is recorded of one enrollment. `decisions` and `messages` by key · `traces`: key → when, of everything that left
    one: messages, tasks, events of its own · `moved`: its hand-overs, in order; `untold`: there was one of which nothing is
    recorded, so that it can't be followed · `parkings`: what it was parked for, in order · `missing`: what is known to be gone,
    in words · `pruned`: retention removes messages here, so that none of a step says nothing · `now`: when it was read."""

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
    moved: Sequence[Moved] = ()
    untold: bool = False
    parkings: Sequence[Any] = ()

    @property
    def id(self) -> int:
        """The enrollment's number."""
        return int(self.row.id)


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
    handed: dict[int, list[Any]] = defaultdict(list)
    for m in await lived.moved(c, ids):
        handed[m.enrollment_id].append(m)
    parkings: dict[int, list[Any]] = defaultdict(list)
    for p in await lived.parkings(c, ids):
        parkings[p.enrollment_id].append(p)
    known = {r.plan for r in rows}.union(h for own in handed.values() for m in own for h in (m.old_plan, m.new_plan))
    plans = {h: await deployments.plan(c, h) for h in known}
    needs = deployment.needs(*plans.values())
    people = await People.load(c, deployment, [r.customer_id for r in rows], needs, moment)
    lives = []
    for r in rows:
        begin = f"{r.id}/"
        moved = [_moved(m, plans, inputs[r.id]) for m in handed[r.id]]
        untold = _untold([i.row for i in inputs[r.id]], handed[r.id]) or (None in moved and bool(inputs[r.id]))
        own = {k: m for k, m in messages.items() if m.enrollment_id == r.id}
        decided = {k: decisions[k] for k in own}
        lives.append(
            Life(
                row=r,
                plan=plans[r.plan],
                inputs=inputs[r.id],
                decisions=decided,
                messages=own,
                traces={k: at for k, at in traces.items() if k.startswith(begin)},
                deployment=deployment,
                people=people,
                now=moment,
                missing=(*_missing(r, inputs[r.id], own, decided, untold=untold), *((PRUNED,) if pruned else ())),
                pruned=pruned,
                moved=tuple(m for m in moved if m is not None),
                untold=untold,
                parkings=parkings[r.id],
            )
        )
    return lives


def _recorded(i: Any) -> Recorded:
    came = i.at if i.accepted_at is None else max(i.at, i.accepted_at)
    if i.kind == "begin":
        return Recorded(Begin(i.seq, i.at), came, i.event_name or "", i)
    matched = tuple((op, alternative) for op, alternative in i.matched)
    return Recorded(Input(i.seq, i.at, i.kind, matched, i.reason), came, i.event_name or "", i)


def _untold(inputs: Sequence[Any], rows: Sequence[Any]) -> bool:
    """Whether a move among the inputs was carried out without a row of it. A retry by a person that was under way meanwhile looks
    as if the move had begun with it: that one is told of all the same."""
    return any(
        all(seq != row.seq and not row.asked <= move.seq <= row.done_to for row in rows)
        for seq, (*_, move) in begun(inputs).items()
    )


def _moved(m: Any, plans: Mapping[str, Plan], inputs: Sequence[Recorded]) -> Moved | None:
    """A hand-over; None where the input that asked for it is gone."""
    given = {i.given.seq: i.given for i in inputs}
    move, first = given.get(m.done_to if m.followed else m.asked), given.get(m.first)
    if not isinstance(move, Input) or (m.first is not None and not isinstance(first, Input)):
        return None
    state = None if m.state is None else decode_state(m.state)
    reset = first if isinstance(first, Input) else None
    return Moved(m.at, m.seq, move, m.followed, m.done_to, plans[m.old_plan], plans[m.new_plan], m.behind, state, reset)


def _missing(
    row: Any, inputs: Sequence[Recorded], messages: Mapping[str, Any], decisions: Mapping[str, Any], *, untold: bool
) -> list[str]:
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
    if untold:
        found.append(
            "it was brought to another plan or another step before that was recorded: a replay doesn't follow it, and isn't "
            "compared with the end"
        )
    if row.merged:
        found.append("somebody was merged into the customer: what a split said before the merge may be another arm")
    return found
