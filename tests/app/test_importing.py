"""Files through the door: what comes in, what is told of what can't, and that a file read twice, or in pieces, comes in once."""

from __future__ import annotations

import pytest

from engine.app.deploying import deploy
from engine.app.import_file import Unreadable
from engine.app.importing import Busy, Import
from engine.authoring.project import load_project
from engine.store import imports
from engine.store.database import at_once, fetch, transaction
from tests.app.files import FILES, ORDERS, PEOPLE, TRACKING, Office, counts, reported
from tests.harness import write_project


async def test_customers_come_in_with_attributes_and_consents(office: Office) -> None:
    """By the columns' names: values get their declared types, empty cells say nothing, and nobody is enrolled."""
    done = await office.take(office.order("customers", "people.csv", PEOPLE))
    assert (3, 0, 0) == counts(done)
    people = dict(
        await office.query(
            "select i.value, c.attributes from customers c join identifiers i on i.customer_id = c.id where i.kind = 'user_id'"
        )
    )
    ada = {"email": "ada@example.com", "first_name": "Ada", "orders": 3}
    assert {"ada": ada, "bob": {"email": "bob@example.com", "first_name": "Bob"}, "eve": {}} == people
    said = await office.query("select channel, topic, state, source, via from consents order by customer_id, channel")
    assert [
        ("email", "news", "granted", "import", "import:customers"),
        ("email", "news", "withdrawn", "import", "import:customers"),
        ("sms", None, "granted", "import", "import:customers"),
    ] == said
    assert [] == await office.query("select 1 from enrollments")


async def test_a_file_that_was_imported_is_not_read_again_and_reading_it_again_changes_nothing(office: Office) -> None:
    """The same rows have the same message ids, in whatever file they stand."""
    order = office.order("events", "orders.csv", ORDERS)
    assert (3, 0, 0) == counts(await office.take(order))
    before = await office.events()
    second = await office.take(order)
    assert (True, 3) == (second.before, second.taken)
    assert (0, 3, 0) == counts(await office.take(office.order("events", "orders.csv", again=True)))
    grown = ORDERS + "eve,ordered,2026-01-05T10:00:00Z,A3,1,\n"
    assert (1, 3, 0) == counts(await office.take(office.order("events", "other_name.csv", grown)))
    assert [*before, ("eve", "ordered", {"order_id": "A3", "total": 1}, "2026-01-05 10:00")] == await office.events()


async def test_events_come_in_as_history_unless_they_are_live(office: Office) -> None:
    """History counts and enrolls nobody; `live` begins journeys."""
    done = await office.take(office.order("events", "orders.csv", ORDERS))
    assert (3, 0, 0) == counts(done)
    assert [
        ("ada", "ordered", {"order_id": "A1", "total": 40.1, "items": ["soap", "serum"]}, "2026-01-02 10:00"),
        ("ada", "ordered", {"order_id": "A2", "total": 12}, "2026-01-03 10:00"),
        ("bob", "signed_up", {}, "2026-01-04 00:00"),
    ] == await office.events()
    assert [] == await office.query("select 1 from enrollments")
    live = "user_id,event\nbob,signed_up\n"
    assert (1, 0, 0) == counts(await office.take(office.order("events", "live.csv", live, live=True)))
    assert [("welcome",)] == await office.query("select journey from enrollments")


async def test_what_is_wrong_with_each_bad_row_is_told_and_the_good_ones_are_in(office: Office) -> None:
    """Row, column, problem; mended in place, only what was mended comes in."""
    bad = ORDERS + (
        "ada,ordered,2026-13-02,A4,1,\n"
        ",ordered,2026-01-05,A5,1,\n"
        "ada,,2026-01-05,A6,1,\n"
        "ada,ordered,2026-01-05,A7,much,\n"
        "ada,ordered,2026-01-05,A8\n"
        "ada,ordered,2099-01-05,A9,1,\n"
        "ada,ordered,1969-01-05,A9,1,\n"
        "\n"
        "ada,ordered,,A9,1,\n"
        "ada,ordered,2026-01-05,A9,1,[soap\n"
        "ada,ordered,2026-01-05,\udce9,1,\n"
        "ada,ordered,2026-01-05,A9,,\n"
    )
    order = office.order("events", "orders.csv", bad.encode("utf-8", "surrogateescape"))
    assert (3, 0, 11) == counts(await office.take(order))
    assert [
        (5, "occurred_at", "'2026-13-02' is no moment"),
        (6, "", "nobody is named"),
        (7, "event", "the event has no name"),
        (8, "", "ordered: total 'much' is not a number"),
        (9, "", "the row has 4 cells, and there are 6 columns"),
        (10, "occurred_at", "'2099-01-05' has not come yet"),
        (11, "occurred_at", "'1969-01-05' is before 1970"),
        (13, "occurred_at", "it isn't said when it happened"),
        (14, "items", "'[soap' is not JSON"),
        (15, "order_id", "it holds bytes that are not UTF-8 text"),
        (16, "", "ordered: total is missing"),
    ] == [(row, column, problem.split(": unexpected")[0]) for row, column, problem in reported(order)]
    mended = bad.replace("2026-13-02", "2026-01-06").replace("2099", "2019").encode("utf-8", "surrogateescape")
    assert (2, 3, 9) == counts(await office.take(office.order("events", "orders.csv", mended)))
    assert [6, 7, 8, 9, 11, 13, 14, 15, 16] == [row for row, _, _ in reported(order)]
    assert [(0,)] == await office.query("select count(*) from quarantine")


@pytest.mark.parametrize("stop", [1, 2, 3])
async def test_an_import_that_was_stopped_goes_on_where_it_stopped(office: Office, stop: int) -> None:
    """Every row once, every bad row once in the report, and counts that add up; whatever batch it was stopped after."""
    rows = "".join(f"u{n % 40},ordered,{'never' if n % 97 == 5 else '2026-01-02'},A{n},{n / 100}\n" for n in range(1_800))
    order = office.order("events", "orders.csv", f"user_id,event,timestamp,order_id,total\n{rows}")
    told = []

    def stopping(position: int, size: int) -> None:
        told.append(position)
        if len(told) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await office.take(order, stopping)
    in_between = (await office.query("select rows, taken, bad from imports"))[0]
    with order.report.open("a") as report:
        report.write(f"{in_between[0] + 2},timestamp,written before the crash,and never committed\n1799,cut")
    done = await office.take(order)
    bad = [n for n in range(1_800) if n % 97 == 5]
    assert (1_800 - len(bad), 0, len(bad)) == counts(done)
    assert in_between[0] == done.resumed > 0
    assert [n + 2 for n in bad] == [row for row, _, _ in reported(order)]
    assert [(1_800 - len(bad),)] == await office.query("select count(*) from events where name = 'ordered'")
    assert (await office.take(office.order("events", "orders.csv", again=True))).known == 1_800 - len(bad)


async def test_a_row_that_became_good_by_another_tracking_comes_in(office: Office) -> None:
    """A file with bad rows is read again, and what was known stays as it is."""
    order = office.order("events", "orders.csv", ORDERS + "ada,ordered,2026-01-05,A9,much,\n")
    assert (3, 0, 1) == counts(await office.take(order))
    project = write_project(office.folder / "project", {**FILES, "journeys/tracking.yaml": TRACKING.replace("number", "string")})
    await deploy(office.core.database, load_project(project, {"email", "sms"}), "test")
    assert (1, 3, 0) == counts(await office.take(order))
    assert not order.report.exists()


async def test_two_at_once_are_refused(office: Office) -> None:
    """Whoever comes second is told so, and may come again once the first has ended."""
    order = office.order("events", "orders.csv", ORDERS)
    prepared = await Import.prepared(office.core.database, order)
    await prepared.take(lambda *_: None)
    (digest,) = [d for (d,) in await office.query("select digest from imports")]
    async with at_once(office.core.database) as c:
        assert await imports.alone(c, digest)
        with pytest.raises(Busy):
            await office.take(order)
        await imports.let_go(c, digest)
    assert (await office.take(order)).before


async def test_looking_changes_nothing(office: Office) -> None:
    """What would come in is counted, bad rows are told, and neither store nor folder has anything more than before."""
    order = office.order("events", "orders.csv", ORDERS + "ada,ordered,2026-13-02,A4,1,\n")
    done = (await Import.prepared(office.core.database, order)).look(lambda *_: None)
    assert ((3, 0, 1), [5]) == (counts(done), [row for row, _ in done.first])
    assert ("user_id", "customer_id") in done.told()
    assert not order.report.exists()
    assert [(0, 0)] == await office.query("select (select count(*) from events), (select count(*) from imports)")


async def test_a_report_is_never_written_over_something_else(office: Office) -> None:
    """A file of that name that is no report stays as it is."""
    order = office.order("events", "orders.csv", ORDERS)
    order.report.write_text("my notes\n")
    with pytest.raises(Unreadable, match="is no report"):
        await office.take(order)
    assert "my notes\n" == order.report.read_text()


async def test_what_another_run_has_moved_on_is_left_to_it(office: Office) -> None:
    """Progress is only added to what this run knows of; its rows aren't kept then."""
    order = office.order("customers", "people.csv", PEOPLE)
    await office.take(order)
    async with transaction(office.core.database) as c:
        number = (await fetch(c, "select id from imports"))[0].id
        moved = {"rows": 2, "taken": 2, "known": 0, "bad": 0, "erased": 0}
        assert [False, True] == [await imports.advance(c, number, before=n, **moved) for n in (0, 3)]
