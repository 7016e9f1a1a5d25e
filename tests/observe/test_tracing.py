"""How spans find their trace, what leaves of them, and what the environment turns on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, use_span

from engine.observe import exporting, tracing


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Traces on; what went through the sieve."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporting.Sieve(kept)))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    tracing.switch(True)
    yield kept
    tracing.switch(False)


def ids(span: ReadableSpan) -> tuple[int, int | None]:
    """Its trace, and its parent's number."""
    assert span.context is not None
    return span.context.trace_id, span.parent.span_id if span.parent else None


def kept_trace(name: str) -> str:
    """The traceparent of a span that is over."""
    with tracing.span(name):
        carried = tracing.carried()
    assert carried is not None
    return carried


def test_a_span_goes_below_the_one_trace_behind_it_or_is_linked_to_all(out: InMemorySpanExporter) -> None:
    """One: the same trace. Several: a trace of its own, linked to each, to MOST_LINKS at the most; and to where it ran. None:
    below the current span."""
    one, other = kept_trace("one"), kept_trace("other")
    with tracing.span("activity"):
        with tracing.span("alone", kind=SpanKind.CONSUMER, traces=[one, one], journey="welcome"):
            pass
        with tracing.span("both", traces=[other, one]):
            pass
        with tracing.span("plain"):
            pass
    many = [f"00-{i:032x}-{i:016x}-01" for i in range(1, tracing.MOST_LINKS + 50)]
    with tracing.span("many", traces=many):
        pass
    spans = {s.name: s for s in out.get_finished_spans()}
    assert ids(spans["alone"])[0] == ids(spans["one"])[0]
    assert {"sojourn.journey": "welcome"} == dict(spans["alone"].attributes or {})
    where = spans["activity"].context
    assert where is not None
    assert [where.span_id] == [link.context.span_id for link in spans["alone"].links]
    assert 4 == len({ids(spans[n])[0] for n in ("one", "other", "both", "activity")})
    assert {ids(spans[n])[0] for n in ("one", "other", "activity")} == {link.context.trace_id for link in spans["both"].links}
    assert (where.trace_id, where.span_id) == ids(spans["plain"])
    assert tracing.MOST_LINKS == len(spans["many"].links)


def test_what_leaves_of_a_failure_is_its_class(out: InMemorySpanExporter) -> None:
    """Neither our spans nor those of libraries, which write down words and whatever else, tell more."""
    with pytest.raises(ValueError, match="ada@"), tracing.span("ours"):
        raise ValueError("ada@example.com")
    theirs = tracing._tracer.start_span("theirs", attributes={"customer.email": "ada@example.com"})
    theirs.add_event("a note", {"text": "ada@example.com"})
    with pytest.raises(KeyError), use_span(theirs, end_on_exit=True):
        raise KeyError("ada@example.com")
    ours, other = out.get_finished_spans()
    assert {"error.type": "ValueError"} == dict(ours.attributes or {})
    assert StatusCode.ERROR is ours.status.status_code is other.status.status_code
    assert [("exception", {"exception.type": "KeyError"})] == [(e.name, dict(e.attributes or {})) for e in other.events]
    assert "ada@" not in ours.to_json() + other.to_json()


def test_while_traces_are_off_nothing_is_made_or_kept() -> None:
    """Nothing is carried into the store."""
    assert not tracing.on()
    with tracing.span("never", traces=["00-1-1-01"]) as span:
        assert not span.is_recording()
        assert tracing.carried() is None
    assert tracing.span("never") is tracing.span("again")


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_opentelemetrys_own_variables_turn_traces_on(environ: dict[str, str], wanted: bool) -> None:
    """As its specification has them."""
    assert wanted == tracing.asked_for(environ)


def test_an_exporter_that_is_not_there_is_said_and_everything_works(caplog: pytest.LogCaptureFixture) -> None:
    """Traces stay off."""
    with caplog.at_level(logging.WARNING, "sojourn.traces"):
        tracing.start({"OTEL_TRACES_EXPORTER": "nosuch"}, "sojourn-test")
    assert "no package here offers the exporter nosuch" in caplog.text
    assert not tracing.on()
