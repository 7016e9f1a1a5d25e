"""Accepts every message at once and does nothing with it: for benches and dry runs. It is the measure; keep it free of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from engine.delivery.channel import Adapter, Capabilities, Outgoing, Receipt, Result

ACCEPTED = Receipt(Result.ACCEPTED)


class Settings(BaseModel):
    """It has none; an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Noop(Adapter):
    """A provider that takes everything. Idempotent, because nothing happens twice."""

    capabilities = Capabilities(address="", idempotent=True, concurrency=10_000, on_unknown="retry", local=True)

    async def send(self, message: Outgoing) -> Receipt:
        """Accepted."""
        return ACCEPTED

    async def send_many(self, messages: Sequence[Outgoing]) -> list[Receipt | Exception]:
        """All accepted."""
        return [ACCEPTED] * len(messages)


def channel(config: Mapping[str, object]) -> Noop:
    """The channel; `config` must be empty."""
    Settings.model_validate(config)
    return Noop()
