"""Temporal as the floors above see it: connect, bring inputs to cohorts, run a worker. Only here and below is `temporalio`
imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import temporalio.converter
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from engine.core.logical import LogicalClock
from engine.core.wire import Json
from engine.observe.words import Sayable
from engine.temporal import telemetry
from engine.temporal.codec import AesGcmCodec, parse_keys
from engine.temporal.grouping import BULK, Lanes, lanes_to_json, main_queue, queue_name
from engine.temporal.payloads import Payloads

RPC_TIMEOUT = timedelta(seconds=5)
"""How long the relay waits for one call; its own loop tries again."""


class Unreachable(Sayable):
    """Temporal doesn't answer; nothing is lost, the relay tries again."""


def cohort_prefix(prefix: str) -> str:
    """What the workflow ids of a project's cohorts begin with, before the number."""
    return f"{prefix}-cohort-"


def broadcast_prefix(prefix: str) -> str:
    """What the ids of broadcasts' workflows begin with."""
    return f"{prefix}-broadcast-"


def chore_prefix(prefix: str) -> str:
    """What the ids of chores' Schedules and workflows begin with."""
    return f"{prefix}-chore-"


@dataclass(frozen=True, slots=True)
class Journeys:
    """The cohorts of one project in one namespace. `prefix`: of task queues and workflow ids. `task_timeout_seconds`: how long a
    worker may be silent over a workflow task before another one gets it."""

    client: Client
    prefix: str
    clock: LogicalClock
    max_size: int = 500
    heartbeat_seconds: float = 5.0
    task_timeout_seconds: float = 10.0

    def cohort_id(self, cohort: int) -> str:
        """The workflow id of a cohort."""
        return f"{cohort_prefix(self.prefix)}{cohort}"

    async def bring(
        self, cohort: int, journey: str, plan: str, lanes: Lanes, items: Sequence[Json], *, lane: str = BULK
    ) -> Literal["taken", "closed"]:
        """Start the cohort with these inputs, in `lane`, or signal it if it runs. `closed`: its workflow is over. Raises
        Unreachable."""
        main = main_queue(lane)
        try:
            await self.client.start_workflow(
                journey,
                {
                    "cohort": cohort,
                    "plan": plan,
                    "queue": self.prefix,
                    "main": main,
                    "max_size": self.max_size,
                    "heartbeat": self.heartbeat_seconds,
                    "lanes": lanes_to_json(lanes),
                    "clock": [self.clock.scale, self.clock.real_epoch.isoformat(), self.clock.logical_epoch.isoformat()],
                },
                id=self.cohort_id(cohort),
                task_queue=queue_name(self.prefix, main),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                start_signal="inputs",
                start_signal_args=[list(items)],
                task_timeout=timedelta(seconds=self.task_timeout_seconds),
                rpc_timeout=RPC_TIMEOUT,
                static_summary=f"plan {plan}",
            )
        except WorkflowAlreadyStartedError:
            return "closed"
        except RPCError as failed:
            raise Unreachable(f"Temporal: {failed.message}") from failed
        return "taken"

    async def roll(self, cohort: int) -> None:
        """Ask a cohort to continue as new."""
        handle: WorkflowHandle[object, object] = self.client.get_workflow_handle(self.cohort_id(cohort))
        await handle.signal("roll", rpc_timeout=RPC_TIMEOUT)


def converter(encryption_key: str) -> temporalio.converter.DataConverter:
    """The data converter: encrypting when a key is set, what failures say included."""
    plain = temporalio.converter.DataConverter(payload_converter_class=Payloads)
    if not encryption_key:
        return plain
    return replace(
        plain,
        payload_codec=AesGcmCodec(parse_keys(encryption_key)),
        failure_converter_class=temporalio.converter.DefaultFailureConverterWithEncodedAttributes,
    )


async def connect(
    address: str,
    namespace: str,
    *,
    encryption_key: str = "",
    headers: Mapping[str, str] | None = None,
    runtime: Runtime | None = None,
) -> Client:
    """A client of the Temporal server at `address`, on the process's usual runtime unless it is given another. Raises
    Unreachable, which says where it tried."""
    try:
        return await Client.connect(
            address,
            namespace=namespace,
            data_converter=converter(encryption_key),
            rpc_metadata=dict(headers or {}),
            interceptors=telemetry.interceptors(),
            runtime=runtime,
        )
    except (RPCError, RuntimeError) as failed:
        raise Unreachable(f"no Temporal server answers at {address}: {failed}") from failed
