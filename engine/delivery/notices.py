"""What adapters share that hear their provider's webhook: signatures, ages, times, and JSON that may be anything.

A notice is judged before it is read: whoever calls is nobody until the signature holds. Nothing here quotes what came.
"""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from engine.delivery.channel import Forged, Notice

MAX_AGE = 300.0
"""Seconds after which a signed notice is no longer taken, so that one that was overheard can't be told again later. Providers
repeat what wasn't taken under a new time and signature."""


def same(given: str | Sequence[str], expected: str) -> None:
    """Raises Forged unless `given`, or one of them, is `expected`; how long it takes tells nothing about where they differ.
    An empty `expected` (nothing is configured) is nobody's."""
    signatures = [one for one in ([given] if isinstance(given, str) else given) if one]
    if not signatures:
        raise Forged("the signature is missing")
    matching = [hmac.compare_digest(one.encode("utf-8", "surrogatepass"), expected.encode()) for one in signatures]
    if not expected or not any(matching):
        raise Forged("the signature is wrong")


def fresh(notice: Notice, signed_at: datetime | None, max_age: float = MAX_AGE) -> None:
    """Raises Forged unless `signed_at` is at most `max_age` seconds away from the notice's arrival."""
    if signed_at is None:
        raise Forged("the signature's time is missing or malformed")
    if abs((notice.received - signed_at).total_seconds()) > max_age:
        raise Forged("the signature's time is too far from now")


def read_json(body: bytes) -> Any:
    """`body` as JSON. Raises ValueError, also where it is nested too deeply."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the notice is not JSON") from None


def objects(found: Any) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array, or the one that `found` is. Raises ValueError where it is anything else."""
    for one in found if isinstance(found, list) else [found]:
        if not isinstance(one, dict):
            raise ValueError("the notice holds something else than objects")
        yield one


def part(found: Any, name: str) -> dict[str, Any]:
    """The object under `name` in an object, {} where there is none."""
    inner = found.get(name) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else {}


def listed(found: Any, name: str) -> list[Any]:
    """The array under `name` in an object, [] where there is none."""
    inner = found.get(name) if isinstance(found, dict) else None
    return inner if isinstance(inner, list) else []


def text(found: Any, *names: str) -> str:
    """The first of `names` in an object that holds a text or a number; "" where none does."""
    for name in names if isinstance(found, dict) else ():
        value = found.get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""


def epoch(seconds: object) -> datetime | None:
    """A time told in seconds since the epoch; None where it is none."""
    try:
        read = float(str(seconds))
        return datetime.fromtimestamp(read, UTC) if math.isfinite(read) else None
    except (ValueError, OverflowError, OSError):
        return None


def epoch_ms(milliseconds: object) -> datetime | None:
    """A time told in milliseconds since the epoch; None where it is none."""
    try:
        return epoch(float(str(milliseconds)) / 1000)
    except ValueError:
        return None


def iso(written: object) -> datetime | None:
    """A time told as in ISO 8601, in UTC where it names no zone; None where it is none."""
    try:
        read = datetime.fromisoformat(str(written))
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def every(found: Any, *path: str) -> list[dict[str, Any]]:
    """The objects at the end of `path`, through objects and arrays: what an envelope holds. What is neither is left out."""
    here = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    return [inner for one in here for inner in every(one.get(path[0]), *path[1:])] if path else here


def form_of(notice: Notice) -> dict[str, str]:
    """The fields of a form, the last of each name; those of the query where the provider called with GET."""
    raw = urlsplit(notice.url).query if notice.method == "GET" else notice.body.decode("utf-8", "replace")
    return dict(parse_qsl(raw, keep_blank_values=True))


def mac(secret: str, signed: bytes, algorithm: str = "sha256") -> bytes:
    """The HMAC of `signed`. Raises Forged where no secret is set: nothing can be told from a forgery then."""
    if not secret:
        raise Forged("the channel's secret for webhooks isn't set in sojourn.yaml")
    return hmac.new(secret.encode(), signed, algorithm).digest()
