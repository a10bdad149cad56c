"""Matrix factorisation as PyTorch modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from .factors import Factors
from .ratings import Ratings


class MatrixFactorization(nn.Module):
    """Ratings as dot products: r̂_ui = μ + p_u · q_i.

    Parameters
    ----------
    n_users, n_items : int
    n_factors : int
        k, the length of p_u and q_i.
    sparse : bool
        Sparse gradients: only the rows that a batch looked up are touched. SGD, Adagrad and
        SparseAdam take them, without weight decay; Adam and most others refuse.
    mean : float
        μ, a constant that is not trained. The published model has none: 0.
    init_std : float
        The factors start as normal draws of this standard deviation. PyTorch's own start, 1, makes
        the first predictions scatter by √k stars.
    seed : int
        Of those draws; PyTorch's global generator is neither read nor moved.

    Raises
    ------
    ValueError
        For sizes below 1.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        n_factors: int = 20,
        sparse: bool = False,
        *,
        mean: float = 0.0,
        init_std: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, size in (("n_users", n_users), ("n_items", n_items), ("n_factors", n_factors)):
            if size < 1:
                raise ValueError(f"{name}={size}: a model needs at least 1")
        self.n_users, self.n_items, self.n_factors, self.sparse = n_users, n_items, n_factors, sparse
        generator = torch.Generator().manual_seed(seed)
        self.user_factors = _embedding(init_std * torch.randn(n_users, n_factors, generator=generator), sparse)
        self.item_factors = _embedding(init_std * torch.randn(n_items, n_factors, generator=generator), sparse)
        self.register_buffer("mean", torch.tensor(float(mean)))

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """Predicted ratings of the pairs (user[j], item[j]), of the common shape of both.

        Raises
        ------
        ValueError
            For a number out of range. PyTorch's own answer depends on the device: an IndexError
            on the CPU, a dead context on CUDA, silent zeros on MPS.
        """
        _check_range("user", user, self.n_users)
        _check_range("item", item, self.n_items)
        return self.score(user, item)

    def score(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """`forward` without the range check, which waits for the GPU: for loops that check their data once."""
        return self.mean + (self.user_factors(user) * self.item_factors(item)).sum(-1)

    @torch.no_grad()
    def predict(self, users: Any, items: Any, clip: tuple[float, ...] | None = None) -> np.ndarray:
        """As `Factors.predict`: arrays in, array out, no gradient."""
        return self.to_factors().predict(users, items, clip)

    def to_factors(self) -> Factors:
        """The five arrays of this model, copied to the CPU as float32."""
        return Factors(
            self.mean.item(),
            self._rows("user_biases", self.n_users)[:, 0],
            self._rows("item_biases", self.n_items)[:, 0],
            self._rows("user_factors", self.n_users),
            self._rows("item_factors", self.n_items),
        )

    @torch.no_grad()
    def forget_unseen(self, train: Ratings) -> None:
        """Set the rows of users and items without a rating in `train` to zero.

        Nothing will train them, and their random start would be added to every prediction.
        """
        for side, ids, n in (("user", train.users, self.n_users), ("item", train.items, self.n_items)):
            # the model's size and not the ratings': a model may be the larger one
            unseen = torch.as_tensor(np.bincount(ids, minlength=n) == 0, device=self.mean.device)
            for table in (f"{side}_factors", f"{side}_biases"):
                if hasattr(self, table):
                    getattr(self, table).weight[unseen] = 0

    def _rows(self, table: str, n: int) -> np.ndarray:
        if not hasattr(self, table):
            return np.zeros((n, 1), np.float32)
        return getattr(self, table).weight.detach().cpu().float().numpy()


class BiasedMatrixFactorization(MatrixFactorization):
    """Dot products on top of biases: r̂_ui = μ + b_u + b_i + p_u · q_i.

    Parameters are those of `MatrixFactorization`, but for one.

    Parameters
    ----------
    mean : float or None
        μ. None, the default: `fit` takes the mean of the training ratings; until then it is 0.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        n_factors: int = 20,
        sparse: bool = False,
        *,
        mean: float | None = None,
        init_std: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            n_users, n_items, n_factors, sparse, mean=0.0 if mean is None else mean, init_std=init_std, seed=seed
        )
        self.mean_from_train = mean is None
        self.user_biases = _embedding(torch.zeros(n_users, 1), sparse)
        self.item_biases = _embedding(torch.zeros(n_items, 1), sparse)

    def score(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        # [..., 0] and not squeeze(): that would also drop the only element of a batch of one
        biases = self.user_biases(user)[..., 0] + self.item_biases(item)[..., 0]
        return super().score(user, item) + biases


def _embedding(weight: torch.Tensor, sparse: bool) -> nn.Embedding:
    return nn.Embedding.from_pretrained(weight, freeze=False, sparse=sparse)


def _check_range(what: str, ids: torch.Tensor, limit: int) -> None:
    if ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < limit):
        raise ValueError(f"{what} numbers {int(ids.min())} … {int(ids.max())} exceed the model's 0 … {limit - 1}")
