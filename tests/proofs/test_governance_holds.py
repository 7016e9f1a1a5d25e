"""Whatever happens, in whatever order, and whoever dies on the way: the real store, door and gates keep what the model promises.

Random events, consents, holds, exits, merges, providers' answers and clock moves, from several connections that meet at every
statement, with crashes between any two of them and retries. `model.py` is what is promised; a failure prints the acts that led
to it.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from engine.core.incoming import Incoming
from tests.proofs import rest
from tests.proofs.model import A_DAY_AND_NIGHT, Model, Registered, Sent
from tests.proofs.project import CAPS
from tests.proofs.stage import Act
from tests.proofs.world import ANSWERS, HOUR, Passages, World

ENTRIES = ("signed_up", "ordered", "pinged", "complained")
PEOPLE = {"ada": "Europe/Rome", "bob": "America/New_York"}
STARTS = [datetime(2026, 3, 27, 9, tzinfo=UTC), datetime(2026, 6, 3, 11, 30, tzinfo=UTC), datetime(2026, 10, 31, 20, tzinfo=UTC)]
"""Two of them before clocks change."""

who = st.sampled_from(["ada", "ada", "ada", "bob"])
events = st.one_of(
    st.tuples(st.just("enter"), who, st.sampled_from(ENTRIES)),
    st.tuples(st.just("enter"), who, st.sampled_from(ENTRIES)),
    st.tuples(
        st.just("consent"),
        who,
        st.tuples(st.sampled_from(["email", "*"]), st.sampled_from(["news", "offers", None]), st.booleans()),
    ),
    st.tuples(st.just("complaint"), who, st.tuples(st.sampled_from("ab"), st.booleans())),
    st.tuples(st.sampled_from(["cancelled", "confirmed"]), who, st.integers(0, 5)),
    st.tuples(st.just("again"), who, st.integers(0, 5)),
    st.tuples(st.just("merge"), who, st.none()),
)
works = st.tuples(st.just("work"), who, st.integers(0, 5))
acts = st.lists(st.one_of(works, works, events, st.tuples(st.just("stop"), who, st.integers(0, 5))), min_size=1, max_size=3)
answers = st.lists(st.sampled_from(["accepted"] * 4 + sorted(ANSWERS)), max_size=4)
seeds = st.integers(0, 10_000)
"""Of whose turn it is; with 0 the first that can go on always does."""
deaths = st.lists(st.one_of(st.just(0), st.just(0), st.integers(1, 45)), min_size=3, max_size=3)


class Governance(RuleBasedStateMachine):
    """Two customers on one store."""

    world: World
    _numbers = itertools.count()

    @initialize(caps=st.sampled_from(sorted(CAPS)), start=st.sampled_from(STARTS))
    def begin(self, caps: str, start: datetime) -> None:
        """Two new customers under these caps."""
        world = self.world
        world.deploy(caps)
        world.set_clock(start)
        self.passages = Passages()
        self.run = f"{next(self._numbers)}"
        self.count = itertools.count()
        self.said: list[Incoming] = []
        self.unsure: set[str] = set()
        self.accepted: set[str] = set()
        self.ids: dict[str, int] = {}
        self.models: dict[int, Model] = {}
        self.into: dict[int, int] = {}
        for name, zone in PEOPLE.items():
            traits = {"email": f"{name}@example.com", "phone": "+391234", "first_name": name, "timezone": zone}
            incoming = Incoming("identify", "proofs", self._id(), traits=traits, identifiers={"user_id": f"{name}{self.run}"})
            self.ids[name] = world.run(world.intake.accept([incoming]))[0].customer
            self.models[self.ids[name]] = Model(world.projects[caps].policy, ZoneInfo(zone))
        self.sound = True

    def _id(self) -> str:
        return f"{self.run}-{next(self.count)}"

    # What may happen

    @rule(wanted=acts, deaths=deaths, seed=seeds, answers=answers)
    def meet(self, wanted: list[Any], deaths: list[int], seed: int, answers: list[str]) -> None:
        """Up to three acts meet; some die. What died is asked for again another time, as a client or Temporal would. Passages
        hear only of what was accepted before the last `rush` or `settle`."""
        told = iter([*answers, *itertools.repeat("accepted", 10_000)])
        self.world.email.answers = self.world.sms.answers = told
        playing, done = [], []
        for (kind, name, what), dies in zip(wanted, deaths, strict=False):
            act, members, incoming = self._act(kind, self._today(self.ids[name]), what)
            if act is not None:
                act.dies_at = dies
                playing.append(act)
                done.append((act, members, incoming))
        self._play(playing, _turns(seed), done)

    @rule(deaths=deaths, seed=seeds, answers=answers, last=st.none() | events)
    def rush(self, deaths: list[int], seed: int, answers: list[str], last: Any) -> None:
        """What was accepted reaches the passages, and all that is asked for is done at once, while one thing more happens."""
        self.world.relay(self.passages, list(self.models))
        works = [("work", "ada", n) for n in range(len(self.passages.groups()))][-3:]
        self.meet(works + [last] * (last is not None), [*deaths, 0], seed, answers)

    @rule(hours=st.sampled_from([0.5, 1, 3, 7, 12, 24, 30, 60]))
    def time_passes(self, hours: float) -> None:
        """And those who are due are woken."""
        self._move_clock(self.world.now + hours * HOUR)

    @precondition(lambda self: self.passages.wakes())
    @rule()
    def next_wake(self) -> None:
        """Until the first is due."""
        self._move_clock(max(self.world.now, self.passages.wakes()[0]))

    @rule(
        name=who, entries=st.lists(st.sampled_from(ENTRIES), min_size=2, max_size=4), deaths=deaths, seed=seeds, answers=answers
    )
    def crowd(self, name: str, entries: list[str], deaths: list[int], seed: int, answers: list[str]) -> None:
        """One customer enters several journeys, and their messages meet."""
        for entry in entries:
            self.meet([("enter", name, entry)], [0], 0, [])
        self.rush(deaths, seed, answers, None)

    @rule()
    def settle(self) -> None:
        """Everything that can be done now is done: then nobody waits for a slot that is free."""
        self._settle()
        self.sound = False
        self._at_rest()
        self.sound = True

    @invariant()
    def nothing_is_twice(self) -> None:
        """No enrollment asks for two things at once."""
        asked = Counter(m for m, c in getattr(self, "passages", Passages()).asked if c.kind != "record")
        assert not [m for m, n in asked.items() if n > 1]

    def teardown(self) -> None:
        """In the end all is over, every slot belongs to a message that somebody got, and nothing is set aside."""
        if not getattr(self, "sound", False):  # it failed already: what comes after that says nothing
            return
        ids = list(self.models)
        for _ in range(300):
            self._settle()
            parked = [m for m, s in self.passages.states.items() if s.status == "parked"]
            if parked:
                self.world.run(self.world.operator("retry", parked)())
                continue
            self._at_rest()
            if not self.passages.wakes():
                break
            self._move_clock(max(self.world.now, self.passages.wakes()[0]))
        ask = self.world.ask
        assert [] == ask("select id, journey, status from enrollments where status <> 'ended' and customer_id = any(:i)", i=ids)
        assert [] == ask("select enrollment_id from planned where customer_id = any(:i)", i=ids), "registered for ever"
        messages = ask(
            "select key, status, reason, slot_at, decided_at, expires_at from messages where customer_id = any(:i)", i=ids
        )
        assert {"sent", "unknown", "refused", "dropped"} >= {m.status for m in messages}
        late = [m for m in messages if m.status == "dropped" and m.reason in ("expired", "hold")]
        assert [] == [m for m in late if m.decided_at < m.expires_at - A_DAY_AND_NIGHT], "given up too early"
        holding = {m.key for m in messages if m.slot_at is not None}
        got = {key for model in self.models.values() for key in model.sent}
        assert set() == got - holding, "a message without a slot"
        assert set() == holding - got - self.unsure, "a slot without a message"

    def _at_rest(self) -> None:
        """Nothing is left to do now: no slot is lost."""
        _, pending, ended = self._standing()
        coming = {c: [m.entered[p] for p in pending[c] if isinstance(p, int) and p in m.entered] for c, m in self.models.items()}
        for model in self.models.values():
            model.ended |= ended
        lost = rest.lost(self.world, self.passages, self.models, coming)
        assert not lost, lost

    # How

    def _act(self, kind: str, customer: int, what: Any) -> tuple[Act | None, list[Any], Incoming | None]:
        """One act; with what it answers, or what it tells the door."""
        if kind == "work":
            groups = self.passages.groups()
            if not groups:
                return None, [], None
            act, members = self.world.activity(self.passages, groups[what % len(groups)])
            return act, members, None
        if kind == "stop":
            live = [m for m, s in sorted(self.passages.states.items()) if s.status != "ended"]
            if not live:
                return None, [], None
            return Act("stop", self.world.operator("stop", [live[what % len(live)]])), [], None
        if kind == "merge":
            others = [i for i in self.models if i != customer]
            if not others:
                return None, [], None
            return Act(f"merge {customer} {others[0]}", self.world.merge(customer, others[0])), [], None
        incoming = self._incoming(kind, customer, what)
        if incoming is None:
            return None, [], None
        return Act(f"{incoming.name} {incoming.message_id}", lambda: self.world.intake.accept([incoming])), [], incoming

    def _incoming(self, kind: str, customer: int, what: Any) -> Incoming | None:
        mine = [i for i in self.said if self._today(i.customer or 0) == customer]
        if kind == "again":
            return mine[what % len(mine)] if mine else None
        if kind == "enter":
            name, properties = what, {"n": self._id()}
        elif kind == "consent":
            channel, topic, granted = what
            name = "consent_changed"
            properties = {"channel": channel, "topic": topic, "state": "granted" if granted else "withdrawn"}
        elif kind == "complaint":
            ticket, opened = what
            name, properties = "complaint_filed" if opened else "complaint_resolved", {"ticket_id": ticket}
        else:
            entered = [i for i in mine if i.name in ENTRIES]
            if not entered:
                return None
            name, properties = kind, {"n": entered[what % len(entered)].properties["n"]}
        incoming = Incoming("track", "proofs", self._id(), name, properties, customer=customer)
        self.said.append(incoming)
        return incoming

    def _play(self, playing: list[Act], turns: Iterator[int], done: list[tuple[Act, list[Any], Incoming | None]]) -> None:
        known, self.sound = self._known_events(), False
        self.world.play(playing, turns)
        for act in playing:
            assert act.error is None, (act.name, act.error)
        begun, pending, ended = self._standing()
        told = {id(act): incoming for act, _, incoming in done}
        self.merging = any(act.name.startswith("merge ") and act.commits for act in playing)
        for commit in self.world.stage.log:
            incoming = told.get(id(commit.act))
            if commit.act.name.startswith("merge "):
                self._merged(*map(int, commit.act.name.split()[1:]))
            if incoming is not None and incoming.message_id not in known:
                known.add(incoming.message_id)
                model = self.models[self._today(incoming.customer or 0)]
                model.happened(incoming.name, dict(incoming.properties), self.world.now)
                for enrollment, journey in begun.get(incoming.message_id, ()):
                    model.enrolled(enrollment, journey, self.world.now)
            for message, answer in commit.handed:
                self._handed(message, answer, pending, ended)
        for act, members, _ in done:
            if act.died:
                self.unsure |= self._keys(members)
        if self.merging:
            slots = "select key from messages where slot_at is not null and customer_id = any(:i)"
            for model in self.models.values():
                model.carried |= {r.key for r in self.world.ask(slots, i=list(self.models))}
        self._answer(done)
        self.sound = True

    def _today(self, customer: int) -> int:
        """Who that is now."""
        return self.into.get(customer, customer)

    def _merged(self, kept: int, gone: int) -> None:
        """The two are one from here on. Bob came later, so his time zone is the newer one."""
        if gone not in self.models:  # two merges met: the second found nothing to do
            return
        self.models[kept].merge(self.models.pop(gone), ZoneInfo(PEOPLE["bob"]))
        self.into[gone] = kept

    def _handed(self, message: Any, answer: str, pending: dict[int, list[Registered | int]], ended: set[int]) -> None:
        model = self.models[int(message.customer)]
        enrollment = int(message.key.split("/")[0])
        one = Sent(message.key, enrollment, message.tier, self._channel(message), message.topic, message.journey, self.world.now)
        # While a merge is under way nobody knows who was whose when: `pending` is what stood in the end.
        others = [] if self.merging else self._registered(pending, int(message.customer))
        broken = model.sends(one, others, ended)
        if message.key in self.accepted - self.unsure:
            broken.append("handed over twice")
        assert [] == broken, (message.key, message.tier, self.world.now)
        if answer == "accepted":
            self.accepted.add(message.key)
        elif answer == "unknown":
            self.unsure.add(message.key)
        else:
            model.sent.pop(message.key)

    def _registered(self, pending: dict[int, list[Registered | int]], customer: int) -> list[Registered]:
        entered = self.models[customer].entered
        return [entered[p] if isinstance(p, int) else p for p in pending[customer] if not isinstance(p, int) or p in entered]

    def _channel(self, message: Any) -> str:
        return "email" if "@" in message.to else "sms"

    def _answer(self, done: list[tuple[Act, list[Any], Incoming | None]]) -> None:
        """Outcomes go to their passages; where two tried the same, the later try's count, as in Temporal."""
        for act, members, _ in reversed(done):
            if act.died or not members:
                continue
            outcomes = dict(act.answer)
            for member, command in members:
                if (member, command) in self.passages.asked:
                    self.passages.asked.remove((member, command))
                    if member in outcomes:
                        self.passages.give(member, outcomes[member], self.world.now)

    def _keys(self, members: list[Any]) -> set[str]:
        """The keys of messages that an activity which died may have claimed."""
        ids = [m for m, _ in members]
        return {r.key for r in self.world.ask("select key from messages where enrollment_id = any(:i)", i=ids)}

    def _known_events(self) -> set[str]:
        return {
            r.message_id for r in self.world.ask("select message_id from events where customer_id = any(:i)", i=list(self.models))
        }

    def _standing(self) -> tuple[dict[str, list[tuple[int, str]]], dict[int, list[Registered | int]], set[int]]:
        """Who began with which event; who is registered or waits now, by customer; who is over."""
        rows = self.world.ask(
            "select e.id, e.id as enrollment_id, e.customer_id, e.journey, e.status, e.entered_at, v.message_id, "
            "m.status as message, m.reason, m.channel, m.topic, m.tier, m.planned_at, m.until, "
            "(select count(*) from messages x where x.enrollment_id = e.id) as n "
            "from enrollments e join events v on v.id = e.entry_event left join messages m on m.enrollment_id = e.id and "
            "m.status not in ('sent', 'unknown', 'refused', 'dropped') where e.customer_id = any(:i) order by e.id",
            i=list(self.models),
        )
        begun: dict[str, list[tuple[int, str]]] = {}
        pending: dict[int, list[Registered | int]] = {customer: [] for customer in self.models}
        ended = set()
        for r in rows:
            begun.setdefault(r.message_id, []).append((r.id, r.journey))
            if r.status == "ended":
                ended.add(r.id)
            elif r.status == "live" and r.message == "deferred" and r.reason in ("cap", "quiet_hours"):
                pending[r.customer_id].append(rest.waiting(r))
            elif r.status == "live" and r.n == 0:
                pending[r.customer_id].append(r.id)
        return begun, pending, ended

    def _move_clock(self, now: datetime) -> None:
        self.world.set_clock(now)
        self.world.wake(self.passages)

    def _settle(self) -> None:
        """Relay and work, without crashes, until nothing is left to do."""
        self.world.email.answers = self.world.sms.answers = itertools.repeat("accepted")
        for _ in range(200):
            self.world.relay(self.passages, list(self.models))
            groups = self.passages.groups()
            if not groups:
                return
            act, members = self.world.activity(self.passages, groups[0])
            self._play([act], itertools.repeat(0), [(act, members, None)])
        raise AssertionError(f"never at rest: {self.passages.asked}")


def _turns(seed: int) -> Iterator[int]:
    dice = random.Random(seed)
    while True:
        yield dice.randrange(3) if seed else 0


def explore(folder: Path, url: str, examples: int, steps: int, **more: Any) -> None:
    """So many examples of so many steps each."""
    world = World(folder, url)
    machine = type("Here", (Governance,), {"world": world, "_numbers": itertools.count()})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=checks,
                database=None,
                **more,
            ),
        )
    finally:
        world.close()


def test_no_promise_is_broken(tmp_path: Path, database_url: str) -> None:
    """The same few steps every time."""
    explore(tmp_path, database_url, 4, 20, derandomize=True, phases=[Phase.generate])


@pytest.mark.nightly
def test_no_promise_is_broken_in_a_long_search(tmp_path: Path, database_url: str) -> None:
    """Other steps every night; what fails is made short."""
    explore(tmp_path, database_url, 400, 50)
