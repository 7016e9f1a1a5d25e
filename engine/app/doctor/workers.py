"""Temporal, the workers that poll it, and the chores that it starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from engine.app.doctor.finding import PATIENCE, Finding, Patient
from engine.app.wiring import CHORES
from engine.observe.words import in_a_line
from engine.store import gauges
from engine.store.database import connect as connect_database
from engine.store.database import transaction
from engine.temporal.chores import chore_id
from engine.temporal.client import Unreachable, connect
from engine.temporal.trouble import queues

LATE = 2
"""Periods of a chore after which it is late."""

_RPC = timedelta(seconds=PATIENCE)


async def look(patient: Patient) -> AsyncIterator[Finding]:
    """One after the other; what can't be looked at without the one before it is left out."""
    if patient.temporal_address is None:
        do = "run `sojourn up`, or set SOJOURN_TEMPORAL_ADDRESS"
        yield Finding("Temporal", "fail", "no server is named, and `sojourn up` isn't running here", do)
        return
    namespace = patient.settings.temporal.namespace
    try:
        async with asyncio.timeout(PATIENCE * 2):
            client = await connect(patient.temporal_address, namespace)
            there = await _namespace(client, namespace)
            yield there
            if there.status == "fail":
                return
            yield await _pollers(client, patient)
            done = await _done(patient)
            for name, every in CHORES.items():
                yield await _chore(client, patient, name, every, done.get(name))
    except (Unreachable, RPCError, TimeoutError) as failed:
        do = "events are kept meanwhile; check the address, and start the server"
        yield Finding("Temporal", "fail", f"it doesn't answer at {patient.temporal_address}: {_said(failed)}", do)


def _said(failed: Exception) -> str:
    return failed.message if isinstance(failed, RPCError) else in_a_line(failed)


async def _namespace(client: Client, name: str) -> Finding:
    try:
        told = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name), timeout=_RPC)
    except RPCError as failed:
        if failed.status != RPCStatusCode.NOT_FOUND:
            raise
        do = f"create it (`temporal operator namespace create {name}`), or name another: temporal.namespace in sojourn.yaml"
        return Finding("Temporal", "fail", f"it has no namespace {name!r}", do)
    days = told.config.workflow_execution_retention_ttl.ToTimedelta() / timedelta(days=1)
    return Finding("Temporal", "ok", f"answers; the namespace {name!r} keeps what is over for {days:g} days")


async def _pollers(client: Client, patient: Patient) -> Finding:
    """Somebody polls every queue: each lane's own, and its queue of each channel."""
    asked = await queues(client, patient.prefix, sorted(patient.settings.channels), datetime.now(UTC))
    unserved = sorted({q.name for q in asked if not q.pollers})
    seen = sorted({who for q in asked for who in q.pollers})
    told = f"{len(seen)} seen" + (f" ({', '.join(seen)})" if seen else "")
    if unserved:
        do = "start `sojourn worker` (without --lane it serves both lanes)"
        return Finding("workers", "fail", f"{told}; nobody serves {', '.join(unserved)}", do)
    return Finding("workers", "ok", f"{told}; every queue is served")


async def _chore(client: Client, patient: Patient, name: str, every: timedelta, done: float | None) -> Finding:
    check = f"chore {name}"
    try:
        schedule = await client.get_schedule_handle(chore_id(patient.prefix, name)).describe(rpc_timeout=_RPC)
    except RPCError as failed:
        if failed.status != RPCStatusCode.NOT_FOUND:
            raise
        return Finding(check, "fail", "Temporal has no schedule for it", "a worker of the bulk lane makes it when it starts")
    if schedule.schedule.state.paused:
        return Finding(check, "warn", "its schedule is paused", f"unpause {chore_id(patient.prefix, name)} in Temporal's web UI")
    if done is None:
        return Finding(check, "ok", f"is scheduled every {_span(every)}, and was not done yet")
    ago = timedelta(seconds=max(0.0, time.time() - done))
    if ago > LATE * every:
        do = "look at its workflow in Temporal's web UI, and at the log of the worker"
        return Finding(check, "warn", f"was last done {_span(ago)} ago, and should be every {_span(every)}", do)
    return Finding(check, "ok", f"was last done {_span(ago)} ago")


async def _done(patient: Patient) -> Mapping[str, float]:
    if patient.database_url is None:
        return {}
    database = connect_database(patient.database_url, pool=1)
    try:
        async with transaction(database) as c:
            return await gauges.chores(c)
    except (SQLAlchemyError, OSError):  # the check of the database says so
        return {}
    finally:
        await database.dispose()


def _span(time: timedelta) -> str:
    minutes = int(time.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
