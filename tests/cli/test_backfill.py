"""`backfill` and `predict` as processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.app.deploying import deploy
from engine.authoring.project import load_project
from tests.cli.commands import answer, sojourn
from tests.harness import TRACKING, write_project
from tests.people import opened

SETTINGS = "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\n"
FILES = {"sojourn.yaml": SETTINGS, "journeys/tracking.yaml": TRACKING}


async def test_everybody_is_filled_in_for_and_it_is_said_for_how_many(tmp_path: Path, database_url: str) -> None:
    """Nothing to do without computed attributes; after a deploy with some, everybody; the same again changes nothing."""

    def run(*arguments: str) -> Any:
        return sojourn(*arguments, cwd=tmp_path, SOJOURN_DATABASE_URL=database_url)

    async with opened(tmp_path, database_url, files=FILES) as people:
        for user in ("ada", "bob", "cleo"):
            await people.track(user, "signed_up")
        none = run("backfill")
        assert (0, "no computed attribute is kept: nothing to fill in\n") == (none.returncode, none.stdout)
        untold = run("predict")
        assert (1, True) == (untold.returncode, "no `predict:`" in untold.stderr)
        more = "computed: {sign_ups: {count: signed_up}, last_at: {latest: event.occurred_at, of: signed_up}}\n"
        write_project(tmp_path, {**FILES, "journeys/tracking.yaml": TRACKING + more + "predict: {orders: signed_up}\n"})
        await deploy(people.core.database, load_project(tmp_path, {"email", "sms"}), "test")
        assert {"attributes": 3, "customers": 3} == answer(run("backfill", "--json"))
        assert "3 attributes filled in for 3 customers\n" == run("backfill", "--again").stdout
        assert [(3,)] == [tuple(r) for r in await people.query("select count(*) from computed where name = 'sign_ups'")]
        few = run("predict")
        assert (1, True) == (few.returncode, "fewer than 30 customers have bought more than once" in few.stderr)
        assert "fit 1 of " in few.stdout
        assert "fit 2 of " in run("predict", "--again").stdout
