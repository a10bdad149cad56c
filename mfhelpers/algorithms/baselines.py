"""The numbers to beat: predictions from averages alone, as lesson 00 derives them."""

from __future__ import annotations

import numpy as np

from ..data.arguments import real_number
from ..data.interactions import Interactions
from ..data.ratings import Ratings, positives, require_ratings
from ..models.factors import Factors, trained_by


def global_mean(train: Ratings) -> Factors:
    """Predict μ, the mean of all training ratings, for everybody and everything."""
    require_ratings("train", train)
    return _biases(train, np.zeros(train.n_users), np.zeros(train.n_items))


def item_means(train: Ratings, damping: float = 0.0) -> Factors:
    """Predict each item's mean, drawn towards μ by `damping` imaginary ratings of μ; unrated items get μ."""
    require_ratings("train", train)
    return _biases(train, np.zeros(train.n_users), _offsets(train.items, _centred(train), train.n_items, damping))


def average_biases(train: Ratings, damping: float = 0.0) -> Factors:
    """Predict μ + b_u + b_i, with b_i the item's mean offset from μ and b_u the user's from μ + b_i.

    Parameters
    ----------
    train : Ratings
    damping : float
        Imaginary ratings without offset that each average includes: 0 trusts a single rating fully.

    Notes
    -----
    Koren and Bell, Advances in Collaborative Filtering, in: Recommender Systems Handbook (2011), eq. 5.4-5.5.
    """
    require_ratings("train", train)
    rest = _centred(train)
    item_biases = _offsets(train.items, rest, train.n_items, damping)
    user_biases = _offsets(train.users, rest - item_biases[train.items], train.n_users, damping)
    return _biases(train, user_biases, item_biases)


def most_popular(train: Interactions, *, at_least: float | None = None) -> Factors:
    """Score each item by how often it was chosen, for everybody alike: the list that a ranking has to beat.

    Parameters
    ----------
    train : Interactions or Ratings
    at_least : float, optional
        Of `Ratings`, those of so many stars or more are what was chosen; None takes all that is rated.

    Returns
    -------
    Factors
        With k = 0 and the counts, weighted if the interactions are, as item biases.
    """
    train = positives("train", train, at_least)
    none = np.zeros((train.n_users, 0)), np.zeros((train.n_items, 0))
    counts = np.bincount(train.items, train.weights, train.n_items).astype(np.float64)
    return Factors(0.0, np.zeros(train.n_users), counts, *none, *trained_by(train))


def _centred(train: Ratings) -> np.ndarray:
    return train.values - train.values.mean(dtype=np.float64)


def _offsets(groups: np.ndarray, rest: np.ndarray, n: int, damping: float) -> np.ndarray:
    """Damped mean of `rest` in each group; 0 for an empty group."""
    damping = real_number("damping", damping, at_least=0)
    counts = np.bincount(groups, minlength=n)
    return np.bincount(groups, rest, minlength=n) / np.maximum(counts + damping, 1e-12 + (counts == 0))


def _biases(train: Ratings, user_biases: np.ndarray, item_biases: np.ndarray) -> Factors:
    none = np.zeros((train.n_users, 0)), np.zeros((train.n_items, 0))
    return Factors(train.values.mean(dtype=np.float64), user_biases, item_biases, *none, *trained_by(train))
