"""Alternating least squares: with one side held still, every row of the other is a ridge regression.

No learning rate, no gradient descent: each half of a sweep is the exact minimum of the objective in one
side, for all its rows at once, so the objective cannot rise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

from . import display
from .descent import LANES, csr_tensor, drawn
from .factors import Factors
from .metrics import rmse
from .models import whole_number
from .penalties import Penalty, objective
from .ratings import Ratings, require_same_labels
from .training import DivergenceError, History, choose_device, hopeless

REG, EXPONENT = 1.4, 0.5  # chosen on inner validation parts of ML-100K and ml-latest-small together
EXACT_UP_TO = 16  # factors: above, conjugate gradients cost less than normal equations
MOST_AT_ONCE = 1 << 26  # numbers in one array of products: 256 MiB
MAY_RISE = 1e-3  # of the objective: rounding in float32 stays far below


def als(
    train: Ratings,
    n_factors: int = 10,
    *,
    reg: float | Penalty = REG,
    reg_exponent: float | None = None,
    reg_biases: float | None = None,
    biased: bool = True,
    sweeps: int = 15,
    solver: str = "auto",
    cg_steps: int = 3,
    start: Factors | None = None,
    init_std: float = 0.1,
    seed: int = 0,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    valid: Ratings | None = None,
    patience: int | None = None,
    history: History | None = None,
    watch: Callable[[Factors], Any] | None = None,
    progress: bool = True,
) -> Factors:
    """Fit a factorisation by alternating least squares and return its five arrays.

    A sweep solves for all (p_u, b_u) with the items held still, then for all (q_i, b_i) with the users
    held still. Interrupting (Ctrl-C, or ■ in a notebook) ends the training and returns the factors so far.
    The defaults were chosen on inner validation parts of ML-100K and ml-latest-small.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k; 0 leaves the biases alone.
    reg : float or Penalty
        λ of the penalty λ Σ_u n_u^α (‖p_u‖² + b_u²), and the same for items; or a `Penalty`, which says all three.
    reg_exponent : float, optional
        α, default 0.5. 0 is ridge regression with one λ for all rows, 1 is "weighted λ" (Zhou et al. 2008), as
        in `sgd(reg=λ)`.
    reg_biases : float, optional
        λ of the biases; default `reg`.
    biased : bool
        Without, b_u and b_i stay as they start: at zero, or those of `start`.
    sweeps : int
    solver : {"auto", "exact", "cg"}
        "exact" adds up the normal equations of every row and solves them by Cholesky: (k + 1)² numbers a row.
        "cg" takes `cg_steps` steps of conjugate gradients from the last sweep's solution: as little memory as
        gradient descent, and the same course within a few sweeps. "auto": exact up to k = 16.
    cg_steps : int
        For "cg".
    start : Factors, optional
        Where to begin, with k = `n_factors`; its mean is kept. Users are solved for first, so for "exact" the
        items alone matter. Default: items drawn from N(0, init_std²), no biases, the mean of `train`.
    init_std : float
    seed : int
        Of the start.
    dtype : {"float32", "float64"}
        Precision of everything. "float64" for tiny penalties, and for comparisons to many digits.
    device : str or torch.device
        "cpu", "cuda", or "auto" as in `fit`.
    valid : Ratings, optional
        Judged after every sweep and never trained on; see `history` and `patience`.
    patience : int, optional
        Stop when `valid` has not improved for so many sweeps, and return the best. Needs `valid`.
    history : History, optional
        An empty `History()` to be filled: RMSE after each sweep, seconds, and why it stopped.
    watch : function of Factors, optional
        Called after every sweep.
    progress : bool
        Show a bar for what takes over two seconds.

    Returns
    -------
    Factors
        Users and items without a training rating have rows of zeros.

    Raises
    ------
    ValueError
        For settings that do not fit together, or a penalty of zero where a row then has no unique
        solution; before anything is trained.
    DivergenceError
        When rounding spoils the solution, as float32 does with a tiny penalty: the objective rises, a
        system cannot be solved, or a number is not finite.

    Notes
    -----
    With F the rows [q_i | 1] of the items that user u rated and e their r - μ - b_i, the solution is
    (FᵀF + λ n_u^α I)⁻¹ Fᵀe. All FᵀF of one side are one sparse product: ones at the rated places, times the
    table of all products of two columns of F. In conjugate gradients the same matrix acts without being
    formed: (FᵀF) x is a sampled product, then a sparse one.

    Y. Zhou et al., Large-scale Parallel Collaborative Filtering for the Netflix Prize (AAIM 2008); Y. Hu, Y.
    Koren, C. Volinsky, Collaborative Filtering for Implicit Feedback Datasets (ICDM 2008). Conjugate
    gradients: G. Takács, I. Pilászy, D. Tikk (RecSys 2011).
    """
    n_factors, sweeps, cg_steps, seed = map(
        whole_number, ("n_factors", "sweeps", "cg_steps", "seed"), (n_factors, sweeps, cg_steps, seed)
    )
    patience = None if patience is None else whole_number("patience", patience)
    penalty = _penalty(reg, reg_exponent, reg_biases)
    unknowns = n_factors + bool(biased)
    _check(train, valid, n_factors, unknowns, sweeps, solver, cg_steps, start, seed, dtype, patience, history, penalty)
    target = _device(device, len(train), n_factors)
    if solver == "auto":
        solver = "exact" if n_factors <= EXACT_UP_TO else "cg"
    half = _exact if solver == "exact" else _conjugate_gradients(cg_steps)
    begun = time.perf_counter()
    if start is None:
        start = drawn(train, n_factors, float(init_std), seed)
    sides = _Sides(train, start, penalty, biased, getattr(torch, dtype), target)
    record = history if history is not None else History()
    record.n_train, record.device = len(train), str(target)
    record.device_reason = choose_device(device, len(train), start)[1]
    judged = history is not None or valid is not None or watch is not None
    seconds, value, done = time.perf_counter() - begun, np.inf, 0
    best = sides.factors() if judged else None
    if judged:
        _judge(record, best, sides.error(), valid, 0.0)

    bar = display.progress(range(1, sweeps + 1), show=progress, unit="sweep")
    try:
        for done in bar:
            begun = time.perf_counter()
            users = half(sides.users, sides.x, sides.y)
            items = half(sides.items, sides.y, users)
            error = sides.error(users, items)
            before, value = value, error**2 * len(train) + sides.cost(users, items)
            if not value <= before * (1 + MAY_RISE) or not error <= hopeless(train):
                raise DivergenceError(
                    f"in sweep {done} the objective went from {before:.6g} to {value:.6g}, though each solution lowers "
                    f"it: {dtype} is too coarse for {penalty}. " + _remedy(dtype)
                )
            sides.x, sides.y = users, items
            seconds += time.perf_counter() - begun
            if judged:
                factors = sides.factors()
                _judge(record, factors, error, valid, seconds)
                if patience is None or record.best_epoch == record.epochs:
                    best = factors
                if watch is not None:
                    watch(factors)
                if patience is not None and record.epochs - record.best_epoch >= patience:
                    record.stopped = "early"
                    break
    except KeyboardInterrupt:
        record.stopped = "interrupted"
        print(f"interrupted in sweep {done}: the factors so far are kept")
    finally:
        bar.close()
    return best if patience is not None else sides.factors()


# -- one side after the other ----------------------------------------------------------------------


class _Side(NamedTuple):
    """The rows that are solved for, and what they were rated by, as sparse matrices (own rows, other rows)."""

    rest: torch.Tensor  # CSR: r - μ
    ones: torch.Tensor  # CSR: 1 at the same places
    price: torch.Tensor  # (n, unknowns): λ n^α
    biased: bool


class _Sides:
    """Both sides and where they stand: x = [p | b_u], y = [q | b_i], or without the biases."""

    def __init__(self, train, start, penalty, biased, dtype, device) -> None:
        self.start, self.biased, self.n_ratings = start, biased, len(train)
        tensor = lambda array: torch.tensor(array, dtype=dtype, device=device)  # noqa: E731
        rest = train.values - start.mean
        if not biased:
            rest = rest - start.user_biases[train.users] - start.item_biases[train.items]
        self.x, self.y = (
            tensor(np.column_stack([factors, biases] if biased else [factors]))
            for factors, biases in (
                (start.user_factors, start.user_biases),
                (start.item_factors, start.item_biases),
            )
        )
        shape = train.n_users, train.n_items
        # a radix sort: NumPy's takes five times as long
        order = torch.argsort(torch.from_numpy(train.users * train.n_items + train.items)).numpy()
        counts = train.user_counts, train.item_counts
        starts = np.concatenate([[0], np.cumsum(counts[0])]).astype(np.int32)
        places = scipy.sparse.csr_array((order, train.items[order].astype(np.int32), starts), shape=shape)
        values, ones = tensor(rest), torch.ones(len(train), dtype=dtype, device=device)
        made = []
        for matrix, n in zip((places, places.tocsc()), counts, strict=True):
            ends, columns, order = (torch.from_numpy(a).to(device) for a in (matrix.indptr, matrix.indices, matrix.data))
            size = (len(n), self.n_ratings and (shape[1] if n is counts[0] else shape[0]))
            price = np.full((len(n), self.x.shape[1]), penalty.reg)
            if biased:
                price[:, -1] = penalty.biases
            price *= (np.maximum(n, 1).astype(np.float64) ** penalty.power)[:, None]
            made.append(
                _Side(
                    csr_tensor(ends, columns, values.index_select(0, order), size),
                    csr_tensor(ends, columns, ones, size),
                    tensor(price),
                    biased,
                )
            )
        self.users, self.items = made
        rated = [torch.from_numpy(n > 0).to(device=device, dtype=dtype)[:, None] for n in counts]
        # who has no rating starts at zero and stays there: its right-hand side is zero
        self.x, self.y = self.x * rated[0], self.y * rated[1]
