"""One person's way from a request to a provider's answer, watched: what logs, spans and metrics say of it, and that none of them
holds anything of the person. Real servers; the spans go to a collector that understands OTLP."""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from engine.delivery.channel import Outgoing, Receipt, Result
from engine.observe import logs, tracing
from tests.api.conftest import OPERATOR, Api, serving
from tests.docs.pages import DOCS
from tests.docs.test_complete import table
from tests.harness import HELLO, Running, running, write_project

TELLTALES = {
    "email": "telltale.mail@secret.example",
    "phone": "+390655510077",
    "first_name": "Telltalina",
    "plan": "tale-plan-7731",
    "order": "tale-order-4477",
    "words": "tale words of 550 telltale",
    "bug": "tale-bug-0099",
    "text": "tale in a template",
    "call": "tale-malformed",
    "user": "tale-user-id",
}

WELCOME = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, key: order_id, again: always}
steps:
  - {send: email, id: hello, template: hello, topic: news}
  - {send: sms, id: text, template: hello, topic: news}
"""

BROKEN = """
journey: broken
tier: lifecycle
enter: {event: pinged, again: always}
steps:
  - {send: email, id: torn, template: torn, topic: news}
"""

FILES = {
    "journeys/welcome.yaml": WELCOME,
    "journeys/broken.yaml": BROKEN,
    "templates/email/torn.txt": HELLO.replace("Hi {{", "{{ 2 ** ((customer.first_name | length) * 999) }} {{"),
}


class Collector:
    """An OTLP collector on loopback: what was sent to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[Span]:
        """What came, decoded."""
        found = []
        for body in self.bodies:
            said = ExportTraceServiceRequest.FromString(body)
            found += [s for r in said.resource_spans for scope in r.scope_spans for s in scope.spans]
        return found

    def text(self) -> str:
        """Everything that came, for a search."""
        return "\n".join(str(ExportTraceServiceRequest.FromString(body)) for body in self.bodies)


@pytest.fixture
def log(logging_as_it_was: None) -> io.StringIO:
    """What this process logs, as a worker or an API would."""
    stream = io.StringIO()
    logs.configure({}, stream)
    return stream


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names, and traces on."""
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": made.url}, "sojourn-test")
    yield made
    tracing.finish()
    made.server.shutdown()


def answer(message: Outgoing) -> Receipt | Exception:
    """The provider: takes what is for the first person, refuses the second with words, chokes on the third."""
    match message.customer:
        case "1":
            return Receipt(Result.ACCEPTED, provider_id=TELLTALES["words"])
        case "2":
            return Receipt(Result.REFUSED, words=f"{TELLTALES['words']} {message.to}")
        case _:
            return ValueError(f"{TELLTALES['bug']} {message.to}")


async def go(sojourn: Running, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three people come, and everything goes wrong that can."""
    for n in range(3):
        user = f"{TELLTALES['user']}-{n}"
        traits = {k: f"{TELLTALES[k]}{n}" if k != "phone" else TELLTALES[k] for k in ("email", "phone", "first_name")}
        assert 200 == (await api.http.post("/v1/identify", json={"userId": user, "traits": traits})).status_code
        properties = {"plan": TELLTALES["plan"], "order_id": f"{TELLTALES['order']}-{n}"}
        body = {"userId": user, "event": "signed_up", "properties": properties, "messageId": f"{TELLTALES['order']}-{n}"}
        assert 200 == (await api.http.post("/v1/track", json=body)).status_code
        await api.http.post("/v1/track", json=body)

    async def settled() -> bool:
        rows = await sojourn.query("select status from messages where channel = 'email'")
        return sorted(r.status for r in rows) == ["parked", "refused", "sent"]

    await sojourn.until(settled)
    await api.http.post("/v1/track", json={"userId": f"{TELLTALES['user']}-0", "event": "pinged", "properties": {"number": 1}})

    async def parked() -> bool:
        return 2 == len(await sojourn.query("select 1 from enrollments where status = 'parked'"))

    await sojourn.until(parked)
    batch = {"batch": [{"type": "track", "event": TELLTALES["call"]}, {"type": TELLTALES["call"], "userId": TELLTALES["user"]}]}
    await api.http.post("/v1/batch", json=batch)
    assert 400 == (await api.http.post("/v1/track", content=TELLTALES["call"])).status_code
    assert 404 == (await api.http.get(f"/{TELLTALES['user']}", headers={"x-user": TELLTALES["user"]})).status_code
    with monkeypatch.context() as broken:

        async def choke(*_: object, **__: object) -> None:
            raise RuntimeError(f"{TELLTALES['bug']}: {TELLTALES['email']}")

        broken.setattr(type(api.reach.door), "_accept", choke)
        with contextlib.suppress(httpx.HTTPError):
            await api.http.post("/v1/track", json={"userId": TELLTALES["user"], "event": "signed_up"})


async def test_one_way_is_watched_from_request_to_answer_and_tells_nothing_of_the_person(
    tmp_path: Path,
    database_url: str,
    temporal_address: str,
    task_queue_prefix: str,
    log: io.StringIO,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One trace leads from the request through intake, store, relay, Temporal and activity to the handover; the numbers are those
    of what happened; and logs, spans, metrics hold ids and names of the project only."""
    async with (
        running(write_project(tmp_path, FILES), database_url, temporal_address, task_queue_prefix) as sojourn,
        serving(database_url, temporal_address, None) as api,
    ):
        sojourn.email.answer = answer
        await go(sojourn, api, monkeypatch)
        async with httpx.AsyncClient(base_url=api.address, headers=OPERATOR, timeout=60) as http:
            scraped = (await http.get("/metrics")).text
        rows = [(r.enrollment_id, r.trace) for r in await sojourn.query("select enrollment_id, trace from inputs order by id")]
    tracing.finish()
    spans = collector.spans()
    leads_through(spans, rows)
    counts(scraped)
    assert "a request failed" in log.getvalue()
    for name, value in TELLTALES.items():
        for told, where in ((log.getvalue(), "logs"), (collector.text(), "spans"), (scraped, "metrics")):
            assert value.lower() not in told.lower(), (name, where)
    assert {a.key for s in spans for a in s.attributes} <= set(tracing.ATTRIBUTES)
    listed = {name for row in table(DOCS / "reference" / "metrics.md", "Spans") for name in re.findall(r"`([^`]+)`", row[0])}
    kinds = {re.sub(r"^[A-Z]+ \S+$", "METHOD ROUTE", re.sub(r":.*", ":NAME", s.name)) for s in spans}
    assert set() == kinds - listed


def leads_through(spans: list[Span], rows: list[tuple[int, str | None]]) -> None:
    """From the first person's request to the handover, and no further person's is in it."""
    first = str(rows[0][1]).split("-")[1]
    mine = [s for s in spans if s.trace_id.hex() == first]
    names = {s.name for s in mine}
    road = ["POST /v1/track", "intake.accept", "relay.bring", "SignalWithStartWorkflow:welcome", "deliver", "handover"]
    assert set(road) <= names, sorted(names)
    by_id = {s.span_id: s for s in mine}
    bring = next(s for s in mine if s.name == "relay.bring")
    assert "POST /v1/track" == by_id[bring.parent_span_id].name
    handover = next(s for s in mine if s.name == "handover")
    assert "deliver" == by_id[handover.parent_span_id].name
    assert [True] == [bool(s.links) for s in mine if s.name == "deliver"][:1], "it is linked to the activity that ran it"
    assert all(trace is not None for _, trace in rows)


def counts(scraped: str) -> None:
    """The numbers of what happened."""
    found = {(s.name, *sorted(s.labels.items())): s.value for f in text_string_to_metric_families(scraped) for s in f.samples}
    for name, labels, least in (
        ("sojourn_events_total", {"source": "website", "result": "duplicate"}, 3),
        ("sojourn_events_total", {"source": "website", "result": "quarantined"}, 2),
        ("sojourn_messages_total", {"journey": "welcome", "channel": "email", "tier": "lifecycle", "status": "sent"}, 1),
        ("sojourn_receipts_total", {"channel": "email", "result": "failed"}, 1),
        ("sojourn_decisions_total", {"decision": "allow", "gate": ""}, 3),
        ("sojourn_parked_enrollments", {"journey": "broken"}, 1),
        ("sojourn_database_up", {}, 1),
        ("sojourn_relay_backlog", {"lane": "bulk"}, 0),
        ("sojourn_http_request_seconds_count", {"method": "POST", "route": "/v1/track", "status": "2xx"}, 6),
    ):
        assert found[(name, *sorted(labels.items()))] >= least, (name, labels)
