"""How the API describes itself in /openapi.json: bodies that the routes read by themselves, errors, ways to authenticate.

Says what `calls`, `access` and `errors` do; it checks nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from engine.api.errors import ErrorBody
from engine.api.keeping import PutAside

Json = dict[str, Any]

_MEANING = {
    400: "The request can't be understood; nothing of it was taken.",
    401: "No known write key or token.",
    403: "The token's role doesn't allow this.",
    404: "There is no such thing.",
    409: "This can't be done to it.",
    413: "The body is too large.",
    415: "The Content-Encoding isn't understood.",
    429: "The source sends more than its rate; send it again after Retry-After seconds.",
    503: "Not now; send it again after Retry-After seconds.",
}

_NAME: Json = {"oneOf": [{"type": "string", "maxLength": 512}, {"type": "integer"}]}
_CALL: Json = {
    "userId": {**_NAME, "description": "Your id of the person. This or anonymousId is needed."},
    "anonymousId": {**_NAME, "description": "An id for somebody who isn't known yet."},
    "messageId": {**_NAME, "description": "Unique per source. The same one again changes nothing. Without one, one is made."},
    "timestamp": {"type": "string", "format": "date-time", "description": "When it happened. Without one: now."},
    "sentAt": {"type": "string", "format": "date-time", "description": "When it was sent, by the same clock as `timestamp`."},
    "writeKey": {"type": "string", "description": "The write key, where there is no Authorization header."},
    "context": {"type": "object", "description": "`timezone` is used where traits have none."},
}
TRACK: Json = {
    "type": "object",
    "required": ["event"],
    "properties": {"event": {"type": "string", "maxLength": 512}, "properties": {"type": "object"}, **_CALL},
    "example": {"userId": "u1", "event": "order_completed", "properties": {"order_id": "A1", "total": 40}, "messageId": "m-1"},
}
IDENTIFY: Json = {
    "type": "object",
    "properties": {"traits": {"type": "object", "description": "Become attributes; null removes one."}, **_CALL},
    "example": {"userId": "u1", "traits": {"email": "ada@example.com", "first_name": "Ada"}, "messageId": "m-2"},
}
_SEEN: Json = {
    "name": {**_NAME, "description": "Becomes the property `page_name` or `screen_name`."},
    "category": {**_NAME, "description": "Becomes the property `category`."},
    "properties": {"type": "object"},
}
PAGE: Json = {
    "type": "object",
    "properties": {**_SEEN, **_CALL},
    "example": {"userId": "u1", "name": "Pricing", "properties": {"path": "/pricing"}, "messageId": "m-3"},
}
SCREEN: Json = {
    "type": "object",
    "properties": {**_SEEN, **_CALL},
    "example": {"userId": "u1", "name": "Cart", "messageId": "m-4"},
}
GROUP: Json = {
    "type": "object",
    "required": ["groupId"],
    "properties": {
        "groupId": {**_NAME, "description": "Becomes the attribute `group_id`."},
        "traits": {"type": "object", "description": "Become the attribute `group`; null removes one."},
        **_CALL,
    },
    "example": {"userId": "u1", "groupId": "acme", "traits": {"plan": "team"}, "messageId": "m-5"},
}
ALIAS: Json = {
    "type": "object",
    "required": ["previousId", "userId"],
    "properties": {"previousId": {**_NAME, "description": "The id that the person had before."}, **_CALL},
    "example": {"previousId": "anonymous-1", "userId": "u1", "messageId": "m-6"},
}
_ANY: Json = {}
for _one in (ALIAS, GROUP, PAGE, IDENTIFY, TRACK):
    _ANY |= _one["properties"]
BATCH: Json = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {
            "type": "array",
            "maxItems": 2500,
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"enum": ["track", "identify", "alias", "group", "page", "screen"]},
                    **_ANY,
                },
            },
        },
        "context": {"type": "object", "description": "For every call that has none of its own."},
        "sentAt": _CALL["sentAt"],
        "writeKey": _CALL["writeKey"],
    },
}
ENROLL: Json = {
    "type": "object",
    "required": ["userId"],
    "properties": {
        "userId": _CALL["userId"],
        "key": {**_NAME, "description": "The enrollment's key, where the journey's api entry has one."},
        "properties": {"type": "object", "description": "What the journey reads as `entry`."},
        "messageId": _CALL["messageId"],
    },
}


class Answer(JSONResponse):
    """JSON with moments in ISO 8601."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return orjson.dumps(content, option=orjson.OPT_UTC_Z)


class Success(BaseModel):
    """Everything of the request is on disk. `quarantined`: what of it was put aside instead of taken, and why."""

    success: Literal[True] = True
    quarantined: list[PutAside] | None = None


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a router."""
    return {status: {"model": ErrorBody, "description": _MEANING[status]} for status in statuses}


def call(schema: Json, *schemes: Literal["writeKey", "token", "customerToken"]) -> Json:
    """`openapi_extra` of a route that reads a JSON body; any one of `schemes` (by default the write key) lets it in."""
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"requestBody": body, **security(*(schemes or ("writeKey",)))}


def security(*schemes: Literal["writeKey", "token", "customerToken"]) -> Json:
    """`openapi_extra` of a route that any one of `schemes` lets in."""
    return {"security": [{scheme: []} for scheme in schemes]}


def install(app: FastAPI) -> None:
    """Let /openapi.json say how to authenticate, and that validation answers 400 in our shape."""

    def document() -> Json:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            made["components"]["securitySchemes"] = {
                "writeKey": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "A write key as user name, no password; or, without this header, as writeKey in the body.",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of sojourn.yaml; its role says what it may do.",
                },
                "customerToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token that your backend signs with `inbox.key`: it opens one customer's inbox.",
                },
            }
            for path in made["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            for unused in ("HTTPValidationError", "ValidationError"):
                made["components"].get("schemas", {}).pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to change the document
