"""Keys for trying things out: a write key and an operator's token that `sojourn up` makes for a project that has none.

They are of use on this machine only: kept in the data folder, readable for its owner, handed to the API through the environment.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from engine.app.processes import write_private
from engine.settings.project import Settings, TokenSettings, is_loopback

FILE = "keys.json"
KEY_VARIABLE = "SOJOURN_DEV_WRITE_KEY"
TOKEN_VARIABLE = "SOJOURN_DEV_TOKEN"
NAME = "development"
"""The source of the write key, and the name of the token."""


@dataclass(frozen=True, slots=True)
class Keys:
    """`write_key`: for `/v1/track` and its like. `token`: of an operator."""

    write_key: str = field(repr=False)
    token: str = field(repr=False)

    def environ(self) -> dict[str, str]:
        """What the API's process needs in its environment."""
        return {KEY_VARIABLE: self.write_key, TOKEN_VARIABLE: self.token}


def make_keys(data: Path) -> Keys:
    """The keys kept in the folder `data`, made on first use."""
    found = kept_keys(data)
    if found is None:
        found = Keys(f"dev_{secrets.token_urlsafe(18)}", f"dev_{secrets.token_urlsafe(18)}")
        data.mkdir(parents=True, exist_ok=True)
        write_private(data / FILE, json.dumps({"write_key": found.write_key, "token": found.token}, indent=2) + "\n")
    return found


def kept_keys(data: Path) -> Keys | None:
    """The keys kept in the folder `data`, None where there are none."""
    try:
        said = json.loads((data / FILE).read_text())
        return Keys(str(said["write_key"]), str(said["token"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def wants_keys(settings: Settings) -> bool:
    """Whether a project lacks a write key or a token, and listens on this machine only."""
    return is_loopback(settings.api.host) and not (settings.write_keys and settings.tokens)


def with_keys(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """`settings` with the development keys of `environ` in place of those it lacks. Never where the API listens to the world."""
    if not wants_keys(settings):
        return settings
    update: dict[str, object] = {}
    if environ.get(KEY_VARIABLE) and not settings.write_keys:
        update["write_keys"] = {NAME: SecretStr(environ[KEY_VARIABLE])}
    if environ.get(TOKEN_VARIABLE) and not settings.tokens:
        update["tokens"] = {NAME: TokenSettings(token=SecretStr(environ[TOKEN_VARIABLE]), role="operator")}
    return settings.model_copy(update=update)
