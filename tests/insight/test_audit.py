"""`why --at`, the change that would have been enough, and `sojourn audit`, on the real engine."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from engine.core.enrollment import Command
from engine.delivery.deliver import Delivery
from engine.insight.audit import KEPT, NO_FACTS, NO_POLICY, Difference, Differing, Tally, _gates, audit
from engine.insight.story import Message, Rule, Why
from engine.store.database import transaction
from engine.store.recorded import Chosen
from tests.api.conftest import OPERATOR, serving
from tests.asking import ask
from tests.cli.commands import answer, sojourn
from tests.harness import POLICY, Running, running, utc, write_project
from tests.letters import letter

JOURNEY = letter("hello", head="exit: [{event: cancelled}]", after="{send: email, id: more, template: again, topic: news}")
OTHER = letter("text", "promotional", event="pinged", channel="sms", topic="offers")
FILES = {
    "journeys/hello.yaml": JOURNEY,
    "journeys/text.yaml": OTHER,
    "journeys/policy.yaml": POLICY + "caps: [{name: daily, tiers: [lifecycle], limit: 1, per: day}]\n",
}


async def recheck(run: Running, chosen: Chosen | None = None, sample: int | None = None) -> Tally:
    """The whole audit."""
    whole = Tally()
    async for _, part in audit(run.worker.core.database, chosen or Chosen(), sample):
        whole.add(part)
    return whole


def messages(told: Why) -> dict[str, Message]:
    """Step → message."""
    return {m.message.step: m.message for p in told.passages for m in p.moments if m.message is not None}


async def one_waits_and_one_is_dropped(run: Running) -> int:
    """Ada gets `hello`, `more` waits for the cap, and she wants no texts, so `text` is dropped."""
    ada = await run.identify("ada", phone="+39333", timezone="Europe/Rome")
    await run.track("ada", "consent_changed", channel="sms", state="withdrawn")
    await run.track("ada", "signed_up")
    await run.message_is("deferred")
    await run.track("ada", "pinged", number=1)
    await run.message_is("dropped")
    return ada


async def test_the_audit_finds_what_was_tampered_with_and_nothing_else(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """All decisions come out again, also after another deployment; a changed row, changed facts, a changed policy, a lost one and
    a row from before facts were recorded are told apart. No address is in what was recorded."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada = await one_waits_and_one_is_dropped(run)
        write_project(tmp_path, {"journeys/policy.yaml": POLICY})
        await run.deploy()
        ben = await run.identify("ben")
        await run.track("ben", "signed_up")
        await run.message_is("sent", 3)
        rows = await run.query("select id, key, customer_id, policy, plan, consent_version, facts from decisions order by id")
        first, waits, dropped = rows[0], rows[1], rows[2]
        assert (5, 2) == (len(rows), len({r.policy for r in rows}))
        assert all(r.plan and r.policy and r.facts for r in rows)
        stated = (await run.query("select id from consents"))[0].id
        assert [stated] * 3 == [r.consent_version for r in rows if r.customer_id == ada]
        assert "example.com" not in json.dumps([r.facts for r in rows])
        assert "39333" not in json.dumps([r.facts for r in rows])

        assert Tally(5, 5) == await recheck(run)
        assert Tally(3, 3) == await recheck(run, Chosen(customer=ada))
        assert Tally(2, 2) == await recheck(run, Chosen(customer=ben))
        assert Tally(4, 4) == await recheck(run, Chosen(journey="hello"))
        assert Tally(0, 0) == await recheck(run, Chosen(customer=ben, journey="text"))
        assert Tally(2, 2) == await recheck(run, sample=2)
        since = (await run.query("select at from decisions where id = :id", id=dropped.id))[0].at
        assert Tally(3, 3) == await recheck(run, Chosen(since=since))

        await run.query("update decisions set decision = 'allow', until = null where id = :id returning id", id=waits.id)
        (found,) = (await recheck(run)).differences
        assert (waits.id, waits.key, ada, False) == (found.decision, found.key, found.customer, found.only_words)
        assert [("decision", "allow", "defer")] == [(d.field, d.recorded, d.again) for d in found.differing if d.field != "until"]
        assert {"decision", "until"} == {d.field for d in found.differing}

        less = "update decisions set facts = cast(facts as jsonb) - 'consents' where id = :id returning id"
        await run.query(less, id=dropped.id)
        await run.query(
            "update decisions set gates = jsonb_set(gates, '{0,3}', '\"Alive.\"') where id = :id returning id", id=first.id
        )
        tally = await recheck(run)
        by_id = {d.decision: d for d in tally.differences}
        assert {first.id, waits.id, dropped.id} == set(by_id)
        assert [("live detail", "Alive.", "The enrollment is live.")] == [
            (d.field, d.recorded, d.again) for d in by_id[first.id].differing
        ]
        assert (True, False) == (by_id[first.id].only_words, by_id[dropped.id].only_words)
        assert {"consent_version", "consent rule"} <= {d.field for d in by_id[dropped.id].differing}

        await run.query("update decisions set facts = '{}' where id = :id returning id", id=first.id)
        assert [("facts", "unreadable")] == [(d.field, d.recorded) for d in (await recheck(run)).differences[0].differing]
        await run.query("update decisions set facts = null where id = :id returning id", id=first.id)
        await run.query("delete from documents where hash = :hash returning hash", hash=rows[-1].policy)
        tally = await recheck(run)
        assert {NO_FACTS: 1, NO_POLICY: 2} == tally.unchecked
        assert (5, 0, 2) == (tally.looked_at, tally.same, len(tally.differences))

        await run.query("update decisions set facts = null returning id")
        assert Tally(5, 0, [], Counter({NO_FACTS: 5})) == await recheck(run)


async def test_a_policy_that_was_changed_is_told(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Its content no longer has the hash that decisions name: none of them can be made again."""
    async with running(write_project(tmp_path, FILES), database_url, temporal_address, task_queue_prefix) as run:
        await one_waits_and_one_is_dropped(run)
        await run.query("update documents set body = jsonb_set(body, '{caps,0,limit}', '2') where kind = 'policy' returning hash")
        tally = await recheck(run)
        assert (0, 3) == (tally.same, len(tally.differences))
        assert {"policy"} == {d.field for found in tally.differences for d in found.differing}


async def test_why_names_what_would_have_been_enough_and_tells_of_any_moment(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The cap of the one that waits, the consent of the one that was dropped; at the moment between the two nothing of the later
    one is told. The command, the API and its JSON say the same."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada = await one_waits_and_one_is_dropped(run)
        told = messages(await ask(run, ada))
        changes = {step: m.decisions[-1].change for step, m in told.items()}
        assert changes["hello"] is None
        assert changes["more"] is not None
        assert changes["text"] is not None
        assert ((Rule("cap", "daily"),), (), "It would have passed without the cap daily.") == (
            changes["more"].alone,
            changes["more"].together,
            changes["more"].text,
        )
        assert (Rule("consent", "withdrawn"),) == changes["text"].alone
        assert told["more"].decisions[-1].earliest == told["more"].until

        await run.pause()
        between = told["more"].decisions[-1].at
        assert between < told["text"].decisions[-1].at
        then = await ask(run, ada, at=between)
        assert ({"hello", "more"}, True, between) == (set(messages(then)), then.past, then.at)
        assert {"hello"} == {p.journey for p in then.passages}
        assert "later" in {a.reason for a in then.absences if a.journey == "text"}
        before = (await run.query("select min(entered_at) as at from enrollments"))[0].at
        assert () == (await ask(run, ada, at=before.replace(microsecond=0))).passages

        async with serving(database_url, temporal_address, None) as api:
            params = {"at": between.isoformat(), "journey": "hello"}
            async with httpx.AsyncClient(base_url=api.http.base_url, headers=OPERATOR, timeout=60) as http:
                by_api = await http.get("/v1/customers/ada/why", params=params)
                for wrong in ("yesterday", "2999-01-01T00:00Z"):
                    refused = await http.get("/v1/customers/ada/why", params={"at": wrong})
                    assert (400, "bad_timestamp") == (refused.status_code, refused.json()["error"]["code"])
            environment = {"SOJOURN_DATABASE_URL": database_url}
            command = ("why", "ada", "--journey", "hello", "--at", between.isoformat(), "--project", folder)
            by_command = sojourn(*command, "--json", **environment)
            assert by_api.status_code == 200
            plain = json.loads(by_api.text.replace("+00:00", "Z"))
            assert plain == json.loads(by_command.stdout.replace("+00:00", "Z"))
            assert plain["past"] is True
            changed = [
                d["change"] for p in plain["passages"] for m in p["moments"] if m["message"] for d in m["message"]["decisions"]
            ]
            assert {"alone": [{"gate": "cap", "rule": "daily"}], "together": [], "text": changed[-1]["text"]} == changed[-1]
            screen = sojourn(*command, **environment).stdout
            assert "this is how it stood on" in screen
            assert "It would have passed without the cap daily." in " ".join(screen.split())
            wrong = sojourn("why", "ada", "--at", "yesterday", "--project", folder, **environment)
            assert (2, True) == (wrong.returncode, "--at: 'yesterday' is not an ISO 8601 moment" in wrong.stderr)


async def test_the_command_audits_and_its_exit_code_says_whether_all_agree(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Zero, and a table; one, and every difference, after a row was changed."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        await one_waits_and_one_is_dropped(run)
        await run.pause()
        environment = {"SOJOURN_DATABASE_URL": database_url}

        def command(*more: str) -> Any:
            return sojourn("audit", "--project", folder, *more, **environment)

        fine = command("--customer", "ada", "--since", "2020-01-01", "--sample", "3")
        assert (0, ["checked", "3"]) == (fine.returncode, fine.stdout.splitlines()[1].split())
        expected = {"checked": 3, "same": 3, "different": 0, "only_words": 0, "not_checkable": {}, "differences": []}
        assert expected == answer(command("--json"))
        nowhere = command("--journey", "helo")
        assert (1, "") == (nowhere.returncode, nowhere.stdout)
        assert "no journey called 'helo' was ever deployed" in nowhere.stderr
        assert "hello" in nowhere.stderr
        await run.query("update decisions set rule = 'weekly' where rule = 'daily' returning id")
        changed = command("--json")
        (found,) = answer(changed)["differences"]
        assert (1, [{"field": "rule", "recorded": "weekly", "again": "daily"}]) == (changed.returncode, found["differing"])
        shown = command()
        assert (1, True) == (shown.returncode, "rule" in shown.stdout.splitlines()[-1])
        assert (2, 1) == (command("--since", "soon").returncode, command("--customer", "nobody").returncode)


async def test_a_message_that_is_found_after_a_crash_keeps_what_it_was_decided_by(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """It was handed over, and the process died: its row goes on naming the policy and the consent of its decision, whatever has
    been deployed and said since."""
    async with running(write_project(tmp_path, FILES), database_url, temporal_address, task_queue_prefix) as run:
        ada = await run.identify("ada")
        await run.track("ada", "consent_changed", channel="email", state="granted")
        await run.track("ada", "signed_up")
        await run.message_is("sent")
        await run.message_is("deferred")
        await run.pause()
        (before,) = await run.query("select * from messages where step = 'hello'")
        await run.query(
            "update messages set status = 'handed_over', sent_at = null, lease_until = clock_timestamp() - interval '1 minute' "
            "where key = :key returning key",
            key=before.key,
        )
        await run.track("ada", "consent_changed", channel="email", state="withdrawn")
        write_project(tmp_path, {"journeys/policy.yaml": POLICY})
        await run.deploy()
        core = run.worker.core
        run.email.capabilities = replace(run.email.capabilities, on_unknown="assume_sent")
        delivery = Delivery(core.database, core.deployments, {"email": run.email}, {}, core.links, core.clock, core.intake)
        async with transaction(core.database) as c:
            plan = await core.deployments.plan(c, before.plan)
        command = Command("deliver", 0, 0, 0, before.planned_at, channel="email")
        await delivery.deliver("email", plan, [(before.enrollment_id, command)])
        (after,) = await run.query("select * from messages where step = 'hello'")
        assert ("unknown", 1) == (after.status, len(run.email.to(ada)))
        assert (before.policy, before.consent_version) == (after.policy, after.consent_version)
        assert before.consent_version > 0


def test_gates_that_were_appended_to_are_a_difference_and_no_error() -> None:
    """Whatever stands there in place of a list of answers."""
    gates = [["live", "pass", "", "", None]]
    for tampered in ([*gates, None], [*gates, gates[0]], None, "x", [None]):
        assert ["gates"] == [d.field for d in _gates(tampered, gates)]
    assert [] == _gates(gates, gates)


def test_all_differences_are_counted_and_the_first_are_kept() -> None:
    """However many decisions a new version words differently, the audit's memory stays the same."""
    found = [Difference(n, "k", 1, utc("2026-03-02 10:00"), "p", (Differing("detail", "a", "b"),)) for n in range(KEPT + 5)]
    whole = Tally()
    for half in (found[: KEPT - 1], found[KEPT - 1 :]):
        part = Tally(looked_at=len(half))
        for each in half:
            part.differs(each)
        whole.add(part)
    assert (found[:KEPT], KEPT + 5, KEPT + 5) == (whole.differences, whole.different, whole.only_words)
    assert (KEPT + 5, KEPT) == (whole.to_json()["checked"], len(whole.to_json()["differences"]))
