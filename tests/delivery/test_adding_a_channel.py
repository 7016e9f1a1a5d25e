"""The adapter in docs/adding-a-channel.md is run as it stands there, through every conformance case."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from engine.delivery.channel import load_channel, message_json
from engine.delivery.testing import Behaviour, ChannelCases, Stage
from tests.channels.http_sink import Answer, answer, break_off, free_port, hang, sink

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-channel.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TOKEN = "tok-41fd"
REPLIES: dict[str, bytes | Answer] = {
    "accepts": answer(200, b"{}", "X-Message-Id: m-1"),
    "refuses": answer(400, b'{"error": "no such number"}'),
    "busy": answer(429),
    "busy_for": answer(503, b"", "Retry-After: 7"),
    "fails": answer(500, b"<h1>oops</h1>"),
    "breaks_off": break_off,
    "hangs": hang,
    "nonsense": b"\x00\xff this is not HTTP\r\n\r\n",
    "quotes": answer(401, f"bad token {TOKEN}".encode()),
}


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    """The page's code block as the module that the page says it is."""
    made = ModuleType("channels.example_sms")
    exec(compile(BLOCKS[0], "docs/adding-a-channel.md", "exec"), made.__dict__)
    sys.modules["channels.example_sms"] = made
    yield
    del sys.modules["channels.example_sms"]


class TestThePage(ChannelCases):
    """Every conformance case."""

    secrets: ClassVar = (TOKEN,)

    @asynccontextmanager
    async def stage(self, behaviour: Behaviour) -> AsyncIterator[Stage]:
        """The page's adapter before a stand-in of its provider."""
        async with sink(REPLIES.get(behaviour, b"")) as told:
            port = free_port() if behaviour == "unreachable" else told.port
            settings = {"use": "channels.example_sms", "url": f"http://127.0.0.1:{port}", "token": TOKEN, "rate": 50.0}
            channel = load_channel("sms", settings)
            yield Stage(channel, settings, lambda: told.arrived)
            await channel.close()


def test_it_is_short() -> None:
    """The page has one adapter, of fewer than 40 lines without imports and blank lines, that imports one module of the engine."""
    assert len(BLOCKS) == 1
    tree = ast.parse(BLOCKS[0])
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in imported if name and name.startswith("engine")] == ["engine.delivery.channel"]
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and not line.startswith(("import", "from", '"""'))]
    assert len(lines) < 40


def test_every_setting_is_explained() -> None:
    """Each setting of the channels that ship is named on the page, and no other."""
    from channels import file, noop, smtp, webhook

    for shipped in (smtp, webhook, file, noop):
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{shipped.__name__}`"))
        told = re.search(r"; `([a-z_ ]+)` \|", row)
        assert sorted(told[1].split() if told else []) == sorted(shipped.Settings.model_fields)


def test_every_field_is_explained() -> None:
    """The page lists exactly the fields that a webhook's receiver gets."""
    listed = re.search(r"with `(key channel [a-z_\s]+)`", PAGE)
    assert sorted(listed[1].split() if listed else []) == sorted(message_json("sms", TestThePage().message()))
