"""`/v1/journeys/NAME/enroll`: the way into a journey whose entry is `api: true`, through the one door like everything else."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from pydantic import BaseModel

from engine.api import describe
from engine.api.calls import name_of, object_of
from engine.api.errors import Refusal
from engine.api.reach import Reach
from engine.api.reading import CALL_LIMIT, checked, read_json
from engine.api.rights import caller
from engine.api.taking import patiently
from engine.core.incoming import Accepted, Incoming
from engine.core.plan import Entry, Plan
from engine.intake.entering import CantEnroll, way_in, with_key
from engine.store import profiles, refusals
from engine.store.database import now, transaction

STATUS = {"unknown_journey": 404, "no_api_entry": 409, "no_key": 400, "key_missing": 400, "bad_field": 400}
"""What a call gets that can't enroll anybody."""


class Enrolled(BaseModel):
    """`enrollments`: the ids of those that this call started; where there are none, `reason` is why."""

    enrollments: list[int]
    reason: str | None = None


def routes(reach: Reach) -> APIRouter:
    """The one route."""
    router = APIRouter(
        prefix="/v1/journeys", tags=["journeys"], responses=describe.errors(400, 401, 403, 404, 409, 413, 415, 503)
    )

    @router.post("/{name}/enroll", summary="Enroll one customer", openapi_extra=describe.call(describe.ENROLL, "token"))
    async def enroll(name: str, request: Request) -> Enrolled:
        """Start one customer's passage through the journey. With a messageId, the same call again changes nothing.

        Needs a token with the role operator or source. 404 for an unknown journey, 409 for one that no call can enter."""
        holder = await caller(reach, request)
        body = await read_json(request, CALL_LIMIT)
        checked(body, "the call")
        async with patiently(), transaction(reach.database) as c:
            plans = (await reach.deployments.current(c)).plans
        try:
            plan, entry = way_in(plans, name)
            properties, key = with_key(entry, body.get("key"), object_of(body, "properties"))
        except CantEnroll as cant:
            raise Refusal(STATUS[cant.code], cant.code, str(cant), cant.hint) from None
        user = name_of(body, "userId")
        if not user:
            raise Refusal(400, "no_identifier", "userId is missing", "an enrollment is a customer's")
        incoming = Incoming(
            "enroll",
            f"token/{holder.name}",
            name_of(body, "messageId") or str(uuid.uuid4()),
            properties=properties,
            identifiers={"user_id": user},
            journey=name,
        )
        accepted = (await reach.entrance.accept([incoming]))[0]
        reason = None if accepted.enrollments else await _why_not(reach, incoming, accepted, plan, entry, key)
        return Enrolled(enrollments=list(accepted.enrollments), reason=reason)

    return router


async def _why_not(reach: Reach, incoming: Incoming, accepted: Accepted, plan: Plan, entry: Entry, key: str) -> str:
    """In words, why a call enrolled nobody."""
    if accepted.erased:
        return accepted.quarantined
    if accepted.quarantined:
        return f"the call was put aside: {accepted.quarantined}"
    if accepted.duplicate:
        return "this messageId was taken before, and changed nothing now"
    async with patiently(), transaction(reach.database) as c:
        deployment = await reach.deployments.current(c)
        admits = deployment.admits(plan, await now(c))
        person = await profiles.person(c, accepted.customer)
        inside = await profiles.in_journey(c, accepted.customer, plan.journey, key)
        refused = await refusals.of_message(c, accepted.customer, incoming.source, incoming.message_id)
    for r in refused:
        if r.journey == plan.journey:
            return str(r.detail)
    if not admits:
        return (
            f"the journey takes nobody now (status {plan.status})"
            if plan.status != "live"
            else "the journey takes nobody at this time"
        )
    if person is not None and person.erased_at is not None:
        return "this customer was erased"
    if inside is not None and inside.status != "ended":
        return f"the customer is in this journey already, as enrollment {inside.id}"
    if inside is not None and entry.again != "always":
        rule = "never" if entry.again == "never" else "only after a while"
        return f"the customer was in this journey before, as enrollment {inside.id}, and may enter again {rule}"
    return "the customer doesn't meet the entry's conditions"
