"""The index of items: what it returns is what exact search would say of it, and with more effort it misses less."""

import copy
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
import voyager
from choosing import assert_the_same_lists, changed, one_by_one

from mfhelpers import Factors, Interactions, Ratings, als, ials, simulate_ratings
from mfhelpers.models import index as module
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


@pytest.mark.parametrize("size", [1e-160, 1e-8, 1e17])
def test_without_biases_the_size_of_a_user_changes_nothing(size):
    """Not even where a 1 for the bias would leave nothing of their factors in float32."""
    factors = Factors(0.0, np.zeros(N_USERS), np.zeros(N_ITEMS), size * TABLES[2], TABLES[3])
    got, _ = factors.to_index().recommend(EVERYBODY, 10)
    assert recall(got, factors.recommend(EVERYBODY, 10)[0]) > 0.95


def test_an_item_far_longer_than_the_others_is_refused():
    long = FACTORS.item_factors * np.where(np.arange(N_ITEMS) == 7, 1e4, 1)[:, None]
    with pytest.raises(ValueError, match=r"item 7 has a row of length .*, the median is .*; recommend\(\) does"):
        changed(FACTORS, item_factors=long).to_index()
    at_most = changed(FACTORS, item_factors=FACTORS.item_factors * np.where(np.arange(N_ITEMS) == 7, 300, 1)[:, None])
    assert recall(at_most.to_index().recommend(EVERYBODY, 10)[0], at_most.recommend(EVERYBODY, 10)[0]) > 0.9


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


def test_blocks_of_users_leave_no_seam(index, monkeypatch):
    wanted = index.recommend(EVERYBODY, 10, SEEN)
    monkeypatch.setattr(module, "CANDIDATES_AT_ONCE", 400)
    monkeypatch.setattr(module, "USERS_AT_ONCE", 7)
    assert_the_same_lists(index.recommend(EVERYBODY, 10, SEEN), wanted)


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_excluding_many_items_takes_no_more_memory_than_exact_search(share):
    rng = np.random.default_rng(0)
    factors = Factors(0.0, np.zeros(300), np.zeros(20_000), rng.normal(size=(300, 2)), rng.normal(size=(20_000, 2)))
    index, everybody, seen = factors.to_index(m=4, ef_construction=10), np.arange(300), range(int(share * 20_000))
    peaks = []
    for model in (factors, index):
        tracemalloc.start()
        model.recommend(everybody, 10, seen)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2.5 * peaks[0] + 2e7


def test_where_the_graph_does_not_reach_enough_the_search_is_exact(index):
    class Torn:
        M = num_dimensions = 0

        def __len__(self):
            return N_ITEMS

        def query(self, *given, **how):
            raise voyager.RecallError("fewer than expected")

    torn = index.of(FACTORS)
    torn.graph = Torn()
    assert_the_same_lists(torn.recommend(EVERYBODY, 10, SEEN), FACTORS.recommend(EVERYBODY, 10, SEEN))


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


def test_one_user_gets_what_is_there_however_much_is_asked_for(index):
    assert len(index.recommend(0, 10**10)[0]) == N_ITEMS


def test_items_without_ratings_do_not_cut_the_graph():
    """They have rows of zeros: neighbours of each other, and of nothing else."""
    known = np.arange(N_ITEMS) % 10 == 0
    liked = np.arange(N_ITEMS) % 200 == 0  # 15 items stand above those with zeros, 285 below
    biases = np.where(liked, 1.0, -1.0) * known
    factors = changed(FACTORS, item_factors=0.01 * FACTORS.item_factors * known[:, None], item_biases=biases)
    index = factors.to_index()
    assert len(index.graph) == known.sum()
    for n in (5, 25, 60, 500):
        assert_the_same_lists(index.recommend(EVERYBODY, n, ef=300), factors.recommend(EVERYBODY, n))


@pytest.mark.parametrize("m", [4, 20])
def test_the_graph_has_the_neighbours_that_were_asked_for(m):
    assert FACTORS.to_index(m=m, ef_construction=20, threads=2).graph.M == m


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
    assert folded.item_factors is factors.item_factors  # nothing to compare
    assert_the_same_lists(index.of(folded).recommend([0, 1], 5, new, ef=400), folded.recommend([0, 1], 5, new))


def test_users_of_other_items_are_refused(index):
    with pytest.raises(ValueError, match="have other items than"):
        index.of(changed(FACTORS, item_biases=FACTORS.item_biases + 1))


def test_what_is_no_factors_is_refused_as_users(index):
    with pytest.raises(ValueError, match="x have other items than"):
        index.of("x")


# -- a graph that is handed over -------------------------------------------------------------------


def test_a_graph_is_saved_and_taken_up_again(index, tmp_path):
    index.graph.save(str(tmp_path / "graph"))
    again = Index(FACTORS, voyager.Index.load(str(tmp_path / "graph")))
    assert_the_same_lists(again.recommend(EVERYBODY, 10, SEEN), index.recommend(EVERYBODY, 10, SEEN))


@pytest.mark.parametrize(
    "through", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_an_index_can_be_copied(index, through):
    assert_the_same_lists(through(index).recommend(EVERYBODY, 10), index.recommend(EVERYBODY, 10))


def test_a_graph_of_fewer_items_is_refused(index):
    fewer = Factors(3.5, TABLES[0], TABLES[1][:100], TABLES[2], TABLES[3][:100])
    with pytest.raises(ValueError, match=r"the graph holds 3,000 vectors of 10 numbers, .* need 100 of 10"):
        Index(fewer, index.graph)


@pytest.mark.parametrize("change", [{"item_factors": -TABLES[3]}, {"item_biases": TABLES[1][::-1]}])
def test_a_graph_of_another_training_is_refused(index, change):
    with pytest.raises(
        ValueError, match="the graph holds other vectors than those of .* after a training make a new one"
    ):
        Index(changed(FACTORS, **change), index.graph)


def test_a_graph_with_other_numbers_is_refused():
    graph = voyager.Index(voyager.Space.Cosine, 10)
    graph.add_items(item_vectors(FACTORS), ids=np.arange(N_ITEMS) + 5)
    with pytest.raises(ValueError, match="other vectors"):
        Index(FACTORS, graph)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"m": 1}, "m=1: it must be at least 2"),
        ({"m": 2.5}, "m=2.5: give a whole number"),
        ({"ef_construction": 0}, "ef_construction=0: it must be at least 1"),
        ({"threads": 0}, "threads=0: it must be at least 1"),
        ({"seed": -1}, "seed=-1: it must be at least 0"),
        ({"progress": 5}, "progress=5"),
    ],
)
def test_settings_out_of_range_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        FACTORS.to_index(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": N_USERS}, "user 30 is outside 0 … 29"),
        ({"user": 0, "n": 0}, "n=0"),
        ({"user": 0, "ef": 0}, "ef=0"),
        ({"user": 0, "ef": 2**70}, "ef=.*at most"),
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
