"""The n best of many scores, row by row: what a list of recommendations shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..data.arguments import in_range, require_memory, whole_number
from ..data.interactions import Interactions, numbers

AT_ONCE = 1 << 22  # scores in memory at a time: 16 MiB in float32
# The n-th largest of the maxima of so many scores each is found sooner than that of all, and is hardly lower.
GROUP = 16

Fast = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Exact = Callable[[np.ndarray, np.ndarray], np.ndarray]
Lists = tuple[np.ndarray, np.ndarray]  # items and scores
Hidden = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def recommend(
    user: Any, n: int, exclude: Any, shape: tuple[int, int], fast: Fast, exact: Exact
) -> tuple[np.ndarray, np.ndarray]:
    """The n best items for a user, or for each of several: what `Factors.recommend` and others return.

    Parameters
    ----------
    shape : (n_users, n_items)
    fast : function of some users, returns (scores (m, n_items), a bound of their error (m,))
        What it returns is written into.
    exact : function (users, items) of pairs, returns their scores
    """

    def find(users: np.ndarray, n: int, hidden: Hidden) -> Lists:
        return lists(users, n, shape[1], hidden, fast, exact)

    return answered(find, user, n, exclude, shape)


def answered(
    find: Callable[[np.ndarray, int, Hidden], Lists], user: Any, n: int, exclude: Any, shape: tuple[int, int]
) -> Lists:
    """The lists that `find` makes for several users; of one user without the places where nothing is left.

    Raises
    ------
    ValueError
        For numbers out of range, and where there are no items.
    """
    n, users = whole_number("n", n, 1), in_range("user", numbers(user), shape[0])
    if users.ndim > 1:
        raise ValueError(f"user has shape {users.shape}: give one number, or a list of them")
    if not shape[1]:
        raise ValueError("there are 0 items, so there is nothing to recommend")
    hidden = hidden_by(exclude, shape)
    if users.ndim:
        return find(users, n, hidden)
    items, scores = find(users[None], min(n, shape[1]), hidden)
    left = items[0] >= 0
    return items[0][left], scores[0][left]


def hidden_by(exclude: Any, shape: tuple[int, int]) -> Hidden:
    """A function of some users, returns what is not to be shown: (places in these users, items), as `items_of` does.

    Raises
    ------
    ValueError
        For an `exclude` that is neither `Interactions` of that shape nor a list of item numbers.
    """
    none = np.zeros(0, np.int64)
    if exclude is None:
        return lambda users: (none, none)
    if isinstance(exclude, Interactions):
        if (exclude.n_users, exclude.n_items) != shape:
            raise ValueError(
                f"exclude={exclude} is numbered otherwise than these {shape[0]:,} users × {shape[1]:,} items: "
                "give parts of the same ratings"
            )
        return exclude.items_of
    listed = isinstance(exclude, (list, tuple, set, range)) or getattr(exclude, "ndim", 0) == 1
    seen = list(exclude) if listed else []
    if not listed or any(map(np.ndim, seen)):
        raise ValueError(f"exclude is {type(exclude).__name__}: give Ratings, or a list of item numbers")
    seen = np.unique(in_range("item", numbers(seen), shape[1]))

    def hidden_from_all(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.repeat(np.arange(users.size), len(seen)), np.tile(seen, users.size)

    return hidden_from_all


def largest(scores: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n largest of those scores that are finite, behind their positions, largest first; equal ones by position."""
    best = np.argsort(-scores, kind="stable")[: whole_number("n", n, 1)]
    best = best[np.isfinite(scores[best])]
    return best, scores[best]


def lists(
    users: np.ndarray, n: int, n_items: int, hidden: Hidden, fast: Fast, exact: Exact
) -> tuple[np.ndarray, np.ndarray]:
    """The n best items of each user by the `exact` scores, found by `fast` ones.

    A matrix product rounds otherwise when other rows are in it. So it only proposes: whatever may be among the n best, within
    its error, is scored again pair by pair, and a list does not depend on who else is asked for.

    Returns
    -------
    items, scores : shape (len(users), n)
        Best first, equal ones by number; where fewer are left, -1 and -inf.
    """
    items, scores = empty_lists(users, n, exact)
    rows = max(1, AT_ONCE // n_items)
    for at in range(0, len(users), rows):
        some = users[at : at + rows]
        found, error = fast(some)
        found[hidden(some)] = -np.inf
        own, proposed = np.divmod(np.flatnonzero(found >= _bounds(found, n, 2 * error)), n_items)
        # a fast score without an error is the exact one
        again = exact(some[own], proposed) if error.any() else found[own, proposed]
        fill_lists(items[at : at + rows], scores[at : at + rows], own, proposed, again)
    return items, scores


def empty_lists(users: np.ndarray, n: int, exact: Exact) -> tuple[np.ndarray, np.ndarray]:
    """Items of -1 and scores of -inf, of the type of `exact` ones."""
    require_memory(f"n={n:,} for {len(users):,} users", 2 * n * len(users))
    dtype = exact(users[:1], np.zeros(len(users[:1]), np.int64)).dtype
    return np.full((len(users), n), -1), np.full((len(users), n), -np.inf, dtype)


def fill_lists(items: np.ndarray, scores: np.ndarray, own: np.ndarray, proposed: np.ndarray, again: np.ndarray) -> None:
    """Write the best of the `proposed` into the lists (m, n) of their owners; what is left of these stays as it is."""
    order = np.lexsort((proposed, -again, own))
    own, proposed, again = own[order], proposed[order], again[order]
    place = np.arange(len(own)) - np.searchsorted(own, own)  # in the list of its user
    kept = place < items.shape[1]
    items[own[kept], place[kept]], scores[own[kept], place[kept]] = proposed[kept], again[kept]


def _bounds(scores: np.ndarray, n: int, slack: np.ndarray) -> np.ndarray:
    """What the n best of each row reach at least, less a slack: the n-th largest of the maxima of its groups. Shape (rows, 1)."""
    width = scores.shape[1]
    lowest = np.finfo(scores.dtype).min  # below all that is not hidden
    groups = width // GROUP
    if groups < 2 * n:
        maxima, groups = scores, width
    else:  # item j is in group j % groups
        maxima = scores[:, : GROUP * groups].reshape(len(scores), GROUP, groups).max(axis=1)
    if groups < n:
        return np.full((len(scores), 1), lowest)
    nth = np.partition(maxima, groups - n, axis=1)[:, groups - n]
    return np.maximum(nth - slack, lowest).astype(scores.dtype)[:, None]
