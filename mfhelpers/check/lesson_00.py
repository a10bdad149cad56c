"""The exercises to lesson 00: averages, protocols, leaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..algorithms import baselines
from ..data import splits
from ..data.ratings import Ratings
from ..models import metrics
from ..models.truth import simulate_ratings
from .feedback import agree, cases, exercise, guessed, some_ratings


@exercise(1, "users before films")
def users_before_films(guess: str, user_mean_error: Callable, seed: int = 0) -> str:
    """RMSE of μ + b_u: one user by hand, then random ratings in which one user is unseen."""
    guessed(guess, ("users", "films"))
    by_hand = Ratings([0, 0, 1], [0, 1, 0], [5, 3, 1], 2, 2, (1, 5, 1))
    exam = Ratings([0, 1], [0, 1], [5, 2], 2, 2, (1, 5, 1))
    _user_means(user_mean_error, by_hand, exam, "the RMSE of three ratings (5 and 3 by one user, 1 by another)")
    for rng in cases(seed):
        ratings = some_ratings(rng)
        train, test = splits.random_split(ratings, test=0.4, seed=int(rng.integers(1000)))
        test = _with_a_rating_by_the_last_user(test)
        _user_means(user_mean_error, train, test, "the RMSE of random ratings, one of them by an unseen user")
    return "one case by hand, 20 at random; a user without ratings gets the mean"


def _user_means(user_mean_error: Callable, train: Ratings, test: Ratings, what: str) -> None:
    mu = train.values.mean(dtype=np.float64)
    rest = train.values - mu
    sums = np.bincount(train.users, weights=rest, minlength=train.n_users)
    of_films = np.bincount(train.items, weights=rest, minlength=train.n_items) / np.maximum(train.item_counts, 1)
    b_u = sums / np.maximum(train.user_counts, 1)
    errors = mu + b_u[test.users] - test.values

    def rmse(errors):
        return np.sqrt(np.mean(errors**2))

    agree(
        user_mean_error(train, test), rmse(errors), what,
        {
            "That is the mean squared error: take its root.": np.mean(errors**2),
            "That is the mean absolute error: square, then average, then take the root.": np.mean(np.abs(errors)),
            "These are the films' averages: group by train.users.": rmse(mu + of_films[test.items] - test.values),
            "b_u is added, but where is mu?": rmse(errors - mu),
            "Sums, not means: divide by the number of ratings of each user.": rmse(mu + sums[test.users] - test.values),
            "A user without ratings has 0 / 0: let the bias be 0 there.": np.nan,
        },
    )  # fmt: skip


def _with_a_rating_by_the_last_user(part: Ratings) -> Ratings:
    users, items = np.append(part.users, part.n_users - 1), np.append(part.items, 0)
    return Ratings(users, items, np.append(part.values, 5), part.n_users, part.n_items, part.scale)


@exercise(2, "an exam in the future")
def an_exam_in_the_future(guess: str, exam_in_the_future: Callable, seed: int = 0) -> str:
    """RMSE of damped averages after a split by time, and the share of ratings by users unseen until then."""
    guessed(guess, ("lower", "same", "higher"))
    for rng in cases(seed, 3):
        ratings, _ = simulate_ratings(60, 40, 900, seed=int(rng.integers(1000)))
        by_time, at_random = splits.time_split(ratings), splits.random_split(ratings)
        expected = _damped(*by_time)
        agree(
            exam_in_the_future(ratings), expected, "RMSE and share of unseen users",
            {
                "This exam was drawn at random: take mf.time_split.": _damped(*at_random),
                "These averages are not damped.": _damped(*by_time, damping=0),
                "The share is in per cent: divide the two numbers, no more.": (expected[0], 100 * expected[1]),
                "This is a number of ratings: divide it by n_test.": (expected[0], expected[1] * len(by_time[1])),
                "This RMSE is of the training part.": (_damped(by_time[0], by_time[0])[0], expected[1]),
            },
        )  # fmt: skip
    return "three simulated catalogues"


def _damped(train: Ratings, test: Ratings, damping: float = 5) -> tuple[float, float]:
    report = splits.cold_report(train, test)
    return metrics.rmse(baselines.average_biases(train, damping), test), report.with_cold_user / report.n_test


@exercise(3, "choose the damping honestly")
def choose_the_damping_honestly(choose_damping: Callable, seed: int = 0) -> str:
    """The damping that does best on a part of the training ratings that was held back."""
    candidates = (0, 1, 2, 3, 5, 8, 12, 20, 40)
    for rng in cases(seed, 5):
        train, _ = simulate_ratings(80, 60, 1200, noise=float(rng.uniform(0.3, 2)), seed=int(rng.integers(1000)))
        share, draw = float(rng.choice([0.1, 0.2, 0.4])), int(rng.integers(1000))
        fitting, held_back = splits.random_split(train, test=share, seed=draw)

        def errors(fitted, judged):
            return [metrics.rmse(baselines.average_biases(fitted, d), judged) for d in candidates]

        honest = errors(fitting, held_back)
        agree(
            choose_damping(train, candidates, share, draw), candidates[int(np.argmin(honest))],
            f"the damping chosen among {candidates}, with {share:.0%} held back",
            {
                "This one is best on the ratings it was fitted to: judge it on those held back.":
                    candidates[int(np.argmin(errors(fitting, fitting)))],
                "It was fitted on all training ratings, those held back included.":
                    candidates[int(np.argmin(errors(train, held_back)))],
                "This one has the highest error.": candidates[int(np.argmax(honest))],
                "That is the place in the list of candidates: return the candidate.": int(np.argmin(honest)),
                "That is the lowest error: return the damping that has it.": min(honest),
            },
            cause="Is it the share and the seed that were asked for?",
        )  # fmt: skip
    return "five simulated catalogues, each with another share held back"


@exercise(4, "bug hunt: too good to be true")
def too_good_to_be_true(leaks: Callable, seed: int = 0) -> str:
    """What it is worth to have learned averages, or the mean alone, from the answers too."""
    for rng in cases(seed, 3):
        ratings, _ = simulate_ratings(60, 40, 900, seed=int(rng.integers(1000)))
        train, test = splits.random_split(ratings, seed=int(rng.integers(1000)))

        def errors(part, test=test):
            return np.array([metrics.rmse(baselines.average_biases(part, damping=5), test),
                             metrics.rmse(baselines.global_mean(part), test)])  # fmt: skip

        honest, leaked = errors(train), errors(ratings)
        agree(
            leaks(ratings, train, test), tuple(honest - leaked), "what the two leaks are worth",
            {
                "The sign: honest minus leaked, so that a leak which flatters is positive.": tuple(leaked - honest),
                "These are the honest errors themselves: subtract the leaked ones.": tuple(honest),
                "Learned from the exam alone? The colleagues used all ratings.": tuple(honest - errors(test)),
                "A ratio? Subtract.": tuple(honest / leaked),
            },
        )  # fmt: skip
    return "three simulated catalogues"
