"""New users against the items as they stand: their ridge regressions, and what each of their ratings adds to a prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..data.arguments import real_number
from ..data.interactions import Interactions
from ..data.ratings import Ratings, positives, require_ratings
from .penalty import Penalty


class System(NamedTuple):
    """The ridge regression of one user: `matrix` · x = `features`ᵀ `targets`."""

    user: int
    items: np.ndarray  # what the user rated or chose
    features: np.ndarray  # (n, unknowns): rows [q_i | 1], or q_i
    targets: np.ndarray  # (n,): r - μ - b_i, or the confidences
    matrix: np.ndarray  # (unknowns, unknowns)
    penalties: np.ndarray  # (unknowns,): λ n^α of each

    def solve(self, right: np.ndarray, penalty: Penalty) -> np.ndarray:
        """matrix⁻¹ · right; a ValueError where rounding or a penalty of zero leaves no unique solution."""
        if not self.penalties.all() and np.linalg.matrix_rank(self.matrix, hermitian=True) < len(self.matrix):
            raise ValueError(
                f"user {self.user} has {len(self.items)} ratings and no unique solution with {penalty}: take a larger reg"
            )
        try:
            return np.linalg.solve(self.matrix, right)
        except np.linalg.LinAlgError as error:
            raise ValueError(f"{penalty} is lost in rounding for user {self.user}: take more") from error


def checked(factors: Any, part: Any, alpha: float | None, at_least: float | None) -> Interactions:
    """Ratings, or with `alpha` what of them was chosen; a ValueError for other items than those of the factors."""
    n_items = factors.n_items
    if alpha is not None:
        real_number("alpha", alpha, above=0, at_most=1e9)
        part = positives("ratings", part, at_least)
        if factors.mean or factors.item_biases.any():
            raise ValueError(
                f"alpha={alpha} belongs to the factors of ials; {factors} have a mean or biases, so they rate"
            )
    else:
        require_ratings("ratings", part)
        if at_least is not None:
            raise ValueError(f"at_least={at_least}: what was chosen is asked for with alpha=, that of ials")
    if part.n_items != n_items:
        raise ValueError(f"{part} has {part.n_items} items, these factors {n_items}: number the items as they are here")
    return part


def systems(
    factors: Any, part: Interactions, penalty: Penalty, biased: bool, alpha: float | None, users: np.ndarray
) -> Iterator[System]:
    """The systems of those `users` who have ratings in `part`, in float64."""
    features = factors.item_factors.astype(np.float64)
    weights = np.full(factors.n_factors + (biased and alpha is None), penalty.reg)
    everywhere = 0.0 if alpha is None else alpha * (features.T @ features)
    if biased and alpha is None:
        features = np.hstack([features, np.ones((factors.n_items, 1))])
        weights[-1] = penalty.biases
    penalty.per_rating(part.user_counts)  # refuses what is beyond float64
    if isinstance(part, Ratings):
        confidences, targets = (
            np.ones(len(part)),
            part.values.astype(np.float64) - factors.mean - factors.item_biases[part.items],
        )
    else:
        confidences = np.ones(len(part)) if part.weights is None else part.weights.astype(np.float64)
        targets = confidences
    several = len(users) > 1
    by_user = np.argsort(part.users, kind="stable") if several else np.zeros(0, np.int64)
    ends = np.cumsum(part.user_counts)
    for user in users:
        mine = (
            by_user[ends[user] - part.user_counts[user] : ends[user]] if several else np.flatnonzero(part.users == user)
        )
        if len(mine):
            own = features[part.items[mine]]
            n = len(mine) + (0 if alpha is None else alpha * factors.n_items)
            penalties = weights * n**penalty.power
            matrix = (own.T * confidences[mine]) @ own + np.diag(penalties) + everywhere
            yield System(int(user), part.items[mine], own, targets[mine], matrix, penalties)
