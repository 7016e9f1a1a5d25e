"""`/u/TOKEN`: the link in every message. A POST withdraws, a GET only asks; no login, no cookie, no redirect; it never expires.

Source of the rules: RFC 8058 and semantics.md, "Consent". The withdrawal goes through the one door as `unsubscribed`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError

from engine.api.errors import RETRY_AFTER, Refusal, refusal_of
from engine.api.pages import button, page, paragraph
from engine.api.reach import Reach
from engine.api.reading import read_body
from engine.api.taking import patiently, take
from engine.core.incoming import Incoming
from engine.delivery.deployment import NothingDeployed
from engine.delivery.links import BadLink
from engine.store import profiles
from engine.store.database import transaction

FIELD, VALUE = "List-Unsubscribe", "One-Click"

SOURCE = "unsubscribe"

FORM_LIMIT = 16 * 1024
_KINDS = {"email": "e-mails", "sms": "text messages", "push": "notifications"}


@dataclass(frozen=True, slots=True)
class Link:
    """What a link is about. `topic` None: the whole channel."""

    customer: int
    channel: str
    topic: str | None

    def about(self) -> str:
        """For the customer, in words."""
        kind = _KINDS.get(self.channel, "messages")
        return kind if self.topic is None else f"{kind} about “{self.topic.replace('_', ' ')}”"


def routes(reach: Reach) -> APIRouter:
    """Both ways to use a link."""
    router = APIRouter(tags=["unsubscribe"], default_response_class=HTMLResponse)
    answers: dict[int | str, dict[str, Any]] = {
        404: {"description": "No link of ours."},
        503: {"description": "Not now; try again."},
    }

    @router.head("/u/{token}", include_in_schema=False)
    @router.get("/u/{token}", summary="Ask before unsubscribing", responses=answers)
    async def ask(token: str) -> HTMLResponse:
        """A page with one button. Changes nothing, because programs follow links too."""
        link = _read(reach, token)
        return _unknown() if link is None else _question(link)

    @router.post("/u/{token}", summary="Unsubscribe", responses=answers, openapi_extra={"requestBody": _BODY})
    async def withdraw(token: str, request: Request) -> HTMLResponse:
        """Withdraws the consent to the link's channel and topic. Once withdrawn, again changes nothing."""
        link = _read(reach, token)
        try:
            if link is None or not await _known(reach, link):
                return _unknown()
            if not _one_click(await read_body(request, FORM_LIMIT), request.headers.get("content-type", "")):
                return _question(link, status=400)
            await take(reach, [await _withdrawal(reach, link)])
        except (Refusal, NothingDeployed, SQLAlchemyError, OSError) as error:
            return _not_now(refusal_of(error))
        return page(
            "You’re unsubscribed",
            paragraph(f"You will get no more {link.about()} from us."),
            paragraph("It takes effect at once. A message that was already on its way may still arrive.", quiet=True),
        )

    return router


_BODY = {
    "required": True,
    "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": {FIELD: {"const": VALUE}}}}},
}


def _read(reach: Reach, token: str) -> Link | None:
    """What the link says; None where it isn't one of ours."""
    try:
        match reach.links.read(token):
            case [int(customer), str(channel), None | str() as topic]:
                return Link(customer, channel, topic)
    except BadLink:
        return None
    return None


async def _known(reach: Reach, link: Link) -> bool:
    async with patiently(), transaction(reach.database) as c:
        return await profiles.person(c, link.customer) is not None


async def _withdrawal(reach: Reach, link: Link) -> Incoming:
    """The event. Its message id is the same until the customer agrees to something again: so repeats change nothing, and the same
    link works once more after somebody has come back."""
    async with patiently(), transaction(reach.database) as c:
        agreed = await profiles.last_consent_given(c, link.customer)
    about = f"{link.channel}/{'*' if link.topic is None else link.topic}"
    return Incoming(
        "track",
        SOURCE,
        f"{link.customer}/{about}/{agreed}",
        "unsubscribed",
        {"channel": link.channel, "topic": link.topic},
        customer=link.customer,
    )


def _one_click(body: bytes, content_type: str) -> bool:
    """Whether the body says List-Unsubscribe=One-Click, in either of the forms that RFC 8058 allows."""
    text = body.decode(errors="replace")
    if content_type.lower().startswith("multipart/form-data"):
        return re.search(rf'name="?{FIELD}"?[^\n]*\r?\n(?:[^\n]+\n)*\r?\n{VALUE}\s', text, re.IGNORECASE) is not None
    return (FIELD.lower(), VALUE.lower()) in {(k.lower(), v.strip().lower()) for k, v in parse_qsl(text)}


def _question(link: Link, status: int = 200) -> HTMLResponse:
    return page(
        "Unsubscribe?",
        paragraph(f"Press the button, and you will get no more {link.about()} from us."),
        button("Unsubscribe", FIELD, VALUE),
        paragraph("If you want to keep getting them, just close this page.", quiet=True),
        status=status,
    )


def _unknown() -> HTMLResponse:
    return page(
        "This link doesn’t work",
        paragraph("It may have been cut off. Please open it once more from the message, as a whole."),
        status=404,
    )


def _not_now(refusal: Refusal) -> HTMLResponse:
    headers = {"Retry-After": str(RETRY_AFTER)} if refusal.status == 503 else {}
    text = "You are not unsubscribed yet. Please try again in a minute."
    return page("That didn’t work", paragraph(text), button("Try again", FIELD, VALUE), status=refusal.status, headers=headers)
