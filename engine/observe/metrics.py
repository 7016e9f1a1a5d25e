"""What this process counts and measures, for Prometheus. docs/reference/metrics.md lists all of it, and a test compares.

Labels hold names of the project only (journeys, channels, tiers, sources) and words of closed lists: never a customer, an id, or
a text that somebody sends. Counters and histograms are kept by prometheus_client, also over several processes where
PROMETHEUS_MULTIPROC_DIR names a folder; what is read at the moment of a scrape is `watched`.
"""

from __future__ import annotations

import os
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody looks at

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

REGISTRY = CollectorRegistry(auto_describe=True)
"""Everything that is counted as it happens."""

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
"""Seconds: upper ends of what is measured."""

EVENTS = Counter(
    "sojourn_events",
    "Calls of sources by what became of them, and requests refused whole.",
    ["source", "result"],
    registry=REGISTRY,
)
REQUESTS = Histogram(
    "sojourn_http_request_seconds",
    "Requests of the API, by route and class of status.",
    ["method", "route", "status"],
    registry=REGISTRY,
    buckets=_QUICK,
)
INTAKE = Histogram("sojourn_intake_seconds", "Transactions of the door, up to 500 calls each.", registry=REGISTRY, buckets=_QUICK)
RELAYED = Counter("sojourn_relayed_inputs", "Inputs brought to Temporal, by lane.", ["lane"], registry=REGISTRY)
RELAY = Histogram(
    "sojourn_relay_round_seconds", "Rounds of the relay that moved something.", ["lane"], registry=REGISTRY, buckets=_QUICK
)
DECISIONS = Counter(
    "sojourn_decisions",
    "Decisions of the gates: the verdict, and the gate it is owed to.",
    ["decision", "gate"],
    registry=REGISTRY,
)
MESSAGES = Counter(
    "sojourn_messages", "Messages that came to a status.", ["journey", "channel", "tier", "status"], registry=REGISTRY
)
RECEIPTS = Counter("sojourn_receipts", "Answers of providers to handovers.", ["channel", "result"], registry=REGISTRY)
PROVIDER = Histogram(
    "sojourn_provider_seconds",
    "Handovers: one call of a channel's adapter, with one message or many.",
    ["channel"],
    registry=REGISTRY,
    buckets=_QUICK,
)
DELIVER = Histogram(
    "sojourn_deliver_seconds", "Batches of sends, from the gates to the record.", ["channel"], registry=REGISTRY, buckets=_QUICK
)
CHORES = Counter("sojourn_chore_runs", "Chores that were finished.", ["chore"], registry=REGISTRY)

Values = Mapping[tuple[str, ...], float]
"""Values of a gauge by those of its labels, in their order."""

WATCHED: dict[str, tuple[str, tuple[str, ...]]] = {
    "sojourn_tokens_waiting": ("Messages that wait for a token of their channel's rate, in this process.", ("channel",)),
    "sojourn_database_connections": ("Connections of this process's pool; `most` is how many it may have.", ("state",)),
    "sojourn_build_info": ("Always 1; which version runs here, and the schema that it needs.", ("version", "schema")),
}
"""Gauge → what it says, its labels."""

_watched: dict[str, list[Callable[[], Values]]] = {name: [] for name in WATCHED}


@contextmanager
def watching(name: str, read: Callable[[], Values]) -> Iterator[None]:
    """Let `read` be asked at each scrape for the gauge `name` of WATCHED while the block runs. Of several what they say is added
    up."""
    _watched[name].append(read)
    try:
        yield
    finally:
        _watched[name].remove(read)


def count_all(counter: Counter, labelled: Iterable[tuple[str, ...]]) -> None:
    """One more for each of these values of the counter's labels."""
    for labels, n in Count(labelled).items():
        counter.labels(*labels).inc(n)


def gauge(name: str, said: tuple[str, tuple[str, ...]], values: Values) -> Metric:
    """A gauge as Prometheus takes it; without values it is there all the same. `said`: what it says, its labels."""
    family = GaugeMetricFamily(name, said[0], labels=said[1])
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


class Everything(Collector):
    """All that this process exposes, with what `more` add."""

    def __init__(self, *more: Collector) -> None:
        self._more = more

    def collect(self) -> Iterator[Metric]:
        """Reads the moment's values."""
        kept: Collector = MultiProcessCollector(None) if os.environ.get(MULTIPROCESS) else REGISTRY  # type: ignore[no-untyped-call]
        yield from kept.collect()
        for name, said in WATCHED.items():
            values: Count[tuple[str, ...]] = Count()
            for read in _watched[name]:
                values.update(read())  # a Counter adds up any numbers
            yield gauge(name, said, values)
        for one in self._more:
            yield from one.collect()


def exposed(*more: Collector) -> CollectorRegistry:
    """What a scrape gets."""
    registry = CollectorRegistry()
    registry.register(Everything(*more))
    return registry
