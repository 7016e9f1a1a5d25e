"""`deliver`: a batch of sends through all gates, to one channel, recorded. Sending once is decided here and nowhere else.

    the channel's pace ─▶ render ─▶ [lock customers, facts, decide, reserve and claim: one transaction] ─▶ channel.send_many
    ─▶ record

A handover is the commit of its claim: the gates are asked under the customers' locks in the very transaction that claims, so
whatever intake accepted before it counts, and whatever comes after finds the message handed over. Rendering comes first, so
that nothing slow stands between claim and call.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.authoring.expressions import ExpressionError
from engine.core.enrollment import Command, Outcome
from engine.core.governance import decide
from engine.core.incoming import Door, Incoming
from engine.core.interpreter import key
from engine.core.logical import LogicalClock
from engine.core.plan import Plan, Send
from engine.core.queue import place
from engine.core.recording import record
from engine.delivery import facts, rulings
from engine.delivery.channel import Channel, Outgoing
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.draft import Draft, expiry
from engine.delivery.links import Links
from engine.delivery.own_limits import cap_facts
from engine.delivery.pacing import Pace
from engine.delivery.people import People
from engine.delivery.queueing import nearer, requeue, wake
from engine.delivery.render import RenderError
from engine.store import customers, enrollments, ledger, planned
from engine.store.database import Connection, Database, now, transaction

LEASE_SECONDS = 15.0
"""How long a handover belongs to the process that claimed it; longer than any channel's own timeout."""

SOFT_LIMIT_SECONDS = 2.0
"""After this long `deliver` starts no further chunk: the members not reached are told to come again at once, or after as long
again where it could start none."""

MESSAGE_SENT = "message_sent"
DELIVERY_SOURCE = "delivery"


@dataclass(slots=True)
class Delivery:
    """What `deliver` needs, wired once per process. `door` is told of messages that were sent, where a journey looks at that."""

    database: Database
    deployments: Deployments
    channels: Mapping[str, Channel]
    paces: Mapping[str, Pace]
    links: Links
    clock: LogicalClock
    door: Door
    lease_seconds: float = LEASE_SECONDS

    async def deliver(self, channel_name: str, plan: Plan, members: Sequence[tuple[int, Command]]) -> list[tuple[int, Outcome]]:
        """One outcome per member, in order. Everything about one member that goes wrong is that member's outcome."""
        started = time.monotonic()
        pace = self.paces.get(channel_name)
        channel = self.channels.get(channel_name)
        if channel is None or pace is None:
            drafts = await self._work(channel_name, plan, members, started)
        else:
            drafts = await self._paced(channel, pace, plan, members, started)
        await self._note_last_send(plan, drafts)
        await self._tell_sent(drafts)
        outcomes = {d.enrollment: d.outcome for d in drafts if d.outcome is not None}
        left = [(m, command) for m, command in members if m not in outcomes]
        if left:
            async with transaction(self.database) as c:
                until = await now(c)
            if not drafts:  # others had all there was: no use in asking again at once
                until += self.clock.logical_span(SOFT_LIMIT_SECONDS)
            outcomes.update((m, Outcome("again", k.op, k.visit, k.attempt, until=until)) for m, k in left)
        return [(m, outcomes[m]) for m, _ in members]

    async def _paced(
        self, channel: Channel, pace: Pace, plan: Plan, members: Sequence[tuple[int, Command]], started: float
    ) -> list[Draft]:
        """As many members as the channel's pace lets go within the soft limit, the highest tiers first; the drafts of those that
        it let. Only these are looked at: the others would be rendered anew at each of their turns."""
        async with transaction(self.database) as c:
            policy = (await self.deployments.current(c)).policy
        waiting = sorted(members, key=lambda m: (policy.rank(_tier(plan, m)), m[0]))
        drafts: list[Draft] = []
        while waiting and (patience := started + SOFT_LIMIT_SECONDS - time.monotonic()) > 0:
            tier = _tier(plan, waiting[0])
            alike = next((i for i, m in enumerate(waiting) if _tier(plan, m) != tier), len(waiting))
            most = min(alike, max(1, channel.capabilities.concurrency))
            tokens = await pace.take(most, urgent=tier in policy.urgent, rank=policy.rank(tier), patience=patience)
            done = await self._work(channel.name, plan, waiting[:tokens], started) if tokens else []
            waiting = waiting[tokens:]
            drafts += done
            unused = sum(not d.handed_over for d in done)
            if unused:
                pace.give_back(unused)
        return drafts

    async def _work(self, channel_name: str, plan: Plan, members: Sequence[tuple[int, Command]], started: float) -> list[Draft]:
        """Draft, decide, hand over, record. Those whose chunk doesn't start within the soft limit are left without an outcome."""
        channel = self.channels.get(channel_name)
        async with transaction(self.database) as c:
            deployment = await self.deployments.current(c)
            drafts = await self._draft(c, deployment, plan, members, channel)
            await self._skip(c, deployment, [d for d in drafts if d.outcome is not None])
        waiting = [d for d in drafts if d.outcome is None]
        if channel is None:
            for d in waiting:
                d.done("park", reason=f"channel {channel_name!r} is not configured")
            return drafts
        waiting.sort(key=lambda d: place(deployment.policy, d.message()))
        size = max(1, channel.capabilities.concurrency)
        for i in range(0, len(waiting), size):
            if i and time.monotonic() - started > SOFT_LIMIT_SECONDS:
                break
            await self._hand_over(deployment, channel, waiting[i : i + size])
        return drafts

    async def _draft(
        self, c: Connection, deployment: Deployment, plan: Plan, members: Sequence[tuple[int, Command]], channel: Channel | None
    ) -> list[Draft]:
        """Contexts, conditions and rendered content. Skipped members have their outcome already."""
        found = await enrollments.contexts(c, [(m, command.event) for m, command in members])
        people = await People.load(c, deployment, [r.customer_id for r in found.values()], deployment.needs(plan), await now(c))
        drafts = []
        for member, command in members:
            op = plan.ops[command.op]
            assert isinstance(op, Send)
            row = found[member]
            zone = people.zone(row.customer_id, row.attributes)
            expires = expiry(deployment.policy, op, command.at, zone)
            draft = Draft(member, command, key(member, plan, command), op, plan, row, zone, expires)
            drafts.append(draft)
            draft.address = _address(channel, row)
            try:
                context = people.context(row, command.at)
                if op.condition is not None and not deployment.expression(op.condition).test(context):
                    draft.done("next")
                    continue
                draft.unsubscribe_url = self.links.unsubscribe(draft.customer, command.channel, op.topic)
                asked = ""
                if deployment.asks(command.channel, op.template):
                    asked = self.links.confirm(draft.customer, command.channel, op.topic, draft.address or "")
                draft.content = deployment.render(command.channel, op, plan, context, draft.unsubscribe_url, asked)
            except (RenderError, ExpressionError) as error:
                draft.broken = str(error)
        return drafts

    async def _skip(self, c: Connection, deployment: Deployment, skipped: Sequence[Draft]) -> None:
        """Whose condition no longer holds waits no longer either, and gives back what was set aside or reserved for it."""
        if not skipped:
            return
        await customers.lock(c, [d.customer for d in skipped])
        freed = await ledger.drop(c, [d.enrollment for d in skipped], "condition", "its condition no longer held")
        left = await planned.forget(c, [d.enrollment for d in skipped])
        await requeue(c, deployment, sorted({*freed, *left.values()}), await now(c))

    async def _hand_over(self, deployment: Deployment, channel: Channel, chunk: Sequence[Draft]) -> None:
        """Decide and claim in one transaction, call the channel, record what it said."""
        owner = uuid.uuid4().hex
        async with transaction(self.database) as c:
            moment = await self._decide(c, deployment, channel, chunk, owner)
        claimed = [d for d in chunk if d.outcome is None]
        if not claimed:
            return
        for draft in claimed:
            draft.handed_over = True
        receipts = await channel.send_many([self._outgoing(deployment, d) for d in claimed])
        pairs = list(zip(claimed, receipts, strict=True))
        results = [rulings.receipt(self.clock, draft, told, channel, moment) for draft, told in pairs]
        suppressed = [s for draft, told in pairs if (s := rulings.suppression(draft, told, moment)) is not None]
        async with transaction(self.database) as c:
            freeing = [d for d, r in zip(claimed, results, strict=True) if not r["keep_slot"]]
            if freeing:
                await customers.lock(c, [d.customer for d in freeing])
            ours = await ledger.results(c, results, owner=owner)
            await customers.suppress(c, suppressed)
            freeing = [d for d in freeing if d.key in ours]
            if freeing and deployment.policy.caps:
                coming = [d for d in freeing if d.falls_back() or (d.outcome is not None and d.outcome.kind == "again")]
                await planned.register(c, [d.registration(moment if d.falls_back() else None) for d in coming])
                await requeue(c, deployment, sorted({d.customer for d in freeing}), await now(c))

    async def _decide(
        self, c: Connection, deployment: Deployment, channel: Channel, chunk: Sequence[Draft], owner: str
    ) -> datetime:
        """Gates 0 to 10 for each draft, in tier order, on facts read under the lock. Those that pass are claimed by `owner`."""
        policy = deployment.policy
        people = await customers.lock(c, [d.customer for d in chunk])
        moment = await now(c)
        case = await facts.load(c, policy, chunk, moment)
        case.known.caps = await cap_facts(c, deployment, people, moment)
        asked = await People.load(c, deployment, list(people), deployment.hours_needs, moment)
        freed: set[int] = set()
        messages: list[dict[str, Any]] = []
        decisions: list[dict[str, Any]] = []
        for draft in chunk:
            told = rulings.earlier_try(self.clock, draft, case.keys.get(draft.key), channel, moment)
            if told is not None:
                messages += told
                continue
            rulings.let_old_slot_go(self.clock, draft, case.known, moment)
            person = people[draft.customer]
            draft.address = _address(channel, person) if channel.capabilities.address else str(draft.customer)
            quiet = asked.quiet_flags(person)
            known = facts.of(draft, case, policy, person, deployment.own_zone(person.attributes), quiet, moment)
            at = max([moment, *(s.at for s in known.slots)])
            message = draft.message()
            verdict = decide(policy, known, message, at)
            draft.verdict = verdict
            recording = record(facts.whole(policy, known, message), message)
            decisions.append(draft.decision_row(verdict, policy=deployment.policy_hash, now=at, recording=recording))
            messages.append(rulings.verdict(draft, verdict, at, case.known, policy, deployment.policy_hash))
            if draft.slot_at is not None and not draft.reserved and messages[-1]["slot_at"] == draft.slot_at:
                case.known.take(draft.customer, draft.slot(draft.slot_at))
            left = case.known.note(draft, person.attributes, at) and draft.outcome is not None
            if left or (draft.slot_at is not None and messages[-1]["slot_at"] is None):
                freed.add(draft.customer)
        await ledger.decided(c, decisions)
        await ledger.write(c, messages, owner=owner, lease_seconds=self.lease_seconds)
        await self._queue(c, deployment, chunk, freed, moment)
        return moment

    async def _queue(
        self, c: Connection, deployment: Deployment, chunk: Sequence[Draft], freed: set[int], moment: datetime
    ) -> None:
        """Who waits now stands in the queue, who doesn't has left it, and others of the customers for whom something was `freed`
        may go."""
        again = [d for d in chunk if d.outcome is not None and d.outcome.kind == "again"]
        staying = [d for d in chunk if d.waits() or d.falls_back()] if deployment.policy.caps else []
        await planned.register(c, [d.registration(moment) for d in staying])
        kept = {d.enrollment for d in staying}
        await planned.forget(c, [d.enrollment for d in chunk if d.enrollment not in kept])
        earlier = await nearer(c, deployment, sorted(freed), moment) if freed else []
        if earlier:  # all in one go: in two, their ids would not be in order
            await enrollments.lock_rows(c, [*(d.enrollment for d in again), *(e["enrollment_id"] for e in earlier)])
        await enrollments.record_deferrals(
            c,
            [{"id": d.enrollment, "step": d.op.step, "wake_at": d.outcome.until} for d in again if d.outcome is not None],
        )
        if earlier:
            await wake(c, earlier)

    def _outgoing(self, deployment: Deployment, draft: Draft) -> Outgoing:
        assert draft.content is not None
        return Outgoing(
            key=draft.key,
            to=draft.address or "",
            content=draft.content,
            sender=deployment.sender(draft.command.channel),
            customer=str(draft.customer),
            journey=draft.plan.journey,
            step=draft.op.step,
            template=draft.op.template,
            tier=draft.op.tier,
            topic=draft.op.topic,
            unsubscribe_url=draft.unsubscribe_url,
        )

    async def _tell_sent(self, drafts: Sequence[Draft]) -> None:
        """`message_sent` through the one door, once per message, if any journey looks at it."""
        if not self.deployments.cares(MESSAGE_SENT):
            return
        told = [
            Incoming(
                "track",
                DELIVERY_SOURCE,
                f"{d.key}/sent",
                MESSAGE_SENT,
                properties=d.event_properties(),
                customer=d.customer,
                occurred_at=d.outcome.at,
                depth=d.row.depth,
            )
            for d in drafts
            if d.was_sent and d.outcome is not None
        ]
        if told:
            await self.door.accept(told)

    async def _note_last_send(self, plan: Plan, drafts: Sequence[Draft]) -> None:
        """`vars.last_send.status`, for the plans that read it."""
        if not self.deployments.reads_last_send(plan):
            return
        told = [
            {"id": d.enrollment, "vars": {"last_send": d.last_send()}}
            for d in drafts
            if d.outcome is not None and d.outcome.kind in ("next", "exit", "fallback")
        ]
        async with transaction(self.database) as c:
            await enrollments.write_vars(c, told)


def _tier(plan: Plan, member: tuple[int, Command]) -> str:
    op = plan.ops[member[1].op]
    assert isinstance(op, Send)
    return op.tier


def _address(channel: Channel | None, row: Any) -> str | None:
    """Where the channel would send: the attribute it names, or the customer's own id where it names none."""
    if channel is None:
        return None
    name = channel.capabilities.address
    if not name:
        return str(row.customer_id if hasattr(row, "customer_id") else row.id)
    value = row.attributes.get(name)
    return str(value) if value not in (None, "") else None
