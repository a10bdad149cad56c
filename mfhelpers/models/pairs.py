"""What a PyTorch module needs to be a predictor, whatever it computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.arguments import in_range, low_and_high, require_memory, require_one_each, whole_number
from ..data.context import TABLES, TIMES, asked_for
from ..data.interactions import Interactions, numbers, require_interactions
from ..data.linear import CHUNK
from .factors import pairs
from .topn import recommend


class PairModel(nn.Module):
    """A module whose ``forward(user, item)`` predicts pairs; with that, it is a `Predictor` that also recommends.

    A `forward` may ask for more, by name: ``forward(self, user, item, timestamps)`` gets a moment for each pair, int64 in
    seconds since 1970; ``user_features`` and ``item_features`` are float32 tables with a row for each user or item, as
    `mf.features` and `Encoding` make them of the ratings. `fit` hands them over and leaves the tables with the model;
    moments are asked for again in each prediction, and `evaluate` knows them.

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
    feature_tables : dict from a name to a tensor
        Those that the last training handed over; no part of `state_dict`.
    """

    feature_tables: dict[str, torch.Tensor] = {}  # replaced, never changed; of models that were pickled without, too

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.n_users, self.n_items = whole_number("n_users", n_users, 1), whole_number("n_items", n_items, 1)
        require_memory(f"{n_users:,} users × {n_items:,} items", self.n_users + self.n_items, 1)
        self.check_ids = True
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

    @property
    def asks_for_times(self) -> bool:
        """Whether a prediction needs `timestamps`."""
        asks = self.forward if type(self).predict is PairModel.predict else self.predict
        return TIMES in asked_for(asks)

    @torch.no_grad()
    def predict(
        self, users: Any, items: Any, limits: tuple[float, ...] | None = None, *, timestamps: Any = None
    ) -> np.ndarray:
        """As `Factors.predict`, by `forward` in evaluation mode: arrays in, array out, no gradient.

        Parameters
        ----------
        users, items, limits
            As there.
        timestamps : int or int array of the shape of the pairs
            For a `forward` that asks for them: seconds since 1970, one for all or one each.

        Raises
        ------
        ValueError
            For numbers out of range, timestamps where none are asked for or the other way round, and features that no
            training has handed over.
        """
        users, items = pairs(users, items, self.n_users, self.n_items)
        device = self.trained_users.device
        columns = {"user": users, "item": items} | self._moments(timestamps, users.shape)
        tables = {name: table.to(device) for name, table in self._asked_tables().items()}
        batches = [torch.tensor(column.ravel(), dtype=torch.int64).split(CHUNK) for column in columns.values()]
        pieces = []
        with modes_kept(self):
            self.eval()
            for user, item, *moment in zip(*batches, strict=True):
                times = {name: one.to(device) for name, one in zip((TIMES,), moment, strict=False)}
                pieces.append(self(user.to(device), item.to(device), **times, **tables))
                require_one_each("forward", pieces[-1].shape, len(user))
        predicted = as_array(torch.cat(pieces))
        if limits is not None:
            np.clip(predicted, *low_and_high(limits), out=predicted)
        return predicted.reshape(users.shape)

    def _moments(self, timestamps: Any, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        name = type(self).__name__
        if not self.asks_for_times:
            if timestamps is not None:
                raise ValueError(f"{name}.forward does not ask for timestamps: leave them out")
            return {}
        if timestamps is None:
            raise ValueError(f"{name}.forward asks for timestamps: give timestamps=, one moment for all or one each")
        moments = numbers(timestamps)
        if moments.dtype.kind not in "iu" or moments.shape not in ((), shape):
            raise ValueError(
                f"timestamps are {moments.dtype} of shape {moments.shape}: give whole seconds since 1970, one or {shape}"
            )
        return {TIMES: np.broadcast_to(moments, shape)}

    def _asked_tables(self) -> dict[str, torch.Tensor]:
        asked = [name for name in asked_for(self.forward) if name in TABLES]
        for name in asked:
            if name not in self.feature_tables:
                raise ValueError(
                    f"{type(self).__name__}.forward asks for {name}, which `fit` hands over from the ratings: it was "
                    "not trained yet, or its weights were loaded without (state_dict holds no tables)"
                )
        return {name: self.feature_tables[name] for name in asked}

    def predict_all(self, users: Any, *, timestamps: Any = None) -> np.ndarray:
        """Predictions of all items for some users, shape (n, n_items), at one moment if the model asks for one."""
        users = in_range("user", np.atleast_1d(numbers(users)), self.n_users)
        if users.ndim > 1:
            raise ValueError(f"users has shape {users.shape}: give a list of numbers")
        more = {} if timestamps is None else {TIMES: timestamps}
        scores = np.asarray(self.predict(users[:, None], np.arange(self.n_items), **more))
        if scores.dtype.kind != "f" or not np.isfinite(scores).all():
            bad = "complex" if scores.dtype.kind != "f" else f"not finite for {int((~np.isfinite(scores)).sum())} pairs"
            raise ValueError(f"{type(self).__name__}'s predictions are {bad}: they have no order")
        return scores

    def recommend(
        self, user: Any, n: int = 10, exclude: Any = None, *, timestamps: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `n` items with the highest prediction for a user, or for each of several: as `Factors.recommend`.

        Every item is predicted for every user, at one moment if the model asks for one.
        """
        more = {} if timestamps is None else {TIMES: timestamps}
        exactly = lambda some: (self.predict_all(some, **more), np.zeros(len(some)))  # noqa: E731
        one_by_one = lambda users, items: self.predict(users, items, **more)  # noqa: E731
        return recommend(user, n, exclude, (self.n_users, self.n_items), exactly, one_by_one)

    def cold(self, users: Any, items: Any) -> np.ndarray:
        """Which pairs have a user or an item without training ratings; none of a model that another loop trained."""
        users, items = pairs(users, items, self.n_users, self.n_items)
        trained = [rows.cpu().numpy() for rows in (self.trained_users, self.trained_items)]
        return ~(trained[0][users] & trained[1][items]) & trained[0].any()

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
                if isinstance(table, (nn.Embedding, nn.EmbeddingBag)):  # which may have a row more, for padding
                    table.weight[: len(trained)][~trained] = 0


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
