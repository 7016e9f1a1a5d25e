"""The benches run, check what they measure, and say what every figure means. How fast they are is no matter here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import computed, sending, simulate, testing
from bench.computed import ComputedSizes
from bench.gates import GateSizes
from bench.intake import IntakeSizes, most
from bench.run import BEGIN, END, PAGE, write_docs
from bench.segments import SegmentSizes
from bench.stack import WrongResult, stack
from bench.subjects import Bench, Sizes, finished, percentile
from bench.testing import TestingSizes

KEYS = {
    "cohort.messages_per_s",
    "cohort.history_events_per_message",
    "cohort.history_bytes_per_message",
    "cohort.webhook_messages_per_s",
    "cohort.part_messages_per_s",
    "cohort.single_messages_per_s",
    "cohort.ratio_to_single",
    "single.history_events_per_message",
    "single.history_bytes_per_message",
    "trickle.p50_ms",
    "trickle.p99_ms",
    "latency.p50_ms",
    "latency.p99_ms",
    "memory.worker_mb_at_10k",
    "memory.worker_mb_at_100k",
    "memory.bytes_per_waiting",
    "pacing.transactional_p50_ms",
    "pacing.transactional_p99_ms",
    "pacing.relayed_p99_ms",
    "pacing.decided_p99_ms",
    "pacing.promotions_per_s",
    "release.messages_per_s",
    "release.import_seconds",
    "release.decisions_at_once",
    "recording.facts_bytes",
    "recording.row_bytes",
    "recording.record_ms_per_500",
    "recording.write_ms_per_500",
    "recording.write_without_ms_per_500",
    "audit.decisions_per_s",
    *(f"replay.{name}" for name in ("histories_per_s", "events_per_s", "lives_per_s")),
    *(f"intake.{name}" for name in ("events_per_s", "bare_events_per_s", "ratio_to_bare", "track_p50_ms", "track_p99_ms")),
    *(f"broadcast.{name}" for name in ("messages_per_s", "worker_mb_first_quarter", "worker_mb_last_quarter")),
    *(f"import.{name}" for name in ("rows", "seconds", "rows_per_s", "again_seconds")),
    "gates.decides_per_s",
    "gates.bare_per_s",
    "gates.reserve_to_bare",
    *computed.keys(),
    *sending.keys(),
    *testing.keys(),
    *simulate.keys(),
    *(f"segments.event_ms_at_{size}" for size in ("10k", "50k", "200k")),
    "segments.first_seconds",
    "segments.sweep_seconds",
    *(f"gates.{kind}_per_s_at_{size}" for kind in ("reserve", "hot") for size in ("100k", "1m", "10m")),
}
TINY = Sizes(
    customers=6,
    part=2,
    trickle=4,
    singly=1,
    few=4,
    many=8,
    promotion=4,
    held=4,
    gates=GateSizes((100, 200, 300), 1, 0.01),
    computed=ComputedSizes((20, 30, 40), 3, 1),
    segments=SegmentSizes((20, 40, 60), 2),
    intake=IntakeSizes(400, 20, 20, 1),
    reached=600,
    households=3,
    messages=20,
    testing=TestingSizes(20, 1),
    simulated=2,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account may pass through; another session of pytest closes the one that they share."""
    with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


def test_a_run_over_http_gives_its_figures_and_is_checked_against_the_provider(folder: Path) -> None:
    """`trickle` gives both figures; `finished` fails where the provider or the store has other messages than it should."""
    figures = Bench(folder, TINY, workers=1).trickle()
    assert sorted(figures) == ["trickle.p50_ms", "trickle.p99_ms"]
    assert 0 < figures["trickle.p50_ms"] <= figures["trickle.p99_ms"]


@pytest.mark.nightly
def test_a_promotion_with_resets_gives_its_figures(folder: Path) -> None:
    """`pacing` sends every promotion and every reset once, at the channel's rate, and times the resets."""
    figures = Bench(folder, TINY, workers=1).pacing()
    assert {key for key in KEYS if key.startswith("pacing.")} == figures.keys()
    assert 0 < figures["pacing.transactional_p50_ms"] <= figures["pacing.transactional_p99_ms"]


def test_what_comes_in_over_http_is_counted(folder: Path) -> None:
    """`intake` gives its figures; it fails where an acknowledged event isn't in the store."""
    figures = Bench(folder, TINY).intake()
    assert {key for key in KEYS if key.startswith("intake.")} == figures.keys()
    assert [] == [key for key, value in figures.items() if not value > 0]


def test_baskets_are_imported_and_what_they_come_to_is_right_to_the_cent(folder: Path) -> None:
    """Three households of the real data, by the command, twice; orders and lifetime value are those of a group-by."""
    figures = Bench(folder, TINY).importing()
    assert {key for key in KEYS if key.startswith("import.")} == figures.keys()
    assert figures["import.rows"] > 50


@pytest.mark.nightly
def test_all_baskets_are_imported_and_what_they_come_to_is_right_to_the_cent(folder: Path) -> None:
    """The whole year of all households."""
    assert 150_000 < Bench(folder).importing()["import.rows"] < 160_000


def test_the_most_between_two_moments_or_the_nearest() -> None:
    """A run that is over before anybody looked twice has figures too."""
    held = [(0.0, 5), (1.0, 9), (2.0, 7), (9.0, 8)]
    assert (9, 7, 8, 5) == (most(held, 0.5, 2.5), most(held, 1.5, 2.5), most(held, 6.0, 8.0), most(held[:1], 3.0, 4.0))


def test_a_wrong_result_fails_the_run(folder: Path) -> None:
    """Where fewer are through than should be, there is no figure."""
    with stack(folder / "wrong", webhook=False, workers=1) as s:
        s.load("rush", customers=3)
        finished(s, 3)
        with pytest.raises(WrongResult, match="expected Standing"):
            finished(s, 4)


@pytest.mark.nightly
def test_what_authors_wait_for_is_measured(folder: Path) -> None:
    """Every test that ships passes, and copies of the journeys compile beside them."""
    figures = Bench(folder, TINY).testing()
    assert (testing.keys(), []) == (set(figures), [key for key, value in figures.items() if not value > 0])


@pytest.mark.nightly
def test_replays_are_measured(folder: Path) -> None:
    """Each figure of theirs is a number; every history replayed, and every life came out as it is recorded."""
    figures = Bench(folder, TINY).replay()
    assert {key for key in KEYS if key.startswith("replay.")} == figures.keys()
    assert [] == [key for key, value in figures.items() if not value > 0]


@pytest.mark.nightly
def test_the_gates_are_measured(folder: Path) -> None:
    """Each figure of theirs is a number, and what was sent was checked against the cap."""
    figures = Bench(folder, TINY).gates()
    assert {key for key in KEYS if key.startswith("gates.")} == figures.keys()
    assert [] == [key for key, value in figures.items() if not value > 0]


def test_computed_attributes_are_measured(folder: Path) -> None:
    """Each figure of theirs is a number, and what is kept was checked against the events."""
    figures = Bench(folder, TINY).computed()
    assert computed.keys() == figures.keys()
    assert [] == [key for key, value in figures.items() if not value > 0]


def test_segments_are_measured(folder: Path) -> None:
    """Each figure of theirs is a number, and who is in two of the segments was checked."""
    figures = Bench(folder, TINY).segments()
    assert {key for key in KEYS if key.startswith("segments.")} == figures.keys()
    assert [] == [key for key, value in figures.items() if not value > 0]


def test_adapters_are_measured(folder: Path) -> None:
    """Each figure of theirs is a number, and what the provider took was checked."""
    figures = Bench(folder, TINY).channels()
    assert sending.keys() == figures.keys()
    assert [] == [key for key, value in figures.items() if not value > 0]


def test_the_page_says_which_adapters_are_not_measured() -> None:
    """Each adapter that ships is measured, or named by docs/benchmarks.md among those that aren't."""
    unmeasured = sending.shipped().keys() - sending.ADAPTERS.keys()
    assert {"apprise", "inbox", "noop"} == unmeasured
    assert [] == [name for name in sorted(unmeasured) if f"`channels.{name}`" not in PAGE.read_text()]


def test_a_simulated_year_is_measured(folder: Path) -> None:
    """Each figure is a number; nothing was refused, nobody got stuck."""
    figures = Bench(folder, TINY).simulate()
    assert simulate.keys() == figures.keys()
    assert [] == [key for key, value in figures.items() if not value > 0]


@pytest.mark.nightly
def test_every_subject_gives_its_figures(folder: Path) -> None:
    """Together the subjects give the keys that the page explains, each a number."""
    figures = {}
    for subject in Bench(folder, TINY, workers=1).subjects().values():
        figures.update(subject())
    assert KEYS == figures.keys()
    assert [] == [key for key, value in figures.items() if key != "memory.bytes_per_waiting" and not value > 0]


def test_the_page_explains_every_figure() -> None:
    """docs/benchmarks.md names each key."""
    page = PAGE.read_text()
    assert [] == [key for key in sorted(KEYS) if f"`{key}`" not in page]


def test_the_page_takes_the_figures_of_full_sizes_only(tmp_path: Path) -> None:
    """`--write-docs` puts a run's figures into the table between its marks, again and again, keeps those of other subjects with
    their days, and refuses a quick run."""
    page, latest = tmp_path / "page.md", tmp_path / "latest.json"
    old = "| `cohort.messages_per_s` | 7 | 1500 or more | 2025-12-31 |\n| `gates.bare_per_s` | 9 |  | 2025-12-31 |\n"
    page.write_text(f"before\n{BEGIN}\nold words\n\n| figure | value | aim | measured |\n{old}{END}\nafter\n")
    told = {
        "cohort.messages_per_s": 1234.5,
        "latency.p50_ms": 9.25,
        "quick": False,
        "workers": 2,
        "cpus": 2,
        "python": "3.11.7",
        "at": "2026-01-02T03:04",
    }
    latest.write_text(json.dumps({**told, "quick": True}))
    with pytest.raises(ValueError, match="quick run"):
        write_docs(latest, page)
    for _ in range(2):
        latest.write_text(json.dumps(told))
        write_docs(latest, page)
    expected = "2 processors, 2 workers for the bulk lane, Python 3.11.7.\n\n| figure | value | aim | measured |\n"
    expected += "| --- | ---: | --- | --- |\n| `cohort.messages_per_s` | 1,234 | 1500 or more | 2026-01-02 |\n"
    expected += "| `gates.bare_per_s` | 9 |  | 2025-12-31 |\n| `latency.p50_ms` | 9.2 | under 250 | 2026-01-02 |\n"
    assert f"before\n{BEGIN}\n{expected}{END}\nafter\n" == page.read_text()


def test_percentiles_are_values_that_were_measured() -> None:
    """The smallest value that the share doesn't exceed."""
    ordered = [float(n) for n in range(1, 101)]
    assert [50.0, 99.0, 1.0] == [percentile(ordered, 50), percentile(ordered, 99), percentile([1.0], 99)]
