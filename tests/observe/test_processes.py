"""A worker as a process: what it logs, and where its metrics are found."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.app.processes import ServerError
from engine.app.working import serve_metrics
from engine.observe import metrics
from engine.settings.project import SettingsError, load_settings
from tests.cli.commands import ROOT, environ


def test_a_worker_serves_its_metrics_with_temporals_own_and_logs_json(
    tmp_path: Path, database_url: str, temporal_address: str
) -> None:
    """On the port that it names in its log."""
    servers = {"SOJOURN_DATABASE_URL": database_url, "SOJOURN_TEMPORAL_ADDRESS": temporal_address, "SOJOURN_METRICS_PORT": "0"}
    folder = tmp_path / "multi"
    folder.mkdir()
    worker = subprocess.Popen(
        [sys.executable, ROOT / "worker.py"],
        cwd=tmp_path,
        env=environ(**servers, PROMETHEUS_MULTIPROC_DIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    first, second = (json.loads(worker.stdout.readline()) for _ in range(2))
    address = re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", first["event"])
    assert ("info", True) == (second["level"], "working for sojourn" in second["event"]), (first, second)
    assert address is not None
    with urllib.request.urlopen(address[1], timeout=10) as answer:
        families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
    assert set(metrics.WATCHED) <= set(families)
    assert ["sojourn_build_info"] == [s.name for s in families["sojourn_build_info"].samples]
    assert {"temporal_request", "temporal_request_latency_seconds"} <= set(families), sorted(families)
    assert any(path.suffix == ".db" for path in folder.iterdir()), "several processes may share what they count"
    worker.terminate()
    assert (0, "") == (worker.wait(60), worker.stderr.read() if worker.stderr else "")


def test_a_port_in_the_environment_wins_and_nonsense_is_refused(tmp_path: Path) -> None:
    """In one line, which says where."""
    assert 9464 == load_settings(tmp_path, {"SOJOURN_METRICS_PORT": "9464"}).metrics.port
    assert load_settings(tmp_path, {}).metrics.port is None
    for wrong in ("many", "-1", "70000"):
        with pytest.raises(SettingsError, match="SOJOURN_METRICS_PORT in the environment is wrong: this must be a port"):
            load_settings(tmp_path, {"SOJOURN_METRICS_PORT": wrong})


def test_a_port_that_is_taken_is_said() -> None:
    """With what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerError, match=r"metrics can't be served at .*; metrics\.port in sojourn\.yaml says where"):
            serve_metrics("127.0.0.1", taken.getsockname()[1])
