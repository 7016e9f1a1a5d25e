"""What Temporal's SDK says of itself: its metrics for Prometheus, its log as ours, its spans where traces are on.

The SDK's core serves its metrics on a port of its own; `CoreMetrics` reads them there, so that a process has one place to scrape.
"""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

from opentelemetry import trace
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from engine.observe import tracing
from engine.observe.words import in_a_line

if TYPE_CHECKING:
    from temporalio.client import Interceptor

log = logging.getLogger("sojourn.metrics")

PATIENCE = 2.0
"""Seconds that the core gets to answer."""


def runtime(port: int | None) -> Runtime:
    """The SDK's core, which logs through our loggers. `port`: of this machine's loopback, where it serves its metrics."""
    metrics = None
    if port is not None:
        metrics = PrometheusConfig(
            bind_address=f"127.0.0.1:{port}", counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
        )
    said = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core"), append_target_to_name=False),
    )
    return Runtime(telemetry=TelemetryConfig(metrics=metrics, logging=said))


class CoreMetrics(Collector):
    """What the core serves on `port`."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def collect(self) -> Iterator[Metric]:
        """Nothing where it doesn't answer, which is said."""
        try:
            with urllib.request.urlopen(self._url, timeout=PATIENCE) as answer:
                said = answer.read().decode()
        except OSError as failed:
            log.warning("Temporal's own metrics can't be read: %s", in_a_line(failed))
            return
        yield from text_string_to_metric_families(said)


def interceptors() -> list[Interceptor]:
    """Those that make spans of what clients, workflows and activities do, where traces are on."""
    if not tracing.on():
        return []
    from temporalio.contrib.opentelemetry import TracingInterceptor

    return [TracingInterceptor(trace.get_tracer("temporal"))]
