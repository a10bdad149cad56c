"""`choose`: it tries what it says, judges on what no training saw, and loses nothing when it is stopped."""

import signal

import numpy as np
import pytest
import torch

from mfhelpers import (
    Choice,
    DivergenceError,
    MatrixFactorization,
    Penalty,
    Ratings,
    Score,
    als,
    choose,
    fit,
    kfold,
    rmse,
    sgd,
    simulate_ratings,
)

TRAIN, _ = simulate_ratings(30, 20, 200, min_per_user=3)
QUIET = dict(progress=False)


class Constant:
    """Predicts one number for all."""

    def __init__(self, value):
        self.value = value

    def predict(self, users, items):
        return np.full(len(users), float(self.value))


def constant(part, value, **others):
    return Constant(value)


def pairs(users, items) -> set:
    return set(zip(users.tolist(), items.tolist(), strict=True))


class Witness:
    """A `fit_one` that notes what it may train on, and what its predictor is then judged on."""

    def __init__(self):
        self.trained, self.judged = [], []

    def __call__(self, part, value):
        self.trained.append(part)
        witness = self

        class Watched(Constant):
            def predict(self, users, items):
                witness.judged.append(pairs(users, items))
                return super().predict(users, items)

        return Watched(value)


# -- which settings --------------------------------------------------------------------------------


def test_a_dict_of_lists_means_all_combinations():
    tried = []

    def fit_one(part, reg, k):
        tried.append((reg, k))
        return Constant(3)

    choice = choose(TRAIN, {"reg": [0.1, 0.2], "k": (1, 2, 3)}, fit_one, folds=2, **QUIET)
    wanted = [(reg, k) for reg in (0.1, 0.2) for k in (1, 2, 3)]
    assert tried == [pair for pair in wanted for _ in range(2)]
    assert list(choice.log.columns) == ["reg", "k", "rmse", "sd", "seconds"]
    assert list(zip(choice.log.reg, choice.log.k, strict=True)) == wanted


@pytest.mark.parametrize("wrapped", [list, tuple, iter])
def test_dicts_are_tried_one_by_one(wrapped):
    settings = [{"value": 5}, {"value": 3, "reg": 0.1}, {"value": 4, "reg": Penalty(0.2)}]
    tried = []

    def fit_one(part, **setting):
        tried.append(setting)
        return Constant(setting["value"])

    choice = choose(TRAIN, wrapped(settings), fit_one, folds=2, **QUIET)
    assert tried == [setting for setting in settings for _ in range(2)]
    assert list(choice.log.columns) == ["value", "reg", "rmse", "sd", "seconds"]
    assert choice.log.value.tolist() == [5, 3, 4]
    assert choice.log.reg[2] == Penalty(0.2)
    assert choice.settings in settings


@pytest.mark.parametrize("settings", [[], (), iter([]), {"value": []}, {"value": [3], "reg": []}], ids=str)
def test_no_setting_is_refused(settings):
    with pytest.raises(ValueError, match="there is no setting to try: give a dict of lists, or a list of dicts"):
        choose(TRAIN, settings, lambda part, **setting: pytest.fail("it trained"), **QUIET)


@pytest.mark.parametrize("folds", [0, 1, len(TRAIN) + 1])
def test_inner_folds_that_cannot_be_are_refused(folds):
    with pytest.raises(ValueError, match=f"folds={folds}: choose 2 … 200 folds"):
        choose(TRAIN, {"value": [3]}, lambda part, value: pytest.fail("it trained"), folds=folds, **QUIET)


# -- the judgement ---------------------------------------------------------------------------------


@pytest.mark.parametrize("folds", [2, 5])
def test_no_training_gets_the_ratings_that_it_is_judged_on(folds):
    witness, whole = Witness(), pairs(TRAIN.users, TRAIN.items)
    assert len(whole) == len(TRAIN)
    choose(TRAIN, {"value": [1, 2, 3]}, witness, folds=folds, **QUIET)
    assert len(witness.trained) == len(witness.judged) == 3 * folds
    for part, judged in zip(witness.trained, witness.judged, strict=True):
        assert isinstance(part, Ratings)
        trained = pairs(part.users, part.items)
        assert not trained & judged
        assert trained | judged == whole
        assert len(part) + len(judged) == len(TRAIN)
        assert (part.n_users, part.n_items, part.scale) == (TRAIN.n_users, TRAIN.n_items, TRAIN.scale)
    # each rating is held out once for each setting
    assert sum(map(len, witness.judged[:folds])) == len(TRAIN)
    assert set().union(*witness.judged[:folds]) == whole


@pytest.mark.parametrize("rounds", [1, 2, 4, None])
def test_fewer_folds_may_be_held_out_than_there_are(rounds):
    witness = Witness()
    log = choose(TRAIN, {"value": [2, 3]}, witness, folds=4, rounds=rounds, seed=5, **QUIET).log
    folds = list(kfold(TRAIN, 4, 5))[:rounds]
    assert witness.judged == 2 * [pairs(held_out.users, held_out.items) for _, held_out in folds]
    assert [len(part) for part in witness.trained] == 2 * [len(part) for part, _ in folds]
    assert log.rmse[0] == pytest.approx(np.mean([rmse(Constant(2), held_out) for _, held_out in folds]), rel=1e-12)
    assert log.sd.isna().tolist() == 2 * [rounds == 1]


@pytest.mark.parametrize("rounds", [0, -1, 4])
def test_folds_that_there_are_not_are_refused(rounds):
    with pytest.raises(ValueError, match=f"rounds={rounds}: of folds=3 inner folds hold out 1 … 3"):
        choose(TRAIN, {"value": [3]}, lambda part, value: pytest.fail("it trained"), rounds=rounds, **QUIET)


def test_nothing_comes_from_outside_of_train():
    part, _ = next(kfold(TRAIN, 4))
    witness, whole = Witness(), pairs(part.users, part.items)
    choose(part, {"value": [1, 2]}, witness, **QUIET)
    for seen in (*witness.judged, *(pairs(inner.users, inner.items) for inner in witness.trained)):
        assert seen < whole


def test_all_settings_are_judged_on_the_same_folds_and_another_seed_has_others():
    by_seed = {}
    for seed in (0, 0, 1):
        witness = Witness()
        choose(TRAIN, {"value": [1, 2, 3]}, witness, seed=seed, **QUIET)
        folds = witness.judged[:3]
        assert witness.judged == folds * 3
        assert by_seed.setdefault(seed, folds) == folds
    assert by_seed[0] != by_seed[1]


def test_the_log_has_mean_and_spread_of_the_folds():
    log = choose(TRAIN, {"value": [2, 3.5]}, constant, folds=4, seed=7, **QUIET).log
    for value, mean, sd in zip(log.value, log.rmse, log.sd, strict=True):
        errors = [rmse(Constant(value), held_out) for _, held_out in kfold(TRAIN, 4, 7)]
        assert mean == pytest.approx(sum(errors) / 4, rel=1e-12)
        assert sd == pytest.approx((sum((error - mean) ** 2 for error in errors) / 3) ** 0.5, rel=1e-9)
    assert (log.seconds > 0).all()


@pytest.mark.parametrize("values", [[1, 2, 3.5, 5], [5, 3.5, 2, 1], [3.5, 1], [1, 3.5, 3.5]])
def test_the_lowest_mean_is_chosen(values):
    choice = choose(TRAIN, {"value": values}, constant, **QUIET)
    assert choice.log.rmse.idxmin() == values.index(3.5)
    assert choice.settings == {"value": 3.5}


def test_of_equals_the_first_is_chosen():
    choice = choose(TRAIN, {"value": [1, 3], "name": ["b", "a"]}, constant, **QUIET)
    assert choice.settings == {"value": 3, "name": "b"}


def test_predictions_are_limited_to_the_scale_unless_told_otherwise():
    """Clipped, 10 is 5 and less wrong than 1."""
    assert (TRAIN.scale.low, TRAIN.scale.high) == (1, 5)
    clipped = choose(TRAIN, {"value": [1, 5, 10]}, constant, **QUIET)
    raw = choose(TRAIN, {"value": [1, 5, 10]}, constant, clip=False, **QUIET)
    assert clipped.log.rmse[2] == clipped.log.rmse[1] < clipped.log.rmse[0]
    assert raw.log.rmse[2] > raw.log.rmse[0] > raw.log.rmse[1] == clipped.log.rmse[1]
    assert choose(TRAIN, {"value": [1, 10]}, constant, **QUIET).settings == {"value": 10}
    assert choose(TRAIN, {"value": [1, 10]}, constant, clip=False, **QUIET).settings == {"value": 1}


# -- what goes wrong -------------------------------------------------------------------------------


def diverging(part, value, when=lambda n: True, calls=None):
    """Diverges for values below 0, and of the calls for them in those that `when` names."""
    calls = [] if calls is None else calls
    if value < 0:
        calls.append(0)
        if when(len(calls)):
            raise DivergenceError("diverged in epoch 1")
    return Constant(abs(value))


@pytest.mark.parametrize("fold", [1, 2, 3, None])
def test_a_setting_that_diverges_loses_and_the_others_are_tried(fold):
    """-3.5 would be the best, and in one fold out of three, or in all, it diverges."""
    calls = []

    def fit_one(part, value):
        return diverging(part, value, lambda n: fold in (n, None), calls)

    choice = choose(TRAIN, {"value": [2, -3.5, 3]}, fit_one, **QUIET)
    assert choice.settings == {"value": 3}
    assert choice.log.value.tolist() == [2, -3.5, 3]
    assert np.isfinite(choice.log.rmse).tolist() == [True, False, True]
    assert choice.log.rmse[1] == np.inf
    assert np.isfinite(choice.log.sd).tolist() == [True, False, True]


def test_a_real_divergence_counts_as_one():
    def fit_one(part, lr):
        return sgd(part, 2, epochs=3, lr=lr, engine="minibatch", batch_size=16, progress=False)

    choice = choose(TRAIN, {"lr": [1e30, 0.01]}, fit_one, folds=2, **QUIET)
    assert choice.settings == {"lr": 0.01}
    assert choice.log.rmse[0] == np.inf


def test_where_all_diverge_there_is_nothing_to_choose():
    with pytest.raises(ValueError, match="all 2 settings diverged: try smaller learning rates"):
        choose(TRAIN, {"value": [-1, -2]}, diverging, **QUIET)


def test_other_errors_are_not_taken_for_divergence():
    def fit_one(part, value):
        raise ZeroDivisionError(f"value {value}")

    with pytest.raises(ZeroDivisionError, match="value 3"):
        choose(TRAIN, {"value": [3, 4]}, fit_one, **QUIET)


def interrupted_at(n):
    calls = []

    def fit_one(part, value):
        calls.append(0)
        if len(calls) == n:
            raise KeyboardInterrupt
        return Constant(value)

    return fit_one


@pytest.mark.parametrize(("call", "done"), [(4, 1), (5, 1), (6, 1), (7, 2), (9, 2)])
def test_an_interruption_returns_the_best_of_what_was_tried_to_the_end(capsys, call, done):
    values = [3, 3.5, 4]  # 3 folds each; 3.5 is the best
    choice = choose(TRAIN, {"value": values}, interrupted_at(call), **QUIET)
    assert choice.settings == {"value": values[done - 1]}
    assert choice.log.value.tolist() == values[:done]
    assert f"interrupted after {done} of 3 settings: the best of those is returned" in capsys.readouterr().out


def test_the_log_of_an_interrupted_search_has_no_column_that_was_not_tried(capsys):
    def fit_one(part, value, reg=0):
        if reg:
            raise KeyboardInterrupt
        return Constant(value)

    log = choose(TRAIN, [{"value": 3}, {"value": 4, "reg": 1}], fit_one, **QUIET).log
    assert list(log.columns) == ["value", "rmse", "sd", "seconds"]


@pytest.mark.parametrize("call", [1, 3])
def test_an_interruption_before_any_setting_is_done_is_passed_on(capsys, call):
    with pytest.raises(KeyboardInterrupt):
        choose(TRAIN, {"value": [3, 4]}, interrupted_at(call), **QUIET)
    assert capsys.readouterr().out == ""


# -- what a reader sees ----------------------------------------------------------------------------


def test_a_choice_shows_its_log_as_a_table():
    choice = choose(
        TRAIN, {"value": [2, 3.5, -1], "name": ["first<"]}, lambda part, value, name: diverging(part, value), **QUIET
    )
    html = choice._repr_html_()
    assert isinstance(choice, Choice)
    assert html.startswith("<table")
    assert html.count("<tr") == 4
    for shown in ("value", "name", "rmse", "sd", "seconds", "first&lt;", "inf", f"{choice.log.rmse[1]:.4g}"):
        assert f"{shown}</t" in html


def test_nothing_is_shown_for_a_short_search(capsys):
    choose(TRAIN, {"value": [3]}, constant)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("train_one", ["fit", "sgd"])
def test_an_interruption_that_a_training_keeps_to_itself_ends_the_search_too(capsys, train_one):
    calls = []

    def fit_one(part, value):
        calls.append(value)
        stop = len(calls) == 5  # of the second of three settings
        if train_one == "sgd":
            watch = (lambda _: signal.raise_signal(signal.SIGINT)) if stop else None
            return sgd(part, 2, epochs=3, watch=watch, progress=False)
        model = MatrixFactorization(30, 20, 2)
        optimizer = torch.optim.Adam(model.parameters())
        if stop:
            optimizer.register_step_post_hook(lambda *_: signal.raise_signal(signal.SIGINT))
        fit(model, part, optimizer=optimizer, epochs=3, progress=False)
        return model

    before = signal.getsignal(signal.SIGINT)
    choice = choose(TRAIN, {"value": [1, 2, 3]}, fit_one, **QUIET)
    assert calls == [1, 1, 1, 2, 2]
    assert choice.log.value.tolist() == [1]
    assert "interrupted after 1 of 3 settings" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("settings", [{}, {"reg": 0.1}, {"reg": "0.1"}, {"rmse": [1]}, [{"seconds": 2}]])
def test_settings_that_cannot_be_meant_are_refused(settings):
    with pytest.raises(ValueError, match=r"no setting|a list of values|would be overwritten"):
        choose(TRAIN, settings, constant)


@pytest.mark.parametrize("result", [None, (1, 2)])
def test_a_training_that_returns_no_predictor_is_told_so(result):
    with pytest.raises(ValueError, match=r"fit_one returned (NoneType|tuple)"):
        choose(TRAIN, {"value": [1]}, lambda part, value: result, **QUIET)


def test_the_number_of_folds_is_a_whole_one():
    with pytest.raises(ValueError, match=r"folds=2\.5"):
        choose(TRAIN, {"value": [1]}, constant, folds=2.5)
    with pytest.raises(ValueError, match=r"rounds=1\.5"):
        choose(TRAIN, {"value": [1]}, constant, rounds=1.5)


def test_choices_can_be_compared_and_are_the_same_only_if_they_are_one():
    one, other = (choose(TRAIN, {"value": [1]}, constant, **QUIET) for _ in range(2))
    assert one == one
    assert one != other


# -- other scores ----------------------------------------------------------------------------------


def test_any_score_may_be_chosen_by_and_the_higher_may_be_the_better():
    high = Score("mean", lambda predictor, test, train: float(predictor.value), higher_is_better=True)
    choice = choose(TRAIN, {"value": [2.0, 4.0, 3.0]}, constant, score=high, **QUIET)
    assert choice.settings == {"value": 4.0}
    assert list(choice.log) == ["value", "mean", "sd", "seconds"]
    assert choose(TRAIN, {"value": [2.0, 3.5]}, constant, score="mae", **QUIET).log.mae.is_monotonic_decreasing


def test_a_score_that_is_no_number_is_never_the_best():
    some = Score("odd", lambda predictor, test, train: np.nan if predictor.value == 1 else predictor.value)
    assert choose(TRAIN, {"value": [1, 3, 2]}, constant, score=some, **QUIET).settings == {"value": 2}
    none = Score("none", lambda predictor, test, train: np.nan)
    with pytest.raises(ValueError, match="2 settings have no finite score"):
        choose(TRAIN, {"value": [1, 2]}, constant, score=none, **QUIET)


@pytest.mark.parametrize("name", ["rmse", "seconds", "sd", "fold", "fit_seconds"])
def test_a_score_cannot_hide_a_column(name):
    with pytest.raises(ValueError, match=f"a score called '{name}' would hide"):
        choose(TRAIN, {"value": [1]}, constant, score=Score(name, lambda *_: 1.0), **QUIET)


@pytest.mark.parametrize("score", ["ndcg", len, None])
def test_what_is_no_score_is_refused_with_the_remedy(score):
    with pytest.raises(ValueError, match="or give a Score"):
        choose(TRAIN, {"value": [1]}, constant, score=score, **QUIET)


def test_an_interruption_inside_an_inner_choice_stops_the_outer_one_too(capsys):
    """And one whose training then diverges is an interruption all the same."""
    trained = []

    def inner(part, value):
        trained.append(0)
        if len(trained) == 3:
            als(part, 1, sweeps=1, watch=lambda _: signal.raise_signal(signal.SIGINT), progress=False)
            raise DivergenceError("after the interruption")
        return constant(part, value)

    def outer(part, n):
        return constant(part, choose(part, {"value": [1.0, 2.0]}, inner, folds=2, **QUIET).settings["value"])

    with pytest.raises(KeyboardInterrupt):
        choose(TRAIN, {"n": [1, 2, 3]}, outer, **QUIET)
    assert len(trained) == 3
