"""The facts that the gates look at, read for a whole batch in one transaction while the customers' rows are locked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.core.facts import ConsentFact, Facts, HoldFact, SlotFact
from engine.core.policy import Cap, Policy
from engine.core.wire import share
from engine.delivery.draft import Draft
from engine.store import customers, ledger
from engine.store.database import Connection


@dataclass(slots=True)
class Case:
    """One batch's facts, by customer and by enrollment. `slots` grows while the batch is decided."""

    people: Mapping[int, Any]
    states: Mapping[int, Any]
    suppressed: Mapping[tuple[int, str], str]
    consents: Mapping[int, tuple[ConsentFact, ...]]
    soft: Mapping[tuple[int, str], datetime]
    holds: Mapping[int, tuple[HoldFact, ...]]
    slots: dict[int, list[SlotFact]]
    keys: Mapping[str, Any]


def window_start(policy: Policy, now: datetime) -> datetime | None:
    """The earliest moment that any cap looks at (a calendar cap also at the period before), a day to spare for zones; None
    without."""
    if not policy.caps:
        return None
    return min(add(now, _reach(cap), zone_named("UTC")) for cap in policy.caps) - timedelta(days=1)


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


async def load(c: Connection, policy: Policy, drafts: Sequence[Draft], channel: str, now: datetime) -> Case:
    """Everything about these drafts' customers (who are locked), in a handful of statements."""
    ids = sorted({d.customer for d in drafts})
    since = window_start(policy, now)
    slots: dict[int, list[SlotFact]] = defaultdict(list)
    if since is not None:
        for r in await ledger.slots(c, ids, since, counted_tiers(policy)):
            slots[r.customer_id].append(SlotFact(r.tier, r.channel, r.topic, r.journey, r.at))
    consents: dict[int, list[ConsentFact]] = defaultdict(list)
    for r in await customers.consents(c, ids):
        consents[r.customer_id].append(ConsentFact(r.channel, r.topic, r.state, r.at, r.source, r.until, r.id))
    holds: dict[int, list[HoldFact]] = defaultdict(list)
    if policy.holds:
        for r in await customers.holds(c, ids, min(d.command.at for d in drafts)):
            holds[r.customer_id].append(HoldFact(r.name, tuple(r.pause), r.opened_at, r.until, r.closed_at))
    soft = soft_channels(policy)
    return Case(
        people={},
        states=await ledger.journey_states(c, [d.enrollment for d in drafts]),
        suppressed={(r.customer_id, r.address): r.reason for r in await customers.suppressions(c, ids, channel)},
        consents={i: tuple(f) for i, f in consents.items()},
        soft=await customers.last_events(c, ids, sorted(set(soft.values()))),
        holds={i: tuple(f) for i, f in holds.items()},
        slots=slots,
        keys=await ledger.by_key(c, [d.key for d in drafts]),
    )


def of(draft: Draft, case: Case, policy: Policy, person: Any, zone: str | None, quiet: tuple[bool, ...]) -> Facts:
    """The facts for one draft. `person`: the locked customer row; `zone`: the customer's own."""
    state = case.states[draft.enrollment]
    consents = case.consents.get(draft.customer, ())
    draft.consent_version = max((f.version for f in consents), default=0)
    soft = tuple(
        (channel, case.soft[(draft.customer, event)])
        for channel, event in soft_channels(policy).items()
        if (draft.customer, event) in case.soft
    )
    return Facts(
        live=state.status == "live",
        ended_reason=state.reason or None,
        erased=person.erased_at is not None,
        restricted=person.restricted,
        paused=state.paused,
        zone=zone,
        address=draft.address,
        suppressed=case.suppressed.get((draft.customer, draft.address or "")),
        consents=consents,
        soft_opt_in_at=soft,
        holdout=holdout(policy, draft, state.holdout),
        holds=case.holds.get(draft.customer, ()),
        slots=tuple(case.slots.get(draft.customer, ())),
        quiet=quiet,
    )


def holdout(policy: Policy, draft: Draft, of_journey: bool) -> str | None:
    """The name of the holdout that keeps this message back: the journey's, or policy's global one for the tier."""
    if of_journey:
        return draft.plan.journey
    whole = policy.holdout
    if whole is not None and draft.op.tier in whole.tiers and share(f"holdout/{whole.name}", str(draft.customer)) < whole.share:
        return whole.name
    return None
