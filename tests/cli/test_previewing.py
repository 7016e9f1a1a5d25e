"""`preview` and `send-test`, each as `main` runs it, over a real database and a real channel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import answer
from tests.people import JOURNEYS, People, opened

SETTINGS = (
    "channels:\n  email: {use: channels.file, folder: '${FOLDER}', address: ''}\n  sms: {use: channels.noop, price: 0.05 EUR}\n"
    "  push: {use: channels.smtp, host: 127.0.0.1, port: 1, timeout: 2, tls: none}\n"
)
JOURNEY = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - {wait: 30d, id: month}
  - send: email
    template: offer
    topic: news
    with: {percent: "{{ 5 + 5 }}"}
"""
OFFER = """---
subject: "{{ percent }}% for {{ customer.first_name | default('you') }}"
preheader: Plan {{ entry.plan }}
---
<style>p { color: red }</style>
<p>HELLO {{ customer.sign_ups }} {{ 1234.5 | money("EUR") }} {{ unsubscribe_url }} {{ postal_address }}</p>
"""
FILES = {
    "sojourn.yaml": SETTINGS,
    "journeys/tracking.yaml": JOURNEYS["journeys/tracking.yaml"],
    "journeys/welcome.yaml": JOURNEY,
    "templates/email/offer.html": OFFER.replace("HELLO", "Hello"),
    "templates/email/offer.it.html": OFFER.replace("HELLO", "Ciao"),
    "templates/sms/short.txt": "Grüße {{ customer.first_name }} – {{ percent }}",
    "templates/push/note.txt": "---\ntitle: x\n---\nx",
}


@pytest.fixture
async def people(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ada, inside the journey that sends the offer."""
    monkeypatch.setenv("FOLDER", str(tmp_path / "sent"))
    async with opened(tmp_path, database_url, files=FILES) as found:
        await found.identify("ada", email="ada@example.com", first_name="Ada", locale="it-IT")
        await found.track("ada", "signed_up", None, plan="pro")
        yield found


async def test_a_message_is_looked_at(people: People, run: Any, tmp_path: Path) -> None:
    """For a customer with what the store knows of them, for nobody, for whom a file says; into a file; nothing is changed."""
    told = answer(await run("preview", "offer", "--customer", "ada@example.com", "--json"))
    assert ("it", "welcome", {"subject": "10% for Ada", "preheader": "Plan pro"}) == (
        told["locale"],
        told["journey"],
        told["fields"],
    )
    assert "Ciao 1 1.234,50 € http://127.0.0.1:8700/u/this-is-a-test 1 Main St" == told["text"]
    assert ('style="color: red;"' in told["html"], len(told["html"].encode())) == (True, told["html_bytes"])
    (tmp_path / "with.json").write_text('{"customer": {"first_name": "Bob"}, "entry": {"plan": "free"}, "percent": 3}')
    done = await run("preview", "offer", "--with", str(tmp_path / "with.json"), "--out", str(tmp_path / "offer.html"))
    assert [] == [part for part in ("3% for Bob", "Plan free", "KB of HTML", "Hello", "offer.html") if part not in done.stdout]
    assert "Hello" in (tmp_path / "offer.html").read_text()
    both = answer(
        await run("preview", "offer", "--customer", "ada", "--with", str(tmp_path / "with.json"), "--locale", "de", "--json")
    )
    assert ("", {"subject": "3% for Bob", "preheader": "Plan free"}) == (both["locale"], both["fields"])
    text = await run("preview", "short", "--channel", "sms", "--customer", "ada", "--out", str(tmp_path / "short.txt"))
    assert ("1 of UCS-2, 12 characters long, 0.05 EUR; not in GSM-7: –" in text.stdout, "Grüße Ada – ") == (
        True,
        (tmp_path / "short.txt").read_text(),
    )
    assert 0 == (await run("preview", "short", "--channel", "sms", "--out", str(tmp_path / "all.json"))).returncode
    assert {"encoding", "segments", "units", "odd", "cost"} == set(json.loads((tmp_path / "all.json").read_text())["segments"])
    assert [] == await people.query("select 1 from messages")
    assert ["deploy"] == [r["act"] for r in answer(await run("log", "--json"))]


async def test_what_cannot_be_previewed_says_why(people: People, run: Any, tmp_path: Path) -> None:
    """An unknown template, customer, channel; a file that isn't what it should be; a message that fails."""
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text('{"customer": []}')
    (tmp_path / "templates/sms/bomb.txt").write_text("{{ 2 ** 9999 }}")
    for arguments, code, said in (
        (("offr",), 2, "there is no template 'offr' of email"),
        (("offr",), 2, "did you mean 'offer'?"),
        (("short",), 2, "it is one of: sms; say --channel"),
        (("offer", "--customer", "nobody"), 1, "no customer is known as 'nobody'"),
        (("offer", "--with", str(tmp_path / "bad.json")), 2, "holds no JSON"),
        (("offer", "--with", str(tmp_path / "none.json")), 2, "can't be read"),
        (("offer", "--with", str(tmp_path / "list.json")), 2, "must hold an object"),
        (("bomb", "--channel", "sms"), 1, "too large"),
        (("short", "--channel", "sms", "--out", str(tmp_path / "short.html")), 2, "has no HTML to write"),
        (("offer", "--out", str(tmp_path / "no" / "a.html")), 2, "can't be written"),
    ):
        done = await run("preview", *arguments)
        assert (arguments, code, True) == (arguments, done.returncode, said in done.stderr), done.stderr


async def test_a_message_that_fails_is_told_what_to_mend(people: People, run: Any, tmp_path: Path) -> None:
    """What compiles fails by its values, whether a journey sends it or not; what doesn't is told with its place."""
    offer = tmp_path / "templates/email/offer.html"
    written = offer.read_text()
    (tmp_path / "templates/email/offer.it.html").unlink()
    broken = tmp_path / "templates/sms/broken.txt"
    broken.write_text("{{ 9 ** 9999 }}")
    for arguments, number, mend in (
        (
            ("offer", "--customer", "ada"),
            "((customer.sign_ups + 9) ** 9999)",
            "it compiles, and fails with this customer's values",
        ),
        (("offer",), "(9 ** 9999)", "it compiles, and fails with the values that nobody has"),
        (("broken", "--channel", "sms"), "1", "it compiles, and fails with the values that nobody has"),
    ):
        offer.write_text(written.replace("1234.5", number))
        done = await run("preview", *arguments)
        assert (1, True) == (done.returncode, mend in done.stderr), done.stderr
    assert 0 == (await run("validate")).returncode
    broken.write_text("{{ x")
    for command in (("preview", "broken", "--channel", "sms"), ("validate",)):
        done = await run(*command)
        assert (1, True) == (done.returncode, "templates/sms/broken.txt:1:4: error SJ120" in done.stderr + done.stdout)


async def test_a_message_is_tried_out(people: People, run: Any, tmp_path: Path) -> None:
    """Through the real channel, marked as a test, in the log without the address, and nowhere else; a failure says so."""
    done = await run("send-test", "offer", "--to", "me@example.com", "--customer", "ada")
    assert (0, True) == (done.returncode, done.stdout.startswith("accepted"))
    (file,) = (tmp_path / "sent").iterdir()
    sent = json.loads(file.read_text())
    assert (True, "me@example.com", "10% for Ada") == (sent["test"], sent["to"], sent["fields"]["subject"])
    assert (True, "welcome", "Test Co <care@test.example>") == (
        "/u/this-is-a-test" in sent["unsubscribe_url"],
        sent["journey"],
        sent["sender"]["from"],
    )
    (logged,) = answer(await run("log", "--act", "send test", "--json"))
    assert ("template/email/offer", "it") == (logged["subject"], logged["detail"]["locale"])
    assert "example.com" not in json.dumps(logged)
    assert [] == await people.query("select 1 from messages")
    failed = await run("send-test", "note", "--channel", "push", "--to", "me@example.com")
    assert (1, True) == (failed.returncode, "sender" in failed.stderr)
    assert 2 == (await run("send-test", "offer")).returncode
