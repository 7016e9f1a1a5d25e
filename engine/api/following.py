"""`/r/TOKEN`, `/l/TOKEN` and `/o/TOKEN`: links and pictures in messages, which note that somebody clicked or opened. No login.

A link leads where it led when the message was sent and nowhere else: its URL is signed in the token, or stands with its code in
the store. That the reader gets there comes first; what can't be noted within a moment is said in the log.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.exc import SQLAlchemyError

from engine.api.errors import Refusal
from engine.api.linked import unknown
from engine.api.machines import is_machine
from engine.api.reach import Reach
from engine.core.incoming import Incoming
from engine.core.wire import Json
from engine.delivery.deployment import NothingDeployed
from engine.delivery.guard import inside, looked_up_inside
from engine.delivery.links import BadLink
from engine.intake.feedback import about
from engine.observe.words import in_a_line
from engine.store import feedback, short_links
from engine.store.database import transaction

log = logging.getLogger("sojourn.api")

SOURCE = "links"
"""The source of clicks and opens that the API notes by itself."""

PATIENCE = 2.0
"""Seconds that a reader waits at the most until the click is noted."""

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""A transparent picture of one pixel."""

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}

_NO_LINK = "It may have been cut off, or it is too old. Please open it once more from the message, as a whole."


def routes(reach: Reach) -> APIRouter:
    """The three ways in."""
    answers: dict[int | str, dict[str, Any]] = {404: {"description": "No link of ours."}}
    router = APIRouter(tags=["links"], responses=answers)

    @router.head("/r/{token}", include_in_schema=False)
    @router.get("/r/{token}", summary="Follow a link of a letter", status_code=302, response_class=RedirectResponse)
    async def clicked(token: str, request: Request) -> Response:
        """Notes the click, and leads to the URL that the token holds."""
        match _read(reach, token):
            case ["click", str(message), int(customer), str(url)]:
                return await _onward(reach, request, message, customer, url)
        return unknown(_NO_LINK)

    @router.head("/l/{token}", include_in_schema=False)
    @router.get("/l/{token}", summary="Follow a link of a text", status_code=302, response_class=RedirectResponse)
    async def short(token: str, request: Request) -> Response:
        """Notes the click, and leads to the URL that the token is the code of."""
        if not (token.isascii() and token.isalnum()):
            return unknown(_NO_LINK)
        async with transaction(reach.database) as c:
            found = await short_links.find(c, token)
        return unknown(_NO_LINK) if found is None else await _onward(reach, request, found.message, found.customer_id, found.url)

    @router.head("/o/{token}", include_in_schema=False)
    @router.get("/o/{token}", summary="Open a letter", response_class=Response)
    async def opened(token: str, request: Request) -> Response:
        """Notes that the letter was opened. The answer is a picture, whatever the token is."""
        match _read(reach, token):
            case ["open", str(message), int(customer)] if request.method == "GET":
                await _note(reach, "message_opened", message, customer, "", machine=is_machine(request.headers))
        return Response(PIXEL, media_type="image/gif", headers=HEADERS)

    return router


def _read(reach: Reach, token: str) -> list[Any]:
    """What a token says; nothing where it isn't ours."""
    try:
        return list(reach.links.read(token))
    except BadLink:
        return []


async def _onward(reach: Reach, request: Request, message: str, customer: int, url: str) -> Response:
    """To the URL. What leads inside by now leads nowhere."""
    host = urlsplit(url).hostname or ""
    if inside(host) or await looked_up_inside(host):
        return HTMLResponse(unknown(_NO_LINK).body, 404, HEADERS)
    machine = request.method == "HEAD" or is_machine(request.headers)
    await _note(reach, "message_clicked", message, customer, url, machine=machine)
    return RedirectResponse(url, 302, HEADERS)


async def _note(reach: Reach, name: str, message: str, customer: int, url: str, *, machine: bool) -> None:
    """The event, through the door: once a minute for each link, however often programs ask on the way."""
    now = reach.now()
    try:
        async with asyncio.timeout(PATIENCE):
            async with transaction(reach.database) as c:
                rows = await feedback.messages(c, "", [message], [])
            said: dict[str, Json] = about(rows[0]) if rows else {"message": message}
            said |= {"url": url} if url else {}
            said |= {"machine": True} if machine else {}
            place = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:16]
            number = f"{name}/{message}/{place}/{now:%Y-%m-%dT%H:%M}{'/machine' if machine else ''}"
            event = Incoming("track", SOURCE, number, name, said, customer=customer, occurred_at=now)
            await reach.entrance.accept([event])
    except (Refusal, NothingDeployed, SQLAlchemyError, OSError) as error:  # TimeoutError is one of them
        log.warning("a %s couldn't be noted: %s", name, error.code if isinstance(error, Refusal) else in_a_line(error))
