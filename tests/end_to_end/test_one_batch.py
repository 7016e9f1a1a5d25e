"""Messages of one customer that are decided in one go: what waits keeps a slot from those after it only where it will take one,
and the audit makes each decision again from what was recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.core.enrollment import Command
from engine.core.plan import Send
from engine.core.recording import recall
from engine.insight.audit import Tally, audit
from engine.store.database import transaction
from engine.store.recorded import Chosen
from tests.harness import POLICY, Running, running, write_project

TWO = """
journey: two
tier: lifecycle
enter: {event: pinged, again: always, while_active: parallel}
steps:
  - branch:
      - if: entry.number == 1
        then:
          - send: email
            id: high
            template: hello
            topic: news
            expires: HIGH
      - else:
          - send: email
            id: low
            template: hello
            topic: news
            tier: promotional
            expires: 60d
"""

LATER = """
journey: later
tier: promotional
enter: {event: signed_up, again: never}
steps:
  - wait: 10d
    id: long
  - send: email
    id: later
    template: hello
    topic: news
"""
"""Somebody else in the queue, without whom there would be none."""

WEEK = timedelta(days=7)
CAP = "caps: [{name: rare, limit: 1, per: 7d}]\n"
HOLD = "holds: [{from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [lifecycle], at_most: 3d}]\n"
UNCOUNTED = POLICY.replace("uncounted: [transactional]", "uncounted: [transactional, lifecycle]")


def quiet() -> str:
    """Quiet hours around now, for the higher message."""
    start, end = (f"{datetime.now(UTC) + timedelta(hours=hours):%H:%M}" for hours in (-1, 3))
    return f'quiet_hours: [{{from: "{start}", to: "{end}", tiers: [lifecycle]}}]\n'


async def decide(run: Running, *steps: str) -> Mapping[str, Any]:
    """Ada enters once for each of these steps, and the gates are asked about all of them in one batch: step → decision."""
    entered = [(await run.track("ada", "pinged", number=int(step == "high"))).enrollments[0] for step in steps]
    rows = await run.query("select id, plan, entered_at from enrollments where id = any(:ids) order by id", ids=entered)
    core = run.worker.core
    async with transaction(core.database) as c:
        plan = await core.deployments.plan(c, rows[0].plan)
    ops = {op.step: i for i, op in enumerate(plan.ops) if isinstance(op, Send)}
    members = [
        (r.id, Command("deliver", ops[step], 0, 0, r.entered_at, channel="email")) for r, step in zip(rows, steps, strict=True)
    ]
    await run.worker.workers.activities.delivery.deliver("email", plan, members)
    found = await run.query(
        "select m.step, m.enrollment_id, d.* from decisions d join messages m using (key) where m.enrollment_id = any(:ids)",
        ids=entered,
    )
    return {r.step: r for r in found}


@pytest.mark.parametrize(
    ("policy", "expires", "reason", "behind"),
    [
        (UNCOUNTED, "30d", "quiet_hours", None),
        (POLICY, "30d", "hold", None),
        (POLICY, "1d", "cap", "first"),
        (POLICY, "30d", "quiet_hours", "high"),
    ],
    ids=["an uncounted tier", "an open hold", "no room before it expires", "a slot of its own"],
)
async def test_the_next_one_waits_only_for_what_takes_a_slot(
    policy: str,
    expires: str,
    reason: str,
    behind: str | None,
    tmp_path: Path,
    database_url: str,
    temporal_address: str,
    task_queue_prefix: str,
) -> None:
    """A higher message has to wait, and its tier uses up no cap; or nobody knows when the hold ends; or there is room only when
    it will have expired: the one behind it gets the slot that is free, or the first one that becomes free. Where the higher
    one waits for a slot that it will take, the lower one goes a week after it."""
    rules = policy + CAP + (HOLD if reason == "hold" else quiet() if reason == "quiet_hours" else "")
    files = {"journeys/policy.yaml": rules, "journeys/two.yaml": TWO.replace("HIGH", expires), "journeys/later.yaml": LATER}
    async with running(write_project(tmp_path, files), database_url, temporal_address, task_queue_prefix) as run:
        await run.pause()
        await run.identify("ada")
        await run.track("ada", "signed_up")
        if reason == "hold":
            await run.track("ada", "complaint_filed", ticket_id="T1")
        first = (await decide(run, "low"))["low"] if reason == "cap" else None
        told = await decide(run, "high", "low")
        high, low = told["high"], told["low"]
        assert ("defer", reason) == (high.decision, high.reason)
        goes = {"first": first and first.at, "high": high.until}
        assert low.until == (goes[behind] + WEEK if behind else None)
        assert low.decision == ("defer" if behind else "allow")
        queue = recall(json.loads(low.facts))[0].queue
        assert queue is not None
        assert queue[high.enrollment_id] == (high.until if behind == "high" else None)
        whole = Tally()
        async for _, part in audit(run.worker.core.database, Chosen(), None):
            whole.add(part)
        count = 2 if first is None else 3
        assert Tally(count, count) == whole
