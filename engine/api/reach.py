"""What the routes need, as one value that the composition root fills in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engine.api.access import Access
from engine.api.taking import Entrance
from engine.api.tally import Tally
from engine.core.incoming import Door
from engine.delivery.channel import Channel
from engine.delivery.deployments import Deployments
from engine.delivery.links import Links
from engine.settings.project import InboxSettings
from engine.store.database import Database


@dataclass(frozen=True, slots=True)
class Reach:
    """`temporal` raises an exception, whose text says why, when Temporal doesn't answer. `now`: logical time, by this process's
    clock; only when a call came is told by it. `logical`: the same for any real moment. `wall_clock`: real time, by which
    customers' tokens end. `channels`: those whose providers may call; `replies`: channel → the texts that answer STOP, START and
    HELP. `entrance`: the way of requests to the door."""

    project: str
    access: Access
    database: Database
    deployments: Deployments
    door: Door
    links: Links
    temporal: Callable[[], Awaitable[None]]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    logical: Callable[[datetime], datetime] = lambda real: real
    channels: Mapping[str, Channel] = field(default_factory=dict)
    replies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    inbox: InboxSettings = field(default_factory=InboxSettings)
    wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    entrance: Entrance = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entrance", Entrance(self.door))
