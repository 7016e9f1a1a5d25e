"""`/p/TOKEN`: the page on which customers choose what to get, take a break, and get fewer messages. A GET only shows, a POST
saves.

No login, no cookie, no script. What is chosen goes through the one door, as `consent_changed` with how it was said and to which
wording, and as an attribute where a limit is chosen. A project's own page is `templates/pages/preferences.html.j2`, rendered in
the same bounds as messages. docs/reference/preferences.md."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError

from engine.api import pages
from engine.api.errors import RETRY_AFTER, Refusal, refusal_of
from engine.api.linked import FORM_LIMIT, form
from engine.api.preference_form import Shown, Submitted, Wrong, calls, context, limits_of, submitted
from engine.api.preference_words import Words, words_for
from engine.api.reach import Reach
from engine.api.reading import read_body
from engine.api.taking import patiently
from engine.authoring.page_templates import PREFERENCES
from engine.authoring.templates import PAGES, Source, Template, sealed
from engine.core.clock import is_zone
from engine.core.clock import zone as zone_named
from engine.core.facts import Facts
from engine.core.preferences import Choice
from engine.delivery.deployment import Deployment, NothingDeployed
from engine.delivery.facts import consent_fact, soft_channels
from engine.delivery.links import BadLink
from engine.delivery.render import RenderError, render
from engine.store import customers, identities, planned, profiles
from engine.store.database import Connection, now, transaction

MACHINERY = (Refusal, NothingDeployed, SQLAlchemyError, OSError)
"""What may go wrong on our side."""


@dataclass(frozen=True, slots=True)
class Link:
    """Whose it is, on which channel it was sent, and the mark of the address it went to."""

    customer: int
    channel: str
    mark: str


@dataclass(frozen=True, slots=True)
class Visit:
    """A customer on the page. `shown` None: whoever it was, we keep nothing of them any more."""

    customer: int
    template: Template
    shown: Shown | None
    locale: str = ""


def routes(reach: Reach) -> APIRouter:
    """Both ways to use a link."""
    router = APIRouter(tags=["preferences"], default_response_class=HTMLResponse)
    answers: dict[int | str, dict[str, Any]] = {
        404: {"description": "No link of ours."},
        503: {"description": "Not now; try again."},
    }

    @router.head("/p/{token}", include_in_schema=False)
    @router.get("/p/{token}", summary="Show what a customer gets", responses=answers)
    async def show(token: str, request: Request) -> HTMLResponse:
        """The page. Changes nothing, because programs follow links too."""
        words = _words(request)
        try:
            visit = await _visit(reach, _read(reach, token))
        except MACHINERY as error:
            return _not_now(words, refusal_of(error))
        if visit is None or visit.shown is None:
            return _nothing(visit, words)
        words = _words(request, visit.locale)
        return _page(visit, context(visit.shown, words))

    @router.post("/p/{token}", summary="Save what a customer chose", responses=answers, openapi_extra=form("act", "save"))
    async def save(token: str, request: Request) -> HTMLResponse:
        """Saves what was changed on the page, and shows it. The same form again changes nothing."""
        words = _words(request)
        try:
            link = _read(reach, token)
            visit = await _visit(reach, link)
            if visit is None or visit.shown is None:
                return _nothing(visit, words)
            words = _words(request, visit.locale)
            sent = submitted(await read_body(request, FORM_LIMIT))
            if sent.act not in ("save", "nothing"):
                sent = Submitted()
            try:
                batch = calls(visit.shown, sent, visit.customer, f"preferences/{words['language']}/{visit.template.hash}")
            except Wrong as wrong:
                return _page(visit, context(visit.shown, words, sent, words[str(wrong)]), 400)
            if batch:
                await reach.entrance.accept(batch)
                visit = await _visit(reach, link)
        except MACHINERY as error:
            return _not_now(words, refusal_of(error))
        if visit is None or visit.shown is None:
            return _nothing(visit, words)
        return _page(visit, {**context(visit.shown, words), "saved": True})

    return router


def _words(request: Request, locale: str = "") -> Words:
    return words_for(request.headers.get("accept-language", ""), locale)


def _read(reach: Reach, token: str) -> Link | None:
    """What the link says; None where it isn't one of ours."""
    try:
        match reach.links.read(token):
            case ["preferences", int(customer), str(channel), str(mark)]:
                return Link(customer, channel, mark)
    except BadLink:
        return None
    return None


async def _visit(reach: Reach, link: Link | None) -> Visit | None:
    """The customer of a link as they are today, who may have been merged since; None where there is none."""
    if link is None:
        return None
    async with patiently(), transaction(reach.database) as c:
        customer = await identities.survivor(c, link.customer)
        person = await profiles.person(c, customer)
        if person is None:
            return None
        deployment = await reach.deployments.current(c)
        template = deployment.page(PREFERENCES) or built_in()
        if person.erased_at is not None:
            return Visit(customer, template, None)
        shown = await _shown(c, reach, deployment, link, person)
    locale = person.attributes.get("locale") or person.attributes.get("language")
    return Visit(customer, template, shown, locale if isinstance(locale, str) else "")


async def _shown(c: Connection, reach: Reach, deployment: Deployment, link: Link, person: Any) -> Shown:
    policy, moment = deployment.policy, await now(c)
    told = [consent_fact(r) for r in await customers.consents(c, [person.id])]
    addresses = await planned.addresses(c)
    soft = soft_channels(policy)
    last = await customers.last_events(c, [person.id], sorted(set(soft.values())))
    facts = Facts(
        consents=tuple(told),
        soft_opt_in_at=tuple((channel, last[(person.id, e)]) for channel, e in soft.items() if (person.id, e) in last),
        customer=person.id,
    )
    own = deployment.own_zone(person.attributes)
    attribute = addresses.get(link.channel, "")
    address = str(person.attributes.get(attribute) or "") if attribute else str(link.customer)
    shown = [rule.channel for rule in policy.consent if _reaches(addresses, rule.channel, person.attributes)]
    version = max((s.version for s in told), default=0)
    return Shown(
        policy,
        facts,
        person.attributes,
        tuple(Choice(channel, topic) for channel in shown for topic in policy.topics or (None,)),
        frozenset({*addresses, *(rule.channel for rule in policy.consent)} - set(shown)),
        limits_of(policy, dict(deployment.tracking.attributes)),
        zone_named(own if own is not None and is_zone(own) else policy.timezone),
        moment,
        link.channel if address and reach.links.sent_to(link.mark, address) else "",
        f"{version}/{_stamp(person.updated_at)}",
    )


def _reaches(addresses: dict[str, str], channel: str, attributes: dict[str, Any]) -> bool:
    """Whether the channel has an address of the customer, as far as is known."""
    attribute = addresses.get(channel, "")
    return not attribute or bool(attributes.get(attribute))


def _stamp(moment: datetime) -> str:
    return f"{moment.timestamp():.6f}"


@cache
def built_in() -> Template:
    """The page that is shown where the project has none of its own."""
    path = Path(__file__).with_name("preferences.html.j2")
    return sealed(PAGES, PREFERENCES, {}, {"html": Source(path.name, 1, path.read_text(encoding="utf-8"))}, {})


def _page(visit: Visit, names: dict[str, Any], status: int = 200) -> HTMLResponse:
    """The project's page; where that can't be rendered for this customer, the built-in one: nobody is kept from choosing."""
    try:
        html = render(visit.template, names, locale=visit.locale or names["language"]).html or ""
    except RenderError:
        html = render(built_in(), names).html or ""
    styles = re.findall(r"<style[^>]*>(.*?)</style>", html, re.DOTALL | re.IGNORECASE)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in styles]
    policy = f"default-src 'none'; style-src {' '.join(hashes) or chr(39) + 'none' + chr(39)}; img-src https: data:; "
    policy += "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    return HTMLResponse(html, status, {**pages.HEADERS, "Content-Security-Policy": policy})


def _nothing(visit: Visit | None, words: Words) -> HTMLResponse:
    """There is no page: it is no link of ours, or its customer was erased."""
    what, status = ("unknown", 404) if visit is None else ("gone", 200)
    return pages.page(words[what], pages.paragraph(words[f"{what}_why"]), status=status, language=words["language"])


def _not_now(words: Words, refusal: Refusal) -> HTMLResponse:
    headers = {"Retry-After": str(RETRY_AFTER)} if refusal.status == 503 else {}
    why = pages.paragraph(words["not_now_why"])
    return pages.page(words["not_now"], why, status=refusal.status, headers=headers, language=words["language"])
