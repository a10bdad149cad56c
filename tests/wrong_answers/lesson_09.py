"""What learners typically write in the exercises to lesson 09, and words of the hint that each deserves."""

from types import SimpleNamespace

import numpy as np

import mfhelpers as mf

OUTSIDE, _ = mf.simulate_ratings(20, 20, 100)


def shares(of_same=np.mean, of_others=np.mean, keep="different", sign=True, turn=-1, factor=1):
    def turned(one, other):
        apart = one[:, None] - other[None, :]
        if sign:
            apart = apart * np.sign(one.mean() - other.mean())
        same = np.eye(len(one), dtype=bool)
        others = {"different": apart[~same], "all": apart, "later": apart[np.triu_indices(len(one), 1)]}[keep]
        return factor * of_same(turn * apart[same] > 0), factor * of_others(turn * others > 0)

    return turned


def by_sign(share, of=np.mean):
    """`share` of the differences on one split and on two, and of the sign of the `of` of both models."""

    def turned(one, other):
        apart, same = one[:, None] - other[None, :], np.eye(len(one), dtype=bool)
        return [share(table, np.sign(of(one) - of(other))) for table in (apart[same], apart[~same])]

    return turned


def slip(ratings_too=False, root=True, right=True, sign=1, count="differ", top=True):
    def effect_of_the_slip(predicted, test, low):
        high = test.scale.high if top else np.inf
        limits = (low, test.scale.low if right else -np.inf)
        clipped = [np.clip(predicted, at, high if right else max(high, at)) for at in limits]
        if not right:
            clipped[1] = predicted
        values = [np.clip(test.values, low, 5) if ratings_too else test.values, test.values]
        wrong, honest = (np.mean((each - r) ** 2) for each, r in zip(clipped, values, strict=True))
        if root:
            wrong, honest = np.sqrt([wrong, honest])
        n = np.sum(np.clip(predicted, low, 5) != (predicted if count == "clipped" else np.clip(predicted, 0.5, 5)))
        return sign * (wrong - honest), n / len(test) if count == "share" else n

    return effect_of_the_slip


def the_slip_alone(predicted, test, low):
    return np.sqrt(np.mean((np.clip(predicted, low, 5) - test.values) ** 2)), slip()(predicted, test, low)[1]


def absolute(predicted, test, low):
    wrong, honest = (np.mean(np.abs(np.clip(predicted, at, 5) - test.values)) for at in (low, 0.5))
    return wrong - honest, slip()(predicted, test, low)[1]


def numbered(key):
    """One number for each cell, looked up by a key that two cells may share."""

    def drawn(rng, n_folds, ratings):
        numbers = key(ratings, ratings.users, ratings.items)
        most = max(ratings.n_users, ratings.n_items)
        return rng.integers(0, n_folds, most**2 + most)[numbers]

    return drawn


def of_users(rng, n_folds, ratings):
    return rng.integers(0, n_folds, ratings.n_users)[ratings.users]


def of_films(rng, n_folds, ratings):
    return rng.integers(0, n_folds, ratings.n_items)[ratings.items]


def folds(drawn, turn=False, seeded=True):
    def cell_folds(ratings, n_folds, seed):
        mine = drawn(np.random.default_rng(seed if seeded else 0), n_folds, ratings)
        parts = [(ratings[mine != fold], ratings[mine == fold]) for fold in range(n_folds)]
        return [part[::-1] for part in parts] if turn else parts

    return cell_folds


def of_cells(rng, n_folds, ratings):
    return rng.integers(0, n_folds, (ratings.n_users, ratings.n_items))[ratings.users, ratings.items]


def of_equal_cells(rng, n_folds, ratings):
    shape = ratings.n_users, ratings.n_items
    return (rng.permutation(np.prod(shape)) % n_folds).reshape(shape)[ratings.users, ratings.items]


def of_ratings(rng, n_folds, ratings):
    return rng.integers(0, n_folds, len(ratings))


def of_sorted_ratings(rng, n_folds, ratings):
    mine = np.empty(len(ratings), int)
    mine[np.lexsort((ratings.items, ratings.users))] = rng.permutation(np.arange(len(ratings)) % n_folds)
    return mine


def independent(ratings, n_folds, seed):
    return [mf.random_split(ratings, test=1 / n_folds, seed=seed + fold) for fold in range(n_folds)]


def entry(predictor):
    def my_method(train, seed, setting):
        fitted = mf.als(train, 5, reg=mf.Penalty(setting, 0.5), seed=seed, progress=False)
        return predictor(fitted, train)

    return my_method


def as_they_are(fitted, train):
    return fitted


def no_predictor(fitted, train):
    return fitted.user_factors @ fitted.item_factors.T


def a_table(fitted, train):
    return SimpleNamespace(predict=lambda users, items: fitted.predict(users[:, None], items[None, :]))


def centred(fitted, train):
    def predict(users, items):
        estimates = fitted.predict(users, items)
        return estimates - estimates.mean() + train.values.mean()

    return SimpleNamespace(predict=predict)


def nothing_for_strangers(fitted, train):
    with np.errstate(invalid="ignore"):
        means = np.bincount(train.items, train.values, train.n_items) / train.item_counts
    return SimpleNamespace(predict=lambda users, items: means[items])


def with_others(train, seed, setting):
    return mf.svdpp(train, 5, reg=mf.Penalty(setting, 0.5), implicit=OUTSIDE, reg_implicit=60, seed=seed)


def loads_it_all(train, seed, setting):
    return mf.als(mf.load_ratings("ml-100k"), 5, reg=mf.Penalty(setting, 0.5), seed=seed)


def no_setting(train, seed, setting):
    return mf.als(train, 5, seed=seed, progress=False)


def unseeded(train, seed, setting):
    return mf.als(
        train,
        5,
        reg=mf.Penalty(setting, 0.5),
        seed=int(np.random.default_rng().integers(10**9)),
        sweeps=2,
        progress=False,
    )


def no_number(fitted, train):
    return SimpleNamespace(predict=lambda users, items: fitted.predict(users, items) / (train.user_counts[users] > 0))


def in_whole(fitted, train):
    return SimpleNamespace(predict=lambda users, items: fitted.predict(users, items).mean())


def upside_down(fitted, train):
    return SimpleNamespace(predict=lambda users, items: 6 - fitted.predict(users, items))


THREE = [1.0, 1.4, 2.0]

WRONG = {
    "read_a_table": [
        ((45, shares(turn=1)), "those that keep the order"),
        ((45, by_sign(lambda table, sign: (table * sign <= 0).mean())), "below 0, not at 0"),
        ((45, by_sign(lambda table, sign: min((table < 0).mean(), (table > 0).mean()))), "not that of most pairs"),
        ((45, by_sign(lambda table, sign: (table * sign < 0).mean(), of=np.median)), "not that of the medians"),
        ((45, shares(keep="all")), "leave out those of the same split"),
        ((45, shares(of_same=np.sum, of_others=np.sum)), "numbers of pairs"),
        ((45, shares(factor=100)), "In per cent"),
        ((45, shares(sign=False)), "on the whole differs"),
        ((45, lambda one, other: shares(keep="later")(one, other)), "those that come later"),
        ((45, lambda one, other: shares()(one, other)[::-1]), "The same split comes first"),
        ((45, lambda one, other: shares(sign=False, turn=1)(one, other)), "on the whole differs"),
        ((43, shares()), "One of these is asked for"),
    ],
    "a_scale_too_narrow": [
        (("nothing", slip(sign=-1)), "The sign"),
        (("nothing", slip(root=False)), "take the root"),
        (("nothing", slip(ratings_too=True)), "they stay as they are"),
        (("nothing", slip(right=False)), "clipped as well"),
        (("nothing", slip(count="clipped")), "How many *differ*"),
        (("nothing", slip(count="share")), "not a share"),
        (("nothing", slip(top=False)), "top of the scale"),
        (("nothing", lambda *given: slip()(*given)[::-1]), "first the difference"),
        (("nothing", lambda predicted, test, low: slip()(predicted, test, 1)), "not always 1"),
        (
            ("nothing", lambda predicted, test, low: (slip()(predicted, test, low)[0], np.sum(predicted < 0.5))),
            "below the scale",
        ),
        (("nothing", the_slip_alone), "subtract the right one"),
        (("nothing", absolute), "Mean absolute errors"),
        (("a tenth", slip()), "One of these is asked for"),
    ],
    "folds_over_cells": [
        ((100, folds(of_ratings)), "in the order of the list"),
        ((100, folds(of_sorted_ratings)), "folds over ratings"),
        ((100, folds(of_cells, turn=True)), "the other way round"),
        ((100, folds(of_cells, seeded=False)), "Hand the seed"),
        ((100, independent), "in one test part"),
        ((100, folds(of_users)), "A whole user"),
        ((100, folds(of_films)), "A whole film"),
        ((100, folds(numbered(lambda r, users, items: users * r.n_users + items))), "user * n_users + film"),
        ((100, folds(numbered(lambda r, users, items: items * r.n_items + users))), "film * n_items + user"),
        ((100, folds(numbered(lambda r, users, items: users + items))), "user + film is the number"),
        ((100, lambda *given: folds(of_cells)(*given)[:-1]), "One pair (train, test) a fold"),
        ((100, lambda *given: iter(folds(of_cells)(*given))), "Return a list"),
        ((100, lambda *given: [test for _, test in folds(of_cells)(*given)]), "Select by ratings[mask]"),
    ],
    "svdpp_of_surprise": [
        ((60, lambda train: (len(train), len(train))), "for every rating of that user"),
        ((60, lambda train: (np.sum(train.item_counts**2), len(train))), "films' counts"),
        ((60, lambda train: (len(train) * train.n_items, len(train))), "not all"),
        ((60, lambda train: (np.sum(train.user_counts**2), train.n_users * train.n_items)), "at each rated pair"),
        ((60, lambda train: (len(train) ** 2, len(train))), "All ratings for each rating"),
        ((60, lambda train: (len(train), np.sum(train.user_counts**2))), "The loop comes first"),
        (
            (60, lambda train: (np.sum(train.user_counts * (train.user_counts - 1)), len(train))),
            "The rated film itself",
        ),
        ((60, lambda train: (np.sum(train.user_counts**2), train.n_users)), "the number of users"),
        ((60, lambda train: (np.sum(train.user_counts**2), train.n_items)), "the number of films"),
        ((60, lambda train: (20 * np.sum(train.user_counts**2), 20 * len(train))), "not rows"),
        (
            (60, lambda train: (np.sum(train.user_counts * (train.user_counts - 1)) / 2, len(train))),
            "Each pair of films once",
        ),
        ((30, lambda train: (np.sum(train.user_counts**2), len(train))), "One of these is asked for"),
    ],
    "enter_your_own": [
        (([], entry(as_they_are)), "choose among three"),
        ((THREE, entry(no_number)), "without any training rating"),
        ((THREE, entry(in_whole)), "One number for each pair"),
        ((THREE, entry(no_predictor)), "SimpleNamespace(predict=function)"),
        ((THREE, entry(a_table)), "not a table"),
        ((THREE, entry(nothing_for_strangers)), "without any training rating"),
        ((THREE, entry(centred)), "not on what else is asked"),
        ((THREE, entry(upside_down)), "One constant does better"),
        ((THREE, with_others), "names ratings from outside"),
        ((THREE, loads_it_all), "Take everything from `train`"),
        ((THREE, no_setting), "use `setting`"),
        ((THREE, unseeded), "Hand the seed on"),
        (([*THREE, 3.0], entry(as_they_are)), "choose among three"),
    ],
}
