"""`Interactions`: pairs without a scale; what they share with `Ratings`, and how ratings become some."""

import copy
import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from mfhelpers import (
    Factors,
    Features,
    Interactions,
    Ratings,
    cold_report,
    kfold,
    leave_last_out,
    official_folds,
    random_split,
    time_split,
)

N, N_USERS, N_ITEMS = 40, 12, 9


def small(**changes) -> Interactions:
    fields = dict(users=[0, 0, 1, 2], items=[0, 2, 1, 2], n_users=3, n_items=4)
    return Interactions(**{**fields, **changes})


def full(kind=Interactions):
    """All fields filled, of either type."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(N_USERS * N_ITEMS)[:N]
    own = (
        dict(weights=rng.integers(1, 200, N))
        if kind is Interactions
        else dict(values=rng.integers(1, 6, N), scale=(1, 5, 1))
    )
    return kind(
        users=pairs // N_ITEMS, items=pairs % N_ITEMS, n_users=N_USERS, n_items=N_ITEMS, **own,
        timestamps=rng.integers(0, 30, N), folds=rng.integers(1, 6, N),
        user_ids=np.arange(100, 112), item_ids=np.array(list("abcdefghi")),
        titles=np.array([f"film {i}" for i in range(9)]), genres=np.array(["Drama|War"] * 9),
        name="full", source="arrays",
        features=Features(users=pd.DataFrame({"age": range(N_USERS)}), items=pd.DataFrame({"year": range(N_ITEMS)})),
    )  # fmt: skip


def arrays(thing) -> dict[str, np.ndarray]:
    values = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def pairs(part) -> list:
    return list(zip(part.users.tolist(), part.items.tolist(), strict=True))


both = pytest.mark.parametrize("kind", [Interactions, Ratings])


# -- one family ------------------------------------------------------------------------------------


def test_ratings_are_interactions_with_a_value_and_without_weights():
    ratings = full(Ratings)
    assert isinstance(ratings, Interactions)
    assert ratings.weights is None
    assert not isinstance(full(), Ratings)
    with pytest.raises(TypeError, match="weights"):
        Ratings([0], [0], [3], 1, 1, (1, 5, 1), weights=[2])
    with pytest.raises((ValueError, TypeError), match="weights"):  # a TypeError from Python 3.13 on
        dataclasses.replace(ratings, weights=ratings.values)


def test_ratings_keep_the_order_of_their_arguments():
    every = [
        [0, 1],
        [1, 0],
        [3, 4],
        2,
        2,
        (1, 5, 1),
        [7, 8],
        [5, 6],
        ["a", "b"],
        ["A", "B"],
        ["", "War"],
        [1, 2],
        "n",
        "s",
    ]
    names = "users items values n_users n_items scale timestamps user_ids item_ids titles genres folds name source"
    ratings = Ratings(*every)
    for name, value in zip(names.split(), every, strict=True):
        assert np.array_equal(getattr(ratings, name), value), name


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(users=[], items=[]), "no interaction in this selection: an Interactions holds at least one"),
        (dict(items=[0, 2, 1]), r"items has shape \(3,\), expected \(4,\)"),
        (dict(users=[0, 0, 1, 3]), r"users\[3\] is 3, outside 0 … 2 \(1 such\): Interactions.from_arrays"),
        (dict(items=list("abcd")), "items has type <U1, expected integers: Interactions.from_arrays"),
        (dict(items=[0, 0, 1, 2]), r"user 0 has item 0 more than once .*: Interactions.from_arrays\(…, duplicates"),
        (dict(weights=[1, 2]), r"weights has shape \(2,\), expected \(4,\)"),
        (dict(weights=[1, 0, 3, 0]), r"weights\[1\] is 0, not above 0 and finite \(2 such\): leave out"),
        (dict(weights=[1, 2, -0.5, 1]), r"weights\[2\] is -0.5"),
        (dict(weights=[np.nan, 2, 1, 1]), r"weights\[0\] is nan"),
        (dict(weights=[1, 2, 1, np.inf]), r"weights\[3\] is inf"),
        (dict(timestamps=[1, 881250949000, 2, 3]), "divide by 1000"),
        (dict(titles=["a"]), r"titles has shape \(1,\), expected \(4,\)"),
    ],
)
def test_bad_input_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (([1], [1, 2]), {}, r"equally long, not \{'users': \(1,\), 'items': \(2,\)"),
        (([1, 2], [1, 2], [3]), dict(duplicates="sum"), r"'weights': \(1,\)"),
        (([], []), {}, "no interaction in these arrays: an Interactions holds"),
        (([1, None], [1, 2]), {}, "user label 1 is missing"),
        (
            ([1, 2], ["a", "z"]),
            dict(item_ids=["a", "b"]),
            "'z' is not among the 2 of item_ids .*leave such interactions",
        ),
        (([1, 1], [2, 2]), {}, "more than once"),
        (([1, 1], [2, 2], [3, -1]), dict(duplicates="sum"), r"weights\[1\] is -1"),
        (([1, 2], [1, 2]), dict(duplicates="mean"), "duplicates='mean': choose 'raise', 'last' or 'sum'"),
    ],
)
def test_from_arrays_refuses(given, options, message):
    with pytest.raises(ValueError, match=message):
        Interactions.from_arrays(*given, **options)


# -- frozen ----------------------------------------------------------------------------------------


PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy}
COPIES |= {f"pickle {p}": lambda thing, p=p: pickle.loads(pickle.dumps(thing, p)) for p in PROTOCOLS}


def out_of_band(thing):
    """As multiprocessing with shared memory does: the arrays' bytes stay with the caller, who may write to them."""
    buffers: list = []
    stream = pickle.dumps(thing, 5, buffer_callback=buffers.append)
    return pickle.loads(stream, buffers=[bytearray(buffer) for buffer in buffers])


@both
@pytest.mark.parametrize(
    "duplicate", [lambda thing: thing, *COPIES.values(), out_of_band], ids=["made", *COPIES, "buffers"]
)
def test_arrays_are_read_only_in_copies_too(kind, duplicate):
    thing = full(kind)
    _ = thing.user_counts, thing.item_counts  # kept once they are made, and copied along
    twin = duplicate(thing)
    assert type(twin) is kind
    assert set(arrays(twin)) == set(arrays(thing)) >= {"users", "items", "timestamps", "user_ids", "titles", "folds"}
    for name, array in (arrays(twin) | {"user_counts": twin.user_counts, "item_counts": twin.item_counts}).items():
        np.testing.assert_array_equal(array, getattr(thing, name))
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        twin.n_users = 1
    assert twin.features.users.equals(thing.features.users)
    assert twin[3:9].user_ids is twin.user_ids


# -- from_arrays and from_frame --------------------------------------------------------------------


def test_labels_and_texts_are_kept():
    made = Interactions.from_arrays(
        ["zoe", "Ann", "zoe"], [30, 10, 20], [2, 1, 4], [9, 8, 7],
        titles={10: "Ten"}, genres={10: "War"}, folds=[1, 2, 1], name="plays",
    )  # fmt: skip
    assert type(made) is Interactions
    assert made.user_ids[made.users].tolist() == ["zoe", "Ann", "zoe"]
    assert made.item_ids[made.items].tolist() == [30, 10, 20]
    assert (made.weights.tolist(), made.timestamps.tolist(), made.folds.tolist()) == ([2, 1, 4], [9, 8, 7], [1, 2, 1])
    assert (made.titles.tolist(), made.genres.tolist(), made.name) == (["Ten", "20", "30"], ["War", "", ""], "plays")
    later = Interactions.from_arrays(["Ann"], [30], user_ids=made.user_ids, item_ids=made.item_ids)
    assert (later.users.tolist(), later.items.tolist(), later.weights) == ([0], [2], None)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("how", ["last", "sum"])
def test_duplicates_merge_as_a_dictionary_would(how, weighted):
    rng = np.random.default_rng(1)
    users, items, times = rng.integers(0, 8, 200), rng.integers(0, 8, 200), rng.permutation(200)
    weights = rng.integers(1, 50, 200) if weighted else None
    made = Interactions.from_arrays(users, items, weights, times, duplicates=how)

    counts = weights if weighted else np.ones(200)
    rows: dict = {}
    for place, (pair, time) in enumerate(
        zip(zip(users.tolist(), items.tolist(), strict=True), times.tolist(), strict=True)
    ):
        rows.setdefault(pair, []).append((time, place))
    kept = sorted(max(given)[1] for given in rows.values())  # the latest of each, in the order of the list
    assert pairs(made) == [(users[k], items[k]) for k in kept]
    assert made.timestamps.tolist() == times[kept].tolist()
    if how == "last" and not weighted:
        assert made.weights is None
    else:
        sums = [sum(counts[place] for _, place in rows[users[k], items[k]]) for k in kept]
        assert made.weights.tolist() == (counts[kept].tolist() if how == "last" else sums)


def test_a_log_of_events_becomes_counts():
    log = pd.DataFrame({"who": ["b", "a", "b", "b"], "song": ["x", "y", "x", "z"], "when": [1, 2, 3, 4]})
    plays = Interactions.from_frame(log, "who", "song", timestamp="when", duplicates="sum", name="plays")
    assert plays.to_csr().toarray().tolist() == [[0, 1, 0], [2, 0, 1]]
    assert plays.weights.dtype == np.float32
    assert sorted(plays.timestamps.tolist()) == [2, 3, 4]


def test_from_frame_takes_the_named_columns():
    frame = pd.DataFrame({"user": [7, 8], "item": [1, 2], "seconds": [12.5, 3]})
    assert Interactions.from_frame(frame).weights is None
    assert Interactions.from_frame(frame, weight="seconds").weights.tolist() == [12.5, 3]
    with pytest.raises(KeyError, match="no column 'clicks'; the frame has .*'seconds'"):
        Interactions.from_frame(frame, weight="clicks")


# -- use -------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("index", [slice(3, 20), np.arange(N) % 3 == 0, [7, 3, 31], -1])
def test_a_selection_keeps_type_numbering_and_features(kind, index):
    thing = full(kind)
    part = thing[index]
    assert type(part) is kind
    for name, array in arrays(thing).items():
        along = len(array) == N
        np.testing.assert_array_equal(getattr(part, name), np.atleast_1d(array[index]) if along else array)
    assert part.features is thing.features
    assert (part.n_users, part.n_items, part.name) == (N_USERS, N_ITEMS, "full")


@pytest.mark.parametrize("weights", [None, [2, 0.5, 7, 1]])
def test_matrix_tensors_and_counts(weights):
    made = small(weights=weights)
    amounts = weights or [1, 1, 1, 1]
    dense = np.zeros((3, 4), np.float32)
    dense[[0, 0, 1, 2], [0, 2, 1, 2]] = amounts
    matrix = made.to_csr()
    assert (matrix.dtype, matrix.nnz) == (np.float32, 4)
    np.testing.assert_array_equal(matrix.toarray(), dense)
    tensors = made.to_tensors()
    assert [tensor.dtype for tensor in tensors] == [torch.int64, torch.int64, torch.float32]
    assert [tensor.tolist() for tensor in tensors] == [[0, 0, 1, 2], [0, 2, 1, 2], amounts]
    tensors[0].fill_(0)
    assert made.users.tolist() == [0, 0, 1, 2]
    assert (len(made), made.density) == (4, 4 / 12)
    assert (made.user_counts.tolist(), made.item_counts.tolist()) == ([2, 1, 1], [1, 1, 2, 0])


def test_weights_come_into_being_with_the_object_and_are_copies():
    source = np.array([1.0, 5, 3, 4])
    made = small(weights=source)
    source[:] = 2
    assert made.weights.tolist() == [1, 5, 3, 4]
    assert made.weights.dtype == np.float32


def test_repr_and_page_say_what_it_is():
    assert repr(small()) == "Interactions(interactions, arrays: 4 interactions, 3 users × 4 items, each counts 1)"
    made = small(weights=[2, 0.5, 7, 1], timestamps=[0, 0, 0, 0], titles=["<b>"] * 4, source="simulated")
    assert repr(made).endswith("3 users × 4 items, weights 0.5 to 7)")
    page = made._repr_html_()
    assert "SIMULATED, not real interactions" in page
    assert "33.33% of all pairs; weights 0.5 to 7, mean 2.62. The first 4:" in page
    assert "<th>weight</th>" in page
    assert "&lt;b&gt;" in page
    assert "1970-01-01" in page
    assert "of all pairs; each counts 1. The first 4:" in small()._repr_html_()


# -- from ratings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_least", "kept"), [(None, [1, 2, 3, 4, 5]), (4.0, [4, 5]), (3.5, [4, 5]), (1, [1, 2, 3, 4, 5])]
)
def test_what_counts_as_positive_is_an_argument(at_least, kept):
    ratings = full(Ratings)
    made = ratings.to_interactions(at_least)
    mask = np.isin(ratings.values, kept)
    assert type(made) is Interactions
    assert made.weights is None
    for name, array in arrays(ratings).items():
        if name != "values":
            np.testing.assert_array_equal(getattr(made, name), array[mask] if len(array) == N else array)
    assert made.features is ratings.features
    assert (made.n_users, made.n_items, made.name, made.source) == (N_USERS, N_ITEMS, "full", "arrays")


def test_a_step_that_float32_cannot_hold_counts_as_itself():
    ratings = Ratings([0, 1], [0, 1], [0.7, 0.6], 2, 2, (0, 1, 0.1))
    for limit in (0.7, np.float64(0.7), np.float32(0.7)):
        assert pairs(ratings.to_interactions(limit)) == [(0, 0)]


@pytest.mark.parametrize(
    ("at_least", "words"),
    [
        (5.5, "no rating of full is that high, the highest is 5"),
        (np.inf, "it must be finite"),
        (np.nan, "it must be finite"),
        ("4", "give a number"),
    ],
)
def test_nothing_left_is_refused_with_what_there_is(at_least, words):
    with pytest.raises(ValueError, match=f"at_least={at_least!r}: {words}"):
        full(Ratings).to_interactions(at_least)


# -- splits ----------------------------------------------------------------------------------------

SPLITS = {
    "random": lambda whole: [random_split(whole)],
    "kfold": lambda whole: list(kfold(whole, 4)),
    "official": lambda whole: list(official_folds(whole)),
    "last out": lambda whole: [leave_last_out(whole)],
    "time": lambda whole: [time_split(whole)],
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_splits_give_the_type_they_got_and_the_same_pairs(split):
    ratings, interactions = full(Ratings), full()
    for (train, test), (rated, held) in zip(split(interactions), split(ratings), strict=True):
        assert {type(train), type(test)} == {Interactions}
        assert {type(rated), type(held)} == {Ratings}
        assert (pairs(train), pairs(test)) == (pairs(rated), pairs(held))
        assert sorted(pairs(train) + pairs(test)) == sorted(pairs(interactions))
        weight = dict(zip(pairs(interactions), interactions.weights.tolist(), strict=True))
        assert test.weights.tolist() == [weight[pair] for pair in pairs(test)]
        assert test.features is interactions.features
        assert str(cold_report(train, test)) == str(cold_report(rated, held)) == str(cold_report(train, held))


def test_splitting_and_choosing_positives_may_be_done_in_either_order():
    ratings = full(Ratings)
    for (train, _), (chosen, _) in zip(
        official_folds(ratings), official_folds(ratings.to_interactions(3)), strict=True
    ):
        assert pairs(train.to_interactions(3)) == pairs(chosen)


def test_what_a_split_needs_is_asked_for_by_name():
    bare = dataclasses.replace(full(), folds=None, timestamps=None)
    with pytest.raises(ValueError, match=r"full \(arrays\) has no official folds"):
        official_folds(bare)
    for split in (leave_last_out, time_split):
        with pytest.raises(ValueError, match="full has no timestamps"):
            split(bare)
    renamed = dataclasses.replace(full(), user_ids=np.arange(N_USERS))
    with pytest.raises(ValueError, match="not parts of the same interactions: user_ids.* Split one Interactions, or"):
        cold_report(full(), renamed)


# -- recommending ----------------------------------------------------------------------------------


@both
def test_recommend_leaves_out_what_a_user_met(kind):
    seen = full(kind)
    rng = np.random.default_rng(2)
    factors = Factors(
        0, np.zeros(N_USERS), np.zeros(N_ITEMS), rng.normal(size=(N_USERS, 2)), rng.normal(size=(N_ITEMS, 2))
    )
    for user in range(N_USERS):
        own = {item for who, item in pairs(seen) if who == user}
        shown, scores = factors.recommend(user, N_ITEMS, exclude=seen)
        assert set(shown.tolist()) == set(range(N_ITEMS)) - own
        assert (np.diff(scores) <= 0).all()
