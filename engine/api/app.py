"""The HTTP API as one FastAPI application. It only puts the routers together: each stands in a file of its own."""

from __future__ import annotations

from fastapi import FastAPI

from engine.api import (
    collect,
    confirm,
    customers,
    describe,
    errors,
    following,
    health,
    inbox,
    journeys,
    log,
    metrics,
    origins,
    preferences,
    privacy,
    unsubscribe,
    webhooks,
)
from engine.api.reach import Reach
from engine.api.watching import Watched

_ABOUT = """Events and people in (Segment's shape), enrollments, and what is known of one customer.

Every error has the form `{"error": {"code", "message", "hint"}}`. A 503 carries Retry-After; sending again is safe with a
messageId. So does a 429, where a source sends more than its rate."""


def create_app(reach: Reach) -> FastAPI:
    """The application on what `reach` holds. It opens and closes nothing."""
    app = FastAPI(
        title=f"Sojourn: {reach.project}",
        version="1",
        description=_ABOUT,
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # it tells paths and words
    )
    linked = (unsubscribe, confirm, preferences, following)
    for part in (collect, journeys, privacy, customers, log, inbox, webhooks, *linked, health, metrics):
        app.include_router(part.routes(reach))
    app.add_middleware(origins.Origins, takes=reach.access.any_takes, paths=collect.PATHS)
    app.add_middleware(origins.Origins, takes=reach.inbox.takes, paths=frozenset({inbox.PATH}), methods="GET, POST")
    app.add_middleware(Watched)
    errors.install(app)
    describe.install(app)
    return app
