"""Short links in texts: a code of our own for each link of each message. They go with their message's content, by retention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run


async def keep(c: Connection, items: Sequence[dict[str, Any]]) -> set[str]:
    """Store links: code, customer_id, enrollment_id, message, url, at. The codes that another link has: these aren't stored. One
    that is there already stays."""
    if not items:
        return set()
    given = rows(items)
    await run(
        c,
        "insert into short_links (code, customer_id, enrollment_id, message, url, at) "
        "select code, customer_id, enrollment_id, message, url, at from jsonb_to_recordset(cast(:rows as jsonb)) as r("
        "code text, customer_id bigint, enrollment_id bigint, message text, url text, at timestamptz) "
        "order by code on conflict (code) do nothing",
        rows=given,
    )
    found = await fetch(
        c,
        "select code from short_links s join jsonb_to_recordset(cast(:rows as jsonb)) as r(code text, message text, url text) "
        "using (code) where (s.message, s.url) <> (r.message, r.url)",
        rows=given,
    )
    return {r.code for r in found}


async def find(c: Connection, code: str) -> Row[Any] | None:
    """The link of a code: customer_id, message, url."""
    found = await fetch(c, "select customer_id, message, url from short_links where code = :code", code=code)
    return found[0] if found else None
