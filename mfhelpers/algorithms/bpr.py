"""Bayesian personalised ranking: what was chosen should score above what was not."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..data.interactions import Interactions, require_interactions, require_same_labels
from ..data.ratings import positives
from ..models.factors import Factors
from ..models.modules import BiasedMatrixFactorization
from ..models.penalty import Penalty
from .fit import fit
from .loop import History


def bpr(
    train: Interactions,
    n_factors: int = 20,
    *,
    at_least: float | None = None,
    epochs: int = 30,
    batch_size: int = 1024,
    lr: float = 0.005,
    reg: float | Penalty = 0.01,
    init_std: float = 0.1,
    seed: int = 0,
    device: str | torch.device = "auto",
    threads: int | None = None,
    valid: Interactions | None = None,
    patience: int | None = None,
    watch: Callable[[nn.Module], Any] | None = None,
    history: History | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Factors:
    """Fit factors and item biases to pairs of a chosen and another item, by `fit` with `PairLoss` and Adam.

    Parameters
    ----------
    train : Interactions or Ratings
        Weights play no part.
    n_factors : int
        k.
    at_least : float, optional
        Of `Ratings`, those of so many stars or more are what was chosen; None takes all that is rated.
    reg : float or Penalty
        As in `fit`, on all rows that a pair looks up: the user's counts twice, that of an item nobody chose not at all.
    epochs, batch_size, lr, init_std, seed, device, threads, valid, patience, watch, history, log_dir, progress
        As in `fit` and `BiasedMatrixFactorization`; the error is the mean loss of a pair.

    Returns
    -------
    Factors
        Scores and no ratings: only their order means something.

    Notes
    -----
    S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme, BPR: Bayesian Personalized Ranking from Implicit Feedback (UAI
    2009), with a new other item for each chosen one in each epoch.
    """
    train = positives("train", train, at_least)
    valid = None if valid is None else positives("valid", valid, at_least)
    model = BiasedMatrixFactorization(train.n_users, train.n_items, n_factors, mean=0.0, init_std=init_std, seed=seed)
    fit(model, train, valid, loss=PairLoss(train), epochs=epochs, batch_size=batch_size, lr=lr, reg=reg, seed=seed, device=device,
        threads=threads, patience=patience, watch=watch, history=history, log_dir=log_dir, progress=progress)  # fmt: skip
    return model.to_factors()


class PairLoss:
    """-log σ(ŷ_ui - ŷ_uj), the mean over pairs of a chosen item i and another item j that u has not chosen in `train`.

    For ``fit(…, loss=PairLoss(train))``. Each j is drawn evenly among all that the user has not chosen: a draw that may be a
    chosen one would train a pair against itself. Users who have chosen everything have no pair. In evaluation mode the
    draws are the same each time; of a validation part they may be what it holds.

    Parameters
    ----------
    train : Interactions or Ratings
    """

    name = "pair loss"

    def __init__(self, train: Interactions) -> None:
        require_interactions("train", train)
        self.n_items, self.train = train.n_items, train
        counts = torch.from_numpy(train.user_counts.copy())
        self.starts, self.left = counts.cumsum(0) - counts, train.n_items - counts
        # the t-th chosen item s of a user has s - t others below it: to be searched user by user
        users, items = (torch.from_numpy(numbers) for numbers in train.items_of(range(train.n_users)))
        self.below = users * self.n_items + items - (torch.arange(len(users)) - self.starts[users])

    def require(self, train: Interactions) -> None:
        """Called by `fit`: raise ValueError if it trains on other users and items than these."""
        require_same_labels(self.train, train)

    def others(self, users: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """For each user an item that he has not chosen, every one equally likely; users must have one."""
        users = users.cpu()
        draws = (torch.rand(users.shape, generator=generator, dtype=torch.float64) * self.left[users]).long()
        # the r-th other item, counted from 0, has as many chosen ones before it as have at most r others below them
        before = torch.searchsorted(self.below, users * self.n_items + draws, right=True) - self.starts[users]
        return draws + before

    def __call__(self, model: nn.Module, users: torch.Tensor, items: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        open_ = (self.left.to(users.device)[users] > 0).nonzero()[:, 0]
        users, items = users[open_], items[open_]
        generator = None if model.training else torch.Generator().manual_seed(0)
        others = self.others(users, generator).to(users.device)
        apart = model(users, items) - model(users, others)
        return nn.functional.softplus(-apart).sum() / max(1, len(users))
