"""Bodies of requests: bounded while they arrive and while they are unpacked, then parsed as JSON with the place of what is wrong.

Nothing here knows what a body means. `checked` refuses what no text or JSON column of PostgreSQL can hold.
"""

from __future__ import annotations

import zlib
from typing import Any

import orjson
from fastapi import Request

from engine.api.errors import Refusal
from engine.intake.naming import kind_of

CALL_LIMIT = 32 * 1024
"""Bytes of one call, as Segment has it."""

BATCH_LIMIT = 500 * 1024
"""Bytes of one batch, unpacked, as Segment has it."""

DEPTH = 32
"""Objects and lists within each other."""

_DRAIN = 8 * 1024 * 1024
"""Bytes of a body that is too large that are still read, so that its sender gets to see the answer."""


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The body, a JSON object of at most `limit` bytes, also unpacked. Raises Refusal (400, 413, 415)."""
    packed = request.headers.get("content-encoding", "").strip().lower()
    if packed not in ("", "identity", "gzip", "x-gzip"):
        raise Refusal(
            415, "unknown_encoding", f"Content-Encoding {packed[:40]!r} is not understood", "send it plain or with gzip"
        )
    body = await read_body(request, limit)
    if packed in ("gzip", "x-gzip"):
        body = _unpack(body, limit)
    return object_of_text(body)


def object_of_text(text: bytes) -> dict[str, Any]:
    """`text` as the JSON object that it must be. Raises Refusal (400) with the place of what is wrong."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as wrong:
        where = f"line {wrong.lineno}, column {wrong.colno}"
        raise Refusal(400, "malformed_json", f"the body is not JSON: {wrong.msg} ({where})") from None
    if not isinstance(value, dict):
        raise Refusal(400, "bad_request", f"the body must be a JSON object, this one is {kind_of(value)}")
    return value


async def read_body(request: Request, limit: int) -> bytes:
    """The body as it came, at most `limit` bytes. Raises Refusal (413)."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > _DRAIN:
            break
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


def _unpack(body: bytes, limit: int) -> bytes:
    """gzip, of one or several members; never unpacks more than `limit` bytes."""
    out = bytearray()
    while body:
        member = zlib.decompressobj(wbits=31)
        try:
            out += member.decompress(body, limit + 1 - len(out))
        except zlib.error:
            raise Refusal(400, "bad_gzip", "the body says that it is gzip, and isn't") from None
        if len(out) > limit:
            raise _too_large(limit)
        if not member.eof:
            raise Refusal(400, "bad_gzip", "the gzip body ends too early")
        body = member.unused_data
    return bytes(out)


def _too_large(limit: int) -> Refusal:
    hint = "send smaller batches" if limit == BATCH_LIMIT else ""
    return Refusal(413, "too_large", f"the body is larger than {limit // 1024} KB", hint)


def checked(value: Any, where: str) -> int:
    """The bytes of `value` as JSON. Raise Refusal (400), naming the place, where it holds a NUL character or is nested too
    deeply."""
    text = _written(value)
    # Looking at the text costs a hundredth of a walk. Brackets within texts count too: then the walk tells.
    if text is not None and text.count(b"{") + text.count(b"[") <= DEPTH and b"\\u0000" not in text:
        return len(text)
    flaw = _flaw(value, DEPTH)
    if flaw is not None:
        code, what, path = flaw
        place = (where + "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in reversed(path))).replace("\x00", "\\0")
        shown = place if len(place) <= 200 else f"{place[:200]}…"
        raise Refusal(400, code, f"{shown} {what}", "no text may hold a NUL character" if code == "bad_text" else "")
    return len(orjson.dumps(value))


def _written(value: Any) -> bytes | None:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # nested too deeply
        return None


def _flaw(value: Any, depth: int) -> tuple[str, str, list[str | int]] | None:
    """The first thing that can't be stored: code, what it is, and the way to it, innermost first."""
    if isinstance(value, str):
        return ("bad_text", "holds a NUL character", []) if "\x00" in value else None
    if not isinstance(value, (dict, list)):
        return None
    if depth == 0:
        return "too_deep", f"is nested more than {DEPTH} levels deep", []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        flaw = _flaw(key, depth) or _flaw(item, depth - 1)
        if flaw is not None:
            flaw[2].append(key)
            return flaw
    return None
