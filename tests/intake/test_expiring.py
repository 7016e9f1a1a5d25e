"""Retention on a real database: what goes when, what stays whatever is set, page by page, and twice is once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from engine.intake.expiring import Expiring
from engine.settings.periods import RetentionSettings
from engine.settings.project import SettingsError, load_settings
from engine.store import retention
from tests.people import JOURNEYS, People, opened

LETTER = """insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, channel, tier, status,
    reason, detail, words, planned_at, decided_at, slot_at, policy)
    select id || '/s/0/0', id, customer_id, journey, plan, 's', 0, 't', 'email', 'lifecycle', 'sent',
    '', 'because', 'to ada@example.com', :at, :at, :at, 'p' from enrollments where journey = :journey returning key"""
CAP = "caps: [{name: monthly, limit: 5, per: 30d}]\n"


@pytest.fixture
async def people(tmp_path: Path, database_url: str) -> AsyncIterator[People]:
    """Ada, who is inside `once` and has left `order`, a year and more ago."""
    files = {
        **{name: text for name, text in JOURNEYS.items() if "many" not in name},
        "journeys/tracking.yaml": """
            events:
              signed_up: {properties: {plan: string, order_id: string}}
              confirmed: {properties: {order_id: string}}
              cancelled: {properties: {order_id: string}}
              pinged: {properties: {number: integer}, retention: 10d}
              opened: {properties: {page: string}}
            attributes: {first_name: string, email: string, country: string}
        """,
    }
    async with opened(tmp_path, database_url, rules=CAP, files=files) as found:
        await found.identify("ada", first_name="Ada")
        await found.track("ada", "opened", None, page="/before")
        await found.track("ada", "pinged", None, number=7)
        await found.track("ada", "signed_up", None, order_id="A1")
        await found.track("ada", "cancelled", None, order_id="A1")
        await found.track("ada", "opened", None, page="/after")
        yield found


def expiring(people: People, **periods: int) -> Expiring:
    """The chore with these periods."""
    return Expiring(people.core.database, people.core.deployments, periods)


async def pass_days(people: People, days: int) -> None:
    """Let the project's clock go on."""
    await people.query("update clock set logical_epoch = logical_epoch + make_interval(days => :days) returning one", days=days)


async def walk(chore: Expiring) -> int:
    """Until it says that there is nothing more to do; how many parts that took."""
    parts = 1
    while await chore.run():
        parts += 1
    return parts


async def properties(people: People) -> dict[str, Any]:
    """Name → properties of each event, of several of one name the last."""
    return {r.name: r.properties for r in await people.query("select name, properties from events order by id")}


async def test_properties_go_but_not_what_somebody_inside_entered_by(people: People) -> None:
    """An event's own period in tracking.yaml goes before the general one; of an identify the names stay, for merges."""
    chore = expiring(people, event_properties=400)
    await walk(chore)
    assert {"number": 7} == (await properties(people))["pinged"]
    await pass_days(people, 20)
    assert [("event_properties (pinged)", 1)] == [(d.walk.kind, d.rows) for d in await chore.due() if d.rows]
    await walk(chore)
    kept = await properties(people)
    assert ({}, {"first_name": "Ada"}, {"page": "/after"}) == (kept["pinged"], kept["$identify"], kept["opened"])
    await pass_days(people, 400)
    await walk(chore)
    kept = await properties(people)
    assert ({"first_name": None}, {"order_id": "A1"}) == (kept["$identify"], kept["signed_up"]), "she is inside `once`"
    assert {"page": "/after"} == kept["opened"], "it came since she entered"
    first = await people.query("select properties from events where name = 'opened' order by id limit 1")
    assert {} == first[0].properties
    await people.query("update enrollments set status = 'ended', ended_at = sojourn_now() returning id")
    await pass_days(people, 1)
    await walk(chore)
    assert {"signed_up": {}, "opened": {}} == {
        k: v for k, v in (await properties(people)).items() if k in ("signed_up", "opened")
    }
    assert 6 == len(await people.query("select 1 from events"))


async def test_a_walk_begins_behind_what_is_done_and_ends_with_what_is_young(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what has become old since, not the table; who is passed over is come back for; once in a while all is read."""
    monkeypatch.setattr(retention, "PAGE", 3)
    chore = expiring(people, event_properties=10)
    await pass_days(people, 20)
    for page in range(9):
        await people.track("bob", "opened", None, page=f"/{page}")
    assert 6 == await walk(chore), "of each of the two walks two pages of old rows, and one where all are young"
    left = "select count(*) as n from events where jsonb_strip_nulls(properties) <> '{}'"
    assert 9 + 3 == (await people.query(left))[0].n, "she is inside `once`: what she entered by, and what came since"
    await people.query("update enrollments set status = 'ended', ended_at = sojourn_now() returning id")
    await pass_days(people, 1)
    await walk(chore)
    assert 9 == (await people.query(left))[0].n
    await pass_days(people, 1)
    assert 2 == await walk(chore), "a young page each"
    await people.query('update events set properties = \'{"page": "/late"}\' where id = 1 returning id')
    await pass_days(people, 11)
    assert 8 == await walk(chore), "three pages of each, and one with nothing on it"
    assert 1 == (await people.query(left))[0].n
    assert [9] == [
        r.n for r in await people.query("select count(*) as n from events where emptied and name = 'opened' and id > 6")
    ]
    await pass_days(people, 31)
    await walk(chore)
    assert 0 == (await people.query(left))[0].n


async def test_content_goes_and_counts_stay(people: People) -> None:
    """Of a settled message its words; the row, its slot, and what is still open stay."""
    now = (await people.query("select sojourn_now() as now"))[0].now
    for journey in ("once", "order"):
        await people.query(LETTER, at=now, journey=journey)
    await people.query("update messages set status = 'deferred' where journey = 'once' returning id")
    task = "insert into tasks (key, enrollment_id, customer_id, queue, title, status, created_at, closed_at) values "
    await people.query(
        task + "('a', 1, 1, 'q', 'Call Ada', 'done', now(), now()), ('b', 1, 1, 'q', 'Ada', 'open', now(), null) returning id"
    )
    await people.query("""update enrollments set vars = '{"a": "Ada"}' returning id""")
    await pass_days(people, 91)
    await walk(expiring(people, message_content=90))
    found = await people.query("select journey, detail, words, slot_at from messages order by journey")
    assert [("once", "because", now), ("order", "", now)] == [(r.journey, r.detail, r.slot_at) for r in found]
    assert ["", "Ada"] == [r.title for r in await people.query("select title from tasks order by key")]
    assert [{"a": "Ada"}, {}] == [r.vars for r in await people.query("select vars from enrollments order by journey")]


async def test_caps_go_on_counting_whatever_is_set(people: People) -> None:
    """A message goes only where no cap's window reaches, and its enrollment has ended."""
    now = (await people.query("select sojourn_now() as now"))[0].now
    for journey in ("once", "order"):
        await people.query(LETTER, at=now, journey=journey)
    await pass_days(people, 25)
    await walk(expiring(people, messages=1))
    assert 2 == len(await people.query("select 1 from messages"))
    await pass_days(people, 20)
    await walk(expiring(people, messages=1))
    assert ["once"] == [r.journey for r in await people.query("select journey from messages")]


async def test_what_is_over_goes_whole(people: People) -> None:
    """Decisions; inputs, moves and parkings of those who left; holds, refusals, calls put aside, old rows of the audit log."""
    await people.query("update inputs set relayed_at = now() returning id")
    for statement in (
        "insert into decisions (key, customer_id, at, decision, gates, policy, plan) "
        "values ('k', 1, sojourn_now(), 'drop', '[]', 'p', 'p')",
        "insert into holds (customer_id, name, pause, opened_at, until) values (1, 'h', '{a}', sojourn_now(), "
        "sojourn_now() + interval '5 days')",
        "insert into refusals (customer_id, journey, event_id, at, rule, detail) values (1, 'j', 1, sojourn_now(), 'r', 'd')",
        "insert into quarantine (source, at, reason, body, message_id, call) values ('s', sojourn_now(), 'r', '{}', 'm', '{}')",
    ):
        await people.query(statement + " returning id")
    for statement in (
        "insert into moved select id, 2, sojourn_now(), 2, true, 2, null, 'p', 'q', false, '[]' from enrollments",
        "insert into parkings select id, 2, sojourn_now(), 0, 0, 0, 's', 'template' from enrollments",
    ):
        assert 2 == len(await people.query(statement + " returning enrollment_id"))
    periods = {"decisions": 3, "inputs": 3, "holds": 3, "refusals": 3, "quarantine": 3, "audit": 3}
    before = await counts(people)
    await walk(expiring(people, **periods))
    assert before == await counts(people)
    await pass_days(people, 6)
    await walk(expiring(people, **periods))
    after = await counts(people)
    assert {"decisions": 0, "holds": 1, "refusals": 0, "quarantine": 0} == {
        k: after[k] for k in after if k in ("decisions", "holds", "refusals", "quarantine")
    }
    assert (before["inputs"] - 2, 0) == (after["inputs"], after["audit"])
    assert (1, 1) == (after["moved"], after["parkings"]), "of the one that has ended nothing is left"
    await pass_days(people, 4)
    await walk(expiring(people, **periods))
    assert 0 == (await counts(people))["holds"]


async def counts(people: People) -> dict[str, int]:
    """Rows by table."""
    tables = ("decisions", "inputs", "holds", "refusals", "quarantine", "audit", "moved", "parkings")
    return {t: (await people.query(f"select count(*) as n from {t}"))[0].n for t in tables}


async def test_a_walk_goes_page_by_page_and_on_from_where_it_was(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is small; another process goes on with it; once it is over it rests, and running it again changes nothing."""
    monkeypatch.setattr(retention, "PAGE", 2)
    await people.query("update enrollments set status = 'ended', ended_at = sojourn_now() returning id")
    await pass_days(people, 11)
    chore = expiring(people, event_properties=10)
    assert await chore.run()
    assert 2 == (await people.query("select max(up_to) as n from retention"))[0].n
    assert await walk(expiring(people, event_properties=10)) >= 5
    assert [True] == [r[0] for r in await people.query("select bool_and(jsonb_strip_nulls(properties) = '{}') from events")]
    assert 1 == await walk(chore)
    await pass_days(people, 1)
    assert 1 < await walk(chore)


async def test_nothing_goes_where_no_period_is_set(people: People) -> None:
    """But the record of a merge that can't be undone any more."""
    bob = await people.identify("bob", first_name="Bob")
    ada = await people.who("ada")
    await people.core.intake.merge(ada or 0, bob, "test")
    await pass_days(people, 20)
    await walk(expiring(people))
    assert [False] == [r[0] for r in await people.query("select record is null from merges")]
    await pass_days(people, 11)
    await walk(expiring(people))
    assert [True] == [r[0] for r in await people.query("select record is null from merges")]
    assert {"order_id": "A1"} == (await properties(people))["signed_up"]


async def test_the_audit_log_stays(people: People) -> None:
    """PostgreSQL refuses to change, remove or empty it, also in one statement with other things."""
    for statement in (
        "update audit set actor = 'nobody' returning id",
        "delete from audit returning id",
        "with gone as (delete from audit returning id) select count(*) from gone",
        "truncate audit",
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            await people.query(statement)
    assert ["deploy"] == [r.act for r in await people.query("select act from audit")]


def test_every_kind_has_a_setting_and_every_setting_is_a_kind() -> None:
    """And each is about tables that the catalogue of what is held has."""
    from engine.store.personal import HELD

    assert sorted(retention.KINDS) == sorted(RetentionSettings.model_fields)
    assert {rule.table for rules in retention.KINDS.values() for rule in rules} <= set(HELD)


@pytest.mark.parametrize(("written", "days"), [("30d", 30), ("8w", 56), ("2 years", 730), ("1 year", 365)])
def test_periods_are_read(tmp_path: Path, written: str, days: int) -> None:
    """Days, weeks and years."""
    (tmp_path / "sojourn.yaml").write_text(f"retention: {{audit: {written}}}\n")
    assert {"audit": days} == load_settings(tmp_path, {}).retention.periods()


@pytest.mark.parametrize("written", ["0d", "30", "soon", "-3d", "1h"])
def test_what_is_no_period_is_an_error_at_its_place(tmp_path: Path, written: str) -> None:
    """With what would be one."""
    (tmp_path / "sojourn.yaml").write_text(f"retention: {{audit: {written}}}\n")
    with pytest.raises(SettingsError, match=r"30d, 8w or 2 years"):
        load_settings(tmp_path, {})
