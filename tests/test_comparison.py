"""Comparisons: the same data and seeds for all, an interval that folds deserve, and Surprise as it is itself."""

import itertools
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mfhelpers import (
    Comparison,
    DivergenceError,
    Ratings,
    als,
    average_biases,
    cross_validate,
    evaluate,
    from_surprise,
    item_means,
    kfold,
    leave_last_out,
    plots,
    random_split,
    sgd,
    simulate_ratings,
)
from mfhelpers.evaluation import comparison

RATINGS, _ = simulate_ratings(30, 20, 200, min_per_user=3)
QUIET = dict(progress=False)
SCORES = ["rmse", "mae", "train_rmse", "train_mae"]
MEASURED = ["algorithm", "fold", "seed", *SCORES]
COLUMNS = [*MEASURED, "fit_seconds", "test_seconds"]


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    plt.close("all")


class Constant:
    """Predicts one number for all."""

    def __init__(self, value):
        self.value = value

    def predict(self, users, items):
        return np.full(len(users), float(self.value))


def constant(value):
    return lambda train, seed: Constant(value)


def means(train, seed):
    return item_means(train, 2)


def factors(train, seed):
    return als(train, 2, sweeps=2, seed=seed, **QUIET)


def drawn(train, seed):
    """Differs with the seed, and reaches beyond the scale."""
    return Constant(1 + 5 * np.random.default_rng(seed).random())


def diverging(train, seed):
    raise DivergenceError("diverged in epoch 1")


def never(train, seed):
    pytest.fail("it trained")


def pairs(users, items) -> set:
    return set(zip(users.tolist(), items.tolist(), strict=True))


class Witness:
    """An algorithm that notes what it may train on, with which seed, and on what it is then judged."""

    def __init__(self):
        self.trained, self.seeds, self.judged = [], [], []

    def __call__(self, train, seed):
        judged = []
        self.trained.append(train)
        self.seeds.append(seed)
        self.judged.append(judged)

        class Watched(Constant):
            def predict(self, users, items):
                judged.append(pairs(users, items))
                return super().predict(users, items)

        return Watched(3)

    @property
    def tested(self):
        """The pairs of each training's test part: all that it is asked for and has not trained on."""
        return [
            set().union(*judged) - pairs(t.users, t.items) for t, judged in zip(self.trained, self.judged, strict=True)
        ]


def same(one: Ratings, other: Ratings) -> bool:
    return all(np.array_equal(getattr(one, what), getattr(other, what)) for what in ("users", "items", "values"))


def measured(compared: Comparison) -> pd.DataFrame:
    """All that does not depend on the clock."""
    return compared.scores[MEASURED]


def relabelled(ratings: Ratings) -> Ratings:
    """The same ratings, whose item numbers mean other items."""
    ids = ratings.item_ids[::-1].copy()
    return Ratings(ratings.users, ratings.items, ratings.values, ratings.n_users, ratings.n_items, ratings.scale,
                   user_ids=ratings.user_ids, item_ids=ids)  # fmt: skip


# -- the same for all ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "seeds"), [(2, (0,)), (3, (7, 1)), (5, range(2))])
def test_all_algorithms_get_the_same_train_part_and_seed_in_each_round(n, seeds):
    first, second = Witness(), Witness()
    cross_validate({"first": first, "second": second}, RATINGS, n, seeds, **QUIET)
    assert first.seeds == second.seeds
    assert len(first.trained) == len(second.trained) == n * len(seeds)
    assert all(same(one, two) for one, two in zip(first.trained, second.trained, strict=True))
    assert first.judged == second.judged
    # each fold meets each seed once
    rounds = [(at, seed) for at, (train, _) in enumerate(kfold(RATINGS, n)) for seed in seeds
              for seen, given in zip(first.trained, first.seeds, strict=True) if given == seed and same(seen, train)]  # fmt: skip
    assert rounds == list(itertools.product(range(n), seeds))


@pytest.mark.parametrize("n", [2, 5])
def test_no_training_gets_the_ratings_that_it_is_judged_on(n):
    witness, whole = Witness(), pairs(RATINGS.users, RATINGS.items)
    cross_validate({"it": witness}, RATINGS, n, (0, 1), **QUIET)
    for train, judged, tested in zip(witness.trained, witness.judged, witness.tested, strict=True):
        assert isinstance(train, Ratings)
        trained = pairs(train.users, train.items)
        assert len(judged) == 2
        assert trained in judged
        assert tested in judged
        assert tested == whole - trained
        assert (train.n_users, train.n_items, train.scale) == (RATINGS.n_users, RATINGS.n_items, RATINGS.scale)
    # each rating is judged once for each seed
    for tested in (witness.tested[::2], witness.tested[1::2]):
        assert sum(map(len, tested)) == len(RATINGS)
        assert set().union(*tested) == whole


@pytest.mark.parametrize("n", [2, 5, 7])
def test_a_number_of_folds_means_those_of_kfold(n):
    witness = Witness()
    cross_validate({"it": witness}, RATINGS, n, **QUIET)
    folds = list(kfold(RATINGS, n, 42))
    assert all(same(seen, train) for seen, (train, _) in zip(witness.trained, folds, strict=True))
    assert witness.tested == [pairs(test.users, test.items) for _, test in folds]


def test_five_folds_and_one_seed_are_the_default():
    compared = cross_validate({"a": means, "b": drawn}, RATINGS, **QUIET)
    pd.testing.assert_frame_equal(
        measured(compared), measured(cross_validate({"a": means, "b": drawn}, RATINGS, 5, [0]))
    )


@pytest.mark.parametrize("wrapped", [list, tuple, iter], ids=["list", "tuple", "generator"])
def test_folds_may_be_given_as_pairs(wrapped):
    by_number = cross_validate({"means": means, "factors": factors}, RATINGS, 3, (0, 5), **QUIET)
    given = cross_validate({"means": means, "factors": factors}, RATINGS, wrapped(kfold(RATINGS, 3)), (0, 5), **QUIET)
    pd.testing.assert_frame_equal(measured(given), measured(by_number))
    assert given.test_share == by_number.test_share
    other = cross_validate({"means": means}, RATINGS, kfold(RATINGS, 3, seed=1), **QUIET)
    assert not np.array_equal(other.by_fold()["means"], by_number.by_fold()["means"])


def test_one_pair_is_enough_and_need_not_hold_all_ratings():
    train, test = leave_last_out(RATINGS, 2)
    compared = cross_validate({"means": means}, RATINGS, [(train[::2], test)], **QUIET)
    assert compared.scores.rmse.tolist() == [evaluate(item_means(train[::2], 2), test, clip=True).rmse]
    assert compared.test_share == len(test) / len(train[::2])


def test_the_share_of_test_ratings_is_the_mean_of_the_folds():
    folds = [(RATINGS[:100], RATINGS[100:]), (RATINGS[40:], RATINGS[:40])]
    assert cross_validate({"it": means}, RATINGS, folds, **QUIET).test_share == pytest.approx((1 + 0.25) / 2)
    assert cross_validate({"it": means}, RATINGS, 5, **QUIET).test_share == pytest.approx(0.25)


def test_seeds_may_be_any_whole_numbers():
    for seeds in ((3, 1), iter([3, 1]), np.array([3, 1])):
        witness = Witness()
        scores = cross_validate({"it": witness}, RATINGS, 2, seeds, **QUIET).scores
        assert witness.seeds == scores.seed.tolist() == [3, 1, 3, 1]
        assert {type(seed) for seed in witness.seeds} == {int}


# -- the judgement ---------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [True, False])
def test_scores_are_those_of_evaluate(clip):
    algorithms = {"factors": factors, "drawn": drawn, "beyond": constant(9)}
    scores = cross_validate(algorithms, RATINGS, 3, (0, 4), clip=clip, **QUIET).scores
    folds = list(kfold(RATINGS, 3))
    for row in scores.itertuples():
        train, test = folds[row.fold]
        fitted = algorithms[row.algorithm](train, seed=row.seed)
        judged, learned = evaluate(fitted, test, clip), evaluate(fitted, train, clip)
        assert (row.rmse, row.mae) == (judged.rmse, judged.mae)
        assert (row.train_rmse, row.train_mae) == (learned.rmse, learned.mae)
    assert (scores[scores.algorithm == "beyond"].rmse > 4).all() == (not clip)


def test_predictions_are_limited_to_the_scale_unless_told_otherwise():
    assert RATINGS.scale.high == 5
    by_default = cross_validate({"9": constant(9), "5": constant(5)}, RATINGS, 2, **QUIET).table()
    assert by_default.loc["9", SCORES].tolist() == by_default.loc["5", SCORES].tolist()


def test_rows_go_by_fold_then_seed_then_algorithm():
    names = ["z", "a", "m"]
    compared = cross_validate(dict.fromkeys(names, means), RATINGS, 3, (9, 2), **QUIET)
    assert list(compared.scores.columns) == COLUMNS
    assert compared.scores.index.tolist() == list(range(18))
    rows = zip(compared.scores.fold, compared.scores.seed, compared.scores.algorithm, strict=True)
    assert list(rows) == list(itertools.product(range(3), (9, 2), names))
    assert compared.algorithms == names


def test_seconds_are_those_of_training_and_of_predicting_the_test_part_and_no_others(monkeypatch):
    """A clock that only the work moves: 7 for training, 3 or 50 for predicting a test or train part, 1000 before."""
    now = [0.0]
    monkeypatch.setattr(comparison, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow:
        def prepare(self, train):
            now[0] += 1000
            return len(train)

        def __call__(self, n, seed):
            now[0] += 7 + seed

            class Predictor(Constant):
                def predict(self, users, items):
                    now[0] += 50 if len(users) == n else 3
                    return super().predict(users, items)

            return Predictor(3)

    scores = cross_validate({"slow": Slow()}, RATINGS, 3, (0, 1), **QUIET).scores
    assert scores.fit_seconds.tolist() == 3 * [7, 8]
    assert scores.test_seconds.tolist() == 6 * [3]


def test_nothing_is_shown_for_a_short_comparison(capsys):
    cross_validate({"means": means}, RATINGS, 2)
    assert capsys.readouterr() == ("", "")


# -- what is refused before anything is trained ----------------------------------------------------


def test_a_test_rating_that_is_in_the_train_part_is_refused():
    folds = [(RATINGS[:100], RATINGS[100:]), (RATINGS[20:], RATINGS[:23])]
    with pytest.raises(ValueError, match="3 of 23 test ratings are in the train part too"):
        cross_validate({"it": never}, RATINGS, folds, **QUIET)


@pytest.mark.parametrize("part", [0, 1])
def test_folds_that_are_numbered_otherwise_are_refused(part):
    folds = [list(fold) for fold in kfold(RATINGS, 3)]
    folds[2][part] = relabelled(folds[2][part])
    with pytest.raises(ValueError, match=r"are not parts of the same ratings: item_ids\[0\]"):
        cross_validate({"it": never}, RATINGS, folds, **QUIET)


def test_folds_of_other_ratings_are_refused():
    with pytest.raises(ValueError, match="are not parts of the same ratings"):
        cross_validate({"it": never}, RATINGS, kfold(relabelled(RATINGS), 3), **QUIET)


@pytest.mark.parametrize(
    ("algorithms", "message"),
    [
        ({}, "algorithms={}: give a dict from names to functions"),
        ([never], r"algorithms=\[.*: give a dict from names to functions"),
        (never, "algorithms=.*: give a dict from names to functions"),
        ({"a": never, "b": Constant(3)}, "'b' is no function: give a dict from names to functions"),
        ({"a": never, "b": average_biases}, r"'b' does not take \(train, seed=…\).*wrap it as lambda train, seed: …"),
        ({"a": never, "b": Constant}, r"'b' does not take \(train, seed=…\).*wrap it as from_surprise\(…\)"),
        ({"a": "SVD", "b": never}, "'a' is no function.*from_surprise"),
    ],
)
def test_what_is_no_algorithm_is_refused_before_any_is_trained(algorithms, message):
    with pytest.raises(ValueError, match=message):
        cross_validate(algorithms, RATINGS, **QUIET)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(seeds=()), r"5 folds, seeds \[\]: at least one of each"),
        (dict(seeds=(1, 0, 1)), r"seeds \[1, 0, 1\]: .*no seed twice"),
        (dict(seeds=(0, 1.5)), "seed=1.5: give a whole number"),
        (dict(folds=[]), "0 folds, .*at least one of each"),
        (dict(folds=iter(())), "0 folds, .*at least one of each"),
        (dict(folds=1), "=1: choose 2 … 200 folds"),
        (dict(folds=201), "=201: choose 2 … 200 folds"),
        (dict(seeds=(0, -1)), "none below 0"),
        (dict(folds=[(RATINGS, RATINGS, RATINGS)]), r"pairs of Ratings; a single split is \[random_split\(…\)\]"),
        (dict(folds=random_split(RATINGS)), r"pairs of Ratings; a single split is \[random_split\(…\)\]"),
        (dict(folds=2.5), "folds=2.5: give a whole number"),
        (dict(folds=True), "folds=True: give a whole number"),
    ],
)
def test_folds_and_seeds_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        cross_validate({"it": never}, RATINGS, **settings, **QUIET)


# -- what goes wrong on the way --------------------------------------------------------------------


def test_an_algorithm_that_diverges_has_infinite_errors_and_the_others_are_unharmed():
    sound = {"means": means, "factors": factors}
    alone = cross_validate(sound, RATINGS, 3, (0, 1), **QUIET)
    compared = cross_validate({"diverging": diverging, **sound}, RATINGS, 3, (0, 1), **QUIET)
    lost = compared.scores.algorithm == "diverging"
    assert (compared.scores.loc[lost, SCORES] == np.inf).all(axis=None)
    assert compared.scores.loc[lost, ["fit_seconds", "test_seconds"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(measured(compared)[~lost].reset_index(drop=True), measured(alone))
    apart = compared.differences("means")
    assert apart.verdict["diverging"] == "diverged"
    pd.testing.assert_frame_equal(apart.loc[["factors"]], alone.differences("means"))
    assert compared.differences("diverging").verdict.tolist() == ["diverged", "diverged"]


def partly_diverged(lost) -> Comparison:
    """3 folds × 2 seeds: "a" diverges in the rounds that are `lost`, "b" in the last, "means" never."""
    calls = {"a": iter(range(6)), "b": iter(range(6))}

    def at_times(name, lost):
        return lambda train, seed: (diverging if next(calls[name]) in lost else means)(train, seed)

    algorithms = {"a": at_times("a", lost), "b": at_times("b", {5}), "means": means}
    return cross_validate(algorithms, RATINGS, 3, (0, 1), **QUIET)


LOST = [{0}, {3}, {0, 1}, {0, 1, 2, 3, 4, 5}]


@pytest.mark.parametrize("lost", LOST, ids=str)
def test_the_table_of_a_comparison_in_which_something_diverged_can_be_read(lost):
    compared = partly_diverged(lost)
    table = compared.table()
    assert table.rmse.tolist() == [np.inf, np.inf, compared.by_fold()["means"].mean()]
    assert table.loc["means"].notna().all()
    assert not np.isfinite(table.loc[["a", "b"], "sd"]).any()
    assert "inf" in repr(compared)
    assert "inf" in compared._repr_html_()


@pytest.mark.parametrize("score", [*SCORES, "fit_seconds", "test_seconds"])
@pytest.mark.parametrize("lost", LOST, ids=str)
def test_every_score_of_a_comparison_in_which_something_diverged_can_be_asked_for(lost, score):
    compared = partly_diverged(lost)
    assert compared.by_fold(score).columns.tolist() == ["a", "b", "means"]
    assert compared.by_fold(score).notna().all(axis=None) == (score in SCORES or lost in [{0}, {3}])
    assert compared.differences("means", score).index.tolist() == ["a", "b"]
    plots.show(compared.plot(score=score).figure, "Two algorithms that diverged and one that did not.")


@pytest.mark.parametrize("lost", LOST, ids=str)
def test_what_diverged_differs_from_everything_that_there_is(lost):
    compared = partly_diverged(lost)
    for name in ("a", "b"):
        apart = compared.differences(name)
        assert apart.verdict.tolist() == ["diverged", "diverged"]
        assert not np.isfinite(apart[["low", "high"]]).any(axis=None)
        plots.show(compared.plot(to=name).figure, "Nothing can be said of what diverged.")


def test_a_real_divergence_counts_as_one():
    def fast(train, seed):
        return sgd(train, 2, epochs=3, lr=1e30, engine="minibatch", batch_size=16, **QUIET)

    by_fold = cross_validate({"fast": fast, "means": means}, RATINGS, 2, **QUIET).by_fold()
    assert np.isfinite(by_fold).all().tolist() == [False, True]


def test_other_errors_are_not_taken_for_divergence():
    def broken(train, seed):
        raise ZeroDivisionError(f"seed {seed}")

    with pytest.raises(ZeroDivisionError, match="seed 4"):
        cross_validate({"means": means, "broken": broken}, RATINGS, 2, (4,), **QUIET)


@pytest.mark.parametrize("result", [None, (1, 2), 3.5])
def test_a_training_that_returns_no_predictor_is_told_so(result):
    with pytest.raises(ValueError, match=rf"returned {type(result).__name__}: return .*predict\(users, items\)"):
        cross_validate({"it": lambda train, seed: result}, RATINGS, 2, **QUIET)


def two_interrupted_at(n, stop):
    """Two algorithms; `stop` instead of the n-th of their trainings."""
    calls = itertools.count(1)

    def one(train, seed):
        return stop(train, seed) if next(calls) == n else drawn(train, seed)

    return {"one": one, "two": lambda train, seed: one(train, seed + 100)}


def ctrl_c(train, seed):
    raise KeyboardInterrupt


def ctrl_c_that_als_keeps_to_itself(train, seed):
    return als(train, 2, sweeps=3, watch=lambda _: signal.raise_signal(signal.SIGINT), **QUIET)


@pytest.mark.parametrize("stop", [ctrl_c, ctrl_c_that_als_keeps_to_itself])
@pytest.mark.parametrize(("call", "whole"), [(3, 1), (4, 1), (5, 2), (8, 3), (12, 5)])
def test_an_interruption_keeps_the_rounds_that_all_have_finished(capsys, call, whole, stop):
    before = signal.getsignal(signal.SIGINT)
    in_full = cross_validate(two_interrupted_at(0, stop), RATINGS, 3, (0, 1), **QUIET)
    compared = cross_validate(two_interrupted_at(call, stop), RATINGS, 3, (0, 1), **QUIET)
    pd.testing.assert_frame_equal(measured(compared), measured(in_full)[: 2 * whole])
    assert f"interrupted after {whole} of 6 rounds, which are kept" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("stop", [ctrl_c, ctrl_c_that_als_keeps_to_itself])
@pytest.mark.parametrize("call", [1, 2])
def test_an_interruption_before_any_round_is_whole_is_passed_on(capsys, call, stop):
    with pytest.raises(KeyboardInterrupt):
        cross_validate(two_interrupted_at(call, stop), RATINGS, 3, (0, 1), **QUIET)
    assert "rounds" not in capsys.readouterr().out


def test_the_share_of_an_interrupted_comparison_is_that_of_the_folds_that_it_has(capsys):
    folds = [(RATINGS[40:], RATINGS[:40]), (RATINGS[:100], RATINGS[100:])]
    compared = cross_validate(two_interrupted_at(3, ctrl_c), RATINGS, folds, **QUIET)
    assert compared.test_share == pytest.approx(0.25)


# -- Comparison: tables ----------------------------------------------------------------------------


def made(share=0.25, seconds=None, **scores) -> Comparison:
    """A comparison with these RMSEs: for each algorithm a number for each fold, or folds × seeds."""
    tables = {name: np.asarray(each, float).reshape(len(each), -1) for name, each in scores.items()}
    folds, n_seeds = next(iter(tables.values())).shape
    rows = []
    for at, (fold, seed, name) in enumerate(itertools.product(range(folds), range(n_seeds), tables)):
        rmse, took = tables[name][fold, seed], at if seconds is None else seconds[name][fold * n_seeds + seed]
        rows.append((name, fold, seed, rmse, rmse + 1, rmse + 2, rmse + 3, took, took / 10))
    return Comparison(pd.DataFrame(rows, columns=COLUMNS), share)


SOME = {"z": [[1.0, 1.2], [2.0, 2.6], [3.0, 3.0]], "a": [[1.5, 1.5], [1.5, 2.5], [3.5, 2.5]]}


def test_by_fold_has_the_mean_over_seeds_of_each_fold():
    by_fold = made(**SOME).by_fold()
    assert by_fold.columns.tolist() == ["z", "a"]
    assert by_fold.index.tolist() == [0, 1, 2]
    np.testing.assert_allclose(by_fold, [[1.1, 1.5], [2.3, 2.0], [3.0, 3.0]], rtol=1e-12)
    for more, score in enumerate(SCORES):
        np.testing.assert_allclose(made(**SOME).by_fold(score), by_fold + more, rtol=1e-12)


def test_a_score_that_there_is_not_is_refused():
    compared = made(**SOME)
    for ask in (
        compared.by_fold,
        lambda score: compared.differences("a", score),
        lambda score: compared.plot(score=score),
    ):
        with pytest.raises(ValueError, match="score='RMSE': choose 'rmse', 'mae', .*'test_seconds'"):
            ask("RMSE")


def test_the_table_has_means_and_both_spreads_and_medians_of_seconds():
    seconds = {"z": [100, 1, 2, 3, 4, 5], "a": [9, 9, 9, 9, 1, 1]}
    table = made(**SOME, seconds=seconds).table()
    assert list(table.columns) == [
        "rmse",
        "sd",
        "seed_sd",
        "mae",
        "train_rmse",
        "train_mae",
        "fit_seconds",
        "test_seconds",
    ]
    assert table.index.tolist() == ["z", "a"]
    # z: fold means 1.1, 2.3, 3.0; within folds ±0.1, ±0.3 and none, each times √2
    np.testing.assert_allclose(table.rmse, [6.4 / 3, 6.5 / 3], rtol=1e-12)
    np.testing.assert_allclose(table.sd, [np.std([1.1, 2.3, 3.0], ddof=1), np.std([1.5, 2, 3], ddof=1)], rtol=1e-12)
    np.testing.assert_allclose(table.seed_sd, np.sqrt(2) * np.array([0.4, 1.0]) / 3, rtol=1e-12)
    for more, score in enumerate(SCORES):
        np.testing.assert_allclose(table[score], table.rmse + more, rtol=1e-12)
    assert table.fit_seconds.tolist() == [3.5, 9]
    assert table.test_seconds.tolist() == pytest.approx([0.35, 0.9])


def test_one_seed_has_no_spread_over_seeds_and_one_fold_none_over_folds():
    one_seed, one_fold = made(z=[1, 2, 3], a=[1, 2, 4]).table(), made(z=[[1, 2]], a=[[3, 4]]).table()
    assert one_seed.seed_sd.isna().all()
    assert one_seed.sd.tolist() == [1, np.std([1, 2, 4], ddof=1)]
    assert one_fold.sd.isna().all()
    np.testing.assert_allclose(one_fold.seed_sd, np.sqrt(0.5))


@pytest.mark.parametrize("names", list(itertools.permutations(["SVD", "als", "2"])), ids="-".join)
def test_algorithms_keep_the_order_in_which_they_were_given(names):
    compared = cross_validate({name: constant(at) for at, name in enumerate(names)}, RATINGS, 2, **QUIET)
    assert compared.algorithms == compared.table().index.tolist() == compared.by_fold().columns.tolist() == list(names)
    assert compared.differences(names[1]).index.tolist() == [names[0], names[2]]
    for ax, shown in ((compared.plot(), names), (compared.plot(to=names[1]), (names[0], names[2]))):
        assert [label.get_text() for label in ax.get_yticklabels()] == list(shown)
    # and each has its own numbers
    each = [evaluate(Constant(at), RATINGS).mae for at in range(1, 3)]
    np.testing.assert_allclose(compared.table().mae.iloc[1:], each, rtol=1e-6)


def test_the_representations_hold_every_name():
    compared = cross_validate({"item means": means, "a<b": factors, "third": drawn}, RATINGS, 3, (0, 1), **QUIET)
    assert "3 algorithms, 6 rounds" in repr(compared)
    for name, rmse in compared.table().rmse.items():
        assert name in repr(compared)
        assert f"{rmse:.4f}" in repr(compared)
        assert f"<td>{rmse:.4f}</td>" in compared._repr_html_()
        assert f"<th>{name.replace('<', '&lt;')}</th>" in compared._repr_html_()


# -- Comparison: differences -----------------------------------------------------------------------

FIVE = dict(base=[1.0, 1.1, 1.2, 1.3, 1.4], other=[1.01, 1.12, 1.23, 1.34, 1.45])  # apart by 0.01 … 0.05


@pytest.mark.parametrize(
    ("share", "level", "t", "verdict"),
    # t: 97.5, 97.5 and 99.5 % points of Student's distribution with 4 degrees of freedom, from a table
    [(0.25, 0.95, 2.776445, "higher"), (0.3, 0.95, 2.776445, "no difference"), (0.25, 0.99, 4.604095, "no difference")],
)
def test_the_interval_is_that_of_nadeau_and_bengio(share, level, t, verdict):
    row = made(share, **FIVE).differences("base", level=level).loc["other"]
    half = t * (0.00025 * (1 / 5 + share)) ** 0.5  # 0.00025 = (4 + 1 + 0 + 1 + 4) · 0.01² / 4
    assert row.difference == pytest.approx(0.03, rel=1e-9)
    assert (row.low, row.high) == pytest.approx((0.03 - half, 0.03 + half), rel=1e-5)
    assert row.verdict == verdict


@pytest.mark.parametrize("folds", [2, 3, 10])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_interval_is_students_wider_by_what_folds_share(folds, share):
    rng = np.random.default_rng(folds)
    scores = {name: rng.normal(size=(folds, 2)) for name in "abc"}
    apart = made(share, **scores).differences("b", level=0.9)
    for name in "ac":
        each = (scores[name] - scores["b"]).mean(axis=1)
        naive = stats.ttest_1samp(each, 0).confidence_interval(0.9)
        wider = ((1 / folds + share) / (1 / folds)) ** 0.5
        assert apart.difference[name] == pytest.approx(each.mean())
        assert apart.high[name] - apart.low[name] == pytest.approx(wider * (naive.high - naive.low))
        assert (apart.high[name] + apart.low[name]) / 2 == pytest.approx(each.mean())


def test_each_score_has_its_own_differences():
    compared = cross_validate({"means": means, "factors": factors}, RATINGS, 4, **QUIET)
    for score in [*SCORES, "fit_seconds", "test_seconds"]:
        by_fold = compared.by_fold(score)
        apart = compared.differences("means", score).loc["factors"]
        assert apart.difference == pytest.approx((by_fold.factors - by_fold.means).mean())
    assert compared.differences("means").equals(compared.differences("means", "rmse", 0.95))


def test_differences_turn_their_sign_with_the_algorithm_to_compare_with():
    rng = np.random.default_rng(3)
    compared = made(a=rng.normal(0, 1, 6), b=rng.normal(9, 1, 6), c=rng.normal(0, 1, 6))
    turned = {"lower": "higher", "higher": "lower", "no difference": "no difference"}
    seen = set()
    for one, two in itertools.permutations("abc", 2):
        there, back = compared.differences(one).loc[two], compared.differences(two).loc[one]
        assert (there.difference, there.low, there.high) == pytest.approx((-back.difference, -back.high, -back.low))
        assert there.verdict == turned[back.verdict]
        seen.add(there.verdict)
    assert seen == set(turned)


def test_more_seeds_with_the_same_means_do_not_narrow_the_interval():
    few = {name: np.array(each).reshape(-1, 1) for name, each in FIVE.items()}
    many = {name: each + np.tile([-0.3, 0.3], 10) for name, each in few.items()}
    more = made(**many)
    assert len(more.scores) == 20 * len(made(**few).scores)
    pd.testing.assert_frame_equal(more.differences("base"), made(**few).differences("base"), rtol=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_verdict_is_a_difference_only_where_the_interval_excludes_zero(level):
    rng = np.random.default_rng(0)
    shifts = dict(zip(map(str, range(60)), np.linspace(-2, 2, 60), strict=True))
    scores = {name: rng.normal(shift, 1, 5) for name, shift in shifts.items()}
    apart = made(base=np.zeros(5), **scores).differences("base", level=level)
    wanted = ["lower" if row.high < 0 else "higher" if row.low > 0 else "no difference" for row in apart.itertuples()]
    assert apart.verdict.tolist() == wanted
    assert {*wanted} == {"lower", "higher", "no difference"}


def test_identical_algorithms_differ_by_nothing():
    compared = cross_validate({"one": factors, "two": factors, "three": constant(3)}, RATINGS, 3, (0, 1), **QUIET)
    same = compared.differences("one").loc["two"]
    assert (same.difference, same.low, same.high, same.verdict) == (0, 0, 0, "no difference")
    assert compared.differences("one").difference["three"] != 0


def test_algorithms_that_are_equally_good_are_seldom_called_different():
    """Differences of folds that agree as those of 5-fold cross-validation are taken to: correlation n_test / n.

    A textbook interval for five independent folds would find a difference where there is none two or three times
    as often as it says.
    """
    rng, n = np.random.default_rng(0), 2000
    common, own = rng.normal(size=(n, 1)), rng.normal(size=(n, 5))
    apart = np.sqrt(0.2) * common + np.sqrt(0.8) * own
    scores = {f"algorithm {at}": 1 + 0.01 * each for at, each in enumerate(apart)}

    def share_called_different(share):
        verdict = made(share, base=np.ones(5), **scores).differences("base").verdict
        return (verdict != "no difference").mean()

    assert 0.03 < share_called_different(0.25) < 0.07  # 5 % ± 4 standard errors
    assert share_called_different(0.0) > 0.11


def test_a_difference_in_every_fold_is_found():
    compared = cross_validate({"means": means, "beyond": constant(1)}, RATINGS, 5, **QUIET)
    assert compared.differences("means").verdict.tolist() == ["higher"]
    assert compared.differences("beyond").verdict.tolist() == ["lower"]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (dict(to="c"), "to='c' was not compared; there are 'base', 'other'"),
        (dict(to="base", level=0), "level=0: choose a share between 0 and 1"),
        (dict(to="base", level=1), "level=1: choose a share"),
        (dict(to="base", level=95), "level=95: choose a share between 0 and 1, such as 0.95"),
        (dict(to="base", level=float("nan")), "level=nan: choose a share"),
    ],
)
def test_what_cannot_be_asked_of_a_comparison_is_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        made(**FIVE).differences(**ask)


def test_one_fold_has_no_interval():
    with pytest.raises(ValueError, match="1 fold: an interval needs two or more"):
        made(a=[[1, 2, 3]], b=[[2, 3, 4]]).differences("a")


# -- Comparison: figures ---------------------------------------------------------------------------


@pytest.mark.parametrize("score", [*SCORES, "fit_seconds", "test_seconds"])
@pytest.mark.parametrize("to", [None, "means"])
def test_a_plot_has_labels_with_units_and_a_row_for_each_algorithm(to, score, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show_bundle", lambda data, metadata=None: shown.append(data))
    compared = cross_validate({"means": means, "factors": factors, "3": constant(3)}, RATINGS, 3, (0, 1), **QUIET)
    ax = compared.plot(to, score, title="All are alike")
    names = [name for name in compared.algorithms if name != to]
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    assert ("seconds" if score.endswith("seconds") else "stars") in ax.get_xlabel()
    assert to is None or to in ax.get_xlabel()
    dots = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "o"]
    wanted = compared.by_fold(score).to_numpy().T if to is None else compared.differences(to, score)[["difference"]]
    np.testing.assert_array_equal(dots, wanted)
    assert "All are alike" in (ax.get_title(), ax.get_title(loc="left"))
    plots.show(ax.figure, "Three algorithms that are about equally good.")
    assert "image/png" in shown[0]


def test_a_plot_shows_the_folds_or_the_differences(monkeypatch):
    compared = made(**FIVE)
    fig, (left, right) = plt.subplots(1, 2)
    assert compared.plot(ax=left) is left
    assert compared.plot(to="base", ax=right) is right
    dots = [line for line in left.lines if line.get_marker() == "o"]
    assert [line.get_xdata().tolist() for line in dots] == [FIVE["base"], FIVE["other"]]
    [dot] = [line for line in right.lines if line.get_marker() == "o"]
    assert dot.get_xdata() == pytest.approx([0.03])
    row = compared.differences("base").loc["other"]
    assert any(line.get_xdata() == pytest.approx([row.low, row.high]) for line in right.lines)
    assert [fig.number] == plt.get_fignums()


def test_a_marker_is_hollow_where_there_is_no_difference():
    compared = made(base=FIVE["base"], up=FIVE["other"], same=FIVE["base"], down=[0, 0.1, 0.2, 0.3, 0.401])
    ax = compared.plot(to="base")
    filled = {
        line.get_ydata()[0]: line.get_markerfacecolor() != "white" for line in ax.lines if line.get_marker() == "o"
    }
    assert compared.differences("base").verdict.tolist() == ["higher", "no difference", "lower"]
    assert filled == {0: True, 1: False, 2: True}


# -- scikit-surprise -------------------------------------------------------------------------------

KINDS = {
    "SVD": dict(n_factors=5, n_epochs=3),
    "SVDpp": dict(n_factors=2, n_epochs=2),
    "NMF": dict(n_factors=3, n_epochs=3),
    "BaselineOnly": {},
    "KNNBasic": dict(k=5),
    "KNNBaseline": dict(k=5, sim_options={"name": "pearson_baseline", "user_based": False}),
    "SlopeOne": {},
    "CoClustering": dict(n_epochs=3),
}
SEEDED = {"SVD", "SVDpp", "NMF", "CoClustering"}
HALF_STARS, _ = simulate_ratings(30, 20, 200, min_per_user=3, scale=(0.5, 5, 0.5), seed=1)


@pytest.fixture
def surprise():
    os.environ.setdefault("SURPRISE_DATA_FOLDER", tempfile.gettempdir())
    return pytest.importorskip("surprise")


def as_dataset(surprise, ratings):
    """The usual way into Surprise, by a data frame."""
    frame = pd.DataFrame({"user": ratings.users, "item": ratings.items, "rating": ratings.values})
    reader = surprise.Reader(rating_scale=(ratings.scale.low, ratings.scale.high))
    return surprise.Dataset.load_from_df(frame, reader)


def as_testset(ratings):
    return list(zip(ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist(), strict=True))


def its_own(surprise, kind, train, seed=0, **settings):
    """The algorithm of Surprise, trained by Surprise's own pipeline."""
    settings |= {"verbose": False} if kind != "SlopeOne" else {}
    settings |= {"random_state": seed} if kind in SEEDED else {}
    return getattr(surprise, kind)(**settings).fit(as_dataset(surprise, train).build_full_trainset())


@pytest.mark.parametrize("ratings", [RATINGS, HALF_STARS], ids=["whole stars", "half stars"])
def test_the_trainset_is_the_one_that_surprise_would_make(surprise, ratings):
    train, _ = next(kfold(ratings, 4))  # in no order of users or items
    ours, theirs = from_surprise("SVD").prepare(train), as_dataset(surprise, train).build_full_trainset()
    assert list(ours.ur.items()) == list(theirs.ur.items())
    assert list(ours.ir.items()) == list(theirs.ir.items())
    assert list(ours.all_ratings()) == list(theirs.all_ratings())
    for what in ("n_users", "n_items", "n_ratings", "global_mean", "rating_scale"):
        assert getattr(ours, what) == getattr(theirs, what)
    assert ours.rating_scale == (ratings.scale.low, 5)
    for u, i in zip(train.users.tolist(), train.items.tolist(), strict=True):
        assert (ours.to_inner_uid(u), ours.to_inner_iid(i)) == (theirs.to_inner_uid(u), theirs.to_inner_iid(i))


@pytest.mark.parametrize("seed", [0, 5])
def test_svd_learns_bit_for_bit_what_it_learns_in_surprise(surprise, seed):
    train, _ = next(kfold(RATINGS, 4))
    ours = from_surprise("SVD", n_epochs=5)(train, seed=seed).model
    theirs = its_own(surprise, "SVD", train, seed, n_epochs=5)
    for what in ("pu", "qi", "bu", "bi"):
        np.testing.assert_array_equal(getattr(ours, what), getattr(theirs, what))


@pytest.mark.parametrize("ratings", [RATINGS, HALF_STARS], ids=["whole stars", "half stars"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_surprise(surprise, kind, ratings):
    from surprise import accuracy

    train, test = next(kfold(ratings, 4))
    ours = from_surprise(kind, **KINDS[kind])(train, seed=3)
    theirs = its_own(surprise, kind, train, 3, **KINDS[kind]).test(as_testset(test))
    predicted = np.clip(ours.predict(test.users, test.items), ratings.scale.low, ratings.scale.high)
    np.testing.assert_array_equal(predicted, [each.est for each in theirs])
    judged = evaluate(ours, test, clip=True)
    assert judged.rmse == pytest.approx(accuracy.rmse(theirs, verbose=False), rel=1e-12)
    assert judged.mae == pytest.approx(accuracy.mae(theirs, verbose=False), rel=1e-12)


def test_predictions_are_limited_by_the_judgement_alone(surprise):
    class Beyond(surprise.AlgoBase):
        def estimate(self, u, i):
            return 9.5

    fitted = from_surprise(Beyond)(RATINGS)
    assert fitted.predict(RATINGS.users, RATINGS.items).tolist() == 200 * [9.5]
    rmse = [
        cross_validate({"it": from_surprise(Beyond)}, RATINGS, 2, clip=clip, **QUIET).table().rmse["it"]
        for clip in (True, False)
    ]
    assert rmse[0] < 4 < rmse[1]


def test_the_folds_are_those_of_surprises_kfold(surprise):
    from surprise.model_selection import KFold

    witness = Witness()
    cross_validate({"it": witness}, RATINGS, 5, **QUIET)
    folds = list(KFold(5, random_state=42).split(as_dataset(surprise, RATINGS)))
    assert witness.tested == [{(u, i) for u, i, _ in testset} for _, testset in folds]
    for train, (trainset, _) in zip(witness.trained, folds, strict=True):
        assert list(from_surprise("SVD").prepare(train).all_ratings()) == list(trainset.all_ratings())


def test_a_comparison_of_surprise_is_its_own_cross_validation(surprise):
    from surprise.model_selection import KFold
    from surprise.model_selection import cross_validate as its_cross_validate

    svd = dict(n_factors=3, n_epochs=2)
    compared = cross_validate({"SVD": from_surprise("SVD", **svd)}, RATINGS, 4, (7,), **QUIET).scores
    algorithm, data = surprise.SVD(**svd, random_state=7), as_dataset(surprise, RATINGS)
    theirs = its_cross_validate(algorithm, data, ["rmse", "mae"], KFold(4, random_state=42), return_train_measures=True)
    for ours, name in (
        ("rmse", "test_rmse"),
        ("mae", "test_mae"),
        ("train_rmse", "train_rmse"),
        ("train_mae", "train_mae"),
    ):
        np.testing.assert_allclose(compared[ours], theirs[name], rtol=1e-9)


def test_the_first_fold_of_ml_100k_has_the_error_that_surprise_measures(surprise, movielens_100k):
    from surprise import accuracy
    from surprise.model_selection import KFold

    settings = dict(n_factors=20, n_epochs=5)
    trainset, testset = next(KFold(5, random_state=42).split(as_dataset(surprise, movielens_100k)))
    theirs = surprise.SVD(**settings, random_state=0).fit(trainset).test(testset)
    folds = itertools.islice(kfold(movielens_100k, 5), 1)
    compared = cross_validate({"SVD": from_surprise("SVD", **settings)}, movielens_100k, folds, **QUIET).scores
    assert compared.rmse[0] == pytest.approx(accuracy.rmse(theirs, verbose=False), rel=0, abs=1e-9)
    assert compared.mae[0] == pytest.approx(accuracy.mae(theirs, verbose=False), rel=0, abs=1e-9)


def test_an_algorithm_may_be_named_or_be_a_class(surprise):
    algorithms = {"name": from_surprise("SVD", n_epochs=2), "class": from_surprise(surprise.SVD, n_epochs=2)}
    by_fold = cross_validate(algorithms, RATINGS, 3, **QUIET).by_fold()
    assert by_fold["name"].tolist() == by_fold["class"].tolist()


def test_seeds_change_what_starts_at_random_and_nothing_else(surprise):
    algorithms = {kind: from_surprise(kind, **KINDS[kind]) for kind in KINDS}
    spread = cross_validate(algorithms, RATINGS, 2, (0, 1), **QUIET).table().seed_sd
    assert {kind for kind in KINDS if spread[kind] > 0} == SEEDED
    again = cross_validate(algorithms, RATINGS, 2, (1,), **QUIET)
    pd.testing.assert_frame_equal(
        measured(again), measured(cross_validate(algorithms, RATINGS, 2, np.array([1]), **QUIET))
    )


@pytest.mark.parametrize("passes_on", [False, True], ids=["by name", "as **settings"])
def test_a_class_of_ones_own_gets_the_seed(surprise, passes_on):
    class Named(surprise.SVD):
        def __init__(self, n_epochs=2, random_state=None):
            super().__init__(n_epochs=n_epochs, random_state=random_state)

    class PassesOn(surprise.SVD):
        def __init__(self, n_epochs=2, **settings):
            super().__init__(n_epochs=n_epochs, **settings)

    kind = from_surprise(PassesOn if passes_on else Named)
    ours = kind(RATINGS, seed=4).model
    np.testing.assert_array_equal(ours.qi, its_own(surprise, "SVD", RATINGS, 4, n_epochs=2).qi)


@pytest.mark.parametrize("kind", ["BaselineOnly", "KNNBaseline", "SVDpp", "NMF"])
def test_nothing_is_printed_while_surprise_trains(surprise, capfd, kind):
    cross_validate({kind: from_surprise(kind)}, RATINGS[:60], 2, **QUIET)
    assert capfd.readouterr() == ("", "")
    from_surprise(kind, verbose=True)(RATINGS[:60])
    assert capfd.readouterr().out  # what there would be


@pytest.mark.parametrize("kind", KINDS)
def test_users_and_items_that_surprise_has_not_seen_get_what_it_gives_them(surprise, kind):
    seen = (RATINGS.users > 4) & (RATINGS.items > 4)
    train = RATINGS[seen]
    fitted = from_surprise(kind, **KINDS[kind])(train)
    theirs = its_own(surprise, kind, train, **KINDS[kind])
    users, items = np.array([0, 0, 9, 29]), np.array([0, 9, 0, 19])
    predicted = fitted.predict(users, items)
    assert np.isfinite(predicted).all()
    assert predicted.tolist() == [theirs.predict(u, i, clip=False).est for u, i in zip(users, items, strict=True)]
    assert predicted[0] == pytest.approx(train.values.mean())
    folds = [(train, RATINGS[~seen])]
    assert np.isfinite(cross_validate({kind: from_surprise(kind)}, RATINGS, folds, **QUIET).table().rmse[kind])


def test_a_surprise_algorithm_that_diverges_has_infinite_errors_and_the_others_are_unharmed(surprise):
    algorithms = {"too fast": from_surprise("SVD", lr_all=50), "means": means}
    by_fold = cross_validate(algorithms, RATINGS, 2, **QUIET).by_fold()
    assert (by_fold["too fast"] == np.inf).all()
    assert np.isfinite(by_fold["means"]).all()


@pytest.mark.parametrize("kind", ["svd", "Reader", "model_selection", "", None, 3, Constant], ids=str)
def test_what_surprise_does_not_have_is_refused(surprise, kind):
    with pytest.raises(ValueError, match="Surprise has no algorithm .*: choose such as 'SVD', 'SVDpp', 'BaselineOnly'"):
        from_surprise(kind)


@pytest.mark.parametrize(
    ("kind", "setting"),
    [("SVD", "n_factor"), ("SVDpp", "lr"), ("BaselineOnly", "k"), ("KNNBaseline", "n_neighbours"), ("SlopeOne", "k")],
)
def test_a_setting_that_the_algorithm_does_not_take_is_refused(surprise, kind, setting):
    with pytest.raises(ValueError, match=f"{kind} takes no setting '{setting}' here"):
        from_surprise(kind, **{setting: 3})


@pytest.mark.parametrize("kind", ["SVD", "KNNBaseline"])
def test_the_seed_is_no_setting(surprise, kind):
    with pytest.raises(ValueError, match="takes no setting 'random_state' here; the seed sets random_state"):
        from_surprise(kind, random_state=3)


def test_settings_reach_the_algorithm(surprise):
    model = from_surprise("SVD", n_factors=7, reg_all=0.5)(RATINGS).model
    assert model.pu.shape == (30, 7)
    assert (model.reg_pu, model.reg_bi) == (0.5, 0.5)


HOMELESS = "import sys; sys.path[:0] = [{path!r}]; from mfhelpers import from_surprise; from_surprise('SVD')"


@pytest.mark.parametrize("through", ["from_surprise", "surprise itself"])
def test_importing_surprise_makes_no_folder_at_home(surprise, tmp_path, through):
    package = Path(comparison.__file__).parents[1]
    code = HOMELESS.format(path=str(package)) if through == "from_surprise" else "import surprise"
    environment = {name: value for name, value in os.environ.items() if name != "SURPRISE_DATA_FOLDER"}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    made_by = [path.name for path in tmp_path.iterdir()]
    assert made_by == ([] if through == "from_surprise" else [".surprise_data"])


def test_without_surprise_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "surprise", None)
    with pytest.raises(ImportError, match=r"scikit-surprise is not installed: pip install .*scikit-surprise"):
        from_surprise("SVD")
    assert cross_validate({"means": means, "biases": lambda t, seed: average_biases(t)}, RATINGS, 2, **QUIET)
