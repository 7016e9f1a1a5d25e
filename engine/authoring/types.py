"""Types of properties, attributes and variables, as tracking.yaml writes them. Pure values; checked by `checking`, used by
`model_tracking` to convert what comes in."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, cast

from engine.core.wire import Json

Kind = Literal["string", "number", "integer", "boolean", "date", "datetime", "object", "list", "enum", "any"]
SIMPLE: tuple[str, ...] = ("string", "number", "integer", "boolean", "date", "datetime", "object")
"""The names that tracking.yaml may write. `[type]` is a list, `[a, b, c]` an enum, a mapping an object with known fields."""

_WORD = re.compile(r"[^\W][\w.-]*\Z")


@dataclass(frozen=True, slots=True)
class Type:
    """`values`: an enum's words · `item`: of a list (None: anything) · `fields`: of an object ((): anything goes) ·
    `optional`: may be missing, as everything may that tracking.yaml doesn't list under `required`."""

    kind: Kind
    values: tuple[str, ...] = ()
    item: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()
    optional: bool = True

    def field(self, name: str) -> Type | None:
        """The type of an object's field; None where it has no such field. An open object has any field."""
        if self.kind == "any" or (self.kind == "object" and not self.fields):
            return ANY
        return dict(self.fields).get(name)

    def required(self) -> Type:
        """The same type, never missing."""
        return replace(self, optional=False)

    def describe(self) -> str:
        """As a person would write it in tracking.yaml."""
        if self.kind == "enum":
            return f"[{', '.join(self.values)}]"
        if self.kind == "list":
            return f"[{self.item.describe() if self.item else 'any'}]"
        if self.kind == "object" and self.fields:
            return "{" + ", ".join(f"{name}: {t.describe()}" for name, t in self.fields) + "}"
        return self.kind

    def to_json(self) -> Json:
        """JSON values; `type_from_json` reads them back."""
        body: dict[str, Json] = {"kind": self.kind}
        if self.values:
            body["values"] = list(self.values)
        if self.item:
            body["item"] = self.item.to_json()
        if self.fields:
            body["fields"] = [[name, t.to_json()] for name, t in self.fields]
        if not self.optional:
            body["optional"] = False
        return body


ANY = Type("any")


def type_from_json(body: Json) -> Type:
    """The Type that `Type.to_json` wrote."""
    return Type(
        cast(Kind, body["kind"]),
        tuple(body.get("values", ())),
        type_from_json(body["item"]) if "item" in body else None,
        tuple((name, type_from_json(t)) for name, t in body.get("fields", ())),
        body.get("optional", True),
    )


def parse_type(written: Json, optional: bool = True) -> Type:
    """The Type that tracking.yaml writes as text, list or mapping. Raises ValueError saying what to write instead."""
    if isinstance(written, str):
        if written in SIMPLE:
            return Type(cast(Kind, written), optional=optional)
        raise ValueError(f"{written!r} is not a type: use one of {', '.join(SIMPLE)}, [type], or [a, b, c] for an enum")
    if isinstance(written, dict):
        fields = tuple((str(name), parse_type(t)) for name, t in written.items())
        if not fields:
            raise ValueError("an object without fields is written: object")
        return Type("object", fields=fields, optional=optional)
    if isinstance(written, list):
        return _parse_list(written, optional)
    raise ValueError(f"a type is missing: use one of {', '.join(SIMPLE)}, [type], or [a, b, c] for an enum")


def _parse_list(written: list[Json], optional: bool) -> Type:
    if len(written) == 1 and (isinstance(written[0], (dict, list)) or written[0] in SIMPLE):
        return Type("list", item=parse_type(written[0]), optional=optional)
    words = [w for w in written if isinstance(w, str)]
    if not words or len(words) != len(written):
        raise ValueError("a list is written [type] with one type in it, an enum [a, b, c] with plain words")
    if mixed := [w for w in words if w in SIMPLE]:
        raise ValueError(f"{mixed[0]!r} is a type and can't be a value of an enum")
    if twice := [w for i, w in enumerate(words) if w in words[:i]]:
        raise ValueError(f"{twice[0]!r} stands in this enum twice")
    if odd := [w for w in words if not _WORD.match(w)]:
        raise ValueError(f"{odd[0]!r} is not a plain word")
    return Type("enum", values=tuple(words), optional=optional)
