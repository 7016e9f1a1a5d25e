"""Somebody is erased in the store, and stays so: what is taken away stands in `personal`; what is left is a keyed mark of each
identifier, by which an import is told from somebody's own new sign-up.

The caller of `wipe` holds the locks of the customers, and then of their enrollments, in id order.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.core.wire import Json
from engine.store import personal
from engine.store.database import Connection, fetch, run
from engine.store.identities import Identifier

KEY = "erasure"
"""What the project's key is called with which identifiers are marked."""

_BLOCK = 64
"""Bytes of a block of SHA-256."""

_PAGE = 500


def marks(keys: Mapping[int, bytes], kind: str, value: str) -> list[str]:
    """The mark of one identifier under each key, the newest first."""
    body = f"{kind} {value}".encode(errors="replace")
    return [f"{i}.{hmac.digest(keys[i], body, hashlib.sha256).hex()}" for i in sorted(keys, reverse=True)]


def marked_as(key: bytes, source: str, message_id: str) -> str:
    """What stands in place of the message id of an event whose customer was erased, as `personal.MARKED_MESSAGE` has it."""
    return f"erased/{hmac.digest(key, f'{source} {message_id}'.encode(errors='replace'), hashlib.sha256).hex()}"


async def marked(c: Connection, keys: Mapping[int, bytes], pairs: Iterable[Identifier]) -> dict[Identifier, datetime]:
    """Those of these identifiers whose person was erased, and when."""
    by_mark = {(kind, mark): (kind, value) for kind, value in pairs for mark in marks(keys, kind, value)}
    if not by_mark:
        return {}
    found = await fetch(
        c,
        "select kind, mark, erased_at from erased "
        "join unnest(cast(:kinds as text[]), cast(:marks as text[])) as w(kind, mark) using (kind, mark)",
        kinds=[kind for kind, _ in by_mark],
        marks=[mark for _, mark in by_mark],
    )
    return {by_mark[(r.kind, r.mark)]: r.erased_at for r in found}


async def mark(c: Connection, keys: Mapping[int, bytes], pairs: Sequence[Identifier], at: datetime) -> None:
    """Remember that whoever had these identifiers was erased."""
    if pairs:
        await run(
            c,
            "insert into erased (kind, mark, erased_at) select kind, mark, :at from "
            "unnest(cast(:kinds as text[]), cast(:marks as text[])) as w(kind, mark) order by 1, 2 "
            "on conflict (kind, mark) do update set erased_at = excluded.erased_at",
            kinds=[kind for kind, _ in pairs],
            marks=[marks(keys, kind, value)[0] for kind, value in pairs],
            at=at,
        )


async def lift(c: Connection, keys: Mapping[int, bytes], pairs: Iterable[Identifier]) -> None:
    """Forget these marks: somebody came back by themselves."""
    both = sorted((kind, one) for kind, value in pairs for one in marks(keys, kind, value))
    if both:
        await run(
            c,
            "delete from erased e using unnest(cast(:kinds as text[]), cast(:marks as text[])) as w(kind, mark) "
            "where (e.kind, e.mark) = (w.kind, w.mark)",
            kinds=[kind for kind, _ in both],
            marks=[one for _, one in both],
        )


async def repeated(c: Connection, keys: Mapping[int, bytes], names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these (source, message id) under which something came of somebody who was erased since."""
    as_marked = {
        (source, marked_as(key, source, message)): (source, message) for source, message in names for key in keys.values()
    }
    if not as_marked:
        return set()
    found = await fetch(
        c,
        "select v.source, v.message_id from events v join unnest(cast(:sources as text[]), cast(:ids as text[])) "
        "as w(source, message_id) using (source, message_id)",
        sources=[source for source, _ in as_marked],
        ids=[message for _, message in as_marked],
    )
    return {as_marked[(r.source, r.message_id)] for r in found}


async def group(c: Connection, customer: int) -> list[int]:
    """This customer and all who were merged into them, in id order."""
    found = await fetch(c, "select id from customers where id = :id or merged_into = :id order by id", id=customer)
    return [r.id for r in found]


async def identifiers(c: Connection, ids: Sequence[int]) -> list[Identifier]:
    """Every identifier of these customers."""
    found = await fetch(c, f"select kind, value from identifiers where {personal.THEIRS} order by 1, 2", ids=list(ids))
    return [(r.kind, r.value) for r in found]


async def told(c: Connection, ids: Sequence[int]) -> list[dict[str, Json]]:
    """Each e-mail address and phone number that was ever told of these customers, as far as it is still known, once: {email,
    phone}. Also those that others took the place of, since or in a merge."""
    found = await fetch(
        c,
        "select distinct jsonb_build_object('email', a->'email', 'phone', a->'phone') as told from ("
        f"select properties as a from events where {personal.THEIRS} and name in ('$identify', '$set') "
        "union all select r.side->'attributes' from merges, jsonb_each(record) as r(name, side) "
        f"where (gone = {personal.IDS} or kept = {personal.IDS}) and r.name in ('gone', 'kept', 'after')"
        ") as t where a ?| array['email', 'phone']",
        ids=list(ids),
    )
    return [r.told for r in found]


async def unfinished(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """The enrollments of these customers that haven't ended: id, journey."""
    statement = f"select id, journey from enrollments where {personal.THEIRS} and status <> 'ended' order by id"
    return await fetch(c, statement, ids=list(ids))


async def highest(c: Connection) -> int:
    """The number up to which the quarantine is complete: nobody is about to add a call below it. Waits for those who are; in a
    transaction of its own, because others wait for it."""
    await run(c, "lock table quarantine in share mode")
    return int((await fetch(c, "select coalesce(max(id), 0) from quarantine"))[0][0])


async def put_aside(
    c: Connection, texts: Sequence[str], digits: Sequence[str], ids: Sequence[int], after: int = 0, *, mended: bool = False
) -> AsyncIterator[Row[Any]]:
    """Calls of the quarantine after number `after` that may be of somebody, whole: those that hold one of these texts anywhere
    (ignoring case), or these digits (ignoring everything else), and those about one of these customers by our own number.
    `mended`: only those that a person has corrected. Page by page: id, call, mended, body."""
    while True:
        page = await fetch(
            c,
            f"select id, call, mended, body from quarantine where id > :after {'and mended is not null ' if mended else ''}"
            "and (body->>'customer' = any(cast(:numbers as text[])) "
            "or exists (select 1 from unnest(cast(:texts as text[])) as w(text) where "
            "strpos(lower(concat_ws(' ', call, mended, cast(body as text))), lower(w.text)) > 0) "
            "or (cardinality(cast(:digits as text[])) > 0 and exists (select 1 from unnest(cast(:digits as text[])) as d(digits) "
            "where strpos(regexp_replace(concat_ws(' ', call, mended, cast(body as text)), '[^0-9]', '', 'g'), d.digits) > 0))) "
            "order by id limit :page",
            after=after,
            numbers=[str(i) for i in ids],
            texts=list(texts),
            digits=list(digits),
            page=_PAGE,
        )
        for row in page:
            yield row
        if len(page) < _PAGE:
            return
        after = page[-1].id


async def wipe(
    c: Connection, ids: Sequence[int], quarantine: Sequence[int], keys: Mapping[int, bytes], at: datetime
) -> dict[str, int]:
    """Take away what `personal.HELD` says of these customers and of these calls; table → how many rows, of those with any."""
    key = keys[max(keys)].ljust(_BLOCK, b"\0")
    values = {
        "ids": list(ids),
        "quarantine": list(quarantine),
        "at": at,
        "inner": bytes(b ^ 0x36 for b in key),
        "outer": bytes(b ^ 0x5C for b in key),
    }
    done = {table: await personal.take_away(c, table, values) for table in personal.HELD}
    return {table: n for table, n in done.items() if n}
