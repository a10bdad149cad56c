"""What predicts, and how far it is off: errors pooled over all ratings, and with the penalty what training makes small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..data.arguments import real_number, require_one_each, yes_or_no
from ..data.context import context_for
from ..data.interactions import NUMBER_ALIKE, Interactions, require_interactions
from ..data.ratings import Ratings, require_ratings
from .factors import Factors
from .penalty import Penalty
from .ranking import rank, ranking_score

# columns of what `choose` and `cross_validate` report
TAKEN = {"algorithm", "fold", "seed", "rmse", "mae", "train_rmse", "train_mae", "fit_seconds", "test_seconds", "sd",
         "seed_sd", "seconds"}  # fmt: skip


@runtime_checkable
class Predictor(Protocol):
    """Anything with ``predict(users, items)``: `Factors`, a model of ours, an algorithm of Surprise, a class of yours.

    `evaluate`, `rank`, `choose` and `cross_validate` ask for no more. To a `predict` that takes `timestamps`,
    `user_features` or `item_features` by these names `evaluate` hands those of the ratings; `rank`, which asks for all
    items, one moment. Two methods are used where they are there:
    ``cold(users, items)``, which pairs have a user or item without training ratings, and ``predict_all(users)``, the
    scores of all items for some users, shape (n, n_items). What is linear has more: `Factors`.
    """

    def predict(self, users: Any, items: Any, /) -> np.ndarray:
        """One finite number, in stars, for each pair (users[j], items[j])."""
        ...


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


@dataclass(frozen=True)
class Score:
    """How well a predictor does, as one number: what `choose` chooses by and `cross_validate` measures.

    Parameters
    ----------
    name : str
        As columns are called.
    measure : function (predictor, test, train) -> float
        `train` is what was trained on: a list of recommendations leaves it out. It gets predictions as they are, not
        limited to the scale.
    higher_is_better : bool
    needs_values : bool
        Whether `Interactions`, which have no values, are refused.

    Notes
    -----
    "ndcg@20" as a score takes every test rating for relevant. From four stars on:
    ``Score("ndcg@20, 4 stars", lambda p, test, train: mf.rank(p, test, exclude=train, at_least=4)["ndcg@20"], True)``.
    """

    name: str
    measure: Callable[[Predictor, Any, Any], float]
    higher_is_better: bool = False
    needs_values: bool = False

    @property
    def worst(self) -> float:
        """What a training that diverged has."""
        return float("-inf" if self.higher_is_better else "inf")

    @classmethod
    def of(cls, score: str | Score, clip: bool) -> Score:
        """ "rmse" or "mae", of predictions that are limited to the scale or not, one of `rank`; a score as it is."""
        clip = yes_or_no("clip", clip)
        if isinstance(score, Score):
            if score.name in TAKEN:
                raise ValueError(f"a score called {score.name!r} would hide a column of results: give it another name")
            return score
        name, ranked = score, ranking_score(score)
        if ranked is not None:
            return cls(name, lambda predictor, test, train: rank(predictor, test, exclude=train, at=ranked)[name], True)
        if not isinstance(score, str) or score not in ("rmse", "mae"):
            raise ValueError(
                f"score={score!r}: choose 'rmse', 'mae', 'auc', 'mrr', 'ndcg@20', 'recall@10', 'precision@5' … "
                "or give a Score(name, measure)"
            )
        measure = lambda predictor, test, train: getattr(evaluate(predictor, test, clip), name)  # noqa: E731
        return cls(name, measure, needs_values=True)


def evaluate(predictor: Predictor, ratings: Ratings, clip: bool = False) -> Scores:
    """Score anything with ``predict(users, items)`` against known ratings.

    Errors are pooled: RMSE = √(Σe² / n) over all ratings, in float64. The mean of the RMSEs of
    batches is another, smaller number.

    Parameters
    ----------
    predictor : Predictor
        `Factors`, a model, or any object whose predict(users, items) returns n numbers.
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
        If the predictor's users and items are not those of `ratings`, or its predictions have the wrong shape or are
        not finite.
    """
    require_ratings("ratings", ratings)
    clip = yes_or_no("clip", clip)
    if not isinstance(predictor, Predictor):
        raise ValueError(
            f"predictor is {type(predictor).__name__}: give Factors, a model, or what has predict(users, items)"
        )
    sizes = getattr(predictor, "n_users", None), getattr(predictor, "n_items", None)
    if None not in sizes and sizes != (ratings.n_users, ratings.n_items):
        raise ValueError(
            f"predictor knows {sizes[0]} users × {sizes[1]} items, ratings has {ratings.n_users} × {ratings.n_items}: "
            f"their numbers mean others. Split one Ratings, or number the test part by {NUMBER_ALIKE}"
        )
    predicted = predictor.predict(ratings.users, ratings.items, **context_for(predictor, ratings))
    predicted = np.asarray(predicted.detach().cpu() if hasattr(predicted, "detach") else predicted)
    require_one_each("predict", predicted.shape, len(ratings))
    if predicted.dtype.kind not in "iuf":
        raise ValueError(f"predict returned {predicted.dtype}: it must return a real number for each pair")
    if not np.isfinite(predicted).all():
        raise ValueError(f"{int((~np.isfinite(predicted)).sum())} of {len(ratings)} predictions are not finite")
    if clip:
        predicted = np.clip(predicted, ratings.scale.low, ratings.scale.high)
    errors = predicted.astype(np.float64) - ratings.values
    cold = int(predictor.cold(ratings.users, ratings.items).sum()) if hasattr(predictor, "cold") else None
    return Scores(float(np.sqrt(np.mean(errors**2))), float(np.mean(np.abs(errors))), len(ratings), cold)


def rmse(predictor: Predictor, ratings: Ratings, clip: bool = False) -> float:
    """Root mean squared error in stars: `evaluate(…).rmse`."""
    return evaluate(predictor, ratings, clip).rmse


def mae(predictor: Predictor, ratings: Ratings, clip: bool = False) -> float:
    """Mean absolute error in stars: `evaluate(…).mae`."""
    return evaluate(predictor, ratings, clip).mae


def objective(factors: Factors, train: Any, reg: float | Penalty, alpha: float | None = None) -> float:
    """Σ (r_ui - r̂_ui)² over the training ratings plus the penalty: what training makes small, in stars².

    Parameters
    ----------
    factors : Factors
    train : Ratings, or with `alpha` Interactions
    reg : float or Penalty
        That which the factors were trained with; 0 for none.
    alpha : float, optional
        That of `ials`, whose objective it is then, over all cells; in float64.

    Raises
    ------
    ValueError
        For what are no factors of these ratings, and for those trained with features, whose penalty is not on the
        rows themselves: the log of `als` has their objective.
    """
    if alpha is None:
        penalty = Penalty.of(reg).value(factors, train)  # first: it refuses what are no factors or no ratings
        errors = train.values - factors.predict(train.users, train.items).astype(np.float64)
        return float(errors @ errors) + penalty
    require_interactions("train", train)
    total, penalty = squares_of_all_cells(factors, train, real_number("alpha", alpha, above=0)), Penalty.of(reg)
    for side, others in (("user", train.n_items), ("item", train.n_users)):
        weights = (getattr(train, f"{side}_counts") + alpha * others) ** penalty.power
        total += penalty.reg * float(
            weights @ np.square(getattr(factors, f"{side}_factors"), dtype=np.float64).sum(axis=1)
        )
    return total


def squares_of_all_cells(factors: Factors, part: Interactions, alpha: float) -> float:
    """Σ c (ŷ - 1)² over the cells of `part` plus α Σ ŷ² over all: the last is the sum of PᵀP ∘ QᵀQ."""
    users, items = (table.astype(np.float64) for table in (factors.user_factors, factors.item_factors))
    errors = 1 - factors.predict(part.users, part.items).astype(np.float64)
    weights = 1.0 if part.weights is None else part.weights
    return float((weights * errors**2).sum() + alpha * ((users.T @ users) * (items.T @ items)).sum())
