"""`/v1/inbox`: what the customer's own app or page reads, marks as read, and archives.

A customer has no login with us: the company's backend, which knows who is there, gives the app a token that says who and until
when, signed with the key that only it and we have. It opens this customer's inbox and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from engine.api import describe
from engine.api.customers import answer, customer_of
from engine.api.errors import Refusal
from engine.api.reach import Reach
from engine.api.reading import CALL_LIMIT, read_json
from engine.api.taking import patiently
from engine.store import inbox
from engine.store.database import transaction

PATH = "/v1/inbox"
PAGE, LONGEST_PAGE = 20, 100
"""Messages per page: unless told, and at the most."""
UNREAD = 100
"""Up to how many are counted."""

_MARKS = {
    "type": "object",
    "properties": {
        name: {"type": "array", "maxItems": LONGEST_PAGE, "items": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}}
        for name in ("read", "archive")
    },
    "example": {"read": [17, 18], "archive": [12]},
}


def routes(reach: Reach) -> APIRouter:
    """Both routes."""
    router = APIRouter(tags=["inbox"], responses=describe.errors(400, 401, 404, 503))
    described = describe.security("customerToken")

    @router.get(PATH, summary="A customer's messages", openapi_extra=described)
    async def messages(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = PAGE,
        before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before")] = None,
        archived: Annotated[bool, Query(description="those in the archive instead")] = False,
    ) -> JSONResponse:
        """The newest first. `next` is null on the last page; `unread` counts up to 100."""
        user_id = _customer(reach, request)
        async with patiently(), transaction(reach.database) as c:
            customer = await customer_of(c, user_id)
            found = await inbox.page(c, customer, before, limit + 1, archived)
            unread = await inbox.unread(c, customer, UNREAD)
        page = [dict(r._mapping) for r in found[:limit]]
        return answer({"messages": page, "next": page[-1]["id"] if len(found) > limit else None, "unread": unread})

    @router.post(PATH, summary="Mark messages as read, or archive them", openapi_extra=describe.call(_MARKS, "customerToken"))
    async def mark(request: Request) -> JSONResponse:
        """`marked`: how many of those named are this customer's. Doing it again changes nothing."""
        user_id = _customer(reach, request)
        told = await read_json(request, CALL_LIMIT)
        read, archive = _numbers(told, "read"), _numbers(told, "archive")
        if extra := sorted(set(told) - {"read", "archive"}):
            raise Refusal(400, "bad_request", f"unknown field {extra[0][:100]!r}", "there are `read` and `archive`")
        async with patiently(), transaction(reach.database) as c:
            marked = await inbox.mark(c, await customer_of(c, user_id), read, archive)
        return answer({"marked": marked})

    return router


def _numbers(told: dict[str, Any], name: str) -> list[int]:
    found = told.get(name, [])
    right = isinstance(found, list) and len(found) <= LONGEST_PAGE and all(type(n) is int and 0 < n < 2**63 for n in found)
    if not right:
        raise Refusal(400, "bad_request", f"`{name}` must be a list of at most {LONGEST_PAGE} numbers of messages")
    return list(found)


def _customer(reach: Reach, request: Request) -> str:
    """The user id that the request's token names. Raises Refusal (401)."""
    key = reach.inbox.key
    if key is None:
        raise _unknown("no `inbox.key` is set in sojourn.yaml")
    user_id = customer_in(reach.access.token(request), key.get_secret_value(), reach.wall_clock())
    if user_id is None:
        raise _unknown("this token is not one of ours, or has ended")
    return user_id


def _unknown(message: str) -> Refusal:
    hint = "send `Authorization: Bearer TOKEN`; docs/how-to/show-an-inbox.md says how your backend makes one"
    return Refusal(401, "bad_customer_token", message, hint, {"WWW-Authenticate": 'Bearer realm="sojourn-inbox"'})


def customer_in(token: str, key: str, now: datetime) -> str | None:
    """The user id in a token of the backend's, None where it isn't signed with `key` or has ended.

    A token is `payload.mac`, both base64url without `=`: payload is the JSON object {"customer": user id, "until": seconds since
    1970}, mac the HMAC-SHA256 of the payload as it stands in the token."""
    payload, _, mac = token.partition(".")
    if not hmac.compare_digest(_b64(hmac.new(key.encode(), payload.encode(), hashlib.sha256).digest()), mac.encode()):
        return None
    try:
        told = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        user_id, until = told["customer"], told["until"]
    except (ValueError, TypeError, KeyError, binascii.Error, RecursionError):
        return None
    lasts = isinstance(until, (int, float)) and not isinstance(until, bool) and until > now.timestamp()
    return user_id if lasts and isinstance(user_id, str) and user_id else None


def _b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
