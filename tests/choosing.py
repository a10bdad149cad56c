"""What the tests of implicit feedback train on and rank: few choices, by users who have a taste."""

import numpy as np

from mfhelpers import Factors, Interactions, random_split


def drawn(chosen: np.ndarray, weights: np.ndarray | None = None) -> Interactions:
    """The interactions where a dense matrix is true."""
    users, items = np.nonzero(chosen)
    return Interactions(users, items, *chosen.shape, weights=None if weights is None else weights[users, items])


def dense(part: Interactions) -> np.ndarray:
    """Weights, and 0 where nothing was chosen."""
    return part.to_csr().toarray().astype(np.float64)


def tastes(n_users=90, n_items=60, groups=4, seed=0) -> Interactions:
    """Users of a group choose mostly among the items of that group, and all of them what is popular."""
    rng = np.random.default_rng(seed)
    alike = rng.integers(0, groups, n_users)[:, None] == rng.integers(0, groups, n_items)
    popular = rng.uniform(0.3, 1, n_items)
    return drawn(rng.random((n_users, n_items)) < popular * np.where(alike, 0.6, 0.08))


def without(part: Interactions, users: int, items: int) -> Interactions:
    """Leave the first few users and items without any interaction."""
    return part[(part.users >= users) & (part.items >= items)]


CHOSEN = tastes()
TRAIN, TEST = random_split(CHOSEN, 0.25)
QUIET = {"progress": False}


def changed(factors: Factors, **tables) -> Factors:
    names = ("mean", "user_biases", "item_biases", "user_factors", "item_factors")
    return Factors(**{name: getattr(factors, name) for name in names} | tables)


def one_by_one(model, users, n, exclude=None) -> tuple[np.ndarray, np.ndarray]:
    """The lists of several users, each asked for alone."""
    items, scores = np.full((len(users), n), -1), np.full((len(users), n), -np.inf)
    for place, user in enumerate(users):
        own, theirs = model.recommend(int(user), n, exclude)
        items[place, : len(own)], scores[place, : len(own)] = own, theirs
    return items, scores


def assert_the_same_lists(got, wanted):
    """Bit for bit."""
    for one, another in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, another)
