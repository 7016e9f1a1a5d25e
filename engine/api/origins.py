"""Browsers ask before a page of another site may send here (CORS). They are answered for the routes that sources send to, and for
no other.

An answer says what browsers may do, it protects nothing: whoever has a write key can send without a browser. A source's own
`origins` are looked at once its key is known (`access.Access.from_origin`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = "Authorization, Content-Type, Content-Encoding"
"""What official clients send, where a browser doesn't say what it wants to send."""

EXPOSED = "Retry-After, X-RateLimit-Reset"

KEPT_SECONDS = 86_400


class Origins:
    """ASGI middleware around the application. `paths`: those that browsers may send to, by `methods`, from origins it `takes`."""

    def __init__(self, app: ASGIApp, takes: Callable[[str], bool], paths: frozenset[str], methods: str = "POST") -> None:
        self._app, self._takes, self._paths, self._methods = app, takes, paths, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser's question; let everything else pass, with the headers that a browser wants to see."""
        origin = Headers(scope=scope).get("origin", "") if scope["type"] == "http" and scope["path"] in self._paths else ""
        if not origin or not self._takes(origin):
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await _allowed(origin, self._methods, Headers(scope=scope))(scope, receive, send)
            return

        async def seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = EXPOSED
                headers.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, seen)


def _allowed(origin: str, methods: str, asked: Headers) -> Response:
    wanted = asked.get("access-control-request-headers", "")
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": wanted if re.fullmatch(r"[\w\-, ]{1,500}", wanted, re.ASCII) else HEADERS,
        "Access-Control-Max-Age": str(KEPT_SECONDS),
        "Vary": "Origin, Access-Control-Request-Headers",
    }
    return Response(status_code=204, headers=headers)
