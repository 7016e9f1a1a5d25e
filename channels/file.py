"""Messages as files in a folder, one each: for trying things out and for tests. Nothing leaves this machine.

A file appears whole or not at all, is named by its message's key, and is never written twice: the first one stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from channels.mime import BadAddress, compose, not_an_address
from engine.delivery.channel import Adapter, Capabilities, Outgoing, Receipt, Result, clean_text, message_json, too_big


class Settings(BaseModel):
    """`folder`: made if it isn't there; a relative one counts from where the process runs. `format`: "json", or "eml", which a
    mail program opens (the channel then needs a sender and e-mail addresses)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    folder: Path
    format: Literal["json", "eml"] = "json"
    max_bytes: int = Field(default=10_000_000, ge=1_000)


class Folder(Adapter):
    """One folder. `clock` gives the aware time for the Date of an .eml."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self.capabilities = Capabilities(
            address="email" if settings.format == "eml" else "", idempotent=True, concurrency=8, on_unknown="retry", local=True
        )
        self._clock = clock

    async def send(self, message: Outgoing) -> Receipt:
        """Write it. Raises ValueError for a sender or a template that a person must mend."""
        try:
            body = self._body(message)
        except BadAddress as bad:
            return not_an_address(bad)
        if len(body) > self.settings.max_bytes:
            return too_big(len(body), self.settings.max_bytes)
        name = f"{file_name(message.key)}.{self.settings.format}"
        try:
            await asyncio.to_thread(write_once, self.settings.folder / name, body)
        except OSError as wrong:
            return Receipt(Result.LATER, words=f"the file can't be written: {wrong.strerror}")
        return Receipt(Result.ACCEPTED, provider_id=name)

    def _body(self, message: Outgoing) -> bytes:
        if self.settings.format == "eml":
            return compose(message, self._clock())
        told = message_json(self.name, message)
        return clean_text(json.dumps(told, ensure_ascii=False, allow_nan=False, indent=1)).encode()


def file_name(key: str) -> str:
    """A name for `key` that every file system takes: its plain characters, and a hash that tells apart what they don't."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", key)[:80].strip("_")
    return f"{plain}-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def write_once(path: Path, body: bytes) -> None:
    """Put `body` at `path` whole, on disk, unless something is there. Raises OSError, and then leaves nothing behind."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name, too, outlives a power cut
        finally:
            os.close(folder)
    finally:
        part.unlink(missing_ok=True)


def channel(config: Mapping[str, object]) -> Folder:
    """The channel for `config`, see Settings."""
    return Folder(Settings.model_validate(config))
