"""A journey that waits for what becomes of its message, as the provider tells it through the real API; and what `why` shows."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engine.delivery import following
from engine.delivery.channel import Receipt, Result
from tests.api.carrier import Carrier, notify
from tests.api.conftest import serving
from tests.api.test_following import PERSON
from tests.asking import ask, drawn
from tests.harness import HELLO, POLICY, running, write_project

JOURNEY = """
journey: offer
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: first
    template: hello
    topic: news
  - wait_for:
      - {event: message_delivered, where: event.step == "first"}
      - {event: message_bounced, then: [{exit: bounced}]}
    id: delivery
    timeout: 1d
  - wait_for:
      - event: message_clicked
        where: event.step == "first"
        then:
          - branch:
              - if: event.url == "https://shop.example/sale"
                then:
                  - send: email
                    id: second
                    template: again
                    topic: news
    id: click
    timeout: 3d
"""


async def test_a_journey_waits_for_delivery_and_click_and_branches_on_the_link(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The notices name the provider's own id. Ada clicks and gets the second message; Bob's mail bounces, he leaves, and his
    address is used no more. `why` tells what became of each message in the provider's words."""
    folder = write_project(tmp_path, {"journeys/offer.yaml": JOURNEY})
    carrier = Carrier("email", "email")
    async with (
        running(folder, database_url, temporal_address, task_queue_prefix) as sojourn,
        serving(database_url, temporal_address, None, channels={"email": carrier}) as api,
    ):
        sojourn.email.answer = lambda m: Receipt(Result.ACCEPTED, provider_id=f"<{m.key}@carrier>")
        base = api.reach.links.base
        ada, bob = await sojourn.identify("ada"), await sojourn.identify("bob")
        await sojourn.accept([sojourn.event(u, "signed_up") for u in ("ada", "bob")])
        await sojourn.message_is("sent", 2)
        ids = {m.customer: f"<{m.key}@carrier>" for m in sojourn.email.seen}
        to_ada, to_bob = ids[str(ada)], ids[str(bob)]
        clicked = {"kind": "clicked", "provider_id": to_ada, "url": "https://shop.example/sale"}
        told = [
            {**clicked, "id": "0", "machine": True, "at": "2026-03-02T10:00:00+00:00"},
            {"kind": "delivered", "provider_id": to_ada, "words": "250 OK 7f3", "id": "1"},
            {**clicked, "id": "2"},
            {"kind": "bounced", "provider_id": to_bob, "words": "550 5.1.1 unknown", "suppress": "hard_bounce", "id": "3"},
        ]
        for _ in range(2):
            assert 200 == (await notify(api.http, base, *told)).status_code
        await sojourn.message_is("sent", 3)
        await sojourn.settled()
        assert ["first", "second"] == [m.step for m in sojourn.email.to(ada)]
        assert {("offer", "ended", "completed"), ("offer", "ended", "bounced")} == set(await sojourn.ends())
        assert [bob] == [r.customer_id for r in await sojourn.query("select customer_id from suppressions")]
        first = next(m.message for m in (await ask(sojourn, ada)).passages[0].moments if m.message is not None)
        assert ["message_clicked", "message_delivered", "message_clicked"] == [b.event for b in first.became]
        screen = drawn(await ask(sojourn, ada), 120)
        assert "delivered: 250 OK 7f3" in screen
        assert "clicked by a machine https://shop.example/sale" in screen
        assert "bounced: 550 5.1.1 unknown" in drawn(await ask(sojourn, bob), 120)


SALE = """
journey: sale
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: sms
    id: text
    template: many
    topic: offers
  - send: email
    id: letter
    template: hello
    topic: offers
  - send: email
    id: untouched
    template: hello
    topic: offers
    tracking: false
  - wait_for: [{event: message_clicked, where: event.step == "text"}]
    id: first
    timeout: 3d
  - wait_for: [{event: message_clicked, where: event.step == "letter", then: [{exit: convinced}]}]
    id: second
    timeout: 3d
"""
FOLLOWED = POLICY + "tracking:\n  sms: {clicks: true}\n  email: {clicks: true, opens: true, utm: {utm_campaign: '{journey}'}}\n"
PLACES = 12


async def test_links_of_texts_and_letters_lead_on_and_journeys_wait_for_them(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short codes begin with one character here: however many collide, each link of each message has one of its own. A letter's
    links are signed and carry the campaign; `tracking: false` leaves a message as it is written."""
    monkeypatch.setattr(following, "SHORTEST", 1)
    many = " ".join(f"https://8.8.8.8/{i}/{{{{ customer.first_name }}}}" for i in range(PLACES))
    letter = HELLO.replace("Hi", '<p>Hi <a href="https://8.8.4.4/sale?a=1">Sale</a></p>')
    files = {"journeys/sale.yaml": SALE, "journeys/policy.yaml": FOLLOWED}
    files |= {"templates/sms/many.txt": many, "templates/email/hello.html": letter}
    folder = write_project(tmp_path, files)
    (folder / "templates" / "email" / "hello.txt").unlink()
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        users = {u: await sojourn.identify(u, phone=f"+39065551000{n}") for n, u in enumerate(("ada", "bob", "cyd", "dan"))}
        await sojourn.accept([sojourn.event(u, "signed_up") for u in users])
        await sojourn.message_is("sent", 12)
        stored = {r.code: r.url for r in await sojourn.query("select code, url from short_links")}
        async with serving(database_url, temporal_address, None) as api:
            api.http.headers.update(PERSON)
            for user, customer in users.items():
                (text,) = sojourn.sms.to(customer)
                codes = re.findall(r"/l/(\w+)", text.content.text or "")
                assert [f"https://8.8.8.8/{i}/{user.title()}" for i in range(PLACES)] == [stored[code] for code in codes]
                first, plain = sojourn.email.to(customer)
                assert 'href="https://8.8.4.4/sale?a=1"' in (plain.content.html or "")
                assert "/o/" not in (plain.content.html or "")
                (link,) = re.findall(r'href="([^"]*/r/[^"]*)"', first.content.html or "")
                (pixel,) = re.findall(r'src="([^"]*/o/[^"]*)"', first.content.html or "")
                assert 200 == (await api.http.get(urlsplit(pixel).path)).status_code
                answer = await api.http.get(f"/l/{codes[3]}")
                assert f"https://8.8.8.8/3/{user.title()}" == answer.headers["location"]
                answer = await api.http.get(urlsplit(link).path)
                assert "https://8.8.4.4/sale?a=1&utm_campaign=sale" == answer.headers["location"]
        await sojourn.settled()
        assert {("sale", "ended", "convinced")} == set(await sojourn.ends())
        opened = await sojourn.query("select properties ->> 'step' as step from events where name = 'message_opened'")
        assert ["letter"] * 4 == [r.step for r in opened]
        assert max(map(len, stored)) > 1, "some did collide"
