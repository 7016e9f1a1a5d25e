"""Commands run as processes of their own, as people and machines run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def environ(**more: str) -> dict[str, str]:
    """The environment of a command: this tree's code, none of this machine's own settings of Sojourn."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SOJOURN_")}
    return {**plain, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1", **more}


def sojourn(*arguments: str | Path, cwd: Path | None = None, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run `sojourn` with `arguments`; `more` is added to its environment."""
    return subprocess.run(
        [sys.executable, "-m", "engine.cli", *map(str, arguments)],
        cwd=cwd,
        env=environ(**more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed with --json."""
    return json.loads(done.stdout)
