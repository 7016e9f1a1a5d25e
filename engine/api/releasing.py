"""What was put aside, mended and let in: through the same reading as any call, and through the same door.

Releasing twice changes nothing, because a call keeps the message id under which it was put aside; one that still can't be taken
stays where it is, with the reason of now.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy.engine import Row

from engine.api.calls import Arrival, name_of, reread
from engine.api.errors import Refusal
from engine.api.reading import CALL_LIMIT, checked, object_of_text
from engine.core.incoming import Incoming
from engine.delivery.deployments import Deployments
from engine.intake import kept
from engine.intake.door import Intake
from engine.store import audit, quarantine
from engine.store.database import Database, transaction


@dataclass(slots=True)
class Released:
    """Numbers of rows: `taken` through the door, `known` there before under the same message id, and those that are `still` put
    aside, with why; of what is about somebody who was erased, only that."""

    taken: list[int] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    still: dict[int, str] = field(default_factory=dict)


async def release(database: Database, deployments: Deployments, numbers: Sequence[int], actor: str) -> Released:
    """Let in those of `numbers` that wait, in the order in which they came. At most as many as the door takes at once."""
    async with transaction(database) as c:
        waiting = [r for r in await quarantine.whole(c, numbers) if r.released_at is None and r.dropped_at is None]
        deployment = await deployments.current(c)
    done = Released()
    ready: list[tuple[int, Incoming]] = []
    for r in waiting:
        try:
            incoming = incoming_of_row(r)
        except Refusal as refusal:
            done.still[r.id] = refusal.message
            continue
        wrong = deployment.checked(incoming)[1]
        if wrong:
            done.still[r.id] = wrong
        else:
            ready.append((r.id, incoming))
    answers = await Intake(database, deployments).accept([incoming for _, incoming in ready])
    erased = [number for (number, _), answer in zip(ready, answers, strict=True) if answer.erased]
    for (number, _), answer in zip(ready, answers, strict=True):
        if answer.quarantined:
            done.still[number] = answer.quarantined
        else:
            (done.known if answer.duplicate else done.taken).append(number)
    async with transaction(database) as c:
        ended = await quarantine.released(c, [*done.taken, *done.known])
        await quarantine.drop(c, erased)
        await quarantine.still(c, done.still)
        await audit.note(c, actor, "release", [f"quarantine/{i}" for i in ended], {})
    return done


async def mend(database: Database, deployments: Deployments, number: int, text: bytes, actor: str) -> str:
    """Keep `text`, a whole call as JSON, as the corrected form of what was put aside under `number`. Why it still can't be taken,
    "" where it can. Raises Refusal (400) where it is no call, LookupError where nothing waits under that number."""
    call = object_of_text(text)
    async with transaction(database) as c:
        found = [r for r in await quarantine.whole(c, [number]) if r.released_at is None and r.dropped_at is None]
        if not found:
            raise LookupError(number)
        incoming = incoming_of_row(found[0], call)
        wrong = (await deployments.current(c)).checked(incoming)[1]
        message = name_of(call, "messageId") or None
        await quarantine.mend(c, number, orjson.dumps(call).decode(), message, wrong)
        await audit.note(c, actor, "mend", [f"quarantine/{number}"], {})
    return wrong


async def drop(database: Database, numbers: Sequence[int], actor: str) -> list[int]:
    """Throw away what waits under these numbers; which of them did."""
    async with transaction(database) as c:
        gone = await quarantine.drop(c, numbers)
        await audit.note(c, actor, "drop", [f"quarantine/{i}" for i in gone], {})
    return gone


def incoming_of_row(r: Row[Any], call: Any = None) -> Incoming:
    """What a row of `store.quarantine.whole` says, or would say with `call` in place of its own. Raises Refusal (400)."""
    if call is None:
        call = orjson.loads(r.mended if r.mended is not None else r.call)
    body = r.body
    named = body.get("customer") is not None or any((body.get("identifiers") or {}).values())
    arrival = Arrival(r.source, r.at, named=named)
    ours = None if body.get("sent") else body.get("kind")  # whoever sends may say what it likes
    read = _ours(call, ours, arrival) if ours in ("enroll", "set") else reread(call, arrival)
    return kept.restored(read, r.message_id, r.at, body)


def _ours(call: Any, kind: Any, arrival: Arrival) -> Incoming:
    """A call that no source writes: an enrollment by call, or what a journey sets."""
    if not isinstance(call, dict) or len(orjson.dumps(call)) > CALL_LIMIT:
        raise Refusal(400, "bad_request", f"the call must be an object of at most {CALL_LIMIT // 1024} KB")
    checked(call, "the call")
    empty: dict[str, Any] = {}
    properties, traits = call.get("properties") or empty, call.get("traits") or empty
    if not isinstance(properties, dict) or not isinstance(traits, dict):
        raise Refusal(400, "bad_field", "properties and traits must be objects")
    return Incoming(kind, arrival.source, str(uuid.uuid4()), properties=properties, traits=traits)
