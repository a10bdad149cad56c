"""What learners typically write in the exercises to lesson 00, and words of the hint that each deserves."""

import numpy as np

import mfhelpers as mf


def user_means(train):
    mu = train.values.mean(dtype=np.float64)
    return mu, np.bincount(train.users, train.values - mu, train.n_users) / np.maximum(train.user_counts, 1)


def squared(train, test):
    mu, b_u = user_means(train)
    return np.mean((mu + b_u[test.users] - test.values) ** 2)


def films(train, test):
    return mf.rmse(mf.item_means(train), test)


def nothing_for_strangers(train, test):
    mu, _ = user_means(train)
    with np.errstate(invalid="ignore"):
        b_u = np.bincount(train.users, train.values - mu, train.n_users) / train.user_counts
    return np.sqrt(np.mean((mu + b_u[test.users] - test.values) ** 2))


def no_return(*_):
    pass


def exam(split, damping=5, factor=1):
    def exam_in_the_future(ratings):
        train, test = split(ratings)
        report = mf.cold_report(train, test)
        return mf.rmse(mf.average_biases(train, damping), test), factor * report.with_cold_user / report.n_test

    return exam_in_the_future


def choose(judged_on, pick=min):
    def choose_damping(train, candidates, share, seed):
        parts = mf.random_split(train, test=share, seed=seed)
        return pick(candidates, key=lambda d: mf.rmse(mf.average_biases(parts[0], d), parts[judged_on]))

    return choose_damping


def leaked_minus_honest(ratings, train, test):
    return tuple(
        mf.rmse(fit(ratings), test) - mf.rmse(fit(train), test)
        for fit in (lambda part: mf.average_biases(part, 5), mf.global_mean)
    )


WRONG = {
    "users_before_films": [
        (("people", squared), "'users' or 'films'"),
        (("films", squared), "take its root"),
        (("films", films), "group by train.users"),
        (("films", nothing_for_strangers), "0 / 0"),
        (("films", no_return), "end in `return`"),
    ],
    "an_exam_in_the_future": [
        (("higher", exam(mf.random_split)), "drawn at random"),
        (("higher", exam(mf.time_split, damping=0)), "not damped"),
        (("higher", exam(mf.time_split, factor=100)), "in per cent"),
    ],
    "choose_the_damping_honestly": [
        ((choose(judged_on=0),), "judge it on those held back"),
        ((choose(judged_on=1, pick=max),), "highest error"),
        ((lambda train, candidates, share, seed: 5,), "Is it the share and the seed"),
    ],
    "too_good_to_be_true": [
        ((leaked_minus_honest,), "The sign"),
        ((lambda ratings, train, test: 0.024,), "Give all 2"),
    ],
}
