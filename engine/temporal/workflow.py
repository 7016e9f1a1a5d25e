"""The cohort: one workflow execution that carries up to 500 enrollments of one plan.

It only translates: inputs go into `core.advance`, commands come out and become batched activities, their outcomes go back in.
It decides nothing, reads no clock but Temporal's, and holds ids, positions and moments. Its type is the journey's name.

Danger signs when you change this file: anything that alters which activities, timers or signals are produced in which order
breaks the replay of cohorts that are running; put such a change behind `workflow.patched`.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import Priority, RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, TimeoutError, TimeoutType

from engine.core import compact
from engine.core.enrollment import NOT_REACHED, Begin, Command, Given, Outcome, State, Wake
from engine.core.interpreter import advance, keeps_a_reset, park, reissue
from engine.core.logical import LogicalClock
from engine.core.moving import without_moves
from engine.core.plan import Plan, plan_from_json
from engine.core.wire import Json
from engine.temporal.grouping import CHUNK, Group, Lanes, group, lanes_from_json, queue_name

with workflow.unsafe.imports_passed_through():
    from engine.temporal.plans import SHELF  # shared on purpose: immutable plans by hash, as JSON

HISTORY_LIMIT = 1_000
"""History events after which a cohort continues as new."""

ADMISSION_AGE = timedelta(hours=1)
"""How long the relay admits to a cohort."""

CLOSING_GRACE = timedelta(minutes=5)
"""An empty cohort waits this much longer, so that an admission on its way still finds it."""

QUEUE_PATIENCE = timedelta(minutes=10)
"""A deliver that no worker picks up for this long parks its members."""

AT_ONCE = {"evaluate": 1, "deliver": 1, "record": 1, "act": 8}
"""Activities of a kind, per queue, that a cohort has in flight; an `act` may wait for somebody else's HTTP server."""

LEAST = 8
"""Members of a deliver at the least, however slowly they go."""

RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30))
"""For infrastructure only: members' own retries are the core's."""


@workflow.defn(dynamic=True)
class Cohort:
    """See the module. Signals: `inputs` (a list of compact items), `roll` (continue as new when drained)."""

    @workflow.init
    def __init__(self, args: Sequence[RawValue]) -> None:
        setup: Json = workflow.payload_converter().from_payload(args[0].payload, dict)
        self.setup = setup
        self.plan: Plan = _plan(setup["plan"])
        self.lanes: Lanes = lanes_from_json(setup["lanes"])
        clock = setup["clock"]
        self.clock = LogicalClock(clock[0], datetime.fromisoformat(clock[1]), datetime.fromisoformat(clock[2]))
        self.opened = datetime.fromisoformat(setup["opened"]) if "opened" in setup else workflow.now()
        self.done: set[int] = set(setup.get("done", ()))
        self.members: dict[int, State] = {}
        self.wakes: list[tuple[datetime, int]] = []
        self.signals: list[Json] = []
        self.answers: list[tuple[int, Outcome]] = []
        self.pending: list[tuple[int, Command]] = []
        self.in_flight = 0
        self.busy: dict[tuple[str, str], int] = {}
        self.sizes: dict[str, int] = {}
        self.freed = False
        self.rolling = False
        self.due = False
        self.timer: asyncio.Task[None] | None = None
        self.timer_at: datetime | None = None
        self.running: set[asyncio.Task[None]] = set()
        for member, body in setup.get("members", ()):
            self._restore(member, compact.decode_state(body))

    @workflow.signal(name="inputs")
    def inputs(self, batch: list[Json]) -> None:
        """Append only: `run` looks at it. An item is [enrollment, given] or [enrollment, given, state to rebuild from]."""
        self.signals.extend(batch)

    @workflow.signal(name="roll")
    def roll(self) -> None:
        """Continue as new as soon as nothing is in flight."""
        self.rolling = True

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None:
        """Pump until every member has ended and nobody more can come."""
        while True:
            self._pump()
            if self._wants_to_roll():
                self._start_pending(only_records=True)
                if self.in_flight == 0 and not self.answers:
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    if not self.signals:
                        workflow.continue_as_new(args=[self._carry()])
            elif self._finished():
                return
            else:
                self._start_pending()
            self._set_timer()
            await workflow.wait_condition(self._has_work)

    def _has_work(self) -> bool:
        if self._wants_to_roll() and self.in_flight == 0:
            return True
        return bool(self.signals or self.answers or self.due or (self.freed and self.pending)) or self._finished()

    def _wants_to_roll(self) -> bool:
        return self.rolling or workflow.info().get_current_history_length() >= HISTORY_LIMIT

    def _restore(self, member: int, state: State) -> None:
        """Take a member over from an earlier run; a command that was in flight is issued again under its key."""
        if state.status == "ended":
            self.done.add(member)
            return
        self.members[member] = state
        again = reissue(self.plan, state, self._now())
        if again is not None:
            self.pending.append((member, again))
        self._note_wake(member, state)

    def _now(self) -> datetime:
        return self.clock.logical(workflow.now())

    def _pump(self) -> None:
        """Everything that has come in goes through the core: outcomes, then inputs, then the wakes that are due."""
        self.due = False
        now = self._now()
        answers, self.answers = self.answers, []
        for member, outcome in answers:
            self._advance(member, outcome, now)
        signals, self.signals = self.signals, []
        for item in signals:
            self._take(item, now)
        while self.wakes and self.wakes[0][0] <= now:
            at, member = heapq.heappop(self.wakes)
            state = self.members.get(member)
            if state is not None and state.wake == at and state.status == "waiting":
                self._advance(member, Wake(), now)

    def _take(self, item: Json, now: datetime) -> None:
        member = item[0]
        if member in self.done:
            return
        if len(item) > 2 and member not in self.members:
            self._restore(member, compact.decode_state(item[2]))
        given = compact.decode_input(item[1])
        if isinstance(given, Begin) and member not in self.members:
            self.members[member] = State()
        self._advance(member, given, now)

    def _advance(self, member: int, given: Given, now: datetime) -> None:
        """One member, one step. What goes wrong here concerns this member alone: it is parked and the others go on."""
        state = self.members.get(member)
        if state is None:
            return
        if keeps_a_reset(self.plan, state, given) and not workflow.patched("reset first"):
            state = without_moves(state)  # as cohorts did that have met this already
        try:
            after, commands = advance(self.plan, state, given, now)
        except Exception as bug:  # noqa: BLE001 - isolation: one member's impossible state must not stop 499 others
            workflow.logger.error("member %s can't go on: %r", member, bug)
            after, commands = park(state, f"internal: {type(bug).__name__}: {bug}"[:180], now)
        for command in commands:
            self.pending.append((member, command))
        if after.status == "ended":
            self.members.pop(member)
            self.done.add(member)
            return
        self.members[member] = after
        if after.wake != state.wake or after.status != state.status:
            self._note_wake(member, after)

    def _note_wake(self, member: int, state: State) -> None:
        if state.status == "waiting" and state.wake is not None:
            heapq.heappush(self.wakes, (state.wake, member))

    def _start_pending(self, only_records: bool = False) -> None:
        """Start activities, so many of a kind at a time: what comes meanwhile goes with the next, so that batches grow under
        load. Before continue-as-new only records are started: other commands can be issued again from their member's state."""
        pending, self.pending, self.freed = self.pending, [], False
        if only_records:
            self.pending = [p for p in pending if p[1].kind != "record"]
            pending = [p for p in pending if p[1].kind == "record"]
        for one in group(self.plan, self.lanes, pending, self.sizes):
            lane = (one.activity, one.queue)
            if not only_records and self.busy.get(lane, 0) >= AT_ONCE[one.activity]:
                self.pending.extend(one.members)
                continue
            self.in_flight += 1
            self.busy[lane] = self.busy.get(lane, 0) + 1
            task = asyncio.create_task(self._perform(one))
            self.running.add(task)
            task.add_done_callback(self.running.discard)

    async def _perform(self, one: Group) -> None:
        """Run one group's activity; an activity that can't run at all parks its members with the reason."""
        bounded = one.activity == "deliver"
        try:
            answers = await workflow.execute_activity(
                one.activity,
                {
                    "plan": self.plan.hash,
                    "cohort": self.setup["cohort"],
                    "members": [[m, compact.encode_command(c), self._state_for(one.activity, m)] for m, c in one.members],
                },
                task_queue=queue_name(self.setup["queue"], one.queue or self.setup.get("main", "")),
                start_to_close_timeout=timedelta(seconds=60),
                schedule_to_start_timeout=QUEUE_PATIENCE if bounded else None,
                heartbeat_timeout=timedelta(seconds=self.setup.get("heartbeat", 5)),
                retry_policy=RETRY,
                priority=Priority(priority_key=one.priority),
                result_type=list,
            )
            outcomes = [(m, compact.decode_outcome(o)) for m, o in answers]
            self.answers.extend(outcomes)
            self._forget(one)
            if bounded:
                self._learn(one, sum(o.reason == NOT_REACHED for _, o in outcomes))
        except ActivityError as failed:
            reason = _why(failed, one)
            self.answers.extend(
                (m, Outcome("park", c.op, c.visit, c.attempt, reason=reason)) for m, c in one.members if c.kind != "record"
            )
        finally:
            self.in_flight -= 1
            self.busy[(one.activity, one.queue)] -= 1
            self.freed = True

    def _forget(self, one: Group) -> None:
        """Whoever went on in another cohort is this one's no more, once the store knows it."""
        for member, command in one.members:
            if command.kind == "record" and command.status == "moved" and self.members.pop(member, None) is not None:
                self.done.add(member)

    def _learn(self, one: Group, left: int) -> None:
        """As many members go into the next deliver of this queue as this one got through, or some more where it got through all:
        whoever is handed back costs as much as who is sent to. `left`: how many were handed back untouched."""
        if left and workflow.patched("sizes"):
            self.sizes[one.queue] = max(LEAST, len(one.members) - left)
        elif not left and one.queue in self.sizes:
            size = self.sizes[one.queue]
            self.sizes[one.queue] = min(CHUNK, size + size // 2)

    def _state_for(self, activity: str, member: int) -> list[Json] | None:
        """The member's state, for the activities that write it down; the others would only carry it through the history."""
        state = self.members.get(member) if activity in ("evaluate", "record") else None
        return None if state is None else compact.encode_state(state)

    def _set_timer(self) -> None:
        """One timer for the whole cohort, at the earliest wake, rounded up to the second (not under `time_scale`)."""
        while self.wakes and not self._is_current(self.wakes[0]):
            heapq.heappop(self.wakes)
        wanted: datetime | None = None
        if self.wakes:
            seconds = self.clock.real_seconds(self.wakes[0][0] - self._now())
            wanted = workflow.now() + timedelta(seconds=max(0.0, seconds))
            if self.clock.scale == 1:
                wanted = datetime.fromtimestamp(math.ceil(wanted.timestamp()), wanted.tzinfo)
        elif not self.members:
            wanted = self.opened + ADMISSION_AGE + CLOSING_GRACE
        if wanted is None or (self.timer_at is not None and self.timer_at <= wanted):
            return
        if self.timer is not None:
            self.timer.cancel()
        self.timer_at = wanted
        self.timer = asyncio.create_task(self._sleep_until(wanted))

    def _is_current(self, wake: tuple[datetime, int]) -> bool:
        state = self.members.get(wake[1])
        return state is not None and state.status == "waiting" and state.wake == wake[0]

    async def _sleep_until(self, moment: datetime) -> None:
        await workflow.sleep(max(timedelta(milliseconds=1), moment - workflow.now()))
        self.timer_at = None
        self.timer = None
        self.due = True

    def _finished(self) -> bool:
        """Nobody is inside, nothing is under way, and the relay admits no more."""
        if self.members or self.pending or self.in_flight or self.signals or self.answers:
            return False
        full = len(self.done) >= self.setup["max_size"]
        return full or workflow.now() >= self.opened + ADMISSION_AGE + CLOSING_GRACE

    def _carry(self) -> Json:
        """The one value that goes through continue-as-new."""
        return {
            **{k: v for k, v in self.setup.items() if k not in ("members", "done", "opened")},
            "opened": self.opened.isoformat(),
            "members": [[m, compact.encode_state(s)] for m, s in self.members.items()],
            "done": sorted(self.done),
        }


_plans: dict[str, Plan] = {}


def _plan(plan_hash: str) -> Plan:
    """The plan, built once per process from the shelf's JSON."""
    if plan_hash not in _plans:
        _plans[plan_hash] = plan_from_json(SHELF.get(plan_hash))
    return _plans[plan_hash]


def _why(failed: ActivityError, one: Group) -> str:
    cause = failed.cause
    if isinstance(cause, TimeoutError) and cause.type == TimeoutType.SCHEDULE_TO_START:
        return f"no worker serves {one.queue}: start one that has this channel and lane"
    return f"{one.activity} failed: {cause or failed}"[:180]
