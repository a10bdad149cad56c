"""Interactions on their way: what counts as chosen, lists as the score to choose and compare by, histories without stars."""

import copy
import pickle

import numpy as np
import pytest
from choosing import CHOSEN, QUIET, TEST, TRAIN, dense, drawn, tastes, without

from mfhelpers import (
    Comparison,
    DivergenceError,
    History,
    Interactions,
    Ratings,
    Score,
    als,
    bpr,
    choose,
    cross_validate,
    ease,
    evaluate,
    ials,
    item_means,
    kfold,
    most_popular,
    rank,
    sgd,
    simulate_ratings,
)
from mfhelpers.algorithms.loop import Monitor, Stepper, run
from mfhelpers.data.ratings import positives

pytestmark = pytest.mark.usefixtures("no_figure_stays")

RATINGS, _ = simulate_ratings(40, 30, 500, min_per_user=5)
SCORES = ["rmse", "mae", "train_rmse", "train_mae"]
BY_LISTS = pytest.mark.parametrize("name", ["ndcg@7", "recall@20", "precision@1", "mrr", "auc"])


def popular(train, seed):
    return most_popular(train)


def shallow(train, seed):
    return ease(train, 50)


def diverging(train, seed):
    raise DivergenceError("diverged in epoch 1")


# -- scores by name --------------------------------------------------------------------------------


@BY_LISTS
def test_a_score_of_lists_is_that_of_rank_without_the_train_part(name):
    score, model = Score.of(name, clip=True), ease(TRAIN, 50)
    assert (score.name, score.higher_is_better, score.needs_values, score.worst) == (name, True, False, -np.inf)
    lengths = (int(name.partition("@")[2] or 3),)
    assert score.measure(model, TEST, TRAIN) == rank(model, TEST, exclude=TRAIN, at=lengths)[name]


def test_errors_in_stars_need_values():
    for name in ("rmse", "mae"):
        score = Score.of(name, clip=False)
        assert (score.higher_is_better, score.needs_values, score.worst) == (False, True, np.inf)
        assert score.measure(item_means(RATINGS), RATINGS, None) == getattr(
            evaluate(item_means(RATINGS), RATINGS), name
        )


@pytest.mark.parametrize(
    "name",
    ["ndcg", "ndcg@", "ndcg@0", "ndcg@05", "ndcg@-5", "ndcg@5.0", "NDCG@5", "ndcg@5 ", "auc@5", "mrr@5", "map", "", None, 5]
    + [["ndcg@5"], "ndcg@٣", "ndcg@1234567890"],
)  # fmt: skip
def test_names_of_no_score_are_refused_with_those_there_are(name):
    with pytest.raises(
        ValueError, match=r"choose 'rmse', 'mae', 'auc', 'mrr', 'ndcg@20', .* or give a Score\(name, measure\)"
    ):
        choose(CHOSEN, {"reg": [1.0]}, ease, score=name, **QUIET)


# -- choose ----------------------------------------------------------------------------------------


@BY_LISTS
@pytest.mark.parametrize("whole", [CHOSEN, RATINGS], ids=["interactions", "ratings"])
def test_choose_takes_the_setting_with_the_best_lists(name, whole):
    regs, lengths = [1e-3, 1e6, 30.0], (int(name.partition("@")[2] or 3),)
    choice = choose(whole, {"reg": regs}, ease, score=name, folds=3, seed=5, **QUIET)
    for reg, told, sd in zip(regs, choice.log[name], choice.log.sd, strict=True):
        folds = [rank(ease(part, reg), held, exclude=part, at=lengths)[name] for part, held in kfold(whole, 3, 5)]
        assert told == pytest.approx(np.mean(folds), rel=1e-12)
        assert sd == pytest.approx(np.std(folds, ddof=1), rel=1e-9)
    assert choice.settings == {"reg": regs[int(np.argmax(choice.log[name]))]}
    assert choice.log.columns.tolist() == ["reg", name, "sd", "seconds"]


def test_a_training_that_diverged_is_never_the_best():
    fit_one = lambda part, reg: diverging(part, 0) if reg == 1 else ease(part, reg)  # noqa: E731
    choice = choose(CHOSEN, {"reg": [1, 40.0]}, fit_one, score="auc", **QUIET)
    assert choice.settings == {"reg": 40.0}
    assert choice.log.auc.tolist()[0] == -np.inf
    with pytest.raises(ValueError, match="all 1 settings diverged"):
        choose(CHOSEN, {"reg": [1]}, fit_one, score="auc", **QUIET)


@pytest.mark.parametrize("fit_one", [ials, bpr])
def test_settings_of_factors_can_be_chosen(fit_one):
    made = lambda part, **setting: fit_one(part, 3, **setting, **QUIET)  # noqa: E731
    option = "sweeps" if fit_one is ials else "epochs"
    choice = choose(CHOSEN, {option: [1, 3]}, made, rounds=1, score="ndcg@10", **QUIET)
    assert choice.log["ndcg@10"].between(0, 1).all()


def test_a_score_of_ones_own_may_judge_interactions():
    score = Score("share", lambda predictor, test, train: len(test) / len(train), higher_is_better=True)
    choice = choose(CHOSEN, {"reg": [1.0, 2.0]}, ease, folds=2, score=score, **QUIET)
    assert choice.log.share.tolist() == pytest.approx([1, 1], abs=0.01)


@pytest.mark.parametrize("score", ["rmse", "mae"])
def test_interactions_have_no_errors_in_stars_to_choose_or_compare_by(score):
    for ask in (
        lambda: choose(CHOSEN, {"reg": [1.0]}, ease, score=score, **QUIET),
        lambda: cross_validate({"ease": shallow}, CHOSEN, score=score, **QUIET),
    ):
        with pytest.raises(ValueError, match="is Interactions: give Ratings"):
            ask()
    with pytest.raises(ValueError, match="ratings is Interactions: give Ratings"):
        evaluate(ials(CHOSEN, 2, sweeps=1, **QUIET), CHOSEN)


# -- cross_validate --------------------------------------------------------------------------------


@BY_LISTS
def test_algorithms_are_compared_by_their_lists_on_each_fold(name):
    compared = cross_validate({"popular": popular, "ease": shallow}, CHOSEN, 3, score=name, **QUIET)
    assert compared.score == name
    lengths = (int(name.partition("@")[2] or 3),)
    for algorithm, column in compared.by_fold().items():
        train = {"popular": popular, "ease": shallow}[algorithm]
        wanted = [rank(train(part, 0), held, exclude=part, at=lengths)[name] for part, held in kfold(CHOSEN, 3)]
        assert column.tolist() == wanted
    assert compared.scores[SCORES].isna().all(axis=None)
    differences = compared.differences("popular")
    assert differences.difference["ease"] == pytest.approx(np.subtract(*compared.by_fold().mean()[["ease", "popular"]]))
    assert differences.low["ease"] < differences.difference["ease"] < differences.high["ease"]


def test_a_comparison_of_lists_can_be_shown():
    compared = cross_validate({"popular": popular, "ease": shallow}, CHOSEN, 3, score="ndcg@10", **QUIET)
    table = compared.table()
    assert table.columns[0] == "ndcg@10"
    assert table["ndcg@10"].to_dict() == compared.by_fold().mean().to_dict()
    assert table.sd.notna().all()
    assert "ndcg@10" in repr(compared)
    assert "ndcg@10" in compared._repr_html_()
    assert compared.plot().get_xlabel() == "ndcg@10: a dot a fold, a line at their mean"
    assert compared.plot("popular").get_xlabel() == "ndcg@10 minus that of popular: mean and 95 % interval"


def test_of_ratings_lists_and_errors_are_measured():
    compared = cross_validate({"means": lambda train, seed: item_means(train)}, RATINGS, 3, score="mrr", **QUIET)
    assert compared.scores[[*SCORES, "mrr"]].notna().all(axis=None)


def test_folds_may_be_pairs_of_interactions_and_not_of_others():
    given = cross_validate({"ease": shallow}, CHOSEN, [(TRAIN, TEST)], score="auc", **QUIET)
    assert given.scores.auc.tolist() == [rank(ease(TRAIN, 50), TEST, exclude=TRAIN)["auc"]]
    train, test = RATINGS[::2], RATINGS[1::2]
    with pytest.raises(ValueError, match=r"pairs of Ratings; a single split is \[random_split"):
        cross_validate({"ease": shallow}, RATINGS, [(train, test.to_interactions())], score="auc", **QUIET)
    with pytest.raises(ValueError, match="pairs of Interactions; a single split"):
        cross_validate({"ease": shallow}, CHOSEN, [(TRAIN, TEST.to_csr())], score="auc", **QUIET)
    with pytest.raises(ValueError, match="test ratings are in the train part too"):
        cross_validate({"ease": shallow}, CHOSEN, [(TRAIN, TRAIN)], score="auc", **QUIET)


def test_who_diverged_on_interactions_is_told_from_who_did_not():
    compared = cross_validate(
        {"popular": popular, "gone": diverging, "ease": shallow}, CHOSEN, 3, score="ndcg@10", **QUIET
    )
    assert compared.by_fold().gone.eq(-np.inf).all()
    verdicts = compared.differences("popular").verdict
    assert verdicts["gone"] == "diverged"
    assert verdicts["ease"] in ("higher", "lower", "undecided")


def test_what_was_not_measured_is_no_divergence():
    compared = cross_validate({"popular": popular, "ease": shallow}, CHOSEN, 3, score="ndcg@10", **QUIET)
    differences = compared.differences("popular", "rmse")
    assert differences.difference.isna().all()
    assert not differences.verdict.eq("diverged").any()


def test_an_error_names_the_algorithm():
    with pytest.raises(ValueError, match="train is Interactions: give Ratings"):
        cross_validate({"factors": lambda train, seed: als(train, 2, **QUIET)}, CHOSEN, score="auc", **QUIET)
    short = type("Short", (), {"predict": lambda self, users, items: np.zeros(3)})()
    with pytest.raises(ValueError, match=r"'short': predict returned shape \(3,\)"):
        cross_validate({"short": lambda train, seed: short}, CHOSEN, score="auc", **QUIET)


def test_one_fold_has_a_table_too():
    compared = cross_validate({"ease": shallow}, CHOSEN, [(TRAIN, TEST)], score="mrr", **QUIET)
    assert isinstance(compared, Comparison)
    assert compared.table().sd.isna().all()


# -- histories and monitors ------------------------------------------------------------------------


class Halving(Stepper):
    """Its error halves in each step."""

    error_name = "surprise"

    def __init__(self, error=8.0, growth=0.5):
        self.error, self.growth = error, growth

    def step(self):
        self.error *= self.growth

    def predictor(self):
        return self.error

    def measure(self, predictor, part):
        return predictor * (1 if part is TRAIN else 2)


def test_a_history_says_what_its_errors_are():
    history = History()
    run(Halving(), 3, Monitor(TRAIN, TEST, history=history, progress=False, rated=False))
    assert history.measure == "surprise"
    assert history.train_error == [8, 4, 2, 1]
    assert history.valid_error == [16, 8, 4, 2]
    assert (history.epochs, history.best_epoch, history.n_train) == (3, 3, len(TRAIN))
    assert "surprise 1.000, validation 2.000" in repr(history)
    assert history.plot().get_ylabel() == "surprise"
    for name in ("train_rmse", "valid_rmse"):
        with pytest.raises(
            AttributeError, match="this training made the surprise small: see train_error and valid_error"
        ):
            getattr(history, name)


def test_errors_in_stars_have_their_old_names():
    history = History()
    assert history.train_rmse == history.valid_rmse == []
    sgd(RATINGS, 2, epochs=2, history=history, valid=RATINGS[:50], **QUIET)
    assert history.measure == "RMSE"
    assert history.train_rmse is history.train_error
    assert history.valid_rmse is history.valid_error
    assert len(history.train_rmse) == 3
    assert "RMSE" in repr(history)
    assert history.plot().get_ylabel() == "RMSE, stars"


def test_an_error_beyond_a_hundred_times_the_first_is_a_divergence():
    history = History()
    with pytest.raises(DivergenceError, match="diverged in epoch 5: training surprise 1.94e[+]03"):
        run(Halving(8, 3), 9, Monitor(TRAIN, history=history, progress=False, rated=False))
    assert history.train_error == [8, 24, 72, 216, 648]


def test_patience_counts_by_the_error_of_the_algorithm():
    history, stepper = History(), Halving(1, 2)
    run(stepper, 9, Monitor(TRAIN, TEST, patience=2, history=history, progress=False, rated=False))
    assert (history.stopped, history.epochs, stepper.result()) == ("early", 2, 1)


def test_only_algorithms_without_stars_take_interactions():
    for part in ({"train": TRAIN}, {"train": RATINGS, "valid": RATINGS.to_interactions()}):
        name = list(part)[-1]
        with pytest.raises(ValueError, match=f"{name} is Interactions: give Ratings"):
            Monitor(**part)
        Monitor(**part, rated=False)
        with pytest.raises(ValueError, match=f"{name} is list: give Ratings or Interactions"):
            Monitor(**part | {name: [1]}, rated=False)


# -- what counts as chosen -------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, np.random.default_rng(0).uniform(1, 9, (90, 60))], ids=["ones", "weights"])
def test_the_most_popular_are_those_most_often_chosen(weights):
    part = drawn(dense(TRAIN) > 0, weights)
    model = most_popular(part)
    np.testing.assert_allclose(model.predict_all(np.arange(90)), np.tile(dense(part).sum(axis=0), (90, 1)))
    assert (model.mean, model.n_factors, model.user_biases.any()) == (0, 0, False)


def test_the_most_popular_knows_whom_it_saw():
    model = most_popular(without(TRAIN, 3, 2))
    assert model.trained_users.tolist() == [False] * 3 + [True] * 87
    assert model.trained_items.tolist() == [False] * 2 + [True] * 58


@pytest.mark.parametrize("at_least", [None, 2, 4.0])
def test_of_ratings_the_most_popular_counts_those_from_at_least(at_least):
    counts = most_popular(RATINGS, at_least=at_least).item_biases
    kept = RATINGS.values >= (at_least or 0)
    assert counts.tolist() == np.bincount(RATINGS.items[kept], minlength=30).tolist()


@pytest.mark.parametrize(
    "call", [lambda *given: most_popular(given[0], at_least=given[1]), lambda *given: positives("train", *given)]
)
@pytest.mark.parametrize(
    ("part", "at_least", "message"),
    [
        (TRAIN, 4, "at_least=4: the train part has no stars, so all of it counts"),
        (TRAIN.to_csr(), None, "train is csr_array: give Ratings or Interactions"),
        (None, None, "train is NoneType: give Ratings or Interactions"),
        (RATINGS, 6, "at_least=6: no rating of simulated is that high, the highest is 5"),
        (RATINGS, "4", "at_least='4': give a number"),
    ],
)
def test_what_has_no_positives_is_refused(call, part, at_least, message):
    with pytest.raises(ValueError, match=message):
        call(part, at_least)


def test_interactions_are_positive_as_they_are():
    assert positives("train", TRAIN, None) is TRAIN
    made = positives("train", RATINGS, 4)
    assert type(made) is Interactions
    assert len(made) == (RATINGS.values >= 4).sum()


@pytest.mark.parametrize("at_least", [None, 3])
def test_stars_become_weights_by_a_function(at_least):
    made = RATINGS.to_interactions(at_least, weights=lambda stars: 1.25 ** (stars - 3))
    plain = RATINGS.to_interactions(at_least)
    kept = RATINGS.values[RATINGS.values >= (at_least or 0)].astype(np.float64)
    np.testing.assert_allclose(made.weights, 1.25 ** (kept - 3), rtol=1e-6)
    assert (made.weights.dtype, plain.weights) == (np.float32, None)
    for name in ("users", "items", "user_ids", "item_ids", "titles"):
        np.testing.assert_array_equal(getattr(made, name), getattr(plain, name))


def test_a_function_of_stars_may_write_into_what_it_gets():
    def doubled(stars):
        stars *= 2
        return stars

    before = RATINGS.values.copy()
    np.testing.assert_array_equal(RATINGS.to_interactions(weights=doubled).weights, 2 * before)
    np.testing.assert_array_equal(RATINGS.values, before)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda stars: stars - 1, r"weights\[\d+\] is 0, not above 0 and finite"),
        (lambda stars: -stars, "not above 0 and finite"),
        (lambda stars: stars[:3], r"weights has shape \(3,\), expected \(500,\)"),
        (lambda stars: 2.0, r"weights has shape \(\), expected \(500,\)"),
        (lambda stars: stars * np.nan, "weights.* nan"),
        (lambda stars: ["much"] * len(stars), "weights"),
        (2.0, r"weights=2.0: give a function of the values, lambda stars: 1.25 \*\* \(stars - 3\)"),
        ([1.0] * 500, r"give a function of the values"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        RATINGS.to_interactions(weights=weights)


# -- the items of some users -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "part", [TRAIN, without(TRAIN, 5, 3), RATINGS, TRAIN[::-1]], ids=["all", "few", "ratings", "turned"]
)
def test_items_of_some_users_come_user_by_user_in_order(part):
    rng = np.random.default_rng(0)
    for users in (np.arange(part.n_users), rng.permutation(part.n_users)[:9], [4, 4, 0, 4], [2], []):
        users = np.asarray(users, np.int64)
        places, items = part.items_of(users)
        assert places.dtype == items.dtype == np.int64
        wanted = [(place, item) for place, user in enumerate(users) for item in sorted(part.items[part.users == user])]
        assert list(zip(places.tolist(), items.tolist(), strict=True)) == wanted


def test_items_of_one_user_need_no_list():
    assert TRAIN.items_of(7)[1].tolist() == TRAIN.items_of([7])[1].tolist() == sorted(TRAIN.items[TRAIN.users == 7])


@pytest.mark.parametrize(
    "copied", [lambda part: part[:9], copy.deepcopy, lambda part: pickle.loads(pickle.dumps(part))]
)
def test_items_are_those_of_the_part_that_is_asked(copied):
    part = tastes(10, 12)
    part.items_of([0])
    other = copied(part)
    users = other.items_of(np.arange(10))[0]
    assert np.bincount(users, minlength=10).tolist() == other.user_counts.tolist()


@pytest.mark.parametrize(
    ("users", "message"),
    [([90], "user 90 is outside 0 … 89"), (-1, "user -1 is outside"), ([0.5], "user numbers have type float64"),
     ([True], "user numbers have type bool")],
)  # fmt: skip
def test_items_of_nobody_are_refused(users, message):
    with pytest.raises(ValueError, match=message):
        TRAIN.items_of(users)


def test_ratings_and_their_interactions_have_the_same_items():
    ratings = Ratings([1, 0, 1], [2, 0, 1], [3, 4, 5], 2, 3, (1, 5, 1))
    for part in (ratings, ratings.to_interactions()):
        assert [each.tolist() for each in part.items_of([1, 0])] == [[0, 0, 1], [1, 2, 0]]
