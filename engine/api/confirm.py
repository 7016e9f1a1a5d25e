"""`/c/TOKEN`: the link by which customers confirm what they agreed to (double opt-in). A POST confirms, a GET only asks.

Source of the rules: semantics.md, "Consent". What is confirmed is exactly what awaits it, with its wording; it goes through the
one door as `consent_changed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from engine.core.consent import awaiting, taken_back
from engine.core.facts import ConsentFact
from engine.core.incoming import Incoming
from engine.core.wire import Json
from engine.delivery.deployment import NothingDeployed
from engine.delivery.facts import consent_fact
from engine.delivery.links import BadLink
from engine.intake.agreeing import CONFIRMATION
from engine.store import customers, identities, planned, profiles
from engine.store.database import now, transaction

FIELD, VALUE = "Confirm", "Yes"

_NO_LINK = "It may have been cut off, or you have given us another address since. Please open it from the newest message."
_STILL = "Nothing is confirmed yet."


@dataclass(frozen=True, slots=True)
class Asked:
    """A link: what it is about, and the mark of the address it went to."""

    link: Link
    mark: str


def routes(reach: Reach) -> APIRouter:
    """Both ways to use a link."""
    router = APIRouter(tags=["consent"], default_response_class=HTMLResponse)
    answers: dict[int | str, dict[str, Any]] = {
        404: {"description": "No link of ours, or one to an address that the customer no longer has."},
        503: {"description": "Not now; try again."},
    }

    @router.head("/c/{token}", include_in_schema=False)
    @router.get("/c/{token}", summary="Ask before confirming", responses=answers)
    async def ask(token: str) -> HTMLResponse:
        """A page with one button. Changes nothing, because programs follow links too."""
        asked = _read(reach, token)
        return unknown(_NO_LINK) if asked is None else _question(asked.link)

    @router.post("/c/{token}", summary="Confirm a consent", responses=answers, openapi_extra=form(FIELD, VALUE))
    async def confirm(token: str, request: Request) -> HTMLResponse:
        """Turns what awaits its confirmation on the link's channel and topic into consent; nothing else changes."""
        asked = _read(reach, token)
        try:
            waiting, alone, customer = (None, False, 0) if asked is None else await _awaiting(reach, asked)
            if asked is None or waiting is None:
                return unknown(_NO_LINK)
            if (FIELD, VALUE) not in parse_qsl((await read_body(request, FORM_LIMIT)).decode(errors="replace")):
                return _question(asked.link, status=400)
            link = replace(asked.link, customer=customer)
            await reach.entrance.accept([_confirmation(link, r, alone=alone) for r in waiting])
        except (Refusal, NothingDeployed, SQLAlchemyError, OSError) as error:
            return not_now(refusal_of(error), _STILL, FIELD, VALUE)
        if not waiting:
            return page("Nothing to confirm", paragraph("You have confirmed it already, or changed your mind since."))
        return page(
            "Thank you", paragraph(f"You have agreed to get {asked.link.about()} from us. You can stop them at any time.")
        )

    return router


def _read(reach: Reach, token: str) -> Asked | None:
    """What the link says; None where it isn't one of ours."""
    try:
        match reach.links.read(token):
            case [int(customer), str(channel), None | str() as topic, str(mark)]:
                return Asked(Link(customer, channel, topic), mark)
    except BadLink:
        return None
    return None


async def _awaiting(reach: Reach, asked: Asked) -> tuple[list[ConsentFact] | None, bool, int]:
    """What the link can confirm, None where its address isn't the customer's (any more), or there is nobody; whether its channel
    alone wants to be confirmed; and whom the customer was merged into, if they were."""
    link = asked.link
    async with patiently(), transaction(reach.database) as c:
        customer = await identities.survivor(c, link.customer)
        person = await profiles.person(c, customer)
        if person is None or person.erased_at is not None:
            return None, False, customer
        attribute = (await planned.addresses(c)).get(link.channel, "")
        address = str(person.attributes.get(attribute) or "") if attribute else str(link.customer)
        if not reach.links.sent_to(asked.mark, address):
            return None, False, customer
        policy = (await reach.deployments.current(c)).policy
        alone = not any(rule.double_opt_in and rule.channel != link.channel for rule in policy.consent)
        told, moment = [consent_fact(r) for r in await customers.consents(c, [customer])], await now(c)
        waiting = awaiting(told, link.channel, link.topic, moment)
        return [s for s in waiting if not taken_back(told, s, _channel(link, s, alone=alone), moment)], alone, customer


def _channel(link: Link, statement: ConsentFact, *, alone: bool) -> str:
    """What was said of every channel is confirmed for the link's only, unless that is `alone` in asking: who reads e-mail here
    may not be who has the phone."""
    return statement.channel if alone else link.channel


def _confirmation(link: Link, statement: ConsentFact, *, alone: bool) -> Incoming:
    """The event. One per statement that is confirmed, so repeats change nothing."""
    channel = _channel(link, statement, alone=alone)
    told: dict[str, Json] = {
        "channel": channel,
        "topic": statement.topic,
        "state": "granted",
        "confirmed": True,
        "source": "link",
    }
    if statement.wording:
        told["wording"] = statement.wording
    return Incoming(
        "track", CONFIRMATION, f"{link.customer}/{statement.version}/{channel}", "consent_changed", told, customer=link.customer
    )


def _question(link: Link, status: int = 200) -> HTMLResponse:
    return page(
        "Please confirm",
        paragraph(f"Press the button if you want to get {link.about()} from us."),
        button("Confirm", FIELD, VALUE),
        paragraph("If you didn’t ask for it, just close this page: you will get nothing.", quiet=True),
        status=status,
    )
