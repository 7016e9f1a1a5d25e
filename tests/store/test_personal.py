"""Nothing that is held of customers is forgotten by an export or an erasure: the database's own catalogue says what there is."""

from __future__ import annotations

import re
import secrets as random
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.store import erasing, personal, secrets
from engine.store.database import connect, fetch, run, transaction

NAMING = ("customer_id", "enrollment_id")


async def test_every_table_holds_something_of_customers_or_says_what_else(database_url: str) -> None:
    """A table that a later version adds stands in one of the two lists, and none that names a customer among the impersonal."""
    database = connect(database_url)
    try:
        async with transaction(database) as c:
            there = await fetch(
                c,
                "select table_name as name, array_agg(column_name::text) as columns from information_schema.columns "
                "where table_schema = 'public' group by 1",
            )
        assert sorted(r.name for r in there) == sorted([*personal.HELD, *personal.IMPERSONAL])
        assert [] == [r.name for r in there if set(r.columns) & set(NAMING) and r.name not in personal.HELD]
    finally:
        await database.dispose()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=80)] * 2))
async def test_postgresql_makes_the_same_marks(database_url: str, names: tuple[str, str]) -> None:
    """The HMAC that a statement writes in place of a message id is the one that a repeat is looked up by."""
    database = connect(database_url)
    source, message = names
    try:
        async with transaction(database) as c:
            key = (keys := await secrets.made(c, erasing.KEY))[max(keys)]
            inner, outer = (bytes(b ^ pad for b in key.ljust(64, b"\0")) for pad in (0x36, 0x5C))
            told = await fetch(
                c,
                f"select {personal.MARKED_MESSAGE} as mark from (select cast(:source as text) as source, "
                "cast(:message as text) as message_id) s",
                inner=inner,
                outer=outer,
                source=source,
                message=message,
            )
        assert erasing.marked_as(key, source, message) == told[0].mark
    finally:
        await database.dispose()


def test_the_page_about_the_export_has_every_table() -> None:
    """docs/reference/export.md, row by row."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "export.md").read_text()
    told = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(["format", "exported_at", "customer", "profile", *personal.HELD]) == sorted(told)


async def test_the_page_about_the_export_has_every_column_of_moves(database_url: str) -> None:
    """As the database names them, but for what is left out."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "export.md").read_text()
    (row,) = re.findall(r"^\| `moved` \|(.*)", page, re.MULTILINE)
    database = connect(database_url)
    try:
        async with transaction(database) as c:
            asked = "select column_name::text as name from information_schema.columns where table_name = 'moved'"
            there = {r.name for r in await fetch(c, asked)}
        assert sorted(there - set(personal.HELD["moved"].hidden)) == sorted(re.findall(r"`(\w+)`", row))
    finally:
        await database.dispose()


async def test_marks_are_found_under_every_key_and_lifted(database_url: str) -> None:
    """Also those that an older key made; what was never marked isn't found."""
    database = connect(database_url)
    try:
        async with transaction(database) as c:
            keys = await secrets.made(c, erasing.KEY)
            assert keys == await secrets.made(c, erasing.KEY)
            now = (await fetch(c, "select now() as now"))[0].now
            await erasing.mark(c, keys, [("user_id", "ada"), ("email", "ada@example.com")], now)
            await run(c, "insert into secrets (name, value) values ('erasure', :value)", value=random.token_bytes(32))
            keys = await secrets.keys(c, erasing.KEY)
            await erasing.mark(c, keys, [("user_id", "bob")], now)
            pairs = [("user_id", "ada"), ("email", "ada@example.com"), ("user_id", "bob"), ("email", "ada"), ("user_id", "eve")]
            assert set(pairs[:3]) == set(await erasing.marked(c, keys, pairs))
            await erasing.lift(c, keys, pairs[:1])
            assert set(pairs[1:3]) == set(await erasing.marked(c, keys, pairs))
    finally:
        await database.dispose()
