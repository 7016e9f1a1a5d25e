"""What happened, read back: the statements behind `why`, lists of enrollments and summaries. Reads only; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.core.wire import Json
from engine.store.database import Connection, fetch


async def by_identifier(c: Connection, text: str) -> int | None:
    """The customer with this identifier (a user id before any other kind), or with this e-mail address or phone number."""
    found = await fetch(
        c,
        "(select customer_id, case kind when 'user_id' then 0 else 1 end as rank from identifiers where value = :text) union all "
        "(select id, 2 from customers where lower(attributes->>'email') = lower(:text) or attributes->>'phone' = :text limit 1) "
        "order by 2, 1 limit 1",
        text=text,
    )
    return int(found[0].customer_id) if found else None


async def alike(c: Connection, text: str) -> list[str]:
    """Up to 500 identifiers that contain `text` or begin as it does, ignoring case."""
    found = await fetch(
        c,
        "select distinct value from identifiers where strpos(lower(value), lower(:text)) > 0 "
        "or starts_with(lower(value), lower(left(:text, 2))) order by 1 limit 500",
        text=text,
    )
    return [r.value for r in found]


async def person(c: Connection, customer: int) -> Row[Any] | None:
    """The customer's row (id, attributes, restricted, erased_at, created_at) with `identifiers` as [kind, value] pairs."""
    found = await fetch(
        c,
        "select p.id, p.attributes, p.restricted, p.erased_at, p.created_at, "
        "coalesce((select jsonb_agg(jsonb_build_array(i.kind, i.value) "
        "order by i.kind desc, i.value) from identifiers i where i.customer_id = p.id), '[]') as identifiers "
        "from customers p where p.id = :id",
        id=customer,
    )
    return found[0] if found else None


async def passages(c: Connection, customer: int, journey: str | None) -> list[Row[Any]]:
    """The customer's enrollments (in one journey, or all), oldest first, each with the event that it began with."""
    return await fetch(
        c,
        "select e.id, e.journey, e.plan, e.key, e.number, e.status, e.reason, e.holdout, e.global_holdout, e.entered_at, "
        "e.ended_at, e.step, e.wake_at, e.goal_at, e.goal_value, e.cohort_id, e.entry_event, "
        "v.name as entry_name, v.occurred_at as entry_at "
        "from enrollments e join events v on v.id = e.entry_event where e.customer_id = :id "
        "and (cast(:journey as text) is null or e.journey = :journey) order by e.entered_at, e.id",
        id=customer,
        journey=journey,
    )


async def inputs(c: Connection, enrollments: Sequence[int]) -> list[Row[Any]]:
    """Everything that happened to these enrollments, in order, with the events' names and properties."""
    return await fetch(
        c,
        "select i.enrollment_id, i.seq, i.kind, i.at, i.matched, i.reason, i.note, i.relayed_at, v.name, v.properties "
        "from inputs i left join events v on v.id = i.event_id where i.enrollment_id = any(cast(:ids as bigint[])) "
        "order by i.enrollment_id, i.seq",
        ids=list(enrollments),
    )


async def messages(c: Connection, enrollments: Sequence[int]) -> list[Row[Any]]:
    """The messages of these enrollments, in the order in which they were first decided."""
    return await fetch(
        c,
        "select id, key, enrollment_id, step, attempt, template, channel, topic, tier, status, reason, detail, planned_at, "
        "expires_at, decided_at, until, tries, sent_at, provider_id, words, tags from messages "
        "where enrollment_id = any(cast(:ids as bigint[])) order by id",
        ids=list(enrollments),
    )


async def decisions(c: Connection, keys: Sequence[str]) -> list[Row[Any]]:
    """Every decision about these messages, in order."""
    return await fetch(
        c,
        "select id, key, at, decision, reason, rule, detail, until, earliest, gates, policy, plan, consent_version, facts "
        "from decisions where key = any(cast(:keys as text[])) order by id",
        keys=list(keys),
    )


async def tasks(c: Connection, enrollments: Sequence[int]) -> list[Row[Any]]:
    """The tasks of these enrollments."""
    return await fetch(
        c,
        "select id, enrollment_id, queue, title, assignee, status, due_at, created_at, closed_at from tasks "
        "where enrollment_id = any(cast(:ids as bigint[])) order by id",
        ids=list(enrollments),
    )


async def holds(c: Connection, customer: int, at: datetime) -> list[Row[Any]]:
    """The holds on this customer that were open at `at`: name, key, pause, opened_at, until."""
    return await fetch(
        c,
        "select name, key, pause, opened_at, until from holds where customer_id = :id and opened_at <= :at "
        "and coalesce(closed_at, 'infinity') > :at and until > :at order by opened_at",
        id=customer,
        at=at,
    )


async def entry_events(c: Connection, customer: int, names: Sequence[str], at: datetime) -> list[Row[Any]]:
    """This customer's events of these names up to `at`, newest first, at most 50 of each: id, name, properties, occurred_at,
    accepted_at, `n` (how many of that name there are)."""
    return await fetch(
        c,
        "select id, name, properties, occurred_at, accepted_at, n from (select *, count(*) over (partition by name) as n, "
        "row_number() over (partition by name order by occurred_at desc, id desc) as nth from events "
        "where customer_id = :id and name = any(cast(:names as text[])) and occurred_at <= :at) as e "
        "where nth <= 50 order by occurred_at desc, id desc",
        id=customer,
        names=list(names),
        at=at,
    )


async def first_deployed(c: Connection, journeys: Sequence[str]) -> dict[str, Any]:
    """Journey → the real moment at which it was first deployed."""
    found = await fetch(
        c,
        "select j.name, min(d.at) as at from unnest(cast(:names as text[])) as j(name) join deployments d on d.plans ? j.name "
        "group by 1",
        names=list(journeys),
    )
    return {r.name: r.at for r in found}


async def listing(
    c: Connection,
    *,
    journey: str | None = None,
    status: str | None = None,
    customer: int | None = None,
    reason: str | None = None,
    ids: Sequence[int] | None = None,
    limit: int | None = None,
) -> list[Row[Any]]:
    """Enrollments that fit all that is given (`reason`: a part of it, ignoring case), newest first, with a `user` to call the
    customer by."""
    return await fetch(
        c,
        "select e.id, e.customer_id, e.journey, e.key, e.status, e.reason, e.holdout, e.step, e.wake_at, e.entered_at, "
        "e.ended_at, coalesce((select i.value from identifiers i where i.customer_id = e.customer_id "
        "order by i.kind desc, i.value limit 1), "
        "'') as user from enrollments e where (cast(:journey as text) is null or e.journey = :journey) "
        "and (cast(:status as text) is null or e.status = :status) "
        "and (cast(:customer as bigint) is null or e.customer_id = :customer) "
        "and (cast(:reason as text) is null or strpos(lower(e.reason), lower(:reason)) > 0) "
        "and (cast(:ids as bigint[]) is null or e.id = any(cast(:ids as bigint[]))) "
        "order by e.id desc limit cast(:limit as bigint)",
        journey=journey,
        status=status,
        customer=customer,
        reason=reason,
        ids=list(ids) if ids is not None else None,
        limit=limit,
    )


async def message_counts(c: Connection) -> list[Row[Any]]:
    """How many messages there are by journey, status and reason: journey, status, reason, n."""
    return await fetch(c, "select journey, status, reason, count(*) as n from messages group by 1, 2, 3 order by 1, 2, 4 desc, 3")


@dataclass(frozen=True, slots=True)
class Told:
    """What one message of a source led to. `entered`: (journey, enrollment) · `moved`: (journey, kind of input) · `refused`:
    (journey, how a limit on journeys kept the customer out) · `quarantined`: why it was kept aside."""

    entered: tuple[tuple[str, int], ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    quarantined: str = ""
    refused: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "entered": [{"journey": j, "enrollment": i} for j, i in self.entered],
            "moved": [{"journey": j, "by": k} for j, k in self.moved],
            "refused": [{"journey": j, "detail": d} for j, d in self.refused],
            "quarantined": self.quarantined,
        }


async def told(c: Connection, message_id: str) -> Told:
    """What became of the message with this id, as far as the door itself did it."""
    found = await fetch(
        c,
        "select e.journey, e.id, i.kind, null as reason from events v join inputs i on i.event_id = v.id "
        "join enrollments e on e.id = i.enrollment_id where v.message_id = :id union all "
        "select r.journey, null, 'refused', r.detail from events v join refusals r on r.event_id = v.id "
        "where v.message_id = :id union all "
        "select null, null, 'quarantined', reason from quarantine where body->>'message_id' = :id order by 2, 3",
        id=message_id,
    )
    return Told(
        entered=tuple((r.journey, r.id) for r in found if r.kind == "begin"),
        moved=tuple((r.journey, r.kind) for r in found if r.kind not in ("begin", "quarantined", "refused")),
        refused=tuple((r.journey, r.reason) for r in found if r.kind == "refused"),
        quarantined=next((r.reason for r in found if r.kind == "quarantined"), ""),
    )
