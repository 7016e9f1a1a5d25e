"""A person is exported and erased while journeys run: all of it is told, and nothing of it is left, in PostgreSQL or Temporal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.core.incoming import Incoming
from engine.insight.export import export
from engine.intake import erasing
from engine.intake.commanded import CantMerge
from engine.store import customers, personal, quarantine
from engine.store.database import fetch, snapshot, transaction
from tests.harness import Running, running
from tests.people import named, opened
from tests.planted import ADDRESS, MARK, found, plant, project, said, temporal_texts, told

WITHOUT_TEXT = {"planned", "decisions", "memberships", "moved", "stage_history"}
"""Tables that hold nothing a customer said, which an erasure empties nevertheless."""


async def exported(run: Running, customer: int) -> dict[str, Any]:
    """As the command does."""
    async with snapshot(run.worker.core.database) as c:
        return await export(c, run.worker.core.deployments, customer, "cli/test")


async def test_everything_is_told_and_then_nothing_is_left(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Every text of the person that the catalogue leads to is in the export. After the erasure none is anywhere, their cohort has
    ended, what counts against caps is still there, and the merge can't be undone."""
    async with running(project(tmp_path), database_url, temporal_address, task_queue_prefix) as run:
        ada = await plant(run)
        database = run.worker.core.database
        before = await found(database)
        untouched = {table for table, held in personal.HELD.items() if not held.erased}
        assert set(personal.HELD) - untouched <= {name.partition(".")[0] for name in before} | WITHOUT_TEXT
        document = await exported(run, ada)
        for name in before:
            table = name.partition(".")[0]
            assert MARK in orjson.dumps(document[table]).decode().lower(), name
        assert {"format", "exported_at", "customer", "profile", *personal.HELD} == set(document)
        assert 2 == len(document["customers"])
        assert "facts" in document["decisions"][0]
        slots = "select count(*) as n from messages where slot_at is not null and customer_id = :ada"
        counted = (await run.query(slots, ada=ada))[0].n
        merge = document["merges"][0]["id"]
        looked = await erasing.erase(run.worker.core.intake, ada, "cli/test", dry_run=True)
        assert before == await found(database)
        done = await erasing.erase(run.worker.core.intake, ada, "cli/test")
        assert looked.to_json() == done.to_json()
        assert (ada, ["ordered"]) == (done.customer, [journey for _, journey in done.ended])
        assert {} == await found(database)
        assert {} == await found(database, "5551")
        assert (1, 1) == (counted, (await run.query(slots, ada=ada))[0].n)
        await run.relayed()
        await run.settled()
        assert {} == await found(database)
        texts = await temporal_texts(run)
        assert "ordered" in texts
        assert MARK not in texts
        with pytest.raises(CantMerge, match="erased"):
            await run.worker.core.intake.unmerge(merge, "cli/test")
        with pytest.raises(erasing.CantErase, match="erased already"):
            await erasing.erase(run.worker.core.intake, ada, "cli/test")
        noted = await run.query("select distinct act from audit where subject = :me order by 1", me=f"customer/{ada}")
        assert ["erase", "export"] == [r.act for r in noted]
        assert document["customers"][0]["erased_at"] is None
        after = await exported(run, ada)
        assert (None, [], 1) == (after["profile"], after["identifiers"], len(after["messages"]))


async def test_who_was_erased_stays_so_until_they_sign_up_themselves(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """An import, the same message once more, something that happened before, events that still come: none brings them back, and
    nothing of it is kept. Their own new sign-up does, as somebody new, and then events and an import are taken too."""
    async with running(project(tmp_path), database_url, temporal_address, task_queue_prefix) as run:
        ada = await plant(run)
        late = said("pinged", "late")
        late = Incoming("track", "web", late.message_id, "pinged", {}, identifiers=late.identifiers, occurred_at=await now(run))
        await erasing.erase(run.worker.core.intake, ada, "cli/test")
        kept_out = [
            imported("h1", f"u-{MARK}", first_name=f"Ada {MARK}"),
            imported("h2", "other", email=ADDRESS.lower()),
            Incoming("track", "journey", "j1", "pinged", {"text": MARK}, identifiers={"user_id": f"u-{MARK}"}, depth=1),
            said("signed_up", "s1", order_id=f"o-{MARK}"),
            late,
            said("pinged", "after"),
            Incoming("group", "web", "g1", traits={"group_id": MARK}, identifiers={"user_id": f"u-{MARK}"}),
        ]
        answers = await run.accept(kept_out)
        assert [(0, True)] * 7 == [(a.customer, a.erased) for a in answers]
        assert {} == await found(run.worker.core.database)
        assert not (await run.accept([imported("h3", "eve", country="IT")]))[0].erased
        back, event, again = await run.accept([told("new", first_name="Ada"), said("pinged", "then"), kept_out[0]])
        assert (False, False, False) == (back.erased, event.erased, again.erased)
        assert back.customer == event.customer == again.customer != ada
        assert (await run.query("select count(*) as n from erased where kind = 'user_id'"))[0].n == 0
        assert (await run.query("select count(*) as n from erased"))[0].n == 3  # the anonymous id and both addresses


def imported(message: str, user: str, **traits: Any) -> Incoming:
    """A row of an import."""
    return Incoming("identify", "crm", message, traits=traits, identifiers={"user_id": user}, history=True)


async def now(run: Running) -> Any:
    """Of the database."""
    return (await run.query("select sojourn_now() as now"))[0].now


async def test_what_comes_late_of_a_handover_leaves_nothing(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The provider answers, with the address in its words and as one not to be used, after the erasure: the message counts as
    sent, and no word of it stays."""
    from engine.delivery.channel import Outgoing, Receipt, Result

    async with running(project(tmp_path), database_url, temporal_address, task_queue_prefix) as run:
        with_provider, erased = asyncio.Event(), asyncio.Event()

        async def send(message: Outgoing) -> Receipt:
            with_provider.set()
            await erased.wait()
            return Receipt(Result.REFUSED, provider_id=MARK, words=f"no {message.to}", suppress="hard_bounce")

        run.email.send = send  # type: ignore[method-assign]
        ada = (await run.accept([told("i1", email=ADDRESS, first_name=f"Ada {MARK}")]))[0].customer
        await run.accept([said("signed_up", "s1", order_id=f"o-{MARK}")])
        await asyncio.wait_for(with_provider.wait(), 20)
        await erasing.erase(run.worker.core.intake, ada, "cli/test")
        erased.set()
        await run.relayed()
        await run.pause()
        assert {} == await found(run.worker.core.database)
        assert ["unknown"] == [m.status for m in await run.messages()]


@pytest.mark.parametrize(
    ("traits", "properties", "theirs"),
    [
        ({"phone": "-"}, {"number": "x-y", "text": "-"}, False),
        ({"phone": "0"}, {"number": "x", "text": "2026-01-02"}, False),
        ({"email": "ann@example.com"}, {"number": "x", "text": "joann@example.com"}, False),
        ({"email": "Ann@example.com"}, {"number": "x", "text": "from ann@Example.com."}, True),
        ({"phone": "+393123456789"}, {"number": "x", "text": "call +39 312 345-6789 soon"}, True),
        ({"phone": "+393123456789"}, {"number": "x", "text": "order 33931234567891"}, False),
    ],
)
async def test_only_calls_that_hold_a_whole_address_are_theirs(
    tmp_path: Path, database_url: str, traits: dict[str, Any], properties: dict[str, Any], theirs: bool
) -> None:
    """Another's call in the quarantine is neither told nor emptied because of what is no address, or a part of another one; a
    phone number counts in whatever notation, where it says its country."""
    async with opened(tmp_path, database_url) as at:
        ann = await at.identify("ann", **traits)
        assert (await at.accept(named("track", "zed", name="pinged", properties=properties)))[0].quarantined
        async with snapshot(at.core.database) as c:
            told = (await export(c, at.core.deployments, ann, "cli/test"))["quarantine"]
        await erasing.erase(at.core.intake, ann, "cli/test")
        left = [r.call is not None for r in await at.query("select call from quarantine")]
        assert ([theirs], [not theirs]) == ([bool(told)], left)


async def test_what_is_put_aside_while_somebody_is_erased_goes_too(tmp_path: Path, database_url: str) -> None:
    """The quarantine is looked through before anybody waits: a call that comes after that, one that is mended to name them, and
    one with an address that is theirs since then are found all the same."""

    def call(text: str) -> Incoming:
        return named("track", "zed", name="pinged", properties={"number": "x", "text": text})

    async with opened(tmp_path, database_url) as at:
        ann = await at.identify("ann", email="ann@example.com")
        await at.accept(call("nobody's"), call("about nobody"))
        asked = 0

        async def who(_: object) -> int:
            nonlocal asked
            asked += 1
            if asked == 2:  # the first transaction with locks begins
                await at.accept(call("new@example.com"))
                await at.identify("ann", email="new@example.com")
            if asked == 5:  # the second one does
                await at.accept(call("to ann@example.com"))
                async with transaction(at.core.database) as c:
                    assert await quarantine.mend(c, 2, '{"type": "track", "userId": "ann"}', None, "")
            return ann

        done = await erasing.erase(at.core.intake, who, "cli/test")
        assert (6, 3) == (asked, done.rows["quarantine"])
        assert [1] == [r.id for r in await at.query("select id from quarantine where call is not null")]


async def test_an_export_waits_for_nobody_and_holds_up_nobody(tmp_path: Path, database_url: str) -> None:
    """It is of one moment without the customer's lock: what is committed after it began isn't in it."""
    async with opened(tmp_path, database_url) as at:
        ann = await at.identify("ann", country="IT")
        async with transaction(at.core.database) as locked, snapshot(at.core.database) as c:
            await customers.lock(locked, [ann])
            await export(c, at.core.deployments, ann, "cli/test")
        async with snapshot(at.core.database) as c:
            assert await fetch(c, "select 1")
            await asyncio.wait_for(at.identify("ann", country="DE"), 20)
            document = await export(c, at.core.deployments, ann, "cli/test")
        assert ("IT", 1) == (document["customers"][0]["attributes"]["country"], len(document["events"]))


async def test_addresses_that_they_had_before_bring_them_back_no_more_than_todays(tmp_path: Path, database_url: str) -> None:
    """One that another took the place of, and one that lost in a merge: no import makes anybody of them, and calls in the
    quarantine that hold one go."""
    async with opened(tmp_path, database_url, identity="{identifiers: [email]}") as at:
        ann = await at.identify("ann", email="old@example.com")
        await at.identify("ann", email="new@example.com")
        other = await at.identify("", "browser", email="lost@example.com")
        await at.identify("ann", email="last@example.com")
        await at.core.intake.merge(ann, other, "cli/test")
        await at.accept(named("track", "zed", name="pinged", properties={"number": "x", "text": "old@example.com"}))
        await erasing.erase(at.core.intake, ann, "cli/test")
        assert [(None,)] == [tuple(r) for r in await at.query("select call from quarantine")]
        rows = [
            Incoming("identify", "import:x", where, traits={"email": where}, identifiers={"email": where}, history=True)
            for where in ("old@example.com", "lost@example.com", "last@example.com")
        ]
        assert [True] * 3 == [a.erased for a in await at.accept(*rows)]


async def test_a_repeat_from_before_concerns_nobody_who_came_back(tmp_path: Path, database_url: str) -> None:
    """The same message once more, after their own new sign-up: nothing of it is kept, and it enrolls nobody."""
    async with opened(tmp_path, database_url) as at:
        order = named("track", "eve", name="signed_up", properties={"order_id": "o1"})
        (first,) = await at.accept(order)
        await erasing.erase(at.core.intake, first.customer, "cli/test")
        assert first.customer != await at.identify("eve")
        (again,) = await at.accept(order)
        assert (True, ()) == (again.erased, again.enrollments)
        assert [{}] == [r[0] for r in await at.query("select properties from events where name = 'signed_up'")]
        assert (await at.track("eve", "signed_up", None, order_id="o2")).enrollments
