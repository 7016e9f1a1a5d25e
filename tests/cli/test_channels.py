"""`channels` as a process: how senders stand, and the end of a rest; `/readyz` says it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.app.wiring import open_core
from engine.intake import resting
from engine.settings.project import Settings
from engine.store import planned, senders
from engine.store.database import fetch, transaction
from tests.api.conftest import serving
from tests.cli.commands import answer, sojourn
from tests.harness import write_project

SETTINGS = "channels: {email: {use: channels.noop, complaints: {pause_above: 1%}}, sms: {use: channels.noop}}\n"


async def test_a_rest_is_listed_warned_of_and_ended(tmp_path: Path, database_url: str, temporal_address: str) -> None:
    """With what was counted and how far a warm-up is; ending it twice is 1 the second time; the audit log says who did."""
    folder = write_project(tmp_path, {"sojourn.yaml": SETTINGS})

    def run(*arguments: str) -> Any:
        return sojourn(*arguments, cwd=folder, SOJOURN_DATABASE_URL=database_url)

    async with open_core(Settings(), database_url) as core:
        async with transaction(core.database) as c:
            await planned.know_channels(c, {"email": "email", "sms": "phone"})
            await senders.know_limits(c, {"email": {"above": 0.003, "days": 7, "at_least": 500}})
            await senders.count_sent(c, "email", 612)
            await resting.complained(c, {"email": 4})
        await senders.take_warm(core.database, "email", "", urgent=0, others=3, start=10, double=1, full=None)
        async with serving(database_url, temporal_address, folder) as api:
            (warning,) = (await api.http.get("/readyz")).json()["warnings"]
        assert "email rests since" in warning
        assert "4 of 612 messages in 7 days were complained about (`sojourn channels lift email`)" in warning
        listed = run("channels").stdout
        for part in ("4 of 612", "0.003 of 500 or more in 7 d", "day 1: 3 of 10", "phone"):
            assert part in listed
        email, sms = answer(run("channels", "--json"))
        assert (612, 4, None) == (email["sent"], email["complained"], sms["complaints"])
        done = run("channels", "lift", "email")
        assert (0, "email: rests no longer; counting begins anew\n") == (done.returncode, done.stdout)
        again = run("channels", "lift", "email")
        assert (1, "email: does not rest\n") == (again.returncode, again.stdout)
        nowhere = run("channels", "lift", "emial")
        assert (1, "there is no channel 'emial'\ndid you mean 'email'?\n") == (nowhere.returncode, nowhere.stderr)
        async with transaction(core.database) as c:
            log = await fetch(c, "select actor, act from audit where subject = 'channel/email' order by id")
        assert [("sojourn", "rest"), (log[1].actor, "lift rest")] == [tuple(r) for r in log]
        assert log[1].actor.startswith("cli/")
    wrong = run("channels", "rest", "email")
    assert (2, True) == (wrong.returncode, "one of: lift" in wrong.stderr)
