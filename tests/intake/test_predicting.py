"""Predictions of a whole store: fitted to what everybody ordered, written for each, read by conditions, and fitted anew."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.app.deploying import deploy
from engine.app.wiring import _chores
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.delivery.buying import Buying, Spending, alive, expected_orders, expected_spending
from engine.delivery.deployment import Needs
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.intake import predicting
from engine.intake.backfill import Backfill
from engine.intake.fan_out import FanOut
from engine.intake.predicting import NoModels, NothingToPredict, Predicting
from engine.store.database import fetch, now, run, transaction
from tests.harness import write_project
from tests.people import People as Door
from tests.people import opened

TRACKING = """
events:
  ordered: {properties: {total: number, kind: string}}
  waved: {}
attributes: {first_name: string}
"""
PREDICT = 'predict: {orders: ordered, value: event.total, where: event.kind != "gift", ahead: 12w}\n'
JOURNEY = """
    journey: win_back
    tier: lifecycle
    enter: {event: waved, where: customer.churn_risk > 0.6, again: never}
    steps: [{wait: 30d, id: month}]
"""
FILES = {"journeys/tracking.yaml": TRACKING + PREDICT, "journeys/win_back.yaml": JOURNEY}
PEOPLE = 240
NAMES = frozenset({"churn_risk", "expected_orders", "expected_value"})


@dataclass
class Shop:
    """A store with customers who ordered. `ordered`: user → (day ago, total), the earliest first."""

    door: Door
    folder: Path
    ordered: dict[str, list[tuple[int, float]]]

    def predicting(self) -> Predicting:
        """As another process."""
        deployments = Deployments()
        database = self.door.core.database
        return Predicting(database, deployments, Backfill(database, deployments))

    async def predict(self) -> Any:
        """All steps; the last fit."""
        work = self.predicting()
        while await work.step():
            pass
        return await work.last()

    async def read(self) -> dict[str, dict[str, Any]]:
        """User → what conditions read."""
        async with transaction(self.door.core.database) as c:
            deployment = await self.door.core.deployments.current(c)
            found = await fetch(c, "select value, customer_id from identifiers where kind = 'user_id'")
            ids = {r.value: r.customer_id for r in found}
            people = await People.load(c, deployment, sorted(ids.values()), Needs(computed=NAMES), await now(c))
            return {user: {n: people.customer(i, {})[n] for n in NAMES} for user, i in ids.items()}


def drawn(people: int) -> dict[str, list[tuple[int, float]]]:
    """Customers who buy at a rate of their own until they stop."""
    dice = np.random.default_rng(7)
    made = {}
    for n in range(people):
        rate, stop, day = dice.gamma(1.2, 1 / 12), dice.beta(0.9, 2.5), float(dice.integers(60, 300))
        own, orders = dice.gamma(6, 5), []
        while day > 0:
            orders.append((int(day), round(float(own * dice.gamma(4, 0.25)), 2)))
            if dice.random() < stop:
                break
            day -= max(1.0, dice.exponential(1 / rate))
        made[f"u{n}"] = orders
    return made


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> AsyncIterator[Shop]:
    """With the orders of many; the gifts don't count."""
    async with opened(tmp_path, database_url, files=FILES) as door:
        made = Shop(door, tmp_path, drawn(PEOPLE))
        await take(made, made.ordered)
        gift = Incoming("track", "test", "gift", "ordered", {"total": 9999, "kind": "gift"}, identifiers={"user_id": "u0"})
        await door.accept(gift)
        yield made


async def take(shop: Shop, ordered: dict[str, Sequence[tuple[int, float]]]) -> None:
    """Orders, as history; the last ones first."""
    async with transaction(shop.door.core.database) as c:
        moment = await now(c)
    noon = moment.replace(hour=12) - timedelta(days=0 if moment.hour >= 12 else 1)
    items = [
        Incoming("track", "shop", f"{user}/{day}/{total}", "ordered", {"total": total, "kind": "usual"},
                 identifiers={"user_id": user}, occurred_at=noon - timedelta(days=day), history=True)
        for user, orders in ordered.items()
        for day, total in reversed(orders)
    ]  # fmt: skip
    await shop.door.accept(*items)


async def test_what_is_predicted_follows_from_the_orders_and_the_fit(shop: Shop) -> None:
    """Each value is the model's of that customer's own orders; the fit says of how many, and its parameters make sense."""
    fit = await shop.predict()
    assert (PEOPLE, PEOPLE, "") == (fit.customers, fit.filled, fit.why)
    buying, spending = Buying(**fit.parameters["buying"]), Spending(**fit.parameters["spending"])
    found = await shop.read()
    for user, orders in shop.ordered.items():
        days = sorted({day for day, _ in orders}, reverse=True)
        x, recency = len(days) - 1, (days[0] - days[-1]) / 7
        moment = fit.at.replace(hour=12) - timedelta(days=0 if fit.at.hour >= 12 else 1)
        age = ((fit.at.date() - (moment - timedelta(days=days[0])).date()).days) / 7
        each = [np.array([float(v)]) for v in (x, recency, age)]
        assert math.isclose(1 - float(alive(buying, *each)[0]), found[user]["churn_risk"], abs_tol=1e-4), user
        coming = float(expected_orders(buying, *each, 12.0)[0])
        assert math.isclose(coming, found[user]["expected_orders"], abs_tol=1e-4)
        worth = [total for day, total in orders if day != days[0]]
        mean = np.array([sum(worth) / x if x else 0.0])
        expected = coming * float(expected_spending(spending, each[0], mean)[0])
        assert math.isclose(expected, found[user]["expected_value"], abs_tol=0.011), user


async def test_conditions_read_it_and_nobody_needs_it(shop: Shop) -> None:
    """Before the first fit it is missing, afterwards a journey asks for it; each value keeps its fit and date. Two who were
    merged and taken apart again have theirs with the next step."""
    wave = [Incoming("track", "test", f"w{n}", "waved", identifiers={"user_id": f"u{n}"}) for n in range(PEOPLE)]
    assert [()] == sorted({a.enrollments for a in await shop.door.accept(*wave[:20])})
    fit = await shop.predict()
    risky = {user for user, values in (await shop.read()).items() if values["churn_risk"] > 0.6}
    answers = await shop.door.accept(*wave[20:])
    entered = {f"u{20 + n}" for n, a in enumerate(answers) if a.enrollments}
    assert entered == risky - {f"u{n}" for n in range(20)}
    assert entered
    state = (await shop.door.query("select state from computed where name = 'churn_risk' limit 1"))[0].state
    assert (fit.id, fit.at.isoformat(), {"fit", "at", "made"}) == (state["fit"], state["at"], set(state))
    before = await shop.read()
    both = [await shop.door.who(user) or 0 for user in ("u1", "u2")]
    merged = await shop.door.core.intake.merge(*both, "test")
    await shop.door.core.intake.unmerge(merged.id, "test")
    assert None is (await shop.read())["u2"]["churn_risk"]
    assert (fit.id, before) == ((await shop.predict()).id, await shop.read()), "by the same fit, without a new one"
    assert not await shop.predicting().step()


async def test_it_goes_on_where_it_was_and_is_fitted_anew_a_day_later(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, whoever does it; not twice a day."""
    monkeypatch.setattr(predicting, "PAGE", 100)
    assert await shop.predicting().step(), "a page of orders filled in, or a fit"
    steps = 0
    while (last := await shop.predicting().last()) is None or last.filled == 0:
        await shop.predicting().step()
        steps += 1
        assert steps < 10
    assert (100, None) == (last.filled, last.done_at)
    assert await shop.predicting().step()
    fit = await shop.predict()
    assert (last.id, PEOPLE) == (fit.id, fit.filled)
    assert not await shop.predicting().step()
    async with transaction(shop.door.core.database) as c:
        await run(c, "update clock set logical_epoch = logical_epoch + interval '25 hours'")
    later = await shop.predict()
    assert later.id > fit.id
    assert await shop.predicting().step(again=True)
    assert (await shop.predict()).id > later.id


async def test_who_is_merged_is_predicted_for_with_all_orders(shop: Shop) -> None:
    """The two that became one are summed up at once."""
    two = [await shop.door.who(user) or 0 for user in ("u1", "u2")]
    await shop.door.core.intake.merge(*two, "test")
    (row,) = await shop.door.query("select value from computed where name = '$orders' and customer_id = :i", i=two[0])
    assert len({day for user in ("u1", "u2") for day, _ in shop.ordered[user]}) == row.value["days"]
    assert (await shop.predict()).customers == PEOPLE - 1


async def test_what_cannot_be_predicted_is_said(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few orders; no `predict:`; a process without NumPy and SciPy."""
    async with opened(tmp_path, database_url, files=FILES) as door:
        shop = Shop(door, tmp_path, {})
        await take(shop, drawn(10))
        fit = await shop.predict()
        assert "fewer than 30 customers" in fit.why
        assert not await shop.predicting().step(), "not before tomorrow"
        assert {None} == {v for values in (await shop.read()).values() for v in values.values()}

        def missing(name: str) -> Any:
            raise ImportError(name)

        with monkeypatch.context() as patched:
            patched.setattr(predicting.importlib, "import_module", missing)
            with pytest.raises(NoModels, match=r"sojourn\[predict\]"):
                await shop.predicting().step()
        write_project(tmp_path, {**FILES, "journeys/tracking.yaml": TRACKING, "journeys/win_back.yaml": JOURNEY.replace(
            "where: customer.churn_risk > 0.6, ", "")})  # fmt: skip
        await deploy(door.core.database, load_project(tmp_path, {"email", "sms"}), "test")
        with pytest.raises(NothingToPredict):
            await shop.predicting().step()


async def test_workers_do_it_by_themselves(shop: Shop, tmp_path: Path) -> None:
    """The chores fill in and fit, and are done then; where nothing is deployed there is nothing to do."""
    core = shop.door.core
    chores = {c.name: c.run for c in _chores(core, FanOut(core.database, core.deployments, core.intake, core.clock))}
    while await chores["backfill"]():
        pass
    while await chores["predict"]():
        pass
    last = await shop.predicting().last()
    assert last is not None
    assert (PEOPLE, False) == (last.filled, await chores["predict"]())
    await shop.door.query("delete from deployments returning id")
    assert [False, False] == [await chores[name]() for name in ("backfill", "predict")]


def test_days_are_counted_as_the_store_counts_them() -> None:
    """A day is one of UTC."""
    assert 20_000 == int(datetime(2024, 10, 4, tzinfo=UTC).timestamp() * 10**6) // predicting.DAY
