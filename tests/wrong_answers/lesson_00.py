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


def error_with(b_u, mu=None, of=np.mean, part=None):
    """RMSE of mu plus what `b_u(train)` says, or `of` the squares, on the test part or another one."""

    def user_mean_error(train, test):
        level = user_means(train)[0] if mu is None else mu(train, test)
        judged = train if part == "train" else test
        return np.sqrt(of((level + b_u(train)[judged.users] - judged.values) ** 2))

    return user_mean_error


def right_bias(train):
    return user_means(train)[1]


def medians(train):
    mu, _ = user_means(train)
    return np.array(
        [np.median((train.values - mu)[train.users == u]) if n else 0 for u, n in enumerate(train.user_counts)]
    )


def own_mean(train):
    return np.bincount(train.users, train.values, train.n_users) / np.maximum(train.user_counts, 1)


def deviation(train, test):
    mu, b_u = user_means(train)
    return np.std(mu + b_u[test.users] - test.values)


def strangers_left_out(train, test):
    known = train.user_counts[test.users] > 0
    return error_with(right_bias)(train, test[known])


def in_the_future(
    split=mf.time_split, fit=lambda train: mf.average_biases(train, 5), share=None, turned=False, power=1
):
    def future_error(ratings):
        train, test = split(ratings)
        report = mf.cold_report(train, test)
        part = report.with_cold_user / report.n_test if share is None else share(report, train, test)
        both = mf.rmse(fit(train), test) ** power, part
        return both[::-1] if turned else both

    return future_error


def on_all(ratings):
    _, share = in_the_future()(ratings)
    return mf.rmse(mf.average_biases(ratings, 5), mf.time_split(ratings)[1]), share


def choose(judged_on, fitted_to=0, pick=min, seeded=True, shared=True):
    def choose_damping(train, candidates, share, seed):
        parts = mf.random_split(train, test=share if shared else 0.2, seed=seed if seeded else 0)
        parts = (*parts, train)
        return pick(candidates, key=lambda d: mf.rmse(mf.average_biases(parts[fitted_to], d), parts[judged_on]))

    return choose_damping


def by_score(score, fit=mf.average_biases):
    def choose_damping(train, candidates, share, seed):
        fitting, held_back = mf.random_split(train, test=share, seed=seed)
        return min(candidates, key=lambda d: score(fit(fitting, d), held_back))

    return choose_damping


def the_error(train, candidates, share, seed):
    fitting, held_back = mf.random_split(train, test=share, seed=seed)
    return min(mf.rmse(mf.average_biases(fitting, d), held_back) for d in candidates)


def the_place(train, candidates, share, seed):
    return candidates.index(choose(1)(train, candidates, share, seed))


def leaks(of=lambda honest, leaked: honest - leaked, fits=None, judge=lambda ratings, train, test: (test, test)):
    """`of` the honest and the leaked error of both slips, judged on what `judge` says."""
    fits = fits or [lambda part: mf.average_biases(part, 5), mf.global_mean]

    def worth(ratings, train, test):
        parts = judge(ratings, train, test)
        return tuple(
            of(*(mf.rmse(fit(part), on) for part, on in zip((train, ratings), parts, strict=True))) for fit in fits
        )

    return worth


def mixed_slips(ratings, train, test):
    averages = mf.average_biases(train, 5)
    leaked = mf.Factors(
        mf.global_mean(ratings).mean, averages.user_biases, averages.item_biases,
        np.zeros((train.n_users, 0)), np.zeros((train.n_items, 0)),
    )  # fmt: skip
    return leaks()(ratings, train, test)[0], mf.rmse(averages, test) - mf.rmse(leaked, test)


WRONG = {
    "users_before_films": [
        (("people", squared), "'users' or 'films'"),
        (("films", squared), "take its root"),
        (("films", films), "group by train.users"),
        (("films", nothing_for_strangers), "0 / 0"),
        (("films", no_return), "end in `return`"),
        (("films", lambda train, test: mf.rmse(mf.global_mean(train), test)), "This is mu for everybody"),
        (("films", lambda train, test: mf.rmse(mf.average_biases(train), test)), "Both biases are in it"),
        (("films", error_with(medians)), "These are medians"),
        (("films", error_with(lambda train: right_bias(train) * train.user_counts)), "Sums, not means"),
        (("films", error_with(lambda train: mf.user_means(train, 5).user_biases)), "This is damped"),
        (("films", error_with(right_bias, mu=lambda train, test: test.values.mean())), "knows the test set"),
        (("films", error_with(right_bias, mu=lambda train, test: 0)), "where is mu?"),
        (("films", error_with(right_bias, part="train")), "RMSE of the training part"),
        (("films", error_with(own_mean, mu=lambda train, test: 0)), "gets 0 stars"),
        (("films", strangers_left_out), "are left out"),
        (("films", deviation), "not their root mean square"),
    ],
    "a_test_set_from_the_future": [
        (("soon", in_the_future()), "One of these is asked for"),
        (("higher", in_the_future(mf.random_split)), "drawn at random"),
        (("higher", in_the_future(lambda ratings: mf.time_split(ratings)[::-1])), "judged on the early one"),
        (("higher", in_the_future(fit=mf.average_biases)), "not damped"),
        (("higher", in_the_future(fit=lambda train: mf.item_means(train, 5))), "the films' alone"),
        (
            ("higher", in_the_future(share=lambda report, *_: 100 * report.with_cold_user / report.n_test)),
            "in per cent",
        ),
        (("higher", in_the_future(share=lambda report, *_: report.with_cold_user)), "a number of ratings"),
        (("higher", in_the_future(share=lambda report, *_: report.with_cold_item / report.n_test)), "unseen films"),
        (("higher", in_the_future(share=lambda report, *_: report.with_either / report.n_test)), "users alone"),
        (("higher", in_the_future(share=lambda report, *_: report.cold_users)), "number of unseen users"),
        (("higher", in_the_future(share=lambda report, *_: report.cold_users / report.n_test)), "counts their ratings"),
        (
            ("higher", in_the_future(share=lambda report, train, _: report.with_cold_user / len(train))),
            "training part's",
        ),
        (("higher", in_the_future(turned=True)), "first the RMSE"),
        (("higher", in_the_future(power=2)), "take its root"),
        (("higher", on_all), "have learned from all ratings"),
    ],
    "choose_the_damping_honestly": [
        ((choose(judged_on=0),), "judge it on those held back"),
        ((choose(judged_on=1, pick=max),), "highest error"),
        ((choose(judged_on=1, fitted_to=2),), "fitted on all training ratings"),
        ((choose(judged_on=0, fitted_to=1),), "pieces are exchanged"),
        ((choose(judged_on=1, shared=False),), "Another share"),
        ((choose(judged_on=1, seeded=False),), "hand on `seed`"),
        (
            (by_score(lambda fit, part: np.abs(fit.predict(part.users, part.items) - part.values).mean()),),
            "absolute error",
        ),
        ((by_score(mf.rmse, fit=mf.item_means),), "the films' alone"),
        (
            (lambda train, candidates, share, seed: choose(1)(train, candidates, 1 - share, seed),),
            "A share of 1 - share",
        ),
        ((the_error,), "That is the lowest error"),
        ((the_place,), "the place in the list"),
        ((lambda train, candidates, share, seed: 5,), "Is it the share and the seed"),
    ],
    "too_good_to_be_true": [
        ((leaks(lambda honest, leaked: leaked - honest),), "The sign"),
        ((leaks(lambda honest, leaked: honest),), "the honest errors themselves"),
        ((leaks(lambda honest, leaked: leaked),), "as reported"),
        ((leaks(lambda honest, leaked: honest / leaked),), "A ratio"),
        ((leaks(lambda honest, leaked: honest**2 - leaked**2),), "Mean squared errors"),
        ((lambda *parts: leaks()(*parts)[::-1],), "first the averages"),
        ((leaks(fits=[mf.average_biases, mf.global_mean]),), "not damped"),
        ((leaks(judge=lambda ratings, train, test: (ratings, ratings)),), "judged on all ratings"),
        ((leaks(judge=lambda ratings, train, test: (train, ratings)),), "what it learned from"),
        ((mixed_slips,), "without biases"),
        ((lambda ratings, train, test: 0.024,), "Give all 2"),
    ],
}
