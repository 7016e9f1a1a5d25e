"""What is measured, a function per subject: each starts a stack of its own, loads it, checks that everything is right, and gives
its figures under flat keys. docs/benchmarks.md says what each key means; a key that it doesn't explain fails a test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it ships no types

from bench import computed, counts, gates, importing, intake, segments, sending, simulate, testing
from bench.computed import ComputedSizes
from bench.gates import GateSizes
from bench.histories import Weight, weigh
from bench.intake import IntakeSizes
from bench.project import STEPS
from bench.recording import weigh_facts
from bench.replaying import TOGETHER, replay_all
from bench.segments import SegmentSizes
from bench.stack import Stack, WrongResult, stack
from bench.testing import TestingSizes
from engine.store.database import connect

Figures = dict[str, float]

HISTORIES = 2_000
"""Workflow executions whose histories are read at the most."""

REST_SECONDS = 3.0
"""How long a system comes to rest before its memory is measured or single events are timed."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. `part`: customers of the comparison with one per workflow. `few` and `many`: waiting when the
    memory is measured. `reached`: by a broadcast. `households`: whose baskets are imported, None: all. `messages`: through each
    adapter. `simulated`: for a year."""

    customers: int = 20_000
    part: int = 500
    trickle: int = 1_200
    rate: int = 40
    singly: int = 100
    few: int = 10_000
    many: int = 100_000
    promotion: int = 100_000
    held: int = 10_000
    gates: GateSizes = gates.FULL
    computed: ComputedSizes = computed.FULL
    segments: SegmentSizes = segments.FULL
    intake: IntakeSizes = intake.FULL
    reached: int = 100_000
    households: int | None = None
    messages: int = sending.FULL
    testing: TestingSizes = testing.FULL
    simulated: int = simulate.FULL


FULL = Sizes()
QUICK = Sizes(
    customers=1_000,
    part=100,
    trickle=200,
    singly=20,
    few=500,
    many=2_000,
    promotion=3_000,
    held=1_000,
    gates=gates.QUICK,
    computed=computed.QUICK,
    segments=segments.QUICK,
    intake=intake.QUICK,
    reached=3_000,
    households=100,
    messages=sending.QUICK,
    testing=testing.QUICK,
    simulated=simulate.QUICK,
)

PACE = 400
"""Messages a second that the provider of `pacing` takes: less than the engine could give it."""

A_DAY_A_SECOND = 86_400
"""The time scale of `release`: what a hold sets free goes at its planned time of day."""

RESETS = 120
"""Transactional messages a minute while a promotion runs."""


@dataclass(frozen=True, slots=True)
class Bench:
    """`folder`: fresh, for the stacks' data. `workers`: processes for the bulk lane in the runs for throughput."""

    folder: Path
    sizes: Sizes = FULL
    workers: int = 2

    def cohort(self) -> Figures:
        """Everything to the channel that does nothing, in cohorts as designed; and what their histories weigh."""
        n = self.sizes.customers
        with stack(self.folder / "cohort", webhook=False, workers=self.workers) as s:
            told = s.load("rush", customers=n)
            finished(s, n)
            weight = asyncio.run(weigh(s.servers.temporal_address, HISTORIES))
        return {
            "cohort.messages_per_s": per_second(n, told),
            "cohort.history_events_per_message": weight.events / (2 * n),
            "cohort.history_bytes_per_message": weight.bytes / (2 * n),
        }

    def webhook(self) -> Figures:
        """The same to a provider on loopback, by HTTP."""
        n = self.sizes.customers
        with stack(self.folder / "webhook", webhook=True, workers=self.workers) as s:
            told = s.load("rush", customers=n)
            finished(s, n)
        return {"cohort.webhook_messages_per_s": per_second(n, told)}

    def recording(self) -> Figures:
        """What the facts of decisions take, and the audit that they are for."""
        n = self.sizes.part
        with stack(self.folder / "recording", webhook=False, workers=1) as s:
            s.load("rush", customers=n)
            finished(s, n)
            cost = asyncio.run(weigh_facts(s.servers.database_url))
        return {
            "recording.facts_bytes": cost.facts_bytes,
            "recording.row_bytes": cost.row_bytes,
            "recording.record_ms_per_500": cost.record_ms,
            "recording.write_ms_per_500": cost.write_ms,
            "recording.write_without_ms_per_500": cost.write_without_ms,
            "audit.decisions_per_s": cost.again,
        }

    def replay(self) -> Figures:
        """What happened, again: cohorts' histories and customers' lives."""
        n = 4 * self.sizes.part
        with stack(self.folder / "replay", webhook=False, workers=1, max_size=TOGETHER) as s:
            s.load("rush", customers=n)
            finished(s, n)
            speed = asyncio.run(replay_all(s))
        return {
            "replay.histories_per_s": speed.histories,
            "replay.events_per_s": speed.events,
            "replay.lives_per_s": speed.lives,
        }

    def single(self) -> Figures:
        """A part of the work with one customer to a workflow, and the same part in cohorts."""
        n = self.sizes.part
        with stack(self.folder / "part", webhook=False, workers=self.workers) as s:
            part = per_second(n, s.load("rush", customers=n))
            finished(s, n)
        with stack(self.folder / "single", webhook=False, workers=self.workers, max_size=1) as s:
            single = per_second(n, s.load("rush", customers=n))
            finished(s, n)
            weight: Weight = asyncio.run(weigh(s.servers.temporal_address, HISTORIES))
        if weight.executions != n:
            raise WrongResult(f"{n} customers, one to a workflow, made {weight.executions} executions")
        return {
            "cohort.part_messages_per_s": part,
            "cohort.single_messages_per_s": single,
            "cohort.ratio_to_single": part / single,
            "single.history_events_per_message": weight.events / (2 * n),
            "single.history_bytes_per_message": weight.bytes / (2 * n),
        }

    def trickle(self) -> Figures:
        """Customers who come evenly: how long a message takes while others are on their way."""
        n = self.sizes.trickle
        with stack(self.folder / "trickle", webhook=True, workers=1) as s:
            told = s.load("trickle", customers=n, rate=self.sizes.rate)
            finished(s, n)
        return {"trickle.p50_ms": percentile(told["ms"], 50), "trickle.p99_ms": percentile(told["ms"], 99)}

    def latency(self) -> Figures:
        """One event at a time on an idle system."""
        n = self.sizes.singly
        with stack(self.folder / "latency", webhook=True, workers=1) as s:
            time.sleep(REST_SECONDS)
            told = s.load("idle", customers=n)
            finished(s, n)
        return {"latency.p50_ms": percentile(told["ms"], 50), "latency.p99_ms": percentile(told["ms"], 99)}

    def memory(self) -> Figures:
        """What the workers, one for each lane, hold while people wait, and how that grows."""
        few, many = self.sizes.few, self.sizes.many
        with stack(self.folder / "memory", webhook=False, workers=1) as s:
            s.load("enter", first=0, last=few)
            at_few = resident(s)
            s.load("enter", first=few, last=many)
            at_many = resident(s)
            waiting(s, many)
        return {
            "memory.worker_mb_at_10k": at_few / 1e6,
            "memory.worker_mb_at_100k": at_many / 1e6,
            "memory.bytes_per_waiting": (at_many - at_few) / (many - few),
        }

    def pacing(self) -> Figures:
        """Password resets while a promotion runs at the channel's rate."""
        n = self.sizes.promotion
        with stack(self.folder / "pacing", webhook=True, workers=self.workers, rate=f"{PACE}/s") as s:
            told = s.load("broadcast", customers=n, per_minute=RESETS)
            finished(s, n + told["resets"], each=1)
        return {
            "pacing.transactional_p50_ms": percentile(told["ms"], 50),
            "pacing.transactional_p99_ms": percentile(told["ms"], 99),
            "pacing.relayed_p99_ms": percentile(told["relayed"], 99),
            "pacing.decided_p99_ms": percentile(told["decided"], 99),
            "pacing.promotions_per_s": n / told["seconds"],
        }

    def release(self) -> Figures:
        """Everybody's hold ends at once."""
        n = self.sizes.held
        with stack(self.folder / "release", webhook=False, workers=self.workers, scale=A_DAY_A_SECOND) as s:
            told = s.load("release", customers=n)
            finished(s, n, each=1)
            most = asyncio.run(_most(s))
        return {
            "release.messages_per_s": n / told["seconds"],
            "release.import_seconds": told["import_seconds"],
            "release.decisions_at_once": most,
        }

    def intake(self) -> Figures:
        """Events over HTTP, while the workers have nothing to do."""
        with stack(self.folder / "intake", webhook=False, workers=1, api=True) as s:
            return intake.measure(s, self.sizes.intake)

    def broadcast(self) -> Figures:
        """One event about a thing that concerns everybody, to the channel that does nothing."""
        with stack(self.folder / "broadcast", webhook=False, workers=self.workers) as s:
            return intake.reach_everybody(s, self.sizes.reached)

    def importing(self) -> Figures:
        """Real baskets from a file, and what the engine makes of them."""
        return importing.measure(self.folder / "importing", self.sizes.households)

    def gates(self) -> Figures:
        """What the gates cost, and how that grows with the ledger."""
        return gates.measure(self.folder / "gates", self.sizes.gates)

    def computed(self) -> Figures:
        """What computed attributes cost for an event, and how that grows with the number of customers."""
        return computed.measure(self.folder / "computed", self.sizes.computed)

    def segments(self) -> Figures:
        """What segments cost: a sweep of everybody, and one event among ever more customers."""
        return segments.measure(self.folder / "segments", self.sizes.segments)

    def channels(self) -> Figures:
        """What the adapters cost, without the engine."""
        return sending.measure(self.sizes.messages)

    def testing(self) -> Figures:
        """What authors wait for."""
        return testing.measure(self.folder / "testing", self.sizes.testing)

    def simulate(self) -> Figures:
        """What a simulated year costs."""
        return simulate.measure(self.sizes.simulated)

    def subjects(self) -> dict[str, Callable[[], Figures]]:
        """All of them, in the order in which they run."""
        return {
            "cohort": self.cohort,
            "webhook": self.webhook,
            "single": self.single,
            "trickle": self.trickle,
            "latency": self.latency,
            "memory": self.memory,
            "pacing": self.pacing,
            "release": self.release,
            "intake": self.intake,
            "broadcast": self.broadcast,
            "importing": self.importing,
            "recording": self.recording,
            "replay": self.replay,
            "gates": self.gates,
            "computed": self.computed,
            "segments": self.segments,
            "channels": self.channels,
            "testing": self.testing,
            "simulate": self.simulate,
        }


def per_second(customers: int, told: dict[str, Any]) -> float:
    """Messages a second of a rush, from the first event's acceptance to the last end's record."""
    return float(len(STEPS) * customers / told["seconds"])


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest of the `ordered` values that `share` percent of them don't exceed."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def resident(s: Stack) -> int:
    """Bytes of memory that the workers hold, once they have come to rest."""
    time.sleep(REST_SECONDS)
    s.check_workers()
    return sum(psutil.Process(w.pid).memory_info().rss for w in s.workers)


def finished(s: Stack, customers: int, each: int = len(STEPS)) -> None:
    """Everybody got `each` messages once and is through, nothing is pending. Raises WrongResult."""
    found, keys = asyncio.run(_look(s))
    expected = counts.Standing(customers, 0, customers, each * customers, 0, 0)
    if found != expected:
        raise WrongResult(f"expected {expected}, found {found}")
    if s.sink is None:
        return
    arrivals = s.arrivals()
    twice = [key for key, (_, n) in arrivals.items() if n > 1]
    if arrivals.keys() != keys or twice:
        missing, strange = len(keys - arrivals.keys()), len(arrivals.keys() - keys)
        raise WrongResult(f"the provider lacks {missing} messages, has {strange} too many, and {len(twice)} came twice")


def waiting(s: Stack, customers: int) -> None:
    """Everybody got the first message and waits, nothing is pending. Raises WrongResult."""
    found, _ = asyncio.run(_look(s))
    expected = counts.Standing(customers, customers, 0, customers, 0, 0)
    if found != expected:
        raise WrongResult(f"expected {expected}, found {found}")


async def _most(s: Stack) -> int:
    database = connect(s.servers.database_url)
    try:
        return await counts.at_once(database)
    finally:
        await database.dispose()


async def _look(s: Stack) -> tuple[counts.Standing, set[str]]:
    database = connect(s.servers.database_url)
    try:
        return await counts.standing(database), await counts.keys(database)
    finally:
        await database.dispose()
