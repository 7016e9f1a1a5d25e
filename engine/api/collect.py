"""`/v1/track` and its like: Segment's calls come in. The answer leaves after the commit, never before.

Each kind of call has a route of its own name and one of its first letter, which is what analytics.js calls; so has `batch`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request

from engine.api import describe, keeping
from engine.api.calls import KINDS, Arrival, Kind, Malformed, read_batch, read_call
from engine.api.errors import Refusal
from engine.api.reach import Reach
from engine.api.reading import BATCH_LIMIT, CALL_LIMIT, read_json
from engine.api.rights import caller
from engine.api.taking import patiently
from engine.core.incoming import Accepted, Incoming
from engine.intake.forgetting import NOT_KEPT
from engine.store import audit, sources
from engine.store.database import transaction

PATHS = frozenset(f"/v1/{name}" for kind in (*KINDS, "batch") for name in (kind, kind[0]))
"""Where sources send to."""

_SUMMARIES: dict[Kind, tuple[str, str, describe.Json]] = {
    "track": (
        "Something happened",
        "One event of one person. A messageId that this source has used before is acknowledged and changes nothing.",
        describe.TRACK,
    ),
    "identify": (
        "Who somebody is",
        "Traits become the person's attributes; a trait that is null removes one.",
        describe.IDENTIFY,
    ),
    "alias": (
        "Who somebody was",
        "The previous id is the same person as the user id. Put aside where the two are known as two already.",
        describe.ALIAS,
    ),
    "group": (
        "Which group somebody is in",
        "The group's id and traits become the person's attributes `group_id` and `group`.",
        describe.GROUP,
    ),
    "page": ("Somebody saw a page", "The event `page`, with the page's name as the property `page_name`.", describe.PAGE),
    "screen": ("Somebody saw a screen", "The event `screen`, with its name as the property `screen_name`.", describe.SCREEN),
}


def routes(reach: Reach) -> APIRouter:
    """All of PATHS."""
    answers = describe.errors(400, 401, 403, 413, 415, 429, 503)
    router = APIRouter(prefix="/v1", tags=["events"], responses=answers)
    for kind in KINDS:
        _alone(router, reach, kind)

    async def batch(request: Request, history: bool = False, source: str | None = None) -> describe.Success:
        """Up to 2500 calls, in order. A call that can't be understood is put aside, and the others are taken.

        `history=true` imports the past: stored and counted, enrolls and wakes nobody. It needs a Bearer token with the role
        operator instead of a write key; `source` then names the write key whose messageIds these share."""
        importer = (await caller(reach, request)).name if history else ""
        known = _imported(reach, importer, source) if history else reach.access.source(request)
        async with _counted(reach, known):
            body = await read_json(request, BATCH_LIMIT)
        name = known or reach.access.source_in(body)
        async with _counted(reach, name):
            if not history:
                reach.access.from_origin(name, request)
            calls = read_batch(body, Arrival(name, reach.now(), history))
            if history:
                async with patiently(), transaction(reach.database) as c:
                    await audit.note(c, f"token/{importer}", "import", [f"source/{name}"], {"calls": len(calls)})
            else:
                await _paced(reach, name, len(calls))
            return describe.Success(quarantined=keeping.aside(await _taken(reach, name, calls, history=history)))

    described = describe.call(describe.BATCH, "writeKey", "token")
    _add(router, "batch", batch, summary="Many calls at once", openapi_extra=described)
    return router


def _alone(router: APIRouter, reach: Reach, kind: Kind) -> None:
    """The route of one kind of call."""

    async def call(request: Request) -> describe.Success:
        known = reach.access.source(request)
        async with _counted(reach, known):
            body = await read_json(request, CALL_LIMIT)
        name = known or reach.access.source_in(body)
        async with _counted(reach, name):
            reach.access.from_origin(name, request)
            await _paced(reach, name, 1)
        one = read_call(body, kind, Arrival(name, reach.now()))
        answers = await _taken(reach, name, [one])
        if isinstance(one, Malformed) and one in answers:
            raise await keeping.refused_alone(reach, name, one)
        return describe.Success(quarantined=keeping.aside(answers, alone=True))

    summary, about, schema = _SUMMARIES[kind]
    _add(router, kind, call, summary=summary, description=about, openapi_extra=describe.call(schema))


def _add(router: APIRouter, name: str, endpoint: Any, **described: Any) -> None:
    """One route under its name, and under its first letter."""
    same: dict[str, Any] = {"methods": ["POST"], "response_model_exclude_none": True}
    router.add_api_route(f"/{name}", endpoint, name=name, **same, **described)
    router.add_api_route(f"/{name[0]}", endpoint, name=name[0], include_in_schema=False, **same)


async def _taken(
    reach: Reach, source: str, calls: Sequence[Incoming | Malformed], *, history: bool = False
) -> list[Accepted | Malformed]:
    """Take what can be understood and put the rest aside; what became of each, in order. On return all of it is on disk."""
    malformed = [one for one in calls if isinstance(one, Malformed)]
    forgotten = {id(malformed[n]) for n in await keeping.keep(reach, source, malformed, history=history)}
    unkept = Accepted(0, quarantined=NOT_KEPT, erased=True)
    understood = [one for one in calls if isinstance(one, Incoming)]
    accepted = iter(await reach.entrance.accept(understood) if understood else [])
    answers = [(unkept if id(one) in forgotten else one) if isinstance(one, Malformed) else next(accepted) for one in calls]
    aside = sum(isinstance(one, Malformed) or bool(one.quarantined) for one in answers)
    again = sum(isinstance(one, Accepted) and one.duplicate for one in answers)
    reach.tally.add(reach.database, source, accepted=len(answers) - aside - again, duplicate=again, quarantined=aside)
    return answers


async def _paced(reach: Reach, source: str, calls: int) -> None:
    """Raise Refusal (429) where the source has used up its rate."""
    rate = reach.access.of_source(source).rate
    if rate is None or not calls:
        return
    async with patiently():
        wait = math.ceil(await sources.admit(reach.database, source, rate, calls))
    if wait:
        hint = "send it again then: a messageId makes that safe; sojourn.yaml has the rate under sources"
        headers = {"Retry-After": str(wait), "X-RateLimit-Reset": str(wait)}
        message = f"the source {source!r} has sent more than its {rate:g} calls a second; there is room in {wait} s"
        raise Refusal(429, "rate_limited", message, hint, headers)


@asynccontextmanager
async def _counted(reach: Reach, source: str | None) -> AsyncIterator[None]:
    """Count a request that is turned away for what its sender did, where the source is known."""
    try:
        yield
    except Refusal as refusal:
        if source is not None and refusal.status < 500:
            reach.tally.add(reach.database, source, refused=1)
        raise


def _imported(reach: Reach, importer: str, source: str | None) -> str:
    """The source under which an import's message ids are unique. Raises Refusal."""
    if source is None:
        return f"token/{importer}"
    if source not in reach.access.sources.values():
        raise Refusal(400, "unknown_source", f"there is no source {source[:100]!r}", "sources are the names under write_keys")
    return source
