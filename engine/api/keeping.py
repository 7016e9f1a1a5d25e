"""Calls that can't be understood are put aside, whole and with the reason, before their sender gets an answer.

`engine.intake.kept` has the form of a row; what the door itself can't take it puts aside in the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel

from engine.api.calls import Malformed, moment_of, name_of, object_of
from engine.api.errors import Refusal
from engine.api.reach import Reach
from engine.api.taking import patiently
from engine.core.incoming import Accepted, Incoming
from engine.delivery.naming import region_of
from engine.intake import kept
from engine.intake.forgetting import unreadable
from engine.store import quarantine
from engine.store.database import now, transaction

T = TypeVar("T")


class PutAside(BaseModel):
    """One call that wasn't taken: where in the request it stands, and why."""

    at: str
    reason: str


async def keep(reach: Reach, source: str, malformed: Sequence[Malformed], *, history: bool = False) -> frozenset[int]:
    """Put these aside; on return they are on disk. Which of them weren't kept, because they are about somebody who was erased and
    who doesn't come back by it. Raises Refusal: 400 where one can't even be written down."""
    if not malformed:
        return frozenset()
    texts = [_text(one) for one in malformed]
    async with patiently(), transaction(reach.database) as c:
        moment = await now(c)
        region = await region_of(c, reach.deployments)
        forgotten = await unreadable(c, region, [_read(one, source, history=history) for one in malformed])
        rows = []
        for n, (one, text) in enumerate(zip(malformed, texts, strict=True)):
            if n in forgotten:
                continue
            said = one.call if isinstance(one.call, dict) else {}
            body = {
                "kind": _short(said.get("type")),
                "name": _short(said.get("event") or said.get("name")),
                "history": history,
                "sent": True,
            }
            rows.append(kept.made(source, one.message_id, one.refusal.message, moment, text, body))
        await quarantine.add(c, rows)
    return forgotten


def _read(one: Malformed, source: str, *, history: bool) -> Incoming:
    """As much of a call as says who it is about, and when."""
    said = one.call if isinstance(one.call, dict) else {}
    who = {kind: _or_none(name_of, said, field) for kind, field in (("user_id", "userId"), ("anonymous_id", "anonymousId"))}
    return Incoming(
        "track",
        source,
        one.message_id,
        traits=_or_none(object_of, said, "traits") or {},
        identifiers={kind: name for kind, name in who.items() if name},
        occurred_at=_or_none(moment_of, said, "timestamp"),
        history=history,
    )


def _or_none(read: Callable[[Mapping[str, Any], str], T], call: Mapping[str, Any], field: str) -> T | None:
    try:
        return read(call, field)
    except Refusal:
        return None


async def refused_alone(reach: Reach, source: str, one: Malformed) -> Refusal:
    """The answer to a call that came alone and was put aside: what is wrong with it, and where it lies."""
    async with patiently(), transaction(reach.database) as c:
        number = await quarantine.number_of(c, source, one.message_id)
    hint = f"{one.refusal.hint}; " if one.refusal.hint else ""
    lies = f"it is put aside: `sojourn quarantine show {number}`"
    return Refusal(one.refusal.status, one.refusal.code, one.refusal.message, f"{hint}{lies}")


def aside(answers: Sequence[Accepted | Malformed], alone: bool = False) -> list[PutAside] | None:
    """What of a batch, or of a call that came `alone`, was put aside, in order; None where nothing was."""
    found = []
    for i, answer in enumerate(answers):
        why = answer.refusal.message if isinstance(answer, Malformed) else answer.quarantined
        if why:
            found.append(PutAside(at="the call" if alone else f"batch[{i}]", reason=why))
    return found or None


def _text(one: Malformed) -> str:
    try:
        return orjson.dumps(one.call).decode()
    except orjson.JSONEncodeError:
        raise Refusal(400, one.refusal.code, one.refusal.message, "it is nested too deeply to be put aside") from None


def _short(said: object) -> str:
    """A name for lists of what was put aside."""
    return said[:100].replace("\x00", "\\0") if isinstance(said, str) else ""
