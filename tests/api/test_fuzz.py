"""Whatever comes in, the answer is never a 500: what can't be understood is a 4xx in the one shape."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.incoming import BUILT_IN
from tests.api.conftest import OPERATOR, Api, error

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "0001-01-01", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", "x\x00", "\ud800", "a" * 3000]),
)
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["signed_up", "confirmed", "pinged", "$identify", *sorted(BUILT_IN)])
properties = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("order_id", "number", "channel", "topic", "state", "until", "task", "hard", "address", "source", "wording"), values),
)
calls = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["track", "identify"]) | values,
        "userId": st.sampled_from(["ada", "bob"]) | values,
        "anonymousId": values,
        "messageId": values,
        "event": names | values,
        "properties": properties | values,
        "traits": st.dictionaries(st.sampled_from(["first_name", "email", "timezone", "country", "x"]), values) | values,
        "timestamp": values,
        "context": st.fixed_dictionaries({"timezone": values}) | values,
        "key": values,
    },
)
good = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify"]), "userId": st.sampled_from(["ada", "bob"]), "event": names},
    optional={"properties": properties, "traits": st.dictionaries(st.sampled_from(["first_name", "timezone"]), values)},
)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def never_ours(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        assert error(answer)[0] in (400, 404, 409, 413)


@FUZZ
@given(call=calls | good, path=st.sampled_from(["track", "identify"]))
async def test_no_call_is_a_500(api: Api, call: Any, path: str) -> None:
    """Any mixture of fields with any values, built-in events among them."""
    never_ours(await api.http.post(f"/v1/{path}", content=dumped(call)))


@FUZZ
@given(batch=st.lists(calls | good, max_size=4) | values)
async def test_no_batch_is_a_500(api: Api, batch: Any) -> None:
    """Good and bad ones together, and what is no list."""
    never_ours(await api.http.post("/v1/batch", content=dumped({"batch": batch})))


@FUZZ
@given(body=st.binary(max_size=200), path=st.sampled_from(["track", "batch"]), zipped=st.booleans())
async def test_no_bytes_are_a_500(api: Api, body: bytes, path: str, zipped: bool) -> None:
    """Bytes that are no JSON, also where they say that they are gzip."""
    headers = {"Content-Encoding": "gzip"} if zipped else {}
    never_ours(await api.http.post(f"/v1/{path}", content=body, headers=headers))


@FUZZ
@given(call=calls, name=st.sampled_from(["invited", "ordered", "welcome", "none"]))
async def test_no_enroll_is_a_500(api: Api, call: Any, name: str) -> None:
    """Any body, into journeys with and without a key."""
    never_ours(await api.http.post(f"/v1/journeys/{name}/enroll", content=dumped(call), auth=None, headers=OPERATOR))
