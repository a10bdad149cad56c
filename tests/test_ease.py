"""`ease`: against a ridge regression for each item, the conditions of its minimum, and itself in other spaces."""

import numpy as np
import pytest
from choosing import (
    CHOSEN,
    QUIET,
    TEST,
    TRAIN,
    assert_the_same_lists,
    dense,
    drawn,
    one_by_one,
    tastes,
    without,
)

from mfhelpers import Interactions, Predictor, choose, ease, most_popular, rank, simulate_ratings
from mfhelpers.algorithms import ease as closed_form
from mfhelpers.models import topn

REG = 7.0
SPACES = pytest.mark.parametrize("space", ["items", "users"])
WEIGHTS = np.random.default_rng(0).uniform(0.3, 3, (90, 60))
TALL = without(CHOSEN, 3, 2)  # 90 users, 60 items
WIDE = without(tastes(40, 110), 3, 2)
WEIGHTED = drawn(dense(TALL) > 0, WEIGHTS)
PARTS = {"tall": TALL, "wide": WIDE, "weighted": WEIGHTED}
EACH = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
RATINGS, _ = simulate_ratings(30, 20, 250)


def scores_of(model) -> np.ndarray:
    return model.predict_all(np.arange(model.n_users))


# -- the solution ----------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("reg", [0.5, 100])
def test_each_column_is_the_ridge_regression_of_an_item_on_all_others(part, reg):
    chosen, weights = dense(part), ease(part, reg, space="items").weights
    for item in range(part.n_items):
        others = np.delete(np.arange(part.n_items), item)
        system = np.vstack([chosen[:, others], np.sqrt(reg) * np.eye(len(others))])
        wanted = np.linalg.lstsq(system, np.append(chosen[:, item], np.zeros(len(others))), rcond=None)[0]
        np.testing.assert_allclose(weights[others, item], wanted, rtol=0, atol=1e-6)
        assert weights[item, item] == 0


@EACH
def test_beside_the_diagonal_the_gradient_is_zero(part):
    chosen, weights = dense(part), ease(part, REG, space="items").weights.astype(np.float64)
    gradient = chosen.T @ (chosen @ weights - chosen) + REG * weights
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-4


@EACH
@pytest.mark.parametrize("reg", [0.5, 100])
def test_both_spaces_have_the_same_scores(part, reg):
    by_items, by_users = (scores_of(ease(part, reg, space=space)) for space in ("items", "users"))
    assert by_items.dtype == by_users.dtype == np.float32
    np.testing.assert_allclose(by_users, by_items, rtol=0, atol=1e-5)


def test_the_smaller_space_is_taken():
    assert ease(TALL).weights.shape == (60, 60)
    assert ease(WIDE).weights is None
    assert ease(drawn(np.eye(5, dtype=bool))).weights is not None


@SPACES
@EACH
def test_scores_are_sums_of_the_weights_of_what_was_chosen(part, space):
    weights = ease(part, REG, space="items").weights
    np.testing.assert_allclose(scores_of(ease(part, REG, space=space)), dense(part) @ weights, rtol=0, atol=1e-5)


@SPACES
def test_who_chose_nothing_and_what_nobody_chose_scores_nothing(space):
    scores = scores_of(ease(TALL, REG, space=space))
    assert not scores[:3].any()
    assert np.abs(scores[:, :2]).max() < 1e-6
    assert np.abs(scores[3:, 2:]).max() > 0.1


def test_defaults_beat_what_is_popular():
    popular, fitted = (rank(model, TEST, exclude=TRAIN) for model in (most_popular(TRAIN), ease(TRAIN)))
    mean, low, _ = fitted.difference(popular, "ndcg@10")
    assert mean > low > 0


@SPACES
def test_of_ratings_those_from_at_least_are_chosen_and_count_one(space):
    for at_least in (None, 4):
        one = ease(RATINGS, REG, at_least=at_least, space=space)
        another = ease(RATINGS.to_interactions(at_least), REG, space=space)
        np.testing.assert_array_equal(scores_of(one), scores_of(another))
        folded = one.fold_in(RATINGS, at_least=at_least)
        np.testing.assert_allclose(scores_of(folded), scores_of(one), rtol=0, atol=1e-5)


# -- whom it scores --------------------------------------------------------------------------------


@SPACES
@EACH
def test_whom_it_was_trained_on_are_found_again(part, space):
    model = ease(part, REG, space=space)
    np.testing.assert_allclose(scores_of(model.fold_in(part)), scores_of(model), rtol=0, atol=1e-5)


@SPACES
def test_newcomers_are_scored_by_what_they_chose(space):
    model, rng = ease(TALL, REG, space=space), np.random.default_rng(5)
    new = drawn(rng.random((4, 60)) < 0.2, rng.uniform(1, 2, (4, 60)))
    folded = model.fold_in(new)
    assert (folded.n_users, folded.n_items) == (4, 60)
    weights = ease(TALL, REG, space="items").weights
    np.testing.assert_allclose(scores_of(folded), dense(new) @ weights, rtol=0, atol=1e-5)
    assert model.n_users == 90


@SPACES
def test_scores_do_not_depend_on_who_else_is_asked_for(space):
    model = ease(TALL, REG, space=space)
    whole, rng = scores_of(model), np.random.default_rng(1)
    for users in ([7], [7, 7, 3], rng.permutation(90), rng.integers(0, 90, 20)):
        np.testing.assert_array_equal(model.predict_all(users), whole[users])
    np.testing.assert_array_equal(model.predict_all(7), whole[[7]])


@SPACES
@pytest.mark.parametrize("at_once", [1, 150, 1 << 22])
def test_pairs_have_the_scores_of_whole_users(space, at_once, monkeypatch):
    model = ease(TALL, REG, space=space)
    whole, rng = scores_of(model), np.random.default_rng(1)
    monkeypatch.setattr(closed_form, "AT_ONCE", at_once)
    users, items = rng.integers(0, 90, 300), rng.integers(0, 60, 300)
    np.testing.assert_array_equal(model.predict(users, items), whole[users, items])
    np.testing.assert_array_equal(model.predict(np.arange(90)[:, None], np.arange(60)), whole)
    assert model.predict(8, 9) == whole[8, 9]
    assert model.predict(np.zeros(0, int), np.zeros(0, int)).shape == (0,)


@SPACES
@pytest.mark.parametrize("exclude", [None, TALL, [3, 3, 50], range(58)], ids=["nothing", "seen", "some", "most"])
def test_lists_of_many_are_those_of_each_alone(space, exclude, monkeypatch):
    model, users = ease(TALL, REG, space=space), np.random.default_rng(2).permutation(90)
    for n in (1, 8, 70):
        wanted = one_by_one(model, users, n, exclude)
        assert_the_same_lists(model.recommend(users, n, exclude), wanted)
        with monkeypatch.context() as patch:
            patch.setattr(topn, "AT_ONCE", 200)
            assert_the_same_lists(model.recommend(users, n, exclude), wanted)
            assert_the_same_lists(model.recommend(users[5:9], n, exclude), [each[5:9] for each in wanted])


@SPACES
def test_lists_are_sorted_by_score_and_number(space):
    model = ease(TALL, REG, space=space)
    items, scores = model.recommend([0, 9], 60, TALL)
    assert items[0].tolist() == list(range(60))  # who chose nothing has ties alone
    left = sorted(
        set(range(60)) - set(TALL.items[TALL.users == 9].tolist()), key=lambda i: (-scores_of(model)[9, i], i)
    )
    assert items[1].tolist() == left + [-1] * (60 - len(left))
    assert np.isinf(scores[1]).sum() == 60 - len(left)


@SPACES
@EACH
def test_contributions_add_up_to_the_score(part, space):
    model, rng = ease(part, REG, space=space), np.random.default_rng(3)
    weights = ease(part, REG, space="items").weights
    for user, item in rng.integers(0, (part.n_users, part.n_items), (60, 2)):
        items, contributions = model.explain(user, item)
        assert contributions.sum() == pytest.approx(model.predict(user, item), abs=1e-5)
        assert sorted(items.tolist()) == sorted(part.items[part.users == user].tolist())
        assert (np.diff(contributions) <= 0).all()
        np.testing.assert_allclose(contributions, dense(part)[user, items] * weights[items, item], rtol=0, atol=1e-5)
        assert not contributions[items == item].any()


@SPACES
def test_whoever_chose_nothing_gets_nothing_explained(space):
    items, contributions = ease(TALL, REG, space=space).explain(0, 5)
    assert items.shape == contributions.shape == (0,)


def test_it_predicts_and_is_chosen_like_others():
    model = ease(TALL, REG)
    assert isinstance(model, Predictor)
    assert repr(model) == "Ease(90 users × 60 items)"
    choice = choose(CHOSEN, {"reg": [1e-3, 100.0]}, ease, score="ndcg@10", **QUIET)
    assert choice.settings == {"reg": 100.0}


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reg": 0}, "reg=0: it must be above 0"),
        ({"reg": -1}, "reg=-1: it must be above 0"),
        ({"reg": float("inf")}, "reg=inf: it must be finite"),
        ({"reg": "much"}, "reg='much': give a number"),
        ({"space": "both"}, "space='both': choose 'auto', 'items' or 'users'"),
        ({"train": TALL.to_csr()}, "train is csr_array: give Ratings or Interactions"),
        ({"at_least": 4}, "at_least=4: the train part has no stars, so all of it counts"),
        ({"train": RATINGS, "at_least": 6}, "at_least=6: no rating of simulated is that high"),
        ({"train": Interactions([0], [1], 10**6, 10**6)}, "ease for Interactions.* GB are free; take less"),
    ],
)
def test_settings_that_do_not_fit_are_refused(arguments, message):
    given = {"train": TALL} | arguments
    with pytest.raises(ValueError, match=message):
        ease(given.pop("train"), **given)


MODEL = ease(TALL, REG)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: MODEL.predict([90], [0]), "user 90 is outside 0 … 89"),
        (lambda: MODEL.predict([0], [60]), "item 60 is outside 0 … 59"),
        (lambda: MODEL.predict([0, 1], [1, 2, 3]), "make no pairs"),
        (lambda: MODEL.predict_all([-1]), "user -1 is outside"),
        (lambda: MODEL.predict_all([0.5]), "user numbers have type float64"),
        (lambda: MODEL.recommend(90), "user 90 is outside"),
        (lambda: MODEL.recommend([0, 90]), "user 90 is outside"),
        (lambda: MODEL.recommend([[0]]), r"user has shape \(1, 1\): give one number, or a list of them"),
        (lambda: MODEL.recommend(0, 0), "n=0: it must be at least 1"),
        (lambda: MODEL.recommend([0, 1], 3, "seen"), "exclude is str: give Ratings, or a list of item numbers"),
        (lambda: MODEL.recommend([0, 1], 3, WIDE), "numbered otherwise than these 90 users × 60 items"),
        (lambda: MODEL.fold_in(WIDE), "has 110 items, this model 60: number them as they are here"),
        (lambda: MODEL.fold_in(TALL, at_least=3), "at_least=3: the interactions part has no stars"),
        (lambda: MODEL.fold_in([1, 2]), "interactions is list: give Ratings or Interactions"),
        (lambda: MODEL.explain(90, 0), "user 90 is outside"),
        (lambda: MODEL.explain(0, 60), "item 60 is outside"),
        (lambda: MODEL.explain(0.5, 1), "user numbers have type float64"),
        (lambda: MODEL.explain([0, 1], 3), r"user=\[0, 1\]: give one number"),
    ],
)
def test_questions_that_are_none_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
