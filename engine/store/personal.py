"""Every table that holds something of customers, in one place: which rows are theirs, and what an erasure leaves of them.

`export` shows what stands here, `erase` takes it away, and a test looks into the database's catalogue for tables that stand
neither here nor among `IMPERSONAL`. Conditions and changes read these values: `ids` (a customer, and all who were merged into
them), `quarantine` (numbers of calls that name them), `at`, and the two halves of the key of an HMAC, `inner` and `outer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from engine.store.database import Connection, fetch, run

DELETE = "delete"

IDS = "any(cast(:ids as bigint[]))"
THEIRS = f"customer_id = {IDS}"

BARE_GATES = (
    "(select coalesce(jsonb_agg(jsonb_set(g.gate, '{3}', '\"\"') order by g.n), '[]') "
    "from jsonb_array_elements(gates) with ordinality as g(gate, n))"
)
"""What the gates said, without their sentences."""

MARKED_MESSAGE = "'erased/' || encode(sha256(:outer || sha256(:inner || convert_to(source || ' ' || message_id, 'UTF8'))), 'hex')"
"""An HMAC in place of a message id, into which sources put anything; a repeat is still known as one (`erasing.marked_as`)."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one table holds. `whose`: the condition of the rows that are theirs · `erased`: `DELETE`, or what an erasure sets;
    "": nothing of it is personal once the rest is gone · `order`: of an export · `hidden`: columns of our own machinery, which
    say nothing of anybody · `json`: columns that hold JSON as text."""

    whose: str = THEIRS
    erased: str = ""
    order: str = "id"
    hidden: tuple[str, ...] = ()
    json: tuple[str, ...] = ()


HELD: Mapping[str, Held] = {
    "customers": Held(f"id = {IDS}", "attributes = '{}', erased_at = :at, updated_at = :at"),
    "identifiers": Held(erased=DELETE, order="kind desc, value"),
    "consents": Held(erased="source = '', wording = ''"),
    "suppressions": Held(erased=DELETE, order="at, channel"),
    "holds": Held(erased="key = '', closed_at = coalesce(closed_at, :at)"),
    "events": Held(erased=f"properties = '{{}}', message_id = {MARKED_MESSAGE}"),
    "enrollments": Held(
        erased="key = '', once = null, vars = '{}', state = null", hidden=("lane", "state", "urgent", "last_seq", "kept_back")
    ),
    "inputs": Held(f"enrollment_id in (select id from enrollments where {THEIRS})", hidden=("lane", "urgent", "was")),
    "moved": Held(
        f"enrollment_id in (select id from enrollments where {THEIRS})", "state = null", "enrollment_id, seq", hidden=("state",)
    ),
    "parkings": Held(f"enrollment_id in (select id from enrollments where {THEIRS})", order="enrollment_id, seq"),
    "tasks": Held(erased="title = '', body = '', assignee = '', once = null, words = ''", hidden=("lease_owner", "lease_until")),
    "inbox": Held(erased=DELETE),
    "planned": Held(erased=DELETE, order="enrollment_id"),
    "messages": Held(
        erased="detail = '', words = '', provider_id = '', lease_owner = null, lease_until = null, "
        "status = case when status = 'handed_over' then 'unknown' else status end",
        hidden=("lease_owner", "lease_until"),
    ),
    "short_links": Held(erased=DELETE),
    "decisions": Held(erased=f"detail = '', facts = null, gates = {BARE_GATES}", json=("facts",)),
    "refusals": Held(erased="key = '', detail = ''"),
    "computed": Held(erased=DELETE, order="name"),
    "memberships": Held(erased=DELETE, order="segment"),
    "stage_history": Held(erased=DELETE),
    "broadcast_people": Held(erased=DELETE, order="broadcast_id"),
    "merges": Held(f"gone = {IDS} or kept = {IDS}", "record = null"),
    "quarantine": Held(
        "id = any(cast(:quarantine as bigint[]))",
        f"call = null, mended = null, body = '{{}}', reason = 'the person was erased', message_id = {MARKED_MESSAGE}, "
        "dropped_at = coalesce(dropped_at, case when released_at is null then cast(:at as timestamptz) end)",
        json=("call", "mended"),
    ),
    "audit": Held(
        f"subject in (select 'customer/' || i from unnest(cast(:ids as bigint[])) as w(i)) "
        f"or subject in (select 'enrollment/' || id from enrollments where {THEIRS})"
    ),
}
"""What is with a provider when somebody is erased counts as sent: the answer, which may repeat an address, finds no lease."""

IMPERSONAL: Mapping[str, str] = {
    "alembic_version": "the schema's version",
    "backfills": "how far computed attributes have been filled in",
    "broadcasts": "journeys, moments and counts",
    "channel_days": "counts by channel and day",
    "channel_rests": "counts by channel, and a moment",
    "channels": "names of channels, of the attribute each sends to, and limits",
    "chores": "names of chores, and when each was done",
    "clock": "the time scale",
    "cohorts": "plans and counts; who is in one stands with the enrollments",
    "deployments": "hashes of documents, and who deployed",
    "moves": "plans, and how far a deploy has come with those inside; who they are stands with the enrollments",
    "documents": "what authors wrote",
    "erased": "keyed marks of identifiers, which name nobody",
    "fits": "parameters that everybody's orders fit together",
    "imports": "digests of files, and counts",
    "interpretations": "names of segments, and how far they have been worked out",
    "journeys": "names of journeys",
    "leases": "processes",
    "notice_tokens": "digests of what providers sign, for a day",
    "paces": "names of channels and moments",
    "retention": "how far retention has come",
    "secrets": "the project's own keys",
    "source_counts": "counts by source and day",
    "source_paces": "names of sources and moments",
    "sweeps": "how far a sweep has come",
    "tokens": "names and digests of tokens",
    "warmups": "counts by sender and day",
}
"""Tables that hold nothing of customers, each with what it holds instead."""


async def rows_of(c: Connection, table: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of one table that are theirs, as JSON values, in order."""
    held = HELD[table]
    statement = f"select to_jsonb(t) - cast(:hidden as text[]) as body from {table} t where {held.whose} order by {held.order}"
    found = [dict(r.body) for r in await fetch(c, statement, hidden=list(held.hidden), **named(held.whose, values))]
    for body in found:
        for column in held.json:
            if body.get(column) is not None:
                body[column] = orjson.loads(body[column])
    return found


async def take_away(c: Connection, table: str, values: Mapping[str, Any]) -> int:
    """Do to one table what an erasure does; how many rows it concerned."""
    held = HELD[table]
    if not held.erased:
        return 0
    statement = f"delete from {table}" if held.erased == DELETE else f"update {table} set {held.erased}"
    statement = f"{statement} where {held.whose}"
    return await run(c, statement, **named(statement, values))


def named(statement: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that a statement names."""
    return {name: values[name] for name in set(re.findall(r"(?<!:):(\w+)", statement))}
