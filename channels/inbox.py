"""The in-app inbox: messages that the company's own app shows its customers, by `GET /v1/inbox` and `POST /v1/inbox`.

Ours, so that no provider's documentation stands behind it: docs/how-to/show-an-inbox.md is its own. A message is put down once
under its key, however often it is handed over.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.delivery.inbox import Inbox, Settings


def channel(config: Mapping[str, object]) -> Inbox:
    """The channel for `config`, see Settings."""
    return Inbox(Settings.model_validate(config))
