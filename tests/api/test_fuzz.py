"""Whatever comes in, the answer is never a 500: what can't be understood is a 4xx in the one shape."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api.calls import KINDS
from engine.authoring.model_tracking import BUILTIN
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
names = st.sampled_from(["signed_up", "confirmed", "pinged", "$identify", *(e.name for e in BUILTIN)])
FIELDS = ("order_id", "number", "channel", "topic", "state", "until", "task", "hard", "address", "source", "wording")
properties = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, values))
calls = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS) | values,
        "userId": st.sampled_from(["ada", "bob"]) | values,
        "anonymousId": values,
        "previousId": st.sampled_from(["ada", "eve"]) | values,
        "groupId": st.sampled_from(["acme"]) | values,
        "name": values,
        "category": values,
        "sentAt": st.sampled_from(["2026-03-02T10:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]) | values,
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


LONG = "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(100))
"""6 400 characters that don't compress: more than an index takes."""

sayable = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20).map(str.strip)
"""What a header may say: blanks at its ends are none of it."""

POISON = [
    ("consent_changed", {"channel": "email", "state": "granted", "until": "some day"}),
    ("consent_changed", {"channel": {"a": 1}, "topic": ["b"], "state": "granted", "until": {"c": 2}}),
    ("consent_changed", {"channel": LONG, "topic": LONG, "state": "withdrawn"}),
    ("message_bounced", {"channel": "email", "hard": True, "address": LONG}),
    ("message_complained", {"channel": LONG, "address": {"a": [1]}}),
    ("task_completed", {"task": 2**63}),
    ("confirmed", {"order_id": LONG}),
    ("pinged", {"number": 1e300}),
]


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def never_ours(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        assert error(answer)[0] in (400, 404, 409, 413)


@FUZZ
@given(call=calls | good, path=st.sampled_from([*KINDS, *(kind[0] for kind in KINDS)]))
async def test_no_call_is_a_500(api: Api, call: Any, path: str) -> None:
    """Any mixture of fields with any values, built-in events among them."""
    never_ours(await api.http.post(f"/v1/{path}", content=dumped(call)))


@FUZZ
@given(batch=st.lists(calls | good, max_size=4) | values, shared=st.fixed_dictionaries({}, optional={"sentAt": values}))
async def test_no_batch_is_a_500(api: Api, batch: Any, shared: dict[str, Any]) -> None:
    """Good and bad ones together, and what is no list."""
    never_ours(await api.http.post("/v1/batch", content=dumped({"batch": batch, **shared})))


@FUZZ
@given(call=calls, key=values, origin=sayable)
async def test_no_browser_is_a_500(api: Api, call: Any, key: Any, origin: str) -> None:
    """Any write key in any body, from any origin, asked beforehand or not."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": origin}
    async with httpx.AsyncClient(base_url=api.http.base_url, headers=headers, timeout=60) as http:
        assert (await http.options("/v1/t")).status_code in (204, 405)
        answer = await http.post("/v1/t", content=dumped({**call, "writeKey": key}))
        assert answer.status_code in (400, 401, 413)


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
    async with httpx.AsyncClient(base_url=api.http.base_url, headers=OPERATOR, timeout=60) as http:
        never_ours(await http.post(f"/v1/journeys/{name}/enroll", content=dumped(call)))


@pytest.mark.parametrize(("event", "properties"), POISON)
async def test_values_that_no_column_holds_are_not_a_500(api: Api, event: str, properties: dict[str, Any]) -> None:
    """Built-in events with values of the wrong kind, and text that is too long for an index."""
    never_ours(await api.http.post("/v1/track", json={"userId": "ada", "event": event, "properties": properties}))
