"""What happened, read back: the statements behind `why` and summaries. Reads only; decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.core.wire import Json
from engine.store.database import Connection, fetch

_NAMED = (
    "value = any(cast(:values as text[])) and (value = :text or (kind, value) in (select * from "
    "unnest(cast(:kinds as text[]), cast(:forms as text[]))))"
)
_WRITTEN = "merged_into is null and (lower(attributes->>'email') = lower(:text) or attributes->>'phone' = :text)"


def _ways(text: str, ways: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The parameters of `_NAMED` and `_WRITTEN`."""
    values, kinds, forms = [text, *(v for _, v in ways)], [k for k, _ in ways], [v for _, v in ways]
    return {"text": text, "values": values, "kinds": kinds, "forms": forms}


async def by_identifier(c: Connection, text: str, ways: Sequence[tuple[str, str]] = ()) -> int | None:
    """The customer with this identifier (a user id before any other kind), or with this e-mail address or phone number. `ways`:
    identifiers (kind, value) that say the same in their normal form."""
    found = await fetch(
        c,
        "select customer_id, case kind when 'user_id' then 0 else 1 end as rank from identifiers "
        f"where {_NAMED} order by 2, 1 limit 1",
        **_ways(text, ways),
    ) or await fetch(c, f"select id as customer_id from customers where {_WRITTEN} order by 1 limit 1", text=text)
    return int(found[0].customer_id) if found else None


async def also_known(c: Connection, text: str, ways: Sequence[tuple[str, str]], customer: int) -> list[int]:
    """Other customers than this one whom `text` may mean, as `by_identifier` reads it; none where it is a user id."""
    found = await fetch(
        c,
        f"select w.id from (select customer_id as id from identifiers where {_NAMED} "
        f"union select id from customers where {_WRITTEN}) w where w.id <> :customer "
        "and not exists (select 1 from identifiers u where u.kind = 'user_id' and u.value = :text) order by 1 limit 20",
        customer=customer,
        **_ways(text, ways),
    )
    return [r.id for r in found]


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
    """The customer's row (id, attributes, restricted, objected, erased_at, created_at) with `identifiers` as [kind, value]."""
    found = await fetch(
        c,
        "select p.id, p.attributes, p.restricted, p.objected, p.erased_at, p.created_at, "
        "coalesce((select jsonb_agg(jsonb_build_array(i.kind, i.value) "
        "order by i.kind desc, i.value) from identifiers i where i.customer_id = p.id), '[]') as identifiers "
        "from customers p where p.id = :id",
        id=customer,
    )
    return found[0] if found else None


async def passages(c: Connection, customer: int, journey: str | None) -> list[Row[Any]]:
    """The customer's enrollments (in one journey, or all), oldest first, each with the event that it began with, its pauses and
    its journey's."""
    return await fetch(
        c,
        "select e.id, e.journey, e.plan, e.key, e.number, e.status, e.reason, e.holdout, e.global_holdout, e.entered_at, "
        "e.ended_at, e.step, e.wake_at, e.goal_at, e.goal_value, e.cohort_id, e.entry_event, "
        "v.name as entry_name, v.occurred_at as entry_at, e.paused_at, e.last_paused_at, e.resumed_at, "
        "j.paused_at as journey_paused_at, j.last_paused_at as journey_last_paused_at, j.resumed_at as journey_resumed_at, "
        "coalesce(j.paused_reason, '') as paused_reason "
        "from enrollments e join events v on v.id = e.entry_event left join journeys j on j.name = e.journey "
        "where e.customer_id = :id "
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


BECAME = ("message_delivered", "message_opened", "message_clicked", "message_bounced", "message_complained", "message_replied")
"""Events that tell what became of a message; so does `unsubscribed` where it names one."""


async def became(c: Connection, customer: int, keys: Sequence[str]) -> list[Row[Any]]:
    """What was told of these messages of a customer after they were handed over, in order: key, at, event, words (the provider's
    own, or the reply), url, machine."""
    return await fetch(
        c,
        "select properties ->> 'message' as key, occurred_at as at, name as event, coalesce(properties ->> 'words', "
        "properties ->> 'reason', properties ->> 'text', '') as words, coalesce(properties ->> 'url', '') as url, "
        "coalesce(properties ->> 'machine', '') = 'true' as machine from events where customer_id = :customer "
        "and name = any(cast(:names as text[])) and properties ->> 'message' = any(cast(:keys as text[])) "
        "order by occurred_at, id",
        customer=customer,
        names=[*BECAME, "unsubscribed"],
        keys=list(keys),
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


async def plans_deployed(c: Connection, plans: Sequence[str]) -> dict[str, datetime]:
    """Plan (hash) → the moment at which it was first deployed."""
    found = await fetch(
        c,
        "select p.hash, min(d.at) as at from unnest(cast(:plans as text[])) as p(hash) join deployments d on exists "
        "(select 1 from jsonb_each_text(d.plans) j where j.value = p.hash) group by 1",
        plans=list(plans),
    )
    return {r.hash: r.at for r in found}


async def pause_reasons(c: Connection, journeys: Sequence[str]) -> dict[str, str]:
    """Journey → why it was paused the last time that it was resumed from, where a reason was given and the audit log has it."""
    found = await fetch(
        c,
        "select j.name, p.because from unnest(cast(:names as text[])) as j(name) cross join lateral "
        "(select a.detail ->> 'because' as because from audit a where a.subject = 'journey/' || j.name and a.act = 'pause' "
        "and a.id < (select max(r.id) from audit r where r.subject = a.subject and r.act = 'resume') order by a.id desc "
        "limit 1) p where p.because is not null",
        names=list(journeys),
    )
    return {r.name: r.because for r in found}


async def one(c: Connection, enrollment: int) -> Row[Any] | None:
    """An enrollment's own row, with how many of its inputs no cohort has been told yet (`pending`); None: there is none."""
    found = await fetch(
        c,
        "select e.id, e.customer_id, e.journey, e.plan, e.cohort_id, e.state, e.parked_at, e.kept_back, "
        "(select count(*) from inputs i where i.enrollment_id = e.id and i.relayed_at is null) as pending "
        "from enrollments e where e.id = :id",
        id=enrollment,
    )
    return found[0] if found else None


async def acts(c: Connection, customer: int, enrollment: int) -> list[Row[Any]]:
    """What this enrollment's own steps brought in about its customer (`set`, `emit`, `start`), in order: at, name, key."""
    return await fetch(
        c,
        "select accepted_at as at, name, message_id as key from events where customer_id = :customer and source = 'journey' "
        "and starts_with(message_id, :begin) order by accepted_at, id",
        customer=customer,
        begin=f"{enrollment}/",
    )


async def message_counts(c: Connection) -> list[Row[Any]]:
    """How many messages there are by journey, status and reason: journey, status, reason, n."""
    return await fetch(c, "select journey, status, reason, count(*) as n from messages group by 1, 2, 3 order by 1, 2, 4 desc, 3")


@dataclass(frozen=True, slots=True)
class Told:
    """What one message of a source led to. `entered`: (journey, enrollment) · `moved`: (journey, kind of input) · `refused`:
    (journey, how a limit on journeys kept the customer out) · `broadcast`: journeys that it brings others into ·
    `quarantined`: why it was kept aside."""

    entered: tuple[tuple[str, int], ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    quarantined: str = ""
    refused: tuple[tuple[str, str], ...] = ()
    broadcast: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "entered": [{"journey": j, "enrollment": i} for j, i in self.entered],
            "moved": [{"journey": j, "by": k} for j, k in self.moved],
            "refused": [{"journey": j, "detail": d} for j, d in self.refused],
            "broadcast": list(self.broadcast),
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
        "select b.journey, null, 'broadcast', null from events v join broadcasts b on b.event_id = v.id "
        "where v.message_id = :id union all "
        "select null, null, 'quarantined', reason from quarantine where message_id = :id order by 2, 3",
        id=message_id,
    )
    return Told(
        entered=tuple((r.journey, r.id) for r in found if r.kind == "begin"),
        moved=tuple((r.journey, r.kind) for r in found if r.kind not in ("begin", "quarantined", "refused", "broadcast")),
        broadcast=tuple(r.journey for r in found if r.kind == "broadcast"),
        refused=tuple((r.journey, r.reason) for r in found if r.kind == "refused"),
        quarantined=next((r.reason for r in found if r.kind == "quarantined"), ""),
    )
