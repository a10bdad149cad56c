"""`Features`: a row for each number, whatever a reader does with the frames that are handed out."""

import copy
import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest

from mfhelpers import Features, Interactions, Ratings, kfold, random_split

AGES = pd.DataFrame({"age": [30, 40, 50], "job": ["a", "b", "c"]})
FILMS = pd.DataFrame(
    {"year": pd.array([1995, None, 1968, 2001], dtype="Int64"), "genres": ["War|Drama", "", "Drama", None]}
)


def ratings(**changes) -> Ratings:
    fields = dict(users=[0, 0, 1, 2], items=[0, 2, 1, 2], values=[1, 5, 3, 4], n_users=3, n_items=4, scale=(1, 5, 1))
    return Ratings(**{**fields, **changes})


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (dict(users=AGES.to_dict()), "features of users are a dict: give a DataFrame or None"),
        (dict(items=FILMS["year"]), "features of items are a Series"),
        (
            dict(users=AGES.set_axis([5, 6, 7])),
            r"users have the index \[5, 6, 7\]…, expected 0 … 2: row n .*user_features=",
        ),
        (dict(users=AGES[::-1]), r"index \[2, 1, 0\]…"),
        (dict(items=FILMS.set_axis(list("abcd"))), r"items have the index \['a', 'b', 'c'\]…, expected 0 … 3"),
    ],
)
def test_rows_that_are_not_numbered_are_refused(sides, message):
    with pytest.raises(ValueError, match=message):
        Features(**sides)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (Features(users=AGES[:2]), "features of users have 2 rows, expected 3: one for each number"),
        (Features(AGES, FILMS[:3]), "features of items have 3 rows, expected 4"),
        (AGES, r"features is a DataFrame: give Features\(users=…, items=…\)"),
    ],
)
def test_every_user_and_item_needs_a_row(features, message):
    with pytest.raises(ValueError, match=message):
        ratings(features=features)
    with pytest.raises(ValueError, match=message):
        Interactions([0], [0], 3, 4, features=features)


# -- nothing changes them --------------------------------------------------------------------------


def spoil(frame):
    """All that a reader may do in place."""
    frame["age"] = 0
    frame.loc[0, "job"] = "spoilt"
    frame.iloc[1:, 0] = -1
    frame["more"] = 1
    del frame["job"]
    frame.index = [7, 8, 9]


TWINS = {"itself": lambda f: f, "deepcopy": copy.deepcopy, "pickle": lambda f: pickle.loads(pickle.dumps(f))}


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
def test_changing_a_frame_changes_no_features(twin):
    given = AGES.copy()
    features = twin(ratings(features=Features(given, FILMS))).features
    spoil(given)
    spoil(features.users)
    taken = features.users
    spoil(taken)
    pd.testing.assert_frame_equal(features.users, AGES)
    pd.testing.assert_frame_equal(features.items, FILMS)
    column = features.users["age"].to_numpy()
    if column.flags.writeable:
        column[:] = 0
    pd.testing.assert_frame_equal(features.users, AGES)
    with pytest.raises(dataclasses.FrozenInstanceError):
        features.users = None


def test_they_travel_through_selections_and_splits():
    whole = ratings(features=Features(AGES, FILMS))
    parts = [whole[1:], *random_split(whole, 0.5), *next(kfold(whole, 2)), whole.to_interactions(3)]
    for part in parts:
        assert part.features is whole.features
    assert ratings().features is None


# -- by label --------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [Ratings, Interactions])
def test_frames_by_label_are_put_in_the_order_of_the_numbering(made):
    users = AGES.set_axis(["zoe", "Ann", "bob"])
    items = FILMS.set_axis([30, 10, 20, 40])
    who, what = ["bob", "zoe", "Ann", "bob"], [10, 20, 30, 40]
    thing = made.from_arrays(who, what, [1, 2, 3, 4], user_features=users, item_features=items)
    for labels, frame, ours in (
        (thing.user_ids, users, thing.features.users),
        (thing.item_ids, items, thing.features.items),
    ):
        assert list(ours.index) == list(range(len(labels)))
        for number, label in enumerate(labels.tolist()):
            pd.testing.assert_series_equal(ours.loc[number], frame.loc[label], check_names=False)
    assert thing.features.items.dtypes.tolist() == items.dtypes.tolist()


def test_from_frame_takes_them_too_and_one_side_may_be_unknown():
    frame = pd.DataFrame({"user": [7, 8], "item": ["x", "y"], "rating": [1, 2]})
    made = Ratings.from_frame(frame, user_features=AGES.set_axis([8, 7, 9]))
    assert made.features.users["age"].tolist() == [40, 30]
    assert made.features.items is None
    assert Ratings.from_frame(frame).features is None


def test_a_missing_row_is_missing_values_and_other_labels_are_left_out():
    made = Ratings.from_arrays([1, 2], ["a", "b"], [3, 4], item_features=FILMS.set_axis(list("xbyz")))
    items = made.features.items
    assert items.loc[0].isna().all()
    assert items["year"].dtype == "Int64"
    assert items.loc[1, "genres"] == ""
    assert len(items) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(user_features=AGES.set_axis(list("123"))),
            r"no label of user_features is that of a user: its index begins with \['1'\] of type (str|object), the users "
            r"with \[1\] of type int64.*set_index",
        ),
        (dict(item_features=FILMS), r"begins with \[0\] of type int64, the items with \['a'\] of type <U1"),
        (dict(item_features=FILMS[:0]), r"its index begins with \[\]"),
        (dict(user_features=AGES.set_axis([1, 2, 1])), "user_features has the label 1 more than once"),
        (dict(user_features={"age": [1, 2]}), "user_features is a dict: give a DataFrame with labels as its index"),
    ],
)
def test_labels_that_fit_nothing_are_told_with_their_types(options, message):
    with pytest.raises(ValueError, match=message):
        Ratings.from_arrays([1, 2], ["a", "b"], [3, 4], **options)


def test_features_are_given_once():
    with pytest.raises(TypeError, match="features"):
        Ratings.from_arrays([0, 1, 2], [0, 1, 2], [3, 4, 5], user_features=AGES, features=Features(users=AGES))


# -- genres ----------------------------------------------------------------------------------------


def test_genre_flags_are_one_column_a_genre():
    flags = Features(items=FILMS).genre_flags()
    assert flags.dtypes.tolist() == [np.dtype(bool)] * 2
    assert flags.to_dict("list") == {"Drama": [True, False, True, False], "War": [True, False, False, False]}


@pytest.mark.parametrize("features", [Features(users=AGES), Features(items=FILMS[["year"]])])
def test_flags_need_genres(features):
    with pytest.raises(ValueError, match="has no genres: give the items a column 'genres'"):
        features.genre_flags()


def test_flags_of_the_real_ml_100k_are_those_of_its_file(movielens_100k):
    features = movielens_100k.features
    flags = features.genre_flags()
    joined = flags.apply(lambda row: "|".join(flags.columns[row]), axis=1)
    assert [set(text.split("|")) for text in joined] == [set(text.split("|")) for text in features.items["genres"]]


def test_repr_names_what_is_known():
    assert repr(Features(AGES, FILMS)) == "Features(3 users: age, job; 4 items: year, genres)"
    assert repr(Features(items=FILMS)) == "Features(4 items: year, genres)"
