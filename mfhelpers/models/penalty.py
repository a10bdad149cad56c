"""What large numbers cost: one penalty, in which the λ of every library can be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..data.ratings import Ratings

REG, EXPONENT = 1.4, 0.5  # of least squares: chosen on inner validation parts of ML-100K and ml-latest-small


class Tables(Protocol):
    """What a penalty is counted on; `Factors` are such."""

    user_factors: np.ndarray
    item_factors: np.ndarray
    user_biases: np.ndarray
    item_biases: np.ndarray


@dataclass(frozen=True)
class Penalty:
    """λ Σ_u n_u^α (‖p_u‖² + b_u²) + λ Σ_i n_i^α (‖q_i‖² + b_i²), to be added to the sum of squared errors.

    Parameters
    ----------
    reg : float
        λ, from 0.
    power : float
        α. 1 charges each row once for every rating it takes part in, which is what SGD does that
        shrinks the rows it looks up (Surprise), and ALS "with weighted λ" (Spark). 0 charges each row
        once (ridge regression, most ALS). In between, rows with many ratings pay more, but not in
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
    biases: float | None = None

    def __post_init__(self) -> None:
        if self.biases is None:
            object.__setattr__(self, "biases", self.reg)
        for name in ("reg", "power", "biases"):
            value = getattr(self, name)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value!r}: a penalty needs finite numbers from 0")
            object.__setattr__(self, name, float(value))

    @classmethod
    def of(cls, reg: float | Penalty) -> Penalty:
        """A number as λ with α = 1; a penalty as it is."""
        return reg if isinstance(reg, Penalty) else cls(reg)

    @classmethod
    def of_parts(cls, reg: float | Penalty | None, exponent: float | None, biases: float | None) -> Penalty:
        """λ, α and the biases' λ as least squares takes them: None for the defaults, or a penalty that says all."""
        if isinstance(reg, Penalty):
            if exponent is not None or biases is not None:
                raise ValueError(f"reg={reg} says exponent and biases itself: leave out reg_exponent and reg_biases")
            return reg
        for name, value in (("reg", reg), ("reg_exponent", exponent), ("reg_biases", biases)):
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value!r}: a penalty needs finite numbers from 0")
        return cls(REG if reg is None else reg, EXPONENT if exponent is None else exponent, biases)

    @classmethod
    def from_weight_decay(cls, weight_decay: float, n_ratings: int) -> Penalty:
        """The penalty that ``torch.optim.SGD(weight_decay=…)`` adds to a *mean* squared error.

        The decay adds wd · p to the gradient of a mean over N ratings; times N that is the gradient of
        a sum of squares with λ = N · wd / 2, α = 0. Exact for full batches and for rows with ratings; the
        decay shrinks rows without any, too.
        """
        if not 0 <= weight_decay < float("inf"):
            raise ValueError(f"weight_decay={weight_decay}: a decay is finite and not negative")
        return cls(n_ratings * weight_decay / 2, power=0.0)

    def per_rating(self, counts: np.ndarray) -> np.ndarray:
        """n^(α-1) for rows with n training ratings, 0 for n = 0: a rating's share of the price, without λ."""
        rated = np.maximum(counts, 1).astype(np.float64) ** (self.power - 1)
        return np.where(counts > 0, rated, 0.0)

    def settings(self) -> dict[str, float]:
        """The three numbers, as a log's table of hyper-parameters names them."""
        return {"reg": self.reg, "reg_exponent": self.power, "reg_biases": self.biases}

    def cost(self, factors: Tables, train: Ratings) -> float:
        """The whole penalty of these factors, in stars², in float64."""
        total = 0.0
        for side, counts in (("user", train.user_counts), ("item", train.item_counts)):
            weight = self.per_rating(counts) * counts
            rows = np.square(getattr(factors, f"{side}_factors"), dtype=np.float64).sum(axis=1)
            biases = np.square(getattr(factors, f"{side}_biases"), dtype=np.float64)
            total += float(weight @ (self.reg * rows + self.biases * biases))
        return total
