"""Locales: which names of files and which values of customers are one, and the data of the world's languages, which is Babel's.

A locale is written as BCP 47 has it: a language, a script, a region ("it", "zh-Hant", "pt-BR"). Babel is imported when one is
first looked at: most projects speak one language.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel import Locale

_SHAPE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|\d{3}))?(?:[.@].*)?\Z", re.DOTALL)
_LONGEST = 35
"""Characters of a tag: BCP 47, section 4.4.1."""


def fallbacks(tag: str) -> tuple[str, ...]:
    """`tag` as it is written properly, then what stands in for it, nearest first: "pt_br" gives pt-BR and pt. () where it is no
    locale at all."""
    found = _SHAPE.match(tag) if len(tag) <= _LONGEST else None
    if found is None:
        return ()
    language, script, region = found[1].lower(), (found[2] or "").title(), (found[3] or "").upper()
    ways = [(language, script, region), (language, script), (language, region), (language,)]
    return tuple(dict.fromkeys("-".join(part for part in way if part) for way in ways))


def language_file(tag: str) -> str:
    """The locale that a part of a file's name says ("it", "pt-BR"); "" where it is none that Babel knows."""
    tags = fallbacks(tag)
    return tags[0] if tags and "." not in tag and known(tag) is not None else ""


def known(tag: str) -> Locale | None:
    """What Babel knows of the locale, or of the nearest that stands in for it; None where it knows nothing."""
    return next((found for one in fallbacks(tag) if (found := _known(one)) is not None), None)


@lru_cache(maxsize=256)
def _known(tag: str) -> Locale | None:
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return None
