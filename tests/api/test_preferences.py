"""`/p/TOKEN`: the page on which customers choose what to get."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from engine.api.preference_words import LANGUAGES, words_for
from engine.authoring.project import AuthoringError, load_project
from engine.delivery.links import Links
from engine.store import planned
from engine.store.database import transaction
from tests.api.conftest import Api, serving
from tests.api.test_unsubscribe import Page, stranger
from tests.harness import POLICY, TRACKING, write_project
from tests.servers import Servers, fresh_database

CAPS = """
caps:
  - {name: weekly, tiers: [lifecycle], limit: 3, per: week, own_limit: customer.a_week}
  - {name: texts, channel: sms, limit: 2, per: 30d}
"""
FILES = {
    "journeys/policy.yaml": POLICY.replace("sms: {default: granted}", "sms: {default: none, double_opt_in: true}") + CAPS,
    "journeys/tracking.yaml": TRACKING.replace("attributes: {", "attributes: {a_week: integer, locale: string, "),
}
OWN = """<!doctype html><html lang="{{ language }}"><head><title>Acme</title><style>p { color: teal }</style></head><body>
<p>Ciao {{ locale }} {{ customer | default("nobody") }}</p>
<form method="post"><input type="hidden" name="seen" value="{{ seen }}">
{% for channel in channels %}{% for choice in channel.choices %}
<label><input type="checkbox" name="on" value="{{ choice.value }}"{% if choice.on %} checked{% endif %}>{{ choice.label }}</label>
{% endfor %}{% endfor %}<button name="act" value="save">ok</button></form></body></html>
"""


@pytest_asyncio.fixture(scope="module")
async def api(servers: Servers, temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The API of a project with two channels and two topics. All tests share it, each with people of its own."""
    project = write_project(tmp_path_factory.mktemp("project"), FILES)
    with fresh_database() as url:
        async with serving(url, temporal_address, project) as found:
            async with transaction(found.core.database) as c:
                await planned.know_channels(c, {"email": "email", "sms": "phone"})  # as a worker does when it starts
            yield found


async def known(api: Api, user: str, **traits: Any) -> int:
    """Make somebody known; their number."""
    given = {"email": f"{user}@example.com", "timezone": "Europe/Rome", **traits}
    assert (await api.http.post("/v1/identify", json={"userId": user, "traits": given})).status_code == 200
    [row] = await api.query("select customer_id from identifiers where value = :user", user=user)
    return int(row.customer_id)


def link(api: Api, customer: int, channel: str = "email", address: str = "") -> str:
    """The path of a customer's link."""
    return urlsplit(api.core.links.preferences(customer, channel, address)).path


def filled_in(html: str) -> dict[str, Any]:
    """The form as a browser would send it, nothing touched."""
    fields = Page.of(html).fields
    boxes = [f["value"] for f in fields if f.get("type") == "checkbox" and "checked" in f]
    seen = next(f["value"] for f in fields if f.get("name") == "seen")
    until = next((f["value"] for f in fields if f.get("name") == "until"), "")
    chosen = re.findall(r'<select id="cap-(\w+)".*?</select>', html, re.DOTALL)
    caps = {f"cap.{name}": _selected(html, name) for name in chosen}
    return {"seen": seen, "on": boxes, "until": until, **caps, "act": "save"}


def _selected(html: str, name: str) -> str:
    select = re.search(rf'<select id="cap-{name}".*?</select>', html, re.DOTALL)
    assert select is not None
    found = re.search(r'<option value="([^"]*)" selected', select[0])
    return found[1] if found else ""


async def said(api: Api, customer: int) -> list[tuple[Any, ...]]:
    """Every statement of a customer: channel, topic, state, whether it ends, source."""
    statement = (
        "select channel, topic, state, until is not null as ends, source from consents where customer_id = :id order by id"
    )
    rows = await api.query(statement, id=customer)
    return [tuple(r) for r in rows]


async def test_a_page_shows_what_is_agreed_to_and_saves_what_was_changed(api: Api) -> None:
    """Nobody logs in; a GET or HEAD changes nothing; saving as it was says nothing; each change is said once, with how and to
    which wording, however often the form comes; and what was changed elsewhere meanwhile stays."""
    ada = await known(api, "ada", phone="+390000")
    path = link(api, ada)
    async with stranger(api) as http:
        shown = await http.get(path)
        assert (200, 200) == (shown.status_code, (await http.head(path)).status_code)
        form = filled_in(shown.text)
        assert ["email/news", "email/offers"] == form["on"]
        page = Page.of(shown.text)
        assert ([{"method": "post"}], "en", 1, []) == (page.forms, page.language, page.headings, page.outside)
        for secret in ("ada@", "+39", "Rome"):
            assert secret not in shown.text
        assert "set-cookie" not in shown.headers
        assert "no-store" == shown.headers["cache-control"]
        assert "default-src 'none'; style-src 'sha256-" in shown.headers["content-security-policy"]
        assert (await http.post(path, data=form)).status_code == 200
        assert [] == await said(api, ada)
        told = {"channel": "email", "topic": "offers", "state": "withdrawn"}
        await api.http.post("/v1/track", json={"userId": "ada", "event": "consent_changed", "properties": told})
        form["on"] = ["email/offers"]  # news is unticked; that offers were withdrawn elsewhere the page doesn't know
        answers = await asyncio.gather(*(http.post(path, data=form) for _ in range(4)))
        assert {200} == {a.status_code for a in answers}
        assert "Saved" in answers[0].text
        assert "Saved" in (await http.post(path, data=form)).text
    assert [
        ("email", "offers", "withdrawn", False, "website"),
        ("email", "news", "withdrawn", False, "preferences page"),
    ] == await said(api, ada)
    [row] = await api.query("select wording from consents where source = 'preferences page' and customer_id = :id", id=ada)
    assert re.fullmatch(r"preferences/en/[0-9a-f]{16}", row.wording)


async def test_a_link_proves_the_address_it_went_to_and_no_other(api: Api) -> None:
    """Agreeing on the channel of the link needs no second confirmation while the address is the customer's; on others, policy's
    double opt-in holds."""
    ada = await known(api, "bob", phone="+390001")
    paths = {
        "their phone": (link(api, ada, "sms", "+390001"), "granted"),
        "an old phone": (link(api, ada, "sms", "+390009"), "pending"),
        "an e-mail": (link(api, ada), "pending"),
    }
    async with stranger(api) as http:
        for how, (path, state) in paths.items():
            form = filled_in((await http.get(path)).text)
            await http.post(path, data={**form, "on": [*form["on"], "sms/news"]})
            assert (how, ("sms", "news", state)) == (how, (await said(api, ada))[-1][:3])
            shown = (await http.get(path)).text
            assert ("not confirmed yet" in shown) == (state == "pending")
            away = {"channel": "sms", "topic": "news", "state": "withdrawn"}
            await api.http.post("/v1/track", json={"userId": "bob", "event": "consent_changed", "properties": away})


async def test_a_break_begins_changes_and_ends(api: Api) -> None:
    """A day in the customer's own zone; a wrong one is told, keeps what was ticked, and changes nothing."""
    ada = await known(api, "cal", phone="+390002")
    path = link(api, ada)
    async with stranger(api) as http:
        form = filled_in((await http.get(path)).text)
        [row] = await api.query("select sojourn_now() as now")
        later = row.now.date().replace(month=1, day=15).replace(year=row.now.year + 1)
        for wrong in ("2001-01-01", "soon", f"{row.now.year + 3}-01-01", str(row.now.date())):
            answer = await http.post(path, data={**form, "until": wrong, "on": ["email/news"]})
            assert (wrong, 400) == (wrong, answer.status_code)
            assert 'role="alert"' in answer.text
            assert ["email/news"] == filled_in(answer.text)["on"]
        assert [] == await said(api, ada)
        page = (await http.post(path, data={**form, "until": str(later)})).text
        assert (str(later), form["on"]) == (filled_in(page)["until"], filled_in(page)["on"])
        [row] = await api.query(
            "select channel, until at time zone 'Europe/Rome' as until from consents where customer_id = :id", id=ada
        )
        assert ("*", f"{later} 00:00:00") == (row.channel, str(row.until))
        sooner = later.replace(day=10)
        page = (await http.post(path, data={**filled_in(page), "until": str(sooner)})).text
        assert str(sooner) == filled_in(page)["until"]
        page = (await http.post(path, data={**filled_in(page), "until": ""})).text
        assert "" == filled_in(page)["until"]
    assert {("*", None, "withdrawn", True, "preferences page")} == set(await said(api, ada))


async def test_fewer_messages_is_a_limit_of_their_own(api: Api) -> None:
    """The list goes up to what policy allows; what is chosen becomes the attribute that the cap reads; nothing else can be."""
    ada = await known(api, "dee", phone="+390003")
    path = link(api, ada)
    async with stranger(api) as http:
        page = (await http.get(path)).text
        assert ["", "1", "2", "3"] == re.findall(r'<option value="(\d*)"', page)
        assert "at most 2 a week" in page
        for number in ("2", "1", "2", ""):
            page = (await http.post(path, data={**filled_in(page), "cap.weekly": number})).text
            assert number == filled_in(page)["cap.weekly"]
            [row] = await api.query("select attributes->>'a_week' as own from customers where id = :id", id=ada)
            assert (number or None) == row.own
        for wrong in ("0", "4", "-1", "x"):
            assert 400 == (await http.post(path, data={**filled_in(page), "cap.weekly": wrong})).status_code
        assert "cap.texts" not in page, "that one isn't the customer's to choose"


async def test_leaving_everything_and_coming_back_for_one_thing(api: Api) -> None:
    """One button withdraws all there is; one box then brings back that and nothing else, and double opt-in holds."""
    ada = await known(api, "eve", phone="+390004")
    path = link(api, ada)
    async with stranger(api) as http:
        page = (await http.post(path, data={"act": "nothing"})).text
        await http.post(path, data={"act": "nothing"})
        assert [("*", None, "withdrawn", False, "preferences page")] == await said(api, ada)
        assert [] == filled_in(page)["on"]
        page = (await http.post(path, data={**filled_in(page), "on": ["email/offers", "sms/news"]})).text
        assert ["email/offers"] == filled_in(page)["on"]
        assert 1 == page.count("not confirmed yet"), "policy wants texts confirmed, and the link went to the e-mail address"


async def test_a_form_that_is_not_whole_changes_nothing(api: Api) -> None:
    """Scanners post what they find; without what the page had shown, an unticked box says nothing."""
    fay = await known(api, "fay", phone="+390005")
    path = link(api, fay)
    bodies = (b"", b"act=save", b"act=save&seen=%7B%7D", b"act=save&seen=[", b"x=1&on=email/news", b"\xff" * 99)
    async with stranger(api) as http:
        for body in bodies:
            answer = await http.post(path, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
            assert (body, 400, True) == (body, answer.status_code, "not sent as a whole" in answer.text)
    assert [] == await said(api, fay)


async def test_who_is_behind_a_link_today(api: Api) -> None:
    """Wrong and forged links are no links; somebody merged is who they became; of somebody erased there is nothing to choose; and
    links for other pages lead nowhere here."""
    ada, bob = await known(api, "gus", phone="+390006"), await known(api, "hal")
    theirs = Links({1: b"another"}, "http://x").preferences(ada, "email", "gus@example.com")
    wrong = ["/p/x", "/p/1.2.3", urlsplit(theirs).path, link(api, 999_999), link(api, ada)[:-1]]
    wrong += [f"/p/{api.core.links.sign([ada, 'email', 'news'])}", f"/p/{api.core.links.sign(['preferences', ada])}"]
    async with stranger(api) as http:
        for path in wrong:
            assert (path, 404) == (path, (await http.get(path)).status_code)
            assert (path, 404) == (path, (await http.post(path, data={"act": "nothing"})).status_code)
        assert 404 == (await http.post(link(api, ada).replace("/p/", "/u/"), data={"List-Unsubscribe": "One-Click"})).status_code
        await api.core.intake.merge(ada, bob, "test")
        page = (await http.get(link(api, bob))).text
        await http.post(link(api, bob), data={**filled_in(page), "on": []})
        assert ([], 2) == (await said(api, bob), len(await said(api, ada)))
        await api.query("update customers set erased_at = now() where id = :id returning id", id=ada)
        before = await said(api, ada)
        for answer in (await http.get(link(api, ada)), await http.post(link(api, ada), data={"act": "nothing"})):
            assert (200, True) == (answer.status_code, "nothing left to choose" in answer.text)
        assert before == await said(api, ada)


async def test_a_project_has_a_page_of_its_own_in_the_same_bounds(
    database_url: str, temporal_address: str, tmp_path: Path
) -> None:
    """It sees the names of the reference and nobody's attributes but the language; its styles are allowed, scripts never; where
    it can't be rendered the built-in one stands in. As a web page it keeps its styles and links as they are written."""
    template = OWN.replace('{{ customer | default("nobody") }}', '{{ 2 ** (locale | length) }} <a href="/imprint">Acme</a>')
    italian = template.replace("Ciao", "Benvenuta")
    own = {**FILES, "templates/pages/preferences.html.j2": template, "templates/pages/preferences.it.html.j2": italian}
    async with serving(database_url, temporal_address, write_project(tmp_path, own)) as api, stranger(api) as http:
        ada = await known(api, "ada", locale="de-AT")
        path = link(api, ada)
        shown = await http.get(path, headers={"Accept-Language": "sv"})
        assert ("de", True) == (Page.of(shown.text).language, "Ciao de-AT" in shown.text)
        assert "script" not in shown.headers["content-security-policy"]
        assert "<style>p { color: teal }</style></head><body>\n<p>Ciao" in shown.text
        eva = await known(api, "eva", locale="it_IT")
        assert "<p>Benvenuta it_IT 32 <a" in (await http.get(link(api, eva), headers={"Accept-Language": "de"})).text
        page = (await http.post(path, data={**filled_in(shown.text), "on": []})).text
        assert [] == filled_in(page)["on"]
        assert {("email", "news"), ("email", "offers")} == {s[:2] for s in await said(api, ada)}
        odd = await known(api, "odd", locale="x" * 9999)
        assert "Your preferences" in (await http.get(link(api, odd))).text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (OWN, "customer"),
        ("{{ seen }}", "seen"),
        (OWN.replace("{{ seen }}", "{{ sen }}").replace('{{ customer | default("nobody") }}', ""), "sen"),
        ("{% for %}", ""),
    ],
)
def test_a_page_that_cannot_work_does_not_compile(text: str, told: str, tmp_path: Path) -> None:
    """Names that nobody gives it, and fields that its form can't do without, are found before a deploy."""
    with pytest.raises(AuthoringError) as wrong:
        load_project(write_project(tmp_path, {"templates/pages/preferences.html.j2": text}), {"email", "sms"})
    assert told in str(wrong.value)
    assert "templates/pages/preferences.html.j2" in str(wrong.value)


def test_a_page_is_looked_at_in_every_language(tmp_path: Path) -> None:
    """A version that can't work doesn't compile either, nor one without a page for everybody else."""
    right = OWN.replace('{{ customer | default("nobody") }}', "")
    wrong = {"templates/pages/preferences.html.j2": right, "templates/pages/preferences.it.html.j2": "{{ seen }}"}
    with pytest.raises(AuthoringError, match=r"preferences\.it\.html\.j2(.|\n)*SJ249"):
        load_project(write_project(tmp_path / "a", wrong), {"email", "sms"})
    with pytest.raises(AuthoringError, match=r"write templates/pages/preferences\.html\.j2 for everybody else"):
        load_project(write_project(tmp_path / "b", {"templates/pages/preferences.it.html.j2": right}), {"email", "sms"})


def test_no_other_page_can_be_there(tmp_path: Path) -> None:
    """A file of another name would never be shown."""
    with pytest.raises(AuthoringError, match="SJ249"):
        load_project(write_project(tmp_path, {"templates/pages/prefs.html.j2": OWN}), {"email", "sms"})


@pytest.mark.parametrize(
    ("header", "locale", "language"),
    [
        ("", "", "en"),
        ("it-IT,it;q=0.9,en;q=0.8", "", "it"),
        ("en;q=0.1, de;q=0.9", "", "de"),
        ("sv, xx", "de_AT", "de"),
        ("de;q=0, *", "it", "it"),
        ("de;q=x", "", "en"),
        (",;;q=,", "", "en"),
    ],
)
def test_languages(header: str, locale: str, language: str) -> None:
    """The browser's wish, else what is known of the customer, else English."""
    assert language == words_for(header, locale)["language"]


def test_every_language_says_everything() -> None:
    """Texts, channels and windows."""
    english = LANGUAGES["en"]
    for words in LANGUAGES.values():
        assert english.keys() == words.keys()
        assert all(english[part].keys() == words[part].keys() for part in ("channels", "per"))
        assert all(json.dumps(text).strip('"') for text in words.values())


async def test_while_nothing_can_be_stored_nothing_is_claimed(bare: Api) -> None:
    """With nothing deployed there is a page with 503."""
    await bare.query("insert into customers (created_at, updated_at) values (now(), now()) returning id")
    async with httpx.AsyncClient(base_url=bare.http.base_url, timeout=60) as http:
        for answer in (await http.get(link(bare, 1)), await http.post(link(bare, 1), data={"act": "nothing"})):
            assert (503, True) == (answer.status_code, "retry-after" in answer.headers)
            assert "Nothing is saved yet" in answer.text
