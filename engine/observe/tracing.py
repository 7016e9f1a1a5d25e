"""Traces, from a request to the provider's answer. Off, and then next to free, unless the environment names an exporter.

Only the API of OpenTelemetry is used here; the SDK is the extra `otel`. Spans carry the attributes of ATTRIBUTES and no others,
and of exceptions their class only: `exporting` sees to it. What waits in the store carries its trace as a W3C traceparent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from engine.observe.words import Sayable

log = logging.getLogger("sojourn.traces")

ASKING = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables of which any turns traces on, as OpenTelemetry names them."""

ATTRIBUTES: Mapping[str, str] = {
    "http.request.method": "the request's method",
    "http.route": "the route's pattern, never the path",
    "http.response.status_code": "the answer's status",
    "sojourn.events": "calls that went through the door together",
    "sojourn.lane": "`urgent` or `bulk`",
    "sojourn.journey": "the journey's name",
    "sojourn.cohort": "the cohort's number",
    "sojourn.inputs": "inputs that were brought together",
    "sojourn.enrollments": "enrollments that an activity was about",
    "sojourn.enrollment": "the enrollment's number, where there was one only",
    "sojourn.channel": "the channel's name",
    "sojourn.messages": "messages that were handed over together",
    "temporalWorkflowID": "the cohort's workflow",
    "temporalRunID": "its run",
    "temporalActivityID": "the activity's number in it",
    "error.type": "the class of the exception that ended the span",
}
"""Every attribute that a span may have, with what it holds: ids, names of the project, numbers."""

MOST_LINKS = 100
"""Traces that one span is linked to at the most: of a batch's many, the first."""

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("sojourn")
_on = False
_finishing: Callable[[], None] | None = None
_NOTHING: AbstractContextManager[Span] = nullcontext(trace.INVALID_SPAN)


class NoSdk(Sayable):
    """Traces are asked for, and the extra isn't installed; the message says what to install."""


def on() -> bool:
    """Whether spans are made."""
    return _on


def switch(to: bool, finishing: Callable[[], None] | None = None) -> None:
    """Make spans, or none. `exporting` has set a provider before, which `finishing` empties and ends."""
    global _on, _finishing
    _on, _finishing = to, finishing


def finish() -> None:
    """Send what wasn't sent yet; the last thing a process does with traces."""
    if _finishing is not None:
        _finishing()
    switch(False)


def asked_for(environ: Mapping[str, str]) -> bool:
    """Whether the environment wants traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environ.get(name) for name in ASKING)


def start(environ: Mapping[str, str], service: str) -> None:
    """Make spans where the environment wants them, in the name of `service` unless it names one. Says so where it can't."""
    if not asked_for(environ):
        return
    try:
        from engine.observe import exporting

        exporting.export(environ, service)
    except ImportError:
        log.warning("traces are asked for, and can't be made: install them with `pip install 'sojourn[otel]'`")
    except NoSdk as missing:
        log.warning("traces are asked for, and can't be made: %s", missing)


def span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, traces: Collection[str] = (), **attributes: AttributeValue
) -> AbstractContextManager[Span]:
    """A span while the block runs, where traces are on. It belongs to the current span; where `traces` (traceparents) are given,
    to theirs: below the one there is, else as a trace of its own that is linked to them. `attributes` are called
    `sojourn.NAME`."""
    return _span(name, kind, traces, attributes) if _on else _NOTHING


@contextmanager
def _span(name: str, kind: SpanKind, traces: Collection[str], attributes: Mapping[str, AttributeValue]) -> Iterator[Span]:
    behind = sorted(set(traces))
    parent = context_of(behind[0]) if len(behind) == 1 else Context() if behind else None
    current = trace.get_current_span().get_span_context()
    several = behind[:MOST_LINKS] if len(behind) > 1 else []
    links = [Link(trace.get_current_span(context_of(one)).get_span_context()) for one in several]
    if behind and current.is_valid:
        links.append(Link(current))  # where it ran: the activity, the relay's round
    named = {f"sojourn.{key}": value for key, value in attributes.items()}
    made = _tracer.start_as_current_span(name, parent, kind, named, links, record_exception=False, set_status_on_exception=False)
    with made as one:
        try:
            yield one
        except Exception as error:
            failed(one, error)
            raise


def failed(one: Span, error: BaseException) -> None:
    """Note that a span ended in an exception: its class, never its words."""
    one.set_attribute("error.type", type(error).__name__)
    one.set_status(Status(StatusCode.ERROR))


def context_of(traceparent: str | None) -> Context:
    """The context that a traceparent names; an empty one where it names none."""
    return _propagator.extract({} if traceparent is None else {"traceparent": traceparent}, Context())


def carried() -> str | None:
    """The current span as a traceparent, to be kept; None where there is none or traces are off."""
    if not _on:
        return None
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")
