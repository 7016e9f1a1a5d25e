"""Requests made from the OpenAPI document itself, right and wrong ones: the answer is one of those that the document names, and
never a 500."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from engine.api.access import Access
from engine.api.app import create_app
from engine.api.reach import Reach
from engine.core.incoming import Incoming
from tests.api.conftest import SETTINGS, Api, error

DOCUMENT = create_app(Reach("test-co", Access.of(SETTINGS), *[None] * 5)).openapi()  # type: ignore[arg-type]  # it is only read
OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
SHORT = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=CHECKS)
LONG = settings(max_examples=5_000, deadline=None, database=None, suppress_health_check=CHECKS)

KEY, TOKEN = ("wk_website", ""), "Bearer token_operator"
OTHERS = (("wk_backend", ""), "Bearer token_analyst", "Bearer token_privacy", None)
"""Ways in that aren't always right; None: whatever the document's own scheme gives."""
KNOWN = {"user_id": "ada", "name": "invited"}
"""Values of path parameters that lead somewhere."""
ADA = Incoming("identify", "backend", "i1", traits={"email": "ada@example.com"}, identifiers={"user_id": "ada"})


async def ask(api: Api, data: Any) -> None:
    """One request, and what its answer must be."""
    operation = data.draw(st.sampled_from(OPERATIONS), "operation")
    case = data.draw(operation.as_strategy(generation_mode=data.draw(st.sampled_from(MODES), "mode")), "case")
    if data.draw(st.booleans(), "known"):
        case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters if name in KNOWN})
    given_ = case.as_transport_kwargs(base_url=api.address)
    prepared = requests.Request(
        **{k: v for k, v in given_.items() if k in ("method", "url", "headers", "params", "json", "data")}
    )
    sent = prepared.prepare()
    right = TOKEN if "/customers/" in operation.path or "/journeys/" in operation.path else KEY
    who = data.draw(st.sampled_from((right, right, right, *OTHERS)), "who")
    headers = {k: v for k, v in sent.headers.items() if k.lower() not in ("host", "content-length", "transfer-encoding")}
    if isinstance(who, str):
        headers["Authorization"] = who
    auth = who if isinstance(who, tuple) else None
    async with httpx.AsyncClient(timeout=60) as http:
        try:
            answer = await http.request(sent.method or "", sent.url or "", content=sent.body or b"", headers=headers, auth=auth)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError):
            return  # nothing that could be sent
    told = (operation.method, operation.path, answer.status_code, answer.text[:300])
    assert answer.status_code < 500 or answer.status_code == 503, told
    named = {*DOCUMENT["paths"][operation.path][operation.method]["responses"], "404", "405"}
    assert str(answer.status_code) in named or answer.status_code in (303, 307), told
    if answer.status_code >= 400 and "json" in answer.headers.get("content-type", "") and "error" in answer.json():
        error(answer)


@SHORT
@given(data=st.data())
async def test_no_request_that_the_document_describes_or_forbids_is_a_500(api: Api, data: Any) -> None:
    """A short pass over all operations."""
    await api.core.intake.accept([ADA])
    await ask(api, data)


@pytest.mark.nightly
@LONG
@given(data=st.data())
async def test_a_long_pass(api: Api, data: Any) -> None:
    """Other requests every night."""
    await api.core.intake.accept([ADA])
    await ask(api, data)
