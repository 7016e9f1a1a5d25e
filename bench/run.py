"""`make bench`: every subject once, a table, and `bench/latest.json`. A wrong result is exit code 1, without figures.

python -m bench [--quick] [--only SUBJECT …] [--workers N] [--write-docs]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.stack import ROOT, WrongResult
from bench.subjects import FULL, QUICK, Bench, Figures
from engine.app.processes import ServerError

LATEST = ROOT / "bench" / "latest.json"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
_ROW = re.compile(r"^\| `([\w.]+)` \|(.+) \|$", re.MULTILINE)

TARGETS = {
    "cohort.messages_per_s": "1500 or more",
    "cohort.ratio_to_single": "30 or more",
    "latency.p50_ms": "under 250",
    "latency.p99_ms": "under 1000",
    "pacing.transactional_p99_ms": "under 1000",
    "channels.lines_median": "120 or less",
    "segments.sweep_seconds": "under 20",
    "intake.events_per_s": "5000 or more",
    "intake.track_p99_ms": "under 50",
}
"""What the figures should be; shown beside them and never asserted."""


def shown(value: float) -> str:
    """A figure as people read it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"


def table(figures: Figures, title: str) -> Table:
    """The figures as a table."""
    view = Table(title=title, title_justify="left")
    view.add_column("figure")
    view.add_column("value", justify="right")
    view.add_column("aim")
    for name, value in figures.items():
        view.add_row(name, shown(value), TARGETS.get(name, ""))
    return view


def measure(bench: Bench, only: list[str], console: Console) -> Figures:
    """Run the subjects, all or those of `only`. Raises WrongResult."""
    figures: Figures = {}
    for name, subject in bench.subjects().items():
        if only and name not in only:
            continue
        began = time.monotonic()
        with console.status(f"{name} …"):
            found = subject()
        figures.update(found)
        told = ", ".join(f"{key} {shown(value)}" for key, value in found.items())
        console.print(f"[bold]{name}[/bold] ({time.monotonic() - began:.0f} s): {told}", highlight=False, soft_wrap=True)
    return figures


def write_docs(latest: Path = LATEST, page: Path = PAGE) -> None:
    """Put the figures of a run into the page's table, each with its day; those of subjects that this run left out stay.
    ValueError where there is no run at full size to take them from."""
    if not latest.exists():
        raise ValueError("there is no bench/latest.json: run `make bench` first")
    found = json.loads(latest.read_text())
    if found["quick"]:
        raise ValueError("bench/latest.json is of a quick run: run `make bench` first")
    before, _, rest = page.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {key: f"| `{key}` |{row} |" for key, row in _ROW.findall(old)}
    values = {k: v for k, v in found.items() if isinstance(v, float)}
    rows |= {k: f"| `{k}` | {shown(v)} | {TARGETS.get(k, '')} | {found['at'][:10]} |" for k, v in values.items()}
    told = f"{found['cpus']} processors, {found['workers']} workers for the bulk lane, Python {found['python']}."
    head = ["| figure | value | aim | measured |", "| --- | ---: | --- | --- |"]
    page.write_text("\n".join([before + BEGIN, told, "", *head, *rows.values(), END]) + after)


def main() -> int:
    """Exit code 0, or 1 where something was wrong."""
    options = argparse.ArgumentParser(prog="python -m bench", description="Measure Sojourn on this machine.")
    options.add_argument("--quick", action="store_true", help="small sizes, for development: the figures mean little")
    options.add_argument("--only", action="append", default=[], choices=list(Bench(Path()).subjects()), help="one subject")
    options.add_argument(
        "--workers", type=int, default=2, choices=range(1, 4), help="worker processes in the runs for throughput (2)"
    )
    options.add_argument("--write-docs", action="store_true", help="only put bench/latest.json into docs/benchmarks.md")
    given = options.parse_args()
    console = Console()
    try:
        if given.write_docs:
            write_docs()
            return 0
        with tempfile.TemporaryDirectory(prefix="sojourn-bench-") as folder:
            Path(folder).chmod(0o711)  # the account that runs PostgreSQL for root passes through
            bench = Bench(Path(folder), QUICK if given.quick else FULL, given.workers)
            figures = measure(bench, given.only, console)
    except (WrongResult, ServerError, ValueError) as wrong:
        console.print(f"[red]{wrong}[/red]", highlight=False)
        return 1
    told = {
        **{name: float(value) for name, value in figures.items()},
        "quick": given.quick,
        "workers": given.workers,
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(),
    }
    LATEST.write_text(json.dumps(told, indent=1) + "\n")
    console.print(table(figures, "quick: these sizes are for development" if given.quick else "figures"))
    return 0
