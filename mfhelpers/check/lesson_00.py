"""The exercises to lesson 00: averages, protocols, leaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..algorithms import baselines
from ..data import splits
from ..data.ratings import Ratings
from ..models import metrics
from ..models.truth import simulate_ratings
from .feedback import Together, agree, cases, exercise, guessed, some_ratings


@exercise(1, "users before films", found="films")
def users_before_films(guess: str, user_mean_error: Callable, seed: int = 0) -> str:
    """RMSE of μ + b_u: one user by hand, then random ratings in which one user is unseen."""
    guessed(guess, ("users", "films"))
    by_hand = Ratings([0, 0, 1], [0, 1, 0], [5, 4, 1], 2, 2, (1, 5, 1))
    test = Ratings([0, 1], [0, 1], [5, 2], 2, 2, (1, 5, 1))
    _user_means(user_mean_error, by_hand, test, "the RMSE of three ratings (5 and 4 by one user, 1 by another)")
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
    damped = sums / (train.user_counts + 5)
    errors = mu + b_u[test.users] - test.values
    with np.errstate(invalid="ignore"):  # median of nothing
        medians = [np.median(rest[train.users == u]) if n else 0 for u, n in enumerate(train.user_counts)]
    met = train.user_counts[test.users] > 0

    def rmse(errors):
        return np.sqrt(np.mean(errors**2))

    agree(
        user_mean_error(train, test), rmse(errors), what,
        {
            "That is the mean squared error: take its root.": np.mean(errors**2),
            "That is the mean absolute error: square, then average, then take the root.": np.mean(np.abs(errors)),
            "b_u is added, but where is mu?": rmse(errors - mu),
            "This is mu for everybody: where is b_u?": rmse(mu - test.values),
            "These are the films' averages: group by train.users.": rmse(mu + of_films[test.items] - test.values),
            "Both biases are in it: b_u alone was asked for.":
                metrics.rmse(baselines.average_biases(train), test),
            "These are medians of r - mu: b_u is the mean.": rmse(mu + np.array(medians)[test.users] - test.values),
            "This is damped: divide by the number of ratings alone.": rmse(mu + damped[test.users] - test.values),
            "mu is the mean of the training ratings: this one knows the test set.":
                rmse(errors - mu + test.values.mean(dtype=np.float64)),
            "This is the RMSE of the training part: `test` was asked for.":
                rmse(mu + b_u[train.users] - train.values),
            "Somebody without training ratings gets 0 stars here. Their bias is 0, so they get mu.":
                rmse(np.where(met, errors, -test.values)),
            "The ratings by users without training ratings are left out: they count as well, predicted by mu.":
                rmse(errors[met]),
            "The standard deviation of the errors is not their root mean square: their own mean counts as well.": errors.std(),
            "Sums, not means: divide by the number of ratings of each user.": rmse(mu + sums[test.users] - test.values),
            "A user without ratings has 0 / 0: let the bias be 0 there.": np.nan,
        },
    )  # fmt: skip


def _with_a_rating_by_the_last_user(part: Ratings) -> Ratings:
    users, items = np.append(part.users, part.n_users - 1), np.append(part.items, 0)
    return Ratings(users, items, np.append(part.values, 5), part.n_users, part.n_items, part.scale)


@exercise(2, "a test set from the future", found="higher")
def a_test_set_from_the_future(guess: str, future_error: Callable, seed: int = 0) -> str:
    """RMSE of damped averages after a split by time, and the share of ratings by users unseen until then."""
    guessed(guess, ("lower", "same", "higher"))
    with Together() as same:
        for rng in cases(seed, 3):
            ratings = _arriving(simulate_ratings(60, 40, 900, seed=int(rng.integers(1000)))[0], rng)
            by_time, at_random = splits.time_split(ratings), splits.random_split(ratings)
            expected = _damped(*by_time)
            report = splits.cold_report(*by_time)
            n = len(by_time[1])
            same.agree(
                future_error(ratings), expected, "RMSE and share of unseen users",
                {
                    "This test set was drawn at random: take mf.time_split.": _damped(*at_random),
                    "These averages are not damped.": _damped(*by_time, damping=0),
                    "The share is in per cent: divide the two numbers, no more.": (expected[0], 100 * expected[1]),
                    "This is a number of ratings: divide it by n_test.": (expected[0], report.with_cold_user),
                    "This RMSE is of the training part.": (_damped(by_time[0], by_time[0])[0], expected[1]),
                    "The share is of ratings of unseen films: unseen users were asked for.":
                        (expected[0], report.with_cold_item / n),
                    "The share is of ratings with an unseen user or film: users alone were asked for.":
                        (expected[0], report.with_either / n),
                    "That is the number of unseen users, not the share of ratings that they gave.":
                        (expected[0], report.cold_users),
                    "That is a share of users. A share of ratings was asked for: with_cold_user.":
                        (expected[0], report.cold_users / len(np.unique(by_time[1].users))),
                    "That is unseen users for each rating: with_cold_user counts their ratings.":
                        (expected[0], report.cold_users / n),
                    "The share is of the training part's ratings: divide by n_test.":
                        (expected[0], report.with_cold_user / len(by_time[0])),
                    "The share is of seen users: 1 minus it.": (expected[0], 1 - expected[1]),
                    "The other way round: first the RMSE, then the share.": expected[::-1],
                    "That is the mean squared error: take its root.": (expected[0] ** 2, expected[1]),
                    "The averages are the films' alone: mf.average_biases has users, too.":
                        (metrics.rmse(baselines.item_means(by_time[0], 5), by_time[1]), expected[1]),
                    "They were trained on the late part and judged on the early one.": _damped(*by_time[::-1]),
                    "They have learned from all ratings, those of the test set as well.":
                        (metrics.rmse(baselines.average_biases(ratings, 5), by_time[1]), expected[1]),
                },
            )  # fmt: skip
    return "three simulated catalogues"


def _arriving(ratings: Ratings, rng: np.random.Generator) -> Ratings:
    """The same ratings at other times: users and films come one by one, some of each late."""
    while True:
        came = np.maximum(rng.random(ratings.n_users)[ratings.users], rng.random(ratings.n_items)[ratings.items])
        times = (1e9 + 1e6 * (came + rng.exponential(0.1, len(ratings)))).astype(np.int64)
        timed = dataclasses.replace(ratings, timestamps=times)
        report = splits.cold_report(*splits.time_split(timed))
        if min(report.with_cold_user, report.with_cold_item, report.with_either - report.with_cold_item) > 0:
            return timed


def _damped(train: Ratings, test: Ratings, damping: float = 5) -> tuple[float, float]:
    report = splits.cold_report(train, test)
    return metrics.rmse(baselines.average_biases(train, damping), test), report.with_cold_user / report.n_test


@exercise(3, "choose the damping honestly")
def choose_the_damping_honestly(choose_damping: Callable, seed: int = 0) -> str:
    """The damping that does best on a part of the training ratings that was held back."""
    candidates = (0, 1, 2, 3, 5, 8, 12, 20, 40)
    with Together() as same:
        for rng in cases(seed, 10):
            train, _ = simulate_ratings(80, 60, 1200, noise=float(rng.uniform(0.3, 2)), seed=int(rng.integers(1000)))
            share, draw = float(rng.choice([0.1, 0.2, 0.4])), int(rng.integers(1000))
            fitting, held_back = splits.random_split(train, test=share, seed=draw)

            def errors(fitted, judged, score=metrics.rmse, fit=baselines.average_biases):
                return [score(fit(fitted, d), judged) for d in candidates]

            def chosen(fitted, judged, pick=np.argmin, **how):
                return candidates[int(pick(errors(fitted, judged, **how)))]

            honest = errors(fitting, held_back)
            same.agree(
                choose_damping(train, candidates, share, draw), candidates[int(np.argmin(honest))],
                f"the damping chosen among {candidates}, with {share:.0%} held back",
                {
                    "This one is best on the ratings it was fitted to: judge it on those held back.":
                        chosen(fitting, fitting),
                    "It was fitted on all training ratings, those held back included.": chosen(train, held_back),
                    "This one has the highest error.": chosen(fitting, held_back, np.argmax),
                    "The two pieces are exchanged: fit on the larger, compare on the smaller.": chosen(held_back, fitting),
                    "Another share was held back: `share` of `train`, as the argument says.":
                        chosen(*splits.random_split(train, seed=draw)),
                    "That is the split of seed 0: hand on `seed`.": chosen(*splits.random_split(train, test=share)),
                    "A share of 1 - share was held back: `share` is that of the smaller piece.":
                        chosen(*splits.random_split(train, test=1 - share, seed=draw)),
                    "This one has the lowest mean absolute error: compare by the RMSE.":
                        chosen(fitting, held_back, score=_mean_absolute_error),
                    "The averages are the films' alone: mf.average_biases has users, too.":
                        chosen(fitting, held_back, fit=baselines.item_means),
                    "That is the place in the list of candidates: return the candidate.": int(np.argmin(honest)),
                    "That is the lowest error: return the damping that has it.": min(honest),
                },
                cause="Is it the share and the seed that were asked for, and are the candidates compared by their RMSE?",
            )  # fmt: skip
    return "ten simulated catalogues, each with another share held back"


def _mean_absolute_error(fit, part: Ratings) -> float:
    return float(np.abs(fit.predict(part.users, part.items) - part.values).mean())


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
        undamped = [metrics.rmse(baselines.average_biases(part), test) for part in (train, ratings)]
        half = baselines.average_biases(train, damping=5)
        half = dataclasses.replace(half, mean=baselines.global_mean(ratings).mean)
        agree(
            leaks(ratings, train, test), tuple(honest - leaked), "what the two leaks are worth",
            {
                "The sign: honest minus leaked, so that a leak which flatters is positive.": tuple(leaked - honest),
                "These are the honest errors themselves: subtract the leaked ones.": tuple(honest),
                "These are the errors as reported: subtract them from the honest ones.": tuple(leaked),
                "Learned from the test set alone? The colleagues used all ratings.": tuple(honest - errors(test)),
                "A ratio? Subtract.": tuple(honest / leaked),
                "The other way round: first the averages, then the mean alone.": tuple(honest - leaked)[::-1],
                "Mean squared errors? The difference of the RMSEs is asked for.": tuple(honest**2 - leaked**2),
                "These averages are not damped: the colleague has damping=5.":
                    (undamped[0] - undamped[1], honest[1] - leaked[1]),
                "The second colleague predicts mu for every pair, without biases.":
                    (honest[0] - leaked[0], honest[0] - metrics.rmse(half, test)),
                "Both are judged on all ratings here. They report on `test`.": tuple(
                    metrics.rmse(fit(train), ratings) - metrics.rmse(fit(ratings), ratings)
                    for fit in (lambda part: baselines.average_biases(part, damping=5), baselines.global_mean)),
                "Each is judged on what it learned from: both report on `test`.": tuple(
                    metrics.rmse(fit(train), train) - metrics.rmse(fit(ratings), ratings)
                    for fit in (lambda part: baselines.average_biases(part, damping=5), baselines.global_mean)),
                "The second leak is measured from the averages: compare mu with mu.":
                    (honest[0] - leaked[0], honest[0] - leaked[1]),
            },
        )  # fmt: skip
    return "three simulated catalogues"
