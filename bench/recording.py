"""What it costs to keep the facts of every decision, and how fast the audit makes decisions again: on decisions of a real run."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy.engine import Row

from bench.stack import WrongResult
from engine.core.recording import recall, record
from engine.insight.audit import Tally, audit
from engine.store import ledger
from engine.store.database import connect, fetch, transaction
from engine.store.recorded import Chosen

BATCH = 500
ROUNDS = 15

COLUMNS = (
    "key, customer_id, at, decision, reason, rule, detail, until, earliest, gates, policy, plan, consent_version, facts, "
    "octet_length(facts) as bytes, pg_column_size(decisions) as row_bytes"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of one decision's facts, and of its whole row. Milliseconds to make the recordings of a batch of 500, to write the
    batch with them and without. `again`: decisions that the audit makes again in a second."""

    facts_bytes: float
    row_bytes: float
    record_ms: float
    write_ms: float
    write_without_ms: float
    again: float


async def weigh_facts(url: str) -> Cost:
    """Of the newest 500 decisions at `url`, written anew in transactions that are rolled back. Raises WrongResult where one
    doesn't come out again."""
    database = connect(url, pool=1)
    try:
        tally, began = Tally(), time.perf_counter()
        async for _, part in audit(database, Chosen()):
            tally.add(part)
        seconds = time.perf_counter() - began
        if tally.same != tally.looked_at:
            raise WrongResult(f"{tally.looked_at - tally.same} of {tally.looked_at} decisions don't come out again")
        async with transaction(database) as c:
            rows = await fetch(c, f"select {COLUMNS} from decisions order by id desc limit {BATCH}")
        recalled = [recall(json.loads(r.facts)) for r in rows]
        whole, without = [_item(r, json.loads(r.facts)) for r in rows], [_item(r, None) for r in rows]
        times: dict[str, list[float]] = {"record": [], "whole": [], "without": []}
        for _ in range(ROUNDS):
            began = time.perf_counter()
            _ = [record(facts, message) for facts, message in recalled]
            times["record"].append(time.perf_counter() - began)
            for name, items in (("whole", whole), ("without", without)):
                times[name].append(await _written(database, items))
        per_500 = {name: median(found) * 1e3 * BATCH / len(rows) for name, found in times.items()}
        return Cost(
            facts_bytes=sum(r.bytes for r in rows) / len(rows),
            row_bytes=sum(r.row_bytes for r in rows) / len(rows),
            record_ms=per_500["record"],
            write_ms=per_500["whole"],
            write_without_ms=per_500["without"],
            again=tally.looked_at / seconds,
        )
    finally:
        await database.dispose()


def _item(row: Row[Any], facts: Any) -> dict[str, Any]:
    kept = {k: v for k, v in row._mapping.items() if k not in ("bytes", "row_bytes")}
    return {**kept, "facts": facts}


async def _written(database: Any, items: Sequence[dict[str, Any]]) -> float:
    """Seconds for one statement."""
    async with database.connect() as c:
        began = time.perf_counter()
        await ledger.decided(c, items)
        seconds = time.perf_counter() - began
        await c.rollback()
    return seconds
