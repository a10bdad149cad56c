"""`Ratings`: what it refuses, what it keeps, and what it turns into."""

import dataclasses

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from mfhelpers import Ratings, Scale
from mfhelpers.data.ratings import require_same_labels


def small(**changes) -> Ratings:
    fields = dict(users=[0, 0, 1, 2], items=[0, 2, 1, 2], values=[1, 5, 3, 4], n_users=3, n_items=4, scale=(1, 5, 1))
    return Ratings(**{**fields, **changes})


@pytest.fixture
def full() -> Ratings:
    """All fields filled, 40 ratings of 12 users and 9 items."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(12 * 9)[:40]
    return Ratings(
        pairs // 9,
        pairs % 9,
        rng.integers(1, 11, 40) / 2,
        12,
        9,
        Scale(0.5, 5, 0.5),
        timestamps=rng.integers(0, 1000, 40),
        user_ids=np.arange(100, 112),
        item_ids=np.array(list("abcdefghi")),
        titles=np.array([f"film {i}" for i in range(9)]),
        genres=np.array(["Drama|War"] * 9),
        folds=rng.integers(1, 6, 40),
        name="full",
    )


# -- what is refused: the message names the value and the limit ------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(users=[], items=[], values=[]), "no rating in this selection"),
        (dict(users=[0, 0, 1]), r"users has shape \(3,\), expected \(4,\)"),
        (dict(items=[[0, 2, 1, 2]]), r"items has shape \(1, 4\), expected \(4,\)"),
        (dict(timestamps=[1, 2]), r"timestamps has shape \(2,\), expected \(4,\)"),
        (dict(folds=[1]), r"folds has shape \(1,\), expected \(4,\)"),
        (dict(user_ids=["a"]), r"user_ids has shape \(1,\), expected \(3,\)"),
        (dict(item_ids=["a"]), r"item_ids has shape \(1,\), expected \(4,\)"),
        (dict(titles=["a"]), r"titles has shape \(1,\), expected \(4,\)"),
        (dict(genres=["a"]), r"genres has shape \(1,\), expected \(4,\)"),
        (dict(users=[0, 0, 1, 3]), r"users\[3\] is 3, outside 0 … 2 \(1 such\)"),
        (dict(items=[0, -1, -2, 2]), r"items\[1\] is -1, outside 0 … 3 \(2 such\)"),
        (dict(users=[0.0, 0.0, 1.0, 2.0]), "users has type float64, expected integers: Ratings.from_arrays"),
        (dict(items=list("abcd")), "items has type <U1, expected integers"),
        (dict(timestamps=[0.5, 1, 2, 3]), "timestamps has type float64, expected integers: seconds since 1970"),
        (dict(timestamps=np.zeros(4, "datetime64[s]")), "timestamps has type datetime64.*seconds since 1970"),
        (dict(folds=np.array([1, 300, 2, 3])), r"folds\[1\] is 300, beyond the largest int8, 127"),
        (dict(timestamps=[1, 881250949000, 2, 3]), r"timestamps\[1\] is 881250949000, .*divide by 1000"),
        (dict(timestamps=[253402300800, 1, 2, 3]), r"timestamps\[0\] .* beyond the year 9999"),
        (dict(values=[1, np.nan, 3, np.nan]), r"values\[1\] is nan \(2 such\)"),
        (dict(values=[1, 2, np.inf, 3]), r"values\[2\] is inf \(1 such\)"),
        (dict(values=[1, 6, 3, 4]), r"values\[1\] is 6, off the scale 1 to 5 in steps of 1 \(1 such\)"),
        (dict(values=[0.99, 5, 3, 4], scale=(1, 5, 0)), r"values\[0\] is 0.99, off the scale 1 to 5 \(1 such\)"),
        (dict(values=[1, 5, 3.5, 4.5]), r"values\[2\] is 3.5, off the scale 1 to 5 in steps of 1 \(2 such\)"),
        (dict(items=[0, 0, 1, 2]), r"user 0 rates item 0 more than once \(1 such\).*duplicates='last'"),
        (dict(scale=(5, 1, 1)), r"scale=\(5.0, 1.0, 1.0\): .*low not above high"),
        (dict(scale=(1, 5, -1)), r"scale=\(1.0, 5.0, -1.0\): .*step not negative"),
        (dict(scale=(1, np.inf, 0)), r"scale=\(1.0, inf, 0.0\): all finite"),
        (dict(scale=5), r"scale=5: give \(low, high, step\)"),
        (dict(scale="1–5"), "scale='1–5': give"),
        (dict(scale="151"), "scale='151': give"),
        (dict(scale=(1, 1e300, 0)), "all finite"),
        (dict(n_users=2.5), "n_users=2.5: give a whole number"),
        (dict(n_users=True), "n_users=True: give a whole number"),
        (dict(n_items=10**12), "n_items=1000000000000: it must be at most 100,000,000"),
        (dict(name=7), "name=7: give text"),
        (dict(titles=[1, 2, 3, 4]), "titles has type int64, expected text"),
        (dict(user_ids=["a", "b", "a"]), "user_ids holds 'a' more than once"),
        (dict(timestamps=[-(10**17), 1, 2, 3]), r"timestamps\[0\] is -1000.* before the year 1"),
        (dict(values=np.ma.masked_values([4, 99, 5, 1], 99)), r"values\[1\] is 99, masked as missing \(1 such\)"),
        (dict(users=np.ma.masked_values([0, 0, 1, 2], 1)), r"users\[2\] is 1, masked"),
        (
            dict(users=[0, 0], items=[3, 3], values=[4, 5], user_ids=["ann", "b", "c"], item_ids=[*"xyz", "Alien"]),
            "user 'ann' rates item 'Alien' more than once",
        ),
    ],
)
def test_bad_input_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        (([1], [1, 2], [3, 4]), {}, r"equally long, not \{'users': \(1,\), 'items': \(2,\)"),
        (([1, 2], [1, 2], [3, 4], [7]), dict(duplicates="last"), r"'timestamps': \(1,\)"),
        (([1, 2], [1, 2], [3, 4]), dict(folds=[1], duplicates="mean"), r"'folds': \(1,\)"),
        (([[1]], [[1]], [[3]]), {}, "one-dimensional"),
        (([], [], []), {}, "no rating in these arrays"),
        (([1, np.nan], [1, 2], [3, 4]), {}, "user label 1 is missing"),
        (([1, 2], ["a", None], [3, 4]), {}, "item label 1 is missing"),
        ((["a", np.nan, "b"], [1, 2, 3], [3, 4, 5]), {}, "user label 1 is missing"),
        ((pd.Series(["a", None], dtype="string"), [1, 2], [3, 4]), {}, "user label 1 is missing"),
        (([1, 2], [1, "1"], [3, 4]), {}, "item labels are of several kinds, such as 1 and '1'"),
        ((np.array([1, "1"], object), [1, 2], [3, 4]), {}, "user labels are of several kinds"),
        (([1, 2.5], [1, 2], [3, 4]), {}, "user labels are of several kinds"),
        (([1, 2], ["a", "z"], [3, 4]), dict(item_ids=["a", "b"]), r"item label 'z' is not among the 2 of item_ids \(1"),
        (([1, 2], ["1", "2"], [3, 4]), dict(item_ids=[1, 2]), r"item label '1' is not among .* \(2 such\): leave"),
        (([1, 2], [1, 2], [3, 4]), dict(user_ids=[1, 2, 1]), "user_ids holds 1 more than once"),
        (([1, 2], [1, 2], [3, np.inf]), {}, r"values\[1\] is inf"),
        (([1, 2], [1, 2], [np.nan, np.nan]), {}, r"values\[0\] is nan \(2 such\)"),
        (([1, 2], [1, 2], [3, 4]), dict(duplicates="first"), "duplicates='first': choose"),
        (([1, 1], [2, 2], [3, 4]), {}, "more than once"),
        (([1, 2], [1, 2], [0, 4]), dict(scale=(1, 5, 1)), r"values\[0\] is 0, off the scale"),
        (
            ([76561198000000001.0, 76561198000000002.0], [1, 2], [3, 4]),
            {},
            "user labels.0. is 7.65.*different numbers have",
        ),
        ((np.array([2.0**24, 1], "f4"), [1, 2], [3, 4]), {}, "a float beyond 16777216, .*as text"),
        (([1, np.inf], [1, 2], [3, 4]), {}, "several kinds"),
        (([1.0, np.inf], [1, 2], [3, 4]), {}, r"user labels\[1\] is inf"),
        (([1j, 2j], [1, 2], [3, 4]), {}, "user labels have no order"),
        ((["a", "a\0"], [1, 2], [3, 4]), {}, "user label 1 is 'a.x00': NumPy drops"),
        (([1, 2], ["a", "x" * 10**6], [3, 4]), {}, "item label 1 has 1,000,000 characters, at most 1,000"),
        (([[1], [2, 3]], [1, 2], [3, 4]), {}, "user labels are of type list"),
        ((np.ma.masked_values([4, 99], 99), [1, 2], [3, 4]), {}, r"user labels\[1\] is 99, masked"),
        (([1, 2], [1, 2], np.ma.masked_values([4, 99], 99)), {}, r"values\[1\] is 99, masked as missing"),
        (([1, 2], [1, 2], [3, 4], np.ma.masked_values([4, 99], 99)), {}, r"timestamps\[1\] is 99, masked"),
        (([1, 2], [1, 2], np.array([1, 2], "datetime64[s]")), {}, "values has type datetime64"),
        (([1, 2], [1, 2], [1 + 1j, 2]), {}, "values has type complex128, expected numbers"),
        (([1, 2], [1, 2], [True, False]), {}, "values has type bool.*Interactions"),
        (([1, 2], [1, 2], [[1], [2, 3]]), {}, "values makes no array"),
        (([1, 2], [1, 2], torch.ones(2, requires_grad=True)), {}, r"values makes no array \(Can't call numpy"),
        (([1, 2], [1, 2], ["3", "4,0"]), {}, r"values\[1\] is '4,0', no number \(1 such\).*decimal=','"),
        (([1, 2], [1, 2], ["3", ""]), {}, r"values\[1\] is '', no number.*leave out what was not rated"),
        (([1, 2], [1, 2], ["rating", "4"]), {}, r"values\[0\] is 'rating', no number.*header of a file"),
        (([1, 2], [1, 2], ["good", "bad"]), {}, r"values\[0\] is 'good', no number \(2 such\): give numbers"),
        (([1, 2], [1, 2], [1e300, 2]), {}, r"values\[0\] is 1e\+300, beyond the largest float32.*rescale"),
        (
            ([1, 2], [1, 2], [3, 4]),
            dict(titles={"1": "A"}),
            "no label in titles .*'1' of type str, the items with 1 of type int",
        ),
        (([1, 2], [1, 2], [3, 4]), dict(genres={"1": "A"}), "no label in genres"),
        (([1, 2], [1, 2], [3, 4]), dict(titles=["A", "B"]), "titles is a list: give a dict"),
        (([1, 2], [1, 2], [3, 4]), dict(titles={1: None}), r"titles\[1\] is None: give text"),
        (([1, 2], [1, 2], [3, 4]), dict(user_ids=3), r"user_ids has shape \(\)"),
        (
            ([1, 2], [1, 2], [3, 4], ["1998-01-01", "x"]),
            {},
            r"timestamps\[0\] is '1998-01-01', no time.*pd.to_datetime",
        ),
        (([1, 2], [1, 2], [3, 4], np.array(["1998", "NaT"], "M8[s]")), {}, r"timestamps\[1\] is None, no time"),
        (([1, 2], [1, 2], [3, 4], np.array([10**15, 1], "M8[Y]")), {}, "a year outside 1 … 9999"),
    ],
)
def test_from_arrays_refuses(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        Ratings.from_arrays(*arrays, **options)


@pytest.mark.parametrize("field", ["n_users", "nme"])
def test_from_arrays_names_the_argument_that_it_has_not(field):
    with pytest.raises(TypeError, match=f"from_arrays has no argument '{field}'.*name, source, folds"):
        Ratings.from_arrays([1, 2], [1, 2], [3, 4], **{field: 7})


DATES = pd.Series(pd.to_datetime(["1998-01-01 00:00", "2001-06-01 12:00"]))


@pytest.mark.parametrize(
    ("dates", "seconds"),
    [
        (DATES.to_numpy("M8[ns]"), [883612800, 991396800]),
        (DATES.to_numpy("M8[us]"), [883612800, 991396800]),
        (DATES, [883612800, 991396800]),
        (
            DATES.dt.to_pydatetime().tolist() if hasattr(DATES.dt, "to_pydatetime") else DATES.tolist(),
            [883612800, 991396800],
        ),
        (DATES.dt.tz_localize("Europe/Berlin"), [883612800 - 3600, 991396800 - 7200]),
        (DATES.dt.tz_localize("Europe/Berlin").tolist(), [883612800 - 3600, 991396800 - 7200]),
        (DATES.dt.date.tolist(), [883612800, 991353600]),
    ],
    ids=["ns", "us", "series", "datetimes", "with a zone", "with a zone, a list", "days"],
)
def test_dates_become_seconds_since_1970_in_utc(dates, seconds):
    assert Ratings.from_arrays([1, 2], [1, 2], [3, 4], dates).timestamps.tolist() == seconds
    frame = pd.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [3, 4], "when": dates})
    assert Ratings.from_frame(frame, timestamp="when").timestamps.tolist() == seconds


def test_dates_that_were_divided_by_too_much_are_told():
    with pytest.warns(UserWarning, match="all timestamps lie in 1970, from 883612 to 991396 s.*microseconds"):
        Ratings.from_arrays([1, 2], [1, 2], [3, 4], DATES.to_numpy("M8[us]").astype(int) // 10**9)


def test_of_duplicates_the_latest_stays_not_the_last_row():
    ratings = Ratings.from_arrays([1, 1, 2], [1, 1, 2], [4, 5, 1], [20, 10, 5], duplicates="last")
    assert (ratings.values.tolist(), ratings.timestamps.tolist()) == ([4, 1], [20, 5])


# -- what is kept ----------------------------------------------------------------------------------


def test_arrays_are_read_only_copies_of_fixed_types(full):
    source = np.array([1.0, 5, 3, 4])
    ratings = small(values=source)
    source[:] = 2
    assert ratings.values.tolist() == [1, 5, 3, 4]
    types = dict(users="int64", items="int64", values="float32", timestamps="int64", folds="int8")
    assert {name: str(getattr(full, name).dtype) for name in types} == types
    for field in dataclasses.fields(full):
        array = getattr(full, field.name)
        if isinstance(array, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = array[1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        full.n_users = 1


def test_tensors_are_taken_like_arrays():
    tensors = small().to_tensors()
    ratings = Ratings(*tensors, 3, 4, (1, 5, 1))  # NumPy's warning about copies would fail here
    tensors[2].fill_(2)
    assert ratings.values.tolist() == [1, 5, 3, 4]


def test_labels_default_to_the_numbers():
    assert small().user_ids.tolist() == [0, 1, 2]
    assert small().item_ids.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "index",
    [slice(3, 20), slice(None, None, -2), np.arange(40) % 3 == 0, [False, True] * 20, np.array([7, 3, 31]), [5], 4, -1, np.int64(2)],
    ids=["slice", "backwards", "mask", "list of bools", "positions", "list", "int", "last", "numpy int"],
)  # fmt: skip
def test_indexing_selects_ratings_and_keeps_the_numbering(full, index):
    part = full[index]
    for name in ("users", "items", "values", "timestamps", "folds"):
        np.testing.assert_array_equal(getattr(part, name), np.atleast_1d(getattr(full, name)[index]))
    for name in ("user_ids", "item_ids", "titles", "genres"):
        np.testing.assert_array_equal(getattr(part, name), getattr(full, name))
    for name in ("n_users", "n_items", "scale", "name", "source"):
        assert getattr(part, name) == getattr(full, name)


@pytest.mark.parametrize(
    ("index", "error"), [([], ValueError), (slice(0, 0), ValueError), ([0, 0], ValueError), (40, IndexError)]
)
def test_indexing_refuses_nothing_twice_and_beyond(full, index, error):
    with pytest.raises(error, match="no rating|more than once|out of bounds"):
        full[index]


def test_half_stars_survive_every_conversion():
    halves = [0.5, 3.5, 4.5, 5.0]
    ratings = Ratings.from_arrays(list("abcd"), list("wxyz"), halves)
    assert ratings.scale == (0.5, 5, 0.5)
    assert ratings.values.tolist() == halves
    assert ratings[1:].values.tolist() == halves[1:]
    assert ratings.to_tensors()[2].tolist() == halves
    assert sorted(ratings.to_csr().data.tolist()) == halves


def test_counts_and_density_are_those_of_the_whole_matrix():
    ratings = small()
    assert len(ratings) == 4
    assert ratings.user_counts.tolist() == [2, 1, 1]
    assert ratings.item_counts.tolist() == [1, 1, 2, 0]
    assert ratings.density == 4 / 12


# -- from_arrays and from_frame --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "items"),
    [
        (["zoe", "Ann", "zoe", "bob"], ["x", "w", "y", "x"]),
        ([900, 7, 900, -3], [10**12, 5, 6, 10**12]),
        (np.array(["b", "a", "b", "c"], dtype=object), [2.5, 1.5, 3.5, 2.5]),
        ([2**63, -1, 2**63, 2**63 + 1], np.array([2**63 + 1, 2**63, 2**63 - 1, 2**63 + 1], np.uint64)),
    ],
    ids=["strings", "integers", "objects and floats", "beyond int64"],
)
def test_labels_round_trip_in_sorted_order(users, items):
    ratings = Ratings.from_arrays(users, items, [1, 2, 3, 4], [9, 8, 7, 6])
    assert ratings.user_ids.tolist() == sorted(set(users))
    assert ratings.item_ids.tolist() == sorted(set(items))
    assert ratings.user_ids[ratings.users].tolist() == list(users)
    assert ratings.item_ids[ratings.items].tolist() == list(items)
    assert ratings.values.tolist() == [1, 2, 3, 4]
    assert ratings.timestamps.tolist() == [9, 8, 7, 6]


@pytest.mark.parametrize("made", [list, np.array, pd.Series], ids=lambda made: made.__name__)
@pytest.mark.parametrize("labels", [["c", "a", "d", "b"], [30, 10, 40, 20]], ids=["strings", "integers"])
def test_a_file_of_its_own_is_numbered_like_the_training_part(made, labels):
    train = Ratings.from_arrays(made(labels), made(labels[::-1]), [1, 2, 3, 4])
    given = dict(user_ids=train.user_ids, item_ids=train.item_ids)
    test = Ratings.from_arrays(made(labels[2:0:-1]), made(labels[:2]), [5, 5], **given)
    assert (test.n_users, test.n_items) == (4, 4)
    assert test.user_ids[test.users].tolist() == labels[2:0:-1]
    assert test.item_ids[test.items].tolist() == labels[:2]
    require_same_labels(train, test)
    frame = pd.DataFrame({"user": labels[:2], "item": labels[:2], "rating": [1, 2]})
    assert Ratings.from_frame(frame, **given).users.tolist() == train.users[:2].tolist()


def test_parts_have_the_labels_of_the_whole_and_others_are_told_apart(full):
    part = full[3:9]
    assert part.user_ids is full.user_ids
    require_same_labels(full, part)
    require_same_labels(full, dataclasses.replace(full, user_ids=np.arange(100, 112)))
    for field, labels, words in (
        ("user_ids", np.arange(101, 113), r"user_ids\[0\] is 100 in one and 101"),
        ("item_ids", np.array(list("abcdefghj")), r"item_ids\[8\] is 'i' in one and 'j'"),
        ("item_ids", np.arange(9), r"item_ids\[0\] is 'a' in one and 0"),
    ):
        with pytest.raises(ValueError, match=f"not parts of the same ratings: {words} in the other.*from_arrays"):
            require_same_labels(full, dataclasses.replace(full, **{field: labels}))


@pytest.mark.parametrize("scale", [(0, 5, 0.001), (-5, 5, 0.001), (0, 1000, 0.01), (1, 5, 1e-6)])
def test_a_fine_step_permits_its_own_multiples_and_no_others(scale):
    low, high, step = scale
    values = low + step * np.arange(0, round((high - low) / step), 7)
    make = lambda values: Ratings(np.arange(len(values)), np.zeros(len(values), int), values, len(values), 1, scale)  # noqa: E731
    assert len(make(values)) == len(values)
    if step > 1e-5:
        with pytest.raises(ValueError, match="off the scale"):
            make(values[:-1] + 0.4 * step)


@pytest.mark.parametrize(
    ("values", "scale"), [([2, 5, 4], (2, 5, 1)), ([2, 4.5, 4], (2, 4.5, 0.5)), ([2, 4.25, 4], (2, 4.25, 0))]
)
def test_a_scale_that_is_not_given_is_read_off_the_values(values, scale):
    assert Ratings.from_arrays([1, 2, 3], [1, 2, 3], values).scale == scale


def test_titles_and_genres_follow_the_labels():
    ratings = Ratings.from_arrays([1, 2], ["b", "a"], [3, 4], titles={"b": "Bound"}, genres={"b": "Crime"}, name="mine")
    assert ratings.titles.tolist() == ["a", "Bound"]
    assert ratings.genres.tolist() == ["", "Crime"]
    assert ratings.name == "mine"


@pytest.mark.parametrize("how", ["last", "mean"])
def test_duplicates_merge_as_a_dictionary_would(how):
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, 8, 200), rng.integers(0, 8, 200)
    values, times, folds = rng.integers(1, 6, 200), rng.permutation(200), rng.integers(1, 6, 200)
    ratings = Ratings.from_arrays(users, items, values, times, folds=folds, duplicates=how)

    rows: dict = {}
    for place, (pair, time) in enumerate(
        zip(zip(users.tolist(), items.tolist(), strict=True), times.tolist(), strict=True)
    ):
        rows.setdefault(pair, []).append((time, place))
    kept = sorted(max(given)[1] for given in rows.values())  # the latest of each, in the order of the list
    assert ratings.timestamps.tolist() == times[kept].tolist()
    assert ratings.users.tolist() == users[kept].tolist()
    assert ratings.items.tolist() == items[kept].tolist()
    means = [np.mean(values[[place for _, place in rows[users[k], items[k]]]]) for k in kept]
    np.testing.assert_allclose(ratings.values, values[kept] if how == "last" else means, rtol=1e-6)
    assert ratings.folds.tolist() == folds[kept].tolist()


@pytest.mark.parametrize(("values", "scale"), [([3, 4, 5], (3, 5, 0.5)), ([3.5, 4.5, 5], (3.5, 5, 0.5))])
def test_the_guessed_scale_permits_the_mean_of_duplicates(values, scale):
    ratings = Ratings.from_arrays([1, 1, 2], [1, 1, 1], values, duplicates="mean")
    assert ratings.values.tolist() == [(values[0] + values[1]) / 2, 5]
    assert ratings.scale == scale


def test_from_frame_takes_the_named_columns():
    frame = pd.DataFrame(
        {"who": ["b", "a"], "film": ["x", "y"], "stars": [4.5, 2.0], "when": [20, 10], "other": [0, 0]}
    )
    ratings = Ratings.from_frame(frame, "who", "film", "stars", timestamp="when", scale=(0.5, 5, 0.5), name="frame")
    assert ratings.user_ids[ratings.users].tolist() == ["b", "a"]
    assert ratings.item_ids[ratings.items].tolist() == ["x", "y"]
    assert ratings.values.tolist() == [4.5, 2.0]
    assert ratings.timestamps.tolist() == [20, 10]
    assert (ratings.scale.high, ratings.name) == (5, "frame")


@pytest.mark.parametrize(("options", "column"), [({}, "rating"), (dict(rating="stars", timestamp="when"), "when")])
def test_from_frame_names_a_missing_column_and_those_there(options, column):
    frame = pd.DataFrame({"user": [1], "item": [2], "stars": [3]})
    with pytest.raises(KeyError, match=f"no column '{column}'; the frame has .*'user', 'item', 'stars'"):
        Ratings.from_frame(frame, **options)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"user": [1]}, {}, "the frame is a dict: give a DataFrame"),
        ("ratings.csv", {}, "the frame is a str"),
        (pl.LazyFrame({"user": [1]}), {}, "the frame is a LazyFrame.*collect"),
        (pd.DataFrame([[1, 2, 3, 4]], columns=["user", "item", "rating", "rating"]), {}, "2 columns 'rating'"),
        (pd.DataFrame({"user": [1], "item": [2]}), dict(rating=None), "rating=None: name the column of ratings, one of"),
        (pd.DataFrame({"user": [1, 2], "item": [2, 3], "rating": ["4", "4,5"]}), {}, r"frame\['rating'\]\[1\] is '4,5'"),
        (pd.DataFrame({"user": [1, None], "item": [2, 3], "rating": [4, 5]}), {}, r"frame\['user'\] label 1 is missing"),
        (pd.DataFrame({"user": [1], "item": [2], "rating": ["x"]}), dict(timestamp="rating"), r"frame\['rating'\]\[0\] is 'x'"),
    ],
)  # fmt: skip
def test_from_frame_names_the_column_the_row_and_the_remedy(frame, options, message):
    with pytest.raises(ValueError, match=message):
        Ratings.from_frame(frame, **options)


# -- what it turns into ----------------------------------------------------------------------------


def test_csr_holds_every_rating_in_its_place_and_nothing_else(full):
    dense = np.zeros((12, 9), np.float32)
    for user, item, value in zip(full.users, full.items, full.values, strict=True):
        dense[user, item] = value
    matrix = full.to_csr()
    assert (matrix.shape, matrix.dtype, matrix.nnz) == ((12, 9), np.float32, 40)
    np.testing.assert_array_equal(matrix.toarray(), dense)


def test_tensors_are_independent_copies(full):
    tensors = full.to_tensors()  # a warning about read-only memory would fail here
    assert [tensor.dtype for tensor in tensors] == [torch.int64, torch.int64, torch.float32]
    for tensor, array in zip(tensors, (full.users, full.items, full.values), strict=True):
        kept = array.copy()
        np.testing.assert_array_equal(tensor.numpy(), kept)
        tensor.fill_(1)
        np.testing.assert_array_equal(array, kept)


def test_html_escapes_names_and_titles_and_shows_five_ratings(full):
    ratings = dataclasses.replace(full, titles=np.array(["<script>alert(1)</script>"] * 9), name="<b>&")
    page = ratings._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;&amp;" in page
    assert page.count("<tr>") == 5
    assert "1970-01-01" in page
    assert "SIMULATED" not in page


def test_html_says_simulated(full):
    assert "SIMULATED, not real ratings" in dataclasses.replace(full, source="simulated")._repr_html_()


def test_html_works_without_titles_and_timestamps():
    assert (
        "4 ratings by 3 users of 4 items, 33.33% of all pairs; 1 to 5 in steps of 1, mean 3.25" in small()._repr_html_()
    )


def test_repr_states_source_and_sizes(full):
    assert repr(full) == "Ratings(full, arrays: 40 ratings, 12 users × 9 items, 0.5 to 5 in steps of 0.5)"
