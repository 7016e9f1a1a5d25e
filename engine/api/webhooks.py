"""`/v1/channels/NAME/webhook`: what providers tell of messages afterwards, and texts that people send. No login: the channel's
adapter checks the provider's signature. An answer of 200 means that everything is on disk; the same again changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.background import BackgroundTask

from engine.api import describe
from engine.api.errors import Refusal, unavailable
from engine.api.reach import Reach
from engine.api.reading import read_body
from engine.api.taking import patiently
from engine.core.incoming import Accepted
from engine.delivery.channel import Channel, Content, Feedback, Forged, Notice, NoWebhook, Outgoing, Result, clean_line
from engine.intake import feedback
from engine.intake.feedback import Answer, Heard
from engine.store import feedback as store
from engine.store.database import now, transaction

log = logging.getLogger("sojourn.channels")

LIMIT = 1024 * 1024
"""Bytes of one call."""

SETTLING = 1.0
"""Seconds after which an id that isn't known yet is looked for once more: a provider may tell faster than its own answer to the
handover is recorded."""

TRIES = 4
"""How often a text that answers a keyword is handed over, where the provider says that it can't take it now."""


def routes(reach: Reach) -> APIRouter:
    """One route, for both ways in which providers call."""
    router = APIRouter(prefix="/v1/channels", tags=["channels"], responses=describe.errors(400, 401, 404, 413, 503))

    @router.get("/{name}/webhook", summary="A provider asks or tells")
    async def asks(name: str, request: Request) -> Response:
        """For providers that verify a URL before they use it, and for those that tell by GET."""
        return await _take(reach, name, request)

    @router.post("/{name}/webhook", summary="A provider tells")
    async def tells(name: str, request: Request) -> Response:
        """Deliveries, bounces, complaints, opens, clicks and replies become events."""
        return await _take(reach, name, request)

    return router


async def _take(reach: Reach, name: str, request: Request) -> Response:
    channel = reach.channels.get(name)
    if channel is None:
        known = ", ".join(sorted(reach.channels)) or "none"
        raise Refusal(404, "unknown_channel", f"there is no channel {name[:100]!r}", f"sojourn.yaml has {known}")
    source = feedback.source_of(name)
    received = datetime.now(UTC)
    try:
        notice = Notice(request.method, _public(reach, request), _headers(request), await read_body(request, LIMIT), received)
        challenge, told = await _read(channel, notice)
    except Refusal:
        reach.tally.add(reach.database, source, refused=1)
        raise
    if challenge is not None:
        return PlainTextResponse(challenge)
    if notice.tokens and await _used_before(reach, source, notice):
        reach.tally.add(reach.database, source, refused=1)
        raise Refusal(401, "forged", "the signature was used before, for something else", "nobody but its provider may call")
    heard, aside = await _heard(reach, channel, told, received)
    answers = await reach.entrance.accept(heard.events) if heard.events else []
    again = sum(one.duplicate for one in answers)
    kept = aside + sum(bool(one.quarantined) for one in answers)
    taken = len(answers) - again - (kept - aside)
    reach.tally.add(reach.database, source, accepted=taken, duplicate=again, quarantined=kept, refused=heard.alien)
    due = _due(heard, answers)
    later = BackgroundTask(_answer, reach, channel, due) if due else None
    return Response(status_code=200, background=later)  # nothing in it: some providers send a body on to the person


async def _read(channel: Channel, notice: Notice) -> tuple[str | None, list[Feedback]]:
    """The answer to a challenge, or what is told. Raises Refusal."""
    try:
        challenge = await channel.challenge(notice)
        return challenge, [] if challenge is not None else await channel.parse_webhook(notice)
    except NoWebhook as none:
        raise Refusal(404, "unknown_channel", str(none), "its provider tells nothing afterwards") from None
    except Forged as forged:
        raise Refusal(401, "forged", _short(forged), "check the signing secret in sojourn.yaml, and the clock") from None
    except httpx.HTTPError as failed:
        log.warning("what signs the notices to channel %r can't be asked: %s", channel.name, type(failed).__name__)
        raise unavailable("provider_unreachable", "what signs this notice can't be asked", "tell it again") from None
    except (ValueError, LookupError, TypeError, AttributeError) as wrong:
        log.warning("a notice to channel %r can't be read: %s", channel.name, type(wrong).__name__)
        raise Refusal(400, "malformed_notice", f"this notice can't be read: {_short(wrong)}") from None


async def _used_before(reach: Reach, source: str, notice: Notice) -> bool:
    tokens = [hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest() for token in notice.tokens]
    async with patiently(), transaction(reach.database) as c:
        return await store.used_before(c, source, tokens, hashlib.sha256(notice.body).hexdigest())


async def _heard(reach: Reach, channel: Channel, told: Sequence[Feedback], received: datetime) -> tuple[Heard, int]:
    """What it means, and how much of it was put aside."""
    heard = Heard()
    for last in (False, True):
        async with patiently(), transaction(reach.database) as c:
            deployment = await reach.deployments.current(c)
            texts = reach.replies.get(channel.name, {})
            heard = await feedback.hear(c, deployment, channel, told, received, reach.logical, texts)
            if last or not heard.early:
                region = deployment.policy.identity.region
                return heard, await feedback.put_aside(c, heard, channel, region, await now(c))
        await settled()
    raise AssertionError("the second look returns")


async def settled() -> None:
    """By then a handover that is under way has been recorded."""
    await asyncio.sleep(SETTLING)


def _due(heard: Heard, accepted: Sequence[Accepted]) -> list[tuple[Answer, int]]:
    """The answers whose events are new, each with its customer."""
    new: dict[str, int] = {}
    for one, got in zip(heard.events, accepted, strict=True):
        if not (got.duplicate or got.quarantined):
            new.setdefault(one.message_id, got.customer)
    due = [answer for answer in heard.answers if answer.of in new]
    found = [(answer, new.pop(answer.event.message_id, 0)) for answer in due]
    return [(answer, customer) for answer, customer in found if customer]


async def _answer(reach: Reach, channel: Channel, due: Sequence[tuple[Answer, int]]) -> None:
    """Send the texts that answer keywords. That each may go once stands in its event, which is stored: a crash here loses it, and
    nobody is told twice."""
    async with transaction(reach.database) as c:
        sender = (await reach.deployments.current(c)).sender(channel.name)
    for answer, customer in due:
        word = str(answer.event.properties["keyword"])
        message = Outgoing(
            key=answer.event.message_id,
            to=answer.to,
            content=Content(text=answer.text),
            sender=sender,
            customer=str(customer),
            journey="",
            step="",
            template=f"replies/{word}",
            tier="",
        )
        for n in range(TRIES):
            (receipt,) = await channel.send_many([message])
            if isinstance(receipt, Exception) or receipt.result is not Result.LATER or n == TRIES - 1:
                break
            await asyncio.sleep(min(2.0**n if receipt.retry_after is None else receipt.retry_after, 60.0))
        if isinstance(receipt, Exception) or receipt.result is not Result.ACCEPTED:
            why = type(receipt).__name__ if isinstance(receipt, Exception) else receipt.result  # its words may name the number
            log.warning("the answer to %s of customer %s on %r wasn't sent: %s", word, customer, channel.name, why)


def _public(reach: Reach, request: Request) -> str:
    """The URL as the provider called it: behind a proxy only the settings know."""
    query = request.url.query
    return f"{reach.links.base}{request.scope['raw_path'].decode('latin-1')}{f'?{query}' if query else ''}"


def _headers(request: Request) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _short(error: Exception) -> str:
    return clean_line(str(error))[:300]
