"""The file channel: conformance, whole files only, one per key."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from channels.file import Folder, Settings, file_name
from engine.delivery.channel import Content, Outgoing, Result, load_channel
from engine.delivery.testing import Behaviour, ChannelCases, Stage


class FileCases(ChannelCases):
    """A folder accepts, or can't be written to."""

    answers: ClassVar = {"accepts": Result.ACCEPTED, "unreachable": Result.LATER}
    form: ClassVar[str]

    @asynccontextmanager
    async def stage(self, behaviour: Behaviour) -> AsyncIterator[Stage]:
        """A folder that will be made, or whose place is taken by a file."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "out"
            if behaviour == "unreachable":
                folder.write_text("in the way")
            settings = {"use": "channels.file", "folder": str(folder), "format": self.form}
            channel = load_channel("push", settings)
            yield Stage(channel, settings, lambda: [p.read_bytes() for p in sorted(folder.glob("*"))])
            await channel.close()


class TestJson(FileCases):
    """Every conformance case, as JSON."""

    form = "json"


class TestEml(FileCases):
    """Every conformance case, as e-mail."""

    form = "eml"


def message(**changes: object) -> Outgoing:
    """A message that is accepted."""
    return TestJson().message(**changes)


async def test_one_file_per_key(tmp_path: Path) -> None:
    """The first of a key stays as it was; keys that differ in case, slashes or length have files of their own."""
    channel = Folder(Settings(folder=tmp_path))
    keys = ["e1/s/0/0", "E1/S/0/0", "e1_s/0/0", "../../etc/passwd", "x" * 5000, "x" * 5001, "שלום/s/0/0", ".", ""]
    await channel.send_many([message(key=key) for key in keys])
    await channel.send_many([message(key=key, to="other@example.com") for key in keys])
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) == len(keys)
    assert {json.loads(p.read_text())["to"] for p in files} == {"ada@example.com"}
    assert {p.parent for p in files} == {tmp_path}


async def test_the_same_key_at_once(tmp_path: Path) -> None:
    """Two handovers of one key at the same moment leave one whole file."""
    channel = Folder(Settings(folder=tmp_path))
    await asyncio.gather(*(channel.send(message()) for _ in range(20)))
    assert [json.loads(p.read_text())["key"] for p in tmp_path.iterdir()] == ["e1/how_to_use/0/0"]


async def test_eml_opens(tmp_path: Path) -> None:
    """An .eml is a message that a mail program reads: subject and both bodies; and the channel wants an e-mail address."""
    channel = Folder(Settings(folder=tmp_path, format="eml"))
    receipt = await channel.send(message(content=Content({"subject": "Für Zoë 🦄"}, text="hé", html="<p>hé</p>")))
    parsed = email.message_from_bytes((tmp_path / receipt.provider_id).read_bytes(), policy=email.policy.default)
    assert (parsed["Subject"], parsed["To"]) == ("Für Zoë 🦄", "ada@example.com")
    assert channel.capabilities.address == "email"
    assert (await channel.send(message(to="nobody"))).suppress == "invalid_address"


@pytest.mark.parametrize("key", ["e1/how_to_use/0/0", "a" * 300, "\ud800"])
def test_names(key: str) -> None:
    """A name has plain characters only and is short enough for every file system."""
    assert file_name(key).replace("-", "").replace("_", "").isalnum()
    assert file_name(key).isascii()
    assert len(file_name(key)) < 120
