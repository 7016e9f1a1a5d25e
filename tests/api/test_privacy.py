"""What the privacy officer does over HTTP; and what is left for the person: their unsubscribe link."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from engine.api import releasing
from tests.api.conftest import Api, error

OFFICER = {"Authorization": "Bearer token_privacy"}


async def ask(api: Api, method: str, path: str, **more: Any) -> httpx.Response:
    """As the privacy officer."""
    async with httpx.AsyncClient(base_url=api.address, headers=OFFICER, timeout=60) as http:
        return await http.request(method, f"/v1/customers/{path}", **more)


async def known(api: Api, user: str = "ada") -> int:
    """A customer inside a journey; their number."""
    await api.http.post("/v1/identify", json={"userId": user, "traits": {"email": f"{user}@example.com"}})
    await api.http.post("/v1/track", json={"userId": user, "event": "signed_up", "messageId": f"{user}-1"})
    return int((await api.query("select customer_id as id from identifiers where value = :user", user=user))[0].id)


async def test_export_erase_and_the_link_that_goes_on_working(api: Api) -> None:
    """The whole way, for an id with a slash too: told, looked at, erased, unknown; the link still withdraws, and nothing of what
    comes with it is kept but that."""
    for user in ("ada", "shop/7"):
        number, path = await known(api, user), quote(user, safe="")
        document = (await ask(api, "GET", f"{path}/export")).json()
        assert (number, ["signed_up"]) == (document["customer"], [e["name"] for e in document["events"]][1:])
        looked = (await ask(api, "DELETE", path, params={"dry_run": "true"})).json()
        assert (True, 200) == (looked["dry_run"], (await ask(api, "GET", path)).status_code)
        done = await ask(api, "DELETE", path)
        assert {**looked, "dry_run": False} == done.json()
        assert "no-store" == done.headers["cache-control"]
        for method, more in (("GET", "/export"), ("GET", ""), ("DELETE", "")):
            assert (404, "unknown_customer") == error(await ask(api, method, f"{path}{more}"))
        link = urlsplit(api.core.links.unsubscribe(number, "email", "news")).path
        async with httpx.AsyncClient(base_url=api.address, timeout=60) as http:
            for _ in range(2):
                assert 200 == (await http.post(link, data={"List-Unsubscribe": "One-Click"})).status_code
        said = await api.query("select channel, topic, state from consents where customer_id = :id", id=number)
        assert [("email", "news", "withdrawn")] == [tuple(r) for r in said]


async def test_what_is_told_again_of_somebody_erased_is_answered_for(api: Api) -> None:
    """A source that repeats a call, and an import, get a 200 with the reason; nothing lies in the quarantine."""
    await known(api)
    await ask(api, "DELETE", "ada")
    again = await api.http.post("/v1/track", json={"userId": "ada", "event": "signed_up", "messageId": "ada-1"})
    body = {"batch": [{"type": "identify", "userId": "ada", "traits": {"first_name": "Ada"}, "messageId": "h"}]}
    garbled = {"batch": [{"type": "track", "userId": "ada", "properties": {"email": "ada@example.com"}, "messageId": "g"}]}
    late = await api.http.post("/v1/track", json={"userId": "ada", "messageId": "l", "timestamp": "2020-01-01T00:00:00Z"})
    headers = {"Authorization": "Bearer token_operator"}
    async with httpx.AsyncClient(base_url=api.address, headers=headers, timeout=60) as http:
        imported = await http.post("/v1/batch?history=true", json=body)
        unread = await http.post("/v1/batch?history=true", json=garbled)
    for answer in (again, imported, unread, late):
        assert (200, True) == (answer.status_code, "was erased" in answer.json()["quarantined"][0]["reason"])
    assert [] == list(await api.query("select 1 from quarantine"))
    assert (404, "unknown_customer") == error(await ask(api, "GET", "ada"))
    assert "quarantined" not in (await api.http.post("/v1/identify", json={"userId": "ada"})).json()
    assert 200 == (await ask(api, "GET", "ada")).status_code
    noted = await api.query("select actor, act, subject, detail from audit where act = 'import'")
    assert [("token/operator", "import", "source/token/operator", {"calls": 1})] * 2 == [tuple(r) for r in noted]


async def test_a_standing_is_set_and_what_is_wrong_is_said(api: Api) -> None:
    """Each by itself; what can't be understood changes nothing."""
    number = await known(api)
    told = (await ask(api, "PUT", "ada/standing", json={"restricted": True})).json()
    assert {"customer": number, "restricted": True, "objected": False, "changed": ["restricted"]} == told
    told = (await ask(api, "PUT", "ada/standing", json={"objected": True, "restricted": True})).json()
    assert (["objected"], True) == (told["changed"], (await ask(api, "GET", "ada")).json()["objected"])
    for body in ({}, {"restricted": "yes"}, {"erased": True}, {"objected": None}, {"restricted": 1}):
        assert (400, "bad_field") == error(await ask(api, "PUT", "ada/standing", json=body))
    assert (400, "malformed_json") == error(await ask(api, "PUT", "ada/standing", content=b"{"))
    assert (404, "unknown_customer") == error(await ask(api, "PUT", "nobody/standing", json={"restricted": True}))
    assert (404, "unknown_customer") == error(await ask(api, "DELETE", "%00"))


async def test_the_log_is_read_page_by_page(api: Api) -> None:
    """Newest first, narrowed; pages don't overlap."""
    await known(api)
    for value in (True, False, True):
        await ask(api, "PUT", "ada/standing", json={"restricted": value})
    async with httpx.AsyncClient(base_url=api.address, headers=OFFICER, timeout=60) as http:
        first = (await http.get("/v1/log", params={"limit": 2, "subject": "customer"})).json()
        rest = (await http.get("/v1/log", params={"subject": "customer", "before": first["next"]})).json()
        assert ["restrict", "lift restriction", "restrict"] == [r["act"] for r in (*first["log"], *rest["log"])]
        assert (None, "token/privacy") == (rest["next"], rest["log"][0]["actor"])
        assert [] == (await http.get("/v1/log", params={"actor": "\x00"})).json()["log"]
        assert (400, "bad_request") == error(await http.get("/v1/log", params={"limit": 0}))


async def test_who_enrolls_by_call_stands_in_the_log(api: Api) -> None:
    """With the enrollment that it started; a call that starts none leaves no row."""
    await known(api)
    headers = {"Authorization": "Bearer token_source"}
    async with httpx.AsyncClient(base_url=api.address, headers=headers, timeout=60) as http:
        (started,) = (await http.post("/v1/journeys/invited/enroll", json={"userId": "ada"})).json()["enrollments"]
        await http.post("/v1/journeys/invited/enroll", json={"userId": "ada"})
    noted = await api.query("select actor, subject from audit where act = 'enroll'")
    assert [("token/source", f"enrollment/{started}")] == [tuple(r) for r in noted]


async def test_a_call_that_was_put_aside_brings_nobody_back(api: Api) -> None:
    """Mended so that it names somebody who was erased, and released, it is let go of, whole."""
    await known(api)
    headers = {"Authorization": "Bearer token_operator"}
    body = {"batch": [{"type": "track", "userId": "adda", "messageId": "h2", "properties": {"note": "hers"}}]}
    await ask(api, "DELETE", "ada")
    async with httpx.AsyncClient(base_url=api.address, headers=headers, timeout=60) as http:
        await http.post("/v1/batch?history=true", json=body)
    (row,) = await api.query("select id from quarantine")
    call = b'{"type": "track", "userId": "ada", "event": "pinged", "properties": {"note": "hers"}}'
    await releasing.mend(api.core.database, api.core.deployments, row.id, call, "cli/test")
    done = await releasing.release(api.core.database, api.core.deployments, [row.id], "cli/test")
    assert "was erased" in done.still[row.id]
    (left,) = await api.query("select call, mended, body, dropped_at is not null as dropped from quarantine")
    assert (None, None, {}, True) == tuple(left)
    assert (404, "unknown_customer") == error(await ask(api, "GET", "ada"))
