"""How far predictions are off: errors pooled over all ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.arguments import require_one_each
from ..data.ratings import Ratings


@dataclass(frozen=True)
class Scores:
    """Errors of a predictor over `n` ratings, in stars; `n_cold` is None where it cannot be known."""

    rmse: float
    mae: float
    n: int
    n_cold: int | None

    def __str__(self) -> str:
        cold = "" if self.n_cold is None else f", {self.n_cold:,} cold"
        return f"RMSE {self.rmse:.3f}, MAE {self.mae:.3f} ({self.n:,} ratings{cold})"


def evaluate(predictor: Any, ratings: Ratings, clip: bool = False) -> Scores:
    """Score anything with ``predict(users, items)`` against known ratings.

    Errors are pooled: RMSE = √(Σe² / n) over all ratings, in float64. The mean of the RMSEs of
    batches is another, smaller number.

    Parameters
    ----------
    predictor : Factors, a model, or any object whose predict(users, items) returns n numbers
    ratings : Ratings
    clip : bool
        Limit predictions to the rating scale first.

    Returns
    -------
    Scores
        With rmse, mae, n, and n_cold: how many pairs have a user or item of which nothing was learned.

    Raises
    ------
    ValueError
        If the predictions have the wrong shape or are not finite.
    """
    predicted = np.asarray(predictor.predict(ratings.users, ratings.items))
    require_one_each("predict", predicted.shape, len(ratings))
    if not np.isfinite(predicted).all():
        raise ValueError(f"{int((~np.isfinite(predicted)).sum())} of {len(ratings)} predictions are not finite")
    if clip:
        predicted = np.clip(predicted, ratings.scale.low, ratings.scale.high)
    errors = predicted.astype(np.float64) - ratings.values
    cold = int(predictor.cold(ratings.users, ratings.items).sum()) if hasattr(predictor, "cold") else None
    return Scores(float(np.sqrt(np.mean(errors**2))), float(np.mean(np.abs(errors))), len(ratings), cold)


def rmse(predictor: Any, ratings: Ratings, clip: bool = False) -> float:
    """Root mean squared error in stars: `evaluate(…).rmse`."""
    return evaluate(predictor, ratings, clip).rmse


def mae(predictor: Any, ratings: Ratings, clip: bool = False) -> float:
    """Mean absolute error in stars: `evaluate(…).mae`."""
    return evaluate(predictor, ratings, clip).mae
