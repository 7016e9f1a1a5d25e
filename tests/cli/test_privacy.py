"""`export`, `erase`, `restrict`, `objection`, `retention`, `log` and `token`, in this process: each as `main` runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.cli import terminal
from tests.cli.commands import answer
from tests.people import People, opened

SETTINGS = (
    "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\ntokens: {ops: {token: '${OPS}', role: operator}}\n"
    "retention: {decisions: 30d, audit: 2 years}\n"
)
JOURNEY = "journey: welcome\ntier: lifecycle\nenter: {event: signed_up, again: never}\nsteps: [{wait: 30d, id: month}]\n"
FILES = {"sojourn.yaml": SETTINGS, "journeys/welcome.yaml": JOURNEY}


@pytest.fixture
async def people(tmp_path: Path, database_url: str) -> Any:
    """Ada, inside a journey."""
    async with opened(tmp_path, database_url, files=FILES) as found:
        await found.identify("ada", email="ada@example.com", first_name="Ada")
        await found.track("ada", "signed_up", None, plan="pro")
        yield found


async def test_somebody_is_exported_and_erased(people: People, run: Any, tmp_path: Path) -> None:
    """Printed or written, readable for its owner; looked at first, which changes nothing; then erased, by any name; then nobody
    is known by it. Each act is in the log, the look isn't."""
    document = answer(await run("export", "ADA@example.com"))
    assert ("pro", "Ada") == (document["events"][1]["properties"]["plan"], document["customers"][0]["attributes"]["first_name"])
    done = await run("export", "ada", "--out", str(tmp_path / "ada.json"))
    assert (0, 0o600) == (done.returncode, (tmp_path / "ada.json").stat().st_mode & 0o777)
    assert document["identifiers"] == json.loads((tmp_path / "ada.json").read_text())["identifiers"]
    again = await run("export", "ada", "--out", str(tmp_path / "ada.json"))
    assert (2, True) == (again.returncode, "ada.json is there already" in again.stderr)
    looked = await run("erase", "ada", "--dry-run")
    assert (0, True) == (looked.returncode, "in welcome" in looked.stdout)
    assert looked.stdout.startswith(f"would erase: customer {document['customer']} (ada)\n")
    assert ("nothing was changed" in looked.stdout, "example.com" in looked.stdout) == (True, False)
    assert 2 == (await run("erase", "ada")).returncode, "nobody is here to be asked"
    done = answer(await run("erase", "ada", "--yes", "--json"))
    assert (2, ["welcome"], False) == (done["marked"], [e["journey"] for e in done["ended"]], done["dry_run"])
    for command in ("erase", "export", "restrict"):
        gone = await run(command, "ada", *(["--yes"] if command == "erase" else []))
        assert (1, True) == (gone.returncode, "no customer is known as 'ada'" in gone.stderr)
    log = answer(await run("log", "--subject", "customer", "--json"))
    assert ["erase", "export", "export"] == [r["act"] for r in log]
    assert {f"customer/{done['customer']}"} == {r["subject"] for r in log}
    assert all(r["actor"].startswith("cli/") for r in log)


async def test_nobody_is_taken_for_somebody_who_shares_an_address(
    people: People, run: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two households' members with one address: neither is erased or exported by it, and each is by the user id; nor is who has
    it by the time somebody said yes."""
    await people.identify("bob", email="Ada@Example.com")
    for command in (("erase", "--yes"), ("export",), ("restrict",), ("objection",)):
        told = await run(command[0], "ada@example.com", *command[1:])
        assert (1, True) == (told.returncode, "may mean several customers" in told.stderr), command
        assert "user id" in told.stderr

    def moved(*_: object, **__: object) -> bool:
        with psycopg.connect(database_url, autocommit=True) as c:
            c.execute("update identifiers set customer_id = 3 - customer_id where kind = 'user_id'")
        return True

    with monkeypatch.context() as patched:
        patched.setattr(terminal, "asked", moved)
        told = await run("erase", "ada")
    assert (1, True) == (told.returncode, "another customer now, 2; nothing was erased" in told.stderr)
    assert not await people.query("select 1 from customers where erased_at is not null")
    moved()
    assert 0 == (await run("erase", "bob", "--yes")).returncode
    assert answer(await run("export", "ada@example.com"))["identifiers"]


async def test_somebody_is_restricted_and_objects(people: People, run: Any) -> None:
    """Said once; a second time changes nothing, and the exit code says so; `why` tells of it; lifted."""
    for command, field in (("restrict", "restricted"), ("objection", "objected")):
        done = answer(await run(command, "ada", "--json"))
        assert (True, [field]) == (done[field], done["changed"])
        again = await run(command, "ada")
        assert (1, True) == (again.returncode, again.stdout.startswith("customer 1 (ada): "))
        assert answer(await run("why", "ada", "--json"))[field]
        assert 0 == (await run(command, "ada", "--lift")).returncode
        assert 1 == (await run(command, "ada", "--lift")).returncode
    acts = [r["act"] for r in answer(await run("log", "--subject", "customer", "--json"))]
    assert ["lift objection", "object", "lift restriction", "restrict"] == acts


async def test_tokens_are_made_listed_and_revoked(people: People, run: Any, tmp_path: Path) -> None:
    """The secret is shown once; a name is used once; what sojourn.yaml has is listed, and can't be revoked here."""
    made = await run("token", "create", "dpo", "--role", "privacy")
    assert (0, True) == (made.returncode, made.stdout.startswith("sjt_"))
    assert 40 < len(made.stdout.strip())
    told = answer(await run("token", "list", "--json"))
    assert [("ops", "operator"), ("dpo", "privacy")] == [(t["name"], t["role"]) for t in told]
    assert made.stdout.strip() not in json.dumps(told)
    for arguments, code, said in (
        (("create", "dpo", "--role", "operator"), 1, "the name 'dpo' has been used"),
        (("create", "ops", "--role", "operator"), 2, "sojourn.yaml has a token 'ops'"),
        (("create", "x", "--role", "king"), 2, "there is no role 'king'"),
        (("create", "X Y", "--role", "privacy"), 2, "'X Y' can't be a token's name"),
        (("revoke", "ops"), 2, "'ops' stands in sojourn.yaml"),
        (("revoke", "nobody"), 1, "no token called 'nobody' lets anybody in"),
    ):
        done = await run("token", *arguments)
        assert (arguments, code, said) == (arguments, done.returncode, done.stderr.splitlines()[0])
    assert 0 == (await run("token", "revoke", "dpo")).returncode
    assert answer(await run("token", "list", "--json"))[1]["revoked_at"] is not None
    await run("token", "create", "late", "--role", "privacy")
    file = tmp_path / "sojourn.yaml"
    file.write_text(file.read_text().replace("tokens: {", "tokens: {late: {token: '${LATE}', role: operator}, "))
    assert "'late' stands in sojourn.yaml; the one that was made here is revoked" in (await run("token", "revoke", "late")).stderr
    assert [True] == [r[0] is not None for r in await people.query("select revoked_at from tokens where name = 'late'")]
    file.write_text(SETTINGS)
    acts = [(r["act"], r["subject"]) for r in answer(await run("log", "--subject", "token", "--json"))]
    assert [("revoke token", "token/late"), ("create token", "token/late")] == acts[:2]
    assert [("revoke token", "token/dpo"), ("create token", "token/dpo")] == acts[2:]


async def test_the_log_is_narrowed(people: People, run: Any) -> None:
    """By actor, act, subject, moment and number; as a table too."""
    await run("migrate")
    await run("restrict", "ada")
    assert ["restrict", "migrate", "deploy"] == [r["act"] for r in answer(await run("log", "--json"))]
    assert ["deploy"] == [r["act"] for r in answer(await run("log", "--actor", "test", "--json"))]
    assert ["migrate"] == [r["act"] for r in answer(await run("log", "--act", "migrate", "--json"))]
    assert ["restrict"] == [r["act"] for r in answer(await run("log", "--limit", "1", "--json"))]
    assert [] == answer(await run("log", "--since", "2999-01-01", "--json"))
    assert "schema/" in (await run("log")).stdout
    assert (2, True) == ((done := await run("log", "--since", "yesterday")).returncode, "--since" in done.stderr)


async def test_periods_are_shown(people: People, run: Any) -> None:
    """Each with what would go now, and when the next."""
    told = answer(await run("retention", "--json"))
    assert [("audit", "730d", 0), ("decisions", "30d", 0)] == [(t["kind"], t["kept"], t["rows"]) for t in told]
    assert [True, False] == [t["next_at"] is not None for t in told]
    assert "audit" in (await run("retention")).stdout
