"""What a statement about consent names that there isn't: a channel, a topic. It is kept, because it may come from elsewhere,
before policy has either; but it is likely to be a mistake, and then somebody who said no is written to."""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.wire import Json
from engine.delivery.deployment import Deployment
from engine.settings.problems import nearest

STATEMENTS = ("consent_changed", "unsubscribed")
"""Events that name a channel and a topic."""


def unknown_in(deployment: Deployment, event: str, properties: Mapping[str, Json]) -> list[str]:
    """In words: "no channel is called 'e-mail'; did you mean 'email'?". What is like nothing known isn't repeated: these words go
    into logs."""
    if event not in STATEMENTS:
        return []
    found = []
    for kind, known in (("channel", deployment.channels), ("topic", frozenset(deployment.policy.topics))):
        value = properties.get(kind)
        if isinstance(value, str) and value not in ("", "*", *known):
            hint = nearest(value, known)
            close = hint.startswith("did you mean")
            what = f"no {kind} is called {value[:60]!r}" if close else f"it names a {kind} that there isn't"
            found.append(f"{what}; {hint}" if hint else what)
    return found
