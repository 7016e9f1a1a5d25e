"""What policy's caps are to each customer of a batch: whom they concern, and which limit counts. Read in one statement, and only
where a cap depends on who the customer is; `core.allowances` says what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from engine.authoring.expressions import Context, ExpressionError
from engine.authoring.model_tracking import convert
from engine.authoring.types import Type
from engine.core.facts import CapFact
from engine.core.policy import Cap
from engine.delivery.deployment import Deployment
from engine.delivery.people import People
from engine.store.database import Connection

_NUMBER = Type("number")


async def cap_facts(
    c: Connection, deployment: Deployment, people: Mapping[int, Any], now: datetime
) -> dict[int, tuple[CapFact, ...]]:
    """For each of these customers (id → locked row) one fact per cap of policy; nothing where all caps are the same for all."""
    needs = deployment.cap_needs
    if needs is None:
        return {}
    known = await People.load(c, deployment, list(people), needs, now)
    return {i: caps_of(known, person) for i, person in people.items()}


def caps_of(known: People, person: Any) -> tuple[CapFact, ...]:
    """One fact per cap of policy for `person` (a row with `id` and `attributes`). `known` has the deployment's `cap_needs`."""
    deployment, about = known.deployment, known.about(person)
    return tuple(_fact(deployment, cap, about) for cap in deployment.policy.caps)


def _fact(deployment: Deployment, cap: Cap, context: Context) -> CapFact:
    inside = context.segments
    own, unusable = _own(deployment, cap.own_limit, context)
    return CapFact(
        concerned=not cap.segments or any(inside(s) for s in cap.segments),
        segment=next((one.segment for one in cap.limits if inside(one.segment)), None),
        own=own,
        unusable=unusable,
    )


def _own(deployment: Deployment, written: str | None, context: Context) -> tuple[float | None, bool]:
    # The limit that the customer chose, and whether what stands there can't be one. A text that says a number is one.
    if written is None:
        return None, False
    try:
        value, wrong = convert(_NUMBER, deployment.expression(written).evaluate(context))
    except ExpressionError:
        return None, True
    if value is None:
        return None, False
    return (value, False) if not wrong and isinstance(value, (int, float)) else (None, True)
