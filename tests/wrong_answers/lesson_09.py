"""What learners typically write in the exercises to lesson 09, and words of the hint that each deserves."""

import functools
from types import SimpleNamespace

import numpy as np

import mfhelpers as mf

OUTSIDE, _ = mf.simulate_ratings(20, 20, 100)
FITTED = mf.average_biases(OUTSIDE)
LATEST = {}


def shares(
    of_same=np.mean, of_others=np.mean, keep="different", sign=None, turn=-1, factor=1,
    before=lambda errors: errors, second=None,
):  # fmt: skip
    sign = sign or (lambda one, other: np.sign(one.mean() - other.mean()))

    def turned(one, other):
        one, other = before(one), before(other)
        apart = (one[:, None] - other[None, :]) * sign(one, other)
        same = np.eye(len(one), dtype=bool)
        others = apart[~same] if keep == "different" else apart
        first = factor * of_same(turn * apart[same] > 0)
        return first, factor * of_others(turn * others > 0) if second is None else second(first, apart, one, other)

    return turned


def smaller(one, other):
    return tuple(min(share, 1 - share) for share in shares()(one, other))


def distances(one, other):
    apart = np.abs(one[:, None] - other[None, :])
    same = np.eye(len(one), dtype=bool)
    return np.mean(apart[same] < 0), np.mean(apart[~same] < 0)


def with_itself(first, apart, one, other):
    return np.mean((one[:, None] - one[None, :])[~np.eye(len(one), dtype=bool)] < 0)


def of_the_table(one, other):
    apart = (one[:, None] - other[None, :]) * np.sign(one.mean() - other.mean())
    same = np.eye(len(one), dtype=bool)
    return np.mean((apart < 0) & same), np.mean(apart[~same] < 0)


def slip(
    ratings_too=False, of=lambda squares: np.sqrt(np.mean(squares)), right="scale", top=True, power=2,
    value=lambda wrong, honest: wrong - honest, count=lambda new, old, *_: np.sum(new != old),
    floor=None, limits=None, some=None, before=lambda predicted: predicted,
):  # fmt: skip
    def effect_of_the_slip(predicted, test, low):
        at, (bottom, high) = low if floor is None else floor, limits or (test.scale.low, test.scale.high)
        high, stars, guessed = high if top else np.inf, test.values.astype(float), before(predicted)
        new, old = np.clip(guessed, at, high), np.clip(guessed, bottom, high) if right == "scale" else guessed
        truth = np.clip(stars, at, high) if ratings_too else stars
        mine = slice(None) if some is None else some(predicted, low)
        wrong, honest = of(np.abs(new - truth)[mine] ** power), of(np.abs(old - stars)[mine] ** power)
        return value(wrong, honest), count(new, np.clip(guessed, bottom, high), guessed, low, test)

    return effect_of_the_slip


def spread_of_errors(predicted, test, low):
    new, old = (np.clip(predicted, at, test.scale.high) for at in (low, test.scale.low))
    return np.std(new - test.values) - np.std(old - test.values), np.sum(new != old)


def between_the_two(predicted, test, low):
    new, old = (np.clip(predicted, at, test.scale.high) for at in (low, test.scale.low))
    return np.sqrt(np.mean((new - old) ** 2)), np.sum(new != old)


def low_ratings_left_out(predicted, test, low):
    kept = test.values >= low
    effect, _ = slip()(predicted[kept], SimpleNamespace(values=test.values[kept], scale=test.scale), low)
    return effect, np.sum(predicted < low)


def folds(
    drawn, turn=False, seeded=True, part=lambda ratings, mine, fold: (ratings[mine != fold], ratings[mine == fold])
):
    def cell_folds(ratings, n_folds, seed):
        mine = drawn(np.random.default_rng(seed if seeded else 0), n_folds, ratings)
        parts = [part(ratings, mine, fold) for fold in range(n_folds)]
        return [part[::-1] for part in parts] if turn else parts

    return cell_folds


def of_cells(rng, n_folds, ratings, first=0, beyond=0):
    table = rng.integers(first, n_folds + beyond, (ratings.n_users, ratings.n_items))
    return table[ratings.users, ratings.items]


def of_keys(key):
    """One number for each key; big enough a table that each key has a place."""

    def drawn(rng, n_folds, ratings):
        return rng.integers(0, n_folds, 4000)[key(ratings)]

    return drawn


def of_both_sides(rng, n_folds, ratings):
    users, items = (rng.integers(0, n_folds, n) for n in (ratings.n_users, ratings.n_items))
    return (users[ratings.users] + items[ratings.items]) % n_folds


def of_ratings(rng, n_folds, ratings):
    return rng.integers(0, n_folds, len(ratings))


def in_order(ratings, numbers):
    mine = np.empty(len(ratings), int)
    mine[np.lexsort((ratings.items, ratings.users))] = numbers
    return mine


def of_sorted_ratings(rng, n_folds, ratings):
    return in_order(ratings, rng.permutation(np.arange(len(ratings)) % n_folds))


def one_after_another(rng, n_folds, ratings):
    return in_order(ratings, rng.integers(0, n_folds, len(ratings)))


def dealt(axis):
    def drawn(rng, n_folds, ratings):
        shape = ratings.n_users, ratings.n_items
        even = np.arange(shape[axis]) % n_folds
        table = np.array([rng.permutation(even) for _ in range(shape[1 - axis])])
        return (table if axis else table.T)[ratings.users, ratings.items]

    return drawn


def loaded(rng, n_folds, ratings):
    table = np.round(rng.random((ratings.n_users, ratings.n_items)) * (n_folds - 1)).astype(int)
    return table[ratings.users, ratings.items]


def independent(ratings, n_folds, seed):
    return [mf.random_split(ratings, test=1 / n_folds, seed=seed + fold) for fold in range(n_folds)]


def unseeded_folds(ratings, n_folds, seed):
    return folds(lambda rng, *rest: of_cells(np.random.default_rng(), *rest))(ratings, n_folds, seed)


def always_five(ratings, n_folds, seed):
    return folds(of_cells)(ratings, 5, seed)


def a_generator(ratings, n_folds, seed):
    return (fold for fold in folds(of_cells)(ratings, n_folds, seed))


def rows(of_one=lambda train: np.sum(train.user_counts**2), of_product=len, turn=1):
    return lambda train: (of_one(train), of_product(train))[::turn]


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


def nothing_for_new_users(fitted, train):
    with np.errstate(invalid="ignore"):
        means = np.bincount(train.items, train.values, train.n_items) / train.item_counts
    return SimpleNamespace(predict=lambda users, items: means[items])


def with_other_ratings(train, seed, setting):
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


def upside_down(fitted, train):
    return SimpleNamespace(predict=lambda users, items: 6 - fitted.predict(users, items))


def turned_round(fitted, train):
    mean = train.values.mean()
    return SimpleNamespace(predict=lambda users, items: 2 * mean - fitted.predict(users, items))


def without_the_mean(fitted, train):
    return SimpleNamespace(predict=lambda users, items: fitted.predict(users, items) - train.values.mean())


def films_first(fitted, train):
    return SimpleNamespace(predict=lambda users, items: fitted.predict(items, users))


def no_return(fitted, train):
    SimpleNamespace(predict=fitted.predict)


def a_function(fitted, train):
    return fitted.predict


def smoothed_along(fitted, train):
    return SimpleNamespace(
        predict=lambda users, items: np.cumsum(fitted.predict(users, items)) / (1 + np.arange(len(users)))
    )


def the_latest(fitted, train):
    LATEST["model"] = fitted.predict
    return SimpleNamespace(predict=lambda users, items: LATEST["model"](users, items))


def yes_or_no(train, seed, setting):
    return mf.als(train, 5, reg=mf.Penalty(2.0 if setting > 1 else 1.0, 0.5), seed=seed, progress=False)


def with_a_model_from_outside(train, seed, setting):
    fitted = mf.als(train, 5, reg=mf.Penalty(setting, 0.5), seed=seed, progress=False)
    return SimpleNamespace(
        predict=lambda users, items: (fitted.predict(users, items) + FITTED.predict(users, items)) / 2
    )


def with_a_default(train, seed, setting, known=OUTSIDE):
    return mf.als(known, 5, reg=mf.Penalty(setting, 0.5), seed=seed, progress=False)


def no_learning(fitted, train):
    rng = np.random.default_rng(0)
    table = fitted.predict(*np.indices((train.n_users, train.n_items)).reshape(2, -1)).reshape(train.n_users, -1)
    table = rng.permuted(rng.permuted(table, axis=0), axis=1)
    return SimpleNamespace(predict=lambda users, items: table[users, items])


THREE = [1.0, 1.4, 2.0]

WRONG = {
    "read_a_table": [
        ((45, shares(turn=1)), "those that keep the order"),
        ((45, shares(keep="all")), "leave out those of the same split"),
        ((45, shares(of_same=np.sum, of_others=np.sum)), "numbers of pairs"),
        ((45, shares(factor=100)), "In percent"),
        ((45, shares(sign=lambda *_: 1)), "in which `one` is lower"),
        ((45, shares(sign=lambda *_: -1)), "in which `one` is higher"),
        ((45, shares(sign=lambda one, other: np.sign(np.median(one) - np.median(other)))), "order of the medians"),
        ((45, shares(before=np.sort)), "Once they are sorted"),
        (
            (45, shares(second=lambda first, apart, *_: np.mean(apart[np.triu_indices(len(apart), 1)] < 0))),
            "half of the table",
        ),
        (
            (
                45,
                shares(
                    second=lambda first, apart, one, other: (
                        np.sum(apart[~np.eye(len(one), dtype=bool)] < 0) / len(one) ** 2
                    )
                ),
            ),
            "n (n - 1) pairs of different",
        ),
        ((45, shares(second=lambda first, apart, *_: np.mean(np.diag(np.roll(apart, -1, axis=1)) < 0))), "one partner"),
        ((45, shares(second=with_itself)), "compared with itself"),
        ((45, shares(second=lambda first, *_: first)), "The same share twice"),
        ((45, lambda one, other: shares()(one, other)[::-1]), "The same split comes first"),
        ((45, lambda one, other: shares()(one, other)[0]), "Give all 2"),
        ((45, of_the_table), "of the n splits, not of the whole table"),
        ((45, shares(sign=lambda one, other: np.sign(one[0] - other[0]))), "The order on the first split"),
        ((45, shares(second=lambda first, apart, *_: shares(turn=1)(*_)[1])), "The second are those that keep"),
        ((45, shares(of_same=np.sum)), "The first is a number of splits"),
        ((45, shares(of_others=np.sum)), "The second is a number of pairs"),
        ((45, smaller), "More than half can turn"),
        ((45, distances), "lost its sign"),
        ((43, shares()), "One of these is asked for"),
    ],
    "a_scale_too_narrow": [
        (("nothing", slip(value=lambda wrong, honest: honest - wrong)), "The sign"),
        (("nothing", slip(of=np.mean)), "take the root of each mean"),
        (("nothing", slip(of=np.mean, value=lambda wrong, honest: np.sqrt(wrong - honest))), "difference of the roots"),
        (("nothing", slip(of=lambda squares: np.sqrt(np.sum(squares)))), "mean is missing"),
        (("nothing", slip(of=np.mean, power=1)), "Absolute errors"),
        (("nothing", spread_of_errors), "standard deviation of the errors"),
        (("nothing", slip(value=lambda wrong, honest: abs(wrong - honest))), "leave the difference its sign"),
        (("nothing", between_the_two), "compare each with the ratings"),
        (("nothing", low_ratings_left_out), "left out"),
        (("nothing", slip(value=lambda wrong, honest: wrong)), "RMSE with the slip itself"),
        (("nothing", slip(value=lambda wrong, honest: honest)), "RMSE with the right limits"),
        (("nothing", slip(value=lambda wrong, honest: wrong / honest - 1)), "A relative change"),
        (("nothing", slip(ratings_too=True)), "they stay as they are"),
        (("nothing", slip(right="none")), "clipped as well"),
        (("nothing", slip(top=False)), "top of the scale"),
        (("nothing", slip(some=lambda predicted, low: predicted < low)), "counts all test ratings"),
        (
            ("nothing", slip(before=lambda predicted: np.round(2 * predicted) / 2)),
            "rounded to half stars",
        ),
        (("nothing", slip(floor=1)), "The limit of the slip is `low`"),
        (("nothing", slip(limits=(0.5, 5))), "those of `test.scale`"),
        (("nothing", slip(count=lambda new, old, guessed, *_: np.sum(new != guessed))), "How many *differ*"),
        (("nothing", slip(count=lambda new, old, *_: np.mean(new != old))), "not a share"),
        (
            ("nothing", slip(count=lambda new, old, guessed, low, test: np.sum(test.values < low))),
            "ratings below the limit",
        ),
        (("nothing", slip(count=lambda new, old, guessed, low, test: np.sum(guessed <= low))), "just the limit"),
        (
            ("nothing", slip(count=lambda new, old, guessed, low, test: np.sum(guessed < test.scale.low))),
            "below the right limit",
        ),
        (
            (
                "nothing",
                slip(count=lambda new, old, guessed, low, test: np.sum((guessed >= test.scale.low) & (guessed < low))),
            ),
            "between the two limits",
        ),
        (("nothing", lambda *given: slip()(*given)[::-1]), "The other way round"),
        (("nothing", lambda *given: slip()(*given)[0]), "Give all 2"),
    ],
    "folds_over_cells": [
        ((100, folds(of_ratings)), "in the order of the list"),
        ((100, folds(of_both_sides)), "three cells tell the fold of the fourth"),
        ((100, folds(of_sorted_ratings)), "folds over ratings"),
        ((100, folds(one_after_another)), "for the rated cells alone"),
        ((100, folds(of_cells, turn=True)), "the other way round"),
        ((100, folds(of_cells, seeded=False)), "Hand the seed"),
        ((100, unseeded_folds), "Drawn without the seed"),
        ((100, independent), "tested twice"),
        ((100, always_five), "Always five"),
        ((100, a_generator), "Return a list"),
        ((100, lambda *_: None), "end in `return`"),
        ((100, folds(of_cells, part=lambda ratings, mine, fold: ratings[mine == fold])), "A test part alone"),
        ((100, folds(of_cells, part=lambda ratings, mine, fold: mine == fold)), "A mask or numbers"),
        ((100, folds(of_cells, part=lambda ratings, mine, fold: (ratings, ratings[mine == fold]))), "in train"),
        ((100, folds(lambda *given: of_cells(*given, first=1, beyond=1))), "both counted from 0"),
        ((100, folds(lambda *given: of_cells(*given, beyond=-1))), "is not drawn"),
        ((100, folds(loaded)), "drawn more often than others"),
        ((100, folds(of_keys(lambda part: part.users))), "One fold for all ratings of a user"),
        ((100, folds(of_keys(lambda part: part.items))), "One fold for all ratings of a film"),
        ((100, folds(of_keys(lambda part: part.users * part.n_users + part.items))), "multiply by n_items"),
        ((100, folds(of_keys(lambda part: part.items * part.n_items + part.users))), "multiply by n_users"),
        ((100, folds(of_keys(lambda part: part.users + part.items))), "`user + film`"),
        ((100, folds(of_keys(lambda part: part.users * part.items))), "`user * film`"),
        ((100, folds(of_keys(lambda part: (part.users * part.n_items + part.items) % 17))), "share one number"),
        ((100, folds(dealt(1))), "Dealt out user by user"),
        ((100, folds(dealt(0))), "Dealt out film by film"),
    ],
    "svdpp_of_surprise": [
        ((60, rows(of_one=len)), "for every rating of that user"),
        ((60, rows(of_one=lambda train: np.sum(train.item_counts**2))), "films' counts"),
        ((60, rows(of_one=lambda train: len(train) * train.n_items)), "not all"),
        ((60, rows(of_one=lambda train: len(train) ** 2)), "Only those of the same user"),
        ((60, rows(of_one=lambda train: np.sum(train.user_counts * (train.user_counts - 1)))), "Film i itself"),
        (
            (60, rows(of_one=lambda train: np.sum(train.user_counts * (train.user_counts + 1)) / 2)),
            "Each pair of films once",
        ),
        ((60, rows(of_one=lambda train: train.n_users * train.user_counts.mean() ** 2)), "mean of the squares"),
        ((60, rows(of_one=lambda train: train.n_users * train.n_items)), "gaps are not visited"),
        ((60, rows(of_one=lambda train: np.sum(train.user_counts**1.5))), "a factor of the sum"),
        ((60, rows(of_one=lambda train: len(train) * train.user_counts.max())), "largest user's count"),
        ((60, rows(of_one=lambda train: 2 * len(train))), "Twice the number"),
        ((60, rows(of_one=lambda train: np.sum(train.user_counts**3))), "Once more too often"),
        (
            (60, rows(of_one=lambda train: train.user_counts[train.users] @ train.item_counts[train.items])),
            "no part in it",
        ),
        ((60, rows(of_product=lambda train: 2 * len(train))), "added is once"),
        ((60, rows(of_product=lambda train: train.n_users * train.n_items)), "at each rated pair"),
        ((60, rows(of_product=lambda train: train.n_users)), "comes *out* of XY"),
        ((60, rows(of_product=lambda train: train.n_items)), "Y has a row for each film"),
        ((60, rows(of_product=lambda train: np.sum(train.user_counts**2))), "no user is visited twice"),
        ((60, rows(of_product=lambda train: 20 * len(train))), "count rows, not numbers"),
        ((60, rows(turn=-1)), "The other way round"),
        ((60, lambda train: (train.user_counts**2, train.user_counts)), "add them up"),
        ((60, lambda train: np.sum(train.user_counts**2)), "Give all 2"),
    ],
    "enter_your_own": [
        ((THREE, entry(no_predictor)), "SimpleNamespace(predict=function) will do"),
        ((THREE, entry(no_return)), "end in `return`"),
        ((THREE, entry(a_function)), "A function is returned"),
        ((THREE, entry(a_table)), "not a table"),
        ((THREE, entry(nothing_for_new_users)), "without any training rating"),
        ((THREE, entry(centred)), "not on what else is asked"),
        ((THREE, entry(smoothed_along)), "not on what else is asked"),
        ((THREE, entry(the_latest)), "a later training has replaced"),
        ((THREE, entry(upside_down)), "fall where the ratings rise"),
        ((THREE, entry(turned_round)), "fall where the ratings rise"),
        ((THREE, entry(without_the_mean)), "lie around 0"),
        ((THREE, entry(no_learning)), "One constant does better"),
        ((THREE, entry(films_first)), "come in the right order"),
        ((THREE, with_other_ratings), "names ratings from outside"),
        ((THREE, with_a_default), "names ratings from outside"),
        ((THREE, functools.partial(with_other_ratings)), "names ratings from outside"),
        ((THREE, with_a_model_from_outside), "a model that was trained outside"),
        ((THREE, loads_it_all), "Take everything from `train`"),
        ((THREE, no_setting), "Does the method use `setting`"),
        ((THREE, yes_or_no), "treats these alike"),
        ((THREE, unseeded), "Hand the seed on"),
        (([*THREE, 3.0], entry(as_they_are)), "choose among three"),
        ((1.4, entry(as_they_are)), "choose among three"),
    ],
}
