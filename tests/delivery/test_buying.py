"""The models against what was published of them: Fader, Hardie and Lee's fit of the CDNOW customers, and Fader and Hardie's of
what those spent."""

from __future__ import annotations

import csv
import math
from importlib.metadata import files
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.delivery.buying import (
    Buying,
    CantFit,
    Spending,
    alive,
    expected_orders,
    expected_spending,
    fit_buying,
    fit_spending,
    likelihood,
)

PAPER = Buying(0.243, 4.414, 0.793, 2.426)
"""Of 2357 customers of CDNOW over 39 weeks, in the 2005 paper."""


def customers(name: str) -> dict[str, Any]:
    """A data set that `lifetimes` ships: its columns as arrays."""
    path = next(f for f in files("lifetimes") or () if f.name == name).locate()
    with open(str(path), encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {column: np.array([float(row[column]) for row in rows]) for column in rows[0] if column}


def test_the_fit_of_the_paper_is_reproduced() -> None:
    """r 0.243, alpha 4.414, a 0.793, b 2.426, to two decimals, and its log-likelihood of -9582.4."""
    data = customers("cdnow_customers_summary.csv")
    x, recency, age = data["frequency"], data["recency"], data["T"]
    assert 2357 == len(x)
    found = fit_buying(x, recency, age, np.ones(len(x)))
    for name in ("r", "alpha", "a", "b"):
        assert math.isclose(getattr(PAPER, name), getattr(found, name), abs_tol=0.005), (name, getattr(found, name))
    assert math.isclose(-9582.4, float(likelihood(found, x, recency, age).sum()), abs_tol=0.1)


def test_customers_who_are_alike_are_counted_together() -> None:
    """In days instead of weeks, and by groups instead of one by one, the fit is the same."""
    data = customers("cdnow_customers_summary.csv")
    one_by_one = np.stack([data["frequency"], data["recency"], data["T"]], axis=1)
    groups, weights = np.unique(one_by_one, axis=0, return_counts=True)
    found = fit_buying(groups[:, 0], groups[:, 1] * 7, groups[:, 2] * 7, weights.astype(float))
    assert math.isclose(PAPER.alpha, found.alpha / 7, abs_tol=0.005)
    assert math.isclose(PAPER.b, found.b, abs_tol=0.005)


def test_what_customers_spend_is_reproduced() -> None:
    """p 6.25, q 3.74, gamma 15.44, of the 946 who bought again."""
    data = customers("cdnow_customers_summary_with_transactions.csv")
    assert 946 == (data["x"] > 0).sum()
    found = fit_spending(data["x"], data["zbar"])
    assert math.isclose(6.25, found.p, abs_tol=0.05), found
    assert math.isclose(3.74, found.q, abs_tol=0.02), found
    assert math.isclose(15.44, found.gamma, abs_tol=0.1), found
    everybody = float(expected_spending(found, np.array([0.0]), np.array([0.0]))[0])
    assert math.isclose(35.2, everybody, abs_tol=0.3)


def test_one_customer_of_the_paper() -> None:
    """Of whom it says: x = 2, t_x = 30.43, T = 38.86, and 1.226 orders within the next 39 weeks."""
    one = [np.array([v]) for v in (2.0, 30.43, 38.86)]
    assert math.isclose(1.226, float(expected_orders(PAPER, *one, 39.0)[0]), abs_tol=0.001)


def integrated(model: Buying, x: float, recency: float, age: float, ahead: float) -> tuple[float, float]:
    """P(alive) and E[Y] without their closed forms: the mean over many rates and chances to stop."""
    dice = np.random.default_rng(1)
    rate = dice.gamma(model.r, 1 / model.alpha, 400_000)
    stop = dice.beta(model.a, model.b, 400_000)
    bought = rate**x * (1 - stop) ** x
    going = bought * np.exp(-rate * age)
    stopped = rate**x * stop * (1 - stop) ** (x - 1) * np.exp(-rate * recency) if x > 0 else 0.0 * rate
    living = float(going.sum() / (going + stopped).sum())
    then = (1 - np.exp(-rate * stop * ahead)) / stop
    return living, float((going * then).sum() / (going + stopped).sum())


@pytest.mark.parametrize(("x", "recency", "age"), [(0, 0, 20), (1, 4, 30), (6, 25, 30), (3, 30, 30)])
def test_the_closed_forms_are_the_means(x: float, recency: float, age: float) -> None:
    """The chance to buy again and the orders to come, against customers who are drawn by lot from the model."""
    given_one = [np.array([float(v)]) for v in (x, recency, age)]
    living, orders = integrated(PAPER, x, recency, age, 12)
    assert math.isclose(living, float(alive(PAPER, *given_one)[0]), abs_tol=0.02)
    assert math.isclose(orders, float(expected_orders(PAPER, *given_one, 12.0)[0]), rel_tol=0.05)


POSITIVE = st.floats(0.05, 20)


@given(
    st.builds(Buying, POSITIVE, POSITIVE, POSITIVE | st.just(1.0), POSITIVE),
    st.integers(0, 800),
    st.floats(0, 500),
    st.floats(0, 500),
    st.floats(0.1, 200),
)
@example(Buying(0.5, 1.0, 0.5, 0.5), 99, 0.0, 0.0, 5.0)  # SciPy says inf
@example(Buying(1.0, 1.0, 0.5, 0.5), 0, 0.0, 0.0, 1.0)  # the series has no value there
def test_predictions_are_numbers_that_make_sense(model: Buying, x: int, one: float, other: float, ahead: float) -> None:
    """Whatever the parameters and orders: a chance between 0 and 1, orders that are finite and not less the longer the time."""
    recency, age = sorted((one, other)) if x else (0.0, other)
    each = [np.array([float(v)]) for v in (x, recency, age)]
    assert 0 <= float(alive(model, *each)[0]) <= 1
    sooner, later = (float(expected_orders(model, *each, t)[0]) for t in (ahead, 2 * ahead))
    assert math.isfinite(later)
    assert 0 <= sooner <= later * (1 + 1e-6) + 1e-9


@given(st.builds(Spending, POSITIVE, st.floats(1.1, 20), POSITIVE), st.integers(0, 500), st.floats(-10, 1e6))
def test_what_an_order_is_worth_lies_between_everybody_and_oneself(model: Spending, x: int, mean: float) -> None:
    """The more orders, the nearer to the customer's own mean."""
    everybody = model.p * model.gamma / (model.q - 1)
    found = float(expected_spending(model, np.array([float(x)]), np.array([mean]))[0])
    low, high = sorted((everybody, mean)) if x and mean > 0 else (everybody, everybody)
    assert low * (1 - 1e-9) <= found <= high * (1 + 1e-9)


def test_too_few_orders_say_nothing() -> None:
    """And it is said why."""
    few = np.array([1.0] * 5)
    with pytest.raises(CantFit, match="fewer than 30"):
        fit_buying(few, few, few, few)
    with pytest.raises(CantFit, match="fewer than 30"):
        fit_spending(few, few)
    same = np.ones(100)
    with pytest.raises(CantFit, match="too alike"):
        fit_spending(same, same * 10)
