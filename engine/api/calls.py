"""Segment's calls to what comes through the door: `track identify alias group page screen`, alone or in a batch.

Source of the shape: Segment's HTTP tracking API. Keys that it has and we don't use (`integrations`, `context` but for its time
zone …) pass and mean nothing. A problem names its field and, in a batch, its item.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from engine.api.errors import Refusal
from engine.api.reading import CALL_LIMIT, checked
from engine.core.incoming import Incoming
from engine.core.wire import Json
from engine.intake.naming import Unfit, kind_of, name_in

MOST = 2500
"""Calls in one batch, as Segment has it."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

Kind = Literal["track", "identify", "alias", "group", "page", "screen"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How calls came: under which source, when by our clock (logical), and whether they are `history`. `named`: whose they are
    is known without their saying so."""

    source: str
    received: datetime
    history: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class Malformed:
    """A call that can't be understood. `at`: where in the request. `call` is as it came, with what its batch says for all of
    them; `message_id` its own, or a new one where that is what is wrong with it."""

    at: str
    refusal: Refusal
    call: Any
    message_id: str


def read_batch(body: Mapping[str, Any], arrival: Arrival) -> list[Incoming | Malformed]:
    """The calls of a batch, in order. Raises Refusal (400) where it isn't one."""
    items = body.get("batch")
    if not isinstance(items, list):
        was = "is missing" if "batch" not in body else f"must be a list of calls, this is {kind_of(items)}"
        raise Refusal(400, "bad_request", f"batch {was}", 'send {"batch": [{"type": "track", …}, …]}')
    if len(items) > MOST:
        raise Refusal(400, "too_many", f"the batch holds {len(items)} calls, at most {MOST} are taken at once")
    return [_read(item, f"batch[{i}]", body, arrival) for i, item in enumerate(items)]


def _read(item: Any, at: str, body: Mapping[str, Any], arrival: Arrival) -> Incoming | Malformed:
    shared = _shared(item, body)
    try:
        return reread(item, arrival, at, shared)
    except Refusal as refusal:
        return Malformed(at, refusal, {**item, **shared} if shared else item, _message_id(item))


def read_call(body: Mapping[str, Any], kind: Kind, arrival: Arrival) -> Incoming | Malformed:
    """A call that came alone, whose route says what `kind` it is."""
    try:
        checked(body, "the call")
        return incoming_of(body, kind, arrival)
    except Refusal as refusal:
        return Malformed("the call", refusal, {**body, "type": kind}, _message_id(body))


def reread(call: Any, arrival: Arrival, at: str = "", shared: Mapping[str, Any] | None = None) -> Incoming:
    """A call that says what kind it is: one of a batch, with what that says for all of them (`shared`), or (without `at`) one
    that was put aside. Raises Refusal (400)."""
    where, inside = (at, f"{at}.") if at else ("the call", "")
    if not isinstance(call, dict):
        raise Refusal(400, "bad_request", f"{where} must be an object, this is {kind_of(call)}", 'write {"type": "track", …}')
    kind = _kind(call, inside)
    if checked(call, where) > CALL_LIMIT:
        raise Refusal(400, "too_large", f"{where} is larger than {CALL_LIMIT // 1024} KB")
    return incoming_of({**call, **shared} if shared else call, kind, arrival, inside)


def _shared(item: Any, body: Mapping[str, Any]) -> dict[str, Any]:
    """The context and the moment of sending that a batch gives for all of its items, where this one hasn't its own."""
    shared: dict[str, Any] = {}
    if isinstance(item, dict):
        if isinstance(body.get("context"), dict) and not isinstance(item.get("context"), dict):
            shared["context"] = body["context"]
        if body.get("sentAt") is not None and item.get("sentAt") is None:
            shared["sentAt"] = body["sentAt"]
    return shared


def _message_id(call: Any) -> str:
    """The message id of a call, or a new one where it has none that can be used."""
    try:
        return (name_of(call, "messageId") if isinstance(call, dict) else "") or str(uuid.uuid4())
    except Refusal:
        return str(uuid.uuid4())


def _kind(call: Mapping[str, Any], at: str) -> Kind:
    said = call.get("type")
    kind = next((k for k in KINDS if k == said), None)
    if kind is None:
        what = (
            "is missing"
            if said is None
            else f"{said[:60]!r} is not known"
            if isinstance(said, str)
            else f"must be text, this is {kind_of(said)}"
        )
        raise Refusal(400, "unknown_type", f"{at}type {what}", f"{', '.join(KINDS[:-1])} and {KINDS[-1]} are taken")
    return kind


def incoming_of(call: Mapping[str, Any], kind: Kind, arrival: Arrival, at: str = "") -> Incoming:
    """One call that `checked` has let pass. `at` stands before the names of fields in problems. Raises Refusal (400)."""
    named = _identifiers(call, kind, arrival, at)
    event, properties, traits = _content(call, kind, at)
    return Incoming(
        kind if kind in ("identify", "group", "alias") else "track",
        arrival.source,
        name_of(call, "messageId", at) or str(uuid.uuid4()),
        event,
        properties,
        traits,
        named,
        occurred_at=_occurred_at(call, arrival, at),
        history=arrival.history,
    )


def _content(call: Mapping[str, Any], kind: Kind, at: str) -> tuple[str, Mapping[str, Json], Mapping[str, Json]]:
    """The event's name, its properties, and the traits. Pages and screens are the events `page` and `screen`."""
    match kind:
        case "track":
            return _event(call, at), object_of(call, "properties", at), {}
        case "page" | "screen":
            return kind, _viewed(call, kind, at), {}
        case "identify":
            return "", {}, _traits(call, at)
        case "group":
            return "", {}, _membership(call, at)
        case "alias":
            return "", {"previous_id": name_of(call, "previousId", at)}, {}


def _identifiers(call: Mapping[str, Any], kind: Kind, arrival: Arrival, at: str) -> dict[str, str]:
    """Who it is about. Raises Refusal (400) where nobody is named, unless `arrival` knows."""
    user = name_of(call, "userId", at)
    if kind == "alias":
        previous = name_of(call, "previousId", at)
        missing = [f"{at}{field}" for field, said in (("userId", user), ("previousId", previous)) if not said]
        if missing:
            what = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            raise Refusal(400, "no_identifier", what, "an alias names the user id that a person has now, and the id from before")
        return {"user_id": user, "previous_id": previous}
    named = {"user_id": user, "anonymous_id": name_of(call, "anonymousId", at)}
    if not any(named.values()) and not arrival.named:
        raise Refusal(400, "no_identifier", f"{at}userId and {at}anonymousId are both missing", "every call names a person")
    return {kind: value for kind, value in named.items() if value}


def _event(call: Mapping[str, Any], at: str) -> str:
    name = name_of(call, "event", at)
    if not name:
        raise Refusal(400, "no_event", f"{at}event is missing", "a track call names what happened")
    return name


def _viewed(call: Mapping[str, Any], kind: Literal["page", "screen"], at: str) -> Mapping[str, Any]:
    """The properties of a page or screen, with its name as `page_name` or `screen_name` (`name` is every event's own) and its
    category, both of which Segment has beside them."""
    properties = object_of(call, "properties", at)
    named = {f"{kind}_name": name_of(call, "name", at) or properties.get("name"), "category": name_of(call, "category", at)}
    return {**properties, **{field: value for field, value in named.items() if value}}


def _membership(call: Mapping[str, Any], at: str) -> Mapping[str, Any]:
    """The attributes of somebody who is in a group: its id, and what is told of it."""
    group = name_of(call, "groupId", at)
    if not group:
        raise Refusal(400, "no_group", f"{at}groupId is missing", "a group call names the group that a person is in")
    return {"group_id": group, "group": dict(object_of(call, "traits", at))}


def _traits(call: Mapping[str, Any], at: str) -> Mapping[str, Any]:
    """Traits; the time zone of the context where they have none."""
    traits = object_of(call, "traits", at)
    context = call.get("context")
    zone = context.get("timezone") if isinstance(context, dict) else None
    if isinstance(zone, str) and zone and "\x00" not in zone and "timezone" not in traits:
        return {**traits, "timezone": zone}
    return traits


def _occurred_at(call: Mapping[str, Any], arrival: Arrival, at: str) -> datetime | None:
    """When it happened by our clock, where it says when."""
    said = moment_of(call, "timestamp", at)
    try:
        sent = moment_of(call, "sentAt", at)
    except Refusal:  # what is no moment corrects nothing, and costs no event
        sent = None
    return said if said is None or sent is None else corrected(said, sent, arrival.received)


def corrected(said: datetime, sent: datetime, received: datetime) -> datetime:
    """When something happened, by our clock: as long before it was `received` as its sender's clock `said` that it was before it
    was `sent`. Source of the rule: Segment's `timestamp`. `said` itself where that is no moment after 1970."""
    try:
        moment = received - (sent - said)
    except OverflowError:
        return said
    return moment if moment >= EARLIEST else said


def name_of(call: Mapping[str, Any], field: str, at: str = "") -> str:
    """An identifier or a name: text, or a whole number, which becomes text; "" where there is none. Raises Refusal (400)."""
    value = call.get(field)
    if isinstance(value, str) and "\x00" in value:
        checked(value, f"{at}{field}")
    try:
        return name_in(value)
    except Unfit as unfit:
        raise Refusal(400, "bad_field", f"{at}{field} {unfit}", unfit.hint) from None


def object_of(call: Mapping[str, Any], field: str, at: str = "") -> Mapping[str, Any]:
    """A field that holds an object; {} where it is missing or null. Raises Refusal (400)."""
    value = call.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(400, "bad_field", f"{at}{field} must be an object, this is {kind_of(value)}")
    return value


def moment_of(call: Mapping[str, Any], field: str, at: str = "") -> datetime | None:
    """An ISO 8601 moment with its offset from UTC, in UTC; None where there is none. Raises Refusal (400)."""
    value = call.get(field)
    if value is None:
        return None
    hint = "write it as 2026-03-02T10:00:00Z"
    if not isinstance(value, str):
        raise Refusal(400, "bad_timestamp", f"{at}{field} must be text, this is {kind_of(value)}", hint)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise Refusal(400, "bad_timestamp", f"{at}{field} {value[:60]!r} has no offset from UTC", hint)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refusal(400, "bad_timestamp", f"{at}{field} {value[:60]!r} is not an ISO 8601 moment", hint) from None
    if moment < EARLIEST:
        raise Refusal(400, "bad_timestamp", f"{at}{field} {value[:60]!r} is before 1970", hint)
    return moment
