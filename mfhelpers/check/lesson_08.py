"""The exercises to lesson 08: singular values, penalties, leaks, and pairs for a ranker."""

from __future__ import annotations

import inspect
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
from .feedback import Together, agree, cases, exercise, fail, guessed, require, some_ratings


@exercise(1, "the λ that leaves no factor", found="mean")
def the_lambda_that_leaves_no_factor(guess: str, empty_threshold: Callable, seed: int = 0) -> str:
    """The largest singular value of a baseline's errors: by hand, at random, and asked of soft_impute itself."""
    guessed(guess, ("averages", "mean"))
    three = Factors(3, np.zeros(2), np.zeros(9), np.zeros((2, 0)), np.zeros((9, 0)))
    row = Ratings(np.zeros(9, int), np.arange(9), np.full(9, 4), 2, 9, (1, 5, 1))
    with Together() as same:
        _threshold(
            same, empty_threshold, row, three, "the λ for one user who rates nine films a star above the baseline"
        )
        for rng in cases(seed):
            train = some_ratings(rng)
            for baseline in (baselines.global_mean(train), baselines.average_biases(train, damping=5)):
                _threshold(same, empty_threshold, train, baseline, "the λ for the errors of random ratings")
    train, _ = simulate_ratings(60, 40, 900, seed=seed)
    baseline = baselines.average_biases(train, damping=5)
    for times, learns in ((1.001, False), (0.99, True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says so itself, that nothing was learned
            lam = times * float(empty_threshold(train, baseline))
            found = decompositions.soft_impute(train, 5, threshold=lam, baseline=baseline, sweeps=2, progress=False)
        require(found.item_factors.any() == learns, f"whether soft_impute learns a factor at {times} times that λ",
                learns, not learns, "Which direction comes first? The one of the largest singular value.")  # fmt: skip
    return "a case by hand, 40 at random, and soft_impute learns a factor just below and none just above"


def _threshold(same: Together, empty_threshold: Callable, train: Ratings, baseline: Factors, what: str) -> None:
    predicted = baseline.predict(train.users, train.items)
    cells = train.users, train.items
    all_users, all_items = np.indices((train.n_users, train.n_items))

    def table(of_rated, gaps=0.0):
        whole = np.zeros((train.n_users, train.n_items)) + gaps
        whole[cells] = of_rated
        return whole

    def largest(of_rated, gaps=0.0):
        return np.linalg.norm(table(of_rated, gaps), 2)

    errors, own = train.values - predicted, train.values.mean(dtype=np.float64)
    values = np.linalg.svd(table(errors), compute_uv=False)
    own_averages = (baselines.average_biases(train, damping=d).predict(*cells) for d in (5, 0))
    same.agree(
        empty_threshold(train, baseline), values[0], what,
        {
            "That is its square: an eigenvalue of E Eᵀ, not a singular value of E.": values[0] ** 2,
            "Half of it: one more factor gains 2 s σ for a penalty of 2 λ s, so the twos cancel.": values[0] / 2,
            "Twice that: one more factor gains 2 s σ for a penalty of 2 λ s, so the twos cancel.": 2 * values[0],
            "Divided by the number of ratings: soft-impute's squared errors are a sum, so λ is as large as σ.":
                values[0] / len(train),
            "That is the second singular value: the first factor is lost last.": values[1],
            "That is the smallest singular value. λ must be above all of them.": values[-1],
            "The mean of the singular values? λ must be above all of them.": values.mean(),
            "The sum of all singular values. The first factor goes in one direction only.": values.sum(),
            "That is a number of singular values: the largest itself is asked for.": np.linalg.matrix_rank(table(errors)),
            "These are all singular values: the largest alone is asked for.": values,
            "The errors have lost their signs, and all add up in one direction.": largest(np.abs(errors)),
            "That is the length of the whole table. One direction gets the largest part of it, not all.":
                np.linalg.norm(errors),
            "That is the RMSE of the baseline. How far do the errors go in one direction?": np.sqrt(np.mean(errors**2)),
            "That is the largest single error. A direction collects many.": np.abs(errors).max(),
            "That is the longest row, of one user. A direction collects from all of them.":
                np.linalg.norm(table(errors), axis=1).max(),
            "That is the longest column, of one film. A direction collects from all of them.":
                np.linalg.norm(table(errors), axis=0).max(),
            "That is a sum of absolute errors of one film: in np.linalg.norm the 2-norm is the largest singular value.":
                np.linalg.norm(table(errors), 1),
            "That is a sum of absolute errors of one user: in np.linalg.norm the 2-norm is the largest singular value.":
                np.linalg.norm(table(errors), np.inf),
            "These are singular values of the ratings: take the baseline off first.": largest(train.values),
            "These are singular values of the predictions: take those of the errors.": largest(predicted),
            "The mean is taken off, whatever the baseline: take off what `baseline` predicts.": largest(train.values - own),
            "The averages are taken off, whatever the baseline: take off what `baseline` predicts.":
                largest(train.values - next(own_averages)),
            "Averages without damping are taken off: take off what `baseline` predicts.":
                largest(train.values - next(own_averages)),
            "In a gap there is no error: it stays at zero, the baseline is taken off rated cells alone.":
                largest(errors, -baseline.predict(all_users, all_items)),
        },
        cause="Make a table of errors, zero in gaps. Then: which of its singular values?",
    )  # fmt: skip


@exercise(2, "the unnamed factor", found="films")
def the_unnamed_factor(guess: str, mix: Callable, seed: int = 0) -> str:
    """Factors mixed by rotations and by other invertible matrices; all predictions stay."""
    guessed(guess, ("predictions", "penalty", "films"))
    with Together() as same_p, Together() as same_q:
        for number, rng in enumerate(cases(seed)):
            k = int(rng.integers(2, 4))
            turn = np.linalg.qr(rng.normal(0, 1, (k, k)))[0]
            A = turn if number % 2 else turn * rng.uniform(0.5, 2, k) @ np.linalg.qr(rng.normal(0, 1, (k, k)))[0]
            given = Factors(3.5, *(rng.normal(0, 1, shape) for shape in (5, 4, (5, k), (4, k))))
            got = _mixed(mix, given, A.copy())
            if not isinstance(got, Factors):
                fail("the result", "Factors", f"a {type(got).__name__}", "Make them as mf.Factors(mean, …).")
            _kept(got, given)
            P, Q, undo = given.user_factors, given.item_factors, np.linalg.inv(A)
            same_p.agree(
                got.user_factors, P @ A, "P of the mixed factors",
                {
                    "P is as before: it was to be multiplied by A.": P,
                    "That is P Aᵀ.": P @ A.T,
                    "That is P A⁻¹: P is multiplied by A itself, and Q by what undoes it.": P @ undo,
                    "That is P A⁻ᵀ: P is multiplied by A itself, and Q by what undoes it.": P @ undo.T,
                    "P has been multiplied by A twice.": P @ A @ A,
                },
                cause="P A is a product of matrices: P @ A.",
            )  # fmt: skip
            same_q.agree(
                got.item_factors, Q @ undo.T, f"Q after P was multiplied by A ({'a rotation' if number % 2 else 'no rotation'})",
                {
                    "Q A keeps predictions only if A is a rotation. What undoes any A?": Q @ A,
                    "That is Q A⁻¹. In P Qᵀ the other side is transposed, and so is what undoes A.": Q @ undo,
                    "That is Q Aᵀ, which undoes no A, not even a rotation.": Q @ A.T,
                    "Q is as before, so nothing undoes A in the product.": Q,
                    "1 / A is the inverse of each entry: that of a matrix is np.linalg.inv(A).": Q @ (1 / A).T,
                    "1 / A is the inverse of each entry, and not turned: take np.linalg.inv(A).": Q @ (1 / A),
                    "Q is divided by the lengths of A's columns: that undoes a stretch, and no rotation.":
                        Q / np.linalg.norm(A, axis=0),
                },
                cause="(P A)(A⁻¹ Qᵀ) = P Qᵀ: what is Q, if A⁻¹ Qᵀ is its transpose?",
            )  # fmt: skip
    verified = "10 rotations and 10 other matrices; every prediction stays"
    why = {
        "predictions": ". (P A)(Q A)ᵀ = P A Aᵀ Qᵀ, and A Aᵀ is 1 for a rotation",
        "penalty": ". A rotation keeps the length of each row, and the penalty is made of these lengths",
    }
    return verified + why.get(str(guess).strip().lower(), "")


def _mixed(mix: Callable, given: Factors, A: np.ndarray) -> Any:
    try:
        return mix(given, A)
    except ValueError as error:
        if "read-only" in str(error):
            fail("the given factors", "unchanged", f"ValueError: {error}", "They cannot be written to: make new ones.")
        if "item_factors has shape" in str(error):
            fail("the shape of Q", "a row for each film", f"ValueError: {error}",
                 "A⁻¹ Qᵀ has a column for each film: Q is its transpose.")  # fmt: skip
        raise


def _kept(got: Factors, given: Factors) -> None:
    """The mean and both biases, which no A mixes."""
    zeros, means = (np.zeros_like(given.user_biases), np.zeros_like(given.item_biases)), given.mean
    agree(
        (got.mean, got.user_biases, got.item_biases), (means, given.user_biases, given.item_biases),
        "the mean and the biases",
        {
            "The biases are gone: A mixes factors only, and both biases stay.": (means, *zeros),
            "The mean is gone: A mixes factors only, and the mean stays.": (0, given.user_biases, given.item_biases),
            "The mean and the biases are gone: A mixes factors only.": (0, *zeros),
        },
        cause="A mixes factors only: the mean and both biases stay.",
    )  # fmt: skip


@exercise(3, "bug hunt: one λ for all sizes?")
def one_lambda_for_all_sizes(as_sums: Callable, repaired_loss: Callable, seed: int = 0) -> str:
    """What a penalty of means is in terms of sums, and a loss that unused columns do not change."""
    with Together() as same:
        for rng in cases(seed):
            _in_sums(same, as_sums, rng)
    with Together() as same:
        found = [_repaired(same, repaired_loss, rng) for rng in cases(seed)]
    for loss, with_unused in found:
        agree(with_unused, loss, "the loss with three more columns of zeros", cause="Nothing may be divided by k.")
    return "20 random sizes; columns that nobody uses change nothing"


def _in_sums(same: Together, as_sums: Callable, rng: np.random.Generator) -> None:
    k, n_users, n_items, n = (int(rng.integers(2, high)) for high in (6, 9, 9, 30))
    reg = rng.uniform(0.1, 1)
    rows = np.array([n_users, n_items])
    right = reg * n / (rows * k)
    same.agree(
        as_sums(reg, n, n_users, n_items, k), tuple(right),
        f"λ of P and of Q ({n} ratings, {n_users} users, {n_items} films, k = {k})",
        {
            "Where is k? P has n_users · k numbers.": tuple(reg * n / rows),
            "These multiply by the size of P and Q: a mean divides.": tuple(reg * n * rows * k),
            "k multiplies here: a mean divides by all n_users · k numbers.": tuple(reg * n * k / rows),
            "The error is a mean, too: multiply the whole loss by the number of ratings.": tuple(reg / (rows * k)),
            "Divided by the number of ratings: the whole loss is multiplied by it.": tuple(reg / (n * rows * k)),
            "The errors were multiplied up, but the penalties are means of P and Q still.": (reg * n, reg * n),
            "These are `reg` as it is: in the sum it is another λ for each side.": (reg, reg),
            "The mean of e² is over the ratings, not over all cells of the table.":
                tuple(reg * n_users * n_items / (rows * k)),
            "P and Q are the other way round.": tuple(right[::-1]),
            "These are the roots of both: λ itself stands before the squares.": tuple(np.sqrt(right)),
            "P has k columns, not k rows: divide by all its numbers.": (reg * n / k, reg * n / k),
            "P and Q have a mean each: they are not averaged together.": (reg * n / (rows.sum() * k),) * 2,
            "That is the root of the product for both: one λ for each side is asked for.": (np.sqrt(right.prod()),) * 2,
        },
        cause="Multiply the whole loss by the number of ratings, and write each mean as a sum.",
    )  # fmt: skip


def _repaired(same: Together, repaired_loss: Callable, rng: np.random.Generator) -> tuple:
    k, n_users, n_items, n = (int(rng.integers(2, high)) for high in (6, 9, 9, 30))
    lam = rng.uniform(0.1, 1)
    e, P, Q = (rng.normal(0, 1, shape) for shape in (n + 9, (n_users, k), (n_items, k)))
    n = len(e)
    squares, of_p, of_q = np.sum(e**2), np.sum(P**2), np.sum(Q**2)
    lengths = np.linalg.norm(P) + np.linalg.norm(Q)
    unused = np.hstack([P, np.zeros((n_users, 3))]), np.hstack([Q, np.zeros((n_items, 3))])
    got = repaired_loss(e.copy(), P.copy(), Q.copy(), lam)
    same.agree(
        got, (squares + lam * (of_p + of_q)) / n, f"the repaired loss ({n} ratings, {n_users} users, {n_items} films, k = {k})",
        {
            "Sums now, but not divided by the number of errors.": squares + lam * (of_p + of_q),
            "The penalty is not divided by the number of errors, as the squares are.": squares / n + lam * (of_p + of_q),
            "The squares are not divided by the number of errors, as the penalty is.": squares + lam * (of_p + of_q) / n,
            "That is the colleague's loss: its penalty is a mean still.":
                squares / n + lam * (np.mean(P**2) + np.mean(Q**2)),
            "The penalty is a mean over the rows: then λ means something else for each number of users.":
                squares / n + lam * (of_p / n_users + of_q / n_items),
            "The penalty is a mean over the columns: then λ means something else for each k.":
                squares / n + lam * (of_p + of_q) / k,
            "The penalty is divided by k: then λ means something else for each k.":
                (squares + lam * (of_p + of_q) / k) / n,
            "The penalty is one mean over P and Q: then λ means something else for each k.":
                squares / n + lam * (of_p + of_q) / (P.size + Q.size),
            "The penalty is a mean over the rows, and divided by the number of errors, too.":
                (squares + lam * (of_p / n_users + of_q / n_items)) / n,
            "The penalty is multiplied by the number of errors: divide.": squares / n + lam * n * (of_p + of_q),
            "Divided by the number of users: the mean of e² is over the ratings.":
                (squares + lam * (of_p + of_q)) / n_users,
            "Sums of lengths, not of squares?": (squares + lam * lengths) / n,
            "Lengths, not squares, and not divided by the number of errors?": squares / n + lam * lengths,
            "The penalty of Q is missing.": (squares + lam * of_p) / n,
            "The penalty of P is missing.": (squares + lam * of_q) / n,
            "There is no penalty left.": squares / n,
            "Half of the penalty: no factor belongs before λ.": (squares + lam / 2 * (of_p + of_q)) / n,
            "That is its root: the loss is the mean of squares itself.": np.sqrt((squares + lam * (of_p + of_q)) / n),
        },
        cause="One number: the sum of e², plus λ times the sum of all squares of P and Q, over the number of errors.",
    )  # fmt: skip
    return got, repaired_loss(e, *unused, lam)


@exercise(4, "a leak with less regularisation", found=3)
def a_leak_with_less_regularisation(guess: Any, contestants: Callable, seed: int = 0) -> str:
    """Both contestants' predictions against SVD++ with and without the pairs of the test set."""
    guessed(guess, (60, 10, 3))
    ratings, _ = simulate_ratings(60, 40, 900, seed=seed)
    train, test = splits.random_split(ratings, seed=seed)
    for reg_implicit, start in ((1.2, 1), (3, 2)):
        got = contestants(ratings, reg_implicit)
        names = sorted(got) if isinstance(got, dict) else type(got).__name__
        require(names == ["honest", "leak"], "the contestants", ["honest", "leak"], names, "Return a dict of both.")
        predicted = {name: _predicted(name, fit, train, test, start) for name, fit in got.items()}

        def predictions(part=train, reg_implicit=reg_implicit, seed=start, **how):
            fitted = svdpp(part, reg_implicit=reg_implicit, seed=seed, progress=False, **how)
            return fitted.predict(test.users, test.items)

        def of_als(k, seed=start):
            return least_squares.als(train, k, seed=seed, progress=False).predict(test.users, test.items)

        right = {"honest": predictions(), "leak": predictions(implicit=ratings)}
        exchanged = all(np.allclose(predicted[name], right[other], 1e-4, 1e-4) for name, other in
                        (("honest", "leak"), ("leak", "honest")))  # fmt: skip
        require(not exchanged, "the predictions of 'honest'", right["honest"], predicted["honest"],
                "The two are exchanged: the leak has implicit=ratings.")  # fmt: skip
        for name, expected in right.items():
            if not np.allclose(predicted[name], expected, 1e-4, 1e-4):
                _no_contestant(name, predicted[name], right, predictions, of_als, (ratings, test), reg_implicit)
    return "both at two values of reg_implicit, from two starts"


def _predicted(name: str, fit: Any, train: Ratings, test: Ratings, seed: int) -> np.ndarray:
    likely = "Each is a function of (train, seed) that returns what mf.svdpp returns."
    if hasattr(fit, "predict"):
        fail(f"what {name!r} is", "a function of (train, seed)", type(fit).__name__,
             "It has been trained already, on ratings that the five folds do not know: write a function that trains.")  # fmt: skip
    require(callable(fit), f"what {name!r} is", "a function of (train, seed)", type(fit).__name__, likely)
    try:
        inspect.signature(fit).bind(train, seed=seed)
    except TypeError as error:
        fail(f"how {name!r} is called", "(train, seed=…)", f"TypeError: {error}", likely)
    fitted = fit(train, seed=seed)
    if isinstance(fitted, np.ndarray):
        likely = "These are predictions: return the factors that make them."
    require(hasattr(fitted, "predict"), f"what {name!r} returns", "Factors", type(fitted).__name__, likely)
    return fitted.predict(test.users, test.items)


def _no_contestant(
    name: str, got: np.ndarray, right: dict, predictions: Callable, of_als: Callable, parts: tuple, reg_implicit: float,
) -> None:  # fmt: skip
    ratings, test = parts
    how: dict = {"implicit": ratings} if name == "leak" else {}
    mistakes = {
        "It knows no pairs of the test set: hand them over as implicit=.": right["honest"] if name == "leak" else np.nan,
        "It knows the pairs of the test set: the honest one has those of train.":
            right["leak"] if name == "honest" else np.nan,
        "This one learned from the stars of the test set: "
        + ("only its pairs leak." if name == "leak" else "the honest one has the training part alone."):
            predictions(part=ratings),
        "Is reg_implicit passed on? This is the default's.": predictions(reg_implicit=60, **how),
        "Is the seed passed on? This is that of seed 0.": predictions(seed=0, **how),
        "Neither reg_implicit nor the seed is passed on.": predictions(reg_implicit=60, seed=0, **how),
        "That is `reg`, the λ of the factors: reg_implicit is that of Y.":
            predictions(reg=reg_implicit, reg_implicit=60, **how),
        "The λ of the factors has changed as well: `reg` stays at its default.": predictions(reg=reg_implicit, **how),
        "N(u) is that of the test set alone: implicit=ratings has all pairs.": predictions(implicit=test),
        "Ten factors? The contestants have SVD++'s default, 20.": predictions(n_factors=10, **how),
        "This is ALS, without the pairs.": of_als(20),
        "This is ALS with ten factors, without the pairs.": of_als(10),
    }  # fmt: skip
    agree(
        got, right[name], f"the predictions of {name!r} at reg_implicit={reg_implicit}", mistakes, tolerance=1e-4,
        cause="mf.svdpp with this seed and this reg_implicit, for the leak with implicit=ratings: all else stays.",
    )  # fmt: skip


@exercise(5, "bug hunt: unrated films that were rated", found=9)
def unrated_films_that_were_rated(guess: Any, sample_pairs: Callable, seed: int = 0) -> str:
    """Triples from small tables: rated, unrated, each as often as it should come, and from the given generator."""
    guessed(guess, (1, 5, 9))
    n = 4000
    for number, rng in enumerate(cases(seed, 4)):
        seen, start = _some_seen(rng, *((5, 9), (9, 5))[number % 2]), int(rng.integers(1000))
        rated_by, films = rng.permutation(np.argwhere(seen)).T
        train = Ratings(rated_by, films, rng.integers(1, 6, len(films)), len(seen), len(seen.T), (1, 5, 1))
        users, rated, unrated = _triples(sample_pairs(train, n, np.random.default_rng(start)), n, seen.shape)
        _rated_or_not(seen, users, rated, unrated)
        _rated_as_often(train, seen, users, rated)
        _unrated_as_often(seen, users, unrated)
    again, other = (sample_pairs(train, n, np.random.default_rng(start + s)) for s in (0, 1))
    require(all(map(np.array_equal, again, (users, rated, unrated))), "the same generator once more", "the same triples",
            "others", "Draw with `rng` alone.")  # fmt: skip
    require(not np.array_equal(other[2], unrated), "another generator", "other triples", "the same", "Draw with `rng`.")
    return "four small tables, 4,000 triples each: rated and not rated, and all as often as they should be"


KEYS: tuple[tuple[str, Callable], ...] = (  # numbers for pairs, of which some share one
    ("user * n_users + film", lambda users, films, shape: users * shape[0] + films),
    ("film * n_items + user", lambda users, films, shape: films * shape[1] + users),
)

SHORT_KEYS: tuple[tuple[str, Callable], ...] = (  # with these a user may be left without any film
    ("user + film", lambda users, films, shape: users + films),
    ("user * (n_items - 1) + film", lambda users, films, shape: users * (shape[1] - 1) + films),
)


def _hidden(seen: np.ndarray, key: Callable) -> np.ndarray:
    """Unrated pairs that share their number with a rated one."""
    numbers = key(*np.indices(seen.shape), seen.shape)
    return ~seen & np.isin(numbers, numbers[seen])


def _some_seen(rng: np.random.Generator, n_users: int, n_items: int) -> np.ndarray:
    """Which pairs are rated: nearly all of one user, none of another, none of one film that is not the last.

    No user is left without a film by a number that pairs share.
    """
    while True:
        seen = rng.random((n_users, n_items)) < 0.25
        busy, silent = rng.choice(n_users, 2, replace=False)
        nobody = int(rng.integers(1, n_items - 1))
        seen[busy] = True
        seen[busy, rng.integers(n_items)] = seen[silent] = False
        seen[:, nobody] = False
        hidden = [_hidden(seen, key) for _, key in KEYS]
        free = all((~seen & ~pairs).any(axis=1).all() for pairs in hidden)
        all_others = (seen.sum(axis=0) > 0).sum() == n_items - 1
        if free and all_others and (~seen[busy]).sum() == 2 and any(pairs[seen.any(axis=1)].any() for pairs in hidden):
            return seen


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


def _rated_or_not(seen: np.ndarray, users: np.ndarray, rated: np.ndarray, unrated: np.ndarray) -> None:
    n = len(users)
    require(seen[users].any(axis=1).all(), "the users drawn", "users with a rating", "one without any",
            "Draw a rating, evenly; its user and film come with it.")  # fmt: skip
    wrong = n - seen[users, rated].sum()
    require(
        not wrong, "the second film", "rated by that user", f"in {wrong:,} of {n:,} cases not",
        "The last two are the other way round: first what they rated, then what not."
        if wrong == n and seen[users, unrated].all() else
        "A user and a film of the same rating belong together: draw one place for both."
        if wrong < n else "The second array has what they rated.",
    )  # fmt: skip
    hits, among_all = seen[users, unrated].mean(), seen.mean(axis=1)[users].mean()
    cause = "A film drawn among all may be one that this user has rated."
    from_ratings = (seen @ seen.sum(axis=0) / seen.sum())[users].mean()
    if from_ratings > among_all and abs(hits - from_ratings) < abs(hits - among_all):
        cause = "A film drawn from the ratings may be one that this user has rated, too."
    elif not (unrated == rated).any():
        cause = "Only the film of the same triple is avoided: this user may have rated others, too."
    elif hits < 0.85 * among_all:
        cause = "These were drawn again, but not often enough: each new draw may hit, too. Go on until none is left."
    require(not hits, "the third film", "rated by that user in 0 % of the cases", f"{hits:.1%}", cause)


def _rated_as_often(train: Ratings, seen: np.ndarray, users: np.ndarray, rated: np.ndarray) -> None:
    n, total = len(users), len(train)
    even = np.where(seen, n / total, 0)
    per_user, per_film = seen.sum(axis=1, keepdims=True), seen.sum(axis=0, keepdims=True)
    free = ~seen * 1.0
    again = seen * free.sum(axis=1, keepdims=True)
    without_last = even * total / (total - 1)
    without_last[train.users[-1], train.items[-1]] = 0
    _as_often(
        users, rated, even, "user and rated film",
        {
            "Every user comes equally often here. Every rating should, so that a user with many comes often.":
                n / (per_user > 0).sum() * seen / np.maximum(per_user, 1),
            "Every film comes equally often here. Every rating should, so that a film with many comes often.":
                n / (per_film > 0).sum() * seen / np.maximum(per_film, 1),
            "The whole triple is drawn again where the third film was rated, so users with many ratings come less often: "
            "draw the third film alone again.": n * again / again.sum(),
            "The last rating is never drawn: in rng.integers(low, high) the high end is not included.": without_last,
        },
        "Each rating is drawn as often as every other, so a user with many comes often.",
    )  # fmt: skip


def _unrated_as_often(seen: np.ndarray, users: np.ndarray, unrated: np.ndarray) -> None:
    free, nobody = ~seen, ~seen.any(axis=0)
    of_user = np.bincount(users, minlength=len(seen))[:, None]

    def among(weights):
        return of_user * weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)

    def going_on(step):
        ends = np.zeros(seen.shape)
        for user, film in np.ndindex(*seen.shape):
            while seen[user, film]:
                film = (film + step) % seen.shape[1]
            ends[user, film] += 1
        return among(ends)

    not_last, not_first = free.copy(), free.copy()
    not_last[:, -1] = not_first[:, 0] = False
    first = np.zeros(seen.shape)
    first[np.arange(len(seen)), free.argmax(axis=1)] = 1
    one_each = np.zeros(seen.shape)
    one_each[users, unrated] = 1
    one_each *= (one_each.sum(axis=1, keepdims=True) == 1) & (len(np.unique(unrated)) > 1)
    shared = {
        f"Two pairs can share one number, as with {name}, and then an unrated film counts as rated. "
        "What must the factor be, so that each pair has its own?": among(free & ~_hidden(seen, key))
        for name, key in (*KEYS, *SHORT_KEYS)
        if _hidden(seen, key)[seen.any(axis=1)].any()
    }
    _as_often(
        users, unrated, among(free), "user and unrated film",
        {
            "Rated by somebody is not rated by this user: look at the pair.": among(free & nobody),
            "All films can be drawn, those that nobody rated too, not only those that occur in train.items.":
                among(free & ~nobody),
            "Films with many ratings come more often, and films that nobody rated never: draw among the numbers of all films.":
                among(free * seen.sum(axis=0)),
            "The last film is never drawn: in rng.integers(low, high) the high end is not included.": among(not_last),
            "The first film is never drawn: films are numbered from 0.": among(not_first),
            "It goes on to the next film where one was rated, so films behind rated ones come too often: draw again.":
                going_on(1),
            "It goes back to the film before where one was rated, so films before rated ones come too often: draw again.":
                going_on(-1),
            "Always the same film for a user: draw anew for each triple.": among(one_each),
            "Always the first film that this user has not rated: draw among all of them.": among(first),
        } | shared,
        "Each film that a user has not rated is equally likely.",
    )  # fmt: skip


def _as_often(
    users: np.ndarray, films: np.ndarray, expected: np.ndarray, what: str, mistakes: dict[str, np.ndarray], cause: str,
) -> None:  # fmt: skip
    """Counts within six standard deviations of what chance allows, else the mistake that explains them."""
    drawn = np.histogram2d(users, films, [range(s + 1) for s in expected.shape])[0]

    def off(expected):
        return np.abs(drawn - expected) / np.sqrt(np.maximum(expected, 1))

    worst = np.unravel_index(off(expected).argmax(), expected.shape)
    fitting = sorted((np.sum(off(wrong) ** 2), hint) for hint, wrong in mistakes.items() if off(wrong).max() < 6)
    named = fitting[0][1] if fitting else cause
    require(
        off(expected)[worst] < 6, f"how often {what} {tuple(map(int, worst))} came up",
        f"about {expected[worst]:.0f} times", f"{drawn[worst]:.0f}", named,
    )  # fmt: skip
