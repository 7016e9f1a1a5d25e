"""`/v1/track`, `/v1/identify`, `/v1/batch`: Segment's calls come in. The answer leaves after the commit, never before."""

from __future__ import annotations

from fastapi import APIRouter, Request

from engine.api import describe
from engine.api.calls import incoming_of, incoming_of_batch
from engine.api.errors import Refusal
from engine.api.reach import Reach
from engine.api.reading import BATCH_LIMIT, CALL_LIMIT, read_json
from engine.api.taking import take


def routes(reach: Reach) -> APIRouter:
    """The three routes."""
    router = APIRouter(prefix="/v1", tags=["events"], responses=describe.errors(400, 401, 413, 415, 503))

    @router.post("/track", summary="Something happened", openapi_extra=describe.call(describe.TRACK))
    async def track(request: Request) -> describe.Success:
        """One event of one person. A messageId that this source has used before is acknowledged and changes nothing."""
        source = reach.access.source(request)
        await take(reach, [incoming_of(await read_json(request, CALL_LIMIT), "track", source)])
        return describe.Success()

    @router.post("/identify", summary="Who somebody is", openapi_extra=describe.call(describe.IDENTIFY))
    async def identify(request: Request) -> describe.Success:
        """Traits become the person's attributes; a trait that is null removes one."""
        source = reach.access.source(request)
        await take(reach, [incoming_of(await read_json(request, CALL_LIMIT), "identify", source)])
        return describe.Success()

    @router.post("/batch", summary="Many calls at once", openapi_extra=describe.call(describe.BATCH, "writeKey", "token"))
    async def batch(request: Request, history: bool = False, source: str | None = None) -> describe.Success:
        """Up to 2500 calls, in order. A call that can't be understood refuses them all.

        `history=true` imports the past: stored and counted, enrolls and wakes nobody. It needs a Bearer token with the role
        operator instead of a write key; `source` then names the write key whose messageIds these share."""
        name = _importer(reach, request, source) if history else reach.access.source(request)
        calls = incoming_of_batch(await read_json(request, BATCH_LIMIT), name, history=history)
        if calls:
            await take(reach, calls)
        return describe.Success()

    return router


def _importer(reach: Reach, request: Request, source: str | None) -> str:
    """The source under which an import's message ids are unique. Raises Refusal."""
    caller = reach.access.caller(request, "operator")
    if source is None:
        return f"token/{caller.name}"
    if source not in reach.access.sources.values():
        raise Refusal(400, "unknown_source", f"there is no source {source[:100]!r}", "sources are the names under write_keys")
    return source
