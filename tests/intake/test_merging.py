"""A merge carries everything, whole or not at all, and is taken back from its record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.core.consent import agreed, refusal
from engine.delivery.facts import consent_fact
from engine.intake.commanded import CantMerge
from engine.store import customers, merges
from engine.store.database import now, transaction
from tests.people import People, named, opened

LETTER = """insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, channel, tier, status,
    reason, planned_at, decided_at, slot_at, policy)
    select id || '/s/0/0', id, customer_id, journey, plan, 's', 0, 't', 'email', 'lifecycle', cast(:status as text),
    cast(:reason as text), now(), now(), now(), 'p' from enrollments where customer_id = :id and journey = :journey
    returning key"""


@pytest.fixture
async def people(tmp_path: Path, database_url: str) -> AsyncIterator[People]:
    """With Ada and Bob."""
    async with opened(tmp_path, database_url) as found:
        await found.identify("ada", first_name="Ada", country="IT")
        await found.identify("bob", first_name="Bob", phone="+39 06 55510001")
        yield found


async def two(people: People) -> tuple[int, int]:
    """Ada's and Bob's ids."""
    return await people.who("ada") or 0, await people.who("bob") or 0


async def merge(people: People, kept: int, gone: int, **more: Any) -> Any:
    """As the command does."""
    return await people.core.intake.merge(kept, gone, "test", **more)


async def unmerge(people: People, number: int, **more: Any) -> Any:
    """As the command does."""
    return await people.core.intake.unmerge(number, "test", **more)


async def consent(people: People, user: str, state: str, topic: str | None = "news", channel: str = "email") -> None:
    """A statement."""
    await people.track(user, "consent_changed", channel=channel, topic=topic, state=state)


async def test_every_table_that_names_a_customer_is_carried(people: People) -> None:
    """A table that a later version adds is in the list, or a merge would leave its rows behind."""
    found = await people.query(
        "select table_name from information_schema.columns where column_name = 'customer_id' and table_schema = 'public'"
    )
    assert sorted(merges.CARRIED | merges.WORKED_OUT) == sorted(r.table_name for r in found)


async def test_everything_goes_along(people: People) -> None:
    """Events, identifiers, consents, suppressions, holds, refusals, enrollments, messages, decisions, tasks, planned sends."""
    ada, bob = await two(people)
    await people.track("bob", "signed_up", order_id="A1")
    await consent(people, "bob", "granted")
    await people.track("bob", "message_bounced", channel="email", hard=True, address="bob@example.com")
    await people.query(LETTER, status="sent", reason="", id=bob, journey="once")
    for statement in (
        "insert into decisions (key, customer_id, at, decision, gates, policy, plan) select key, customer_id, now(), 'allow', "
        "'[]', 'p', 'p' from messages returning id",
        "insert into tasks (key, enrollment_id, customer_id, queue, title, created_at) select 'k', id, customer_id, 'sales', "
        "'call', now() from enrollments where journey = 'order' returning id",
        "insert into holds (customer_id, name, pause, opened_at, until) select customer_id, 'h', '{lifecycle}', now(), "
        "now() + interval '1 day' from enrollments where journey = 'once' returning id",
        "insert into refusals (customer_id, journey, event_id, at, rule, detail) select customer_id, 'many', entry_event, now(), "
        "'r', 'd' from enrollments where journey = 'once' returning id",
        "insert into planned (enrollment_id, customer_id, journey, step, tier, channels, entered_at, planned_at, due) "
        "select id, customer_id, journey, 's', 'lifecycle', '[\"email\"]', now(), now(), now() from enrollments "
        "where journey = 'order' returning enrollment_id",
        "insert into broadcast_people (broadcast_id, customer_id, due_at) select 7, customer_id, now() from enrollments "
        "where journey = 'once' returning customer_id",
        "insert into short_links (code, customer_id, enrollment_id, message, url, at) select 'x', customer_id, id, 'm', 'u', "
        "now() from enrollments where journey = 'once' returning id",
        "insert into stage_history (customer_id, stage, since, cause) select customer_id, 'lead', now(), 'time' "
        "from enrollments where journey = 'once' returning id",
        "insert into inbox (customer_id, channel, key, title, body, data, created_at) select customer_id, 'inbox', 'k', '', 'b', "
        "'{}', now() from enrollments where journey = 'once' returning id",
    ):
        await people.query(statement)
    for table in merges.CARRIED:
        assert bob in await people.owners(table), table
    done = await merge(people, ada, bob)
    for table in merges.CARRIED:
        assert [ada] == await people.owners(table), table
    assert [(bob, ada, "command")] == await people.merges()
    assert (done.kept, done.moved["enrollments"], done.moved["consents"]) == (ada, 2, 1)
    noted = await people.query("select subject from audit where act = 'merge' order by 1")
    assert [f"customer/{i}" for i in (ada, bob)] == [r.subject for r in noted]
    await unmerge(people, done.id)
    for table in sorted(merges.CARRIED - {"identifiers", "events"}):
        assert bob in await people.owners(table), table
        assert table == "suppressions" or [bob] == await people.owners(table), table
    assert {ada, bob} == set(await people.owners("events")) == set(await people.owners("identifiers"))


async def test_the_newer_value_of_each_attribute_wins(people: People) -> None:
    """By the order in which they were said, also that there is none any more; each merge can be taken back."""
    ada, bob = await two(people)
    await people.identify("ada", phone="+39 06 55510002")
    await people.identify("bob", country="DE")
    await people.identify("ada", country=None)
    done = await merge(people, ada, bob)
    assert ["country", "first_name", "phone"] == done.attributes
    (row,) = await people.query("select attributes from customers where id = :id", id=ada)
    assert {"first_name": "Bob", "phone": "+39 06 55510002"} == row.attributes
    await people.identify("ada", first_name="Ada Lovelace")
    await unmerge(people, done.id)
    found = {r.id: r.attributes for r in await people.query("select id, attributes from customers")}
    assert {"first_name": "Ada Lovelace", "phone": "+39 06 55510002"} == found[ada]
    assert {"first_name": "Bob", "phone": "+39 06 55510001", "country": "DE"} == found[bob]


async def test_what_is_newer_is_told_by_when_it_was_said(people: People) -> None:
    """What was said of the past after it, by a file, is older all the same."""
    ada, bob = await two(people)
    await people.identify("ada", country="IT")
    old = named("identify", "bob", traits={"country": "DE"}, occurred_at=datetime(2020, 1, 1, tzinfo=UTC))
    await people.accept(replace(old, history=True))
    await merge(people, ada, bob)
    (row,) = await people.query("select attributes->>'country' as country from customers where id = :id", id=ada)
    assert "IT" == row.country


async def test_what_one_withdrew_stays_withdrawn(people: People) -> None:
    """Though the other agreed later; after it is taken back, each has their own word again."""
    ada, bob = await two(people)
    await consent(people, "bob", "withdrawn")
    await consent(people, "bob", "withdrawn", None, "*")
    await consent(people, "ada", "granted")
    await consent(people, "ada", "granted", None, "*")
    done = await merge(people, ada, bob)
    assert [("email", "news"), ("*", None)] == done.withdrawn
    latest = "select distinct on (channel, topic) customer_id, channel, state from consents where customer_id = :id "
    latest += "order by channel, topic, at desc, id desc"
    assert {"withdrawn"} == {r.state for r in await people.query(latest, id=ada)}
    await unmerge(people, done.id)
    assert {"granted"} == {r.state for r in await people.query(latest, id=ada)}
    assert {"withdrawn"} == {r.state for r in await people.query(latest, id=bob)}


async def test_what_was_withdrawn_while_they_were_one_holds_for_both(people: People) -> None:
    """Nobody can say which of the two it was; an address that bounced meanwhile isn't used for either."""
    ada, bob = await two(people)
    done = await merge(people, ada, bob)
    await consent(people, "bob", "withdrawn", "offers")
    await consent(people, "ada", "granted", "news")
    await people.track("ada", "message_bounced", channel="email", hard=True, address="a@example.com")
    await unmerge(people, done.id)
    for customer in (ada, bob):
        found = await people.query("select state from consents where customer_id = :id and topic = 'offers'", id=customer)
        assert ["withdrawn"] == [r.state for r in found]
        assert 1 == len(await people.query("select 1 from suppressions where customer_id = :id", id=customer))
    assert [] == list(await people.query("select 1 from consents where customer_id = :id and topic = 'news'", id=bob))


async def test_what_was_cleared_while_they_were_one_is_taken_back_for_both(people: People) -> None:
    """What either had agreed to before is agreed to no more; what either had withdrawn stays withdrawn."""
    ada, bob = await two(people)
    await consent(people, "ada", "withdrawn", None)
    await consent(people, "bob", "granted", "news")
    await consent(people, "bob", "withdrawn", None, "sms")
    done = await merge(people, ada, bob)
    await consent(people, "ada", "cleared", None)
    await consent(people, "ada", "cleared", None, "sms")
    await consent(people, "ada", "granted", "offers")
    back = await unmerge(people, done.id)
    assert [("sms", None)] == back.withdrawn
    async with transaction(people.core.database) as c:
        told = [consent_fact(r) for r in await customers.consents(c, [bob])]
        moment = await now(c)
    assert [False, False] == [agreed(told, "email", topic, moment) for topic in ("news", "offers")]
    assert refusal(told, "sms", None, moment) is not None


async def test_an_address_that_one_must_not_get_stays_so(people: People) -> None:
    """Suppressed for one and lifted for the other is suppressed."""
    ada, bob = await two(people)
    for user in ("ada", "bob"):
        await people.track(user, "message_bounced", channel="email", hard=True, address="same@example.com")
    await people.query("update suppressions set lifted_at = now() where customer_id = :id returning address", id=ada)
    await merge(people, ada, bob)
    assert [(ada, None)] == [tuple(r) for r in await people.query("select customer_id, lifted_at from suppressions")]


@pytest.mark.parametrize("reasons", [("complaint", "stop"), ("stop", "complaint")])
async def test_a_complaint_stays_one_when_the_other_said_stop(people: People, reasons: tuple[str, str]) -> None:
    """Whoever of the two stays: no START lifts it."""
    both = await two(people)
    for customer, reason in zip(both, reasons, strict=True):
        statement = "insert into suppressions (customer_id, channel, address, reason, at) "
        await people.query(statement + "values (:id, 'sms', '+391', :why, now()) returning 1", id=customer, why=reason)
    await merge(people, *both)
    assert [(both[0], "complaint")] == [tuple(r) for r in await people.query("select customer_id, reason from suppressions")]


async def test_of_two_live_enrollments_of_a_journey_and_key_the_older_stays(people: People) -> None:
    """The other ends with the reason `merged`, and its cohort is told; other keys, and what may run side by side, go on."""
    ada, bob = await two(people)
    older = (await people.track("bob", "signed_up", order_id="A")).enrollments
    await people.track("ada", "signed_up", order_id="B")
    await people.track("ada", "pinged")
    await people.track("bob", "pinged")
    done = await merge(people, ada, bob)
    found = await people.query("select id, journey, key, status, reason, number from enrollments order by journey, key, number")
    assert [
        ("many", "", "live", 0),
        ("many", "", "live", 1),
        ("once", "", "ended", 0),
        ("once", "", "live", 0),
        ("order", "A", "live", 0),
        ("order", "B", "live", 0),
    ] == sorted((r.journey, r.key, r.status, r.number) for r in found)
    (ended,) = (r for r in found if r.status == "ended")
    assert ("merged", False) == (ended.reason, ended.id in older)
    assert [(ended.id, "once")] == done.ended
    told = await people.query("select kind, reason from inputs where enrollment_id = :id order by seq", id=ended.id)
    assert [("begin", ""), ("exit", "merged")] == [tuple(r) for r in told]
    assert () == (await people.track("bob", "signed_up")).enrollments


async def test_inputs_of_a_moved_enrollment_stay_in_their_lane(people: People) -> None:
    """Another lane has another owner among the relays, who could bring them before those that came earlier."""
    ada, bob = await two(people)
    (enrollment,) = [e for e in (await people.track("bob", "signed_up", order_id="A")).enrollments if e][-1:]
    done = await merge(people, ada, bob)
    await people.track("bob", "confirmed", order_id="A")
    await unmerge(people, done.id)
    await people.track("bob", "cancelled", order_id="A")
    lanes = await people.query("select distinct lane from inputs where enrollment_id = :id", id=enrollment)
    kinds = await people.query("select kind from inputs where enrollment_id = :id order by seq", id=enrollment)
    assert [bob % 64] == [r.lane for r in lanes]
    assert "begin" == kinds[0].kind
    assert len(kinds) > 1


async def test_a_slot_that_a_provider_put_off_is_asked_for_anew(people: People) -> None:
    """Both had room for one, and together they may have none. What may have arrived keeps its own."""
    ada, bob = await two(people)
    await people.track("bob", "signed_up", order_id="A")
    await people.query(LETTER, status="reserved", reason="provider", id=bob, journey="once")
    await people.query(LETTER, status="reserved", reason="unknown", id=bob, journey="order")
    await people.track("ada", "pinged")
    await people.query(LETTER, status="reserved", reason="provider", id=ada, journey="many")
    await merge(people, ada, bob)
    found = await people.query("select journey, status, slot_at is not null as slot from messages order by journey")
    assert [("many", "deferred", False), ("once", "deferred", False), ("order", "reserved", True)] == [tuple(r) for r in found]


async def test_an_exit_condition_that_the_merge_makes_true_ends_the_enrollment(people: People) -> None:
    """A changed attribute is looked at as if an identify had brought it."""
    ada, bob = await two(people)
    await people.track("ada", "confirmed")
    await people.identify("bob", country="US")
    await merge(people, ada, bob)
    (row,) = await people.query("select status, reason from enrollments where journey = 'italian'")
    assert "ended" == row.status


async def test_looking_changes_nothing(people: People) -> None:
    """A dry run tells what would happen, of both directions."""
    ada, bob = await two(people)
    await people.track("ada", "signed_up")
    await people.track("bob", "signed_up")
    before = await people.query("select id, customer_id, status, last_seq from enrollments order by id")
    looked = await merge(people, ada, bob, dry_run=True)
    assert ["once"] == [journey for _, journey in looked.ended]
    assert list(before) == list(await people.query("select id, customer_id, status, last_seq from enrollments order by id"))
    assert [] == await people.merges()
    done = await merge(people, ada, bob)
    await unmerge(people, done.id, dry_run=True)
    assert ada == await people.who("bob")


async def test_what_cannot_be_merged_is_said(people: People) -> None:
    """One customer, nobody, an erased one; and nothing has changed."""
    ada, bob = await two(people)
    for kept, gone, said in ((ada, ada, "one customer already"), (ada, 999, "no customer 999")):
        with pytest.raises(CantMerge, match=said):
            await merge(people, kept, gone)
    await people.query("update customers set erased_at = now() where id = :id returning id", id=bob)
    with pytest.raises(CantMerge, match="erased"):
        await merge(people, ada, bob)
    assert [] == await people.merges()


async def test_what_cannot_be_undone_is_said(people: People) -> None:
    """Nothing by that number, twice, before a later one, after thirty days, of somebody erased."""
    ada, bob = await two(people)
    eve = await people.identify("eve")
    first, second = await merge(people, ada, bob), await merge(people, ada, eve)
    for number, said in ((999, "no merge 999"), (first.id, f"another merge since then, {second.id}")):
        with pytest.raises(CantMerge, match=said):
            await unmerge(people, number)
    await unmerge(people, second.id)
    with pytest.raises(CantMerge, match="undone already"):
        await unmerge(people, second.id)
    await people.query("update merges set at = at - interval '31 days' returning id")
    with pytest.raises(CantMerge, match="30 days"):
        await unmerge(people, first.id)
    await people.query("update merges set at = at + interval '31 days' returning id")
    await people.query("update customers set erased_at = now() where id = :id returning id", id=ada)
    with pytest.raises(CantMerge, match="erased"):
        await unmerge(people, first.id)


async def test_who_was_merged_into_whom_is_followed_and_brought_back(people: People) -> None:
    """Of three who became one, in two steps, the last step is undone first; every name leads to whom it led before."""
    ada, bob = await two(people)
    eve = await people.identify("eve")
    first = await merge(people, bob, eve)
    second = await merge(people, ada, bob)
    assert [ada] * 3 == [await people.who(user) for user in ("ada", "bob", "eve")]
    into = {r.id: r.merged_into for r in await people.query("select id, merged_into from customers")}
    assert {ada: None, bob: ada, eve: ada} == into
    await unmerge(people, second.id)
    into = {r.id: r.merged_into for r in await people.query("select id, merged_into from customers")}
    assert {ada: None, bob: None, eve: bob} == into
    await unmerge(people, first.id)
    assert [ada, bob, eve] == [await people.who(user) for user in ("ada", "bob", "eve")]


async def test_a_rule_does_not_merge_again_what_an_operator_took_apart(tmp_path: Path, database_url: str) -> None:
    """The same address comes in again, and the two stay two; a command may still make them one."""
    async with opened(tmp_path, database_url, identity="{merge: [email]}") as people:
        ada = await people.identify("ada", email="us@example.com")
        bob = await people.identify("bob")
        await people.identify("bob", email="us@example.com")
        ((gone, kept, cause),) = await people.merges()
        assert (bob, ada, "email") == (gone, kept, cause)
        (row,) = await people.query("select id from merges")
        await unmerge(people, row.id)
        assert bob == await people.identify("bob", email="us@example.com")
        assert 1 == len(await people.merges())
        await merge(people, ada, bob)
        assert ada == await people.who("bob")


async def test_what_a_merge_ended_stands_again_as_it_stood(people: People) -> None:
    """Its status, its open tasks and its waiting messages; not where its customer has entered the same journey since."""
    ada, bob = await two(people)
    for user in ("bob", "ada"):
        await people.track(user, "signed_up", order_id="A")
    (row,) = await people.query("select id from enrollments where journey = 'order' and customer_id = :id", id=ada)
    await people.query(LETTER, status="deferred", reason="cap", id=ada, journey="order")
    await people.query(
        "insert into tasks (key, enrollment_id, customer_id, queue, title, created_at) values ('k', :e, :c, 'sales', 't', now()) "
        "returning id",
        e=row.id,
        c=ada,
    )
    done = await merge(people, ada, bob)
    assert ["once", "order"] == sorted(journey for _, journey in done.ended)
    await people.track("ada", "cancelled", order_id="A")
    back = await unmerge(people, done.id)
    assert ["once", "order"] == sorted(journey for _, journey in back.revived)
    found = await people.query("select status, reason from enrollments where id = :id", id=row.id)
    assert [("live", "")] == [tuple(r) for r in found]
    assert [("deferred", "cap")] == [tuple(r) for r in await people.query("select status, reason from messages")]
    assert ["open"] == [r.status for r in await people.query("select status from tasks")]
    for user in ("bob", "ada"):
        await people.track(user, "signed_up", order_id="B")
    again = await merge(people, ada, bob)
    await people.track("ada", "cancelled", order_id="B")
    await people.track("ada", "signed_up", order_id="B")
    assert ["once", "order"] == sorted(journey for _, journey in again.ended)
    assert ["once"] == [journey for _, journey in (await unmerge(people, again.id)).revived]
