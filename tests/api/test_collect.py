"""`/v1/track`, `/v1/identify`, `/v1/batch`."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from engine.core.incoming import Accepted, Incoming
from engine.intake.door import Intake
from engine.store.database import transaction
from tests.api.conftest import OPERATOR, Api, error


def track(user: Any = "ada", event: Any = "signed_up", **more: Any) -> dict[str, Any]:
    return {"userId": user, "event": event, **more}


async def test_a_tracked_event_is_on_disk_when_the_answer_comes_and_enrolls(api: Api) -> None:
    """The answer is Segment's, and another connection sees the event and what it began."""
    call = track(messageId="m1", timestamp="2026-03-02T11:00:00+01:00", properties={"plan": "pro"}, context={}, integrations={})
    answer = await api.http.post("/v1/track", json=call)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    stored = await api.query("select source, message_id, name, properties, occurred_at from events")
    assert [tuple(r) for r in stored] == [
        ("website", "m1", "signed_up", {"plan": "pro"}, datetime(2026, 3, 2, 10, tzinfo=UTC)),
    ]
    assert [r.journey for r in await api.query("select journey from enrollments")] == ["welcome"]


async def test_no_answer_leaves_before_the_commit(api: Api) -> None:
    """While the transaction that takes an event in can't commit, the sender waits; afterwards it hears yes, and it is there."""
    await api.http.post("/v1/identify", json={"userId": "ada"})
    async with transaction(api.core.database) as c:
        await c.exec_driver_sql("select 1 from customers for update")
        sent = asyncio.create_task(api.http.post("/v1/track", json=track()))
        _, waiting = await asyncio.wait({sent}, timeout=0.5)
        assert {sent} == waiting
        assert await api.events() == ["$identify"]
    assert (await sent).json() == {"success": True}
    assert await api.events() == ["$identify", "signed_up"]


async def test_a_failed_commit_is_never_answered_with_success(api: Api) -> None:
    """An event that the store refuses at its commit gets an error, and nothing of its batch stays."""
    async with transaction(api.core.database) as c:
        await c.exec_driver_sql(
            "create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end'"
        )
        await c.exec_driver_sql(
            "create constraint trigger refusing after insert on events deferrable initially deferred "
            "for each row when (new.name = 'pinged') execute function refuse()"
        )
    batch = [{"type": "track", **track()}, {"type": "track", **track(event="pinged")}]
    assert error(await api.http.post("/v1/batch", json={"batch": batch})) == (500, "internal")
    assert await api.events() == []


async def test_identify_writes_attributes_and_the_context_gives_a_missing_time_zone(api: Api) -> None:
    """Traits become attributes; `context.timezone` is used only where traits have none."""
    zone = {"timezone": "Europe/Rome"}
    await api.http.post("/v1/identify", json={"userId": "ada", "traits": {"first_name": "Ada"}, "context": zone})
    await api.http.post("/v1/identify", json={"userId": "bob", "traits": {"timezone": "Asia/Tokyo"}, "context": zone})
    found = await api.query("select attributes from customers order by id")
    assert [r.attributes for r in found] == [{"first_name": "Ada", "timezone": "Europe/Rome"}, {"timezone": "Asia/Tokyo"}]


async def test_the_same_message_id_changes_nothing_the_second_time(api: Api) -> None:
    """Within one batch, in a later request, but per source: another source's is another event."""
    call = {"type": "track", **track(messageId="m1")}
    assert (await api.http.post("/v1/batch", json={"batch": [call, call]})).status_code == 200
    assert (await api.http.post("/v1/track", json=track(messageId="m1"))).json() == {"success": True}
    assert await api.events() == ["signed_up"]
    assert (await api.http.post("/v1/track", json=track(messageId="m1"), auth=("wk_backend", ""))).status_code == 200
    assert await api.events() == ["signed_up", "signed_up"]
    assert [r.n for r in await api.query("select count(*) as n from enrollments")] == [1]


async def test_the_same_event_sent_many_times_at_once_is_taken_once(api: Api) -> None:
    """Twenty racing requests with one messageId: every one is acknowledged, one event is stored, one enrollment begins."""
    answers = await asyncio.gather(*(api.http.post("/v1/track", json=track(messageId="m1")) for _ in range(20)))
    assert {a.status_code for a in answers} == {200}
    assert await api.events() == ["signed_up"]
    assert [r.n for r in await api.query("select count(*) as n from enrollments")] == [1]


async def test_a_batch_of_five_hundred_is_taken_whole(api: Api) -> None:
    """Five hundred calls of five hundred people, gzipped: all of them are stored and enrolled, also without messageIds."""
    calls = [{"type": "track", **track(f"u{i}")} for i in range(500)]
    body = gzip.compress(json.dumps({"batch": calls, "sentAt": "2026-03-02T10:00:00Z"}).encode())
    answer = await api.http.post("/v1/batch", content=body, headers={"Content-Encoding": "gzip"})
    assert answer.json() == {"success": True}
    assert [r.n for r in await api.query("select count(distinct customer_id) as n from enrollments")] == [500]


async def test_whole_numbers_are_ids_too_and_an_empty_batch_is_fine(api: Api) -> None:
    """A number as userId or messageId becomes text; an anonymousId alone is enough."""
    assert (await api.http.post("/v1/track", json=track(7, messageId=8))).status_code == 200
    assert (await api.http.post("/v1/track", json={"anonymousId": "x", "event": "pinged"})).status_code == 200
    assert (await api.http.post("/v1/batch", json={"batch": []})).status_code == 200
    found = await api.query("select kind, value from identifiers order by customer_id")
    assert [tuple(r) for r in found] == [("user_id", "7"), ("anonymous_id", "x")]
    assert [r.message_id for r in await api.query("select message_id from events where name = 'signed_up'")] == ["8"]


@pytest.mark.parametrize(
    ("auth", "headers"),
    [
        (("wk_wrong", ""), {}),
        (None, {}),
        (None, {"Authorization": "Bearer token_operator"}),
        (None, {"Authorization": "Basic !!!"}),
        (None, {"Authorization": "Basic /////w=="}),
    ],
)
async def test_a_bad_write_key_is_401_and_nothing_is_stored(api: Api, auth: Any, headers: dict[str, str]) -> None:
    """A wrong key, none, a token instead, and what isn't Basic authentication at all."""
    async with httpx.AsyncClient(base_url=api.http.base_url, auth=auth, headers=headers) as http:
        answer = await http.post("/v1/track", json=track())
    assert error(answer) == (401, "bad_write_key")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert await api.events() == []


@pytest.mark.parametrize(
    ("path", "call", "code", "said"),
    [
        ("/v1/track", {"event": "pinged"}, "no_identifier", "userId"),
        ("/v1/track", {"userId": "ada"}, "no_event", "event is missing"),
        ("/v1/track", track(event=["x"]), "bad_field", "event must be text"),
        ("/v1/track", track(True), "bad_field", "userId must be text"),
        ("/v1/track", track(1.5), "bad_field", "userId"),
        ("/v1/track", track(10**30), "bad_field", "userId"),
        ("/v1/track", track("   "), "bad_field", "userId is blank"),
        ("/v1/track", track("a\x00b"), "bad_text", "userId holds a NUL"),
        ("/v1/track", track("a" * 600), "bad_field", "userId is longer than 512 bytes"),
        ("/v1/track", track(messageId="é" * 300), "bad_field", "messageId is longer than 512 bytes"),
        ("/v1/track", track(properties=[1]), "bad_field", "properties must be an object"),
        ("/v1/track", track(properties={"a": [{"b": "x\x00"}]}), "bad_text", "properties.a[0].b holds a NUL"),
        ("/v1/track", track(properties={"x\x00": 1}), "bad_text", "NUL"),
        ("/v1/track", track(timestamp="yesterday"), "bad_timestamp", "timestamp 'yesterday'"),
        ("/v1/track", track(timestamp="2026-03-02T10:00:00"), "bad_timestamp", "no offset"),
        ("/v1/track", track(timestamp=1772445600), "bad_timestamp", "timestamp must be text"),
        ("/v1/track", track(timestamp="0001-01-01T00:00:00+14:00"), "bad_timestamp", "timestamp"),
        ("/v1/track", track(timestamp="0001-01-01T00:00:00Z"), "bad_timestamp", "before 1970"),
        ("/v1/identify", {"userId": "ada", "traits": "x"}, "bad_field", "traits must be an object"),
        ("/v1/batch", {}, "bad_request", "batch is missing"),
        ("/v1/batch", {"batch": {}}, "bad_request", "batch must be a list"),
        ("/v1/group", {"userId": "ada"}, "no_group", "groupId is missing"),
        ("/v1/group", {"userId": "ada", "groupId": "acme", "traits": []}, "bad_field", "traits must be an object"),
        ("/v1/alias", {"userId": "ada"}, "no_identifier", "previousId is missing"),
        ("/v1/alias", {}, "no_identifier", "userId and previousId are missing"),
        ("/v1/page", {"name": "Home"}, "no_identifier", "userId"),
        ("/v1/screen", {"userId": "ada", "name": ["x"]}, "bad_field", "name must be text"),
        ("/v1/batch", {"batch": [{"type": "track", **track()}] * 2501}, "too_many", "2501"),
        ("/v1/batch?history=perhaps", {"batch": []}, "bad_request", "history"),
    ],
)
async def test_what_cannot_be_understood_is_a_clear_400_and_nothing_is_taken(
    api: Api, path: str, call: dict[str, Any], code: str, said: str
) -> None:
    """The field is named, and nothing is stored as an event."""
    answer = await api.http.post(path, json=call)
    assert error(answer) == (400, code)
    assert said in answer.json()["error"]["message"]
    assert await api.events() == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b'{"userId": "ada",', "malformed_json"),
        (b'{"userId": NaN}', "malformed_json"),
        (b'{"userId": 1e999}', "malformed_json"),
        (b'{"userId": "\\ud800"}', "malformed_json"),
        (b'{"userId": "\xff"}', "malformed_json"),
        (b"[" * 5000, "malformed_json"),
        (b"[]", "bad_request"),
        (b'{"userId":"ada","event":"x","properties":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}", "too_deep"),
    ],
)
async def test_a_body_that_is_no_json_object_is_a_400_that_says_where(api: Api, body: bytes, code: str) -> None:
    """Cut off, not finite, half a surrogate, not UTF-8, nested too deeply: never a 500."""
    answer = await api.http.post("/v1/track", content=body)
    assert error(answer) == (400, code)
    if code == "malformed_json":
        assert "line 1, column " in answer.json()["error"]["message"]


async def test_bodies_over_the_limit_are_413(api: Api) -> None:
    """32 KB for a call and 500 KB for a batch, said beforehand or not, read or not; the server is well afterwards."""

    async def chunks() -> Any:
        for _ in range(100):
            yield b"x" * 10_000

    assert error(await api.http.post("/v1/track", content=b"x" * 33_000)) == (413, "too_large")
    assert error(await api.http.post("/v1/batch", content=b"x" * 600_000)) == (413, "too_large")
    assert error(await api.http.post("/v1/batch", content=chunks())) == (413, "too_large")
    assert (await api.http.post("/v1/track", json=track())).status_code == 200


async def test_a_gzip_bomb_is_refused_after_the_limit(api: Api) -> None:
    """A gigabyte of nothing in a megabyte's thousandth is never unpacked; nor is what isn't gzip, or ends early."""
    bomb = gzip.compress(gzip.compress(b"\0" * 200_000_000, 1), 9)
    single = gzip.compress(b" " * 20_000_000)
    zipped = {"Content-Encoding": "gzip"}
    assert error(await api.http.post("/v1/batch", content=single, headers=zipped)) == (413, "too_large")
    assert error(await api.http.post("/v1/batch", content=single[:-30], headers=zipped)) == (413, "too_large")
    assert (await api.http.post("/v1/batch", content=bomb, headers=zipped)).status_code in (400, 413)
    whole = gzip.compress(json.dumps(track()).encode())
    assert error(await api.http.post("/v1/track", content=whole[:-9], headers=zipped)) == (400, "bad_gzip")
    assert error(await api.http.post("/v1/track", content=b"{}", headers=zipped)) == (400, "bad_gzip")
    assert error(await api.http.post("/v1/track", content=b"{}", headers={"Content-Encoding": "br"})) == (415, "unknown_encoding")


async def test_nothing_deployed_is_503_and_the_event_is_not_lost(bare: Api) -> None:
    """Without a deployment nobody could say what an event means: the sender is told why and to send again."""
    answer = await bare.http.post("/v1/track", json=track(messageId="m1"))
    assert error(answer) == (503, "nothing_deployed")
    assert int(answer.headers["retry-after"]) > 0
    assert await bare.events() == []


async def test_a_database_that_is_down_is_503_without_a_trace(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is not the sender's fault and says so."""
    monkeypatch.setattr("engine.store.database.transaction", _unreachable)
    answer = await api.http.post("/v1/track", json=track())
    assert error(answer) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0


def _unreachable(_: object) -> Any:
    from engine.store.database import connect

    return transaction(connect("postgresql://nobody@127.0.0.1:1/none"))


async def test_the_past_is_imported_by_an_operator_and_wakes_nobody(api: Api) -> None:
    """`history=true` needs an operator's token; what it brings is stored under the source it names, and enrolls nobody."""
    body = {"batch": [{"type": "track", **track(messageId="m1", timestamp="2025-03-02T10:00:00Z")}]}
    assert error(await api.http.post("/v1/batch?history=true", json=body)) == (401, "bad_token")
    async with httpx.AsyncClient(base_url=api.http.base_url, headers=OPERATOR) as http:
        assert error(await http.post("/v1/batch", json=body)) == (401, "bad_write_key")
        assert error(await http.post("/v1/batch?history=true&source=x", json=body)) == (400, "unknown_source")
        assert (await http.post("/v1/batch?history=true&source=website", json=body)).json() == {"success": True}
        analyst = {"Authorization": "Bearer token_analyst"}
        assert error(await http.post("/v1/batch?history=true", json=body, headers=analyst)) == (403, "wrong_role")
    assert (await api.http.post("/v1/track", json=track(messageId="m1"))).status_code == 200
    assert await api.events() == ["signed_up"]
    assert [r.n for r in await api.query("select count(*) as n from enrollments")] == [0]


async def test_an_event_that_breaks_its_declaration_is_kept_aside_and_acknowledged(api: Api) -> None:
    """Types are tracking.yaml's: what doesn't fit goes to the quarantine with the reason, the rest of the batch goes on."""
    batch = [{"type": "track", **track(event="pinged", properties={"number": "many"})}, {"type": "track", **track()}]
    answer = (await api.http.post("/v1/batch", json={"batch": batch})).json()
    assert answer == {"success": True, "quarantined": [{"at": "batch[0]", "reason": "pinged: number 'many' is not an integer"}]}
    assert await api.events() == ["signed_up"]
    assert ["number" in r.reason for r in await api.query("select reason from quarantine")] == [True]


async def test_the_door_hears_every_call_of_a_batch_in_order(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order within a batch is the order in which things are taken in."""
    seen: list[str] = []
    whole = Intake.accept

    async def accept(self: Intake, batch: list[Incoming]) -> list[Accepted]:
        seen.extend(i.name or i.kind for i in batch)
        return await whole(self, batch)

    monkeypatch.setattr(Intake, "accept", accept)
    calls = [{"type": "identify", "userId": "ada"}, {"type": "track", **track()}, {"type": "track", **track(event="pinged")}]
    await api.http.post("/v1/batch", json={"batch": calls})
    assert seen == ["identify", "signed_up", "pinged"]
