"""The adapter in docs/adding-a-channel.md is run as it stands there, through every conformance case."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from engine.delivery.channel import Adapter, message_json
from tests.channels.http_sink import HttpCases, Request, answer

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-channel.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TOKEN = "tok-41fd"


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    """The page's code block as the module that the page says it is."""
    made = ModuleType("own.example_sms")
    exec(compile(BLOCKS[0], "docs/adding-a-channel.md", "exec"), made.__dict__)
    sys.modules["own.example_sms"] = made
    yield
    del sys.modules["own.example_sms"]


class TestThePage(HttpCases):
    """Every conformance case for the page's adapter, before a stand-in of its provider."""

    use, name, base = "own.example_sms", "sms", "url"
    settings: ClassVar = {"token": TOKEN, "rate": 50.0}
    secrets: ClassVar = (TOKEN,)

    def accepts(self, request: Request) -> bytes:
        """Its id is in a header."""
        return answer(200, b"{}", "X-Message-Id: m-1")

    def refusal(self, words: str) -> bytes:
        """In plain words."""
        return answer(400, words.encode())


def test_it_names_every_attribute_that_an_adapter_may_have() -> None:
    """But for `name`, which the loader sets."""
    assert [] == [a for a in Adapter.__annotations__ if a != "name" and f"`{a}`" not in PAGE and f"self.{a}" not in PAGE]


def test_it_is_short() -> None:
    """The page has one adapter, of fewer than 30 lines without imports and blank lines, that imports of the engine only what is
    there for adapters."""
    assert len(BLOCKS) == 1
    tree = ast.parse(BLOCKS[0])
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in imported if name and name.startswith("engine")] == [
        "engine.delivery.channel",
        "engine.delivery.http",
    ]
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and not line.startswith(("import", "from", '"""'))]
    assert len(lines) < 30


def test_every_field_is_explained() -> None:
    """The page lists exactly the fields that a webhook's receiver gets."""
    listed = re.search(r"with `(key channel [a-z_\s]+)`", PAGE)
    assert sorted(listed[1].split() if listed else []) == sorted(message_json("sms", TestThePage().message()))
