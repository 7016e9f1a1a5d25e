"""The quarantine over HTTP and through `engine.api.releasing`: nothing that comes in is lost, and nothing comes in twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api import releasing
from engine.api.errors import Refusal
from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.delivery.deployments import Deployments
from tests.api.conftest import OPERATOR, Api, error

LARGE = {"type": "track", "userId": "ada", "event": "pinged", "properties": {"x": "y" * 33_000}, "messageId": "large"}
WRONG: list[tuple[Any, str]] = [
    (5, "batch[1] must be an object, this is a number"),
    ({"userId": "ada", "event": "pinged"}, "batch[1].type is missing"),
    ({"type": "set", "userId": "ada"}, "batch[1].type 'set' is not known"),
    ({"type": "track", "event": "pinged"}, "batch[1].userId and batch[1].anonymousId are both missing"),
    ({"type": "track", "userId": "ada"}, "batch[1].event is missing"),
    ({"type": "track", "userId": "ada", "event": "pinged", "timestamp": "yesterday"}, "is not an ISO 8601 moment"),
    ({"type": "track", "userId": "a\x00b", "event": "pinged"}, "batch[1].userId holds a NUL character"),
    ({"type": "track", "userId": "ada", "event": "pinged", "messageId": "m" * 600}, "batch[1].messageId is longer than"),
    ({"type": "group", "userId": "ada"}, "batch[1].groupId is missing"),
    (LARGE, "batch[1] is larger than 32 KB"),
]


def ping(number: int | str, **more: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "ada", "event": "pinged", "messageId": f"m{number}", **more}


async def send(api: Api, *calls: Any) -> dict[str, Any]:
    """A batch with these calls."""
    answer = await api.http.post("/v1/batch", content=json.dumps({"batch": calls}))
    assert 200 == answer.status_code
    found: dict[str, Any] = answer.json()
    return found


async def rows(api: Api) -> list[Any]:
    return list(await api.query("select * from quarantine order by id"))


async def release(api: Api, *numbers: int) -> releasing.Released:
    return await releasing.release(api.core.database, Deployments(), numbers, "test")


async def mend(api: Api, number: int, call: Any) -> str:
    return await releasing.mend(api.core.database, Deployments(), number, json.dumps(call).encode(), "test")


@pytest.mark.parametrize(("wrong", "why"), WRONG, ids=[why for _, why in WRONG])
async def test_one_bad_call_of_a_batch_is_kept_whole_and_the_others_are_taken(api: Api, wrong: Any, why: str) -> None:
    """The answer says which and why; what came lies in the quarantine as it came, and the good ones are events."""
    answer = await send(api, ping(1), wrong, ping(2))
    (told,) = answer["quarantined"]
    assert ("batch[1]", True) == (told["at"], why in told["reason"])
    assert ["pinged", "pinged"] == await api.events()
    (kept,) = await rows(api)
    assert (told["reason"], "website", wrong) == (kept.reason, kept.source, json.loads(kept.call))
    assert (2, 0, 1, 0) == await api.counters()


async def test_a_bad_call_that_comes_alone_is_refused_and_kept(api: Api) -> None:
    """A page that ignores the answer loses nothing; the answer says where it lies."""
    answer = await api.http.post("/v1/track", json={"userId": "ada", "messageId": "m1"})
    assert (400, "no_event") == error(answer)
    (kept,) = await rows(api)
    assert f"`sojourn quarantine show {kept.id}`" in answer.json()["error"]["hint"]
    assert {"userId": "ada", "messageId": "m1", "type": "track"} == json.loads(kept.call)


async def test_the_same_message_is_put_aside_once(api: Api) -> None:
    """A client that sends again because no answer came doubles nothing; without a message id each is one of its own."""
    for _ in range(3):
        await send(api, ping(1, timestamp="never"), ping(2, properties={"number": "many"}), ping(2, properties={"number": "x"}))
    assert ["m1", "m2"] == [r.message_id for r in await rows(api)]
    for _ in range(2):
        await send(api, {"type": "track", "userId": "ada"})
    assert 4 == len(await rows(api))


async def test_what_nests_too_deeply_to_be_written_down_refuses_the_batch(api: Api) -> None:
    """Then its sender still has it."""
    deep = '{"a":' * 400 + "1" + "}" * 400
    body = f'{{"batch": [{json.dumps(ping(1))}, {{"type": "track", "userId": "ada", "event": "x", "properties": {deep}}}]}}'
    assert (400, "too_deep") == error(await api.http.post("/v1/batch", content=body))
    assert ([], []) == (await api.events(), await rows(api))


async def test_a_mended_call_comes_in_as_of_when_it_happened_and_once(api: Api) -> None:
    """Mended and released it is an event at its own time, which enrolls; released again, or sent again, it changes nothing."""
    sent = datetime.now(UTC)
    said = (sent - timedelta(hours=3)).isoformat()
    wrong = {"type": "track", "event": "signed_up", "messageId": "m1", "timestamp": said}
    await api.http.post("/v1/batch", json={"batch": [wrong], "sentAt": sent.isoformat()})
    (kept,) = await rows(api)
    found = await release(api, kept.id)
    assert ([], {kept.id: "userId and anonymousId are both missing"}) == (found.taken, found.still)
    assert "" == await mend(api, kept.id, {**json.loads(kept.call), "userId": "ada"})
    assert ([kept.id], [], {}) == ((found := await release(api, kept.id)).taken, found.known, found.still)
    (event,) = await api.query("select message_id, source, occurred_at from events")
    assert ("m1", "website") == (event.message_id, event.source)
    assert abs((event.occurred_at - (sent - timedelta(hours=3))).total_seconds()) < 60
    assert ["welcome"] == [r.journey for r in await api.query("select journey from enrollments")]
    assert ([], [], {}) == ((found := await release(api, kept.id)).taken, found.known, found.still)
    await send(api, wrong, {**wrong, "userId": "ada"})
    assert (1, 1) == (len(await api.events()), len(await rows(api)))
    acts = await api.query("select act from audit where subject like 'quarantine%' order by id")
    assert ["mend", "release"] == [r.act for r in acts]


async def test_what_came_without_a_time_happened_when_it_came(api: Api) -> None:
    """Not when somebody got round to mending it."""
    await send(api, {"type": "track", "userId": "ada"})
    await api.query("update quarantine set at = at - interval '2 days' returning 1")
    (kept,) = await rows(api)
    await mend(api, kept.id, {"type": "track", "userId": "ada", "event": "pinged"})
    await release(api, kept.id)
    assert [kept.at] == [r.occurred_at for r in await api.query("select occurred_at from events")]


async def test_what_was_sent_right_in_the_meantime_is_known_on_release(api: Api) -> None:
    """The source mended it itself: the same message id is in, so the release ends the waiting and adds nothing."""
    await send(api, ping(1, properties={"number": "many"}))
    await send(api, ping(1, properties={"number": 3}))
    (kept,) = await rows(api)
    await mend(api, kept.id, ping(1, properties={"number": 3}))
    found = await release(api, kept.id)
    assert ([], [kept.id]) == (found.taken, found.known)
    assert ["pinged"] == await api.events()


async def test_a_crash_between_the_door_and_the_mark_doubles_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken and not marked: the next release finds it known."""
    await send(api, ping(1, properties={"number": "many"}))
    (kept,) = await rows(api)
    await mend(api, kept.id, ping(1, properties={"number": 1}))

    async def crash(*_: object) -> list[int]:
        raise ConnectionError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("engine.store.quarantine.released", crash)
        with pytest.raises(ConnectionError):
            await release(api, kept.id)
    assert [kept.id] == (await release(api, kept.id)).known
    assert ["pinged"] == await api.events()


async def test_a_declaration_that_was_mended_lets_everything_in_as_it_came(api: Api, project: Any) -> None:
    """Nobody has to touch the calls when it was tracking.yaml that was wrong."""
    await send(api, *(ping(n, properties={"number": f"no. {n}"}) for n in range(20)))
    numbers = [r.id for r in await rows(api)]
    assert set(numbers) == set((await release(api, *numbers)).still)
    tracking = project / "journeys/tracking.yaml"
    tracking.write_text(tracking.read_text().replace("number: integer", "number: string"))
    await deploy(api.core.database, load_project(project, {"email", "sms"}), "test")
    assert numbers == (await release(api, *numbers)).taken
    stored = await api.query("select message_id, properties from events order by id")
    assert [(f"m{n}", {"number": f"no. {n}"}) for n in range(20)] == [tuple(r) for r in stored]


async def test_a_mend_that_is_no_call_changes_nothing_and_says_what_is_wrong(api: Api) -> None:
    """No JSON, no call, still malformed, nobody there; one that only tracking.yaml stands against is kept, with that reason."""
    await send(api, ping(1, properties={"number": "many"}))
    (kept,) = await rows(api)
    for text, code in ((b"{", "malformed_json"), (b"[]", "bad_request"), (b'{"type": "track", "userId": "a"}', "no_event")):
        with pytest.raises(Refusal) as refused:
            await releasing.mend(api.core.database, Deployments(), kept.id, text, "test")
        assert code == refused.value.code
    with pytest.raises(LookupError):
        await mend(api, kept.id + 1, ping(1))
    assert [tuple(kept)] == [tuple(r) for r in await rows(api)]
    assert "pinged: number 'none' is not an integer" == await mend(api, kept.id, ping(1, properties={"number": "none"}))
    (now,) = await rows(api)
    assert ("many", "none") == tuple(json.loads(text)["properties"]["number"] for text in (now.call, now.mended))


async def test_history_stays_history(api: Api) -> None:
    """What an import brought and was put aside enrolls nobody when it is released."""
    batch = [{"type": "track", "event": "signed_up", "messageId": "h1", "timestamp": "2025-03-02T10:00:00Z"}]
    async with httpx.AsyncClient(base_url=api.http.base_url, headers=OPERATOR) as http:
        await http.post("/v1/batch?history=true&source=website", json={"batch": batch})
    (kept,) = await rows(api)
    await mend(api, kept.id, {**batch[0], "userId": "ada"})
    assert [kept.id] == (await release(api, kept.id)).taken
    assert (["signed_up"], []) == (await api.events(), await api.query("select 1 from enrollments"))


async def test_what_journeys_and_calls_to_enroll_left_comes_in_for_whom_it_was_meant(api: Api) -> None:
    """Items that name a customer by our own number, or a journey, keep them through the quarantine."""
    customer = (await api.core.intake.accept([Incoming("identify", "t", "i", identifiers={"user_id": "ada"})]))[0].customer
    wrong = {"number": ["many"]}
    await api.core.intake.accept(
        [
            Incoming("track", "journeys", "e1/s/0", "pinged", wrong, customer=customer, depth=3),
            Incoming("set", "journeys", "e1/s/1", traits={"first_name": {"a": 1}}, customer=customer),
        ]
    )
    emitted, written = await rows(api)
    await mend(api, emitted.id, {"type": "track", "event": "pinged", "properties": {"number": 3}})
    await mend(api, written.id, {"type": "set", "traits": {"first_name": "Ada"}})
    assert [emitted.id, written.id] == (await release(api, emitted.id, written.id)).taken
    found = await api.query("select customer_id, depth, message_id from events where source = 'journeys' order by id")
    assert [(customer, 3, "e1/s/0"), (customer, 0, "e1/s/1")] == [tuple(r) for r in found]
    assert [{"first_name": "Ada"}] == [r.attributes for r in await api.query("select attributes from customers")]


async def test_no_source_can_pretend_to_be_a_journey(api: Api) -> None:
    """A call of a kind that only we have stays malformed, whatever it calls itself."""
    await send(api, {"type": "set", "userId": "ada", "traits": {"a": 1}}, {"type": "enroll", "userId": "ada"})
    numbers = [r.id for r in await rows(api)]
    assert set(numbers) == set((await release(api, *numbers)).still)


async def test_an_alias_is_let_in_once_nobody_stands_against_it(api: Api) -> None:
    """The door's own refusals stay with their reason, and are let in when it is gone."""
    for user in ("ada", "bob"):
        await api.http.post("/v1/identify", json={"userId": user})
    await send(api, {"type": "alias", "previousId": "bob", "userId": "ada", "messageId": "a1"})
    (kept,) = await rows(api)
    assert {kept.id: kept.reason} == (await release(api, kept.id)).still
    await api.query("delete from identifiers where value = 'bob' returning 1")
    assert [kept.id] == (await release(api, kept.id)).taken
    assert 1 == (await api.query("select count(*) from identifiers where value = 'bob'"))[0][0]


async def test_a_dropped_call_is_gone_and_isnt_put_aside_again(api: Api) -> None:
    """Its content is deleted; the same message of a client that tries again isn't collected anew."""
    await send(api, ping(1, timestamp="never"))
    (kept,) = await rows(api)
    assert [kept.id] == await releasing.drop(api.core.database, [kept.id, kept.id + 9], "test")
    assert [] == await releasing.drop(api.core.database, [kept.id], "test")
    await send(api, ping(1, timestamp="never"))
    (gone,) = await rows(api)
    assert (None, None, {}) == (gone.call, gone.mended, gone.body)
    assert gone.dropped_at is not None
    assert ([], {}) == ((found := await release(api, kept.id)).taken, found.still)


values = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
calls = st.fixed_dictionaries(
    {"messageId": st.integers(1, 6).map("m{}".format)},
    optional={
        "type": st.sampled_from(["track", "identify", "page", "group", "alias", "set"]) | values,
        "userId": st.sampled_from(["ada", "bob"]) | values,
        "anonymousId": st.sampled_from(["x", "y"]) | values,
        "previousId": st.sampled_from(["ada", "x", "z"]) | values,
        "groupId": values,
        "event": st.sampled_from(["signed_up", "pinged"]) | values,
        "properties": st.fixed_dictionaries({}, optional={"number": values}) | values,
        "timestamp": st.sampled_from(["2026-03-02T10:00:00Z", "never"]) | values,
    },
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batches=st.lists(st.lists(calls, max_size=5), min_size=1, max_size=3), again=st.booleans())
async def test_every_call_is_an_event_or_lies_in_the_quarantine(api: Api, batches: list[list[Any]], again: bool) -> None:
    """Whatever comes, mixed and repeated: each message id is an event once, or put aside with a reason."""
    await api.query("delete from events returning 1")
    await api.query("delete from quarantine returning 1")
    for batch in batches * (2 if again else 1):
        await send(api, *batch)
    sent = {call["messageId"] for batch in batches for call in batch}
    events = [r.message_id for r in await api.query("select message_id from events where source = 'website'")]
    aside = {r.message_id: r.reason for r in await rows(api)}
    assert sent == {*events, *aside}
    assert len(events) == len(set(events))
    assert all(aside.values())
    numbers = [r.id for r in await rows(api)]
    found = await release(api, *numbers)
    assert set(numbers) == {*found.taken, *found.known, *found.still}
    assert sent == {r.message_id for r in await api.query("select message_id from events where source = 'website'")} | {
        r.message_id for r in await rows(api) if r.released_at is None
    }
