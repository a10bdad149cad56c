"""What a PyTorch module needs to be a predictor, whatever it computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.arguments import in_range, low_and_high, require_one_each, whole_number
from ..data.context import TABLES, TIMES, asked_for, required_by
from ..data.interactions import Interactions, numbers, require_interactions
from ..data.linear import CHUNK
from .factors import pairs
from .topn import recommend


class PairModel(nn.Module):
    """A module whose ``forward(user, item)`` predicts pairs; with that, it is a `Predictor` that also recommends.

    A `forward` may ask for more, by name: ``forward(self, user, item, timestamps)`` gets a moment for each pair, int64 in
    seconds since 1970; ``user_features`` and ``item_features`` are float32 tables with a row for each user or item, as
    `mf.features` and `Encoding` make them of the ratings. `fit` and `evaluate` pass them, and the tables of a training are
    kept for what is asked later.

    Parameters
    ----------
    n_users, n_items : int

    Attributes
    ----------
    trained_users, trained_items : bool tensors, shapes (n_users,) and (n_items,)
        Which rows some training has had ratings for; see `forget_unseen`.
    check_ids : bool
        Whether `require_in_range` looks for numbers out of range. `fit`, which checks its data once, sets
        it to False meanwhile: the check makes a GPU wait.
    """

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.n_users, self.n_items = whole_number("n_users", n_users, 1), whole_number("n_items", n_items, 1)
        self.check_ids = True
        self.feature_tables: dict[str, torch.Tensor] = {}  # of features, as the last training had them
        self.register_buffer("trained_users", torch.zeros(n_users, dtype=torch.bool))
        self.register_buffer("trained_items", torch.zeros(n_items, dtype=torch.bool))

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        """One number for each pair (user[j], item[j])."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(user, item)")

    def require_in_range(self, user: torch.Tensor, item: torch.Tensor) -> None:
        """For the beginning of a `forward`: refuse numbers that there are not.

        Raises
        ------
        ValueError
            For a number out of range. PyTorch's own answer depends on the device: an IndexError
            on the CPU, a dead context on CUDA, silent zeros on MPS.
        """
        if self.check_ids:
            _check_range("user", user, self.n_users)
            _check_range("item", item, self.n_items)

    @torch.no_grad()
    def predict(self, users: Any, items: Any, limits: tuple[float, ...] | None = None, **context: Any) -> np.ndarray:
        """As `Factors.predict`, by `forward` in evaluation mode: arrays in, array out, no gradient.

        Parameters
        ----------
        users, items, limits
            As there.
        **context
            What `forward` asks for: `timestamps`, of the shape of the pairs or one for all; `user_features` and
            `item_features`, tables, by default those of the last training.

        Raises
        ------
        ValueError
            For numbers out of range, and where something that `forward` asks for is missing, or was not asked for.
        """
        users, items = pairs(users, items, self.n_users, self.n_items)
        device = self.trained_users.device
        tables, times = self._context(context, users.shape, device)
        columns = [torch.tensor(ids.ravel(), dtype=torch.int64) for ids in (users, items, *times)]
        pieces = []
        with modes_kept(self):
            self.eval()
            for user, item, *moment in zip(*(column.split(CHUNK) for column in columns), strict=True):
                more = dict(zip((TIMES,), moment, strict=False)) | tables
                pieces.append(self(*(a.to(device) for a in (user, item)), **{n: a.to(device) for n, a in more.items()}))
                require_one_each("forward", pieces[-1].shape, len(user))
        predicted = as_array(torch.cat(pieces))
        if limits is not None:
            np.clip(predicted, *low_and_high(limits), out=predicted)
        return predicted.reshape(users.shape)

    def _context(self, given: dict[str, Any], shape: tuple[int, ...], device: Any) -> tuple[dict, list[np.ndarray]]:
        asked, needed = asked_for(self.forward), required_by(self.forward)
        if unknown := set(given) - set(asked):
            raise ValueError(f"{type(self).__name__}.forward does not ask for {sorted(unknown)[0]}, only for {asked}")
        tables = self.feature_tables | {name: torch.as_tensor(given[name]) for name in TABLES if name in given}
        for name in needed:
            if name not in given and name not in tables:
                raise ValueError(f"{type(self).__name__}.forward asks for {name}: predict(users, items, {name}=…)")
        for name, n in zip(TABLES, (self.n_users, self.n_items), strict=True):
            if name in asked and name in tables and (tables[name].ndim != 2 or len(tables[name]) != n):
                raise ValueError(f"{name} has shape {tuple(tables[name].shape)}, expected ({n}, columns): one row each")
        times = []
        if TIMES in given:
            moments = numbers(given[TIMES])
            if moments.dtype.kind not in "iu" or moments.shape not in ((), shape):
                raise ValueError(f"timestamps are {moments.dtype} of shape {moments.shape}: give seconds, of {shape}")
            times = [np.broadcast_to(moments, shape)]
        return {name: tables[name].to(device) for name in TABLES if name in asked and name in tables}, times

    def predict_all(self, users: Any, **context: Any) -> np.ndarray:
        """Predictions of all items for some users, shape (n, n_items); `context` as in `predict`, one moment for all."""
        users = in_range("user", np.atleast_1d(numbers(users)), self.n_users)
        if users.ndim > 1:
            raise ValueError(f"users has shape {users.shape}: give a list of numbers")
        return self.predict(users[:, None], np.arange(self.n_items), **context)

    def recommend(self, user: Any, n: int = 10, exclude: Any = None, **context: Any) -> tuple[np.ndarray, np.ndarray]:
        """The `n` items with the highest prediction for a user, or for each of several: as `Factors.recommend`.

        Every item is predicted for every user; `context` as in `predict_all`.
        """
        exactly = lambda some: (self.predict_all(some, **context), np.zeros(len(some)))  # noqa: E731
        one_by_one = lambda users, items: self.predict(users, items, **context)  # noqa: E731
        return recommend(user, n, exclude, (self.n_users, self.n_items), exactly, one_by_one)

    def cold(self, users: Any, items: Any) -> np.ndarray:
        """Which pairs have a user or an item without training ratings."""
        users, items = pairs(users, items, self.n_users, self.n_items)
        trained = [rows.cpu().numpy() for rows in (self.trained_users, self.trained_items)]
        return ~(trained[0][users] & trained[1][items])

    @torch.no_grad()
    def forget_unseen(self, train: Interactions) -> None:
        """Set the rows of users and items without a rating in `train`, or an earlier training, to zero.

        Nothing will train them, and their random start would be added to every prediction. That concerns embeddings named
        user_factors, item_factors, user_biases and item_biases. What `train` has ratings for is noted in `trained_users`
        and `trained_items`, and stays when a later training has none for it.
        """
        require_interactions("train", train)
        for side, ids in (("user", train.users), ("item", train.items)):
            trained = getattr(self, f"trained_{side}s")
            # the model's size and not the ratings': a model may be the larger one
            trained |= torch.as_tensor(np.bincount(ids, minlength=len(trained)) > 0, device=trained.device)
            for name in (f"{side}_factors", f"{side}_biases"):
                table = getattr(self, name, None)
                if isinstance(table, nn.Embedding) and len(table.weight) == len(trained):
                    table.weight[~trained] = 0


def as_array(table: torch.Tensor) -> np.ndarray:
    """A table or predictions on the CPU, in float32 at least: NumPy has no bfloat16."""
    return table.detach().cpu().to(torch.promote_types(table.dtype, torch.float32)).numpy()


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Put the model and each of its parts back into the mode, training or evaluation, that it was in."""
    modes = [(part, part.training) for part in model.modules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _check_range(what: str, ids: torch.Tensor, limit: int) -> None:
    if ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < limit):
        raise ValueError(f"{what} numbers {int(ids.min())} … {int(ids.max())} exceed the model's 0 … {limit - 1}")
