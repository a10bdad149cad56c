"""Implicit alternating least squares: every cell of the matrix counts, and one small product pays for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse
import torch

from ..data.arguments import real_number, whole_number
from ..data.interactions import Interactions
from ..data.ratings import positives
from ..models.factors import Factors, trained_by
from ..models.metrics import squares_of_all_cells
from ..models.penalty import Penalty
from .als import MAY_RISE, TYPES, Settings, Side, divergence_remedy, exact_half, row_dots, row_ratio
from .loop import DivergenceError, History, Monitor, Stepper
from .sparse import LANES, csr_tensor

# Numbers of the other side's table that a block of columns reads, 1 MiB: rows that lie in the second cache are read
# several times as fast as those of a table of 35 MB.
IN_SECOND_CACHE = 1 << 18


def ials(
    train: Interactions,
    n_factors: int = 20,
    *,
    alpha: float = 0.2,
    reg: float | Penalty = 0.02,
    at_least: float | None = None,
    sweeps: int = 16,
    solver: str = "auto",
    cg_steps: int = 3,
    start: Factors | None = None,
    init_std: float = 0.1,
    seed: int = 0,
    dtype: str = "float32",
    device: str | torch.device = "auto",
    threads: int | None = None,
    valid: Interactions | None = None,
    patience: int | None = None,
    watch: Callable[[Factors], Any] | None = None,
    history: History | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Factors:
    """Fit factors to who chose what, by alternating least squares over *all* cells.

    A chosen cell should score 1, and every cell, chosen or not, is drawn towards 0 with the small weight α:

        Σ_chosen c_ui (ŷ_ui - 1)² + α Σ_all ŷ_ui² + λ (Σ_u n_u'^power ‖p_u‖² + Σ_i n_i'^power ‖q_i‖²)

    with n_u' = n_u + α n_items and n_i' = n_i + α n_users: a row takes part in all cells of its own.

    Parameters
    ----------
    train : Interactions or Ratings
        Weights of interactions are the confidences c_ui, without weights all are 1.
    n_factors : int
        k, from 1; rankings gain from more of them than ratings do, 64 or 128.
    alpha : float
        α, the weight of a cell that nobody chose, above 0. Choose it together with `reg`: both say how much an absence counts.
    reg : float or Penalty
        λ. A number is λ for each cell's weight (power 1), as everywhere; there are no biases to be penalised.
    at_least : float, optional
        Of `Ratings`, those of so many stars or more are what was chosen; None takes all that is rated.
    sweeps, solver, cg_steps, start, init_std, seed, dtype
        As in `als`. A `start` has no mean and no biases, as these factors have none.
    device, threads, valid, patience, watch, history, log_dir, progress
        As in `als`. The error is the root of the mean weighted square over all cells, without the penalty; that of `valid`
        is over the cells outside `train`, with its pairs for the chosen ones. It is lowest long before the lists are best:
        to choose by those, `watch` with `rank`, or `choose` with ``score="ndcg@20"``.

    Returns
    -------
    Factors
        Scores and no ratings: 1 is what a chosen cell should have. Users and items without an interaction have zeros.

    Raises
    ------
    ValueError, OSError
        As in `als`, and for an α that is not above 0.
    DivergenceError
        As in `als`, and where a penalty of zero leaves no unique solution.

    Notes
    -----
    Row u solves (α QᵀQ + Σ c_ui q_i q_iᵀ + λ n_u'^power I) p_u = Σ c_ui q_i, both sums over what u chose: QᵀQ is one k × k matrix
    for all users, and what remains costs what the chosen cells cost. Y. Hu, Y. Koren, C. Volinsky, Collaborative
    Filtering for Implicit Feedback Datasets (ICDM 2008); the objective and the penalty as in S. Rendle, W. Krichene,
    L. Zhang, Y. Koren, Revisiting the Performance of iALS on Item Recommendation Benchmarks (RecSys 2022). Conjugate
    gradients: G. Takács, I. Pilászy, D. Tikk (RecSys 2011).
    """
    alpha = real_number("alpha", alpha, above=0, at_most=1e9)
    n_factors = whole_number("n_factors", n_factors, 1)
    settings = Settings(n_factors, Penalty.of(reg), False, sweeps, solver, cg_steps, start, init_std, seed, dtype)
    train = positives("train", train, at_least)
    valid = None if valid is None else positives("valid", valid, at_least)
    monitor = Monitor(train, valid, patience, watch, history, log_dir, progress, rated=False)
    return settings.solve("ials", monitor, device, threads, partial(_Cells, alpha), alpha=alpha)


def _counts(train: Interactions, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """n_u' and n_i': the weight of the cells that a row takes part in, each chosen one counted as 1."""
    return train.user_counts + alpha * train.n_items, train.item_counts + alpha * train.n_users


class _Cells(Stepper):
    """Both tables of factors and where they stand."""

    unit, error_name = "sweep", "RMSE of all cells"

    def __init__(
        self, alpha: float, train: Interactions, start: Factors, settings: Settings, device: torch.device
    ) -> None:
        if start.mean or start.user_biases.any() or start.item_biases.any():
            raise ValueError(f"start={start}: scores have no mean and no biases; start from ials")
        self.train, self.start, self.alpha, self.penalty = train, start, alpha, settings.penalty
        self.dtype, self.objective, self.squares = settings.dtype, np.inf, np.inf
        self.make: dict[str, Any] = {"dtype": TYPES[settings.dtype], "device": device}
        exact = settings.solver == "exact"
        tables = start.user_factors, start.item_factors
        # columns of zeros, which stay zeros, make the sparse products of conjugate gradients faster
        more = 0 if exact else -start.n_factors % LANES
        self.x, self.y = (torch.nn.functional.pad(torch.tensor(table, **self.make), (0, more)) for table in tables)
        weights = np.ones(len(train), np.float32) if train.weights is None else train.weights
        chosen: Any = scipy.sparse.csr_array(
            (weights, (train.users, train.items)), shape=(train.n_users, train.n_items)
        )
        flipped = chosen.T.tocsr()
        penalties = [self._penalty(counts) for counts in _counts(train, alpha)]
        by_side = zip((chosen, flipped), (flipped, chosen), penalties, strict=True)
        if exact:
            self.half = exact_half(start.n_factors, max(len(self.x), len(self.y)), device)
            sides = [Side(w := self._tensor(one), w, penalty.expand(-1, start.n_factors), everywhere=alpha)
                     for one, _, penalty in by_side]  # fmt: skip
            self.chosen = _Blocks([sides[0].ones], penalties[0], alpha, train.user_counts)
        else:
            self.half = _conjugate_gradients(settings.cg_steps)
            sides = [
                _Blocks(self._columns(other), penalty, alpha, np.diff(one.indptr)) for one, other, penalty in by_side
            ]
            self.chosen = sides[0]
        self.users, self.items = sides

    def _penalty(self, counts: np.ndarray) -> torch.Tensor:
        self.penalty.per_rating(np.ceil(counts).astype(np.int64))  # refuses what is beyond float64
        made = torch.tensor(self.penalty.reg * counts[:, None] ** self.penalty.power, **self.make)
        if not made.isfinite().all():
            raise ValueError(f"{self.penalty} is beyond {self.dtype} for these rows: take less")
        return made

    def _tensor(self, matrix: Any) -> torch.Tensor:
        ends, columns = (
            torch.from_numpy(a.astype(np.int32)).to(self.make["device"]) for a in (matrix.indptr, matrix.indices)
        )
        return csr_tensor(ends, columns, torch.tensor(matrix.data, **self.make), matrix.shape)

    def _columns(self, other: Any) -> list[torch.Tensor]:
        """The cells by blocks of columns, made of the rows of the `other` side; a GPU takes all at once."""
        width = other.shape[0]
        if self.make["device"].type == "cpu":
            # a block has an entry for every row, whether it has cells or not
            least = other.shape[0] * other.shape[1] // max(1, other.nnz)
            width = max(64, least, IN_SECOND_CACHE // self.x.shape[1])
        return [self._tensor(other[at : at + width].T.tocsr()) for at in range(0, other.shape[0], width)]

    def step(self) -> None:
        self.x = self.half(self.users, self.x, self.y, False)
        self.y = self.half(self.items, self.y, self.x, False)

    def check(self, done: int) -> None:
        """Refuse what no least squares can bring about: an objective that rises."""
        total, before = self.alpha * _dots(self.x.T @ self.x, self.y.T @ self.y), self.objective
        for dots, weights, _ in _at_the_chosen(self.chosen, self.x, self.y):
            total += _dots(weights, (1 - dots.values()).square_())
        self.squares = total
        for table, side in ((self.x, self.users), (self.y, self.items)):
            total += _dots(side.penalty, table.square())
        self.objective = total
        if not (np.isfinite(total) and total <= before * (1 + MAY_RISE)):
            raise DivergenceError(
                f"the objective went from {before:.6g} to {total:.6g} by sweep {done}, though every solution "
                f"lowers it: {self.penalty} in {self.dtype} loses too many digits. {divergence_remedy(self.dtype)}"
            )

    def measure(self, predictor: Factors, part: Interactions) -> float:
        """Over all cells; of another part than the one that was trained, over the cells outside that."""
        chosen = len(part) if part.weights is None else part.weights.sum(dtype=np.float64)
        weight = chosen + self.alpha * part.n_users * part.n_items
        squares = self.squares if part is self.train else squares_of_all_cells(predictor, part, self.alpha)
        if part is not self.train:
            known = predictor.predict(self.train.users, self.train.items).astype(np.float64)
            squares, weight = squares - self.alpha * float(known @ known), weight - self.alpha * len(known)
        return max(0.0, squares / weight) ** 0.5

    def scalars(self) -> dict[str, float]:
        return {"objective": self.objective}

    def predictor(self) -> Factors:
        x, y = (table[:, : self.start.n_factors].cpu().numpy() for table in (self.x, self.y))
        return Factors(0.0, np.zeros(len(x), x.dtype), np.zeros(len(y), y.dtype), x, y, *trained_by(self.train))


class _Blocks:
    """The cells of one side by blocks of columns, with the penalty of its rows and the weight of all cells."""

    def __init__(self, blocks: list[torch.Tensor], penalty: torch.Tensor, alpha: float, counts: np.ndarray) -> None:
        self.blocks, self.penalty, self.alpha = blocks, penalty, alpha
        # to be written into: a new matrix for each product would copy where the cells are, a quarter of its time
        self.products = [
            csr_tensor(
                block.crow_indices(), block.col_indices(), block.values().clone(), (len(penalty), block.shape[1])
            )
            for block in blocks
        ]
        self.cold = torch.from_numpy(np.flatnonzero(counts == 0)).to(penalty.device)
        widest = max(block.shape[1] for block in blocks)
        self.ones = torch.ones(widest, 1, dtype=penalty.dtype, device=penalty.device)


def _at_the_chosen(
    side: _Blocks, rows: torch.Tensor, other: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """For each block: x · q at the chosen cells, as a sparse matrix that the next call writes over, their weights, and q."""
    at = 0
    for block, dots in zip(side.blocks, side.products, strict=True):
        features = other[at : at + block.shape[1]]
        yield torch.sparse.sampled_addmm(dots, rows, features.T, beta=0, out=dots), block.values(), features
        at += block.shape[1]


def _conjugate_gradients(steps: int) -> Callable[..., torch.Tensor]:
    def half(side: _Blocks, own: torch.Tensor, other: torch.Tensor, biased: bool) -> torch.Tensor:
        """A few steps towards (α QᵀQ + Σ c q qᵀ + penalty) p = Σ c q, from where the rows stand; no system is formed."""
        gram, own = side.alpha * (other.T @ other), own.clone()
        own[side.cold] = 0  # the solution, which a few steps from a start that knew more would only approach
        residual = (own @ gram).addcmul_(side.penalty, own).neg_()
        for dots, weights, features in _at_the_chosen(side, own, other):
            dots.values().neg_().add_(1).mul_(weights)
            residual.addmm_(dots, features)
        direction, height = residual.clone(), row_dots(residual, residual)
        pushed = torch.empty_like(own)
        for step in range(steps):
            last = step == steps - 1
            torch.mm(direction, gram, out=pushed).addcmul_(side.penalty, direction)
            steepness = row_dots(direction, pushed)
            for dots, weights, features in _at_the_chosen(side, direction, other):
                if last:  # how far to go takes the squares alone, and where the next step would start is not asked
                    dots.values().square_().mul_(weights)
                    steepness.addmm_(dots, side.ones[: len(features)])
                else:
                    dots.values().mul_(weights)
                    pushed.addmm_(dots, features)
            length = row_ratio(height, steepness if last else row_dots(direction, pushed))
            own.addcmul_(length, direction)
            if not last:
                residual.addcmul_(length, pushed, value=-1)
                before, height = height, row_dots(residual, residual)
                direction.mul_(row_ratio(height, before)).add_(residual)
        return own

    return half


def _dots(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a * b).sum(dtype=torch.float64).item()
