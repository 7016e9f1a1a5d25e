"""`/metrics`: what this process and the store have to say, in Prometheus's text format. Numbers and names of the project only."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from engine.api import describe
from engine.api.reach import Reach
from engine.api.rights import caller
from engine.insight.gauges import Gauges
from engine.observe.metrics import exposed


def routes(reach: Reach) -> APIRouter:
    """The one route."""
    router = APIRouter(tags=["health"], responses=describe.errors(401, 403, 503))
    gauges = Gauges(reach.database)
    registry = exposed(gauges)

    @router.get("/metrics", summary="Numbers for Prometheus", openapi_extra=describe.security("token"), response_class=Response)
    async def metrics(request: Request) -> Response:
        """docs/reference/metrics.md lists them. What the store is asked for is at most a quarter of a minute old, numbers of
        enrollments a minute."""
        await caller(reach, request)
        await gauges.refresh(time.monotonic())
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

    return router
