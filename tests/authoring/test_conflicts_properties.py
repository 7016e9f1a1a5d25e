"""What is proved about caps, hours and holds holds of every passage: whenever they enter, in whatever zone, however late each
message goes. The passages here are walked by the interpreter and judged by the gates, without the code that proves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.authoring.conflict_caps import misses, never_fit
from engine.authoring.conflict_holds import sure_to_fail
from engine.authoring.conflict_hours import Times, arrivals, closings, judged
from engine.authoring.hours_of_week import EVERY, WEEK, waiting
from engine.core import clock
from engine.core.clock import Duration
from engine.core.enrollment import Begin, Command, Outcome, State, Wake
from engine.core.facts import ConsentFact, Facts, HoldFact, Message, SlotFact
from engine.core.governance import decide
from engine.core.interpreter import advance
from engine.core.plan import Act, Jump, Loop, Moment, Op, Plan, Send, Wait, Window
from engine.core.policy import Cap, HoldRule, Policy, QuietHours, Tier
from engine.core.upcoming import literal, over

HOUR, DAY = Duration(seconds=3600), Duration(days=1)
TIERS = (Tier("service", skip=("caps", "holds")), Tier("lifecycle", expires=Duration(days=2)), Tier("triggered"))
SPANS = st.sampled_from([Duration(seconds=1800), HOUR, Duration(seconds=3 * 3600), Duration(seconds=11 * 3600), DAY])
MINUTES = st.integers(0, 24 * 60 - 1).map(lambda m: f"{m // 60:02}:{m % 60:02}")
DAYS = st.sampled_from([(), (), ("mon",), ("tue", "fri"), ("mon", "tue", "wed", "thu", "fri"), ("sat", "sun")])
CHANGES = [
    ("UTC", "2026-05-02"),
    *(("Europe/Rome", day) for day in ("2026-03-29", "2026-10-25")),
    *(("America/Havana", day) for day in ("2026-03-08", "2026-11-01")),
    *(("Antarctica/Troll", day) for day in ("2026-03-29", "2026-10-25")),
    *(("Australia/Lord_Howe", day) for day in ("2026-04-05", "2026-10-04")),
    *(("Africa/Cairo", day) for day in ("2026-04-24", "2026-10-29")),
]
"""Clocks that go forward and back, at night and over midnight, by half an hour to two."""
ENTRIES = st.tuples(st.sampled_from(CHANGES), st.integers(-3 * 1440, 2 * 1440)).map(
    lambda drawn: (drawn[0][0], datetime.fromisoformat(drawn[0][1]).replace(tzinfo=clock.UTC) + timedelta(minutes=drawn[1]))
)
"""A zone, and a moment of entry near one of its changes."""
YES = (ConsentFact("*", None, "granted", datetime(2001, 1, 1, tzinfo=clock.UTC)),)


@dataclass(frozen=True)
class Passed:
    """A message of one passage: where, when its step was reached, when it was sent (None: it wasn't)."""

    op: int
    at: datetime
    sent: datetime | None


def passage(plan: Plan, policy: Policy, zone: str, entered: datetime, late: Callable[[Send], float]) -> tuple[list[Passed], bool]:
    """The messages of somebody who enters at `entered`, and whether they came to the end. `late`: which share of its validity
    each is late by; below 0 its `if` is false."""
    state, commands = advance(plan, State(), Begin(1, entered), entered)
    slots: list[SlotFact] = []
    found: list[Passed] = []
    while state.status in ("running", "waiting"):
        if state.status == "waiting":
            assert state.wake is not None
            state, commands = advance(plan, state, Wake(), state.wake)
            continue
        (command,) = commands
        op = plan.ops[command.op]
        outcome = Outcome("next", command.op, command.visit, command.attempt)
        if isinstance(op, Wait):
            outcome = over(op, command, literal(op.until, command.at, zone))
        elif isinstance(op, Send) and (share := late(op)) >= 0:
            sent, left = _written_to(plan, policy, op, command, zone, entered, slots, share)
            found.append(Passed(command.op, command.at, sent))
            kind = "exit" if left else "next"
            outcome = Outcome(kind, command.op, command.visit, command.attempt, at=sent)
        state, commands = advance(plan, state, outcome, command.at)
    assert state.status == "ended"
    return found, state.reason == "completed"


def _written_to(
    plan: Plan, policy: Policy, op: Send, command: Command, zone: str, entered: datetime, slots: list[SlotFact], share: float
) -> tuple[datetime | None, bool]:
    length = op.expires or policy.tier(op.tier).expires
    end = None if length is None else clock.add(command.at, length, clock.zone(zone))
    message = Message(plan.journey, op.step, "t", "email", op.tier, command.at, op.topic, end, op.window)
    now = command.at if end is None else command.at + (end - command.at) * share
    holds = tuple(
        HoldFact(rule.name, rule.pause, entered, clock.add(entered, rule.at_most, clock.zone(zone)))
        for rule in policy.holds
        if rule.while_in == plan.journey
    )
    while True:
        facts = Facts(zone=zone, address="a", consents=YES, slots=tuple(slots), holds=holds)
        verdict = decide(policy, facts, message, now)
        if verdict.decision == "allow":
            if op.tier not in policy.uncounted:
                slots.append(SlotFact(op.tier, "email", op.topic, plan.journey, now))
            return now, False
        if verdict.decision == "drop" or verdict.until is None or op.on_defer != "wait":
            return None, verdict.decision == "defer" and op.on_defer == "exit"
        now = verdict.until


WAITS = st.one_of(
    st.builds(lambda s: Wait("w", Moment(after=s)), SPANS),
    st.builds(lambda t, d: Wait("w", Moment(time_of_day=t, days=d)), MINUTES, DAYS),
    st.builds(
        lambda t, o: Wait("w", Moment(time_of_day=t, offset=o)),
        MINUTES,
        st.sampled_from([Duration(seconds=-7200), Duration(days=1), Duration(seconds=5400)]),
    ),
)
SENDS = st.builds(
    lambda tier, topic, condition, expires, on_defer, window: Send(
        "s", ("email",), "t", tier, topic, condition, None, on_defer, expires, window
    ),
    st.sampled_from(["lifecycle", "lifecycle", "triggered", "service"]),
    st.sampled_from(["news", "news", "offers"]),
    st.sampled_from([None, None, None, "customer.x"]),
    st.one_of(SPANS, st.none()),
    st.sampled_from(["wait", "wait", "wait", "skip", "exit"]),
    st.one_of(st.none(), st.none(), st.builds(Window, MINUTES, MINUTES, DAYS)),
)


STRETCHES = st.tuples(
    st.sampled_from([0, 0, 0, 1, 2, 4]),
    st.lists(st.one_of(SENDS, SENDS, WAITS, st.just(Act("a", "set", {}))), min_size=1, max_size=3),
)
"""How many rounds (0: no repeat), and of what."""


def laid_out(stretches: list[tuple[int, list[Op]]]) -> Plan:
    """The plan of these stretches, one after the other, as the compiler lays one out."""
    ops: list[Op] = []
    for rounds, body in stretches:
        if rounds:
            head = len(ops)
            ops += [Loop("r", rounds, head + len(body) + 2), *body, Jump(head)]
        else:
            ops += body
    return Plan("j", "lifecycle", tuple(ops), ())


PLANS = st.lists(STRETCHES, min_size=1, max_size=3).map(laid_out)
"""Waits, sends and repeats."""


SHORT = st.sampled_from([Duration(seconds=1800), HOUR, Duration(seconds=3 * 3600)])
QUICK = st.builds(lambda topic, expires: Send("s", ("email",), "t", "lifecycle", topic, expires=expires), st.just("news"), SHORT)
LETTERS = st.one_of(QUICK, QUICK, QUICK, SENDS)
BREAKS = st.one_of(st.builds(lambda s: Wait("w", Moment(after=s)), SHORT), WAITS)
CROWDED = st.lists(
    st.tuples(st.sampled_from([0, 2, 3]), st.tuples(st.one_of(LETTERS, WAITS), LETTERS, st.one_of(BREAKS, LETTERS)).map(list)),
    min_size=1,
    max_size=2,
).map(laid_out)
"""Plans whose messages often come too fast."""
AT_NIGHT = st.tuples(
    st.sampled_from(["22:00", "23:30", "03:00", "07:59", "12:00"]).map(lambda t: Wait("w", Moment(time_of_day=t))),
    st.one_of(st.just(Act("a", "set", {})), BREAKS),
    LETTERS,
).map(list)
NIGHTLY = st.lists(st.tuples(st.sampled_from([0, 0, 2]), AT_NIGHT), min_size=1, max_size=2).map(laid_out)
"""Plans whose messages often come at night."""
NIGHT = st.sampled_from(
    [(QuietHours("21:00", "08:00"),), (QuietHours("22:00", "10:00"), QuietHours("00:00", "23:00", days=("sun",)))]
)


caps = st.builds(
    lambda limit, per, rolling, tiers, topics: Cap("c", limit, per, rolling if per == "rolling" else None, tiers, (), topics),
    st.integers(1, 2),
    st.sampled_from(["rolling", "rolling", "day", "day", "week", "month"]),
    st.sampled_from([Duration(seconds=6 * 3600), DAY, Duration(days=2), Duration(days=7), Duration(months=1)]),
    st.sampled_from([(), ("lifecycle",), ("lifecycle", "triggered")]),
    st.sampled_from([(), (), ("news",)]),
)
quiet = st.one_of(
    st.just(()),
    st.builds(
        lambda start, end, days: () if start == end else (QuietHours(start, end, days=days),),
        MINUTES,
        MINUTES,
        DAYS,
    ),
)
lateness = st.lists(st.sampled_from([0.0, 0.0, 0.3, 0.9, 0.999, -1.0]), min_size=1, max_size=6)


def _late(shares: list[float]) -> Callable[[Send], float]:
    left = list(shares)

    def late(send: Send) -> float:
        share = left.pop(0) if left else 0.0
        if send.condition is not None and share < 0:
            return share
        return max(share, 0.0) if send.on_defer == "wait" else 0.0

    return late


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(CROWDED, st.lists(caps, min_size=1, max_size=2), quiet, st.lists(st.tuples(ENTRIES, lateness), min_size=1, max_size=6))
def test_what_can_never_fit_never_does(
    plan: Plan,
    rules: list[Cap],
    hours: tuple[QuietHours, ...],
    passages: list[tuple[tuple[str, datetime], list[float]]],
) -> None:
    """Of the messages that are said not to fit under a cap one is dropped in every passage that comes to the end, around every
    change of the clock, and however late each of them goes."""
    policy = Policy(TIERS, caps=tuple(rules), quiet_hours=hours)
    found = never_fit(plan, policy)
    for (zone, entered), shares in passages:
        messages, whole = passage(plan, policy, zone, entered, _late(shares))
        for misfit in found if whole else ():
            assert None in [m.sent for m in messages if m.op in misfit.ops], (misfit, zone, entered)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(CROWDED, st.lists(caps, min_size=1, max_size=2), quiet)
def test_who_is_named_loses_the_message(plan: Plan, rules: list[Cap], hours: tuple[QuietHours, ...]) -> None:
    """Who enters at the moment that a warning names doesn't get that message, and would without caps."""
    policy = Policy(TIERS, caps=tuple(rules), quiet_hours=hours)
    found = misses(plan, policy, frozenset())
    for op, (fate, entered) in found.items():
        messages, _ = passage(plan, policy, policy.timezone, entered, lambda send: 0.0 if send.condition is None else -1.0)
        assert None in [m.sent for m in messages if (m.op, m.at) == (op, fate.message.planned_at)]


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(PLANS, quiet, ENTRIES, lateness)
def test_nobody_comes_at_an_hour_that_is_held_impossible(
    plan: Plan, hours: tuple[QuietHours, ...], where: tuple[str, datetime], shares: list[float]
) -> None:
    """Every step is reached at one of the local times that are possible for it, around every change of the clock; what is sure is
    possible."""
    policy = Policy(TIERS, quiet_hours=hours)
    times = arrivals(plan, policy)
    assert all(t.surely & ~t.possibly == 0 for t in times.values())
    zone, entered = where
    for message in passage(plan, policy, zone, entered, _late(shares))[0]:
        local = clock.local(message.at, clock.zone(zone))
        minute = local.weekday() * 1440 + local.hour * 60 + local.minute
        assert times[message.op].possibly >> minute & 1, (message, local)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(NIGHTLY, NIGHT, st.lists(st.tuples(ENTRIES, lateness), min_size=1, max_size=6))
def test_what_always_expires_in_quiet_hours_does(
    plan: Plan, hours: tuple[QuietHours, ...], passages: list[tuple[tuple[str, datetime], list[float]]]
) -> None:
    """A message that is said never to be sent in time isn't, in any passage."""
    policy = Policy(TIERS, quiet_hours=hours)
    times = arrivals(plan, policy)
    sends = [(op, send) for op, send in enumerate(plan.ops) if isinstance(send, Send)]
    never = {op for op, send in sends if (short := judged(policy, send, times.get(op, Times()))) and short.always}
    for (zone, entered), shares in passages:
        messages, _ = passage(plan, policy, zone, entered, _late(shares))
        assert [] == [m for m in messages if m.op in never and m.sent is not None]


@given(quiet, SENDS, st.integers(0, WEEK - 1))
def test_a_minute_that_waits_too_long_is_lost(hours: tuple[QuietHours, ...], send: Send, minute: int) -> None:
    """In a week without a change of the clock, exactly the minutes that are said to wait so long do."""
    policy = Policy(TIERS, quiet_hours=hours)
    closed = next(closings(policy, send)).always
    assume(closed != EVERY)
    planned = datetime(2027, 1, 11, tzinfo=clock.UTC) + timedelta(minutes=minute)
    message = Message("j", "s", "t", "email", send.tier, planned, send.topic, None, send.window)
    verdict = decide(policy, Facts(zone="UTC", address="a", consents=YES), message, planned)
    wait = timedelta() if verdict.until is None else verdict.until - planned
    least = int(wait.total_seconds()) // 60
    assert (least > 0) == bool(closed >> minute & 1)
    if least:
        assert waiting(closed, least) >> minute & 1
        assert not waiting(closed, least + 1) >> minute & 1


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(PLANS, quiet, st.integers(1, 6), st.lists(st.tuples(ENTRIES, lateness), min_size=1, max_size=4))
def test_what_its_own_hold_outlives_is_never_sent(
    plan: Plan, hours: tuple[QuietHours, ...], days: int, passages: list[tuple[tuple[str, datetime], list[float]]]
) -> None:
    """A message that is said to expire while its own journey holds it does, in every passage."""
    rule = HoldRule("h", ("lifecycle", "triggered"), Duration(days=days), while_in="j")
    policy = Policy(TIERS, quiet_hours=hours, holds=(rule,))
    never = sure_to_fail(plan, policy, rule)
    for (zone, entered), shares in passages:
        first: dict[int, Passed] = {}
        for message in passage(plan, policy, zone, entered, _late(shares))[0]:
            first.setdefault(message.op, message)
        assert [] == [m for op, m in first.items() if op in never and m.sent is not None]
