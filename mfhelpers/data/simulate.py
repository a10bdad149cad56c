"""Ratings whose true factors are known, in the shape of MovieLens."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .arguments import real_number, whole_number
from .features import Features
from .interactions import MOST
from .linear import predicted
from .ratings import Ratings, Scale, checked_scale

# Chosen so that the usual models score on the default simulation about what they score on ml-100k:
# RMSE 1.13 for the mean, .95 for biases, .92 for a factorisation.
SD_USER_BIAS, SD_ITEM_BIAS, SD_SIGNAL, SD_NOISE = 0.46, 0.52, 0.46, 0.85
POPULAR_IS_LIKED = 0.22  # stars of item bias for one standard deviation of log popularity
EXACT_CELLS = 8_000_000  # a matrix of more cells is drawn by rejection at first, unless it gets over a quarter full
FIRST_DAY, DAYS = 874_724_710, 214  # ml-100k's: 20 September 1997, seven months
PAGE, MOOD = 40, 600  # seconds: ratings of a page arrive together, and a mood lasts for ten minutes


def simulate(
    n_users: int, n_items: int, n_ratings: int, n_factors: int = 5, *, scale: Scale | tuple = (1, 5, 1), mean: float = 3.55,
    noise: float = SD_NOISE, mood: float = 0.0, min_per_user: int | None = None, seed: int = 0, name: str = "simulated",
) -> tuple[Ratings, tuple]:  # fmt: skip
    """The ratings of `mfhelpers.simulate_ratings`, which describes them, and the five arrays of their truth.

    With `mood`, a share, users rate in pages of one second, and what they rate within ten minutes has so much of the
    noise's variance in common: about as in ml-100k with a share of 0.2.
    """
    sizes = (("n_users", n_users, MOST), ("n_items", n_items, MOST), ("n_ratings", n_ratings, 10 * MOST))
    n_users, n_items, n_ratings = (whole_number(what, size, 1, limit) for what, size, limit in sizes)
    n_factors = whole_number("n_factors", n_factors, 0, 10 * MOST // (n_users + n_items))
    mean, noise = real_number("mean", mean, None, -1e6, 1e6), real_number("noise", noise, at_least=0, at_most=1e6)
    fewest = min(20, n_ratings // n_users, n_items)
    min_per_user = fewest if min_per_user is None else whole_number("min_per_user", min_per_user, 0)
    if not n_users * min_per_user <= n_ratings <= n_users * n_items:
        raise ValueError(
            f"n_ratings={n_ratings}: {n_users} users × {n_items} items with at least {min_per_user} ratings a user "
            f"leave {n_users * min_per_user} … {n_users * n_items}"
        )
    rng = np.random.default_rng(whole_number("seed", seed, 0))
    scale = checked_scale(scale)
    popularity = rng.normal(0.0, 1.0, n_items)
    counts = _counts_per_user(rng, n_users, n_items, n_ratings, min_per_user)
    users, items = _draw_pairs(rng, counts, 2.1 * popularity - 0.3 * popularity**2)

    liked = POPULAR_IS_LIKED * popularity
    item_biases = rng.normal(0.0, np.sqrt(max(SD_ITEM_BIAS**2 - POPULAR_IS_LIKED**2, 0)), n_items) + liked
    item_biases -= item_biases[items].mean()  # so that μ is the mean of what is rated
    sd = np.sqrt(SD_SIGNAL / np.sqrt(max(n_factors, 1)))
    truth = (
        mean,
        rng.normal(0.0, SD_USER_BIAS, n_users).astype(np.float32),
        item_biases.astype(np.float32),
        rng.normal(0.0, sd, (n_users, n_factors)).astype(np.float32),
        rng.normal(0.0, sd, (n_items, n_factors)).astype(np.float32),
    )
    values, errors = predicted(truth, users, items), rng.normal(0.0, 1.0, n_ratings) if noise else np.zeros(n_ratings)
    # a user arrives on one day and rates within hours, as in ml-100k
    arrival = rng.uniform(0, DAYS * 86_400, n_users)
    seconds = (FIRST_DAY + arrival[users] + rng.exponential(7_200, n_ratings)).astype(np.int64)
    if mood:
        seconds -= seconds % PAGE
        _, at = np.unique(users * 2**32 + seconds // MOOD, return_inverse=True)
        shared = np.random.default_rng([seed, 3]).normal(0.0, 1.0, at.max() + 1)[at]
        errors = np.sqrt(1 - mood) * errors + np.sqrt(mood) * shared
    values += (noise * errors).astype(np.float32)
    if scale.step:
        values = scale.low + scale.step * np.rint((values - scale.low) / scale.step)
    np.clip(values, scale.low, scale.high, out=values)

    order = np.argsort(seconds, kind="stable")
    digits = len(str(n_items))
    ratings = Ratings(
        users[order],
        items[order],
        values[order],
        n_users,
        n_items,
        scale,
        timestamps=seconds[order],
        user_ids=np.arange(1, n_users + 1),
        item_ids=np.arange(1, n_items + 1),
        titles=np.array([f"Simulated film {i:0{digits}d}" for i in range(1, n_items + 1)]),
        name=name,
        source="simulated",
    )
    return ratings, truth


# the share of films in ml-100k; what a genre says of a film's truth is drawn
GENRES = {"Action": .15, "Adventure": .08, "Animation": .03, "Children's": .07, "Comedy": .30, "Crime": .06, "Documentary": .03,
          "Drama": .43, "Fantasy": .01, "Film-Noir": .01, "Horror": .05, "Musical": .03, "Mystery": .04, "Romance": .15,
          "Sci-Fi": .06, "Thriller": .15, "War": .04, "Western": .02}  # fmt: skip
TOLD = 0.8  # how much of a film's score in a genre is its truth; the rest is chance
OCCUPATIONS = (
    "administrator",
    "artist",
    "educator",
    "engineer",
    "librarian",
    "other",
    "programmer",
    "student",
    "writer",
)


def simulated_features(truth: tuple, with_users: bool = True, seed: int = 0) -> Features:
    """Genres and years that tell something of the films' true factors and biases; ages, sexes and occupations that do not."""
    _, user_biases, item_biases, _, item_factors = truth
    rng, n_users, n_items = np.random.default_rng([seed, 1]), len(user_biases), len(item_biases)
    rows = np.column_stack([item_factors, item_biases])
    rows = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-12)
    directions = rng.normal(0, 1, (rows.shape[1], len(GENRES)))
    directions /= np.linalg.norm(directions, axis=0)
    scores = TOLD * rows @ directions + np.sqrt(1 - TOLD**2) * rng.normal(0, 1, (n_items, len(GENRES)))
    limits = [np.quantile(column, 1 - share) for column, share in zip(scores.T, GENRES.values(), strict=True)]
    flags = scores > np.array(limits)
    flags[np.arange(n_items), (scores - limits).argmax(axis=1)] = True  # each film has one at least
    names = np.array(list(GENRES))
    age = np.exp(
        rng.normal(1.2, 1.3, n_items) + 0.4 * rows[:, -1]
    )  # in years: what is still seen from long ago was good
    items = {"year": 1998 - np.minimum(age, 75).astype(np.int64), "genres": ["|".join(names[row]) for row in flags]}
    users = {
        "age": rng.integers(7, 74, n_users),
        "sex": rng.choice(["F", "M"], n_users, p=[0.29, 0.71]),
        "occupation": rng.choice(OCCUPATIONS, n_users),
    }
    return Features(pd.DataFrame(users) if with_users else None, pd.DataFrame(items))


def _counts_per_user(rng: np.random.Generator, n_users: int, n_items: int, n_ratings: int, minimum: int) -> np.ndarray:
    """How many items each user rates: at least `minimum`, n_ratings together.

    Nobody rates more than half of the items, as nobody does in ml-100k, unless so many are asked for.
    """
    most = min(n_items, max(n_items // 2, minimum, 2 * -(-n_ratings // n_users)))
    share = rng.lognormal(0.0, 1.1, n_users)
    counts = np.full(n_users, minimum)
    while (left := n_ratings - counts.sum()) > 0:
        room = counts < most
        extra = np.where(room, share, 0.0)
        extra *= left / extra.sum()
        whole = np.floor(extra).astype(np.int64)
        # what rounding left over goes to users at random
        lucky = rng.choice(np.flatnonzero(room), min(left - whole.sum(), room.sum()), replace=False)
        whole[lucky] += 1
        counts = np.minimum(counts + whole, most)
    return counts


def _draw_pairs(rng: np.random.Generator, counts: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct items for each user, item i with odds exp(logits[i]), without replacement."""
    n_users, n_items = len(counts), len(logits)
    pairs = np.empty(0, np.int64)
    if n_users * n_items > max(EXACT_CELLS, 4 * counts.sum()):
        # drawing with replacement and dropping what a user has already: quick while few are dropped
        cumulative = np.cumsum(np.exp(logits))
        for _ in range(20):
            missing = _missing(pairs, counts, n_items)
            if np.count_nonzero(missing) < 0.02 * n_users:
                break
            users = np.repeat(np.arange(n_users), missing)
            drawn = np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], len(users)), side="right")
            drawn = np.sort(users * n_items + np.minimum(drawn, n_items - 1))
            pairs = np.sort(np.concatenate([pairs, drawn]), kind="stable")  # merges two sorted runs
            pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    missing = _missing(pairs, counts, n_items)
    unfinished = np.flatnonzero(missing)
    bounds = np.searchsorted(pairs, [unfinished * n_items, (unfinished + 1) * n_items])
    added = [pairs]
    for user, start, stop in zip(unfinished, *bounds, strict=True):
        # the largest of logits + Gumbel noise are an exact draw without replacement
        keys = logits + rng.gumbel(size=n_items)
        keys[pairs[start:stop] % n_items] = -np.inf
        chosen = np.argpartition(-keys, missing[user] - 1)[: missing[user]]
        added.append(user * n_items + np.sort(chosen))  # in an order that does not depend on the processor
    pairs = np.concatenate(added)
    return pairs // n_items, pairs % n_items


def _missing(pairs: np.ndarray, counts: np.ndarray, n_items: int) -> np.ndarray:
    return counts - np.bincount(pairs // n_items, minlength=len(counts))
