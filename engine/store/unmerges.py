"""A merge is taken back in the store, from its record: each has again what was theirs, and what was ended goes on.

The caller holds the locks of both customers, and then of their enrollments, in id order. `store.merges` made the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store import broadcast_people, computed
from engine.store.database import Connection, fetch, rows, run
from engine.store.merges import BY_ID, UNDO_DAYS
from engine.store.relay import UNDONE


async def find(c: Connection, number: int, *, locked: bool = False) -> Row[Any] | None:
    """A merge: id, at, actor, cause, gone, kept, record, undone_at, undone_by; `too_old` to be undone; `later`: the number of the
    newest merge since in which the one who stayed took part (None: there is none). `locked` against another undo: for who
    has the customers' locks."""
    found = await fetch(
        c,
        "select m.*, m.at < sojourn_now() - make_interval(days => :days) as too_old, (select max(l.id) from merges l "
        "where l.id > m.id and l.undone_at is null and (l.kept = m.kept or l.gone = m.kept)) as later "
        f"from merges m where m.id = :number{' for update of m' if locked else ''}",
        number=number,
        days=UNDO_DAYS,
    )
    return found[0] if found else None


async def give_back(c: Connection, gone: int, kept: int, body: Mapping[str, Any]) -> None:
    """What a merge's record `body` names is again of who had gone, with what has become of their enrollments since. What was
    withdrawn or suppressed since then holds for both."""
    both = {"gone": gone, "kept": kept}
    moved = {**both, "enrollments": list(body["moved"].get("enrollments", []))}
    theirs = "customer_id = :kept and enrollment_id = any(cast(:enrollments as bigint[]))"
    await run(
        c,
        "update decisions set customer_id = :gone from messages m where decisions.key = m.key and m.customer_id = :kept "
        "and m.enrollment_id = any(cast(:enrollments as bigint[]))",
        gone=gone,
        kept=kept,
        enrollments=moved["enrollments"],
    )
    for table in ("planned", "messages", "tasks", "short_links", "holds"):
        await run(c, f"update {table} set customer_id = :gone where {theirs}", **moved)
    for table in BY_ID:
        await run(
            c,
            f"update {table} set customer_id = :gone where customer_id = :kept and id = any(cast(:ids as bigint[]))",
            ids=list(body["moved"].get(table, [])),
            **both,
        )
    awaited = body["moved"].get("broadcast_people", [])
    came, doubled = [b for b, came in awaited if came], [b for b, came in awaited if not came]
    await broadcast_people.give_back(c, gone, kept, came, doubled)
    await computed.forget(c, [gone], [kept])
    names = body["moved"].get("identifiers", [])
    await run(
        c,
        "update identifiers i set customer_id = :gone from unnest(cast(:kinds as text[]), cast(:values as text[])) as "
        "w(kind, value) where i.customer_id = :kept and (i.kind, i.value) = (w.kind, w.value)",
        kinds=[k for k, _ in names],
        values=[v for _, v in names],
        **both,
    )
    await run(
        c,
        "insert into suppressions (customer_id, channel, address, reason, at) select :gone, channel, address, reason, at "
        "from suppressions where customer_id = :kept and lifted_at is null on conflict do nothing",
        **both,
    )
    await say_too(c, gone, kept, int(body["last_consent"]), "withdrawn")
    await run(
        c,
        "update customers set merged_into = :gone where merged_into = :kept and id = any(cast(:ids as bigint[]))",
        ids=list(body["followers"]),
        **both,
    )


async def say_too(c: Connection, gone: int, kept: int, last: int, state: str) -> None:
    """What who stayed has said of their consent since the statement `last` that is such a `state`, who had gone has said too."""
    await run(
        c,
        "insert into consents (customer_id, channel, topic, state, source, wording, at, until, via, recorded_at) "
        "select :gone, channel, topic, state, source, wording, at, until, via, sojourn_now() from consents "
        "where customer_id = :kept and id > :last and state = :state and via <> 'merge' order by id",
        gone=gone,
        kept=kept,
        last=last,
        state=state,
    )


async def revive(c: Connection, ended: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """Enrollments that a merge had ended (rows of `standing`) go on where they stood, in another cohort: (id, status) of
    those whose customer hasn't entered the same journey with the same key since. Their messages are decided anew."""
    await run(  # there they are over for good: a cohort that goes on admitting could be given them once more
        c,
        "update cohorts set open = false where id in (select cohort_id from enrollments where id = any(cast(:ids as bigint[])))",
        ids=[e["id"] for e in ended],
    )
    found = await fetch(
        c,
        "update enrollments e set status = r.status, reason = r.reason, ended_at = null, cohort_id = null "
        "from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, status text, reason text) "
        "where e.id = r.id and e.status = 'ended' and not exists (select 1 from enrollments o where o.status <> 'ended' "
        "and (o.customer_id, o.journey, o.key) = (e.customer_id, e.journey, e.key)) returning e.id, e.status",
        rows=rows({"id": e["id"], "status": e["status"], "reason": e["reason"]} for e in ended),
    )
    ids = {r.id for r in found}
    back = [e for e in ended if e["id"] in ids]
    await run(
        c,
        "update inputs set note = :note, relayed_at = coalesce(relayed_at, clock_timestamp()) "
        "where enrollment_id = any(cast(:ids as bigint[])) and kind = 'exit'",
        note=UNDONE,
        ids=sorted(ids),
    )
    await run(
        c,
        "update tasks set status = 'open', closed_at = null where id = any(cast(:ids as bigint[])) and status = 'closed'",
        ids=[i for e in back for i in e["tasks"]],
    )
    await run(
        c,
        "update holds set closed_at = null where id = any(cast(:ids as bigint[]))",
        ids=[i for e in back for i in e["holds"]],
    )
    await run(
        c,
        "update messages m set reason = r.reason, detail = '', "
        "status = case when r.status = 'parked' then 'parked' else 'deferred' end "
        "from jsonb_to_recordset(cast(:rows as jsonb)) as r(key text, status text, reason text) "
        "where m.key = r.key and m.status = 'dropped'",
        rows=rows({"key": k, "status": s, "reason": why} for e in back for k, s, why in e["messages"]),
    )
    return sorted((r.id, r.status) for r in found)


async def undone(c: Connection, number: int, actor: str, at: datetime) -> None:
    """A merge has been taken back; its record isn't needed any more."""
    await run(
        c, "update merges set undone_at = :at, undone_by = :actor, record = null where id = :id", id=number, actor=actor, at=at
    )
