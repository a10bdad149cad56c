"""Lists for many users: each is that of the user alone, bit for bit, whoever else is asked for and however it is found."""

import numpy as np
import pytest
import torch
from choosing import assert_the_same_lists, changed, one_by_one
from hypothesis import given, settings, strategies as st

from mfhelpers import Factors, Interactions, als, most_popular, simulate_ratings
from mfhelpers.models import factors as module, topn

N_USERS, N_ITEMS = 12, 250  # items enough for groups of GROUP


def normal(rng, shape):
    return rng.normal(size=shape)


def whole(rng, shape):
    return rng.integers(-2, 3, shape)  # ties everywhere


def twins(rng, shape):
    """Each row several times."""
    return rng.normal(size=shape)[rng.integers(0, max(1, shape[0] // 4), shape[0])]


def made(
    numbers=normal, k=4, dtype=np.float64, n_users=N_USERS, n_items=N_ITEMS, mean=3.5, size=1.0, seed=0
) -> Factors:
    rng = np.random.default_rng(seed)
    shapes = ((n_users,), (n_items,), (n_users, k), (n_items, k))
    return Factors(mean, *((size * numbers(rng, shape)).astype(dtype) for shape in shapes))


def seen_by(share=0.3, n_users=N_USERS, n_items=N_ITEMS, seed=1) -> Interactions:
    """User 0 has seen all items, user 1 all but two, user 2 none."""
    rng = np.random.default_rng(seed)
    seen = rng.random((n_users, n_items)) < share
    seen[0], seen[1:2], seen[2:3] = True, True, False
    seen[1:2, [3, n_items - 1]] = False
    return Interactions(*np.nonzero(seen), n_users, n_items)


SEEN = seen_by()
EVERYBODY = np.arange(N_USERS)
EXCLUDE = pytest.mark.parametrize(
    "exclude", [None, SEEN, [0, 7, 7, 249], range(248), []], ids=["nothing", "seen", "some", "most", "empty list"]
)
NUMBERS = pytest.mark.parametrize("numbers", [normal, whole, twins])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


# -- many are each alone ---------------------------------------------------------------------------


@NUMBERS
@DTYPES
@EXCLUDE
@pytest.mark.parametrize("k", [0, 1, 20])
def test_lists_of_many_are_those_of_each_alone(numbers, dtype, exclude, k):
    model = made(numbers, k, dtype)
    for n in (1, 7, N_ITEMS, N_ITEMS + 5):
        got = model.recommend(EVERYBODY, n, exclude)
        assert_the_same_lists(got, one_by_one(model, EVERYBODY, n, exclude))
        assert (got[0].shape, got[0].dtype, got[1].dtype) == ((N_USERS, n), np.int64, dtype)


@NUMBERS
@DTYPES
def test_a_list_does_not_depend_on_who_else_is_asked_for(numbers, dtype):
    model = made(numbers, 20, dtype)
    items, scores = model.recommend(EVERYBODY, 9, SEEN)
    rng = np.random.default_rng(2)
    for asked in (EVERYBODY[::-1], rng.permutation(N_USERS), [5], [5, 5, 1], rng.integers(0, N_USERS, 40)):
        assert_the_same_lists(model.recommend(asked, 9, SEEN), (items[asked], scores[asked]))


@pytest.mark.parametrize("at_once", [1, N_ITEMS, 5 * N_ITEMS + 3, 10**7])
@EXCLUDE
def test_blocks_of_users_leave_no_seam(at_once, exclude, monkeypatch):
    model = made(whole, 5)
    wanted = model.recommend(EVERYBODY, 6, exclude)
    monkeypatch.setattr(topn, "AT_ONCE", at_once)
    assert_the_same_lists(model.recommend(EVERYBODY, 6, exclude), wanted)


@pytest.mark.parametrize("group", [1, 3, 60, 1000])
@NUMBERS
def test_groups_leave_no_seam(group, numbers, monkeypatch):
    model = made(numbers, 5)
    monkeypatch.setattr(topn, "GROUP", group)
    assert_the_same_lists(model.recommend(EVERYBODY, 2, SEEN), one_by_one(model, EVERYBODY, 2, SEEN))


@DTYPES
@NUMBERS
@pytest.mark.parametrize("size", [1e-22, 1e-15, 1e-3, 1e6, 1e17])
def test_numbers_of_any_size_keep_their_order(size, dtype, numbers):
    model = changed(made(numbers, 40, dtype, size=size), mean=0.0)
    model = changed(model, user_biases=0 * model.user_biases, item_biases=0 * model.item_biases)
    assert_the_same_lists(model.recommend(EVERYBODY, 5), one_by_one(model, EVERYBODY, 5))


@DTYPES
@pytest.mark.parametrize("mean", [1e4, -1e6, 1e9])
def test_ties_that_a_large_mean_makes_by_rounding_are_ties(dtype, mean):
    model = made(mean=mean, dtype=dtype)
    assert_the_same_lists(model.recommend(EVERYBODY, 5, SEEN), one_by_one(model, EVERYBODY, 5, SEEN))


@DTYPES
def test_what_float32_cannot_tell_apart_is_told_apart_where_the_model_can(dtype):
    step = np.finfo(dtype).eps
    biases = (1 + step * np.random.default_rng(0).permutation(N_ITEMS)).astype(dtype)
    model = Factors(0.0, np.zeros(3, dtype), biases, np.zeros((3, 0), dtype), np.zeros((N_ITEMS, 0), dtype))
    items, scores = model.recommend([0, 1, 2], 10)
    assert (items == np.argsort(-biases)[:10]).all()
    assert (scores == np.sort(biases)[::-1][:10]).all()


@st.composite
def questions(draw):
    """A small model, whom to ask for, what to leave out, and blocks and groups of any size."""
    n_users, n_items, k = draw(st.integers(1, 8)), draw(st.integers(1, 70)), draw(st.integers(0, 6))
    model = made(
        draw(st.sampled_from([normal, whole, twins])), k, draw(st.sampled_from([np.float32, np.float64])), n_users,
        n_items, draw(st.sampled_from([0.0, 3.5, 1e5])), draw(st.sampled_from([1e-6, 1.0, 1e4])), draw(st.integers(0, 99)),
    )  # fmt: skip
    users = draw(st.lists(st.integers(0, n_users - 1), min_size=1, max_size=12))
    items = st.lists(st.integers(0, n_items - 1), max_size=2 * n_items)
    cells = st.sets(st.integers(0, n_users * n_items - 1), min_size=1, max_size=80)
    exclude = draw(st.one_of(st.none(), items, cells))
    if isinstance(exclude, set):
        exclude = Interactions(*np.divmod(sorted(exclude), n_items), n_users, n_items)
    sizes = draw(st.sampled_from([1, 64, 200, 1 << 22])), draw(st.sampled_from([1, 2, 5, 16]))
    return model, users, draw(st.integers(1, n_items + 3)), exclude, sizes


@given(questions())
@settings(max_examples=150, deadline=None)
def test_whatever_is_asked_the_answer_is_that_of_each_alone(question):
    model, users, n, exclude, (at_once, group) = question
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topn, "AT_ONCE", at_once)
        patch.setattr(topn, "GROUP", group)
        got = model.recommend(users, n, exclude)
    assert_the_same_lists(got, one_by_one(model, users, n, exclude))


# -- what a list is --------------------------------------------------------------------------------


@NUMBERS
def test_a_list_is_all_items_sorted_by_prediction_and_number_less_what_is_left_out(numbers):
    model = made(numbers, 3)
    items, scores = model.recommend(EVERYBODY, 8, SEEN)
    for user in EVERYBODY:
        seen = set(SEEN.items[SEEN.users == user].tolist())
        predictions = model.predict(int(user), np.arange(N_ITEMS))
        best = sorted(set(range(N_ITEMS)) - seen, key=lambda item: (-predictions[item], item))[:8]
        assert items[user].tolist() == best + [-1] * (8 - len(best))
        assert scores[user].tolist() == predictions[best].tolist() + [-np.inf] * (8 - len(best))


@pytest.mark.parametrize("size", [1.0, 1e-4])
def test_sums_that_float32_rounds_apart_are_in_their_order(size):
    """The level is 0, so that nothing else widens the error that is allowed for."""
    rng = np.random.default_rng(0)
    part, order = size * rng.uniform(0.5, 1, N_ITEMS), 1e-10 * rng.permutation(N_ITEMS)
    tables = np.zeros(N_USERS), 1.3 - part, np.full((N_USERS, 1), size), ((part + order) / size)[:, None]
    items, _ = Factors(0.0, *tables).recommend(EVERYBODY, 10)
    assert (items == np.argsort(-order)[:10]).all()


@pytest.mark.parametrize("k", [400, 1000])
@pytest.mark.parametrize("users", [3, 100])
def test_the_largest_numbers_that_are_allowed_lose_no_item(k, users):
    rng = np.random.default_rng(0)
    signs = np.where(rng.random((40, k)) < np.linspace(0, 1, 40)[:, None], -1, 1)
    factors = Factors(0.0, np.zeros(users), np.zeros(40), np.full((users, k), 1e18), 1e18 * signs)
    scores = factors.predict(0, np.arange(40))
    assert np.abs(scores).max() > np.finfo(np.float32).max
    assert (factors.recommend(np.arange(users), 40)[0] == np.argsort(-scores, kind="stable")).all()
    assert (factors.recommend(0, 40)[0] == np.argsort(-scores, kind="stable")).all()


def test_users_may_be_tensors_and_one_may_ask_for_more_than_there_is():
    factors = made()
    assert_the_same_lists(factors.recommend(torch.arange(5), 3), factors.recommend(np.arange(5), 3))
    assert_the_same_lists(factors.recommend(torch.tensor(2), 3), factors.recommend(2, 3))
    assert len(factors.recommend(0, 10**10)[0]) == N_ITEMS


def test_no_items_are_refused():
    with pytest.raises(ValueError, match="there are 0 items"):
        Factors(0.0, np.zeros(2), np.zeros(0), np.zeros((2, 1)), np.zeros((0, 1))).recommend(0)


def test_a_copy_of_the_items_for_many_users_changes_nothing(monkeypatch):
    factors = made()
    wanted = factors.recommend(EVERYBODY, 10)
    monkeypatch.setattr(module, "MANY", 3)
    assert_the_same_lists(factors.recommend(EVERYBODY, 10), wanted)


def test_where_nothing_is_left_minus_one_stands():
    items, scores = made().recommend([0, 1, 2], 3, SEEN)
    assert items[0].tolist() == [-1, -1, -1]
    assert sorted(items[1, :2].tolist()) == [3, N_ITEMS - 1]
    assert items[1, 2] == -1
    assert (items[2] >= 0).all()
    assert (np.isinf(scores) == (items == -1)).all()


def test_most_popular_recommends_the_most_chosen():
    ratings, _ = simulate_ratings(40, 60, 600)
    items, counts = most_popular(ratings).recommend([3, 8], 60)
    for row, count in zip(items, counts, strict=True):
        assert count.tolist() == sorted(ratings.item_counts, reverse=True)
        assert row.tolist() == sorted(range(60), key=lambda item: (-ratings.item_counts[item], item))


def test_nobody_asked_for_gets_no_list():
    items, scores = made().recommend(np.zeros(0, int), 4, SEEN)
    assert items.shape == scores.shape == (0, 4)


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda users: np.array(users, np.uint8)])
def test_users_may_come_as_any_integers(kind):
    assert_the_same_lists(made().recommend(kind([4, 2]), 3), one_by_one(made(), [4, 2], 3))


def test_ratings_leave_out_what_was_rated():
    ratings, _ = simulate_ratings(20, 30, 200)
    model = als(ratings, 2, sweeps=2, progress=False)
    got = model.recommend(np.arange(20), 30, ratings)
    assert_the_same_lists(got, model.recommend(np.arange(20), 30, ratings.to_interactions()))
    for user, items in enumerate(got[0]):
        assert set(items.tolist()) - {-1} == set(range(30)) - set(ratings.items[ratings.users == user].tolist())


# -- its parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, 11])
def test_largest_is_a_stable_sort_of_what_is_finite(n):
    scores = np.array([2, -np.inf, 5, 2, 5, -1, -np.inf, 0])
    positions, values = topn.largest(scores, n)
    assert positions.tolist() == [2, 4, 0, 3, 7, 5][:n]
    assert values.tolist() == [5, 5, 2, 2, 0, -1][:n]


@pytest.mark.parametrize("n", [1, 2, 15, 40])
@pytest.mark.parametrize("hidden", [0, 0.5, 0.99, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_bound_leaves_the_n_best_of_a_row_and_all_that_is_near(n, hidden, dtype):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 300)).astype(dtype)
    scores[rng.random(scores.shape) < hidden] = -np.inf
    for slack in (0, 0.1):
        bounds = topn._bounds(scores, n, np.full(20, slack))
        assert bounds.shape == (20, 1)
        assert np.isfinite(bounds).all()
        nth = np.sort(scores, axis=1)[:, -n]
        assert ((scores >= bounds) | ~(scores >= nth[:, None] - slack) | np.isinf(scores)).all()
        assert not (np.isinf(scores) & (scores >= bounds)).any()


def test_a_bound_leaves_little_more_than_the_n_best():
    scores = np.random.default_rng(0).normal(size=(50, 4000))
    assert (scores >= topn._bounds(scores, 10, np.zeros(50))).sum(axis=1).mean() < 20


# -- predict_all -----------------------------------------------------------------------------------


@NUMBERS
@pytest.mark.parametrize("k", [0, 1, 20])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_predict_all_is_predict_up_to_rounding(numbers, k, dtype, tolerance):
    model = made(numbers, k, dtype)
    users = np.array([3, 0, 3, 11])
    got = model.predict_all(users)
    assert (got.shape, got.dtype) == ((4, N_ITEMS), dtype)
    np.testing.assert_allclose(
        got, model.predict(users[:, None], np.arange(N_ITEMS)), rtol=tolerance, atol=30 * tolerance
    )
    got[:] = 0  # a caller may write into it


def test_predict_all_takes_one_user_and_refuses_what_is_none():
    np.testing.assert_allclose(made().predict_all(4), made().predict_all([2, 4])[1:])
    for users, message in (
        ([0, 12], "user 12 is outside 0 … 11"),
        ([-1], "user -1 is outside"),
        ([0.5], "type float64"),
    ):
        with pytest.raises(ValueError, match=message):
            made().predict_all(users)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([0, 12], "user 12 is outside 0 … 11"),
        ([-1, 0], "user -1 is outside 0 … 11"),
        ([[0, 1]], r"user has shape \(1, 2\): give one number, or a list of them"),
        ([0.0, 1.0], "user numbers have type float64, expected integers"),
        ([True, False], "user numbers have type bool"),
        ("ab", "user numbers have type"),
    ],
)
def test_users_that_are_none_are_refused(users, message):
    with pytest.raises(ValueError, match=message):
        made().recommend(users)


@pytest.mark.parametrize("users", [0, [0, 1]], ids=["one", "many"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n=0: it must be at least 1"),
        ((2.5,), "n=2.5: give a whole number"),
        ((3, [250]), "item 250 is outside 0 … 249"),
        ((3, np.arange(N_ITEMS) < 9), "type bool, expected integers: np.flatnonzero"),
        ((3, [[1, 2]]), "exclude is list: give Ratings, or a list of item numbers"),
        ((3, "1"), "exclude is str: give Ratings, or a list of item numbers"),
        ((3, 7), "exclude is int: give Ratings, or a list of item numbers"),
        ((3, {3: 1}), "exclude is dict: give Ratings, or a list of item numbers"),
        ((3, seen_by(n_items=9)), "numbered otherwise than these 12 users × 250 items: give parts of the same"),
        ((3, seen_by(n_users=9)), "numbered otherwise than these 12 users × 250 items: give parts of the same"),
    ],
)
def test_what_is_no_question_is_refused_for_many_as_for_one(users, arguments, message):
    with pytest.raises(ValueError, match=message):
        made().recommend(users, *arguments)
