"""Who is meant: a customer by any identifier or address, or the nearest ones where nobody has it."""

from __future__ import annotations

import difflib

from engine.store import history
from engine.store.database import Connection


class UnknownCustomer(LookupError):
    """Nobody has that identifier. `nearest`: identifiers that look like it; `hint`: the same as a sentence, or ""."""

    def __init__(self, text: str, nearest: list[str]) -> None:
        self.nearest = nearest
        self.hint = f"similar: {', '.join(nearest)}" if nearest else "no identifier looks like it"
        super().__init__(f"no customer is known as {text!r}")


async def find_customer(c: Connection, text: str) -> int:
    """The customer whose user id, other identifier, e-mail address or phone number is `text`. Raises UnknownCustomer."""
    found = await history.by_identifier(c, text)
    if found is None:
        raise UnknownCustomer(text, nearest(text, await history.alike(c, text)))
    return found


def nearest(text: str, known: list[str]) -> list[str]:
    """At most five of `known` that look like `text`, the most similar first."""
    plain = {k.lower(): k for k in known}
    close = difflib.get_close_matches(text.lower(), plain, n=5, cutoff=0.5)
    holding = [k for k in plain if text.lower() in k and k not in close]
    return [plain[k] for k in (*close, *holding)][:5]
