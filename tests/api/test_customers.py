"""`/v1/customers/ID` and what stands under it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.conftest import OPERATOR, Api, error, serving
from tests.harness import running, write_project

BOTH = """
journey: both
tier: lifecycle
enter: {event: signed_up, again: always}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - wait: 1d
"""


async def get(api: Api, path: str, headers: dict[str, str] | None = None, **params: Any) -> httpx.Response:
    async with httpx.AsyncClient(
        base_url=api.http.base_url, headers=OPERATOR if headers is None else headers, timeout=60
    ) as http:
        return await http.get(f"/v1/customers/{path}", params=params)


async def test_a_customer_is_shown_with_everything_held_and_where_they_stand(api: Api) -> None:
    """Attributes, identifiers, the newest consents, open holds, suppressions, enrollments; moments are ISO 8601 in UTC."""
    await api.http.post("/v1/identify", json={"userId": "ada", "anonymousId": "x1", "traits": {"first_name": "Ada"}})
    await api.http.post("/v1/track", json={"userId": "ada", "event": "signed_up", "timestamp": "2026-03-02T10:00:00Z"})
    for state in ("granted", "withdrawn"):
        told = {"channel": "email", "topic": "news", "state": state}
        await api.http.post("/v1/track", json={"userId": "ada", "event": "consent_changed", "properties": told})
    await api.http.post("/v1/identify", json={"userId": "bob", "traits": {"first_name": "Bob"}})
    answer = await get(api, "ada")
    body = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert body["attributes"] == {"first_name": "Ada"}
    assert body["identifiers"] == [{"kind": "user_id", "value": "ada"}, {"kind": "anonymous_id", "value": "x1"}]
    assert [(s["channel"], s["topic"], s["state"]) for s in body["consents"]] == [("email", "news", "withdrawn")]
    assert [body[name] for name in ("suppressions", "holds", "segments", "stages")] == [[], [], [], []]
    [inside] = body["enrollments"]
    shown = {k: inside[k] for k in ("journey", "status", "key", "step", "wake_at", "ended_at", "entered_at")}
    assert shown == {
        "journey": "welcome",
        "status": "live",
        "key": "",
        "step": None,
        "wake_at": None,
        "ended_at": None,
        "entered_at": "2026-03-02T10:00:00Z",
    }


async def test_messages_come_page_by_page_newest_first_with_their_decisions(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Pages don't overlap and leave nothing out; `decisions=true` adds every gate's answer."""
    journeys = {f"journeys/j{i}.yaml": BOTH.replace("both", f"j{i}") for i in range(3)}
    folder = write_project(tmp_path, journeys)
    async with (
        running(folder, database_url, temporal_address, task_queue_prefix) as sojourn,
        serving(database_url, temporal_address, None) as api,
    ):
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")

        async def sent() -> bool:
            return (await sojourn.statuses()).get("sent") == 3

        await sojourn.until(sent, 60)
        whole = (await get(api, "ada/messages")).json()
        first = (await get(api, "ada/messages", limit=2)).json()
        second = (await get(api, "ada/messages", limit=2, before=first["next"])).json()
        assert whole["messages"] == [*first["messages"], *second["messages"]]
        assert [3, 2, 1] == [len(p["messages"]) for p in (whole, first, second)]
        assert [whole["next"], second["next"]] == [None, None]
        assert sorted(m["journey"] for m in whole["messages"]) == ["j0", "j1", "j2"]
        assert {(m["status"], m["channel"], m["step"], m["template"]) for m in whole["messages"]} == {
            ("sent", "email", "hello", "hello")
        }
        assert "decisions" not in whole["messages"][0]
        explained = (await get(api, "ada/messages", decisions=True)).json()["messages"]
        assert {d["decision"] for m in explained for d in m["decisions"]} == {"allow"}
        assert all(len(d["gates"]) >= 10 for m in explained for d in m["decisions"])
        told = await get(api, "ada/why", journey="j1")
        assert told.status_code == 200
        assert "j1" in told.text
        shown = (await get(api, "ada")).json()["enrollments"]
        assert sorted(e["journey"] for e in shown) == ["j0", "j1", "j2"]


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 100000}, {"before": "x"}, {"before": 2**63}])
async def test_a_page_that_cannot_be_is_a_clear_400(api: Api, params: dict[str, Any]) -> None:
    """The parameter is named."""
    answer = await get(api, "ada/messages", **params)
    assert error(answer) == (400, "bad_request")
    assert answer.json()["error"]["message"].startswith(next(iter(params)))


@pytest.mark.parametrize("user", ["a/b", "a b", "messages", "é", "x" * 500, "'; drop table customers; --", "a%2Fb", ".."])
async def test_any_user_id_can_be_asked_for(api: Api, user: str) -> None:
    """Also one with a slash, a space, or the name of a page below."""
    await api.http.post("/v1/identify", json={"userId": user, "traits": {"first_name": user}})
    for below in ("", "/messages", "/why"):
        answer = await get(api, quote(user, safe="").replace("..", "%2E%2E") + below)
        assert answer.status_code == 200
    assert (await get(api, quote(user, safe="").replace("..", "%2E%2E"))).json()["attributes"] == {"first_name": user}


async def test_who_is_not_known_is_404(api: Api) -> None:
    """Also an id that no text may hold; an anonymous id is not a user id."""
    await api.http.post("/v1/identify", json={"anonymousId": "x1"})
    for user in ("nobody", "%00", "x1", "%ff"):
        assert error(await get(api, user)) == (404, "unknown_customer")
        assert error(await get(api, f"{user}/messages")) == (404, "unknown_customer")
        assert error(await get(api, f"{user}/why")) == (404, "unknown_customer")


async def test_operators_analysts_and_privacy_may_look(api: Api) -> None:
    """Others get 403, a write key and nothing 401, for existing customers and others alike."""
    await api.http.post("/v1/identify", json={"userId": "ada"})
    answers = {
        role: await get(api, "ada", {"Authorization": f"Bearer token_{role}"}) for role in ("operator", "analyst", "privacy")
    }
    assert {a.status_code for a in answers.values()} == {200}
    for path in ("ada", "nobody", "ada/messages", "ada/why"):
        for role in ("author", "source"):
            assert error(await get(api, path, {"Authorization": f"Bearer token_{role}"})) == (403, "wrong_role")
        assert error(await get(api, path, {})) == (401, "bad_token")
        assert error(await get(api, path, {"Authorization": "Basic d2tfd2Vic2l0ZTo="})) == (401, "bad_token")


async def test_looking_while_events_come_in_never_fails(api: Api) -> None:
    """Readers and the door don't get in each other's way."""
    await api.http.post("/v1/identify", json={"userId": "ada"})
    writes = [api.http.post("/v1/track", json={"userId": "ada", "event": "pinged"}) for _ in range(20)]
    answers = await asyncio.gather(*writes, *(get(api, "ada") for _ in range(20)))
    assert {a.status_code for a in answers} == {200}
