"""How a text is counted before it is sent: GSM-7 or UCS-2, in which segments, at what price.

From 3GPP TS 23.038 (the default alphabet and its extension table) and TS 23.040 (concatenation): a segment holds 140 bytes, so
160 septets or 70 UTF-16 units; where there are several each begins with a header of 6 bytes, which leaves 153 or 67. What takes
two units (an escape and a character, a surrogate pair) is never split between segments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from engine.delivery.channel import clean_text

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("\f^{}\\[~]|€")
"""Characters that take an escape and a septet."""


@dataclass(frozen=True, slots=True)
class Segments:
    """How a text is counted. `units`: septets of GSM-7, or UTF-16 code units of UCS-2. `segments`: what is paid for, 0 for no
    text.

    `odd`: the characters that GSM-7 doesn't have, each once, in the order in which they come; empty with GSM-7."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    segments: int
    odd: str = ""


def measure(text: str) -> Segments:
    """How `text` is counted, with stray halves of surrogate pairs and NUL as they are sent: U+FFFD."""
    clean = clean_text(text)
    odd = "".join(dict.fromkeys(c for c in clean if c not in BASIC and c not in EXTENSION))
    if odd:
        sizes = [2 if ord(c) > 0xFFFF else 1 for c in clean]
        return Segments("UCS-2", sum(sizes), _segments(sizes, 70, 67), odd)
    sizes = [2 if c in EXTENSION else 1 for c in clean]
    return Segments("GSM-7", sum(sizes), _segments(sizes, 160, 153))


def _segments(sizes: Iterable[int], alone: int, together: int) -> int:
    """Segments for characters of these sizes: one of `alone` units where they fit, else as many as it takes of `together`."""
    total, count, room = 0, 0, 0
    for size in sizes:
        total += size
        if size > room:
            count, room = count + 1, together
        room -= size
    return min(count, 1) if total <= alone else count


def cost(segments: int, price: str) -> str:
    """What `segments` cost at `price` a segment, a number and a currency as the channel's `price` has it: "0.0225 EUR"."""
    amount, currency = price.split()
    return f"{(Decimal(amount) * segments).normalize():f} {currency}"
