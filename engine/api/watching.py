"""Every request, measured, and where traces are on, with a span of its own: by the route's pattern, because paths hold ids."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.observe import tracing
from engine.observe.metrics import REQUESTS

UNROUTED = "none"
"""The route of what no route takes."""

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


class Watched:
    """An ASGI middleware around everything."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        behind = _traceparent(scope) if tracing.on() else None
        try:
            with tracing.span(_method(scope), kind=SpanKind.SERVER, traces=[behind] if behind else []) as span:
                try:
                    await self.app(scope, receive, sending)
                finally:
                    if span.is_recording():
                        _tell(span, scope, status)
        finally:
            _requests(_method(scope), _route(scope), status // 100).observe(time.perf_counter() - began)


@cache
def _requests(method: str, route: str, hundreds: int) -> Histogram:
    return REQUESTS.labels(method, route, f"{hundreds}xx")


def _tell(span: trace.Span, scope: Scope, status: int) -> None:
    span.update_name(f"{_method(scope)} {_route(scope)}")
    told: dict[str, Any] = {
        "http.request.method": _method(scope),
        "http.route": _route(scope),
        "http.response.status_code": status,
    }
    span.set_attributes(told)
    if status >= 500:
        span.set_status(trace.Status(trace.StatusCode.ERROR))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "other"


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path_format", UNROUTED))


def _traceparent(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)
