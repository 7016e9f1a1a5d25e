"""Segments over scores and predictions, and of customers who object to being profiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.incoming import Incoming
from engine.delivery.interpretation import of
from engine.delivery.selecting import Page, Selection
from engine.intake.erasing import erase
from engine.intake.standing import stand
from engine.store.database import now, transaction
from tests.harness import TRACKING
from tests.intake.members import inside, later, stages, swept, told
from tests.people import People, opened

FACTS = (
    TRACKING.replace("attributes: {", "attributes: {vip: boolean, ")
    + """
computed:
  heat: {score: [{of: pinged, add: 10}, {if: customer.vip, add: 100}], half_life: 7d}
  pings: {count: pinged}
predict: {orders: pinged, ahead: 30d}
"""
)
SEGMENTS = """
segments:
  hot: {if: customer.heat >= 15}
  safe: {if: customer.churn_risk < 0.5}
  pinger: {did: pinged}
  strangers: {not: {segment: pinger}}
  few: {if: customer.pings < 2}
stages:
  - {stage: active, did: pinged}
  - {stage: lead}
"""
FILES = {"journeys/tracking.yaml": FACTS, "journeys/segments.yaml": SEGMENTS}


async def audience(at: People, *names: str) -> dict[str, set[int]]:
    """Who is in these segments, as broadcasts ask for them."""
    found = {}
    async with transaction(at.core.database) as c:
        deployment = await at.core.deployments.current(c)
        for name in names:
            segment = deployment.segments.get(name)
            assert segment is not None
            answers = await Selection(deployment, [segment.condition]).answers(c, Page(until=2**62), await now(c))
            found[name] = set(answers)
    return found


async def test_a_score_takes_people_in_and_time_takes_them_out(tmp_path: Path, database_url: str) -> None:
    """Two pings are 20 points, and 10 after a week; an attribute is worth the rest, at once and for as long as it stands."""
    async with opened(tmp_path, database_url, files=FILES) as at:
        ada = await at.identify("ada")
        await at.track("ada", "pinged")
        assert "hot" not in await inside(at, ada)
        await at.track("ada", "pinged")
        assert "hot" in await inside(at, ada)
        await later(at, 7)
        await swept(at)
        assert "hot" not in await inside(at, ada)
        await at.identify("ada", vip=True)
        assert "hot" in await inside(at, ada)
        assert [("entered", "hot"), ("left", "hot"), ("entered", "hot")] == [t for t in await told(at, ada) if t[1] == "hot"]


async def test_a_prediction_takes_people_in_with_the_next_sweep(tmp_path: Path, database_url: str) -> None:
    """Nothing happens to the customer when everybody's future is predicted anew."""
    async with opened(tmp_path, database_url, files=FILES) as at:
        ada = await at.identify("ada")
        await swept(at)
        assert "safe" not in await inside(at, ada)
        async with transaction(at.core.database) as c:
            deployment = await at.core.deployments.current(c)
            assert of(deployment).concerns["safe"].time
        await at.query(
            "insert into computed (customer_id, name, definition, state, value) values (:id, 'churn_risk', :hash, 'null', '0.2') "
            "returning 1",
            id=ada,
            hash=deployment.definitions.predicted["churn_risk"],
        )
        await swept(at)
        assert "safe" in await inside(at, ada)


@pytest.mark.parametrize("when", ["at once", "by the sweep"])
async def test_who_objects_is_in_no_segment_and_no_stage(tmp_path: Path, database_url: str, when: str) -> None:
    """They leave all of them, in silence, and nothing brings them in but taking the objection back."""
    async with opened(tmp_path, database_url, files=FILES) as at:
        ada = await at.identify("ada", vip=True)
        await at.track("ada", "pinged")
        assert {"hot", "pinger", "few"} == await inside(at, ada)
        before = await told(at, ada)
        if when == "at once":
            await stand(at.core.intake, ada, {"objected": True}, "test")
            assert set() == await inside(at, ada)
            assert before == await told(at, ada)
        else:
            await at.query("update customers set objected = true where id = :id returning 1", id=ada)
            await swept(at)
        await at.track("ada", "pinged")
        await swept(at)
        assert set() == await inside(at, ada)
        assert [] == await at.query("select 1 from stage_history where customer_id = :id and until is null", id=ada)
        await stand(at.core.intake, ada, {"objected": False}, "test")
        assert {"hot", "pinger"} <= await inside(at, ada)
        assert "active" == (await stages(at, ada))[-1][0]


async def test_an_audience_knows_nothing_of_who_objects(tmp_path: Path, database_url: str) -> None:
    """A computed attribute is at its default for them, and another segment empty of them."""
    async with opened(tmp_path, database_url, files=FILES) as at:
        ada, bob = await at.identify("ada", vip=True), await at.identify("bob", vip=True)
        for user in ("ada", "bob"):
            for _ in range(2):
                await at.track(user, "pinged")
        everybody = await audience(at, "hot", "strangers", "few")
        assert {"hot": {ada, bob}, "strangers": set(), "few": set()} == everybody
        await stand(at.core.intake, ada, {"objected": True}, "test")
        assert {"hot": {bob}, "strangers": {ada}} == await audience(at, "hot", "strangers")


async def test_an_erasure_leaves_nothing_that_was_worked_out(tmp_path: Path, database_url: str) -> None:
    """Neither what is kept, nor segments, nor stages; and nothing that comes later makes any of it anew."""
    async with opened(tmp_path, database_url, files=FILES) as at:
        ada = await at.identify("ada", vip=True)
        await at.track("ada", "pinged")
        kept = (
            "select (select count(*) from computed) + (select count(*) from memberships) + (select count(*) from stage_history)"
        )
        assert 0 < (await at.query(kept))[0][0]
        await erase(at.core.intake, ada, "test")
        assert 0 == (await at.query(kept))[0][0]
        late = Incoming("track", "test", "late", "pinged", customer=ada)
        await at.core.intake.accept([late])
        await swept(at)
        assert 0 == (await at.query(kept))[0][0]
