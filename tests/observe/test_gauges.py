"""The gauges of the store: read now and then, whoever scrapes; and what a scrape says while the store is away."""

from __future__ import annotations

from prometheus_client import Metric

from engine.app.processes import free_port
from engine.insight.gauges import GAUGES, KEPT, LIVE, Gauges
from engine.store import gauges as store
from engine.store.database import connect, run, transaction


def value(metrics: list[Metric], name: str) -> dict[tuple[str, ...], float]:
    """A gauge's values by its labels'."""
    (found,) = (m for m in metrics if m.name == name)
    return {tuple(s.labels.values()): s.value for s in found.samples}


async def test_values_are_kept_for_the_scrapes_between(database_url: str) -> None:
    """Backlogs for KEPT seconds, enrollments for LIVE; while the store is away the last ones stay, and that is said."""
    database = connect(database_url)
    there = Gauges(database)

    async def put(statement: str) -> None:
        async with transaction(database) as c:
            await run(c, statement)

    await put("insert into journeys (name, plan) values ('welcome', 'p')")
    aside = "insert into quarantine (source, at, reason, body) values ('s', now(), 'r', '{}')"
    inside = (
        "insert into enrollments (customer_id, journey, plan, status, entry_event, entered_at, number) "
        "select 1, 'welcome', 'p', '{}', 1, now(), coalesce(max(number), 0) + 1 from enrollments"
    )
    await put(inside.format("live"))
    await put(inside.format("parked"))
    await there.refresh(1000.0)
    await put(aside)
    await put(inside.format("live"))
    async with transaction(database) as c:
        await store.chore_done(c, "calendar")
        await store.chore_done(c, "calendar")
    seen = []
    for later in (KEPT - 1, KEPT, LIVE - 1, LIVE + KEPT):
        await there.refresh(1000.0 + later)
        found = list(there.collect())
        assert sorted(GAUGES) == sorted(m.name for m in found)
        seen.append((value(found, "sojourn_quarantine_waiting")[()], value(found, "sojourn_live_enrollments")[("welcome",)]))
    assert [(0, 1), (1, 1), (1, 1), (1, 2)] == seen
    assert {("welcome",): 1.0} == value(found, "sojourn_parked_enrollments")
    assert {("bulk",): 0.0, ("urgent",): 0.0} == value(found, "sojourn_relay_backlog")
    assert [("calendar",)] == list(value(found, "sojourn_chore_last_success_timestamp_seconds"))
    there.database = connect(f"postgresql://nobody@127.0.0.1:{free_port()}/x")
    await there.refresh(5000.0)
    found = list(there.collect())
    assert ({(): 0.0}, {(): 1.0}) == (value(found, "sojourn_database_up"), value(found, "sojourn_quarantine_waiting"))
    await there.database.dispose()
    await database.dispose()


async def test_counting_stops_at_its_limit(database_url: str) -> None:
    """However many there are."""
    database = connect(database_url)
    async with transaction(database) as c:
        await run(
            c,
            "insert into inputs (enrollment_id, seq, lane, kind, at, urgent) "
            "select 1, n, 0, 'event', now(), n % 3 = 0 from generate_series(1, 90) n",
        )
        assert {True: 30, False: 50} == await store.pending_inputs(c, 50)
    await database.dispose()
