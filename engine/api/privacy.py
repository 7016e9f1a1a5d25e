"""What people may ask of those who hold their data: all of it (`export`), none of it (`DELETE`), nothing sent, nothing inferred
(`standing`). For tokens with the role `privacy`; each leaves a row in the audit log.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from engine.api import describe
from engine.api.customers import answer, customer_of
from engine.api.errors import Refusal
from engine.api.reach import Reach
from engine.api.reading import CALL_LIMIT, read_json
from engine.api.rights import caller
from engine.api.taking import patiently
from engine.insight.export import export as export_of
from engine.intake import erasing, standing
from engine.intake.door import Intake
from engine.intake.naming import kind_of
from engine.store.database import snapshot

AT_ONCE = 2
"""Exports and erasures under way in one process at the most: they read much, and leave the other connections to intake."""

FIELDS = ("restricted", "objected")
"""What `standing` takes: true or false each."""


def routes(reach: Reach) -> APIRouter:
    """The routes; they stand before those of `customers`, because an id may hold slashes."""
    router = APIRouter(prefix="/v1/customers", tags=["privacy"], responses=describe.errors(400, 401, 403, 404, 503))
    described = describe.security("token")
    few = asyncio.Semaphore(AT_ONCE)

    @router.get("/{user_id:path}/export", summary="Everything held about one customer", openapi_extra=described)
    async def export(request: Request, user_id: str) -> JSONResponse:
        """One JSON document: every row of every table that is about the customer, and what is worked out from them."""
        actor = f"token/{(await caller(reach, request)).name}"
        async with patiently(), few, snapshot(reach.database) as c:
            return answer(await export_of(c, reach.deployments, await customer_of(c, user_id), actor))

    @router.delete("/{user_id:path}", summary="Erase one customer", openapi_extra=described)
    async def erase(
        request: Request,
        user_id: str,
        dry_run: Annotated[bool, Query(description="only say what it would do")] = False,
    ) -> JSONResponse:
        """Removes identifiers, attributes, event properties and content, ends enrollments, and leaves keyed marks of the
        identifiers, so that no import brings the person back. There is no way to undo it."""
        actor = f"token/{(await caller(reach, request)).name}"
        async with patiently(), few:
            try:
                who = partial(customer_of, user_id=user_id)
                done = await erasing.erase(Intake(reach.database, reach.deployments), who, actor, dry_run=dry_run)
            except erasing.CantErase as cant:
                raise Refusal(404, "unknown_customer", str(cant)) from None
        return answer({**done.to_json(), "dry_run": dry_run})

    @router.put("/{user_id:path}/standing", summary="Restrict a customer, or note an objection", openapi_extra=_STANDING)
    async def stand(request: Request, user_id: str) -> JSONResponse:
        """`restricted`: nothing is sent. `objected`: to profiling; computed attributes, segments and stages are not used. What
        isn't given stays as it is."""
        actor = f"token/{(await caller(reach, request)).name}"
        body = await read_json(request, CALL_LIMIT)
        wrong = [name for name in body if name not in FIELDS]
        if wrong or not body:
            said = f"{wrong[0][:40]!r} is unknown" if wrong else "nothing is given"
            raise Refusal(400, "bad_field", said, f"give {' or '.join(FIELDS)}")
        for name, value in body.items():
            if not isinstance(value, bool):
                raise Refusal(400, "bad_field", f"{name} must be true or false, this is {kind_of(value)}")
        async with patiently():
            who = partial(customer_of, user_id=user_id)
            now_is = await standing.stand(Intake(reach.database, reach.deployments), who, body, actor)
        return answer(now_is.to_json())

    return router


_STANDING = describe.call(
    {
        "type": "object",
        "properties": {name: {"type": "boolean"} for name in FIELDS},
        "additionalProperties": False,
        "minProperties": 1,
        "example": {"restricted": True},
    },
    "token",
)
