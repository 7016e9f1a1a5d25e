"""The API answers for either id of a merged customer, and the links that either got go on working."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from engine.delivery.links import Links
from tests.api.conftest import OPERATOR, Api
from tests.api.test_customers import get


async def two(api: Api) -> tuple[int, int]:
    """Ada and Bob, of whom Bob's becomes Ada's."""
    for user in ("ada", "bob"):
        traits = {"email": f"{user}@example.com"}
        await api.http.post("/v1/identify", json={"userId": user, "traits": traits, "messageId": f"i-{user}"})
        await api.http.post("/v1/track", json={"userId": user, "event": "signed_up"})
    found = await api.query("select customer_id from identifiers where kind = 'user_id' order by value")
    return found[0].customer_id, found[1].customer_id


async def test_either_id_shows_the_whole_customer(api: Api) -> None:
    """Profile, messages and why, by both; later events under the old id are the survivor's."""
    ada, bob = await two(api)
    await api.core.intake.merge(ada, bob, "test")
    await api.http.post("/v1/track", json={"userId": "bob", "event": "confirmed"})
    for path in ("", "/messages", "/why"):
        one, other = [await get(api, f"{user}{path}") for user in ("ada", "bob")]
        told = [{k: v for k, v in a.json().items() if k != "at"} for a in (one, other)]
        assert (200, told[0]) == (one.status_code, told[1])
    shown = (await get(api, "bob")).json()
    assert ada == shown["id"]
    assert {"ada", "bob"} <= {i["value"] for i in shown["identifiers"]}
    assert ["ended", "live"] == sorted(e["status"] for e in shown["enrollments"])
    assert [bob] == [m["gone"] for m in (await get(api, "bob/why")).json()["merges"]]
    assert [ada] == [r.customer_id for r in await api.query("select customer_id from events where name = 'confirmed'")]


async def test_a_link_that_either_got_withdraws_for_who_is_left(api: Api) -> None:
    """Also after they agreed again: the old link counts each time."""
    ada, bob = await two(api)
    links: Links = api.core.links
    path = urlsplit(links.unsubscribe(bob, "email", "news")).path
    await api.core.intake.merge(ada, bob, "test")
    told = {"channel": "email", "topic": "news", "state": "granted"}
    async with httpx.AsyncClient(base_url=api.http.base_url, timeout=60) as http:
        for _ in range(2):
            assert 200 == (await http.post(path, data={"List-Unsubscribe": "One-Click"})).status_code
            await api.http.post("/v1/track", json={"userId": "ada", "event": "consent_changed", "properties": told})
    found = await api.query("select customer_id, state from consents order by id")
    assert [(ada, "withdrawn"), (ada, "granted")] * 2 == [tuple(r) for r in found]


async def test_a_link_confirms_what_came_along_with_a_merge(api: Api) -> None:
    """Where the address is still the customer's, what awaits its confirmation is confirmed for who is left."""
    ada, bob = await two(api)
    await api.query(
        "insert into consents (customer_id, channel, topic, state, at) values (:id, 'email', 'news', 'pending', now()) "
        "returning id",
        id=bob,
    )
    await api.query("insert into channels (name, address) values ('email', 'email') returning name")
    path = urlsplit(api.core.links.confirm(bob, "email", "news", "bob@example.com")).path
    await api.core.intake.merge(ada, bob, "test")
    async with httpx.AsyncClient(base_url=api.http.base_url, headers=OPERATOR, timeout=60) as http:
        answer = await http.post(path, data={"Confirm": "Yes"})
    assert (200, True) == (answer.status_code, "You have agreed" in answer.text)
    found = await api.query("select customer_id, state from consents order by id")
    assert [(ada, "pending"), (ada, "granted")] == [tuple(r) for r in found]
