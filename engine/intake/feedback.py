"""What a provider tells afterwards, as events for the one door: whose message it was, and what it means.

A message is found by our key, else by the provider's id, else the person by the address. What is about nobody here is put aside
where it matters (a complaint, a reply), and else only counted: many a provider's account is shared with other programs.
Source of the rules: semantics.md, "Consent" and "Events and inputs".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from engine.core.incoming import Incoming
from engine.core.wire import Json
from engine.delivery.addresses import KINDS, normal
from engine.delivery.channel import Channel, Feedback, clean_line, clean_text
from engine.delivery.deployment import Deployment
from engine.intake import kept
from engine.intake.agreeing import REPLIED, START, STOP, YES, keyword, said_in
from engine.intake.forgetting import unreadable
from engine.store import feedback as store
from engine.store import identities, quarantine, tasks
from engine.store.database import Connection

COMPLETED, TASK_COMPLETED = "completed", "task_completed"
"""The kind of Feedback, and its event."""

EVENTS: Mapping[str, str] = {
    "delivered": "message_delivered",
    "opened": "message_opened",
    "clicked": "message_clicked",
    "bounced": "message_bounced",
    "failed": "message_bounced",
    "complained": "message_complained",
    "unsubscribed": "unsubscribed",
    "replied": REPLIED,
    "received": REPLIED,
    COMPLETED: TASK_COMPLETED,
}
"""Kind of Feedback → the event that it becomes."""

REPLY_SENT = "reply_sent"
"""The event of a text that answers STOP, START or HELP; who is the first to store it sends the text."""

WEIGHTY = frozenset({"complained", "unsubscribed", "replied", "received"})
"""What is put aside where nobody is known whom it is about; so is what suppresses an address."""

LONGEST = 200
"""Characters of a name of a notice, beyond which it is named by its digest."""

RAW = 4_000
"""Characters of a provider's payload that are kept with what is put aside."""

Clock = Callable[[datetime], datetime]
"""A real moment → the project's logical one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that answers a keyword, to be sent once the event that says so is stored, and new, and so is the event of the word
    itself (message id `of`). `customer`: 0 where that event makes one."""

    event: Incoming
    of: str
    customer: int
    to: str
    text: str


@dataclass(slots=True)
class Heard:
    """`events` for the door, the answers' own among them. `aside`: about nobody, and to be kept; `alien`: about nobody, and
    counted; `early`: those of the two that name a provider's id, which a handover under way may still bring."""

    events: list[Incoming] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    aside: list[Incoming] = field(default_factory=list)
    alien: int = 0
    early: int = 0


async def hear(
    c: Connection,
    deployment: Deployment,
    channel: Channel,
    told: Sequence[Feedback],
    received: datetime,
    clock: Clock,
    answers: Mapping[str, str],
) -> Heard:
    """What `told`, which came at `received` (real), is to the door. `answers`: the project's texts for STOP, START and HELP."""
    told = [_clean(one) for one in told]
    heard = Heard()
    await _completed(c, heard, channel, [one for one in told if one.kind == COMPLETED], received, clock)
    told = [one for one in told if one.kind != COMPLETED]
    rows = await store.messages(
        c,
        channel.name,
        [one.key for one in told if one.key],
        [one.provider_id for one in told if one.provider_id],
    )
    by_key = {r.key: r for r in rows}
    by_id = {r.provider_id: r for r in rows if r.provider_id}
    messages = [by_key.get(one.key) or by_id.get(one.provider_id) for one in told]
    region = deployment.policy.identity.region
    owners = await _by_address(c, channel, [one for one, m in zip(told, messages, strict=True) if m is None], region)
    whose = [m.customer_id if m is not None else owners.get(one.address, 0) for one, m in zip(told, messages, strict=True)]
    people = await store.people(c, channel.name, channel.capabilities.address, [i for i in whose if i])
    answered = [i for one, m, i in zip(told, messages, whose, strict=True) if i and m is None and EVENTS[one.kind] == REPLIED]
    newest = await store.newest(c, channel.name, answered) if answered else {}
    for one, message, owner in zip(told, messages, whose, strict=True):
        if message is None and EVENTS[one.kind] == REPLIED:
            message = newest.get(owner)
        person = people.get(owner)
        event = _event(channel, one, message, person, _moment(one.at, received, clock), region)
        _place(heard, channel, one, event, person, region, answers)
    return heard


async def _completed(
    c: Connection, heard: Heard, channel: Channel, told: Sequence[Feedback], received: datetime, clock: Clock
) -> None:
    """Tasks that people have done, where we handed them to. One that is over here is no news: we may have closed it there."""
    if not told:
        return
    rows = await tasks.told_of(c, channel.name, [t.key for t in told if t.key], [t.provider_id for t in told if t.provider_id])
    by_key, by_id = {r.key: r for r in rows}, {r.remote_id: r for r in rows if r.remote_id}
    found = [(one, by_key.get(one.key) or by_id.get(one.provider_id)) for one in told]
    for one, task in found:
        if task is None:
            heard.alien += 1
            heard.early += bool(one.provider_id)
            continue
        if task.status != "open":
            continue
        said: dict[str, Json] = {"task": task.id, "queue": task.queue, **({"words": one.words} if one.words else {})}
        source, at = source_of(channel.name), _moment(one.at, received, clock)
        heard.events.append(
            Incoming("track", source, named(one), TASK_COMPLETED, said, customer=task.customer_id, occurred_at=at)
        )
    await tasks.finished_there(c, [task.id for _, task in found if task is not None])


def _place(
    heard: Heard, channel: Channel, told: Feedback, event: Incoming, person: Any, region: str, answers: Mapping[str, str]
) -> None:
    """Into one of the lists."""
    word = keyword(event)
    if person is None and word == STOP and (who := _identifier(channel, told.address, region)) is not None:
        event = replace(event, identifiers=dict([who]))  # whoever has the number later has stopped already
    elif person is None:
        heard.early += bool(told.provider_id)
        if told.kind in WEIGHTY or told.suppress:
            raw = {} if told.raw is None else {"raw": told.raw[:RAW]}
            heard.aside.append(replace(event, properties={**event.properties, **raw}))
        else:
            heard.alien += 1
        return
    heard.events.append(event)
    text = answers.get(word, "")
    if not text or (person is not None and (person.silent or (word == STOP and person.stopped))):
        return
    owner = 0 if person is None else int(person.id)
    hour = "" if event.occurred_at is None else f"{event.occurred_at:%Y-%m-%dT%H}"
    name = f"reply/{owner or _short(told.address)}/{word}/{hour}"
    said: dict[str, Json] = {"channel": channel.name, "keyword": word, "text": text}
    reply = replace(event, message_id=name, name=REPLY_SENT, properties=said)
    heard.events.append(reply)
    heard.answers.append(Answer(reply, event.message_id, owner, told.address, text))


def _event(channel: Channel, told: Feedback, message: Any, person: Any, at: datetime, region: str) -> Incoming:
    """The event; about nobody where `person` is None."""
    name = EVENTS[told.kind]
    said: dict[str, Json] = {"channel": channel.name, "words": told.words, "url": told.url}
    if message is not None:
        said |= about(message)
    if told.machine:
        said["machine"] = True
    if name == "message_bounced":
        said |= {"reason": said.pop("words"), "hard": bool(told.suppress)}
    elif name == "unsubscribed":
        said |= {"source": "provider", "topic": None}  # the provider lets nothing more through, whatever it is about
    elif name == REPLIED:
        said["text"] = said.pop("words")
    if told.address:
        said["address"] = _as_written(channel, told.address, person, region)
    event = Incoming(
        "track",
        source_of(channel.name),
        named(told),
        name,
        {k: v for k, v in said.items() if v not in ("", None)},
        customer=None if person is None else int(person.id),
        occurred_at=at,
    )
    if name != REPLIED:
        return event
    stopped = person is not None and person.stopped
    word = START if stopped and said_in(told.words) in YES else keyword(event)
    return replace(event, properties={**event.properties, "keyword": word}) if word else event


def about(message: Any) -> dict[str, Json]:
    """What the events about a message (a row of `store.feedback`) say of it."""
    return {"message": message.key} | {
        n: getattr(message, n) for n in ("journey", "step", "template", "channel", "topic", "tier")
    }


def source_of(channel: str) -> str:
    """The source of what a channel's provider tells."""
    return f"channel/{channel}"


def named(told: Feedback) -> str:
    """The message id of a notice: the same whenever the provider repeats it."""
    if told.id:
        name = f"{told.kind}/{told.id}"
    else:
        what = [told.key, told.provider_id, told.address, told.at and told.at.isoformat(), told.words, told.url, told.raw]
        name = f"{told.kind}/{_short(json.dumps(what))}"
    return name if len(name) <= LONGEST else f"{told.kind}/{_short(name)}"


async def put_aside(c: Connection, heard: Heard, channel: Channel, region: str, moment: datetime) -> int:
    """Keep what is about nobody in the quarantine; how many were kept. Nothing of whoever was erased is."""
    who = [_identifier(channel, str(one.properties.get("address") or ""), region) for one in heard.aside]
    calls = [replace(one, identifiers=dict([pair]) if pair else {}) for one, pair in zip(heard.aside, who, strict=True)]
    forgotten = await unreadable(c, region, calls)
    why = "no message and no customer of this project has what the provider names"
    rows = [kept.row(one, why, moment) for n, one in enumerate(heard.aside) if n not in forgotten]
    await quarantine.add(c, rows)
    return len(rows)


async def _by_address(c: Connection, channel: Channel, told: Sequence[Feedback], region: str) -> dict[str, int]:
    """Address, as the provider writes it → customer."""
    if not channel.capabilities.address:  # the address is our own number
        ours = {int(one.address): one.address for one in told if one.address.isdecimal() and len(one.address) < 19}
        return {ours[r.id]: r.survivor for r in await identities.people(c, sorted(ours))}
    pairs = {one.address: pair for one in told if (pair := _identifier(channel, one.address, region)) is not None}
    found = {(r.kind, r.value): r.customer_id for r in await identities.named(c, sorted(set(pairs.values())))}
    return {address: found[pair] for address, pair in pairs.items() if pair in found}


def _identifier(channel: Channel, address: str, region: str) -> tuple[str, str] | None:
    """The identifier that an address of this channel makes; None where it makes none."""
    kind = channel.capabilities.address
    value = normal(kind, address, region) if kind in KINDS else None
    return None if value is None else (kind, value)


def _as_written(channel: Channel, address: str, person: Any, region: str) -> str:
    """The address as the customer wrote it, where the provider's way to write it says the same: suppressions go by it."""
    own = None if person is None else person.address
    if own is None or own == address:
        return address
    same = _identifier(channel, address, region)
    return str(own) if same is not None and same == _identifier(channel, own, region) else address


def _clean(told: Feedback) -> Feedback:
    """With text that can be stored; the payload becomes such a text."""
    reply = EVENTS[told.kind] == REPLIED
    return replace(
        told,
        raw=None if told.raw is None else clean_text(json.dumps(told.raw, ensure_ascii=False, sort_keys=True)),
        words=clean_text(told.words)[:10_000] if reply else clean_line(told.words)[:500],
        key=clean_line(told.key),
        provider_id=clean_line(told.provider_id),
        address=clean_line(told.address),
        id=clean_line(told.id),
        url=clean_line(told.url),
    )


def _moment(told: datetime | None, received: datetime, clock: Clock) -> datetime:
    """When it happened, in logical time: when it came, where the provider doesn't say, or names a moment that hasn't come or that
    no calendar has."""
    if told is None:
        return clock(received)
    try:
        return clock(min(told if told.tzinfo is not None else told.replace(tzinfo=UTC), received))
    except OverflowError:
        return clock(received)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
