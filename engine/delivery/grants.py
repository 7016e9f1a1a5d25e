"""Tokens that a provider gives for a while (OAuth 2), asked for when the first message needs one and anew before they end; and
the private keys that adapters sign with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import AfterValidator, SecretStr

from engine.delivery.channel import Receipt, Result
from engine.delivery.http import Answer, HttpAdapter

EARLY = 120.0
"""Seconds before its end from which a token isn't used any more."""


def private_key(written: SecretStr) -> SecretStr:
    """`written`, if it is a private key as PEM. Raises ValueError, which quotes nothing of it."""
    try:
        signing_key(written.get_secret_value())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it must be a private key as PEM, its line ends included, without a password") from None
    return written


def signing_key(pem: str) -> Any:
    """The private key to sign with. It is the operator's own: whether its primes are any isn't tried, which takes long."""
    return load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)


PrivateKey = Annotated[SecretStr, AfterValidator(private_key)]
"""A key in an adapter's settings."""


class Grant:
    """One token at a time. `ask` gets the provider's answer; `clock` gives seconds that only grow."""

    def __init__(
        self, provider: HttpAdapter, ask: Callable[[], Awaitable[Answer | Receipt]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._provider, self._ask, self._clock = provider, ask, clock
        self._held, self._ends = "", float("-inf")
        self._asking = asyncio.Lock()

    async def token(self) -> str | Receipt:
        """The token, or why there is none: then nothing was sent, and a later try is safe; where the provider refuses us that
        waits until somebody mends it."""
        async with self._asking:
            if self._clock() >= self._ends:
                answer = await self._ask()
                if isinstance(answer, Receipt):
                    return Receipt(Result.LATER, words=f"no token: {answer.words}")
                told = answer.json
                if not (200 <= answer.status < 300 and isinstance(told.get("access_token"), str)):
                    refused = self._provider.receipt(answer, words=str(told.get("error_description") or told.get("error") or ""))
                    words = f"no token: {refused.words or 'the answer holds none'}"
                    return Receipt(Result.LATER, words=words, retry_after=refused.retry_after)
                lasts = told.get("expires_in", 3600)
                self._held = told["access_token"]
                self._ends = self._clock() + max(float(lasts) if isinstance(lasts, (int, float)) else 3600.0, EARLY + 1) - EARLY
            return self._held

    def forget(self, token: str) -> None:
        """`token` was refused: ask anew next time, unless another message has already done so."""
        if token == self._held:
            self._ends = float("-inf")
