"""The index of items: what it returns is what exact search would say of it, and with enough effort it misses nothing."""

import sys

import numpy as np
import pytest
from choosing import assert_the_same_lists, changed, one_by_one

from mfhelpers import Factors, Interactions, Ratings, als, ials, simulate_ratings
from mfhelpers.models.index import Index, item_vectors

N_USERS, N_ITEMS = 30, 3000
RNG = np.random.default_rng(0)
TABLES = (
    RNG.normal(0, 0.3, N_USERS),
    RNG.normal(0, 0.5, N_ITEMS),
    RNG.normal(size=(N_USERS, 8)),
    RNG.normal(size=(N_ITEMS, 8)),
)
FACTORS = Factors(3.5, *TABLES)
SEEN = Interactions(*np.nonzero(RNG.random((N_USERS, N_ITEMS)) < 0.05), N_USERS, N_ITEMS)
EVERYBODY = np.arange(N_USERS)


@pytest.fixture(scope="module")
def index() -> Index:
    return FACTORS.to_index(seed=0)


def recall(got, wanted) -> float:
    return np.mean([len(np.intersect1d(own, theirs)) / len(theirs) for own, theirs in zip(got, wanted, strict=True)])


# -- the vectors -----------------------------------------------------------------------------------


def test_cosines_with_the_vectors_are_in_the_order_of_predictions():
    vectors = item_vectors(FACTORS).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for user in range(5):
        query = np.append(FACTORS.user_factors[user], (1, 0))
        scores = FACTORS.predict(user, np.arange(N_ITEMS))
        slope, _ = np.polyfit(vectors @ query, scores, 1)
        lengths = np.linalg.norm(np.column_stack([FACTORS.item_factors, FACTORS.item_biases]), axis=1)
        np.testing.assert_allclose(slope, lengths.max(), rtol=1e-5)
        np.testing.assert_allclose(
            vectors @ query * slope, scores - scores.mean() + (vectors @ query * slope).mean(), atol=1e-5
        )


@pytest.mark.parametrize("size", [1e-18, 1, 1e17])
def test_numbers_of_any_size_keep_their_order(size):
    factors = Factors(0.0, *(size * table for table in TABLES))
    got, _ = factors.to_index().recommend(EVERYBODY, 10)
    # with queries whose factors are far above or far below the 1 of the bias
    assert recall(got, factors.recommend(EVERYBODY, 10)[0]) > 0.95


# -- the lists -------------------------------------------------------------------------------------


@pytest.mark.parametrize("exclude", [None, SEEN, [0, 5, 5, 2999], range(0, 300)], ids=["none", "seen", "some", "many"])
def test_lists_are_nearly_the_exact_ones_and_predictions_exactly_theirs(index, exclude):
    items, scores = index.recommend(EVERYBODY, 10, exclude)
    exact, _ = FACTORS.recommend(EVERYBODY, 10, exclude)
    assert recall(items, exact) > 0.98
    np.testing.assert_array_equal(scores, FACTORS.predict(np.repeat(EVERYBODY, 10), items.ravel()).reshape(-1, 10))
    assert (np.diff(scores) <= 0).all()
    hidden = SEEN.to_csr().toarray()[EVERYBODY[:, None], items] if exclude is SEEN else np.isin(items, exclude or [])
    assert not hidden.any()


def test_a_search_that_keeps_all_candidates_misses_nothing(index):
    assert_the_same_lists(index.recommend(EVERYBODY, 10, SEEN, ef=N_ITEMS), FACTORS.recommend(EVERYBODY, 10, SEEN))


def test_more_effort_misses_less(index):
    exact, _ = FACTORS.recommend(EVERYBODY, 10)
    little, much = (recall(index.recommend(EVERYBODY, 10, ef=ef)[0], exact) for ef in (10, 400))
    assert little < 0.95 < much


@pytest.mark.parametrize("n", [1, 10, 800, N_ITEMS, N_ITEMS + 5])
def test_lists_of_many_are_those_of_each_alone(index, n):
    some = EVERYBODY[:4]
    assert_the_same_lists(index.recommend(some, n, SEEN), one_by_one(index, some, n, SEEN))


@pytest.mark.parametrize("n", [800, N_ITEMS + 5])
def test_a_list_that_is_a_large_part_of_the_items_is_exact(index, n):
    assert_the_same_lists(index.recommend(EVERYBODY[:3], n, SEEN), FACTORS.recommend(EVERYBODY[:3], n, SEEN))


def test_what_is_left_may_be_less_than_was_asked_for(index):
    items, scores = index.recommend(0, 10, range(N_ITEMS - 2))
    assert sorted(items) == [N_ITEMS - 2, N_ITEMS - 1]
    assert len(scores) == 2
    items, scores = index.recommend([0, 1], 3, range(N_ITEMS))
    assert (items == -1).all()
    assert np.isneginf(scores).all()


def test_nobody_is_asked_for(index):
    items, scores = index.recommend(np.zeros(0, int), 5)
    assert items.shape == scores.shape == (0, 5)


def test_items_without_ratings_do_not_cut_the_graph():
    """They have rows of zeros: neighbours of each other, and of nothing else."""
    few, zeros = (np.arange(N_ITEMS) % 100 == 0), np.zeros(N_ITEMS)
    factors = changed(FACTORS, item_factors=FACTORS.item_factors * few[:, None], item_biases=zeros)
    index = factors.to_index()
    assert len(index.graph) == few.sum()
    for n in (5, 25, 500):  # most lists of 25 reach into those with zeros, which come in order
        assert_the_same_lists(index.recommend(EVERYBODY, n, SEEN), factors.recommend(EVERYBODY, n, SEEN))


def test_the_same_seed_makes_the_same_graph():
    one, same = (FACTORS.to_index(m=4, ef_construction=20, seed=3).graph.as_bytes() for _ in range(2))
    assert one == same
    assert FACTORS.to_index(m=4, ef_construction=20, seed=4).graph.as_bytes() != one


# -- other users -----------------------------------------------------------------------------------


@pytest.mark.parametrize("implicit", [False, True])
def test_a_new_user_is_looked_up_in_the_graph_as_it_stands(implicit):
    ratings, _ = simulate_ratings(200, 400, 8000, seed=0)
    how = {"reg": 0.02, "alpha": 0.2} if implicit else {"reg": 1.0}
    factors = (ials(ratings, 8, **how) if implicit else als(ratings, 8, reg=1.0)).fold_in(ratings, **how)
    new = Ratings([0, 0, 1], [5, 9, 7], [5, 4, 1], 2, 400, ratings.scale)
    folded = factors.fold_in(new, **how)
    index = factors.to_index()
    assert index.of(folded).graph is index.graph
    assert_the_same_lists(index.of(folded).recommend([0, 1], 5, new, ef=400), folded.recommend([0, 1], 5, new))


def test_users_of_other_items_are_refused(index):
    with pytest.raises(ValueError, match="have other items than"):
        index.of(changed(FACTORS, item_biases=FACTORS.item_biases + 1))


def test_a_graph_of_other_items_is_refused(index):
    fewer = Factors(3.5, TABLES[0], TABLES[1][:100], TABLES[2], TABLES[3][:100])
    with pytest.raises(ValueError, match=r"the graph holds 3,000 vectors of 10 numbers, .* need 100 of 10"):
        Index(fewer, index.graph)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"m": 1}, "m=1: it must be at least 2"),
        ({"m": 2.5}, "m=2.5: give a whole number"),
        ({"ef_construction": 0}, "ef_construction=0: it must be at least 1"),
        ({"threads": 0}, "threads=0: it must be at least 1"),
        ({"seed": -1}, "seed=-1: it must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        FACTORS.to_index(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": N_USERS}, "user"),
        ({"user": 0, "n": 0}, "n=0"),
        ({"user": 0, "ef": 0}, "ef=0"),
        ({"user": 0, "exclude": FACTORS}, "exclude is Factors"),
        ({"user": [[0]]}, "user has shape"),
    ],
)
def test_questions_out_of_range_are_refused(index, given, said):
    with pytest.raises(ValueError, match=said):
        index.recommend(**given)


def test_items_without_any_order_are_refused():
    with pytest.raises(ValueError, match="neither factors nor biases of items: there is no order to find"):
        changed(FACTORS, item_biases=np.zeros(N_ITEMS), item_factors=np.zeros((N_ITEMS, 8))).to_index()


def test_without_voyager_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "voyager", None)
    with pytest.raises(ImportError, match=r"voyager is not installed: pip install -c constraints\.txt voyager"):
        FACTORS.to_index()


def test_it_says_what_it_holds(index):
    assert repr(index) == "Index(3,000 items, k = 8)"
