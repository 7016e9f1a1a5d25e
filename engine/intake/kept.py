"""What can't be taken as it is, as a row of the quarantine: the call, in the form in which sources write it, and beside it what a
call doesn't say of itself (whose it is by our own number, which chain it belongs to, whether it is history).

`restored` is the way back: a call that was read again, with what stood beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.core.incoming import Incoming
from engine.core.wire import Json
from engine.store.database import json_text

PREVIOUS = "previous_id"
"""What an alias calls the id that somebody had before."""

REASON_LIMIT = 1000
"""Characters of a reason."""


def row(incoming: Incoming, why: str, moment: datetime) -> dict[str, Any]:
    """The row of `store.quarantine.add` for an item that the door can't take."""
    at = None if incoming.occurred_at is None else incoming.occurred_at.isoformat()
    body: dict[str, Json] = {
        "kind": incoming.kind,
        "message_id": incoming.message_id,
        "name": incoming.name,
        "identifiers": dict(incoming.identifiers),
        "properties": dict(incoming.properties),
        "traits": dict(incoming.traits),
        "occurred_at": at,
        "customer": incoming.customer,
        "journey": incoming.journey,
        "depth": incoming.depth,
        "history": incoming.history,
        "way": incoming.way,
        "place": incoming.place,
    }
    return made(incoming.source, incoming.message_id, why, moment, json_text(call_of(incoming)), body)


def made(source: str, message_id: str, why: str, moment: datetime, call: str, body: Mapping[str, Json]) -> dict[str, Any]:
    """A row of `store.quarantine.add`. `call`: JSON as text."""
    reason = why.replace("\x00", "\\0")[:REASON_LIMIT]
    return {"source": source, "at": moment, "reason": reason, "body": dict(body), "message_id": message_id, "call": call}


def call_of(incoming: Incoming) -> dict[str, Json]:
    """An item as a source would have written it."""
    names, traits = incoming.identifiers, dict(incoming.traits)
    call: dict[str, Json] = {
        "type": incoming.kind,
        "messageId": incoming.message_id,
        "userId": names.get("user_id"),
        "anonymousId": names.get("anonymous_id"),
    }
    if incoming.kind == "alias":
        call["previousId"] = names.get(PREVIOUS)
    elif incoming.kind == "group":
        call |= {"groupId": traits.get("group_id"), "traits": traits.get("group")}
    elif incoming.kind in ("identify", "set"):
        call["traits"] = traits
    else:
        call |= {"event": incoming.name or None, "properties": dict(incoming.properties)}
    call["timestamp"] = None if incoming.occurred_at is None else incoming.occurred_at.isoformat()
    return {name: value for name, value in call.items() if value is not None}


def restored(read: Incoming, message_id: str | None, at: datetime, body: Mapping[str, Any]) -> Incoming:
    """`read`, which a person may have mended, with what stood beside the call: `message_id` and `body` of its row. It happened
    when it was put aside (`at`), where the call doesn't say when."""
    known = {kind: value for kind, value in (body.get("identifiers") or {}).items() if value}
    return replace(
        read,
        message_id=message_id or read.message_id,
        identifiers={**known, **read.identifiers},
        customer=body.get("customer"),
        journey=body.get("journey") or "",
        depth=body.get("depth") or 0,
        history=bool(body.get("history")),
        way=body.get("way") or "api",
        place=body.get("place") or 0,
        occurred_at=read.occurred_at or at,
    )
