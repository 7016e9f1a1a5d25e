"""What Temporal has to do with broadcasts: the activity, and starting a workflow for each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from temporalio import activity
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from engine.core.wire import Json
from engine.temporal.activities import beating
from engine.temporal.broadcast_workflow import CARRY
from engine.temporal.client import RPC_TIMEOUT, Journeys, Unreachable, broadcast_prefix
from engine.temporal.grouping import BULK, main_queue, queue_name

AT_ONCE_SECONDS = 2.0
"""For how long one activity goes on with pages: a workflow task per page would cost more than the page."""


class Rounds(Protocol):
    """The fan-out, as this floor sees it."""

    async def round(self, broadcast: int, turn: int) -> tuple[bool, float]:
        """One page: whether the turn is over, and seconds to wait before the next."""
        ...


@dataclass(slots=True)
class Broadcasting:
    """The activities of broadcasts of one worker process. Running one twice is safe: a page is done once."""

    rounds: Rounds

    def activities(self) -> list[Callable[..., Awaitable[Any]]]:
        """Those that run on the main queue."""
        return [self.carry]

    @activity.defn(name="carry")
    async def carry(self, about: Json) -> list[Json]:
        """Pages of broadcast `about[0]` in turn `about[1]`, until it is over, has to wait, or `AT_ONCE_SECONDS` have passed."""
        end = time.monotonic() + AT_ONCE_SECONDS
        async with beating():
            while True:
                over, wait = await self.rounds.round(about[0], about[1])
                if over or wait > 0 or time.monotonic() >= end:
                    return [over, wait]


def broadcast_id(prefix: str, broadcast: int, turn: int) -> str:
    """The workflow id of a turn of a broadcast."""
    return f"{broadcast_prefix(prefix)}{broadcast}-{turn}"


async def carry(journeys: Journeys, broadcast: int, turn: int) -> None:
    """Have a workflow carry this turn; one that does, or has done, counts. Raises Unreachable."""
    try:
        await journeys.client.start_workflow(
            CARRY,
            {"broadcast": broadcast, "turn": turn, "heartbeat": max(1, int(journeys.heartbeat_seconds))},
            id=broadcast_id(journeys.prefix, broadcast, turn),
            task_queue=queue_name(journeys.prefix, main_queue(BULK)),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            task_timeout=timedelta(seconds=journeys.task_timeout_seconds),
            rpc_timeout=RPC_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        return
    except RPCError as failed:
        raise Unreachable(f"Temporal: {failed.message}") from failed
