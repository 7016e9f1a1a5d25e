"""A channel that keeps what it is given, for tests: nothing leaves the process."""

from __future__ import annotations

from collections.abc import Callable

from engine.delivery.channel import Adapter, Capabilities, Outgoing, Receipt, Result


class Sink(Adapter):
    """`seen`: what it was given. `answer` decides the receipts."""

    def __init__(self, name: str, address: str = "") -> None:
        self.name = name
        self.capabilities = Capabilities(address=address, idempotent=True, concurrency=500, on_unknown="retry", local=True)
        self.seen: list[Outgoing] = []
        self.answer: Callable[[Outgoing], Receipt | Exception] = lambda m: Receipt(Result.ACCEPTED)

    async def send(self, message: Outgoing) -> Receipt:
        """Keep the message and answer."""
        self.seen.append(message)
        answer = self.answer(message)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def to(self, customer: int) -> list[Outgoing]:
        """What this customer was handed."""
        return [m for m in self.seen if m.customer == str(customer)]
