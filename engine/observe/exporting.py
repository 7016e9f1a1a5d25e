"""Traces on their way out: OpenTelemetry's SDK as its own variables configure it, behind a sieve. Needs the extra `otel`.

Libraries put the words of exceptions and attributes of their own into spans; the sieve lets pass what `tracing.ATTRIBUTES` lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from engine.observe import tracing

GROUP = "opentelemetry_traces_exporter"
"""Under this name packages offer exporters."""


def export(environ: Mapping[str, str], service: str) -> None:
    """Make spans and send them to where the environment says. Raises NoSdk where the exporter that it names isn't installed."""
    names = [n.strip() for n in (environ.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")]
    exporters = [_exporter(name, environ) for name in names if name != "none"]
    resource = Resource.create({} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service})
    provider = TracerProvider(resource=resource)
    for one in exporters:
        provider.add_span_processor(BatchSpanProcessor(Sieve(one)))
    trace.set_tracer_provider(provider)
    tracing.switch(True, provider.shutdown)


def _exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    if name == "otlp":
        protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise tracing.NoSdk(f"no package here offers the exporter {name}")
    made: SpanExporter = found[0].load()()
    return made


class Sieve(SpanExporter):
    """An exporter that hands only known attributes on to `to`, and of exceptions the class."""

    def __init__(self, to: SpanExporter) -> None:
        self._to = to

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand on."""
        return self._to.export([sieved(span) for span in spans])

    def shutdown(self) -> None:
        """Hand on."""
        self._to.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Hand on."""
        return self._to.force_flush(timeout_millis)


def sieved(span: ReadableSpan) -> ReadableSpan:
    """The span with what may leave: its events are exceptions, by their class, and its status has no words."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={k: v for k, v in (span.attributes or {}).items() if k in tracing.ATTRIBUTES},
        events=[
            Event(e.name, {k: v for k, v in (e.attributes or {}).items() if k == "exception.type"}, e.timestamp)
            for e in span.events
            if e.name == "exception"
        ],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
