"""Comparisons: the same data and seeds for all, judged as `evaluate` judges, whatever goes wrong on the way."""

import itertools
import signal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from comparing import (
    COLUMNS,
    QUIET,
    RATINGS,
    SCORES,
    Constant,
    Witness,
    constant,
    drawn,
    factors,
    means,
    measured,
    pairs,
)

from mfhelpers import (
    Comparison,
    DivergenceError,
    Ratings,
    als,
    average_biases,
    cross_validate,
    evaluate,
    item_means,
    kfold,
    leave_last_out,
    plots,
    random_split,
    sgd,
)
from mfhelpers.evaluation import comparison

pytestmark = pytest.mark.usefixtures("no_figure_stays")


def diverging(train, seed):
    raise DivergenceError("diverged in epoch 1")


def never(train, seed):
    pytest.fail("it trained")


def same(one: Ratings, other: Ratings) -> bool:
    return all(np.array_equal(getattr(one, what), getattr(other, what)) for what in ("users", "items", "values"))


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
