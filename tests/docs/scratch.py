"""A scratch project in which the pages' console blocks are run, one after the other, by a real shell.

`sojourn up` runs beside the others and is ended with the project. The pages' API address stands for a free port of this test.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from engine.app import postgres, temporal_server
from engine.app.processes import free_port
from engine.app.supervise import sweep
from tests.docs.pages import ROOT, Block, Command, commands

WRITTEN = "127.0.0.1:8700"
"""Where the pages say that the API listens."""

PATIENCE = 90.0
"""Seconds for one command, and for what comes true eventually. The machine may be busy."""


class PageError(AssertionError):
    """A page says something that isn't so."""


@dataclass(slots=True)
class Scratch:
    """A folder, a shell's state, and at most one running system."""

    folder: Path
    port: int = field(default_factory=free_port)
    where: Path = field(init=False)
    environ: dict[str, str] = field(init=False)
    up: subprocess.Popen[bytes] | None = None
    said: Path = field(init=False)

    def __post_init__(self) -> None:
        tools = self.folder / "bin"
        tools.mkdir(parents=True)
        command = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m engine.cli "$@"\n'
        (tools / "sojourn").write_text(command)
        (tools / "sojourn").chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SOJOURN_")}
        path = f"{tools}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        self.environ = {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "110", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
        self.where = self.folder
        self.said = self.folder / "up.log"

    def show(self, block: Block) -> None:
        """Make true what a block shows: write the file that it is, or run its commands. Raises PageError."""
        if "not run" in block.marks:
            return
        if block.file is not None:
            path = self.where / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.translated(block.text), encoding="utf-8")
            self.listen()
        elif block.language == "console":
            every = list(commands(block))
            for i, one in enumerate(every):
                code = int(block.marks.get("exits", 0)) if i == len(every) - 1 else 0
                self.run(block.place, one, code, eventually="eventually" in block.marks)

    def run(self, place: str, command: Command, code: int = 0, *, eventually: bool = False) -> None:
        """Run one command and compare. Raises PageError."""
        if command.text.startswith("sojourn up"):
            self.start(place, command)
            return
        give_up = time.monotonic() + PATIENCE
        while True:
            ended, said = self.execute(command.text)
            missing = missing_line(command.shown, said)
            if ended == code and missing is None:
                return
            if not eventually or time.monotonic() > give_up:
                told = f"{place}: $ {command.text}\nexit code {ended}, the page says {code}"
                if missing is not None:
                    told += f"\nthe page shows:  {missing!r}"
                raise PageError(f"{told}\nit really said:\n{said}{self.log()}")
            time.sleep(0.3)

    def execute(self, text: str) -> tuple[int, str]:
        """Run `text` in the shell's folder and environment, and keep what it does to both."""
        state = self.folder / "state"
        script = f"{self.translated(text)}\ncode=$?\npwd > {state}.cwd\nenv -0 > {state}.env\nexit $code\n"
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=self.where,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        self.where = Path(Path(f"{state}.cwd").read_text().strip())
        pairs = [e.partition("=") for e in Path(f"{state}.env").read_bytes().decode().split("\0") if e]
        self.environ = {k: v for k, _, v in pairs}
        self.listen()
        return ran.returncode, ran.stdout.decode(errors="replace").replace(f"127.0.0.1:{self.port}", WRITTEN)

    def translated(self, text: str) -> str:
        """A page's command on this test's port."""
        return text.replace(WRITTEN, f"127.0.0.1:{self.port}")

    def listen(self) -> None:
        """Let the project's API use this test's port."""
        for settings in (self.where / "sojourn.yaml", *self.where.glob("*/sojourn.yaml")):
            if settings.exists():
                text = settings.read_text()
                settings.write_text(text.replace("port: 8700", f"port: {self.port}"))

    def start(self, place: str, command: Command) -> None:
        """`sojourn up`, until it says that it is there."""
        self.stop()
        with self.said.open("wb") as log:
            self.up = subprocess.Popen(
                ["bash", "-c", f"exec {command.text}"],
                cwd=self.where,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up = time.monotonic() + PATIENCE
        while "Ctrl-C stops everything." not in self.said.read_text(errors="replace"):
            if self.up.poll() is not None or time.monotonic() > give_up:
                raise PageError(f"{place}: $ {command.text}\nit isn't there:\n{self.said.read_text(errors='replace')}")
            time.sleep(0.2)
        said = self.said.read_text(errors="replace").replace(f"127.0.0.1:{self.port}", WRITTEN)
        missing = missing_line(command.shown, said)
        if missing is not None:
            raise PageError(f"{place}: $ {command.text}\nthe page shows:  {missing!r}\nit really said:\n{said}")

    def stop(self) -> None:
        """Ctrl-C, and wait for its end; a page may have killed it."""
        if self.up is None:
            return
        running, self.up = self.up, None
        running.send_signal(signal.SIGINT)
        code = running.wait(PATIENCE)
        assert code in (0, -signal.SIGKILL), f"`sojourn up` ended with {code}:\n{self.said.read_text(errors='replace')}"

    def clear(self) -> None:
        """Stop what runs, and what a killed one left."""
        try:
            self.stop()
        finally:
            for data in self.folder.glob("*/.sojourn"):
                sweep(data, Console(quiet=True))
                temporal_server.stop_left_over(data / "temporal")
                postgres.stop_left_over(data / "postgres")

    def log(self) -> str:
        """What the running system said last, for a failure's message."""
        return f"\n`sojourn up` said:\n{self.said.read_text(errors='replace')[-3000:]}" if self.said.exists() else ""

    def keys(self) -> dict[str, str]:
        """The development keys of the project that runs."""
        found: dict[str, str] = json.loads((self.where / ".sojourn" / "keys.json").read_text())
        return found


def missing_line(shown: tuple[str, ...], said: str) -> str | None:
    """The first shown line that wasn't said, in order; None where all were. `…` stands for any text, blanks don't count."""
    real = [" ".join(line.split()) for line in said.splitlines()]
    for line in shown:
        wanted = " ".join(line.split())
        if wanted in ("", "…"):
            continue
        pattern = ".*".join(re.escape(part.strip()) for part in wanted.split("…"))
        while real:
            if re.fullmatch(pattern, real.pop(0)):
                break
        else:
            return line
    return None
