"""`Factors`: predictions, comparison, and files."""

import itertools
import pickle

import numpy as np
import pytest
import torch

from mfhelpers import Factors, Ratings
from mfhelpers.data import linear
from mfhelpers.models import factors


def drawn(n_users=7, n_items=5, k=3, seed=0, dtype=np.float64) -> Factors:
    rng = np.random.default_rng(seed)
    shapes = [(n_users,), (n_items,), (n_users, k), (n_items, k)]
    return Factors(3.5, *(rng.normal(size=shape).astype(dtype) for shape in shapes))


def dense(model: Factors) -> np.ndarray:
    """All predictions, by the formula, in float64."""
    products = model.user_factors.astype(np.float64) @ model.item_factors.T.astype(np.float64)
    biases = model.user_biases[:, None].astype(np.float64) + model.item_biases.astype(np.float64)
    return model.mean + biases + products


def changed(model: Factors, **fields) -> Factors:
    return Factors(**{**{field: getattr(model, field) for field in factors.ARRAYS}, **fields})


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(item_factors=np.zeros((5, 2))), r"item_factors has shape \(5, 2\), expected \(5, 3\)"),
        (dict(user_factors=np.zeros((6, 3))), r"user_factors has shape \(6, 3\), expected \(7, 3\)"),
        (dict(user_factors=np.zeros(7)), "must be matrices"),
        (dict(user_biases=np.zeros((7, 1))), r"user_biases has shape \(7, 1\), expected one number a row"),
        (dict(item_biases=np.zeros(5, int)), "item_biases has type int64, expected float32 or float64"),
        (dict(user_factors=np.full((7, 3), np.nan)), "user_factors holds 21 values that are not finite"),
        (dict(item_biases=np.array([0, 0, np.inf, 0, 0])), "item_biases holds 1 values that are not finite"),
        (dict(mean=np.nan), "mean holds 1 values that are not finite"),
    ],
)
def test_bad_arrays_are_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        changed(drawn(), **fields)


def test_arrays_are_read_only_copies():
    source = np.zeros(7)
    model = changed(drawn(), user_biases=source)
    source[:] = 9
    assert not model.user_biases.any()
    with pytest.raises(ValueError, match="read-only"):
        model.user_factors[0, 0] = 1


# -- prediction ------------------------------------------------------------------------------------


def test_tensors_are_taken_like_arrays():
    source = torch.ones(7)
    model = changed(drawn(), user_biases=source)  # NumPy's warning about copies would fail here
    source.fill_(9)
    assert model.user_biases.tolist() == [1] * 7


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_predict_is_the_dense_formula(k, dtype, tolerance):
    model = drawn(k=k, dtype=dtype)
    users, items = np.divmod(np.random.default_rng(1).permutation(35), 5)
    predicted = model.predict(users, items)
    assert predicted.dtype == dtype
    np.testing.assert_allclose(predicted, dense(model)[users, items], rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize(
    ("users", "items"),
    [(2, 3), (2, np.arange(5)), (np.arange(7)[:, None], np.arange(5)), ([[0, 1], [2, 3]], [[4, 3], [2, 1]])],
    ids=["scalars", "one user", "all pairs", "2-d"],
)
def test_predict_broadcasts_as_indexing_does(users, items):
    predicted = drawn().predict(users, items)
    wanted = dense(drawn())[np.asarray(users), np.asarray(items)]
    assert predicted.shape == wanted.shape
    np.testing.assert_allclose(predicted, wanted)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 16, 35])
def test_chunks_leave_no_seam(monkeypatch, n):
    users, items = np.divmod(np.arange(35), 5)
    whole = drawn().predict(users, items)
    monkeypatch.setattr(linear, "CHUNK", 8)
    np.testing.assert_array_equal(drawn().predict(users[:n], items[:n]), whole[:n])


def test_clip_limits_predictions_and_nothing_else():
    users, items = np.divmod(np.arange(35), 5)
    free, clipped = drawn().predict(users, items), drawn().predict(users, items, limits=(3, 4, 1))
    assert free.min() < 3 < 4 < free.max()
    np.testing.assert_array_equal(clipped, np.clip(free, 3, 4))


@pytest.mark.parametrize("method", ["predict", "cold"])
@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([0, 7], [0, 0], "user 7 is outside 0 … 6"),
        ([-1, 0], [0, 0], "user -1 is outside 0 … 6"),
        (0, 5, "item 5 is outside 0 … 4"),
        ([0.0], [0], "user numbers have type float64, expected integers"),
    ],
)
def test_numbers_out_of_range_are_refused(method, users, items, message):
    with pytest.raises(ValueError, match=message):
        getattr(drawn(), method)(users, items)


def test_recommend_shows_the_best_unseen_first():
    row = dense(drawn())[4]
    seen = Ratings([4, 4, 3], [0, 2, 1], [3, 3, 3], 7, 5, (1, 5, 1))
    wanted = sorted([1, 3, 4], key=lambda i: -row[i])  # item 1 too: another user's
    items, predictions = drawn().recommend(4, exclude=seen)
    assert items.tolist() == wanted
    assert drawn().recommend(4, n=2, exclude=seen)[0].tolist() == wanted[:2]
    np.testing.assert_allclose(predictions, row[items])


@pytest.mark.parametrize(("exclude", "left"), [(None, 5), ([], 5), ([0, 2], 3), (np.arange(5), 0)])
def test_recommend_gives_fewer_where_fewer_are_left(exclude, left):
    items, predictions = drawn().recommend(1, n=10, exclude=exclude)
    assert len(items) == len(predictions) == left
    assert (np.diff(predictions) <= 0).all()


def test_recommend_orders_equal_predictions_by_item():
    biases = np.random.default_rng(0).integers(0, 3, 100).astype(float)
    ties = Factors(3, np.zeros(2), biases, np.zeros((2, 0)), np.zeros((100, 0)))
    assert ties.recommend(0, n=100)[0].tolist() == sorted(range(100), key=lambda item: -biases[item])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((7,), "user 7 is outside"), ((0, 0), "n=0: it must be at least 1"), ((0, 3, [5]), "item 5 is outside"),
     ((0, 3, np.arange(5) < 2), "type bool, expected integers: np.flatnonzero"), ((0, 3, [True, False]), "type bool"),
     ((0, 3, [1.7]), "type float64, expected integers")],
)  # fmt: skip
def test_recommend_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        drawn().recommend(*arguments)


def test_similar_items_by_cosine_without_itself_and_the_unknown():
    q = np.array([[1.0, 0], [2, 2], [0, 0], [-1, 0], [3, 0.1]])
    model = changed(drawn(k=2), item_factors=q)
    items, cosines = model.similar_items(0)
    assert items.tolist() == [4, 1, 3]
    np.testing.assert_allclose(cosines, [3 / np.hypot(3, 0.1), np.sqrt(0.5), -1])
    assert model.similar_items(0, n=1)[0].tolist() == [4]
    with pytest.raises(ValueError, match="item 2 has no factors"):
        model.similar_items(2)
    with pytest.raises(ValueError, match="item 5 is outside"):
        model.similar_items(5)


# -- comparison ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "k", "other_k"), [((7, 5), 3, 3), ((40, 30), 4, 2), ((6, 4), 0, 3), ((2, 1), 3, 3), ((30, 2), 5, 5)]
)
def test_rms_difference_is_that_of_all_pairs(sizes, k, other_k):
    one, other = drawn(*sizes, k), drawn(*sizes, other_k, seed=1)
    wanted = np.sqrt(np.mean((dense(one) - dense(other)) ** 2))
    assert one.rms_difference(other) == pytest.approx(wanted, rel=1e-12)
    assert other.rms_difference(one) == pytest.approx(wanted, rel=1e-12)


def test_rms_difference_ignores_a_change_of_basis():
    model = drawn(40, 30, 4)
    a = np.random.default_rng(2).normal(size=(4, 4))
    turned = changed(model, user_factors=model.user_factors @ a, item_factors=model.item_factors @ np.linalg.inv(a).T)
    assert np.abs(turned.user_factors - model.user_factors).max() > 0.1
    assert model.rms_difference(turned) < 1e-12


def test_rms_difference_ignores_where_the_level_is_kept():
    model = drawn()
    moved = changed(model, mean=model.mean - 1.5, item_biases=model.item_biases + 1.5)
    assert model.rms_difference(moved) < 1e-12


def test_rms_difference_sees_what_float32_would_round_away():
    model = drawn(dtype=np.float32)
    assert model.rms_difference(changed(model, mean=model.mean + 1e-8)) == pytest.approx(1e-8, rel=1e-4)


def test_rms_difference_refuses_another_size():
    with pytest.raises(ValueError, match="different sizes"):
        drawn().rms_difference(drawn(n_items=6))


def test_cold_is_a_row_of_zeros_on_a_side_that_was_learned():
    p, q = np.zeros((3, 2)), np.zeros((4, 2))
    p[0], q[[1, 2]] = 1, 1
    model = Factors(3, np.array([0, 0.5, 0]), np.array([0.1, 0, 0, 0]), p, q)  # unknown: user 2 and item 3
    for user, item in itertools.product(range(3), range(4)):
        assert model.cold(user, item) == (user == 2 or item == 3)
    assert model.cold([0, 2], [0, 0]).tolist() == [False, True]


def test_a_side_that_is_zero_altogether_makes_nothing_cold():
    one, none = (np.array([0.1, 0]), np.zeros((2, 0))), (np.zeros(3), np.zeros((3, 0)))
    items_alone, users_alone = (
        Factors(3, none[0], one[0], none[1], one[1]),
        Factors(3, one[0], none[0], one[1], none[1]),
    )
    assert items_alone.cold(np.arange(3)[:, None], np.arange(2)).tolist() == [[False, True]] * 3
    assert users_alone.cold(np.arange(2)[:, None], np.arange(3)).tolist() == [[False] * 3, [True] * 3]


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [0, 3])
def test_save_and_load_round_trip(tmp_path, dtype, k):
    model = changed(drawn(k=k, dtype=dtype), mean=1 / 3)
    loaded = Factors.load(model.save(tmp_path / "new folder" / "model.npz"))
    for field in factors.ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, field), getattr(model, field))
        assert np.asarray(getattr(loaded, field)).dtype == np.asarray(getattr(model, field)).dtype


def test_save_writes_to_the_very_name(tmp_path):
    assert drawn().save(str(tmp_path / "model")) == tmp_path / "model"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = drawn().save(tmp_path / "model.npz")

    def interrupted(file, **arrays):
        file.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        drawn(seed=1).save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert Factors.load(path).rms_difference(drawn()) < 1e-12


def arrays(**fields) -> dict:
    return {**{field: getattr(drawn(), field) for field in factors.ARRAYS}, **fields}


def without(field) -> dict:
    return {name: array for name, array in arrays().items() if name != field}


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write(b""),
        lambda file: file.write(b"user,item,rating\n1,2,3\n"),
        lambda file: pickle.dump(arrays(), file),
        lambda file: np.save(file, np.zeros(3)),
        lambda file: np.savez(file, **without("item_biases")),
        lambda file: np.savez(file, **arrays(user_factors=np.full((7, 3), np.nan))),
        lambda file: np.savez(file, **arrays(user_factors=np.zeros((6, 3)))),
        lambda file: np.savez(file, **arrays(mean=np.zeros(3))),
        lambda file: np.savez(file, **arrays(user_biases=np.array([object()], dtype=object))),
    ],
    ids=["empty", "text", "pickle", "npy", "missing", "nan", "misfit", "three means", "pickled array"],
)
def test_load_refuses_what_save_did_not_write(tmp_path, write):
    path = tmp_path / "model.npz"
    with open(path, "wb") as file:
        write(file)
    with pytest.raises(ValueError, match="model.npz does not hold Factors"):
        Factors.load(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_load_refuses_a_truncated_file(tmp_path, share):
    path = drawn(100, 100).save(tmp_path / "model.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="model.npz does not hold Factors"):
        Factors.load(path)


def test_load_refuses_a_flipped_byte(tmp_path):
    path = drawn(100, 100).save(tmp_path / "model.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not hold Factors"):
        Factors.load(path)


def test_load_says_that_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Factors.load(tmp_path / "nowhere.npz")


# -- what is kept beside the arrays ----------------------------------------------------------------


def test_lengths_that_are_kept_cannot_be_changed_and_do_not_travel():
    factors = Factors(0.0, np.zeros(2), np.array([0.0, 4.0]), np.ones((2, 1)), np.array([[0.0], [3.0]]))
    factors.recommend(0, 1)
    assert factors._item_lengths.tolist() == [0, 5]
    with pytest.raises(ValueError, match="read-only"):
        factors._item_lengths[0] = 1
    assert "_item_lengths" not in pickle.loads(pickle.dumps(factors)).__dict__


def test_arrays_that_nobody_can_change_are_shared_and_others_are_copied():
    factors = Factors(0.0, np.zeros(2), np.zeros(3), np.ones((2, 1)), np.ones((3, 1)))
    again = Factors(0.0, np.zeros(1), factors.item_biases, np.ones((1, 1)), factors.item_factors)
    assert again.item_factors is factors.item_factors
    table = np.ones((3, 1))
    view = table[:]
    view.flags.writeable = False
    mine = Factors(0.0, np.zeros(1), np.zeros(3), np.ones((1, 1)), view)
    table[:] = 7
    assert (mine.item_factors == 1).all()
