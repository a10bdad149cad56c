"""The exercises to lesson 08: singular values, penalties, leaks, and pairs for a ranker."""

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


@exercise(1, "which λ leaves no factor?", found="mean")
def which_lambda_leaves_no_factor(guess: str, empty_threshold: Callable, seed: int = 0) -> str:
    """The largest singular value of a baseline's errors: by hand, at random, and asked of soft_impute itself."""
    guessed(guess, ("averages", "mean"))
    three = Factors(3, np.zeros(3), np.zeros(10), np.zeros((3, 0)), np.zeros((10, 0)))
    rated = Ratings([0] * 9 + [1, 2], [*range(9), 9, 9], np.full(11, 5), 3, 10, (1, 5, 1))
    what = "the threshold if one user rates nine films two stars above the baseline, and two users a tenth one"
    _threshold(empty_threshold, rated, three, what)
    for rng in cases(seed):
        train = some_ratings(rng)
        for baseline in (baselines.global_mean(train), baselines.average_biases(train, damping=5)):
            _threshold(empty_threshold, train, baseline, "the threshold for the errors of random ratings")
    train, _ = simulate_ratings(60, 40, 900, seed=seed)
    baseline = baselines.average_biases(train, damping=5)
    for times, learns in ((1.001, False), (0.99, True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says so itself, that nothing was learned
            reg = times * float(empty_threshold(train, baseline))
            found = decompositions.soft_impute(train, 5, threshold=reg, baseline=baseline, sweeps=2, progress=False)
        require(found.item_factors.any() == learns, f"whether soft_impute learns a factor at {times} times that λ",
                learns, not learns, "Which direction is the first to be kept? That of the largest singular value.")  # fmt: skip
    return "a case by hand, 40 at random, and soft_impute learns a factor just below and none just above"


def _threshold(empty_threshold: Callable, train: Ratings, baseline: Factors, what: str) -> None:
    errors = train.values - baseline.predict(train.users, train.items)
    table, of_values = np.zeros((2, train.n_users, train.n_items))
    table[train.users, train.items], of_values[train.users, train.items] = errors, train.values
    singular = np.linalg.svd(table, compute_uv=False)
    whole = np.where(of_values > 0, of_values, 0) - baseline.predict(*np.indices(table.shape))
    agree(
        empty_threshold(train, baseline), singular[0], what,
        {
            "That is its square: an eigenvalue of E Eᵀ, not a singular value of E.": singular[0] ** 2,
            "Half of it: one more factor of length s takes 2 s σ off the errors and adds 2 λ s, so the twos cancel.":
                singular[0] / 2,
            "Twice that: one more factor of length s takes 2 s σ off the errors and adds 2 λ s, so the twos cancel.":
                2 * singular[0],
            "That is the length of the whole table. One direction gets the largest part of it, not all.":
                np.linalg.norm(table),
            "That is the largest single error. A direction collects many.": np.abs(errors).max(),
            "The sum of all singular values. The first factor goes in one direction only.": singular.sum(),
            "That is the smallest singular value: the largest is the last to go.": singular[-1],
            "That is the second singular value: above it one factor is left.": singular[1],
            "The largest sum of a column (norm(table, 1)) is no singular value: norm(table, 2) is.":
                np.abs(table).sum(axis=0).max(),
            "The largest sum of a row (norm(table, inf)) is no singular value: norm(table, 2) is.":
                np.abs(table).sum(axis=1).max(),
            "Its root? λ is compared with the singular value itself.": np.sqrt(singular[0]),
            "That is for each rating: the singular value is that of the whole table.": singular[0] / len(train),
            "These are singular values of the ratings: take the baseline off first.": np.linalg.norm(of_values, 2),
            "In a gap there is no error: it stays at zero, the baseline is taken off rated cells alone.":
                np.linalg.norm(whole, 2),
        },
        cause="Make a table of errors, zero in gaps. Then: which of its singular values?",
    )  # fmt: skip


@exercise(2, "the unnamed factor", found="films")
def the_unnamed_factor(guess: str, mix: Callable, seed: int = 0) -> str:
    """Factors mixed by rotations and by other invertible matrices; all predictions stay."""
    guessed(guess, ("predictions", "penalty", "films"))
    why = {
        "predictions": "(P A)(Q A)ᵀ = P A Aᵀ Qᵀ, and A Aᵀ is 1 for a rotation.",
        "penalty": "A rotation keeps the length of each row, and the penalty is made of these lengths.",
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
              {"P is as before: it was to be multiplied by A.": P, "That is P Aᵀ: P A is asked for.": P @ A.T,
               "That is P A⁻¹: P A is asked for, and Q undoes it.": P @ one_over})  # fmt: skip
        agree(
            got.item_factors, Q @ one_over.T, f"Q after P was multiplied by A ({'a rotation' if number % 2 else 'no rotation'})",
            {
                "Q A keeps predictions only if A is a rotation. What undoes any A?": Q @ A,
                "That is Q A⁻¹. In P Qᵀ the other side is transposed, and so is what undoes A.": Q @ one_over,
                "Q is as before, so nothing undoes A in the product.": Q,
                "That is Q Aᵀ. What undoes A is its inverse.": Q @ A.T,
                "That is the table of predictions' part: the films' rows are asked for, of shape (n_items, k).": P @ Q.T,
            },
        )  # fmt: skip
        kept = (got.mean, got.user_biases, got.item_biases)
        agree(kept, (given.mean, given.user_biases, given.item_biases), "the mean and the biases",
              cause="A mixes factors only: the mean and both biases stay.")  # fmt: skip
    return "10 rotations and 10 other matrices; every prediction stays"


@exercise(3, "bug hunt: one λ for every k?")
def one_lambda_for_every_k(as_sums: Callable, repaired_loss: Callable, seed: int = 0) -> str:
    """What the λ of a mean is as that of a sum, and a loss that unused columns do not change."""
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
                "The errors were multiplied up, but the penalties are means of P and Q still.": np.full(2, reg * n),
                "The means of P and Q are sums by now, but the errors' is not: multiply by the number of ratings.":
                    np.full(2, reg),
                "Each has numbers of its own: n_users · k of P, n_items · k of Q.": np.full(2, reg * n / (rows.sum() * k)),
                "Divided by the number of ratings? Multiply the whole loss by it.": reg / n / (rows * k),
                "The root of it comes later: λ of P and λ of Q are asked for.": np.full(2, np.sqrt(np.prod(right))),
                "P and Q are the other way round.": right[::-1],
                "P has k columns, not k rows: divide by all its numbers.": np.full(2, reg * n / k),
            },
        )  # fmt: skip
        squares, all_squares = np.sum(e**2), np.sum(P**2) + np.sum(Q**2)
        unused = np.hstack([P, np.zeros((n_users, 3))]), np.hstack([Q, np.zeros((n_items, 3))])
        wrong = {
            "Sums now, but not divided by the number of errors.": squares + lam * all_squares,
            "The penalty is not divided by the number of errors, as the squares are.": squares / n + lam * all_squares,
            "k times a mean is a sum over the row divided by the number of rows: sum all squares, and divide by that of errors.":
                squares / n + lam * k * (np.mean(P**2) + np.mean(Q**2)),
            "k times a mean is a sum over the row divided by the number of rows: all squares are to be summed.":
                (squares + lam * k * (np.mean(P**2) + np.mean(Q**2))) / n,
            "The penalty is a mean still, over the numbers of P and of Q together.":
                squares / n + lam * all_squares / (P.size + Q.size),
            "Divided by the numbers of P and Q, too: by the number of errors alone.":
                (squares + lam * (np.mean(P**2) + np.mean(Q**2))) / n,
            "The penalty is subtracted: it makes the loss larger.": (squares - lam * all_squares) / n,
            "That is the colleague's loss: its penalty is a mean still.":
                squares / n + lam * (np.mean(P**2) + np.mean(Q**2)),
            "The roots of the sums: the penalty is of the squares.": (squares + lam * (np.linalg.norm(P) + np.linalg.norm(Q))) / n,
            "The penalty of Q is missing.": (squares + lam * np.sum(P**2)) / n,
            "The penalty of P is missing.": (squares + lam * np.sum(Q**2)) / n,
            "There is no penalty in it.": squares / n,
        }  # fmt: skip
        loss, with_unused = repaired_loss(e, P, Q, lam), repaired_loss(e, *unused, lam)
        agree(loss, (squares + lam * all_squares) / n, "the repaired loss", wrong)
        agree(with_unused, loss, "the loss with three more columns of zeros", cause="Nothing may be divided by k.")
    return "20 random sizes; columns that nobody uses change nothing"


@exercise(4, "a leak with a lower penalty", found=3)
def a_leak_with_a_lower_penalty(guess: Any, contestants: Callable, seed: int = 0) -> str:
    """Both contestants' predictions against SVD++ with and without the pairs of the test set."""
    guessed(guess, (60, 10, 3))
    ratings, _ = simulate_ratings(60, 40, 900, seed=seed)
    train, test = splits.random_split(ratings, seed=seed)
    for reg_implicit, start in ((60, 0), (3, 1)):
        got = contestants(ratings, reg_implicit)
        names = sorted(got) if isinstance(got, dict) else type(got).__name__
        require(names == ["honest", "leak"], "the contestants", ["honest", "leak"], names, "Return a dict of both.")

        def predictions(part=train, reg_implicit=reg_implicit, seed=start, **how):
            fitted = svdpp(part, reg_implicit=reg_implicit, seed=seed, progress=False, **how)
            return fitted.predict(test.users, test.items)

        honest, leak = predictions(), predictions(implicit=ratings)
        for name, right, other in (("honest", honest, leak), ("leak", leak, honest)):
            how = {"implicit": ratings} if name == "leak" else {}
            own = {
                "It knows no pairs of the test set: hand them over as implicit=.": other,
                "This one knows the pairs of the test set alone: implicit= takes those of train, too.":
                    predictions(implicit=test),
            } if name == "leak" else {
                "It knows the pairs of the test set: the honest one has those of train.": other,
            }  # fmt: skip
            fitted = got[name](train, seed=start)
            require(hasattr(fitted, "predict"), f"what {name!r} returns", "Factors", type(fitted).__name__,
                    "Each is a function of (train, seed) that returns what mf.svdpp returns.")  # fmt: skip
            agree(
                fitted.predict(test.users, test.items), right, f"the predictions of {name!r} at reg_implicit={reg_implicit}",
                {
                    **own,
                    "This one learned from the stars of the test set: only its pairs leak.": predictions(ratings),
                    "Is reg_implicit passed on? This is the default's.": predictions(reg_implicit=60, **how),
                    "This one was given as `reg`: reg_implicit is the penalty of y.":
                        predictions(reg_implicit=60, reg=reg_implicit, **how),
                    "Is the seed passed on? This is that of seed 0.": predictions(seed=0, **how),
                    "This is ALS, without the pairs.":
                        least_squares.als(train, 20, seed=start, progress=False).predict(test.users, test.items),
                },
                tolerance=1e-4,
            )  # fmt: skip
    return "both at two values of reg_implicit, from two starts"


@exercise(5, "bug hunt: unrated films that were rated", found=9)
def unrated_films_that_were_rated(guess: Any, sample_pairs: Callable, seed: int = 0) -> str:
    """Triples from small tables: rated, unrated, each as often as it should come, and from the given generator."""
    guessed(guess, (1, 5, 9))
    n = 4000
    for number, rng in enumerate(cases(seed, 4)):
        train, start = _table(rng, *((6, 9) if number % 2 == 0 else (9, 6))), int(rng.integers(1000))
        seen = train.to_csr().toarray() > 0
        users, rated, unrated = _triples(sample_pairs(train, n, np.random.default_rng(start)), n, seen.shape)
        require(seen[users].any(axis=1).all(), "the users drawn", "users with a rating", "one without any",
                "Draw a rating, evenly; its user and film come with it.")  # fmt: skip
        require(seen[users, rated].all(), "the second film", "rated by that user",
                f"in {(~seen[users, rated]).sum():,} of {n:,} cases not", "The second array has what they rated.")  # fmt: skip
        hits, at_once = seen[users, unrated].mean(), seen.mean(axis=1)[train.users].mean()
        require(
            not hits, "the third film", "rated by that user in 0 % of the cases", f"{hits:.1%}",
            "These were drawn again once or a few times, it seems. Such a draw may hit, too: go on until none is left."
            if hits < 0.8 * at_once else "A film drawn among all may be one that this user has rated.",
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
        _no_key_is_shared(drawn, train, free)
        evenly = free * (drawn.sum(axis=1) / free.sum(axis=1))[:, None]
        _as_often(drawn, evenly, "user and unrated film", "Each film that a user has not rated is equally likely.")
    again, other = (sample_pairs(train, n, np.random.default_rng(start + s)) for s in (0, 1))
    require(all(map(np.array_equal, again, (users, rated, unrated))), "the same generator once more", "the same triples",
            "others", "Draw with `rng` alone.")  # fmt: skip
    require(not np.array_equal(other[2], unrated), "another generator", "other triples", "the same", "Draw with `rng`.")
    return "four small tables, 4,000 triples each: rated and not rated, and all as often as they should be"


KEYS = {  # numbers that two pairs may share, and why
    "user * n_users + film is the number of two pairs if there are more films than users: user * n_items + film.":
        lambda users, items, n_users, n_items: users * n_users + items,
    "film * n_items + user is the number of two pairs if there are more users than films: film * n_users + user.":
        lambda users, items, n_users, n_items: items * n_items + users,
    "user + film is the number of many pairs: user * n_items + film.": lambda users, items, *_: users + items,
}  # fmt: skip


def _shared(key: Callable, train: Ratings) -> np.ndarray:
    """The cells whose key is that of a rating."""
    users, items = np.indices((train.n_users, train.n_items))
    sizes = train.n_users, train.n_items
    return np.isin(key(users, items, *sizes), key(train.users, train.items, *sizes))


def _table(rng: np.random.Generator, n_users: int, n_items: int) -> Ratings:
    """A table in which nobody has rated all rated films, and in which one of the first two keys is shared."""
    key = list(KEYS.values())[n_users > n_items]
    while True:
        train = some_ratings(rng, n_users, n_items, share=0.4)
        free = train.to_csr().toarray() == 0
        mistaken = free & _shared(key, train)
        few = (
            train.user_counts.max() < (train.item_counts > 0).sum() and (free & ~_shared(key, train)).any(axis=1).all()
        )
        if few and mistaken[train.user_counts > 0].any():
            return train


def _no_key_is_shared(drawn: np.ndarray, train: Ratings, free: np.ndarray) -> None:
    for hint, key in KEYS.items():
        never = free & _shared(key, train) & (train.user_counts > 0)[:, None]
        if never.any() and not drawn[never].any():
            user, film = map(int, np.argwhere(never)[0])
            fail(
                "films that the user has not rated",
                "all of them, now and then",
                f"never film {film} with user {user}",
                hint,
            )


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
