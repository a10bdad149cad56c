"""The exercises to lesson 08: singular values, prices, leaks, and pairs for a ranker."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..algorithms import als as least_squares, baselines, svd as decompositions
from ..algorithms.svdpp import svdpp
from ..data import splits
from ..data.ratings import Ratings
from ..models.factors import Factors
from ..models.truth import simulate_ratings
from .feedback import agree, cases, exercise, fail, guessed, require, some_ratings


@exercise(1, "how much must nothing cost?", found="mean")
def how_much_must_nothing_cost(guess: str, price_of_nothing: Callable, seed: int = 0) -> str:
    """The largest singular value of a baseline's errors: by hand, at random, and asked of soft_impute itself."""
    guessed(guess, ("averages", "mean"))
    three = Factors(3, np.zeros(2), np.zeros(9), np.zeros((2, 0)), np.zeros((9, 0)))
    row = Ratings(np.zeros(9, int), np.arange(9), np.full(9, 4), 2, 9, (1, 5, 1))
    _price(price_of_nothing, row, three, "the price for one user who rates nine films a star above the baseline")
    for rng in cases(seed):
        train = some_ratings(rng)
        for baseline in (baselines.global_mean(train), baselines.average_biases(train, damping=5)):
            _price(price_of_nothing, train, baseline, "the price for the errors of random ratings")
    train, _ = simulate_ratings(60, 40, 900, seed=seed)
    baseline = baselines.average_biases(train, damping=5)
    for times, learns in ((1.001, False), (0.99, True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says so itself, that nothing was learned
            reg = times * float(price_of_nothing(train, baseline))
            found = decompositions.soft_impute(train, 5, threshold=reg, baseline=baseline, sweeps=2, progress=False)
        require(found.item_factors.any() == learns, f"whether soft_impute learns a factor at {times} times that λ",
                learns, not learns, "Which direction pays first? The one of the largest singular value.")  # fmt: skip
    return "a case by hand, 40 at random, and soft_impute learns a factor just below and none just above"


def _price(price_of_nothing: Callable, train: Ratings, baseline: Factors, what: str) -> None:
    errors = train.values - baseline.predict(train.users, train.items)
    table, of_values = np.zeros((2, train.n_users, train.n_items))
    table[train.users, train.items], of_values[train.users, train.items] = errors, train.values
    sizes = np.linalg.svd(table, compute_uv=False)
    whole = np.where(of_values > 0, of_values, 0) - baseline.predict(*np.indices(table.shape))
    agree(
        price_of_nothing(train, baseline), sizes[0], what,
        {
            "That is its square: an eigenvalue of E Eᵀ, not a singular value of E.": sizes[0] ** 2,
            "Half of it: one more factor wins 2 s σ and costs 2 λ s, so the twos cancel.": sizes[0] / 2,
            "Twice that: one more factor wins 2 s σ and costs 2 λ s, so the twos cancel.": 2 * sizes[0],
            "That is the length of the whole table. One direction gets the largest part of it, not all.":
                np.linalg.norm(table),
            "That is the largest single error. A direction collects many.": np.abs(errors).max(),
            "The sum of all singular values. The first factor goes in one direction only.": sizes.sum(),
            "These are singular values of the ratings: take the baseline off first.": np.linalg.norm(of_values, 2),
            "In a gap there is no error: it stays at zero, the baseline is taken off rated cells alone.":
                np.linalg.norm(whole, 2),
        },
        cause="Make a table of errors, zero in gaps. Then: which of its singular values?",
    )  # fmt: skip


@exercise(2, "the unnamed factor", found="films")
def the_unnamed_factor(guess: str, mix: Callable, seed: int = 0) -> str:
    """Factors mixed by rotations and by other invertible matrices; all predictions stay."""
    guessed(guess, ("predictions", "price", "films"))
    why = {
        "predictions": "(P A)(Q A)ᵀ = P A Aᵀ Qᵀ, and A Aᵀ is 1 for a rotation.",
        "price": "A rotation keeps the length of each row, and the price is made of these lengths.",
    }
    require(guess == "films", "what a rotation changes", "'films'", repr(guess), why.get(guess, ""))
    for number, rng in enumerate(cases(seed)):
        k = int(rng.integers(1, 4))
        turn = np.linalg.qr(rng.normal(0, 1, (k, k)))[0]
        A = turn if number % 2 else turn * rng.uniform(0.5, 2, k) @ np.linalg.qr(rng.normal(0, 1, (k, k)))[0]
        given = Factors(3.5, *(rng.normal(0, 1, shape) for shape in (4, 3, (4, k), (3, k))))
        got = mix(given, A.copy())
        if not isinstance(got, Factors):
            fail("the result", "Factors", f"a {type(got).__name__}", "Make them as mf.Factors(mean, …).")
        P, Q, one_over = given.user_factors, given.item_factors, np.linalg.inv(A)
        agree(got.user_factors, P @ A, "P of the mixed factors",
              {"P is as before: it was to be multiplied by A.": P, "That is P Aᵀ.": P @ A.T})  # fmt: skip
        agree(
            got.item_factors, Q @ one_over.T, f"Q after P was multiplied by A ({'a rotation' if number % 2 else 'no rotation'})",
            {
                "Q A keeps predictions only if A is a rotation. What undoes any A?": Q @ A,
                "That is Q A⁻¹. In P Qᵀ the other side is transposed, and so is what undoes A.": Q @ one_over,
                "Q is as before, so nothing undoes A in the product.": Q,
            },
        )  # fmt: skip
        kept = (got.mean, got.user_biases, got.item_biases)
        agree(kept, (given.mean, given.user_biases, given.item_biases), "the mean and the biases",
              cause="A mixes factors only: the mean and both biases stay.")  # fmt: skip
    return "10 rotations and 10 other matrices; every prediction stays"


@exercise(3, "bug hunt: one λ for all sizes?")
def one_price_for_all_sizes(as_sums: Callable, repaired_loss: Callable, seed: int = 0) -> str:
    """What a mean charges in terms of sums, and a loss that unused columns do not change."""
    for rng in cases(seed):
        k, n_users, n_items, n = (int(rng.integers(2, high)) for high in (6, 9, 9, 30))
        reg, lam = rng.uniform(0.1, 1, 2)
        e, P, Q = (rng.normal(0, 1, shape) for shape in (n, (n_users, k), (n_items, k)))
        rows = np.array([n_users, n_items])
        right = reg * n / (rows * k)
        agree(
            as_sums(reg, n, n_users, n_items, k), right, f"λ of P and of Q ({n} ratings, {n_users} users, {n_items} films, k = {k})",
            {
                "Where is k? P has n_users · k numbers.": reg * n / rows,
                "These multiply by the size of P and Q: a mean divides.": reg * n * rows * k,
                "The error is a mean, too: multiply the whole loss by the number of ratings.": reg / (rows * k),
                "The errors were multiplied up, but the prices are means of P and Q still.": np.full(2, reg * n),
                "P and Q are the other way round.": right[::-1],
                "P has k columns, not k rows: divide by all its numbers.": np.full(2, reg * n / k),
            },
        )  # fmt: skip
        squares, all_squares = np.sum(e**2), np.sum(P**2) + np.sum(Q**2)
        unused = np.hstack([P, np.zeros((n_users, 3))]), np.hstack([Q, np.zeros((n_items, 3))])
        wrong = {
            "Sums now, but not divided by the number of errors.": squares + lam * all_squares,
            "The price is not divided by the number of errors, as the squares are.": squares / n + lam * all_squares,
            "That is the colleague's loss: its price is a mean still.":
                squares / n + lam * (np.mean(P**2) + np.mean(Q**2)),
            "Sums of rows' lengths, not of squares?": (squares + lam * (np.linalg.norm(P) + np.linalg.norm(Q))) / n,
            "The price of one side is missing.": (squares + lam * np.sum(P**2)) / n,
        }  # fmt: skip
        loss, with_unused = repaired_loss(e, P, Q, lam), repaired_loss(e, *unused, lam)
        agree(loss, (squares + lam * all_squares) / n, "the repaired loss", wrong)
        agree(with_unused, loss, "the loss with three more columns of zeros", cause="Nothing may be divided by k.")
    return "20 random sizes; columns that nobody uses cost nothing and make nothing cheaper"


@exercise(4, "a leak with a lower price", found=3)
def a_leak_with_a_lower_price(guess: Any, contestants: Callable, seed: int = 0) -> str:
    """Both contestants' predictions against SVD++ with and without the pairs of the exam."""
    guessed(guess, (60, 10, 3))
    ratings, _ = simulate_ratings(60, 40, 900, seed=seed)
    train, test = splits.random_split(ratings, seed=seed)
    for price, start in ((60, 0), (3, 1)):
        got = contestants(ratings, price)
        names = sorted(got) if isinstance(got, dict) else type(got).__name__
        require(names == ["honest", "leak"], "the contestants", ["honest", "leak"], names, "Return a dict of both.")

        def predictions(part=train, price=price, seed=start, **how):
            fitted = svdpp(part, reg_implicit=price, seed=seed, progress=False, **how)
            return fitted.predict(test.users, test.items)

        honest, leak = predictions(), predictions(implicit=ratings)
        for name, right, other in (("honest", honest, leak), ("leak", leak, honest)):
            how = {"implicit": ratings} if name == "leak" else {}
            fitted = got[name](train, seed=start)
            require(hasattr(fitted, "predict"), f"what {name!r} returns", "Factors", type(fitted).__name__,
                    "Each is a function of (train, seed) that returns what mf.svdpp returns.")  # fmt: skip
            agree(
                fitted.predict(test.users, test.items), right, f"the predictions of {name!r} at reg_implicit={price}",
                {
                    "It knows no pairs of the exam: hand them over as implicit=.": other if name == "leak" else np.nan,
                    "It knows the pairs of the exam: the honest one has those of train.":
                        other if name == "honest" else np.nan,
                    "This one learned from the stars of the exam: only its pairs leak.": predictions(ratings),
                    "Is the price passed on? This is the default's.": predictions(price=60, **how),
                    "Is the seed passed on? This is that of seed 0.": predictions(seed=0, **how),
                    "This is ALS, without the pairs.":
                        least_squares.als(train, 20, seed=start, progress=False).predict(test.users, test.items),
                },
                tolerance=1e-4,
            )  # fmt: skip
    return "both at two prices, from two starts"


@exercise(5, "bug hunt: unrated films that were rated", found=9)
def unrated_films_that_were_rated(guess: Any, sample_pairs: Callable, seed: int = 0) -> str:
    """Triples from small tables: rated, unrated, each as often as it should come, and from the given generator."""
    guessed(guess, (1, 5, 9))
    n = 4000
    for rng in cases(seed, 4):
        train, start = some_ratings(rng, 7, 6, share=0.5), int(rng.integers(1000))
        while train.user_counts.max() == (train.item_counts > 0).sum():  # each user leaves out what others rated
            train = some_ratings(rng, 7, 6, share=0.5)
        seen = train.to_csr().toarray() > 0
        users, rated, unrated = _triples(sample_pairs(train, n, np.random.default_rng(start)), n, seen.shape)
        require(seen[users].any(axis=1).all(), "the users drawn", "users with a rating", "one without any",
                "Draw a rating, evenly; its user and film come with it.")  # fmt: skip
        require(seen[users, rated].all(), "the second film", "rated by that user",
                f"in {(~seen[users, rated]).sum():,} of {n:,} cases not", "The second array has what they rated.")  # fmt: skip
        hits = seen[users, unrated].mean()
        once = (seen.mean(axis=1)[train.users] ** 2).mean()
        require(
            not hits, "the third film", "rated by that user in 0 % of the cases", f"{hits:.1%}",
            "These were drawn again once, it seems. The second draw may hit, too: go on until none is left."
            if abs(hits - once) < 0.4 * once else "A film drawn among all may be one that this user has rated.",
        )  # fmt: skip
        evenly = np.where(seen, n / len(train), 0)
        _as_often(np.histogram2d(users, rated, [range(s + 1) for s in seen.shape])[0], evenly, "user and rated film",
                  "Each rating is drawn as often as every other, so a user with many comes often.")  # fmt: skip
        free = ~seen
        drawn = np.histogram2d(users, unrated, [range(s + 1) for s in seen.shape])[0]
        nobody = ~seen.any(axis=0)
        require(drawn[:, ~nobody].any(), "films that others rated, among the unrated", "some", "none",
                "Rated by somebody is not rated by this user: look at the pair.")  # fmt: skip
        require(drawn[:, nobody].any(), "films that nobody rated, among the unrated", "some", "none",
                "All films can be drawn, not only those that occur in train.items.")  # fmt: skip
        evenly = free * (drawn.sum(axis=1) / free.sum(axis=1))[:, None]
        _as_often(drawn, evenly, "user and unrated film", "Each film that a user has not rated is equally likely.")
    again, other = (sample_pairs(train, n, np.random.default_rng(start + s)) for s in (0, 1))
    require(all(map(np.array_equal, again, (users, rated, unrated))), "the same generator once more", "the same triples",
            "others", "Draw with `rng` alone.")  # fmt: skip
    require(not np.array_equal(other[2], unrated), "another generator", "other triples", "the same", "Draw with `rng`.")
    return "four small tables, 4,000 triples each: rated and not rated, and all as often as they should be"


def _triples(got: Any, n: int, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    if not isinstance(got, (tuple, list)) or len(got) != 3:
        fail("the result", "three arrays", f"a {type(got).__name__}", "Return users, rated films, unrated films.")
    arrays = tuple(map(np.asarray, got))
    for array, what, limit in zip(arrays, ("users", "rated", "unrated"), (shape[0], shape[1], shape[1]), strict=True):
        require(array.shape == (n,), f"how many {what} came back", n, array.shape,
                "Those that were drawn badly are drawn again, not left out.")  # fmt: skip
        sound = array.dtype.kind in "iu" and ((array >= 0) & (array < limit)).all()
        require(sound, what, f"whole numbers below {limit}", array, "They are rows of the table, or its columns.")
    return arrays


def _as_often(drawn: np.ndarray, expected: np.ndarray, what: str, cause: str) -> None:
    """Counts within six standard deviations of what chance allows."""
    off = np.abs(drawn - expected) / np.sqrt(np.maximum(expected, 1))
    worst = np.unravel_index(off.argmax(), off.shape)
    require(off[worst] < 6, f"how often {what} {tuple(map(int, worst))} came up", f"about {expected[worst]:.0f} times",
            f"{drawn[worst]:.0f}", cause)  # fmt: skip
