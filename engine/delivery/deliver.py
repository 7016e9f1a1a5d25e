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
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opentelemetry.trace import SpanKind

from engine.authoring.expressions import ExpressionError
from engine.core.enrollment import NOT_REACHED, Command, Outcome
from engine.core.incoming import Door, Incoming
from engine.core.interpreter import key
from engine.core.logical import LogicalClock
from engine.core.plan import Plan, Send
from engine.core.queue import place
from engine.core.recording import record
from engine.delivery import facts, numbers, rulings
from engine.delivery.channel import Channel, Outgoing, Receipt
from engine.delivery.deciding import address_of, decided, ruled
from engine.delivery.deployment import CONFIRM_URL, PREFERENCES_URL, Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.draft import Draft, expiry
from engine.delivery.links import Links
from engine.delivery.own_limits import cap_facts
from engine.delivery.pacing import Pace
from engine.delivery.people import People
from engine.delivery.queueing import nearer, requeue, wake
from engine.delivery.render import RenderError
from engine.delivery.warming import Warmup
from engine.observe import metrics, tracing
from engine.store import customers, enrollments, ledger, pauses, planned, senders, short_links
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
    """What `deliver` needs, wired once per process. `door` is told of messages that were sent, where a journey looks at that.
    `counted`: the channels whose messages are counted, because complaints about them have a limit."""

    database: Database
    deployments: Deployments
    channels: Mapping[str, Channel]
    paces: Mapping[str, Pace]
    links: Links
    clock: LogicalClock
    door: Door
    lease_seconds: float = LEASE_SECONDS
    warmups: Mapping[str, Warmup] = field(default_factory=dict)
    counted: Set[str] = frozenset()

    async def deliver(self, channel_name: str, plan: Plan, members: Sequence[tuple[int, Command]]) -> list[tuple[int, Outcome]]:
        """One outcome per member, in order. Everything about one member that goes wrong is that member's outcome."""
        started = time.monotonic()
        pace = self.paces.get(channel_name)
        channel = self.channels.get(channel_name)
        with metrics.DELIVER.labels(channel_name).time():
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
            outcomes.update((m, Outcome("again", k.op, k.visit, k.attempt, until=until, reason=NOT_REACHED)) for m, k in left)
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
            most = min(alike, channel.capabilities.at_once)
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
        size = channel.capabilities.at_once
        warmup = self.warmups.get(channel_name)
        for i in range(0, len(waiting), size):
            if i and time.monotonic() - started > SOFT_LIMIT_SECONDS:
                break
            chunk = waiting[i : i + size]
            day, room = (0, 0) if warmup is None else await warmup.take(deployment.policy, chunk)
            try:
                await self._hand_over(deployment, channel, chunk)
            finally:
                if warmup is not None:
                    await warmup.give_back(day, room - sum(d.handed_over for d in chunk))
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
            draft.address = None if channel is None else address_of(channel.capabilities.address, row.customer_id, row.attributes)
            try:
                context = people.context(row, command.at)
                if op.condition is not None and not deployment.expression(op.condition).test(context):
                    draft.done("next")
                    continue
                draft.unsubscribe_url = self.links.unsubscribe(draft.customer, command.channel, op.topic)
                asked = choices = ""
                if deployment.mentions(command.channel, op.template, CONFIRM_URL):
                    asked = self.links.confirm(draft.customer, command.channel, op.topic, draft.address or "")
                if deployment.mentions(command.channel, op.template, PREFERENCES_URL):
                    choices = self.links.preferences(draft.customer, command.channel, draft.address or "")
                draft.content = deployment.render(command.channel, op, plan, context, draft.unsubscribe_url, asked, choices)
                draft.follow(self.links, deployment.followed(command.channel, op))
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
            moment, written = await self._decide(c, deployment, channel, chunk, owner)
        numbers.decided(chunk, written)
        claimed = [d for d in chunk if d.outcome is None]
        if not claimed:
            return
        for draft in claimed:
            draft.handed_over = True
        handover = tracing.span("handover", kind=SpanKind.CLIENT, channel=channel.name, messages=len(claimed))
        with metrics.PROVIDER.labels(channel.name).time(), handover:
            receipts = await channel.send_many([self._outgoing(deployment, d) for d in claimed])
        pairs = list(zip(claimed, receipts, strict=True))
        results = [rulings.receipt(self.clock, draft, told, channel, moment) for draft, told in pairs]
        async with transaction(self.database) as c:
            # Whoever was merged meanwhile: what follows is for the customer who is left.
            touched = {r["key"] for r in results if not r["keep_slot"] or r["status"] in rulings.UNSETTLED}
            about = [d for d, told in pairs if d.key in touched or (isinstance(told, Receipt) and told.suppress)]
            owners = await enrollments.lock_owners(c, [d.enrollment for d in about])
            states = await ledger.journey_states(c, [d.enrollment for d in about]) if about else {}
            for draft in about:
                draft.customer = owners[draft.enrollment]
            for draft, r in zip(claimed, results, strict=True):
                if draft.enrollment in states:
                    rulings.overtaken(draft, states[draft.enrollment], r)
            freeing = [d for d, r in zip(claimed, results, strict=True) if not r["keep_slot"]]
            over = {r["key"] for r in results if r["status"] == "dropped"}
            suppressed = [s for draft, told in pairs if (s := rulings.suppression(draft, told, moment)) is not None]
            ours = await ledger.results(c, results, owner=owner)
            await customers.suppress(c, suppressed)
            freeing = [d for d in freeing if d.key in ours]
            if freeing and deployment.policy.caps:
                again = [d for d in freeing if d.outcome is not None and d.outcome.kind == "again" and d.key not in over]
                coming = [*again, *(d for d in freeing if d.falls_back())]
                await planned.register(c, [d.registration(moment if d.falls_back() else None) for d in coming])
                await requeue(c, deployment, sorted({d.customer for d in freeing}), await now(c))
            if channel.name in self.counted:
                await senders.count_sent(c, channel.name, sum(d.was_sent and d.key in ours for d in claimed))
        numbers.answered(channel, pairs, results)

    async def _decide(
        self, c: Connection, deployment: Deployment, channel: Channel, chunk: Sequence[Draft], owner: str
    ) -> tuple[datetime, list[dict[str, Any]]]:
        """Gates 0 to 10 for each draft, in tier order, on facts read under the lock. Those that pass are claimed by `owner`. When
        that was, and the ledger's rows."""
        policy = deployment.policy
        await pauses.stand_still(c)
        people = await customers.lock(c, [d.customer for d in chunk])
        moment = await now(c)
        case = await facts.load(c, policy, chunk, moment)
        chunk = rulings.still_theirs(chunk, case.states, moment)
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
            person = people[draft.customer]
            given_up = rulings.skipped(draft, case.states[draft.enrollment], moment, deployment.policy_hash)
            if given_up is not None:
                messages.append(given_up)
                case.known.note(draft, person.attributes, moment)
                freed.add(draft.customer)
                continue
            draft.address = address_of(channel.capabilities.address, draft.customer, person.attributes)
            zone, quiet = deployment.own_zone(person.attributes), asked.quiet_flags(person)
            made = decided(self.clock, draft, case, policy, person, zone, quiet, moment)
            recording = record(facts.whole(policy, made.facts, made.message, made.at), made.message)
            decisions.append(draft.decision_row(made.verdict, policy=deployment.policy_hash, now=made.at, recording=recording))
            row, frees = ruled(draft, made, case, policy, deployment.policy_hash, person.attributes)
            messages.append(row)
            if frees:
                freed.add(draft.customer)
        await _keep_links(c, [d for d in chunk if d.outcome is None], moment)
        await ledger.decided(c, decisions)
        await ledger.write(c, messages, owner=owner, lease_seconds=self.lease_seconds)
        resumed = [d.enrollment for d in chunk if case.states[d.enrollment].kept_back and not d.is_paused()]
        await self._queue(c, deployment, chunk, freed, resumed, moment)
        return moment, messages

    async def _queue(
        self,
        c: Connection,
        deployment: Deployment,
        chunk: Sequence[Draft],
        freed: set[int],
        resumed: Sequence[int],
        moment: datetime,
    ) -> None:
        """Who waits now stands in the queue, who doesn't has left it, and others of the customers for whom something was `freed`
        may go. `resumed`: enrollments that are no longer kept back."""
        again = [d for d in chunk if d.outcome is not None and d.outcome.kind == "again"]
        staying = [d for d in chunk if d.waits() or d.falls_back()] if deployment.policy.caps else []
        await planned.register(c, [d.registration(moment) for d in staying])
        kept = {d.enrollment for d in staying}
        await planned.forget(c, [d.enrollment for d in chunk if d.enrollment not in kept])
        earlier = await nearer(c, deployment, sorted(freed), moment) if freed else []
        if earlier or resumed:  # all in one go: in two, their ids would not be in order
            await enrollments.lock_rows(c, [*(d.enrollment for d in again), *resumed, *(e["enrollment_id"] for e in earlier)])
            await pauses.over(c, resumed)
        await enrollments.record_deferrals(
            c,
            [
                {"id": d.enrollment, "step": d.op.step, "wake_at": d.outcome.until, "kept_back": d.is_paused()}
                for d in again
                if d.outcome is not None
            ],
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


async def _keep_links(c: Connection, drafts: Sequence[Draft], at: datetime) -> None:
    """Store the short links of messages that are about to be handed over. Where another link has a code already, the message is
    composed anew with longer ones."""
    waiting = [d for d in drafts if d.following is not None and d.following.codes]
    while waiting:
        taken = await short_links.keep(c, [row for d in waiting for row in d.short_links(at)])
        waiting = [d for d in waiting if d.following is not None and not taken.isdisjoint(d.following.codes)]
        for draft in waiting:
            draft.lengthen()


def _tier(plan: Plan, member: tuple[int, Command]) -> str:
    op = plan.ops[member[1].op]
    assert isinstance(op, Send)
    return op.tier
