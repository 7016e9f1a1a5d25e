"""docs/reference/channels.md says of every adapter in `channels/` what it takes and what it tells, and of nothing else."""

from __future__ import annotations

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import BaseModel

import channels
from engine.app.wiring import load_receivers
from engine.delivery.channel import load_channel
from engine.settings.project import load_settings
from tests.docs.pages import DOCS, blocks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "channels.md").read_text()
ROWS = {found[1]: row for row in PAGE.splitlines() if (found := re.match(r"\| `channels\.(\w+)` \|", row))}
ADAPTERS = sorted(
    module.name
    for module in pkgutil.iter_modules(channels.__path__)
    if "def channel(" in (ROOT / "channels" / f"{module.name}.py").read_text()
)


def test_every_adapter_is_there() -> None:
    """Each adapter has one row, and each row an adapter."""
    assert sorted(ROWS) == ADAPTERS


@pytest.mark.parametrize("name", ADAPTERS)
def test_row(name: str) -> None:
    """Its settings are named in its row, all of them and no others, and what it reports; its extra exists."""
    adapter = importlib.import_module(f"channels.{name}")
    settings: type[BaseModel] = adapter.Settings
    columns = [column.strip() for column in ROWS[name].strip("| ").split(" | ")]
    assert sorted(re.findall(r"`(\w+)`", columns[2])) == sorted(settings.model_fields)
    receipts = [made.receipts for made in vars(adapter).values() if isinstance(getattr(made, "receipts", None), frozenset)]
    kinds = max(receipts, key=len, default=frozenset())
    assert not receipts or sorted(columns[3].split(", ")) == sorted(kinds)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [extra for extra in re.findall(r"sojourn\[(\w+)\]", ROWS[name]) if extra not in extras] == []


def test_examples(tmp_path: Path) -> None:
    """Each channel in the page's examples is one that its adapter takes."""
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    environ = {name: f"value-of-{name}" for name in re.findall(r"\$\{(\w+)", PAGE)}
    environ |= {"DKIM_KEY": key.decode(), "RESEND_HOOK": "whsec_aGVsbG8="}
    loaded, receivers = [], {}
    for block in blocks(DOCS / "reference" / "channels.md"):
        if block.file == "sojourn.yaml":
            (tmp_path / "sojourn.yaml").write_text(block.text)
            settings = load_settings(tmp_path, environ)
            loaded += [load_channel(name, given.config()) for name, given in settings.channels.items()]
            receivers |= load_receivers(settings)
    assert [type(one).__name__ for one in loaded] == ["Postmark", "Resend", "Smtp"]
    assert [one.capabilities.batch for one in loaded] == [500, 100, 1]
    names = {queue: one and (type(one).__name__, one.name) for queue, one in receivers.items()}
    assert names == {"service": ("Zendesk", "tasks.service"), "sales": ("HubSpot", "tasks.sales"), "default": None}
