"""Who is who at the real door: calls that name a person in several ways, one customer for each identifier, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.core.incoming import Incoming
from tests.people import People, named, opened


@pytest.fixture
async def people(tmp_path: Path, database_url: str) -> AsyncIterator[People]:
    """Without rules about known customers."""
    async with opened(tmp_path, database_url) as found:
        yield found


@pytest.fixture
async def ruled(tmp_path: Path, database_url: str) -> AsyncIterator[People]:
    """Where the same e-mail address, the same phone number and an alias make one of two known customers."""
    async with opened(tmp_path, database_url, identity="{region: IT, merge: [alias, email, phone]}") as found:
        yield found


async def test_what_a_visitor_did_is_the_users_after_identify(people: People) -> None:
    """Events, attributes and enrollments of the anonymous customer are the known one's; later ones under the visitor's id too."""
    visitor = (await people.track("", "signed_up", anonymous="x1")).customer
    await people.identify("", "x1", country="IT")
    ada = await people.identify("ada", first_name="Ada")
    assert visitor != ada
    assert ada == await people.identify("ada", "x1")
    assert [(visitor, ada, "identify")] == await people.merges()
    assert [ada] == await people.owners("events") == await people.owners("enrollments") == await people.owners("identifiers")
    assert ada == (await people.track("", "pinged", anonymous="x1")).customer
    (row,) = await people.query("select attributes from customers where id = :id", id=ada)
    assert {"first_name": "Ada", "country": "IT"} == row.attributes
    (row,) = await people.query("select attributes, merged_into from customers where id = :id", id=visitor)
    assert ({}, ada) == (row.attributes, row.merged_into)


async def test_alias_joins_a_visitor_and_refuses_two_known_customers(people: People) -> None:
    """What it can't do without a rule is kept aside with the reason, and can be done by a command."""
    visitor = (await people.track("", "pinged", anonymous="x1")).customer
    ada, bob = await people.identify("ada"), await people.identify("bob")
    assert ada == (await people.alias("ada", "x1")).customer
    assert [(visitor, ada, "alias")] == await people.merges()
    refused = await people.alias("ada", "bob")
    assert "doesn't name alias" in refused.quarantined
    assert bob == await people.who("bob")
    (kept,) = await people.query("select reason, body from quarantine")
    assert ({"user_id": "ada", "previous_id": "bob"}, "alias") == (kept.body["identifiers"], kept.body["kind"])


async def test_rules_merge_known_customers_and_say_which(ruled: People) -> None:
    """By alias, by e-mail address, by phone number, however these are written; the older one stays."""
    users = [await ruled.identify(f"u{n}") for n in range(6)]
    await ruled.alias("u0", "u1")
    await ruled.identify("u2", email="Ada@Example.com")
    await ruled.identify("u3", email="ada@example.com")
    await ruled.identify("u5", phone="06 5551 0001")
    await ruled.identify("u4", phone="+39 06 55510001")
    assert [(users[1], users[0], "alias"), (users[3], users[2], "email"), (users[5], users[4], "phone")] == await ruled.merges()
    assert 3 == len({await ruled.who(f"u{n}") for n in range(6)})


async def test_a_malformed_call_merges_nobody(ruled: People) -> None:
    """An identify that doesn't fit its types is kept aside, and nobody becomes anybody else by it."""
    await ruled.identify("ada", email="ada@example.com")
    await ruled.identify("bob")
    answer = (await ruled.accept(named("identify", "bob", traits={"email": "ada@example.com", "timezone": ["x"]})))[0]
    assert answer.quarantined
    assert [] == await ruled.merges()


async def test_an_address_that_is_given_up_is_free(people: People) -> None:
    """Whoever has it next is found by it; one that is only written in another way stays."""
    ada = await people.identify("ada", email="ada@example.com")
    assert ada == await people.who("ada@example.com")
    await people.identify("ada", email="ADA@example.com")
    assert ada == await people.who("ada@example.com")
    await people.identify("ada", email="new@example.com")
    assert (None, ada) == (await people.who("ada@example.com"), await people.who("new@example.com"))
    bob = await people.identify("bob", email="ada@example.com")
    assert bob == await people.who("ada@example.com")
    await people.identify("bob", email=None)
    assert await people.who("ada@example.com") is None


async def test_a_person_can_be_named_by_an_address_alone(people: People) -> None:
    """As an importer or a provider's feedback does: a customer of that address, or somebody new."""
    ada = await people.identify("ada", email="ada@example.com")
    named_ = Incoming("track", "test", "by-mail", "pinged", identifiers={"email": "Ada@Example.com"})
    assert ada == (await people.accept(named_))[0].customer
    named_ = Incoming("track", "test", "lead", "pinged", identifiers={"email": "eve@example.com"})
    lead = (await people.accept(named_))[0].customer
    assert lead == await people.identify("eve", email="eve@example.com")


async def test_what_names_nobody_is_kept_aside(people: People) -> None:
    """With the reason, and without a word lost of what came beside it."""
    answers = await people.accept(Incoming("track", "test", "q1", "pinged"), named("track", "ada", name="pinged"))
    assert ["nothing in it names a person", ""] == [a.quarantined for a in answers]
    assert 1 == (await people.query("select count(*) from quarantine"))[0][0]


async def test_who_was_erased_is_not_brought_back(people: People) -> None:
    """A visitor who was erased stays alone, and takes nobody's events."""
    visitor = (await people.track("", "pinged", anonymous="x1")).customer
    await people.query("update customers set erased_at = now() where id = :id returning id", id=visitor)
    ada = await people.identify("ada", "x1")
    assert (True, []) == (ada != visitor, await people.merges())
    assert "erased" in (await people.alias("ada", "x1")).quarantined


async def test_a_whole_batch_of_visitors_becomes_known_at_once(people: People) -> None:
    """Set by set, not one by one: three hundred merges in one batch keep everything and take a moment."""
    await people.accept(*(named("track", "", f"x{n}", name="pinged") for n in range(300)))
    await people.accept(*(named("track", f"u{n}", name="pinged") for n in range(300)))
    await people.accept(*(named("identify", f"u{n}", f"x{n}") for n in range(300)))
    assert 300 == len(await people.merges())
    found = await people.query("select customer_id, count(*) filter (where name = 'pinged') as n from events group by 1")
    assert [2] * 300 == [r.n for r in found]
    assert 300 == (await people.query("select count(*) from customers where merged_into is not null"))[0][0]


async def test_chains_within_a_batch_end_in_one(ruled: People) -> None:
    """A visitor of one who becomes another: all of it is the oldest known one's."""
    await ruled.track("", "pinged", anonymous="x1")
    ada = await ruled.identify("ada", email="ada@example.com")
    await ruled.identify("bob", country="IT")
    await ruled.accept(named("identify", "bob", "x1"), named("identify", "bob", traits={"email": "ada@example.com"}))
    assert [ada] == await ruled.owners("events") == await ruled.owners("identifiers")
    assert 2 == len(await ruled.merges())
    (row,) = await ruled.query("select attributes from customers where id = :id", id=ada)
    assert "IT" == row.attributes["country"]


async def test_events_that_race_with_a_merge_go_to_who_is_left(people: People) -> None:
    """Whichever of the two comes first: nothing stays with a customer who is merged away."""
    for n in range(15):
        await people.track("", "pinged", anonymous=f"x{n}")
        await people.identify(f"u{n}")
        await asyncio.gather(
            people.identify(f"u{n}", f"x{n}"),
            *(people.track("", "signed_up", anonymous=f"x{n}") for _ in range(3)),
            *(people.track(f"u{n}", "pinged") for _ in range(2)),
        )
    left = await people.query(
        "select t.id from events t join customers p on p.id = t.customer_id where p.merged_into is not null "
        "union all select e.id from enrollments e join customers p on p.id = e.customer_id where p.merged_into is not null"
    )
    assert [] == list(left)
    assert 15 * 6 == (await people.query("select count(*) from events where name in ('pinged', 'signed_up')"))[0][0]
    assert 15 == (await people.query("select count(*) from enrollments where journey = 'once' and status = 'live'"))[0][0]


async def test_our_own_id_of_a_merged_customer_leads_to_who_is_left(people: People) -> None:
    """What journeys and links name by the old id is told to the new one."""
    visitor = (await people.track("", "pinged", anonymous="x1")).customer
    ada = await people.identify("ada")
    await people.identify("ada", "x1")
    assert ada == (await people.accept(Incoming("track", "journey", "j1", "pinged", customer=visitor)))[0].customer


async def test_a_repeated_call_merges_nobody(people: People) -> None:
    """A message id that its source has used changes nothing, whatever stands in it now."""
    visitor = (await people.track("", "pinged", anonymous="x1")).customer
    ada = await people.identify("ada")
    plain, both = {"user_id": "ada"}, {"user_id": "ada", "anonymous_id": "x1"}
    await people.accept(Incoming("identify", "test", "same", identifiers=plain))
    answer = (await people.accept(Incoming("identify", "test", "same", identifiers=both)))[0]
    assert (True, ada) == (answer.duplicate, answer.customer)
    twice = [Incoming("identify", "test", "again", identifiers=who) for who in (plain, both)]
    assert [False, True] == [a.duplicate for a in await people.accept(*twice)]
    assert ([], visitor) == (await people.merges(), await people.who("x1"))
