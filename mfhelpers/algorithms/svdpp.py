"""SVD++ by least squares: alternating least squares that also learns from *which* items a user rated."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ..data.interactions import Interactions, require_interactions, require_same_labels
from ..data.ratings import Ratings
from ..models.factors import Factors
from ..models.penalty import Penalty
from .als import Settings, Sides
from .loop import History, Monitor
from .priors import Prior, penalty_of, rows_of

STEPS_IMPLICIT = 5  # of conjugate gradients for Y in a sweep: from a warm start few will do


def svdpp(
    train: Ratings,
    n_factors: int = 20,
    *,
    implicit: Interactions | None = None,
    reg: float | Penalty = Penalty(1.6, power=0.5),
    reg_implicit: float = 60.0,
    biased: bool = True,
    sweeps: int = 15,
    solver: str = "auto",
    cg_steps: int = 3,
    start: Factors | None = None,
    init_std: float = 0.1,
    seed: int = 0,
    dtype: str = "float32",
    device: str | torch.device = "auto",
    threads: int | None = None,
    valid: Ratings | None = None,
    patience: int | None = None,
    watch: Callable[[Factors], Any] | None = None,
    history: History | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Factors:
    """Fit SVD++, a factorisation that also learns from *which* items a user rated, by least squares.

    r̂_ui = μ + b_u + b_i + q_i · (p_u + |N(u)|^-½ Σ_{j ∈ N(u)} y_j), with N(u) the items that u rated. What
    comes back has the whole bracket as the user's factors, so it predicts like any other `Factors`.

    Parameters
    ----------
    train : Ratings
    n_factors : int
        k, from 1.
    implicit : Interactions or Ratings, optional
        The pairs that make up N(u), whatever their values, in the numbering of `train`; default `train`. Test
        pairs do not belong here: that somebody will rate a film tells how they will.
    reg : float or Penalty
        As in `als`.
    reg_implicit : float
        λ of λ Σ_j ‖y_j‖², above 0. Chosen like `reg` on inner validation parts.
    biased, sweeps, solver, cg_steps, start, init_std, seed, dtype
        As in `als`.
    device, threads, valid, patience, watch, history, log_dir, progress
        As in `fit`, sweep by sweep; the log has the objective, too.

    Returns
    -------
    Factors
        A user without ratings in `train` has the factors that N(u) gives. One without either has the mean of what N(u)
        gives the others: an empty N(u) would say "rated nothing", which is far from everybody; it is unknown.

    Raises
    ------
    ValueError, OSError, DivergenceError
        As `als`.

    Notes
    -----
    Seen from f_u = p_u + X Y, where X has |N(u)|^-½ at the pairs, the penalty λ n_u^α ‖f_u - (X Y)_u‖² draws a user's
    factors to what N(u) predicts instead of to zero. So f_u is half a sweep of `als` with another right side, and Y
    a ridge regression of all f_u on X, by a few conjugate gradients in each sweep: no step raises the objective.

    The model: Y. Koren, Factorization Meets the Neighborhood (KDD 2008), eq. 15, there by gradient descent.
    """
    monitor = Monitor(train, valid, patience, watch, history, log_dir, progress)
    settings = Settings(n_factors, Penalty.of(reg), biased, sweeps, solver, cg_steps, start, init_std, seed, dtype)
    if not settings.n_factors:
        raise ValueError("n_factors=0: implicit feedback moves the users' factors, so there must be some")
    implicit = train if implicit is None else implicit
    require_interactions("implicit", implicit)
    require_same_labels(train, implicit)
    reg_implicit = penalty_of("reg_implicit", reg_implicit, settings.dtype)
    kind = partial(ImplicitSides, implicit=implicit, reg_implicit=reg_implicit)
    return settings.solve("svdpp", monitor, device, threads, kind, reg_implicit=reg_implicit)


class ImplicitSides(Sides):
    """Both sides where the users' factors are drawn to X Y: the mean of a user's rated items in Y, times √|N(u)|."""

    def __init__(self, train: Ratings, start: Factors, settings: Settings, device, *, implicit, reg_implicit) -> None:
        super().__init__(train, start, settings, device)
        self.trained = self.trained[0] | (implicit.user_counts > 0), self.trained[1]  # N(u) tells of a user, too
        counts = np.maximum(implicit.user_counts, 1).astype(np.float64)
        share = torch.tensor(1 / np.sqrt(counts), **self.make)[:, None]  # X is this times a pattern of ones
        seen, seen_by = (self.users.ones, self.items.ones) if implicit is train else self._patterns(implicit)
        unrated = torch.from_numpy(train.user_counts == 0).to(device)[:, None]
        weight, drawn = self.users.penalty[:, :1].where(~unrated, 0), torch.zeros_like(self.x)
        prior = Prior(seen, seen_by, share, weight, unrated, reg_implicit, drawn, STEPS_IMPLICIT, start.n_factors)
        self.draw("user", prior)
        if settings.start is not None:  # its table; else the first half would draw given factors to zero
            for _ in range(10):  # from nothing it takes more steps
                prior.solve(self.x)

    def predictor(self) -> Factors:
        """The factors so far; those of whom nothing is known are drawn to the mean user's X Y, and not to zero."""
        factors, known = super().predictor(), self.trained[0]
        if known.all() or not known.any():
            return factors
        table = factors.user_factors.copy()  # the solver's own rows stay as they are
        drawn = self.priors["user"].drawn[:, : table.shape[1]].cpu().numpy()
        table[~known] = drawn[known].mean(axis=0, dtype=np.float64)
        return replace(factors, user_factors=table)

    def _patterns(self, implicit: Interactions) -> tuple[torch.Tensor, torch.Tensor]:
        """Ones where there is a pair, whatever its value, and the same by item."""
        pairs = implicit.to_csr()
        pairs.data = np.ones_like(pairs.data)
        return rows_of(pairs, **self.make)
