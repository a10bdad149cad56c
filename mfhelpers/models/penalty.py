"""Regularisation: one penalty, in which the λ of every library can be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..data.arguments import real_number, whole_number
from ..data.ratings import Ratings, require_ratings


@dataclass(frozen=True)
class Penalty:
    """λ Σ_u n_u^α (‖p_u‖² + b_u²) + λ Σ_i n_i^α (‖q_i‖² + b_i²), to be added to the sum of squared errors.

    Parameters
    ----------
    reg : float
        λ, from 0.
    power : float
        α. 1 counts each row once for every rating it takes part in, which is what SGD does that
        shrinks the rows it looks up (Surprise), and ALS "with weighted λ" (Spark). 0 counts each row
        once (ridge regression, most ALS). In between, rows with many ratings count more, but not in
        proportion: 0.5 is MyMediaLite's frequency regularisation.
    biases : float, optional
        λ of the biases; default `reg`.

    Raises
    ------
    ValueError
        For a number that is negative or not finite.

    Notes
    -----
    n_u and n_i count training ratings. The factor 2 of the gradient belongs to this objective:
    Surprise's update, without it, minimises the same objective at half the learning rate.
    """

    reg: float
    power: float = 1.0
    biases: float = cast(float, None)  # reg, once it is made

    def __post_init__(self) -> None:
        if self.biases is None:
            object.__setattr__(self, "biases", self.reg)
        for name in ("reg", "power", "biases"):
            object.__setattr__(self, name, real_number(name, getattr(self, name), at_least=0))

    @classmethod
    def of(cls, reg: float | Penalty) -> Penalty:
        """A number as λ with α = 1; a penalty as it is."""
        return reg if isinstance(reg, Penalty) else cls(reg)

    @classmethod
    def from_weight_decay(cls, weight_decay: float, n_ratings: int) -> Penalty:
        """The penalty that ``torch.optim.SGD(weight_decay=…)`` adds to a *mean* squared error.

        The decay adds wd · p to the gradient of a mean over N ratings; times N that is the gradient of
        a sum of squares with λ = N · wd / 2, α = 0. Exact for full batches and for rows with ratings; the
        decay shrinks rows without any, too.
        """
        return cls(
            whole_number("n_ratings", n_ratings, 1) * real_number("weight_decay", weight_decay, at_least=0) / 2,
            power=0.0,
        )

    def per_rating(self, counts: np.ndarray) -> np.ndarray:
        """n^(α-1) for rows with n training ratings, 0 for n = 0: a rating's share of the penalty, without λ."""
        with np.errstate(over="ignore"):
            rated = np.maximum(counts, 1).astype(np.float64) ** (self.power - 1)
        if not np.isfinite(rated * max(self.reg, self.biases, 1) * np.maximum(counts, 1)).all():
            raise ValueError(f"{self} is beyond float64 for a row of {counts.max():,} ratings: take less")
        return np.where(counts > 0, rated, 0.0)

    def largest_share(self, train: Ratings) -> float:
        """The most that one rating adds to λ of a row."""
        counts = train.user_counts, train.item_counts
        return max(self.reg, self.biases) * float(max(self.per_rating(each).max() for each in counts))

    def settings(self) -> dict[str, float]:
        """The three numbers, as a log's table of hyper-parameters names them."""
        return {"reg": self.reg, "reg power": self.power, "reg biases": self.biases}

    def value(self, factors: Any, train: Ratings) -> float:
        """The whole penalty of these `Factors`, in stars², in float64."""
        require_ratings("train", train)
        sizes = getattr(factors, "n_users", None), getattr(factors, "n_items", None)
        if sizes != (train.n_users, train.n_items) or not isinstance(getattr(factors, "user_biases", None), np.ndarray):
            raise ValueError(
                f"factors is {type(factors).__name__} of {sizes}: give Factors of the size of {train}; a model has them as to_factors()"
            )
        if any(getattr(factors, f"{side}_prior", None) is not None for side in ("user", "item")):
            raise ValueError(
                "these factors were trained with features: the penalty is on what these do not predict, and als(log_dir=…) logs it"
            )
        total = 0.0
        for side, counts in (("user", train.user_counts), ("item", train.item_counts)):
            weight = self.per_rating(counts) * counts
            rows = np.square(getattr(factors, f"{side}_factors"), dtype=np.float64).sum(axis=1)
            biases = np.square(getattr(factors, f"{side}_biases"), dtype=np.float64)
            total += float(weight @ (self.reg * rows + self.biases * biases))
        return total
