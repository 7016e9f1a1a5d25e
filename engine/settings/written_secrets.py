"""Secrets that somebody wrote into `sojourn.yaml` itself. Looks at what was typed, before `interpolate`, and never shows it.

A default in `${NAME:-default}` is written out too. New places for secrets are added to `_is_secret`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.settings.document import Document, List, Map, Node, Text
from engine.settings.interpolation import from_environment
from engine.settings.problems import Problem

SECRET_FIELD = re.compile(r"(^|[_-])(password|passphrase|token|secret|key|authorization)s?$", re.IGNORECASE)
"""Fields of a channel that hold secrets, by their names."""

PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s]*:([^/@]+)@", re.IGNORECASE)
"""A URL with a password (group 1) in it."""


def written_secrets(document: Document) -> Iterator[Problem]:
    """Secrets that stand in the file itself. Looks at what was typed, before `interpolate`; never shows it."""
    for path, node in _texts(document.root, ()):
        password = PASSWORD_IN_URL.search(node.value)
        if _is_secret(path) or password is not None:
            written = password[1] if password is not None and not _is_secret(path) else node.value
            if written and not from_environment(written):
                name = re.sub(r"[^A-Z0-9]+", "_", "_".join(path[-2:]).upper()).strip("_")
                message = f"a secret is written out in {'.'.join(path)}: anybody who reads the file has it"
                hint = f'write "${{{name}}}" and set {name} in the environment (a default is written out too)'
                found = document.problem("SJ450", node, message, hint)
                yield Problem(found.file, found.line, found.column, found.code, found.length, message, hint)


def _is_secret(path: tuple[str, ...]) -> bool:
    match path:
        case ("write_keys", _) | ("tokens", _, "token") | ("encryption", "key") | ("encryption", "previous", _):
            return True
        case ("channels" | "tasks", _, *fields):
            return any(SECRET_FIELD.search(f) for f in fields)
    return False


def _texts(node: Node | None, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Text]]:
    if isinstance(node, Map):
        for key, value in node.entries:
            yield from _texts(value, (*path, key.value))
    elif isinstance(node, List):
        for number, item in enumerate(node.items):
            yield from _texts(item, (*path, str(number)))
    elif node is not None:
        yield path, node
