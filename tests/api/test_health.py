"""`/healthz`, `/readyz`, and how the API describes itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.app.serving import TemporalProbe
from engine.store import readiness
from tests.api.conftest import Api, error


async def test_a_ready_api_says_that_everything_is_there(api: Api) -> None:
    """Each part by name, without login."""
    answer = await api.http.get("/readyz", auth=None)
    parts = ("database", "deployment", "schema", "temporal")
    assert answer.json() == {"ready": True, "checks": dict.fromkeys(parts, "ok"), "warnings": []}
    assert answer.status_code == 200
    assert (await api.http.get("/healthz")).json() == {"status": "ok"}


async def test_what_is_missing_is_said_with_503(bare: Api) -> None:
    """Nothing deployed, and a schema of another version."""
    answer = await bare.http.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert "nothing is deployed" in answer.json()["checks"]["deployment"]
    await bare.query("update alembic_version set version_num = '0000' returning 1")
    assert "the database is at schema 0000" in (await bare.http.get("/readyz")).json()["checks"]["schema"]
    await bare.query("with gone as (delete from alembic_version returning 1) select * from gone")
    assert "at schema none" in (await bare.http.get("/readyz")).json()["checks"]["schema"]


async def test_servers_that_are_down_are_named_and_the_process_still_lives(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 that says which one; nothing about addresses or passwords."""
    probe = TemporalProbe("127.0.0.1:1", "default")

    async def refused(*_: Any) -> None:
        raise ConnectionRefusedError("postgresql://user:secret@host")

    monkeypatch.setattr(TemporalProbe, "__call__", lambda _: _ask(probe))
    monkeypatch.setattr(readiness, "schema_version", refused)
    answer = await api.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "it can't be reached", "temporal": "it can't be reached"}
    assert (await api.http.get("/healthz")).status_code == 200


_ask = TemporalProbe.__call__


@pytest.mark.parametrize("urgent", [True, False])
async def test_inputs_that_no_worker_brings_are_a_warning_that_names_the_lane(api: Api, urgent: bool) -> None:
    """Nobody works here: after a minute it is said what waits, and which worker would bring it."""
    await api.http.post("/v1/track", json={"userId": "ada", "event": "signed_up"})
    await api.query("update inputs set urgent = :urgent returning 1", urgent=urgent)
    assert [] == (await api.http.get("/readyz")).json()["warnings"]
    await api.query("update events set accepted_at = accepted_at - interval '90 seconds' returning 1")
    answer = await api.http.get("/readyz")
    (told,) = answer.json()["warnings"]
    assert (answer.status_code, f"--lane {'urgent' if urgent else 'bulk'}`" in told) == (200, True)


async def test_without_temporal_events_are_still_taken(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load balancer must not cut intake off while Temporal is down: ready, with a warning."""
    probe = TemporalProbe("127.0.0.1:1", "default")
    monkeypatch.setattr(TemporalProbe, "__call__", lambda _: _ask(probe))
    answer = await api.http.get("/readyz")
    assert (200, True, "it can't be reached") == (answer.status_code, answer.json()["ready"], answer.json()["checks"]["temporal"])
    assert ["Temporal doesn't answer: events are accepted and relayed when it is back"] == answer.json()["warnings"]


async def test_a_clock_that_differs_is_a_warning(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a second between this machine and the database is told, and nothing stops for it."""

    async def ahead(_: Any) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=90)

    monkeypatch.setattr(readiness, "wall_clock", ahead)
    answer = await api.http.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    [warning] = answer.json()["warnings"]
    assert "s apart" in warning


async def test_every_error_has_the_one_shape(api: Api) -> None:
    """Also a path that isn't there and a method that isn't."""
    assert error(await api.http.get("/nothing")) == (404, "not_found")
    assert error(await api.http.get("/v1/track")) == (405, "method_not_allowed")


async def test_the_openapi_document_names_bodies_errors_and_ways_in(api: Api) -> None:
    """Every route has a summary, every error is of the one shape, and validation's own shape isn't promised."""
    document = (await api.http.get("/openapi.json")).json()
    assert sorted(document["components"]["securitySchemes"]) == ["customerToken", "token", "writeKey"]
    assert sorted(p for p in document["paths"] if "customers" not in p) == [
        "/c/{token}",
        "/healthz",
        "/l/{token}",
        "/metrics",
        "/o/{token}",
        "/p/{token}",
        "/r/{token}",
        "/readyz",
        "/u/{token}",
        "/v1/alias",
        "/v1/batch",
        "/v1/channels/{name}/webhook",
        "/v1/group",
        "/v1/identify",
        "/v1/inbox",
        "/v1/journeys/{name}/enroll",
        "/v1/log",
        "/v1/page",
        "/v1/screen",
        "/v1/track",
    ]
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert all(o["summary"] for o in operations)
    assert not any("422" in o["responses"] for o in operations)
    track = document["paths"]["/v1/track"]["post"]
    assert track["security"] == [{"writeKey": []}]
    assert track["responses"]["401"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
    assert "event" in track["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
