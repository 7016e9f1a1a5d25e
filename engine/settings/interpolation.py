"""`${NAME}` and `${NAME:-default}` in a document's values, from an environment that is given; `$${` stands for a plain `${`.

Only values are looked at, never keys. Nothing here reads the process's environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from engine.settings.document import Document, List, Map, Node, Text

REFERENCE = re.compile(r"\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
"""Group 1: an escaped `${` · group 2: a variable's name · group 3: its default."""


def from_environment(written: str) -> bool:
    """Whether `written` gets what is secret in it from the environment: it names a variable, and no default holds anything."""
    found = [m for m in REFERENCE.finditer(written) if m[2]]
    return bool(found) and not any(m[3] for m in found)


def interpolate(document: Document, environ: Mapping[str, str]) -> None:
    """Replace every reference in `document` by its value. A variable that is empty counts as unset where there is a default.

    A variable that isn't set and has no default becomes a problem, and its value empty text."""
    if document.root is not None:
        document.root = _filled(document, document.root, environ)


def _filled(document: Document, node: Node, environ: Mapping[str, str]) -> Node:
    if isinstance(node, Map):
        return replace(node, entries=tuple((key, _filled(document, value, environ)) for key, value in node.entries))
    if isinstance(node, List):
        return replace(node, items=tuple(_filled(document, item, environ) for item in node.items))
    return _filled_text(document, node, environ)


def _filled_text(document: Document, node: Text, environ: Mapping[str, str]) -> Text:
    def value(found: re.Match[str]) -> str:
        escaped, name, default = found.groups()
        if escaped:
            return "${"
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            hint = f"set {name} in the environment, or give a default: ${{{name}:-…}}"
            document.problems.append(document.problem("SJ250", node, f"the environment variable {name} isn't set", hint))
        return environ.get(name, "")

    filled = REFERENCE.sub(value, node.value)
    if "${" in REFERENCE.sub("", node.value):
        hint = "write ${NAME} or ${NAME:-default}; $${ stands for a plain ${"
        document.problems.append(document.problem("SJ251", node, "this ${ names no environment variable", hint))
    return node if filled == node.value else replace(node, value=filled)
