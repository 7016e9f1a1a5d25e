"""The HTTP API as one FastAPI application. It only puts the routers together: each stands in a file of its own."""

from __future__ import annotations

from fastapi import FastAPI

from engine.api import collect, confirm, customers, describe, errors, health, journeys, unsubscribe
from engine.api.reach import Reach

_ABOUT = """Events and people in (Segment's shape), enrollments, and what is known of one customer.

Every error has the form `{"error": {"code", "message", "hint"}}`. A 503 carries Retry-After; sending again is safe with a
messageId."""


def create_app(reach: Reach) -> FastAPI:
    """The application on what `reach` holds. It opens and closes nothing."""
    app = FastAPI(
        title=f"Sojourn: {reach.project}",
        version="1",
        description=_ABOUT,
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
    )
    for part in (collect, journeys, customers, unsubscribe, confirm, health):
        app.include_router(part.routes(reach))
    errors.install(app)
    describe.install(app)
    return app
