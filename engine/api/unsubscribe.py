"""`/u/TOKEN`: the link in every message. A POST withdraws, a GET only asks; no login, no cookie, no redirect; it never expires.

Source of the rules: RFC 8058 and semantics.md, "Consent". The withdrawal goes through the one door as `unsubscribed`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError

from engine.api.errors import Refusal, refusal_of
from engine.api.linked import FORM_LIMIT, Link, form, not_now, unknown
from engine.api.pages import button, page, paragraph
from engine.api.reach import Reach
from engine.api.reading import read_body
from engine.api.taking import patiently
from engine.core.incoming import Incoming
from engine.delivery.deployment import NothingDeployed
from engine.delivery.links import BadLink
from engine.store import identities, profiles
from engine.store.database import transaction

FIELD, VALUE = "List-Unsubscribe", "One-Click"

SOURCE = "unsubscribe"

_NO_LINK = "It may have been cut off. Please open it once more from the message, as a whole."
_STILL = "You are not unsubscribed yet."


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
        return unknown(_NO_LINK) if link is None else _question(link)

    @router.post("/u/{token}", summary="Unsubscribe", responses=answers, openapi_extra=form(FIELD, VALUE))
    async def withdraw(token: str, request: Request) -> HTMLResponse:
        """Withdraws the consent to the link's channel and topic. Once withdrawn, again changes nothing."""
        link = _read(reach, token)
        try:
            link = None if link is None else await _today(reach, link)
            if link is None:
                return unknown(_NO_LINK)
            if not _one_click(await read_body(request, FORM_LIMIT), request.headers.get("content-type", "")):
                return _question(link, status=400)
            await reach.entrance.accept([await _withdrawal(reach, link)])
        except (Refusal, NothingDeployed, SQLAlchemyError, OSError) as error:
            return not_now(refusal_of(error), _STILL, FIELD, VALUE)
        return page(
            "You’re unsubscribed",
            paragraph(f"You will get no more {link.about()} from us."),
            paragraph("It takes effect at once. A message that was already on its way may still arrive.", quiet=True),
        )

    return router


def _read(reach: Reach, token: str) -> Link | None:
    """What the link says; None where it isn't one of ours."""
    try:
        match reach.links.read(token):
            case [int(customer), str(channel), None | str() as topic]:
                return Link(customer, channel, topic)
    except BadLink:
        return None
    return None


async def _today(reach: Reach, link: Link) -> Link | None:
    """The link for whom its customer is today, who may have been merged since; None where there is no such customer."""
    async with patiently(), transaction(reach.database) as c:
        customer = await identities.survivor(c, link.customer)
        return None if await profiles.person(c, customer) is None else replace(link, customer=customer)


async def _withdrawal(reach: Reach, link: Link) -> Incoming:
    """The event. Its message id is the same until the customer agrees to something again, or a withdrawal is cleared: so repeats
    change nothing, and the same link works once more after somebody has come back."""
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
