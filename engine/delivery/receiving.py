"""What adapters of programs share that take tasks for people: HubSpot, Zendesk and their like.

A task comes as an Outgoing, so that a receiver is loaded, tried and read as a channel is: `to` is the assignee ("" for nobody in
particular), `content.text` the body, and `content.fields` hold `title`, `queue`, and as ISO 8601 `due` ("" without) and `at`, the
step's own time. What the program tells afterwards is Feedback of the kind `completed`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from pydantic import Field

from engine.delivery.channel import Capabilities, Outgoing, Receipt, clean_line, clean_text
from engine.delivery.http import HttpAdapter, HttpSettings


class ReceiverSettings(HttpSettings):
    """`assignees`: who is meant by a task's assignee, as the program calls them; where it isn't named here it is taken as it
    stands, if it looks like the program's own, and else goes into the body."""

    assignees: dict[str, str] = Field(default_factory=dict)
    max_bytes: int = Field(default=100_000, ge=1_000)


class Receiver(HttpAdapter, ABC):
    """The base: implement `send` (make the task), `finish` and `parse_webhook`. `idempotent`: a key makes one task at most, for
    `remembers` seconds. `by_key`: `finish` finds a task by its key alone, where `id` is ""."""

    receipts: ClassVar[frozenset[str]] = frozenset({"completed"})
    remembers: ClassVar[float] = math.inf
    by_key: ClassVar[bool] = False

    def __init__(self, base: str, settings: ReceiverSettings, secrets: Iterable[str], *, idempotent: bool = False) -> None:
        super().__init__(base, secrets=secrets, **settings.limits)
        self.settings = settings
        self.capabilities = Capabilities(
            address="",
            idempotent=idempotent,
            concurrency=settings.concurrency,
            on_unknown="retry" if idempotent else "assume_sent",
            local=self.local,
            receipts=self.receipts,
        )

    @abstractmethod
    async def finish(self, key: str, id: str) -> Receipt:
        """Close the task that the program calls `id`: nobody needs to do it any more. Closing it twice does no harm."""

    def assignee(self, message: Outgoing) -> str:
        """Whom the program should give the task to, as it calls them; "" for nobody in particular."""
        return clean_line(self.settings.assignees.get(message.to, message.to))


def title(message: Outgoing, most: int) -> str:
    """On one line of at most `most` characters."""
    return clean_line(message.content.fields.get("title", ""))[:most] or "Task"


def body(message: Outgoing, unknown: str = "") -> str:
    """The body, and about whom it is. `unknown`: an assignee that the program doesn't have."""
    about = f"Customer {message.customer}, journey {message.journey}, step {message.step}"
    parts = [message.content.text or "", f"For {unknown}" if unknown else "", about]
    return clean_text("\n\n".join(part for part in parts if part))


def due(message: Outgoing) -> datetime | None:
    """Aware; None where it has no date."""
    written = message.content.fields.get("due", "")
    return datetime.fromisoformat(written) if written else None
