"""What is kept for a while only: which rows of which table a period is about, and what becomes of them when it is over.

Each table is walked by number, a page at a time, each page in a transaction of its own; how far a walk has come is on disk, so
that any process goes on with it. Running it twice changes nothing. What isn't settled yet is passed over until the next walk.

A walk begins behind what is done with for good, and ends with the first page on which everything is too young: it reads what
has become old since the last one, and what was passed over, not the table. Once in a while one begins with the first row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Row

from engine.core.wire import digest
from engine.store import audit
from engine.store.database import Connection, fetch, run
from engine.store.personal import named

PAGE = 2_000
"""Rows that one transaction looks at."""

WHOLE = timedelta(days=30)
"""How long what is done with isn't looked at again: a provider may have told something of an old message since."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One table's part of a kind. `over`: the condition of rows whose time is over; it reads `before`, the moment up to which
    things have been kept long enough, and `window`, from when on caps count · `change`: what is set, "" where rows go · `left`:
    which of them still hold something · `at`: since when a row is kept · `walked`, `number`: the table whose numbers a walk
    follows, and the column that has them, where it isn't the table's own · `born`: a column of what is walked, never later than
    the row came into being · `waits`: which of these rows a later walk may have to come back for, besides what is too young."""

    table: str
    over: str
    at: str
    change: str = ""
    left: str = "true"
    walked: str = ""
    number: str = "id"
    born: str = ""
    waits: str = ""

    @property
    def path(self) -> str:
        """The table whose numbers a walk follows."""
        return self.walked or self.table

    @property
    def unfinished(self) -> str:
        """The condition of rows that a later walk has to look at."""
        return f"({self.waits or self.left}) or t.{self.born or self.at} >= :before"

    @property
    def condition(self) -> str:
        """Of the rows that a run concerns."""
        return f"({self.over}) and ({self.left})"


_REVIVED = "(e.reason <> 'merged' or e.ended_at < sojourn_now() - make_interval(days => 31))"  # an undone merge lets them go on
_INSIDE = (
    "exists (select 1 from enrollments e where e.customer_id = t.customer_id and e.entry_event <= t.id and (e.status <> 'ended' "
    f"or (e.goal_at is null and e.goal_until > sojourn_now()) or not {_REVIVED}))"
)
_ENDED = (
    "exists (select 1 from enrollments e where e.id = t.enrollment_id and e.status = 'ended' and e.ended_at < :before "
    f"and {_REVIVED})"
)


def _about_ended(table: str) -> Rule:
    """Rows of a table that say something of an enrollment which has ended."""
    waits = f"t.status <> 'ended' or exists (select 1 from {table} i where i.enrollment_id = t.id)"
    return Rule(table, _ENDED, "at", walked="enrollments", number="enrollment_id", born="entered_at", waits=waits)


_ABOUT = "(name = any(cast(:names as text[]))) = :only_these"
_SETTLED = "status in ('sent', 'unknown', 'refused', 'dropped')"

KINDS: Mapping[str, tuple[Rule, ...]] = {
    "event_properties": (
        Rule(
            "events",
            f"accepted_at < :before and {_ABOUT} and not " + _INSIDE,
            "accepted_at",
            "properties = case when name in ('$identify', '$set', '$group') then "
            "(select coalesce(jsonb_object_agg(k, null), '{}') from jsonb_object_keys(properties) as k) else '{}' end, "
            "emptied = true",
            "jsonb_strip_nulls(properties) <> '{}'",
            waits=f"jsonb_strip_nulls(properties) <> '{{}}' and {_ABOUT}",
        ),
    ),
    "message_content": (
        Rule(
            "messages",
            f"decided_at < :before and {_SETTLED}",
            "decided_at",
            "detail = '', words = '', provider_id = ''",
            "detail <> '' or words <> '' or provider_id <> ''",
            born="planned_at",
            waits=f"detail <> '' or words <> '' or provider_id <> '' or not {_SETTLED}",
        ),
        Rule(
            "tasks",
            "status <> 'open' and closed_at < :before",
            "closed_at",
            "title = '', body = '', assignee = '', words = ''",
            "title <> '' or body <> '' or assignee <> '' or words <> ''",
            born="created_at",
        ),
        Rule("inbox", "created_at < :before", "created_at"),
        Rule(
            "enrollments",
            f"status = 'ended' and ended_at < :before and {_REVIVED.replace('e.', '')}",
            "ended_at",
            "vars = '{}'",
            "vars <> '{}'",
            born="entered_at",
            waits="vars <> '{}' or status <> 'ended'",
        ),
        Rule("short_links", "at < :before", "at"),
    ),
    "decisions": (Rule("decisions", "at < :before", "at"),),
    "inputs": (
        Rule(
            "inputs",
            f"relayed_at is not null and {_ENDED}",
            "at",
            walked="enrollments",
            number="enrollment_id",
            born="entered_at",
            waits="t.status <> 'ended' or exists (select 1 from inputs i where i.enrollment_id = t.id)",
        ),
        _about_ended("moved"),
        _about_ended("parkings"),
    ),
    "messages": (
        Rule(
            "messages",
            f"decided_at < :before and {_SETTLED} and (slot_at is null or slot_at < cast(:window as timestamptz)) and {_ENDED}",
            "decided_at",
            born="planned_at",
        ),
    ),
    "holds": (Rule("holds", "least(until, coalesce(closed_at, until)) < :before", "until", born="opened_at"),),
    "refusals": (Rule("refusals", "at < :before", "at"),),
    "quarantine": (Rule("quarantine", "at < :before", "at"),),
    "audit": (Rule("audit", "at < :before", "at"),),
}
"""Kind, as `retention:` in sojourn.yaml names it → what it is about. Of what said an attribute (`$identify`) the names stay,
because a merge asks which value is newer. What somebody who is inside a journey entered by stays, and all that came since."""


async def progress(c: Connection) -> dict[str, Row[Any]]:
    """Walk → `up_to` (the last number that was looked at), `ran_at` (when the walk before was over), `done_to` (the number up to
    which nothing is left to do) and `meaning` (of what)."""
    return {r.kind: r for r in await fetch(c, "select kind, up_to, ran_at, done_to, meaning from retention")}


def meaning(rule: Rule, values: Mapping[str, Any]) -> str:
    """A digest of which rows a walk is about, whatever their age."""
    return digest([*astuple(rule), values.get("names"), values.get("only_these")])


async def page(c: Connection, walk: str, rule: Rule, values: Mapping[str, Any], now: datetime) -> tuple[int, bool]:
    """The next page of a walk: how many rows it changed or removed, and whether the walk is over now."""
    await run(c, "insert into retention (kind) values (:walk) on conflict do nothing", walk=walk)
    found = await fetch(c, "select * from retention where kind = :walk for update skip locked", walk=walk)
    if not found:  # another process is at it
        return 0, True
    held, means = found[0], meaning(rule, values)
    anew = held.meaning != means or (held.up_to == 0 and (held.whole_at is None or held.whole_at < now - WHOLE))
    done_to = 0 if anew else held.done_to
    up_to = 0 if anew else max(held.up_to, held.done_to)
    last, n, old = await _stretch(c, rule, up_to, values["before"])
    done = 0
    if old:
        how = f"update {rule.table} t set {rule.change}" if rule.change else f"delete from {rule.table} t"
        statement = f"{how} where t.{rule.number} > :up_to and t.{rule.number} <= :last and {rule.condition}"
        if rule.table == "audit":
            await audit.may_expire(c)
        done = await run(c, statement, **named(statement, {**values, "up_to": up_to, "last": last}))
        if up_to == done_to:  # nothing was passed over so far
            done_to = await _done_to(c, rule, {**values, "up_to": up_to, "last": last})
    over = n < PAGE or not old
    await run(
        c,
        "update retention set up_to = :up_to, done_to = :done_to, meaning = :meaning, "
        "whole_at = case when :anew then cast(:now as timestamptz) else whole_at end, "
        "ran_at = case when :over then cast(:now as timestamptz) else ran_at end where kind = :walk",
        walk=walk,
        up_to=0 if over else last,
        done_to=done_to,
        meaning=means,
        anew=anew,
        over=over,
        now=now,
    )
    return done, over


async def _stretch(c: Connection, rule: Rule, up_to: int, before: datetime) -> tuple[int, int, int]:
    """The rows of the next page: the last number, how many there are, and how many of them are old enough."""
    found = await fetch(
        c,
        f"select coalesce(max(id), 0) as last, count(*) as n, count(*) filter (where born < :before) as old from "
        f"(select id, {rule.born or rule.at} as born from {rule.path} where id > :up_to order by id limit :page) p",
        up_to=up_to,
        before=before,
        page=PAGE,
    )
    return found[0].last, found[0].n, found[0].old


async def _done_to(c: Connection, rule: Rule, values: Mapping[str, Any]) -> int:
    """The number before the first row of a page that a later walk has to look at, else the page's last."""
    statement = f"select min(t.id) from {rule.path} t where t.id > :up_to and t.id <= :last and ({rule.unfinished})"
    first = (await fetch(c, statement, **named(statement, values)))[0][0]
    return int(values["last"] if first is None else first - 1)


async def due(c: Connection, rule: Rule, values: Mapping[str, Any], after: int = 0) -> tuple[int, datetime | None]:
    """How many rows of a rule would go now, and since when the oldest of those that still hold something is kept. `after`: the
    number up to which nothing is left to do."""
    statement = (
        f"select count(*) filter (where {rule.over}) as n, min(t.{rule.at}) as oldest from {rule.table} t "
        f"where t.{rule.number} > :after and ({rule.left})"
    )
    r = (await fetch(c, statement, **named(statement, {**values, "after": after})))[0]
    return int(r.n), r.oldest
