"""What a file's columns mean: by their names, by a mapping, in three formats; and what is refused in words."""

from __future__ import annotations

import json
import sys
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from engine.app.import_file import Unreadable
from engine.authoring.layout import Unmapped
from engine.settings.project import SettingsError
from tests.app.files import PEOPLE, Office, counts, reported


async def test_the_three_formats_say_the_same(office: Office) -> None:
    """JSON lines and Parquet, with values that have types already."""
    rows = [
        {"userId": "ada", "event": "ordered", "timestamp": "2026-01-02T10:00:00Z", "order_id": "A1", "total": 40.1},
        {"userId": "bob", "event": "ordered", "timestamp": "2026-01-03T10:00:00Z", "order_id": None, "total": 2},
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows) + "\n[1]\n{broken\n"
    table = arrow.table(
        {
            "userId": ["ada", "bob"],
            "event": ["ordered", "ordered"],
            "timestamp": arrow.array([1767348000, 1767434400], arrow.timestamp("s", "UTC")),
            "order_id": ["A1", None],
            "total": arrow.array(["40.10", "2.00"]).cast(arrow.decimal128(10, 2)),
        }
    )
    parquet.write_table(table, office.folder / "orders.parquet")
    jsonl = office.order("events", "orders.jsonl", lines, mapping="source: one")
    assert (2, 0, 2) == counts(await office.take(jsonl))
    assert [(4, "the line is not a JSON object"), (5, "the line is not JSON")] == [
        (row, problem.split(":")[0]) for row, _, problem in reported(jsonl)
    ]
    expected = await office.events()
    assert (2, 0, 0) == counts(await office.take(office.order("events", "orders.parquet", mapping="source: two")))
    assert expected * 2 == [event for source in ("one", "two") for event in await _of(office, source)]


async def _of(office: Office, source: str) -> list[Any]:
    return await office.query(
        "select i.value, e.name, e.properties, to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') from events e "
        "join identifiers i on i.customer_id = e.customer_id where e.source = :source order by e.occurred_at",
        source=f"import:{source}",
    )


async def test_calls_as_sources_write_them_come_in(office: Office) -> None:
    """An object under `properties` is what the event has; what stands beside it counts only where the mapping names it."""
    call = {
        "type": "track",
        "messageId": "m-1",
        "userId": "ada",
        "event": "ordered",
        "timestamp": "2026-01-02T10:00:00Z",
        "properties": {"total": 3},
        "context": {"library": {"name": "x"}},
    }
    assert (1, 0, 0) == counts(await office.take(office.order("events", "calls.jsonl", json.dumps(call))))
    assert [("ada", "ordered", {"total": 3}, "2026-01-02 10:00")] == await office.events()
    assert [("m-1",)] == await office.query("select message_id from events")


async def test_a_mapping_says_what_columns_mean(office: Office) -> None:
    """Fields, another name for a property, a time zone, one event for all rows, and what is left out."""
    mapping = """
source: till
timezone: America/New_York
event: ordered
user_id: household
message_id: basket
timestamp: at
properties: {order_id: basket, total: paid}
ignore: [clerk]
"""
    text = "household;basket;at;paid;clerk;shop\n7;900;2026-01-02 19:00:00;4.5;x;north\n7;900;2026-01-02 19:00:00;4.5;y;north\n"
    assert (1, 1, 0) == counts(await office.take(office.order("events", "baskets.csv", text, mapping)))
    assert [("7", "ordered", {"order_id": "900", "total": 4.5, "shop": "north"}, "2026-01-03 00:00")] == await office.events()
    assert [("import:till", "900")] == await office.query("select source, message_id from events where name = 'ordered'")


async def test_problems_of_a_mapping_stand_at_their_line(office: Office) -> None:
    """All of them at once, and nothing is imported."""
    mapping = """
user_id: custmer_id
timezone: Europe/Roma
atributes: {}
""".lstrip()
    with pytest.raises(SettingsError) as wrong:
        await office.take(office.order("customers", "people.csv", PEOPLE, mapping))
    assert [(2, "SJ112"), (3, "SJ110")] == [(p.line, p.code) for p in wrong.value.problems]
    mapping = """
user_id: usr_id
consents:
  - {column: consent_sms, channel: text, topic: nws}
""".lstrip()
    with pytest.raises(SettingsError) as wrong:
        await office.take(office.order("customers", "people.csv", PEOPLE, mapping))
    assert [(1, 10, "SJ260"), (3, 36, "SJ205"), (3, 49, "SJ203")] == [(p.line, p.column, p.code) for p in wrong.value.problems]
    assert "did you mean 'user_id'?" == wrong.value.problems[0].hint
    assert [] == await office.query("select 1 from imports")


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("customers", "name,town\na,b\n", "no column names the customer"),
        ("events", "user_id,total\na,1\n", "no column says what happened"),
        ("events", "user_id,event,total\na,b,1\n", "no column says when it happened"),
        ("customers", "user_id,userId\na,b\n", "the columns 'user_id' and 'userId' could both be the user_id"),
        ("customers", "user_id,consent_fax\na,yes\n", "there is no channel 'fax'"),
        ("customers", "user_id,consent_email_nws\na,yes\n", "there is no topic 'nws'"),
    ],
)
async def test_what_columns_do_not_say_must_be_said(office: Office, kind: str, text: str, said: str) -> None:
    """Nothing is guessed where there is a doubt; the hint has the line to write."""
    with pytest.raises(Unmapped, match=said) as wrong:
        await office.take(office.order(kind, "file.csv", text))
    assert "mapping" in wrong.value.hint


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("people.xlsx", "", "no file that can be imported"),
        ("people.csv", "", "has no columns"),
        ("people.csv", "a,,b\n", "column 2 of people.csv has no name"),
        ("people.csv", "a,b,a\n", "two columns called 'a'"),
        ("people.jsonl", "nothing\n", "holds no JSON object"),
        ("people.parquet", "nothing", "is not a Parquet file"),
    ],
)
async def test_files_that_are_none_are_refused_in_words(office: Office, name: str, text: str, said: str) -> None:
    """Before anything is read in."""
    with pytest.raises(Unreadable, match=said):
        await office.take(office.order("customers", name, text))


async def test_where_pyarrow_is_missing_the_command_that_installs_it_is_told(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parquet is an extra."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(Unreadable) as wrong:
        await office.take(office.order("customers", "people.parquet", "x"))
    assert "pip install 'sojourn[parquet]'" in wrong.value.hint


async def test_a_row_may_tell_of_two_events(office: Office) -> None:
    """A file that is read as another event, or by another moment of it, is not known because of the first time."""
    text = "customer_id,created,shipped,total\nada,2026-01-02,2026-01-04,5\n"
    for event, column in (("ordered", "created"), ("ordered", "shipped"), ("signed_up", "shipped")):
        mapping = f"event: {event}\ntimestamp: {column}\n"
        assert (1, 0, 0) == counts(await office.take(office.order("events", "orders.csv", text, mapping)))
