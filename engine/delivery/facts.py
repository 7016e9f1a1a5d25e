"""The facts that the gates look at, read for a whole batch in one transaction while the customers' rows are locked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from engine.core.case import open_case
from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.core.consent import UNSAID, consent
from engine.core.facts import CapFact, ConsentFact, Facts, HoldFact, Message, PauseFact, PlannedFact, SlotFact
from engine.core.holdouts import by_policy
from engine.core.plan import Window
from engine.core.policy import Cap, Policy
from engine.core.queue import Line
from engine.core.wire import load as load_json
from engine.delivery.draft import Draft
from engine.store import customers, ledger, planned, senders
from engine.store.database import Connection

CROWD = 100
"""Registered sends of one customer beyond which they aren't kept one by one with each decision: else a thousand who wait would
keep a million. What taking a rule away would have done to all of them isn't worked out then, either."""

LONGEST_REST = timedelta(days=365)
"""Nothing is worth sending that waited for longer."""


@dataclass(slots=True)
class Known:
    """What one transaction knows of these customers, by id. `slots`, `registered` (customer → enrollment → the row of
    `store.planned`) and `queues` (those of customers who were asked about) change while a batch is decided. `addresses`:
    channel → the attribute that holds its address ("": it needs none). `caps`: what policy's caps are to each (`own_limits`).
    `rests`: holds on whole channels."""

    policy: Policy
    addresses: Mapping[str, str]
    suppressed: Mapping[tuple[int, str, str], str]
    consents: Mapping[int, tuple[ConsentFact, ...]]
    soft: Mapping[tuple[int, str], datetime]
    holds: Mapping[int, tuple[HoldFact, ...]]
    slots: dict[int, list[SlotFact]]
    registered: dict[int, dict[int, Mapping[str, Any]]]
    queues: dict[int, Line] = field(default_factory=dict)
    caps: Mapping[int, tuple[CapFact, ...]] = field(default_factory=dict)
    rests: tuple[HoldFact, ...] = ()

    def planned(self, customer: int, attributes: Mapping[str, Any]) -> tuple[PlannedFact, ...]:
        """The customer's registered sends, with whether each could reach them."""
        return tuple([self._planned(r, customer, attributes) for r in self.registered.get(customer, {}).values()])

    def _planned(self, r: Mapping[str, Any], customer: int, attributes: Mapping[str, Any]) -> PlannedFact:
        channel, address, suppressed = self._reach(r, customer, attributes)
        return PlannedFact(
            tier=r["tier"],
            channel=channel,
            topic=r["topic"],
            journey=r["journey"],
            due=r["due"],
            enrollment=r["enrollment_id"],
            entered_at=r["entered_at"],
            waiting=r["waiting"],
            planned_at=r["planned_at"],
            expires_at=r["expires_at"],
            window=None if r["send_window"] is None else load_json(Window, r["send_window"]),
            address=address,
            suppressed=suppressed,
            tags=tuple(r["tags"]),
            charged=tuple(r["charged"]),
        )

    def _reach(self, r: Mapping[str, Any], customer: int, attributes: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
        """The first of a send's channels that reaches the customer, who hasn't merely said nothing about it; the address there,
        and why it must not be used: where none does, the first one."""
        found = []
        channels = r["channels"]
        for channel in channels:
            name = self.addresses.get(channel, "")
            value = attributes.get(name) if name else str(customer)
            address = None if value in (None, "") else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            suppressed = None if address is None else self.suppressed.get((customer, channel, address))
            if address is not None and suppressed is None and (len(channels) == 1 or not self._unsaid(r, channel, customer)):
                return channel, address, None
            found.append((channel, address, suppressed))
        return found[0]

    def _unsaid(self, r: Mapping[str, Any], channel: str, customer: int) -> bool:
        """Whether a registered send is passed on because nobody said anything about its channel."""
        facts = Facts(consents=self.consents.get(customer, ()), soft_opt_in_at=self._soft_of(customer))
        message = Message("", "", "", channel, r["tier"], r["due"], r["topic"])
        return consent(open_case(self.policy, facts, message), r["due"]).rule in UNSAID

    def _soft_of(self, customer: int) -> tuple[tuple[str, datetime], ...]:
        events = soft_channels(self.policy).items()
        return tuple((channel, self.soft[(customer, event)]) for channel, event in events if (customer, event) in self.soft)

    def note(self, draft: Draft, attributes: Mapping[str, Any], now: datetime) -> bool:
        """A draft of these customers has been decided: it stands in the queue, or no longer. Whether it stood there, and left."""
        mine = self.registered.setdefault(draft.customer, {})
        queue = self.queues.get(draft.customer)
        if draft.waits() or draft.falls_back():
            row = mine[draft.enrollment] = draft.registration(now)
            if queue is not None:
                queue.stays(self._planned(row, draft.customer, attributes), self._goes_at(draft, now))
            return False
        if queue is not None:
            queue.leaves(draft.enrollment)
        return mine.pop(draft.enrollment, None) is not None

    def _goes_at(self, draft: Draft, now: datetime) -> datetime | None:
        """When a draft that stays in the queue takes its slot; None where it sets nothing aside, as in `queue.moments`: it uses
        up no cap, a hold or a pause keeps it for nobody knows how long, or it expires before there is room."""
        told, until = draft.verdict, draft.outcome.until if draft.outcome is not None else None
        if draft.op.tier in self.policy.uncounted:
            return None
        if draft.falls_back() or told is None:
            return until or now
        held = any(g.gate in ("hold", "journey") and g.answer == "defer" and not g.certain for g in told.gates)
        late = told.earliest is None or (draft.expires_at is not None and told.earliest >= draft.expires_at)
        return None if held or late else until or now

    def take(self, customer: int, slot: SlotFact) -> None:
        """A message of this customer has taken its slot."""
        self.slots[customer].append(slot)
        if customer in self.queues:
            self.queues[customer].goes(slot)

    def give_back(self, customer: int, slot: SlotFact) -> None:
        """This customer's slot counts no more."""
        if slot in self.slots[customer]:
            self.slots[customer].remove(slot)
            self.queues.pop(customer, None)

    def of_customer(
        self, person: Any, zone: str | None, quiet: tuple[bool, ...], now: datetime, enrollment: int = 0, **message: Any
    ) -> Facts:
        """The facts for one message of `person` (a locked row), whose own zone is `zone`, and of `enrollment` (0: of the whole
        queue). `message`: what concerns it alone."""
        facts = Facts(
            erased=person.erased_at is not None,
            restricted=person.restricted,
            zone=zone,
            consents=self.consents.get(person.id, ()),
            soft_opt_in_at=self._soft_of(person.id),
            holds=(*self.holds.get(person.id, ()), *self.rests),
            slots=tuple(self.slots.get(person.id, ())),
            quiet=quiet,
            caps=self.caps.get(person.id, ()),
            customer=person.id,
            **message,
        )
        if self.registered.get(person.id, {}).keys() <= {enrollment}:  # nobody else, as almost always: nothing to work out
            return facts
        return replace(facts, queue=self.queue(facts, person, now))

    def queue(self, facts: Facts, person: Any, now: datetime) -> Line:
        """When each of the customer's registered sends will go: worked out once for all messages of a batch."""
        if person.id not in self.queues:
            self.queues[person.id] = Line(self.policy, facts, self.planned(person.id, person.attributes), now)
        return self.queues[person.id]


@dataclass(slots=True)
class Case:
    """One batch's facts: of its customers, of its enrollments, and what the ledger knows under its keys."""

    known: Known
    states: Mapping[int, Any]
    keys: Mapping[str, Any]


def window_start(policy: Policy, now: datetime) -> datetime | None:
    """The earliest moment that any cap looks at (a calendar cap also at the period before), None without. A day to spare for
    zones, and three for months: what was taken on a 29th to 31st counts until a shorter month is over (`core.tally`)."""
    if not policy.caps:
        return None
    return min(add(now, _reach(cap), zone_named("UTC")) for cap in policy.caps) - timedelta(days=4)


def horizon(policy: Policy, now: datetime) -> datetime | None:
    """What is due later is in nobody's way: two of the longest windows ahead. None where no calendar reaches that far."""
    since = window_start(policy, now)
    try:
        return None if since is None else now + 2 * (now - since)
    except OverflowError:
        return None


def _reach(cap: Cap) -> Duration:
    if cap.rolling is not None:
        return Duration(-cap.rolling.months, -cap.rolling.days, -cap.rolling.seconds)
    return {"day": Duration(days=-2), "week": Duration(days=-14), "month": Duration(months=-2)}[cap.per]


def counted_tiers(policy: Policy) -> list[str]:
    """The tiers that use up caps."""
    return [t.name for t in policy.tiers if t.name not in policy.uncounted]


def soft_channels(policy: Policy) -> dict[str, str]:
    """Channel → event that gives soft opt-in on it."""
    return {rule.channel: rule.soft.after for rule in policy.consent if rule.soft is not None}


async def load(c: Connection, policy: Policy, drafts: Sequence[Draft], now: datetime) -> Case:
    """Everything about these drafts and their customers (who are locked), in a handful of statements."""
    ids = sorted({d.customer for d in drafts})
    keys = await ledger.by_key(c, [key for d in drafts for key in (d.key, *d.earlier_keys())])
    for draft in drafts:
        draft.carry_on(keys)
    return Case(
        known=await know(c, policy, ids, min(d.command.at for d in drafts), now),
        states=await ledger.journey_states(c, [d.enrollment for d in drafts]),
        keys=keys,
    )


async def know(c: Connection, policy: Policy, ids: Sequence[int], oldest: datetime, now: datetime) -> Known:
    """Everything about these customers (who are locked). `oldest`: when the first of their messages was planned."""
    since = window_start(policy, now)
    slots: dict[int, list[SlotFact]] = defaultdict(list)
    registered: dict[int, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    if since is not None:
        for r in await ledger.slots(c, ids, since, counted_tiers(policy)):
            slots[r.customer_id].append(SlotFact(r.tier, r.channel, r.topic, r.journey, r.at, tuple(r.tags), tuple(r.charged)))
        for r in await planned.of_customers(c, ids, horizon(policy, now)):
            if not held_out(policy, r.customer_id, r.tier):
                registered[r.customer_id][r.enrollment_id] = dict(r._mapping)
    consents: dict[int, list[ConsentFact]] = defaultdict(list)
    for r in await customers.consents(c, ids):
        consents[r.customer_id].append(consent_fact(r))
    holds: dict[int, list[HoldFact]] = defaultdict(list)
    if policy.holds:
        for r in await customers.holds(c, ids, oldest):
            holds[r.customer_id].append(HoldFact(r.name, tuple(r.pause), r.opened_at, r.until, r.closed_at))
    return Known(
        policy=policy,
        addresses=await planned.addresses(c) if registered else {},
        suppressed={(r.customer_id, r.channel, r.address): r.reason for r in await customers.suppressions(c, ids)},
        consents={i: tuple(f) for i, f in consents.items()},
        soft=await customers.last_events(c, ids, sorted(set(soft_channels(policy).values()))),
        holds={i: tuple(f) for i, f in holds.items()},
        slots=slots,
        registered=registered,
        rests=tuple(rest_fact(policy, r) for r in await senders.rests(c)),
    )


def rest_fact(policy: Policy, r: Any) -> HoldFact:
    """From a row of `store.senders.rests`: who complained is left alone by every tier that needs consent, until somebody has
    looked into it."""
    pause = tuple(t.name for t in policy.tiers if "consent" not in t.skip)
    why = f"{r.channel} rests: {senders.tell(r)}"
    return HoldFact(f"complaints on {r.channel}", pause, r.since, r.since + LONGEST_REST, channels=(r.channel,), why=why)


def consent_fact(r: Any) -> ConsentFact:
    """From a row of `store.customers.consents`."""
    return ConsentFact(r.channel, r.topic, r.state, r.at, r.source, r.until, r.id, r.wording)


def of(draft: Draft, case: Case, policy: Policy, person: Any, zone: str | None, quiet: tuple[bool, ...], now: datetime) -> Facts:
    """The facts for one draft. `person`: the locked customer row; `zone`: the customer's own."""
    state = case.states[draft.enrollment]
    warming = () if draft.warming is None else (draft.warming,)
    draft.consent_version = max((f.version for f in case.known.consents.get(draft.customer, ())), default=0)
    known = case.known.of_customer(
        person,
        zone,
        quiet,
        now,
        draft.enrollment,
        live=state.status == "live",
        ended_reason=state.reason or None,
        pauses=pauses(draft, state),
        address=draft.address,
        suppressed=case.known.suppressed.get((draft.customer, draft.command.channel, draft.address or "")),
        holdout=holdout(policy, draft, state.holdout),
    )
    return replace(known, holds=(*known.holds, *warming)) if warming else known


def pauses(draft: Draft, state: Any) -> tuple[PauseFact, ...]:
    """The pauses of its journey and of its enrollment that keep this message back, or kept it. `state`: of
    `ledger.journey_states`."""
    journey = (state.journey_paused_at, state.journey_last_paused_at, state.journey_resumed_at, state.paused_reason or "")
    own = (state.paused_at, state.last_paused_at, state.resumed_at, "")
    found = []
    for name, (paused_at, last, resumed_at, why) in ((draft.plan.journey, journey), (f"enrollment {draft.enrollment}", own)):
        if paused_at is not None:
            found.append(PauseFact(name, paused_at, None, why))
        if last is not None and resumed_at > draft.command.at:
            found.append(PauseFact(name, last, resumed_at))
    return tuple(found)


def whole(policy: Policy, known: Facts, message: Message, at: datetime) -> Facts:
    """`known` with the registered sends that stand in its queue, from which the same decision can be made again `at` the same
    moment; of a crowd, with what they leave set aside before `message`; without either where no cap was looked at."""
    queue = known.queue
    if not isinstance(queue, Line):
        return known
    if message.reserved or any(t.name == message.tier and "caps" in t.skip for t in policy.tiers):
        return replace(known, queue=None)
    if len(queue) > CROWD:
        return replace(known, queue=None, aside=queue.before(message, known, at).aside(message))
    return replace(known, planned=queue.registered())


def holdout(policy: Policy, draft: Draft, of_journey: bool) -> str | None:
    """The name of the holdout that keeps this message back: the journey's, or policy's global one for the tier."""
    if of_journey:
        return draft.plan.journey
    return policy.holdout.name if policy.holdout is not None and held_out(policy, draft.customer, draft.op.tier) else None


def held_out(policy: Policy, customer: int, tier: str) -> bool:
    """Whether policy's global holdout keeps messages of `tier` from this customer."""
    return policy.holdout is not None and tier in policy.holdout.tiers and by_policy(policy, customer) is not None
