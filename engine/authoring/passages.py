"""Ways along a plan that need no data: the latest that time can make of it, and that of a customer who is alone and does nothing.

The interpreter walks and the gates decide; only the answers to commands are worked out here. For the proofs of `conflicts.py`,
which say what must hold of them. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from engine.authoring.spots import Spot
from engine.core.clock import Duration, add, weekdays, zone
from engine.core.enrollment import Begin, Command, Outcome, State, Wake
from engine.core.facts import ConsentFact, Facts, Message, SlotFact, Verdict
from engine.core.governance import decide
from engine.core.interpreter import advance, reissue
from engine.core.plan import Act, Loop, Moment, Plan, Send, Wait, WaitFor
from engine.core.policy import Policy, Tier
from engine.core.upcoming import CERTAIN_ACTS, literal, over

MONDAY = datetime(2027, 1, 11, tzinfo=UTC)
"""Where passages begin that may begin at any time: a week in which no clock changes."""
SLACK = timedelta(hours=2)
"""No zone of today puts its clock forward or back by more."""
STEPS = 500
_EVERYTHING = (ConsentFact("*", None, "granted", datetime(2000, 1, 1, tzinfo=UTC)),)

Answer = Callable[[Command], Outcome | None]
"""What becomes of a command; None where nothing is known, which ends the passage."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A journey that compiles. `spots`: where each of its steps stands, by id."""

    plan: Plan
    spots: Mapping[str, Spot]

    def spot(self, op: int) -> Spot:
        """Where the step of operation `op` stands; KeyError for one that nobody wrote."""
        return self.spots[self.step(op)]

    def step(self, op: int) -> str:
        """The id of operation `op`; empty for a jump."""
        return str(getattr(self.plan.ops[op], "step", ""))


@dataclass(frozen=True, slots=True)
class Reached:
    """A send at operation `op` that is reached at `at` and over by `until` (None: it may take for ever), both at the latest."""

    op: int
    send: Send
    at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a message at operation `op`, whose step was reached at `at`: sent at `sent`, or dropped with `verdict`, or
    (None) left out as its `on_defer` says. `cap`: the last cap that kept it waiting."""

    op: int
    message: Message
    sent: datetime | None
    verdict: Verdict | None
    cap: str = ""


def begun(plan: Plan, at: datetime) -> State:
    """Somebody has just entered."""
    return advance(plan, State(), Begin(1, at), at)[0]


def past(plan: Plan, op: int, at: datetime) -> State:
    """Somebody has just done operation `op`, in the first round of every repeat around it."""
    heads = [h for h, o in enumerate(plan.ops) if isinstance(o, Loop) and h < op < o.done]
    state = State("running", op, at, loops=tuple((head, 0) for head in heads))
    return advance(plan, state, Outcome("next", op, 0, 0, at=at), at)[0]


def follow(plan: Plan, state: State, answer: Answer) -> None:
    """Goes on from `state` until it ends, an answer is None, it has been long enough, or no calendar reaches further."""
    for _ in range(STEPS):
        if state.status == "waiting" and state.wake is not None:
            state, _ = advance(plan, state, Wake(), state.wake)
            continue
        command = reissue(plan, state, MONDAY)
        try:
            outcome = None if command is None else answer(command)
        except (ValueError, OverflowError):  # beyond what a calendar can say
            return
        if command is None or outcome is None:
            return
        state, _ = advance(plan, state, outcome, command.at)


def at_most(length: Duration) -> timedelta:
    """The longest that a duration can take, in whatever zone and month."""
    months = length.months * (31 if length.months > 0 else 28)
    slack = SLACK if length.months or length.days else timedelta()
    return timedelta(days=months + length.days, seconds=length.seconds) + slack


def at_least(length: Duration) -> timedelta:
    """The shortest that it can take."""
    return -at_most(Duration(-length.months, -length.days, -length.seconds))


def tier_of(policy: Policy, send: Send) -> Tier:
    """The tier of a send."""
    return policy.tier(send.tier)


def worth(policy: Policy, send: Send) -> Duration | None:
    """How long its messages are worth sending; None: for ever. Source: semantics.md, gate 3."""
    return send.expires if send.expires is not None else tier_of(policy, send).expires


def patience(policy: Policy, send: Send) -> timedelta | None:
    """How long a send can take at most; None: for ever."""
    passes = {"caps", "holds", "quiet_hours"} <= set(tier_of(policy, send).skip) and send.window is None
    if send.on_defer != "wait" or passes:
        return timedelta()
    length = worth(policy, send)
    return None if length is None else at_most(length)


# As late as can be


def latest(plan: Plan, policy: Policy, state: State, *, aligned: bool = False) -> list[Reached]:
    """The sends that surely come after `state`, in order, each with the latest that it can be reached and done.

    `aligned`: clocks of `state` show local time (in UTC); else it says only how long it has been. A send whose `if` is false
    takes no time, so that one that has an `if` counts as one that may take all of its own."""
    found: list[Reached] = []

    def answer(command: Command) -> Outcome | None:
        place = (command.op, command.visit, command.attempt)
        match plan.ops[command.op]:
            case Wait() as wait:
                end = _end(wait, command, aligned)
                if end is None:
                    return None
                return Outcome("sleep", *place, until=end) if end > command.at else Outcome("next", *place)
            case Send() as send:
                takes = patience(policy, send)
                until = None if takes is None else command.at + takes
                found.append(Reached(command.op, send, command.at, until))
                return None if until is None else Outcome("next", *place, at=until)
            case Act(verb=verb) if verb in CERTAIN_ACTS:
                return Outcome("next", *place)
            case _:
                return None

    follow(plan, state, answer)
    return found


def _end(wait: Wait, command: Command, aligned: bool) -> datetime | None:
    # The latest end of a wait that surely leads to the next operation; None where it may lead elsewhere, or comes from data.
    jumps = wait.skip_to not in (-1, command.op + 1)
    shortest = least(wait.until)
    if shortest is None or (wait.condition is not None and jumps):
        return None
    if shortest <= timedelta() and (wait.on_past == "exit" or (wait.on_past == "skip" and jumps)):
        return None
    return max(command.at, command.at + longest(wait.until)) if not aligned else _by_the_clock(wait.until, command.at)


def _by_the_clock(until: Moment, at: datetime) -> datetime:
    if until.time_of_day is None or until.timezone != "customer":
        return max(at, at + longest(until))
    return max(at, literal(replace(until, jitter=None), at, "UTC") + _spread(until) + SLACK)


def least(until: Moment) -> timedelta | None:
    """The shortest wait until a moment; negative where it may be over, None where that comes from data."""
    if until.expression is not None:
        return None
    shortest = at_least(until.after) if until.after is not None else timedelta(microseconds=1)
    return shortest + (at_least(until.offset) if until.offset is not None else timedelta())


def longest(until: Moment) -> timedelta:
    """The longest wait until a moment that doesn't come from data."""
    if until.after is not None:
        length = at_most(until.after)
    else:
        days = sorted(weekdays(until.days))
        length = timedelta(days=max(b - a for a, b in pairwise([*days, days[0] + 7]))) + SLACK
    return length + (at_most(until.offset) if until.offset is not None else timedelta()) + _spread(until)


def _spread(until: Moment) -> timedelta:
    return at_most(until.jitter) if until.jitter is not None else timedelta()


# Alone, with everything in favour


def lone(plan: Plan, policy: Policy, state: State, local: str, others: Set[str] = frozenset()) -> list[Fate]:
    """What becomes of the messages of a customer in zone `local` who has agreed to everything, gets nothing else, is in no hold,
    and does nothing more, as far as that is certain: `if:` of a send is false, and a `wait_for` lasts until its timeout.

    `others`: events that come without the customer, which aren't waited for in vain. Jitter is nothing."""
    found: list[Fate] = []
    slots: list[SlotFact] = []

    def answer(command: Command) -> Outcome | None:
        place = (command.op, command.visit, command.attempt)
        match plan.ops[command.op]:
            case Wait(condition=None, until=until) as wait if until.expression is None:
                return over(wait, command, literal(until, command.at, local))
            case WaitFor(condition=None, timeout=timeout) as wait if timeout.expression is None and _in_vain(wait, others):
                if command.confirm:
                    return Outcome("timeout", *place)
                return Outcome("sleep", *place, until=literal(timeout, command.at, local))
            case Act(verb=verb) if verb in CERTAIN_ACTS:
                return Outcome("next", *place)
            case Send(condition=None) as send:
                fate = decided(plan, policy, send, command, local, tuple(slots))
                found.append(fate)
                if fate.sent is not None and send.tier not in policy.uncounted:
                    slots.append(SlotFact(send.tier, send.channels[0], send.topic, plan.journey, fate.sent))
                left = fate.sent is None and fate.verdict is None and send.on_defer == "exit"
                return Outcome("exit" if left else "next", *place, at=fate.sent, reason="deferred" if left else "")
            case Send():
                return Outcome("next", *place)
            case _:
                return None

    follow(plan, state, answer)
    return found


def _in_vain(wait: WaitFor, others: Set[str]) -> bool:
    return all(a.event is not None and a.event not in others for a in wait.alternatives)


def decided(plan: Plan, policy: Policy, send: Send, command: Command, local: str, slots: tuple[SlotFact, ...]) -> Fate:
    """What the gates make of one message, asked again as long as they defer it."""
    length = worth(policy, send)
    message = Message(
        journey=plan.journey,
        step=send.step,
        template=send.template,
        channel=send.channels[0],
        tier=send.tier,
        planned_at=command.at,
        topic=send.topic,
        expires_at=None if length is None else add(command.at, length, zone(local)),
        window=send.window,
    )
    quiet = tuple(rule.condition is None for rule in policy.quiet_hours)
    facts = Facts(zone=local, address="somewhere", consents=_EVERYTHING, slots=slots, quiet=quiet)
    now, cap = command.at, ""
    for _ in range(STEPS):
        verdict = decide(policy, facts, message, now)
        cap = next((g.rule for g in verdict.gates if g.gate == "cap" and g.answer in ("defer", "drop")), cap)
        if verdict.decision == "allow":
            return Fate(command.op, message, now, verdict, cap)
        if verdict.decision == "drop" or verdict.until is None:
            return Fate(command.op, message, None, verdict, cap)
        if send.on_defer != "wait":
            break
        now = verdict.until
    return Fate(command.op, message, None, None, cap)
