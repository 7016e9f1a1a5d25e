"""`/v1/customers/ID`: what is held about one customer, and what was sent to them or not, and why. Reads only.

ID is the source's own user id, the one of `identify`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.engine import Row

from engine.api import describe
from engine.api.errors import Refusal
from engine.api.reach import Reach
from engine.api.rights import caller
from engine.api.taking import patiently
from engine.core.wire import Json
from engine.insight.asked import BadMoment, read_moment
from engine.insight.why import why as why_of
from engine.store import customers, history, memberships, profiles, refusals
from engine.store.database import Connection, transaction

PAGE, LONGEST_PAGE = 50, 200
"""Messages per page: unless told, and at the most."""


def routes(reach: Reach) -> APIRouter:
    """The routes, the longer paths first: an id may hold slashes."""
    router = APIRouter(prefix="/v1/customers", tags=["customers"], responses=describe.errors(400, 401, 403, 404, 503))
    described = describe.security("token")

    @router.get("/{user_id:path}/messages", summary="What was sent, and what wasn't", openapi_extra=described)
    async def messages(
        request: Request,
        user_id: str,
        limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = PAGE,
        before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before")] = None,
        decisions: Annotated[bool, Query(description="with every decision and every gate's answer")] = False,
    ) -> JSONResponse:
        """The customer's rows of the ledger, newest first. `next` is null on the last page."""
        await caller(reach, request)
        async with patiently(), transaction(reach.database) as c:
            found = await profiles.messages(c, customer := await customer_of(c, user_id), before, limit + 1)
            page = [_plain(r) for r in found[:limit]]
            await _add_became(c, customer, page)
            if decisions:
                await _add_decisions(c, page)
        return answer({"messages": page, "next": page[-1]["id"] if len(found) > limit else None})

    @router.get("/{user_id:path}/why", summary="Why something was sent or wasn't", openapi_extra=described)
    async def why(
        request: Request,
        user_id: str,
        journey: str | None = None,
        at: Annotated[str | None, Query(description="ISO 8601; without an offset by the customer's own clock")] = None,
    ) -> JSONResponse:
        """Every decision about this customer with every gate, in words, as `sojourn why` tells it; with `at`, what stood then."""
        await caller(reach, request)
        try:
            moment = None if at is None else read_moment(at)
            async with patiently(), transaction(reach.database) as c:
                told = await why_of(c, await customer_of(c, user_id), journey, reach.deployments, moment)
        except BadMoment as bad:
            raise Refusal(400, "bad_timestamp", f"at: {bad}", f"{bad.hint}; in a URL + is %2B") from None
        return answer(told.to_json())

    @router.get("/{user_id:path}", summary="One customer", openapi_extra=described)
    async def customer(request: Request, user_id: str) -> JSONResponse:
        """Attributes, identifiers, consents, suppressions, open holds, segments, stages (the newest first), the newest
        enrollments with where they stand, and the newest entries that a limit on journeys refused."""
        await caller(reach, request)
        async with patiently(), transaction(reach.database) as c:
            return answer(await _profile(c, await customer_of(c, user_id)))

    return router


async def customer_of(c: Connection, user_id: str) -> int:
    """Our id of the source's `user_id`. Raises Refusal (404)."""
    found = {} if "\x00" in user_id else await customers.find(c, [("user_id", user_id)])
    if not found:
        hint = "the id is the userId of identify; nobody has come in under this one"
        raise Refusal(404, "unknown_customer", f"there is no customer {user_id[:100]!r}", hint)
    return found[("user_id", user_id)]


async def _profile(c: Connection, customer: int) -> Json:
    person = await profiles.person(c, customer)
    if person is None:
        raise Refusal(404, "unknown_customer", "this customer is gone")
    return {
        **_plain(person),
        "identifiers": [_plain(r) for r in await profiles.identifiers(c, customer)],
        "consents": _consents(await profiles.consents(c, customer)),
        "suppressions": [_plain(r) for r in await profiles.suppressions(c, customer)],
        "holds": [_plain(r) for r in await profiles.holds(c, customer)],
        "segments": [_plain(r) for r in await memberships.of_customer(c, customer)],
        "stages": [_plain(r) for r in await memberships.history(c, customer)],
        "enrollments": [_plain(r) for r in await profiles.enrollments(c, customer)],
        "refusals": [_plain(r) for r in await refusals.of_customer(c, customer)],
    }


def _consents(statements: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """The newest statement for each channel and topic, with the earlier ones under `history`, the latest first."""
    found: list[dict[str, Any]] = []
    for r in statements:
        if found and (found[-1]["channel"], found[-1]["topic"]) == (r.channel, r.topic):
            found[-1]["history"].append({k: v for k, v in _plain(r).items() if k not in ("channel", "topic")})
        else:
            found.append({**_plain(r), "history": []})
    return found


async def _add_became(c: Connection, customer: int, page: list[dict[str, Any]]) -> None:
    by_key: dict[str, list[Json]] = defaultdict(list)
    for r in await history.became(c, customer, [m["key"] for m in page]):
        by_key[r.key].append({k: v for k, v in _plain(r).items() if k != "key"})
    for message in page:
        message["became"] = by_key[message["key"]]


async def _add_decisions(c: Connection, page: list[dict[str, Any]]) -> None:
    by_key: dict[str, list[Json]] = defaultdict(list)
    for r in await profiles.decisions(c, [m["key"] for m in page]):
        by_key[r.key].append(_plain(r))
    for message in page:
        message["decisions"] = by_key[message["key"]]


def _plain(row: Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)


def answer(body: Json) -> JSONResponse:
    """With moments as ISO 8601, and out of every cache: it is personal."""
    return describe.Answer(body, headers={"Cache-Control": "no-store"})
