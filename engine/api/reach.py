"""What the routes need, as one value that the composition root fills in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from engine.api.access import Access
from engine.core.incoming import Door
from engine.delivery.deployments import Deployments
from engine.delivery.links import Links
from engine.store.database import Database


@dataclass(frozen=True, slots=True)
class Reach:
    """`temporal` raises an exception, whose text says why, when Temporal doesn't answer."""

    project: str
    access: Access
    database: Database
    deployments: Deployments
    door: Door
    links: Links
    temporal: Callable[[], Awaitable[None]]
