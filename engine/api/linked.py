"""What the pages behind signed links share: what a link is about, the form with its one button, and what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.responses import HTMLResponse

from engine.api.errors import RETRY_AFTER, Refusal
from engine.api.pages import button, page, paragraph

FORM_LIMIT = 16 * 1024
"""The most bytes that a form may have."""

_KINDS = {"email": "e-mails", "sms": "text messages", "push": "notifications"}


@dataclass(frozen=True, slots=True)
class Link:
    """What a link is about. `topic` None: the whole channel."""

    customer: int
    channel: str
    topic: str | None

    def about(self) -> str:
        """For the customer, in words."""
        kind = _KINDS.get(self.channel, "messages")
        return kind if self.topic is None else f"{kind} about “{self.topic.replace('_', ' ')}”"


def form(field: str, value: str) -> dict[str, Any]:
    """The form with the one button, for the OpenAPI document."""
    schema = {"type": "object", "properties": {field: {"const": value}}}
    return {"requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}}


def unknown(why: str) -> HTMLResponse:
    """No link of ours: the page that says so. `why`: what may have happened, and what helps."""
    return page("This link doesn’t work", paragraph(why), status=404)


def not_now(refusal: Refusal, so_far: str, field: str, value: str) -> HTMLResponse:
    """It could not be done; the button is there once more. `so_far`: what holds until then."""
    headers = {"Retry-After": str(RETRY_AFTER)} if refusal.status == 503 else {}
    text = paragraph(f"{so_far} Please try again in a minute.")
    return page("That didn’t work", text, button("Try again", field, value), status=refusal.status, headers=headers)
