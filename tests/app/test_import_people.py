"""What an import may not do to people: undo what they took back, or bring them back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from engine.core.incoming import Incoming
from engine.intake import erasing
from tests.app.files import PEOPLE, Office, counts


async def test_an_import_lifts_no_withdrawal(office: Office) -> None:
    """What somebody took back by themselves stays taken back, whatever a file says; what the same file says is a history."""
    taken_back = Incoming(
        "track",
        "website",
        "w1",
        "consent_changed",
        {"channel": "email", "topic": "news", "state": "withdrawn"},
        identifiers={"user_id": "ada"},
    )
    await office.accept(taken_back)
    done = await office.take(office.order("customers", "people.csv", PEOPLE))
    assert 1 == done.unheeded
    said = "select c.state from consents c join identifiers i on i.customer_id = c.customer_id and i.value = :user order by c.id"
    assert [("withdrawn",), ("pending",)] == await office.query(said, user="ada")
    history = (
        "user_id,event,timestamp,channel,topic,state\n"
        "zoe,consent_changed,2026-01-02,email,news,withdrawn\n"
        "zoe,consent_changed,2026-01-03,email,news,granted\n"
    )
    await office.take(office.order("events", "consents.csv", history))
    assert [("withdrawn",), ("granted",)] == await office.query(said, user="zoe")


async def test_saying_again_that_somebody_agreed_adds_nothing_and_that_they_took_it_back_does(office: Office) -> None:
    """A file that comes every day fills no table with the same consents."""
    await office.take(office.order("customers", "monday.csv", PEOPLE))
    await office.take(office.order("customers", "tuesday.csv", PEOPLE + "zoe,,,,,\n"))
    assert [("granted", 2), ("withdrawn", 2)] == await office.query("select state, count(*) from consents group by 1 order by 1")


async def test_an_old_row_takes_the_place_of_nothing_newer(office: Office) -> None:
    """Attribute by attribute, whatever the order of rows and files; without a moment the last file counts. A former address
    leads to nobody."""
    rows = [
        "user_id,first_name,email,orders,timestamp",
        "ada,Ada,ada@new.example,,2026-01-05",
        "ada,Adda,ada@old.example,3,2026-01-02",
    ]
    first = "\n".join(rows)
    await office.take(office.order("customers", "first.csv", first))
    who = "select c.attributes from customers c join identifiers i on i.customer_id = c.id where i.value = 'ada'"
    assert [({"first_name": "Ada", "email": "ada@new.example", "orders": 3},)] == await office.query(who)
    assert [("ada@new.example",)] == await office.query("select value from identifiers where kind = 'email'")
    live = [Incoming("identify", "app", "i1", traits={"first_name": "Augusta", "orders": None}, identifiers={"user_id": "ada"})]
    live.append(Incoming("group", "app", "g1", traits={"group_id": "acme", "group": {"size": 3}}, identifiers={"user_id": "ada"}))
    await office.core.intake.accept(live)
    await office.take(office.order("customers", "later.csv", "user_id,first_name,orders,timestamp\nada,Ada,7,2026-01-06\n"))
    past = Incoming("group", "crm", "g0", traits={"group_id": "old"}, identifiers={"user_id": "ada"}, history=True)
    await office.core.intake.accept([replace(past, occurred_at=datetime(2026, 1, 7, tzinfo=UTC))])
    now_is = {"first_name": "Augusta", "email": "ada@new.example", "group_id": "acme", "group": {"size": 3}}
    assert [(now_is,)] == await office.query(who)
    await office.take(office.order("customers", "last.csv", "user_id,first_name\nada,Ada L.\n"))
    assert [({**now_is, "first_name": "Ada L."},)] == await office.query(who)


async def test_rows_about_people_who_were_erased_are_not_bad(office: Office) -> None:
    """They are counted apart, and the file isn't read again because of them."""
    await office.take(office.order("customers", "people.csv", PEOPLE))
    who = (await office.query("select customer_id from identifiers where value = 'ada'"))[0][0]
    await erasing.erase(office.core.intake, who, "test")
    order = office.order("customers", "more.csv", PEOPLE.replace("Ada", "Augusta"))
    done = await office.take(order)
    assert (2, 0, 0, 1) == (*counts(done), done.erased)
    later = await office.take(order)
    assert (True, 1) == (later.before, later.erased)
