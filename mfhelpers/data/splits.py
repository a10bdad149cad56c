"""Ways to hold ratings or interactions back: each gives (train, test), both of their type and numbered like the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from .arguments import real_number, whole_number
from .interactions import Interactions, require_interactions, require_same_labels

Rows = TypeVar("Rows", bound=Interactions)  # Ratings, too


def random_split(ratings: Rows, test: float = 0.2, seed: int = 0) -> tuple[Rows, Rows]:
    """Hold back a random share of the ratings.

    Parameters
    ----------
    ratings : Ratings or Interactions
    test : float
        Share of the ratings to hold back, between 0 and 1; rounded to whole ratings.
    seed : int
        The same seed holds back the same ratings on every machine.

    Returns
    -------
    train, test : of the type of `ratings`
        Both in the order of `ratings`; a ValueError if either would be empty.
    """
    n_test, seed = _n_test(ratings, test), whole_number("seed", seed, 0)
    chosen = np.zeros(len(ratings), bool)
    chosen[np.random.default_rng(seed).permutation(len(ratings))[:n_test]] = True
    return _rows(ratings, ~chosen), _rows(ratings, chosen)


def kfold(ratings: Rows, folds: int = 5, seed: int = 42) -> Iterator[tuple[Rows, Rows]]:
    """Yield `folds` pairs (train, test) in which every rating is a test rating once.

    The folds are those of Surprise's ``KFold(folds, random_state=seed)`` over the same ratings
    in the same order, so that results can be compared rating by rating. A number of folds below 2, or
    above that of the ratings, is a ValueError.
    """
    require_interactions("ratings", ratings)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    if not 2 <= (folds := whole_number("folds", folds)) <= len(ratings):
        raise ValueError(f"folds={folds}: choose 2 … {len(ratings)} folds for {len(ratings)} ratings")
    order = np.arange(len(ratings))
    np.random.RandomState(seed).shuffle(order)  # the old generator, because Surprise uses it
    parts = np.array_split(order, folds)
    # returned and not yielded, so that a wrong number is refused at the call and not at the first fold
    others = (np.concatenate(parts[:f] + parts[f + 1 :]) for f in range(folds))
    return ((_rows(ratings, rest), _rows(ratings, part)) for rest, part in zip(others, parts, strict=True))


def official_folds(ratings: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Yield the data set's own folds: u1 to u5 of ml-100k; a ValueError if it came without."""
    require_interactions("ratings", ratings)
    if ratings.folds is None:
        raise ValueError(
            f"{ratings.name} ({ratings.source}) has no official folds; ml-100k from MovieLens has, or use kfold"
        )
    tests = (ratings.folds == fold for fold in np.unique(ratings.folds))
    return ((_rows(ratings, ~test), _rows(ratings, test)) for test in tests)


def leave_last_out(ratings: Rows, n: int = 1) -> tuple[Rows, Rows]:
    """Hold back the last `n` ratings of each user by time; of two at the same second, the later in the list.

    Users with `n` ratings or fewer stay in the train part altogether; if that is everybody, or there are no
    timestamps, it is a ValueError.
    """
    n, times = whole_number("n", n, 1), _timestamps(ratings)
    order, counts = np.lexsort((times, ratings.users)), ratings.user_counts
    if counts.max() <= n:
        raise ValueError(f"n={n}: no user has more than {counts.max()} ratings, so nothing would be held back")
    place = np.arange(len(ratings)) - np.repeat(np.cumsum(counts) - counts, counts)
    owner = np.repeat(np.arange(ratings.n_users), counts)
    last = np.empty(len(ratings), bool)
    last[order] = (place >= counts[owner] - n) & (counts[owner] > n)
    return _rows(ratings, ~last), _rows(ratings, last)


def time_split(ratings: Rows, test: float = 0.2) -> tuple[Rows, Rows]:
    """Train on what was rated before a moment and test on what came after it.

    Parameters
    ----------
    ratings : Ratings or Interactions
    test : float
        Share of the ratings to hold back. Ratings of one second stay together, on the train side.
        Without timestamps, or with either part empty, it is a ValueError.
    """
    times = _timestamps(ratings)
    moment = np.sort(times)[len(ratings) - _n_test(ratings, test) - 1]
    if moment == times.max():
        same = int((times == moment).sum())
        raise ValueError(
            f"test={test}: {same} of {len(ratings)} ratings are of the last moment, {moment}, and stay together, so "
            "nothing would come after it: a smaller share of the time, or random_split, holds some back"
        )
    return _rows(ratings, times <= moment), _rows(ratings, times > moment)


@dataclass(frozen=True)
class ColdReport:
    """What a test part holds that its train part has never seen; made by `cold_report`."""

    n_test: int
    cold_users: int
    cold_items: int
    with_cold_user: int
    with_cold_item: int
    with_either: int

    def __str__(self) -> str:
        lines = [
            f"{self.n_test:,} test ratings, {self.with_either:,} ({self.with_either / self.n_test:.1%}) with a cold user or item",
            f"cold users: {self.cold_users:,} with {self.with_cold_user:,} ratings ({self.with_cold_user / self.n_test:.1%})",
            f"cold items: {self.cold_items:,} with {self.with_cold_item:,} ratings ({self.with_cold_item / self.n_test:.1%})",
        ]
        return "\n".join(lines)


def cold_report(train: Interactions, test: Interactions) -> ColdReport:
    """Count the users and items of `test` without a rating in `train`, and the ratings concerned.

    Two parts that are numbered differently are a ValueError.
    """
    require_same_labels(train, test)
    cold_users, cold_items = train.user_counts == 0, train.item_counts == 0
    user, item = cold_users[test.users], cold_items[test.items]
    return ColdReport(
        len(test),
        int((cold_users & (test.user_counts > 0)).sum()),
        int((cold_items & (test.item_counts > 0)).sum()),
        int(user.sum()),
        int(item.sum()),
        int((user | item).sum()),
    )


def _rows(ratings: Rows, index: np.ndarray) -> Rows:
    """A selection has the type of the whole, which a checker does not see through a type variable."""
    return cast(Any, ratings)[index]


def _n_test(ratings: Interactions, share: float) -> int:
    require_interactions("ratings", ratings)
    n_test = round(share * len(ratings)) if 0 < real_number("test", share) < 1 else 0
    if not 0 < n_test < len(ratings):
        raise ValueError(f"test={share}: of {len(ratings)} ratings both parts must get at least one; 0.2 is usual")
    return n_test


def _timestamps(ratings: Interactions) -> np.ndarray:
    require_interactions("ratings", ratings)
    if ratings.timestamps is None:
        raise ValueError(f"{ratings.name} has no timestamps, and a split by time needs them")
    return ratings.timestamps
