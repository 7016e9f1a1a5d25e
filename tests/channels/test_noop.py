"""The no-op channel accepts everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from engine.delivery.channel import Result, load_channel
from engine.delivery.testing import Behaviour, ChannelCases, Stage


class TestNoop(ChannelCases):
    """Every conformance case for a provider that can only accept, without a limit of size."""

    answers: ClassVar = {"accepts": Result.ACCEPTED}
    huge = None

    @asynccontextmanager
    async def stage(self, behaviour: Behaviour) -> AsyncIterator[Stage]:
        """The channel; nothing arrives anywhere."""
        settings = {"use": "channels.noop"}
        yield Stage(load_channel("bench", settings), settings, list)
