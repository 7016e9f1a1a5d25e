"""A newcomer's first five minutes: init, up, identify, track, why, Ctrl-C, and up again on the same data."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.commands import answer, environ, sojourn

PATIENCE = 120.0


@contextmanager
def running(shop: Path) -> Iterator[subprocess.Popen[str]]:
    """`sojourn up` in `shop`, ready; killed at the end if it still runs."""
    log = shop / "up.txt"
    with log.open("w") as said:
        command = [sys.executable, "-m", "engine.cli", "up", "--port", "0"]
        process = subprocess.Popen(command, cwd=shop, env=environ(), stdout=said, stderr=said, text=True, start_new_session=True)
    try:
        until(lambda: "Ctrl-C stops everything" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)


def until(ready: Callable[[], object]) -> None:
    """Wait until `ready` is true."""
    give_up = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < give_up, "it takes too long"
        time.sleep(0.1)


RESET = """
journey: reset
tier: service
enter: {event: signed_up, where: event.plan == "forgotten", again: always}
steps:
  - send: email
    id: link
    template: service/link
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project fresh from `init`."""
    folder = tmp_path_factory.mktemp("cli") / "shop"
    assert sojourn("init", folder).returncode == 0
    (folder / "journeys/reset.yaml").write_text(RESET)
    (folder / "templates/email/service").mkdir()
    (folder / "templates/email/service/link.txt").write_text("---\nsubject: Your link\n---\nHere it is.\n")
    return folder


def letters(shop: Path) -> list[str]:
    """The templates of the messages that were sent."""
    return sorted(json.loads(p.read_text())["template"] for p in (shop / ".sojourn/messages").glob("*.json"))


def test_the_first_five_minutes(shop: Path) -> None:
    """`up` makes keys, `track` says what it set going, a message becomes a file, `why` explains it, Ctrl-C ends with 0, and the
    next `up` goes on."""
    with running(shop) as process:
        mode = stat.S_IMODE((shop / ".sojourn/keys.json").stat().st_mode)
        assert mode == 0o600
        assert sojourn("identify", "ada", "first_name=Ada", "timezone=Asia/Tokyo", cwd=shop).returncode == 0
        tracked = answer(sojourn("track", "ada", "signed_up", "plan=free", "--json", cwd=shop))
        assert [e["journey"] for e in tracked["entered"]] == ["welcome"]
        until(lambda: letters(shop) == ["welcome/hello"])
        until(lambda: "first_project" in sojourn("enrollments", cwd=shop).stdout)
        told = sojourn("why", "ada", cwd=shop)
        assert (told.returncode, "Asia/Tokyo" in told.stdout, "✓ consent" in told.stdout) == (0, True, True)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    with running(shop) as process:
        slip = sojourn("track", "ada", "projekt_created", cwd=shop)
        told = ["accepted: projekt_created of ada"]
        told.append("  no journey and no tracking.yaml knows projekt_created; did you mean 'project_created'?")
        assert (0, told) == (slip.returncode, slip.stdout.splitlines())
        done = sojourn("track", "ada", "project_created", "title=Garden", cwd=shop)
        assert "was waited for in welcome" in done.stdout
        until(lambda: answer(sojourn("enrollments", "--json", cwd=shop))[0]["status"] == "ended")
        assert sojourn("track", "ada", "signed_up", "plan=forgotten", cwd=shop).returncode == 0
        until(lambda: "service/link" in letters(shop))
        refused = sojourn("track", "ada", "complaint_filed", cwd=shop)
        assert (refused.returncode, "ticket_id is missing" in refused.stdout) == (1, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert letters(shop) == ["service/link", "welcome/hello"]
