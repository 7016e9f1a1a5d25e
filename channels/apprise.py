"""Everything that Apprise can reach, a hundred services and more: the catch-all for what has no adapter of its own.

From Apprise's documentation, read 2026-11-22: "Development API" (`Apprise.add`, `async_notify` gives True, False or None),
"Logging" (`LogCapture`). Apprise says only whether it went well: what didn't may have been sent, so that it counts as `unknown`.
It connects by itself: proxies of the environment are used, redirects followed, and private addresses not refused; the URL is the
operator's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from engine.delivery.channel import (
    Adapter,
    Capabilities,
    MissingPackage,
    Outgoing,
    Receipt,
    Result,
    clean_text,
    too_big,
    without,
)
from engine.delivery.wording import text_of, title_of, unusable

try:
    import apprise
except ImportError as missing:
    raise MissingPackage("sojourn[apprise]") from missing

# Below that both log URLs, which hold credentials. A message's own warnings are heard while it is sent: one at a time, whatever
# the channel, and by nobody else, because they may hold its address.
logging.getLogger("apprise").setLevel(logging.CRITICAL)
logging.getLogger("apprise").propagate = False
logging.getLogger("urllib3").setLevel(logging.WARNING)
_hearing = asyncio.Lock()


class Settings(BaseModel):
    """`url`: Apprise's, such as "signal://signal.internal/+15550100/{to}"; `{to}` stands for the address. `timeout`: seconds in
    all."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: SecretStr
    timeout: float = Field(default=20.0, gt=0, le=50)
    max_bytes: int = Field(default=100_000, ge=1_000)

    @field_validator("url")
    @classmethod
    def _known(cls, written: SecretStr) -> SecretStr:
        if apprise.Apprise.instantiate(written.get_secret_value().replace("{to}", "15550100")) is None:
            raise ValueError("it is no URL that Apprise knows")
        return written


class Catchall(Adapter):
    """One URL."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.capabilities = Capabilities(address="", concurrency=1)
        self._url = settings.url.get_secret_value()

    async def send(self, message: Outgoing) -> Receipt:
        """One notification. Raises ValueError where the template has no text."""
        text = text_of(message)
        if len(text.encode()) > self.settings.max_bytes:
            return too_big(len(text.encode()), self.settings.max_bytes)
        if not message.to.strip() or not message.to.isprintable():
            return unusable("the address is empty, or not on one line")
        service = apprise.Apprise.instantiate(self._url.replace("{to}", quote(clean_text(message.to), safe="+@")))
        if service is None:
            return unusable("Apprise makes no URL of the address")
        async with _hearing:
            with apprise.LogCapture(level=logging.WARNING) as heard:  # type: ignore[no-untyped-call]
                try:
                    async with asyncio.timeout(self.settings.timeout):
                        went = await service.async_notify(body=text, title=clean_text(title_of(message)))
                except (TimeoutError, OSError) as lost:
                    return Receipt(Result.UNKNOWN, words=f"no answer: {type(lost).__name__}")
                said = heard.getvalue()
        if went:
            return Receipt(Result.ACCEPTED)
        hidden = [self._url, *self._url.replace("://", "/").replace("@", "/").replace(":", "/").split("/")]
        return Receipt(Result.UNKNOWN, words=without(said, [h for h in hidden if len(h) > 5]) or "Apprise says that it failed")


def channel(config: Mapping[str, object]) -> Catchall:
    """The channel for `config`, see Settings."""
    return Catchall(Settings.model_validate(config))
