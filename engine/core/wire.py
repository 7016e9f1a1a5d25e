"""Frozen dataclasses to JSON values and back, and the content hash of a JSON value.

Used for plans and policies, which are stored and hashed. Only what they are made of is understood: dataclasses, tuples,
optionals, literals, datetimes, unions of dataclasses (tagged with `op`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union

Json = Any
"""A JSON value: dict, list, str, int, float, bool or None."""

SPARSE = types.MappingProxyType({"sparse": True})
"""Metadata of a field that is left out where it has its default: one that came later changes no hash of what doesn't use it."""

T = TypeVar("T")


def dump(value: object) -> Json:
    """JSON values for `value`; a dataclass becomes a dict with `op` naming its class."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Json] = {"op": type(value).__name__}
        for f in dataclasses.fields(value):
            held = getattr(value, f.name)
            if not (f.metadata.get("sparse") and held == f.default):
                out[f.name] = dump(held)
        return out
    if isinstance(value, (list, tuple)):
        return [dump(v) for v in value]
    if isinstance(value, dict):
        return {str(k): dump(v) for k, v in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def load(cls: type[T], body: Json) -> T:
    """The `cls` that `dump` wrote as `body`."""
    return typing.cast(T, _load(cls, body))


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _load(kind: Any, body: Json) -> Any:
    if kind is Any or body is None:
        return body
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [a for a in typing.get_args(kind) if a is not type(None)]
        if isinstance(body, dict) and "op" in body:
            for option in options:
                if dataclasses.is_dataclass(option) and getattr(option, "__name__", "") == body["op"]:
                    return _load(option, body)
            if any(dataclasses.is_dataclass(o) for o in options):
                raise ValueError(f"unknown kind {body['op']!r}")
        return _load(options[0], body) if len(options) == 1 else body
    if origin is tuple:
        items = typing.get_args(kind)
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(_load(items[0], v) for v in body)
        return tuple(_load(item, v) for item, v in zip(items, body, strict=True))
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        return typing.cast(Any, kind)(**{k: _load(hints[k], v) for k, v in body.items() if k != "op"})
    if kind is datetime:
        return datetime.fromisoformat(body)
    return body


def canonical(body: Json) -> bytes:
    """The one byte form of a JSON value that hashes are taken over: sorted keys, no spaces, UTF-8."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(body: Json) -> str:
    """The first 16 hex digits of the SHA-256 of `canonical(body)`."""
    return hashlib.sha256(canonical(body)).hexdigest()[:16]


def share(salt: str, subject: str) -> float:
    """A stable number in [0, 1) for `subject` under `salt`: how holdouts and splits divide people."""
    return int.from_bytes(hashlib.sha256(f"{salt}\x00{subject}".encode()).digest()[:8], "big") / 2**64
