"""`/v1/log`: the audit log, page by page. Reads only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from engine.api import describe
from engine.api.customers import LONGEST_PAGE, PAGE, answer
from engine.api.reach import Reach
from engine.api.rights import caller
from engine.api.taking import patiently
from engine.store import audit
from engine.store.database import transaction


def routes(reach: Reach) -> APIRouter:
    """The one route."""
    router = APIRouter(prefix="/v1/log", tags=["privacy"], responses=describe.errors(400, 401, 403, 503))

    @router.get("", summary="Who did what", openapi_extra=describe.security("token"))
    async def log(
        request: Request,
        actor: str | None = None,
        act: str | None = None,
        subject: Annotated[str | None, Query(description="one (customer/7), or a kind (customer)")] = None,
        limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = PAGE,
        before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before")] = None,
    ) -> JSONResponse:
        """The audit log, newest first: ids only. `next` is null on the last page."""
        await caller(reach, request)
        if any("\x00" in text for text in (actor, act, subject) if text):
            return answer({"log": [], "next": None})
        async with patiently(), transaction(reach.database) as c:
            found = await audit.listing(c, actor=actor, act=act, subject=subject, before=before, limit=limit + 1)
        page = [dict(r._mapping) for r in found[:limit]]
        return answer({"log": page, "next": page[-1]["id"] if len(found) > limit else None})

    return router
