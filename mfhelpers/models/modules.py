"""Matrix factorisation as PyTorch modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.arguments import LARGEST_SEED, real_number, require_memory, whole_number, yes_or_no
from .factors import MOST, Factors
from .pairs import PairModel


class MatrixFactorization(PairModel):
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
    dropout : float
        Share of the factors that a rating does without in a training step, drawn anew each time; the
        others count 1 / (1 - dropout) times. In evaluation mode all take part.
    seed : int
        Of those draws; PyTorch's global generator is neither read nor moved.

    Raises
    ------
    ValueError
        For sizes that are not whole numbers from 1, and a dropout below 0, or from 1.
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
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(n_users, n_items)
        if not isinstance(dropout, (int, float, np.number)) or not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout!r}: the share of factors to drop, from 0 to below 1")
        self.n_factors = whole_number("n_factors", n_factors, 1)
        require_memory(f"n_factors={n_factors:,}", self.n_factors * (self.n_users + self.n_items), 4)
        self.sparse = yes_or_no("sparse", sparse)
        self.dropout = nn.Dropout(dropout)
        generator = torch.Generator().manual_seed(whole_number("seed", seed, 0, LARGEST_SEED))
        # as Python's float: a NumPy number would make the factors float64
        spread = real_number("init_std", init_std, at_least=0, at_most=MOST)
        self.user_factors = _embedding(spread * torch.randn(n_users, n_factors, generator=generator), sparse)
        self.item_factors = _embedding(spread * torch.randn(n_items, n_factors, generator=generator), sparse)
        self.register_buffer("mean", torch.tensor(real_number("mean", mean, at_least=-MOST, at_most=MOST)))

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """Predicted ratings of the pairs (user[j], item[j]), of the common shape of both; see `require_in_range`."""
        self.require_in_range(user, item)
        return self.mean + self.dropout(self.user_factors(user) * self.item_factors(item)).sum(-1)

    def cold(self, users: Any, items: Any) -> np.ndarray:
        """Which pairs have a user or an item of which nothing was learned, as `Factors.cold`."""
        return self.to_factors().cold(users, items)

    def to_factors(self) -> Factors:
        """The five arrays of this model, copied to the CPU as float32, and which rows `fit` had ratings for."""
        # a model that another loop trained knows nothing of that
        noted = bool(self.trained_users.any())
        trained = [rows.cpu().numpy() if noted else None for rows in (self.trained_users, self.trained_items)]
        return Factors(
            self.mean.item(),
            self._rows("user_biases", self.n_users)[:, 0],
            self._rows("item_biases", self.n_items)[:, 0],
            self._rows("user_factors", self.n_users),
            self._rows("item_factors", self.n_items),
            trained[0],
            trained[1],
        )

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
        μ. None, the default: the first `fit` takes the mean of its ratings; until then it is 0.
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
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        start = {"mean": 0.0 if mean is None else mean, "init_std": init_std, "dropout": dropout, "seed": seed}
        super().__init__(n_users, n_items, n_factors, sparse, **start)
        # a buffer, so that a model that is saved and loaded does not take another mean
        self.register_buffer("mean_from_train", torch.tensor(mean is None))
        self.user_biases = _embedding(torch.zeros(n_users, 1), sparse)
        self.item_biases = _embedding(torch.zeros(n_items, 1), sparse)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        dots = super().forward(user, item)  # first, because it checks the numbers
        # [..., 0] and not squeeze(): that would also drop the only element of a batch of one
        biases = self.user_biases(user)[..., 0] + self.item_biases(item)[..., 0]
        return dots + biases


class Table(nn.Embedding):
    """An nn.Embedding, with a faster gradient on the CPU: index_select's, unless it shall be sparse."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if self.sparse:
            return super().forward(input)
        return self.weight.index_select(0, input.reshape(-1)).view(*input.shape, self.embedding_dim)


def _embedding(weight: torch.Tensor, sparse: bool) -> nn.Embedding:
    return Table.from_pretrained(weight, freeze=False, sparse=sparse)
