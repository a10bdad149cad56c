"""Ways to hold ratings back, against loops that do the same slowly."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mfhelpers import Ratings, cold_report, kfold, leave_last_out, official_folds, random_split, time_split


def drawn(n=60, n_users=12, n_items=20, seed=0) -> Ratings:
    """Few seconds for many ratings: ties are common. Some users have one rating, the last has none."""
    rng = np.random.default_rng(seed)
    weights = np.repeat(1.0 / np.arange(1, n_users) ** 2, n_items)
    users, items = np.divmod(rng.choice(len(weights), n, replace=False, p=weights / weights.sum()), n_items)
    values, times = rng.integers(1, 6, n), rng.integers(0, 15, n)
    return Ratings(users, items, values, n_users, n_items, (1, 5, 1), timestamps=times)


def pairs(ratings: Ratings) -> list:
    return list(zip(ratings.users.tolist(), ratings.items.tolist(), strict=True))


def assert_partition(train: Ratings, test: Ratings, whole: Ratings):
    assert sorted(pairs(train) + pairs(test)) == sorted(pairs(whole))
    for part in (train, test):
        assert (part.n_users, part.n_items) == (whole.n_users, whole.n_items)


# -- random ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "n_test"), [(0.2, 12), (0.5, 30), (0.33, 20), (0.99, 59)])
def test_random_split_is_a_partition_of_the_right_size_in_order(share, n_test):
    whole = drawn()
    train, test = random_split(whole, share)
    assert_partition(train, test, whole)
    assert len(test) == n_test
    for part in (train, test):
        places = [pairs(whole).index(pair) for pair in pairs(part)]
        assert places == sorted(places)


def test_random_split_depends_on_the_seed_alone():
    once, again, other = (pairs(random_split(drawn(), seed=s)[1]) for s in (1, 1, 2))
    assert once == again != other


@pytest.mark.parametrize("split", [random_split, time_split])
@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, 0.001, 0.999])
def test_an_empty_part_is_refused(split, share):
    with pytest.raises(ValueError, match=f"test={share}: of 60 ratings both parts must get at least one"):
        split(drawn(), share)


# -- folds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folds", [2, 5, 7, 60])
def test_kfold_tests_every_rating_once(folds):
    whole = drawn()
    parts = list(kfold(whole, folds))
    assert len(parts) == folds
    assert sorted(pair for _, test in parts for pair in pairs(test)) == sorted(pairs(whole))
    for train, test in parts:
        assert_partition(train, test, whole)
        assert 60 // folds <= len(test) <= -(-60 // folds)


@pytest.mark.parametrize(("n", "folds", "seed"), [(60, 5, 42), (59, 5, 0), (58, 7, 1)])
def test_kfold_is_surprises_rating_by_rating(tmp_path, monkeypatch, n, folds, seed):
    monkeypatch.setenv("HOME", str(tmp_path))  # importing Surprise makes a folder in the home directory
    monkeypatch.setenv("SURPRISE_DATA_FOLDER", str(tmp_path))
    surprise = pytest.importorskip("surprise")
    import pandas as pd
    from surprise.model_selection import KFold

    whole = drawn(n)
    frame = pd.DataFrame({"user": whole.users, "item": whole.items, "rating": whole.values})
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5)))
    theirs = list(KFold(folds, random_state=seed).split(data))
    ours = list(kfold(whole, folds, seed))
    assert len(ours) == len(theirs) == folds
    for (train, test), (their_train, their_test) in zip(ours, theirs, strict=True):
        rows = zip(test.users, test.items, test.values, strict=True)
        assert [tuple(map(float, row)) for row in rows] == [tuple(map(float, row)) for row in their_test]
        inner = their_train.all_ratings()
        raw = {(int(their_train.to_raw_uid(u)), int(their_train.to_raw_iid(i)), float(r)) for u, i, r in inner}
        assert {
            (int(u), int(i), float(r)) for u, i, r in zip(train.users, train.items, train.values, strict=True)
        } == raw


def test_official_folds_are_those_of_the_ratings():
    whole = dataclasses.replace(drawn(), folds=np.random.default_rng(3).integers(1, 6, 60))
    folds = list(official_folds(whole))
    assert [set(test.folds.tolist()) for _, test in folds] == [{1}, {2}, {3}, {4}, {5}]
    assert sorted(pair for _, test in folds for pair in pairs(test)) == sorted(pairs(whole))
    for train, test in folds:
        assert_partition(train, test, whole)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kfold(drawn(), 1), r"folds=1: choose 2 … 60"),
        (lambda: kfold(drawn(), 61), "folds=61"),
        (lambda: kfold(drawn(), 2.9), "folds=2.9: give a whole number"),
        (lambda: kfold(drawn(), "2"), "folds='2': give a whole number"),
        (lambda: kfold(drawn(), 2, seed=-1), "seed=-1: it must be at least 0"),
        (lambda: kfold(drawn(), 2, seed=2**32), "seed=4294967296: it must be at most 4,294,967,295"),
        (lambda: random_split(drawn(), seed=-1), "seed=-1: it must be at least 0"),
        (lambda: random_split(drawn(), seed=1.5), "seed=1.5: give a whole number"),
        (lambda: random_split(drawn(), "0.2"), "test='0.2': give a number"),
        (lambda: leave_last_out(drawn(), 1.5), "n=1.5: give a whole number"),
        (
            lambda: random_split(pd.DataFrame({"user": [1, 2]})),
            "ratings is DataFrame: give Ratings or Interactions",
        ),
        (lambda: kfold([1, 2]), "ratings is list: give Ratings"),
        (lambda: leave_last_out(None), "ratings is NoneType: give Ratings"),
        (lambda: cold_report(drawn(), None), "the second of two parts is NoneType: give Ratings"),
        (lambda: official_folds(drawn()), r"ratings \(arrays\) has no official folds"),
    ],
)
def test_wrong_settings_are_refused_at_the_call(call, message):
    with pytest.raises(ValueError, match=message):
        call()  # and not only when the first fold is asked for


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_leave_last_out_by_brute_force(n, seed):
    whole = drawn(seed=seed)
    wanted = set()
    for user in range(whole.n_users):
        own = [j for j in range(len(whole)) if whole.users[j] == user]
        if len(own) > n:
            own.sort(key=lambda j: (whole.timestamps[j], j))
            wanted |= set(own[-n:])
    train, test = leave_last_out(whole, n)
    assert pairs(test) == [pairs(whole)[j] for j in sorted(wanted)]
    assert pairs(train) == [pairs(whole)[j] for j in range(len(whole)) if j not in wanted]


def test_leave_last_out_takes_the_later_in_the_list_of_two_at_one_second():
    whole = Ratings([0, 0, 0, 1], [2, 0, 1, 0], [1, 2, 3, 4], 2, 3, (1, 5, 1), timestamps=[7, 7, 3, 1])
    assert pairs(leave_last_out(whole)[1]) == [(0, 0)]  # and user 1, with one rating, stays in train


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_no_test_rating_is_as_early_as_a_train_rating(share, seed):
    whole = drawn(seed=seed)
    train, test = time_split(whole, share)
    assert_partition(train, test, whole)
    assert train.timestamps.max() < test.timestamps.min()
    # the share is met but for the ratings of one second
    assert len(test) <= round(share * 60) < len(test) + (whole.timestamps == train.timestamps.max()).sum()


@pytest.mark.parametrize("split", [leave_last_out, time_split])
def test_a_split_by_time_needs_times(split):
    with pytest.raises(ValueError, match="ratings has no timestamps"):
        split(dataclasses.replace(drawn(), timestamps=None))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: leave_last_out(r, 0), "n=0: it must be at least 1"),
        (lambda r: leave_last_out(r, 60), r"n=60: no user has more than \d+ ratings, so nothing would be held back"),
        (
            lambda r: time_split(dataclasses.replace(r, timestamps=np.zeros(60, int))),
            "60 of 60 ratings are of the last moment, 0",
        ),
    ],
)
def test_a_time_split_with_an_empty_part_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(drawn())


# -- what is cold ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_cold_report_by_brute_force(seed):
    train, test = random_split(drawn(seed=seed), 0.6, seed=seed)
    users, items = set(train.users.tolist()), set(train.items.tolist())
    report = cold_report(train, test)
    assert report.n_test == len(test)
    assert report.cold_users == len({u for u, _ in pairs(test)} - users)
    assert report.cold_items == len({i for _, i in pairs(test)} - items)
    assert report.with_cold_user == sum(u not in users for u, _ in pairs(test))
    assert report.with_cold_item == sum(i not in items for _, i in pairs(test))
    assert report.with_either == sum(u not in users or i not in items for u, i in pairs(test))
    assert report.with_either > 0


def test_cold_report_in_words():
    train = Ratings([0, 1], [0, 1], [3, 3], 3, 3, (1, 5, 1))
    test = Ratings([0, 2, 2, 1], [1, 0, 2, 0], [3, 3, 3, 3], 3, 3, (1, 5, 1))
    assert str(cold_report(train, test)).splitlines() == [
        "4 test ratings, 2 (50.0%) with a cold user or item",
        "cold users: 1 with 2 ratings (50.0%)",
        "cold items: 1 with 1 ratings (25.0%)",
    ]


def test_cold_report_refuses_parts_of_different_wholes():
    with pytest.raises(ValueError, match="not parts of the same ratings"):
        cold_report(drawn(), drawn(n_users=13))


@pytest.mark.parametrize("side", ["user_ids", "item_ids"])
def test_cold_report_refuses_parts_with_other_labels(side):
    train, test = random_split(drawn())
    renamed = dataclasses.replace(test, **{side: getattr(test, side)[::-1]})
    with pytest.raises(ValueError, match=rf"not parts of the same ratings: {side}\[0\] is"):
        cold_report(train, renamed)
