"""Whether somebody who has bought will buy again, how often, and for how much: two models from the literature, fitted with SciPy.

BG/NBD: P. Fader, B. Hardie, K. L. Lee, "'Counting Your Customers' the Easy Way: An Alternative to the Pareto/NBD Model",
Marketing Science 24 (2005); below (FHL). The probability of still buying is from their note "Computing P(alive) Using the BG/NBD
Model" (2008). Gamma-gamma: P. Fader, B. Hardie, "The Gamma-Gamma Model of Monetary Value" (2013); below (FH). Pure: arrays in,
arrays out. NumPy and SciPy (the extra `predict`) are imported when they are first needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

LEAST = 30
"""Customers who have bought more than once, without whom nothing can be said."""

FARTHEST = 12.0
"""How far from 1 a parameter may lie, as a natural logarithm: data that lead further say nothing of it."""

NEAR_ONE = 1e-6
"""(FHL) divides by a - 1, and the series in it has no value at a + b + x = 1: so near to these another value is taken."""


class CantFit(Exception):
    """These orders don't say what the parameters are; the message says why."""


@dataclass(frozen=True, slots=True)
class Buying:
    """Parameters of the BG/NBD model: purchases come as a Poisson process whose rate is gamma distributed (`r`, `alpha`, per unit
    of time) among customers; after each one the customer may stop for good, with a probability that is beta distributed (`a`,
    `b`)."""

    r: float
    alpha: float
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Spending:
    """Parameters of the gamma-gamma model: `p`, `q`, and `gamma` in the currency's unit."""

    p: float
    q: float
    gamma: float


def fit_buying(x: Floats, recency: Floats, age: Floats, weights: Floats) -> Buying:
    """The parameters that make these customers' purchases likeliest. `x`: purchases after the first; `recency`: when the last
    one was, `age`: how long ago the first one was, both since the first and in one unit of time; `weights`: how many customers
    are alike. Raises CantFit."""
    import numpy as np

    if float(weights[x > 0].sum()) < LEAST:
        raise CantFit(f"fewer than {LEAST} customers have bought more than once")
    unit = float(np.average(age, weights=weights)) or 1.0  # so that all parameters are of the order of 1

    def surprise(logs: Floats) -> float:
        r, alpha, a, b = np.exp(logs)
        return -float(np.average(likelihood(Buying(r, alpha, a, b), x, recency / unit, age / unit), weights=weights))

    r, alpha, a, b = _least(surprise, [0.0, 0.0, 0.0, 0.0])
    return Buying(r, alpha * unit, a, b)


def likelihood(model: Buying, x: Floats, recency: Floats, age: Floats) -> Floats:
    """The logarithm of each customer's likelihood: (FHL) equation 6, taken apart into its factors A1 to A4 so that nothing
    overflows."""
    import numpy as np
    from scipy.special import betaln, gammaln

    r, alpha, a, b = model.r, model.alpha, model.a, model.b
    first = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    second = betaln(a, b + x) - betaln(a, b)
    going = second - (r + x) * np.log(alpha + age)
    stopped = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + recency)
    both: Floats = first + np.where(x > 0, np.logaddexp(going, stopped), going)
    return both


def alive(model: Buying, x: Floats, recency: Floats, age: Floats) -> Floats:
    """The probability that each customer will ever buy again; 1 for who bought once, who can't have stopped in this model."""
    import numpy as np
    from scipy.special import expit

    after = np.maximum(x, 1) + model.b - 1
    stopped = np.log(model.a / after) + (model.r + x) * np.log((model.alpha + age) / (model.alpha + recency))
    found: Floats = np.where(x > 0, expit(-stopped), 1.0)
    return found


def expected_orders(model: Buying, x: Floats, recency: Floats, age: Floats, ahead: float) -> Floats:
    """How often each customer buys within the next `ahead` units of time, on average: (FHL) equation 10."""
    import numpy as np
    from scipy.special import hyp2f1

    r, alpha, b = model.r, model.alpha, model.b
    a = model.a if abs(model.a - 1) > NEAR_ONE else 1 + NEAR_ONE
    total = a + b + x - 1
    total = np.where(np.abs(total) > NEAR_ONE, total, NEAR_ONE)  # the series has no value there, and the product has
    # Euler's transformation of the series in (10): its first two arguments don't grow with x, so that nothing overflows.
    first, second, z = a + b - 1 - r, a - 1, ahead / (alpha + age + ahead)
    series = hyp2f1(first, second, total, z)
    if not np.all(np.isfinite(series)):  # SciPy says so for some whole numbers near z = 1, where there is a value
        series = np.where(np.isfinite(series), series, hyp2f1(first, second, total + NEAR_ONE, z))
    shrunk = ((alpha + age) / (alpha + age + ahead)) ** (a - 1)
    still = total / (a - 1) * (1 - shrunk * series) * alive(model, x, recency, age)
    found: Floats = np.maximum(still, 0.0)
    return found


def fit_spending(x: Floats, mean: Floats) -> Spending:
    """The parameters that make these customers' average orders likeliest: (FH) equation 1a. `x`: how many orders the `mean` is
    of. Orders must be worth something; the mean over everybody must exist (q > 1). Raises CantFit."""
    import numpy as np
    from scipy.special import gammaln

    keep = (x > 0) & (mean > 0)
    x, mean = x[keep], mean[keep]
    if len(x) < LEAST:
        raise CantFit(f"fewer than {LEAST} customers have bought more than once for more than nothing")
    unit = float(mean.mean())
    z = mean / unit

    def surprise(logs: Floats) -> float:
        p, more, gamma = np.exp(logs)
        q = 1 + more
        each = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(gamma)
        each = each + (p * x - 1) * np.log(z) + p * x * np.log(x) - (p * x + q) * np.log(gamma + x * z)
        return -float(each.mean())

    p, more, gamma = _least(surprise, [1.0, 1.0, 1.0])
    return Spending(p, 1 + more, gamma * unit)


def expected_spending(model: Spending, x: Floats, mean: Floats) -> Floats:
    """What an order of each customer is worth on average: (FH) equation 5, between the mean of everybody and their own."""
    import numpy as np

    own = (x > 0) & (mean > 0)
    orders, worth = np.where(own, x, 0.0), np.where(own, mean, 0.0)
    found: Floats = model.p * (model.gamma + orders * worth) / (model.p * orders + model.q - 1)
    return found


def _least(surprise: Any, start: list[float]) -> tuple[float, ...]:
    """Where the function of logarithms is least, not as logarithms. Raises CantFit."""
    import numpy as np
    from scipy.optimize import minimize

    bounds = [(-FARTHEST, FARTHEST)] * len(start)
    rough = minimize(surprise, np.array(start), method="Nelder-Mead", bounds=bounds, options={"maxiter": 2_000, "maxfev": 2_000})
    found = minimize(surprise, rough.x, method="L-BFGS-B", bounds=bounds)
    if not np.isfinite(found.fun):
        raise CantFit("no parameters make these orders likely")
    if np.max(np.abs(found.x)) > FARTHEST - 0.1:
        raise CantFit("the orders are too alike, or too few, to tell the parameters")
    return tuple(float(v) for v in np.exp(found.x))
