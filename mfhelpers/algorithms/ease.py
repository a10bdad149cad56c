"""EASE: a regression of every item on all others, in closed form; nothing is factorised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from ..data.arguments import in_range, one_of, real_number, require_memory
from ..data.interactions import Interactions, numbers
from ..data.ratings import positives
from ..display.notebook import printable
from ..models.factors import one_number, pairs
from ..models.topn import AT_ONCE, recommend
from .resources import choose_resources


def ease(
    train: Interactions,
    reg: float = 300.0,
    *,
    at_least: float | None = None,
    space: str = "auto",
    threads: int | None = None,
) -> Ease:
    """Fit EASE: item-item weights B that minimise ‖X - XB‖² + λ‖B‖² with a diagonal of zeros.

    Parameters
    ----------
    train : Interactions or Ratings
        X, 0 and 1; weights of interactions take the place of the 1s.
    reg : float
        λ, above 0: the penalty on a whole column, not for each rating. Hundreds suit MovieLens.
    at_least : float, optional
        Of `Ratings`, those of so many stars or more are what was chosen; None takes all that is rated.
    space : {"auto", "items", "users"}
        Whether the matrix to be inverted has a row for each item or for each user: the same scores. "auto" takes the smaller.
    threads : int, optional
        As in `fit`.

    Returns
    -------
    Ease
        A predictor of scores; 1 is what a chosen cell should have.

    Raises
    ------
    ValueError
        For a λ that is not above 0, or is lost in rounding, or a matrix that does not fit into memory.

    Notes
    -----
    H. Steck, Embarrassingly Shallow Autoencoders for Sparse Data (WWW 2019): with P = (XᵀX + λI)⁻¹, B = I - P / diag(P), column
    by column. With fewer users than items, A = (XXᵀ + λI)⁻¹X is smaller, and P = (I - XᵀA) / λ. Solved in float64, kept in float32.
    """
    reg = real_number("reg", reg, above=0)
    train = positives("train", train, at_least)
    if one_of("space", space, ("auto", "items", "users")) == "auto":
        space = "items" if train.n_items <= train.n_users else "users"
    size = train.n_items if space == "items" else train.n_users
    dense = 2 * size * size if space == "items" else 3 * train.n_users * train.n_items
    require_memory(f"ease for {train}", 3 * size**2 + dense)
    chosen: Any = train.to_csr()
    wide = chosen.astype(np.float64)
    gram = (wide.T @ wide if space == "items" else wide @ wide.T).toarray()
    gram[np.diag_indices(size)] += reg
    with choose_resources("cpu", threads, size * size).scope(blas=True):
        if space == "items":
            inverse = _solved(gram, np.eye(size), reg)
            weights = -inverse / np.diag(inverse)
            weights[np.diag_indices(size)] = 0
            return Ease(chosen, weights.astype(np.float32), reg)
        solved = _solved(gram, wide.toarray(), reg)
    rest = 1 - np.asarray((wide * solved).sum(axis=0)).ravel()
    return Ease(chosen, None, reg, chosen, solved.astype(np.float32), rest)


def _solved(gram: np.ndarray, right: np.ndarray, reg: float) -> np.ndarray:
    try:
        solved: Any = scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram, overwrite_a=True), right)
    except np.linalg.LinAlgError:
        solved = np.full(1, np.nan)
    if not np.isfinite(solved).all():
        raise ValueError(f"reg={reg:g} is lost in rounding beside what was chosen: take more")
    return solved


@dataclass(frozen=True, eq=False, repr=False)
class Ease:
    """What `ease` fits: a score is the sum of the weights of what a user has chosen.

    Attributes
    ----------
    chosen : csr_array, shape (n_users, n_items)
        What the users who are scored have chosen.
    weights : float32 array, shape (n_items, n_items), or None
        B, from row to column; None if it was solved by users.
    reg : float
        λ.
    trained, solved, rest : csr_array (n, n_items), float32 array (n, n_items), array (n_items,)
        X, A and λ diag(P) of that solution.
    """

    chosen: Any
    weights: np.ndarray | None
    reg: float
    trained: Any = None
    solved: Any = None
    rest: Any = None

    @property
    def n_users(self) -> int:
        return self.chosen.shape[0]

    @property
    def n_items(self) -> int:
        return self.chosen.shape[1]

    def __repr__(self) -> str:
        return printable(f"Ease({self.n_users:,} users × {self.n_items:,} items)")

    def predict_all(self, users: Any) -> np.ndarray:
        """Scores of all items for some users, shape (n, n_items), float32: x B. They do not depend on who else is asked for."""
        users = in_range("user", np.atleast_1d(numbers(users)), self.n_users)
        if users.ndim > 1:
            raise ValueError(f"users has shape {users.shape}: give a list of numbers")
        rows = self.chosen[users]
        if self.weights is not None:
            return rows @ self.weights
        # x B = x - x P / diag(P), and λ x P = x - (x Xᵀ) A, which for rows of X itself is λ A
        own = rows.toarray()
        if self.chosen is self.trained:
            left = self.reg * self.solved[users]
        else:
            left = own - (rows @ self.trained.T) @ self.solved
        return (own - left / self.rest).astype(np.float32)

    def predict(self, users: Any, items: Any) -> np.ndarray:
        """Scores of the pairs (users[j], items[j]); a ValueError for a number out of range."""
        users, items = pairs(users, items, self.n_users, self.n_items)
        asked, places = np.unique(users.ravel(), return_inverse=True)
        order, scores, flat = np.argsort(places, kind="stable"), np.empty(users.size, np.float32), items.ravel()
        rows, ends = max(1, AT_ONCE // self.n_items), np.cumsum(np.bincount(places))
        for at in range(0, len(asked), rows):
            mine = order[ends[at - 1] if at else 0 : ends[min(at + rows, len(asked)) - 1]]
            scores[mine] = self.predict_all(asked[at : at + rows])[places[mine] - at, flat[mine]]
        return scores.reshape(users.shape)

    def recommend(self, user: Any, n: int = 10, exclude: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The `n` items with the highest score for a user, or for each of several: as `Factors.recommend`."""
        exactly = lambda some: (self.predict_all(some), np.zeros(len(some)))  # noqa: E731
        return recommend(user, n, exclude, (self.n_users, self.n_items), exactly, self.predict)

    def fold_in(self, interactions: Interactions, *, at_least: float | None = None) -> Ease:
        """The same weights for other users, numbered from 0, who chose among the same items."""
        chosen = positives("interactions", interactions, at_least)
        if chosen.n_items != self.n_items:
            raise ValueError(
                f"{interactions} has {chosen.n_items} items, this model {self.n_items}: number them as they are here"
            )
        return Ease(chosen.to_csr(), self.weights, self.reg, self.trained, self.solved, self.rest)

    def explain(self, user: int, item: int) -> tuple[np.ndarray, np.ndarray]:
        """What of a score comes from where: (items that the user chose, contributions), the largest first. They add up to it."""
        user, item = one_number("user", user, self.n_users), one_number("item", item, self.n_items)
        row = self.chosen[[user]]
        if self.weights is not None:
            column = self.weights[row.indices, item].astype(np.float64)
        else:
            others = self.trained[:, row.indices].T @ self.solved[:, item].astype(np.float64)
            column = np.where(row.indices == item, 0, others / self.rest[item])
        contributions = row.data * column
        order = np.argsort(-contributions, kind="stable")
        return row.indices[order].astype(np.int64), contributions[order]
