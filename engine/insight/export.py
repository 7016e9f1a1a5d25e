"""Everything that is held about one customer as one JSON document, with what is worked out from it.

Reads what `store.personal` lists, and writes one row: who exported whom stands in the audit log. The document is explained in
docs/reference/export.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from engine.core.wire import Json
from engine.delivery.deployment import Needs, NothingDeployed
from engine.delivery.deployments import Deployments
from engine.delivery.naming import names_of, put_aside
from engine.delivery.people import People
from engine.store import audit, erasing, identities, personal, profiles, selections
from engine.store.database import Connection, now

FORMAT = 1
"""Of the document: it grows when a field changes its meaning, or goes."""


async def export(c: Connection, deployments: Deployments, customer: int, actor: str) -> dict[str, Json]:
    """The document about `customer`, or about whom they were merged into: `format`, `exported_at`, `customer` (our number of
    them), `profile`, and each table of `store.personal.HELD` with its rows. LookupError where there is no such customer.

    `c` is a `snapshot`, so that all of it is of one moment, and nobody waits for it."""
    moment = await now(c)
    survivor = await identities.survivor(c, customer)
    ids = await erasing.group(c, survivor)
    person = await profiles.person(c, survivor)
    if person is None:
        raise LookupError(f"there is no customer {customer}")
    await audit.note(c, actor, "export", [f"customer/{i}" for i in ids], {})
    aside = await put_aside(c, await names_of(c, deployments, await selections.attributes(c, ids)))
    values: dict[str, Any] = {"ids": ids, "quarantine": aside}
    held = {table: await personal.rows_of(c, table, values) for table in personal.HELD}
    return {
        "format": FORMAT,
        "exported_at": moment.isoformat(),
        "customer": survivor,
        "profile": await _profile(c, deployments, person, moment),
        **held,
    }


async def _profile(c: Connection, deployments: Deployments, person: Any, moment: datetime) -> Json:
    """What is worked out of the rest: computed attributes, segments, the stage. None where nothing is deployed, or for somebody
    who was erased."""
    try:
        deployment = await deployments.current(c)
    except NothingDeployed:
        return None
    if person.erased_at is not None:
        return None
    names = [one.name for one in deployment.tracking.computed]
    needs = Needs(frozenset(deployment.segments.names()), frozenset(names), bool(deployment.segments.stages))
    people = await People.load(c, deployment, [person.id], needs, moment)
    seen = people.customer(person.id, person.attributes)
    inside = people.segments(person.id)
    return {
        "computed": {name: _plain(seen.get(name)) for name in names},
        "segments": [name for name in sorted(deployment.segments.names()) if inside(name)],
        "stage": seen.get("stage"),
    }


def _plain(value: Any) -> Json:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
