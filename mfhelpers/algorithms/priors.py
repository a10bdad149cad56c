"""What draws the rows of one side somewhere else than to zero: a ridge regression of these rows on what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch

from ..data.arguments import real_number
from ..data.encoding import Encoding, encoded_rows
from ..data.ratings import Ratings
from .sparse import csr_tensor, row_ratio


class Prior:
    """The rows X W that a penalty draws the rows of one side to; W costs `reg` ‖W‖².

    Parameters
    ----------
    pattern, flipped : (n, c) and (c, n) CSR tensors
        X and Xᵀ, but for `share`.
    share : (n, 1) tensor
        What the rows of `pattern` are multiplied by.
    weight : (n, 1) tensor
        The penalty of each row; 0 for those without ratings.
    unrated : (n, 1) tensor
        Which rows have no ratings: these follow X W and do not pull.
    reg : float
    drawn : (n, unknowns) tensor
        X W, moved in place; the rest stays 0.
    steps : int
        Of conjugate gradients for each `solve`.
    columns : int, optional
        How many of the unknowns it predicts, the first ones; default all.
    ratio : float, or (columns,) tensor
        `weight` over the penalty of each column: where that is another, `reg` grows instead.
    """

    def __init__(
        self, pattern: torch.Tensor, flipped: torch.Tensor, share: torch.Tensor, weight: torch.Tensor,
        unrated: torch.Tensor, reg: float, drawn: torch.Tensor, steps: int, columns: int | None = None, ratio: Any = 1.0,
    ) -> None:  # fmt: skip
        self.pattern, self.flipped, self.share, self.weight = pattern, flipped, share, weight
        self.unrated, self.drawn, self.steps = unrated, drawn, steps
        self.columns = drawn.shape[1] if columns is None else columns
        self.reg, self.regs = reg, reg * ratio
        # Jacobi's preconditioner, the diagonal of Xᵀ N X + reg: without it, a small penalty takes many more sweeps
        shape = flipped.shape[0], flipped.shape[1]
        squares = csr_tensor(flipped.crow_indices(), flipped.col_indices(), flipped.values().square(), shape)
        self.scale = 1 / (squares @ (share.square() * weight) + self.regs)
        self.table = torch.zeros(flipped.shape[0], self.columns, dtype=share.dtype, device=share.device)

    def solve(self, rows: torch.Tensor) -> None:
        """Ridge regression of the rows on X, from where W stands: (Xᵀ N X + reg) W = Xᵀ N rows."""
        drawn = self.drawn[:, : self.columns]
        weight = self.share * self.weight
        residual = self.flipped @ (weight * (rows[:, : self.columns] - drawn)) - self.regs * self.table
        direction = towards = residual * self.scale
        height = (residual * towards).sum(dim=0)
        for _ in range(self.steps):
            moved = self.share * (self.pattern @ direction)
            pushed = self.flipped @ (weight * moved) + self.regs * direction
            length = row_ratio(height, (direction * pushed).sum(dim=0))
            self.table.addcmul_(direction, length)
            drawn.addcmul_(moved, length)
            residual = residual - pushed * length
            towards = residual * self.scale
            before, height = height, (residual * towards).sum(dim=0)
            direction = towards + direction * row_ratio(height, before)

    def refresh(self) -> None:
        """X W from W, where a `solve` was broken off between the two."""
        self.drawn[:, : self.columns] = self.share * (self.pattern @ self.table)

    def filled(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows, with X W where there are no ratings."""
        return torch.where(self.unrated, self.drawn, rows)

    def cost(self) -> float:
        """reg ‖W‖²."""
        return self.reg * self.table.square().sum(dtype=torch.float64).item()


@dataclass(frozen=True)
class FeatureRows:
    """Features of one side or of both as numbers, and what W costs."""

    tables: dict[str, scipy.sparse.csr_array]  # by side
    encodings: dict[str, Encoding]
    reg: float

    @classmethod
    def of(cls, train: Ratings, user: Any, item: Any, reg: Any, settings: Any) -> FeatureRows | None:
        """The features that `als` was given, read and checked; None where it was given none."""
        if user is None and item is None:
            real_number("reg_features", reg, above=0)
            return None
        reg = penalty_of("reg_features", reg, settings.dtype)
        penalty = settings.penalty
        if not (penalty.reg or not settings.n_factors) or not (penalty.biases or not settings.biased):
            raise ValueError(f"{penalty} draws rows nowhere, so their features have no say: take a reg above 0")
        tables, encodings = {}, {}
        for side, given, n in (("user", user, train.n_users), ("item", item, train.n_items)):
            if given is not None:
                encodings[side], tables[side] = encoded_rows(f"{side}_features", given, n)
        return cls(tables, encodings, reg)


def penalty_of(name: str, reg: Any, dtype: str) -> float:
    """λ of a W, finite and above 0 in the precision of the training; a ValueError if not."""
    reg, limits = real_number(name, reg, above=0), np.finfo(dtype)
    if not float(limits.tiny) <= reg < float(limits.max):
        raise ValueError(f"{name}={reg!r}: it must be above {limits.tiny:.1g} and below {limits.max:.1g} in {dtype}")
    return reg


def rows_of(matrix: Any, **make: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """A sparse matrix of SciPy and its transpose as CSR tensors."""
    both = []
    for part in (matrix, matrix.T.tocsr()):
        starts, columns = (torch.from_numpy(a.astype(np.int32)).to(make["device"]) for a in (part.indptr, part.indices))
        both.append(csr_tensor(starts, columns, torch.tensor(part.data, **make), part.shape))
    return both[0], both[1]
