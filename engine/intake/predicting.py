"""Predictions: a model fitted to the orders of all customers, and what follows from it for each, written down page by page.

Orders are kept as they come, like computed attributes, so a fit reads one row for each customer. Each step is a transaction of
its own: whoever comes next goes on from there, and another fit begins a day later.
"""

from __future__ import annotations

import asyncio
import importlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from engine.authoring.model_tracking import Predict
from engine.core.clock import Duration
from engine.core.wire import Json
from engine.delivery.buying import (
    Buying,
    CantFit,
    Spending,
    alive,
    expected_orders,
    expected_spending,
    fit_buying,
    fit_spending,
)
from engine.delivery.computing import ORDERS
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.tallies import micros
from engine.intake.backfill import Backfill
from engine.store import computed, customers, fits
from engine.store.database import Connection, Database, now, transaction

EVERY = timedelta(days=1)
"""How often a model is fitted anew."""

PAGE = 500
"""Customers in one transaction."""

LOOKED_AT = 5_000
"""Customers whose orders are read at once for a fit."""

DAY = 86_400 * 10**6
WEEK = 7.0
"""Models count in weeks, as the literature does."""

MONTH_DAYS = 365.25 / 12


class NothingToPredict(Exception):
    """tracking.yaml has no `predict:`."""


class NoModels(Exception):
    """NumPy or SciPy isn't installed."""

    def __init__(self) -> None:
        super().__init__("predictions need NumPy and SciPy, which aren't installed: pip install 'sojourn[predict]'")


@dataclass(slots=True)
class Predicting:
    """Of one process; any number of them may work at the same one."""

    database: Database
    deployments: Deployments
    backfill: Backfill

    async def step(self, *, again: bool = False) -> bool:
        """The next step; whether there is more to do at once. `again`: fit now, though the last fit isn't a day old. Raises
        NothingToPredict, NoModels, NothingDeployed."""
        async with transaction(self.database) as c:
            definition = _definition(await self.deployments.current(c))
        _need_models()
        if not (await self.backfill.page()).done:
            return True
        async with transaction(self.database) as c:
            deployment = await self.deployments.current(c)
            if _definition(deployment) != definition:  # deployed meanwhile
                return True
            last = await fits.newest(c, definition)
            moment = await now(c)
            if last is not None and last.done_at is None:
                return await self._page(c, deployment, last, moment)
        if last is None or again or moment - last.at >= EVERY:
            return await self._fit(deployment, definition, moment)
        return not last.why and await self._catch_up(deployment, last)

    async def _fit(self, deployment: Deployment, definition: str, moment: datetime) -> bool:
        """A fit of today; whether anything follows from it."""
        orders, valued = deployment.definitions.all[ORDERS].hash, _predict(deployment).value is not None
        bought = await self._bought(orders, micros(moment) // DAY)
        parameters, why = None, ""
        try:
            parameters = await asyncio.to_thread(_fitted, bought, valued)
        except CantFit as cant:
            why = str(cant)
        async with transaction(self.database) as c:
            await fits.add(c, definition, moment, int(sum(bought["customers"])), parameters, why)
        return not why

    async def _bought(self, orders: str, today: int) -> dict[str, array[float]]:
        """Everybody's orders, a few numbers for each who came again, and one line for all who came once on the same day."""
        found = {name: array("d") for name in ("x", "recency", "age", "mean", "customers")}

        def add(*values: float) -> None:
            for column, value in zip(found.values(), values, strict=True):
                column.append(value)

        async with transaction(self.database) as c:
            for r in await fits.once(c, orders, today):
                add(0, 0, r.age, 0, r.n)
            after: int | None = 0
            while after is not None:
                some = await fits.again(c, orders, today, after, LOOKED_AT)
                for r in some:
                    add(r.x, r.recency, r.age, r.mean, 1)
                after = some[-1].customer_id if len(some) == LOOKED_AT else None
        return found

    async def _page(self, c: Connection, deployment: Deployment, fit: Any, moment: datetime) -> bool:
        orders = deployment.definitions.all[ORDERS].hash
        ids = await fits.page(c, orders, fit.after_id, PAGE)
        await customers.lock(c, ids)
        await self._write(c, deployment, fit, ids, moment)
        done = len(ids) < PAGE
        await fits.filled_in(c, fit.id, ids[-1] if ids else fit.after_id, len(ids), moment if done else None)
        return not done

    async def _catch_up(self, deployment: Deployment, fit: Any) -> bool:
        """Predict by the last fit for those whom the undoing of a merge has left without, or with somebody else's."""
        orders, definition = deployment.definitions.all[ORDERS].hash, _definition(deployment)
        async with transaction(self.database) as c:
            ids = await fits.parted(c, orders, definition, fit.at, PAGE)
            await customers.lock(c, ids)
            await self._write(c, deployment, fit, ids, await now(c))
        return len(ids) == PAGE

    async def _write(self, c: Connection, deployment: Deployment, fit: Any, ids: Sequence[int], moment: datetime) -> None:
        """What follows from a fit for these (locked) customers."""
        if ids:
            found = await fits.summaries(c, deployment.definitions.all[ORDERS].hash, ids)
            await computed.put(c, _rows(deployment, fit, found, moment))

    async def last(self) -> Any:
        """The last fit (a row of `store.fits.newest`). Raises NothingToPredict, NothingDeployed."""
        async with transaction(self.database) as c:
            return await fits.newest(c, _definition(await self.deployments.current(c)))


def _predict(deployment: Deployment) -> Predict:
    if deployment.tracking.predict is None:
        raise NothingToPredict("what is deployed has no `predict:` in tracking.yaml, so there is nothing to predict")
    return deployment.tracking.predict


def _definition(deployment: Deployment) -> str:
    return deployment.definitions.predicted[_predict(deployment).names[0]]


def _need_models() -> None:
    try:
        for name in ("numpy", "scipy.optimize", "scipy.special"):
            importlib.import_module(name)
    except ImportError:
        raise NoModels from None


def _fitted(bought: Mapping[str, array[float]], valued: bool) -> dict[str, Json]:
    """The parameters of both models (weeks; the currency's unit), by name."""
    import numpy as np

    x, recency, age, mean, weights = (np.array(column) for column in bought.values())
    found: dict[str, Json] = {"buying": asdict(fit_buying(x, recency / WEEK, age / WEEK, weights))}
    if valued:
        found["spending"] = asdict(fit_spending(x, mean))
    return found


def weeks(duration: Duration) -> float:
    """A span of time as the models count it; a month is a twelfth of a year."""
    return (duration.months * MONTH_DAYS + duration.days + duration.seconds / 86_400) / WEEK


def _rows(deployment: Deployment, fit: Any, found: Sequence[Any], moment: datetime) -> list[dict[str, Any]]:
    """What is kept of these customers (rows of `store.fits.summaries`): each value with the fit's number and date, and when it
    was made of their orders."""
    import numpy as np

    buying = Buying(**fit.parameters["buying"])
    today = micros(fit.at) // DAY
    x = np.array([float(r.value["days"] - 1) for r in found])
    recency = np.array([float(r.value["last"] - r.value["first"]) for r in found]) / WEEK
    age = np.array([float(max(today, r.value["last"]) - r.value["first"]) for r in found]) / WEEK
    predict = _predict(deployment)
    orders = expected_orders(buying, x, recency, age, weeks(predict.ahead))
    columns = {"churn_risk": np.round(1 - alive(buying, x, recency, age), 4), "expected_orders": np.round(orders, 4)}
    if predict.value is not None:
        mean = np.array([float(r.value["mean"] or 0) for r in found])
        columns["expected_value"] = np.round(orders * expected_spending(Spending(**fit.parameters["spending"]), x, mean), 2)
    return [
        {
            "customer_id": r.customer_id,
            "name": name,
            "definition": deployment.definitions.predicted[name],
            "state": {"fit": fit.id, "at": fit.at.isoformat(), "made": moment.isoformat()},
            "value": float(values[i]),
        }
        for name, values in columns.items()
        for i, r in enumerate(found)
    ]
