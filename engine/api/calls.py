"""Segment's calls to what comes through the door: `track` and `identify`, alone or in a batch.

Source of the shape: Segment's HTTP tracking API. Keys that it has and we don't use (`integrations`, `context` but for its time
zone …) pass and mean nothing. A problem names its field and, in a batch, its item; nothing of the request is taken then.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from engine.api.errors import Refusal
from engine.api.reading import CALL_LIMIT, checked, kind_of
from engine.core.incoming import Incoming

MOST = 2500
"""Calls in one batch, as Segment has it."""

NAME_LIMIT = 512
"""Bytes of an identifier, a message id and an event's name: they are indexed."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

_TYPES: tuple[Literal["track", "identify"], ...] = ("track", "identify")


def incoming_of_batch(body: Mapping[str, Any], source: str, *, history: bool = False) -> list[Incoming]:
    """The calls of a batch, in order. Raises Refusal (400)."""
    items = body.get("batch")
    if not isinstance(items, list):
        was = "is missing" if "batch" not in body else f"must be a list of calls, this is {kind_of(items)}"
        raise Refusal(400, "bad_request", f"batch {was}", 'send {"batch": [{"type": "track", …}, …]}')
    if len(items) > MOST:
        raise Refusal(400, "too_many", f"the batch holds {len(items)} calls, at most {MOST} are taken at once")
    shared = body.get("context")
    return [_item(item, f"batch[{i}]", shared, source, history) for i, item in enumerate(items)]


def _item(item: Any, where: str, shared: Any, source: str, history: bool) -> Incoming:
    if not isinstance(item, dict):
        raise Refusal(400, "bad_request", f"{where} must be an object, this is {kind_of(item)}")
    kind = next((t for t in _TYPES if t == item.get("type")), None)
    if kind is None:
        said = item.get("type")
        what = (
            "is missing"
            if said is None
            else f"{said[:60]!r} is not known"
            if isinstance(said, str)
            else f"must be text, this is {kind_of(said)}"
        )
        raise Refusal(400, "unknown_type", f"{where}.type {what}", "track and identify are taken")
    checked(item, where)
    if len(orjson.dumps(item)) > CALL_LIMIT:
        raise Refusal(400, "too_large", f"{where} is larger than {CALL_LIMIT // 1024} KB")
    if isinstance(shared, dict) and not isinstance(item.get("context"), dict):
        item = {**item, "context": shared}
    return incoming_of(item, kind, source, f"{where}.", history=history)


def incoming_of(
    call: Mapping[str, Any], kind: Literal["track", "identify"], source: str, at: str = "", *, history: bool = False
) -> Incoming:
    """One call. `at` stands before the names of fields in problems. Raises Refusal (400)."""
    if not at:
        checked(call, "the call")
    return Incoming(
        kind,
        source,
        name_of(call, "messageId", at) or str(uuid.uuid4()),
        _event(call, at) if kind == "track" else "",
        object_of(call, "properties", at) if kind == "track" else {},
        _traits(call, at) if kind == "identify" else {},
        _identifiers(call, at),
        occurred_at=moment_of(call, "timestamp", at),
        history=history,
    )


def _identifiers(call: Mapping[str, Any], at: str) -> dict[str, str]:
    named = {"user_id": name_of(call, "userId", at), "anonymous_id": name_of(call, "anonymousId", at)}
    if not any(named.values()):
        raise Refusal(400, "no_identifier", f"{at}userId and {at}anonymousId are both missing", "every call names a person")
    return {kind: value for kind, value in named.items() if value}


def _event(call: Mapping[str, Any], at: str) -> str:
    name = name_of(call, "event", at)
    if not name:
        raise Refusal(400, "no_event", f"{at}event is missing", "a track call names what happened")
    return name


def _traits(call: Mapping[str, Any], at: str) -> Mapping[str, Any]:
    """Traits; the time zone of the context where they have none."""
    traits = object_of(call, "traits", at)
    context = call.get("context")
    zone = context.get("timezone") if isinstance(context, dict) else None
    if isinstance(zone, str) and zone and "\x00" not in zone and "timezone" not in traits:
        return {**traits, "timezone": zone}
    return traits


def name_of(call: Mapping[str, Any], field: str, at: str = "") -> str:
    """An identifier or a name: text, or a whole number, which becomes text; "" where there is none. Raises Refusal (400)."""
    value = call.get(field)
    if value is None or value == "":
        return ""
    if isinstance(value, float):
        hint = "send identifiers as text: numbers in JSON lose digits"
        raise Refusal(400, "bad_field", f"{at}{field} must be text or a whole number of at most 64 bits", hint)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Refusal(400, "bad_field", f"{at}{field} must be text, this is {kind_of(value)}")
    text = str(value)
    checked(text, f"{at}{field}")
    if not text.strip():
        raise Refusal(400, "bad_field", f"{at}{field} is blank")
    if len(text.encode()) > NAME_LIMIT:
        raise Refusal(400, "bad_field", f"{at}{field} is longer than {NAME_LIMIT} bytes")
    return text


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
