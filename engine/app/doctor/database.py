"""The database, and what it knows of the others: the backlog, the quarantine, who is parked, chores, rests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Row
from sqlalchemy.exc import SQLAlchemyError

from engine.app.doctor.finding import PATIENCE, Finding, Patient
from engine.app.wiring import API_POOL, WORKER_POOL
from engine.insight.gauges import MOST
from engine.observe.words import in_a_line
from engine.store import gauges, readiness, relay, senders
from engine.store.database import Connection, connect, fetch, transaction
from engine.store.schema import head
from engine.temporal.grouping import BULK, URGENT

OLDEST = 150_000
"""The oldest server version, as PostgreSQL numbers them."""

SKEW, WAITING = 1.0, 60.0
"""Seconds: between two clocks, and that an input may wait for a relay."""

PROCESSES = 2 * WORKER_POOL + API_POOL
"""Connections of the usual set of processes: a worker for each lane and one API, each with one more to listen."""


async def look(patient: Patient) -> AsyncIterator[Finding]:
    """One after the other; what can't be looked at without the one before it is left out."""
    if patient.database_url is None:
        do = "run `sojourn up`, or set SOJOURN_DATABASE_URL"
        yield Finding("database", "fail", "no database is named, and `sojourn up` isn't running here", do)
        return
    database = connect(patient.database_url, pool=1)
    try:
        async with transaction(database) as c:
            await gauges.limit_time(c, PATIENCE)
            row = await _version(c)
        if row.n < OLDEST:
            yield Finding("database", "fail", f"PostgreSQL {row.v} is too old", f"use PostgreSQL {OLDEST // 10_000} or newer")
            return
        yield Finding("database", "ok", f"PostgreSQL {row.v} answers")
        found = await readiness.schema_version(database)
        if found != head():
            says = f"the database is at schema {found or 'none'}, this version needs {head()}"
            yield Finding("schema", "fail", says, "run `sojourn migrate`; where the database is ahead, upgrade Sojourn here")
            return
        yield Finding("schema", "ok", f"at {head()}, which this version needs")
        async with transaction(database) as c:
            await gauges.limit_time(c, PATIENCE)
            for one in (connections, clock, deployment, backlog, quarantined, parked, resting):
                yield await one(c)
    except (SQLAlchemyError, OSError) as error:
        do = "check the URL and whether PostgreSQL runs; `sojourn up` starts one on this machine"
        yield Finding("database", "fail", f"it can't be reached: {in_a_line(error)}", do)
    finally:
        await database.dispose()


async def _version(c: Connection) -> Row[Any]:
    asked = "select current_setting('server_version_num')::integer as n, current_setting('server_version') as v"
    return (await fetch(c, asked))[0]


async def connections(c: Connection) -> Finding:
    """Room for a worker of each lane and an API, and for who is there."""
    row = (
        await fetch(
            c,
            "select current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer "
            "as most, "
            "(select count(*) from pg_stat_activity where backend_type = 'client backend') as used",
        )
    )[0]
    says = f"{row.used} of {row.most} connections are in use"
    if row.most < PROCESSES + 3:
        do = f"raise max_connections, or run fewer processes: a worker takes up to {WORKER_POOL + 1}, an API {API_POOL}"
        return Finding("connections", "warn", f"{says}; two workers and an API take up to {PROCESSES + 2}", do)
    if row.used > 0.9 * row.most:
        return Finding("connections", "warn", says, "raise max_connections, or put a pooler between")
    return Finding("connections", "ok", says)


async def clock(c: Connection) -> Finding:
    """This machine's and the database's agree."""
    before = datetime.now(UTC)
    theirs = await readiness.wall_clock(c)
    skew = (theirs - before - (datetime.now(UTC) - before) / 2).total_seconds()
    says = f"this machine's clock and the database's are {abs(skew):.1f} s apart"
    if abs(skew) > SKEW:
        return Finding("clock", "warn", says, "let both machines follow one time server (NTP)")
    return Finding("clock", "ok", says)


async def deployment(c: Connection) -> Finding:
    """Something is in force."""
    number = await readiness.newest_deployment(c)
    if number is None:
        return Finding("deployment", "warn", "nothing is deployed: events can't be taken in", "run `sojourn deploy`")
    return Finding("deployment", "ok", f"number {number} is in force")


async def backlog(c: Connection) -> Finding:
    """Workers bring what happened to Temporal."""
    waited, pending = await relay.waiting_seconds(c), await gauges.pending_inputs(c, MOST)
    late = {URGENT if urgent else BULK: s for urgent, s in sorted(waited.items()) if s > WAITING}
    if late:
        says = "; ".join(f"inputs of the {lane} lane have waited for {s:.0f} s" for lane, s in late.items())
        return Finding("relay", "fail", says, "does a worker serve that lane, and does it reach Temporal? See the checks below")
    return Finding("relay", "ok", f"{sum(pending.values())} inputs wait for Temporal, none for long")


async def quarantined(c: Connection) -> Finding:
    """Nothing is put aside."""
    n = await gauges.quarantined(c, MOST)
    if n:
        return Finding(
            "quarantine", "warn", f"{n} calls were put aside", "look at them with `sojourn quarantine list`, mend and release"
        )
    return Finding("quarantine", "ok", "nothing was put aside")


async def parked(c: Connection) -> Finding:
    """Everybody goes on."""
    there = {journey: n for journey, n in sorted((await gauges.enrollments(c, "parked", MOST)).items()) if n}
    if there:
        says = "enrollments can't go on: " + ", ".join(f"{n} in {journey}" for journey, n in there.items())
        return Finding("parked", "warn", says, "`sojourn enrollments --status parked` says why; mend it, then `sojourn retry`")
    return Finding("parked", "ok", "no enrollment is parked")


async def resting(c: Connection) -> Finding:
    """No channel was stopped by complaints."""
    names = [r.channel for r in await senders.rests(c)]
    if names:
        says = f"{', '.join(names)} rests because of complaints"
        return Finding("complaints", "warn", says, "find out why people complain, then `sojourn channels lift NAME`")
    return Finding("complaints", "ok", "no channel rests")
