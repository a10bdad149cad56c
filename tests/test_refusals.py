"""What no algorithm takes, and what is refused before anything is written or trained."""

import io
import os
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

import mfhelpers as mf
from mfhelpers.data.arguments import require_memory
from mfhelpers.data.files import replacing

RATINGS, _ = mf.simulate_ratings(12, 10, 70, 2, min_per_user=3)
FACTORS = mf.als(RATINGS, 2, sweeps=1, progress=False)
TABLES = [
    [(0, 1, 3.0)], {"user": [0]}, pd.DataFrame({"user": [0], "item": [0], "rating": [3.0]}), RATINGS.to_csr(),
    torch.utils.data.DataLoader([1, 2]), np.ones((3, 3)), RATINGS.to_interactions(), None,
]  # fmt: skip
ALGORITHMS = {
    "fit": lambda table: mf.fit(mf.MatrixFactorization(12, 10), table),
    "global_mean": mf.global_mean, "item_means": mf.item_means, "average_biases": mf.average_biases,
    **{name: getattr(mf, name) for name in ("sgd", "als", "svdpp", "soft_impute", "hogwild", "residual_svd")},
    "evaluate": lambda table: mf.evaluate(FACTORS, table), "rmse": lambda table: mf.rmse(FACTORS, table),
    "objective": lambda table: mf.objective(FACTORS, table, 1), "fold_in": lambda table: FACTORS.fold_in(table, reg=1),
    "choose": lambda table: mf.choose(table, {"reg": [1]}, mf.als),
    "cross_validate": lambda table: mf.cross_validate({"als": lambda train, seed: mf.als(train)}, table),
}  # fmt: skip
OF_INTERACTIONS = {
    "forget_unseen": lambda table: mf.MatrixFactorization(12, 10).forget_unseen(table),
    "rank": lambda table: mf.rank(FACTORS, table, exclude=None), "PairLoss": mf.PairLoss,
    "fit, loss": lambda table: mf.fit(mf.MatrixFactorization(12, 10), table, loss=lambda *batch: 0),
    **{name: getattr(mf, name) for name in ("ials", "bpr", "ease", "most_popular")},
    "fold_in, alpha": lambda table: FACTORS.fold_in(table, reg=1, alpha=1),
}  # fmt: skip


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(table).__name__)
def test_what_is_no_ratings_is_refused_with_the_way_to_make_them(name, table):
    with pytest.raises(ValueError, match=f"is {type(table).__name__}: give Ratings; Ratings.from_frame .*from_arrays"):
        ALGORITHMS[name](table)


@pytest.mark.parametrize("name", OF_INTERACTIONS)
@pytest.mark.parametrize("table", TABLES[:6] + TABLES[7:], ids=lambda table: type(table).__name__)
def test_what_are_no_interactions_is_refused_with_the_way_to_make_them(name, table):
    with pytest.raises(
        ValueError, match=f"is {type(table).__name__}: give Ratings or Interactions; Ratings.from_frame"
    ):
        OF_INTERACTIONS[name](table)


@pytest.mark.parametrize("table", [*TABLES[1:5], TABLES[6], "abc", [[1, 2], [3]], np.eye(3) * 1j, [["a"]]])
def test_what_is_no_complete_matrix_is_refused(table):
    with pytest.raises(ValueError, match="has gaps: take residual_svd|matrix is .*: give an array of real numbers"):
        mf.complete_svd(table, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mf.sgd(RATINGS, 2, init_std=0), "init_std=0.*start above 0"),
        (lambda: mf.fit(mf.MatrixFactorization(12, 10, init_std=0), RATINGS), "init_std=0.1"),
        (lambda: mf.als(RATINGS, 10**9), r"n_factors=1,000,000,000 .* GB are free; take less"),
        (lambda: mf.als(RATINGS, 200_000, solver="exact"), "solver='exact' .* GB are free; take less"),
        (lambda: mf.MatrixFactorization(12, 10, 10**9), r"n_factors=1,?000,?000,?000.* GB are free; take less"),
        (lambda: mf.MatrixFactorization(12, 10, init_std=-1), "init_std=-1: it must be at least 0"),
        (lambda: mf.MatrixFactorization(12, 10, mean=float("nan")), "mean=nan: it must be finite"),
        (lambda: mf.MatrixFactorization(12, 10, dropout="x"), "dropout='x': the share"),
        (lambda: mf.MatrixFactorization(12, 10, seed=2**64), "seed=18446744073709551616: it must be at most"),
        (lambda: mf.als(RATINGS, biased=2), "biased=2: give True or False"),
        (lambda: mf.als(RATINGS, threads=10**9), "threads=1000000000: it must be at most 1,024"),
        (lambda: FACTORS.recommend([[1, 2]], 3), r"user has shape \(1, 2\): give one number, or a list"),
        (lambda: FACTORS.recommend(0, 3, {"a": 1}), "exclude is dict: give Ratings, or a list of item numbers"),
        (lambda: FACTORS.predict([0, 1], [1, 2, 3]), "make no pairs"),
        (lambda: FACTORS.predict(0, 1, limits=(5, 1)), r"limits=\(5, 1\): .* low not above high"),
        (lambda: FACTORS.predict(0, 1, limits=(float("nan"), 5)), "limits=.* low not above high"),
        (lambda: mf.Factors(1e300, *map(np.zeros, (1, 1, (1, 2), (1, 2)))), "mean reaches 1e[+]300, above 1e[+]18"),
        (lambda: mf.evaluate(None, RATINGS), "predictor is NoneType: give Factors"),
        (lambda: mf.evaluate(FACTORS, RATINGS, clip=(1, 5)), r"clip=\(1, 5\): give True or False"),
        (lambda: mf.objective(mf.MatrixFactorization(12, 10), RATINGS, 1), "give Factors .*to_factors"),
        (lambda: mf.als(RATINGS, log_dir=3), "log_dir=3: give a path"),
        (lambda: mf.als(RATINGS, reg=mf.Penalty(0.1, 1000)), "beyond float64 .*: take less"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("adam", "optimizer='adam': give a class or a function, such as torch.optim.Adam"),
        (torch.optim.LBFGS, "LBFGS asks for the loss again"),
        (lambda parameters, **_: torch.optim.LBFGS(parameters), "LBFGS asks for the loss again"),
        (lambda *_, **__: None, "optimizer made NoneType"),
        (torch.optim.SparseAdam, "SparseAdam takes sparse gradients alone: take Adam"),
    ],
)
def test_an_optimiser_that_cannot_train_is_refused(optimizer, message):
    with pytest.raises(ValueError, match=message):
        mf.fit(mf.MatrixFactorization(12, 10), RATINGS, optimizer=optimizer, progress=False)


@pytest.mark.parametrize("scope", [torch.no_grad, torch.inference_mode])
def test_fit_asks_for_gradients(scope):
    model = mf.MatrixFactorization(12, 10)
    with scope(), pytest.raises(ValueError, match="outside torch.no_grad"):
        mf.fit(model, RATINGS, progress=False)


def test_a_divergence_blames_large_values_half_precision_and_large_penalties():
    plays = mf.Ratings.from_arrays(RATINGS.users, RATINGS.items, 80 * RATINGS.values**3)
    with pytest.raises(mf.DivergenceError, match="values reach 10000: divide them by 2e[+]03, or .*log1p"):
        mf.sgd(plays, 2, engine="loop", lr=0.1, progress=False)
    half, model = mf.MatrixFactorization(12, 10, init_std=1).half(), mf.MatrixFactorization(12, 10)
    for each, reg, blamed in ((half, 0, "Half precision"), (model, 1e9, "take a smaller penalty")):
        with pytest.raises(mf.DivergenceError, match=blamed):
            mf.fit(each, RATINGS, optimizer=torch.optim.SGD, lr=500 if not reg else 0.1, reg=reg, progress=False)


def test_watch_sees_a_model_that_checks_numbers():
    def watch(model):
        with pytest.raises(ValueError, match="user numbers 12 … 12 exceed"):
            model(torch.tensor([12]), torch.tensor([0]))
        seen.append(model.check_ids)

    seen = []
    mf.fit(mf.MatrixFactorization(12, 10), RATINGS, epochs=2, watch=watch, progress=False)
    assert seen == [True, True]


def test_memory_is_asked_only_for_what_is_large(monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 0}))
    require_memory("little", 1 << 25)
    with pytest.raises(ValueError, match=r"much: that takes 0\.3 GB, and 0\.0 GB are free; take less"):
        require_memory("much", (1 << 25) + 1)


# -- what is cold ------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", [mf.item_means, lambda ratings: mf.als(ratings, 2, sweeps=1, progress=False)])
def test_an_item_whose_mean_is_that_of_all_is_not_cold(train, tmp_path):
    ratings = mf.Ratings.from_arrays([0, 0, 1, 1, 2], [0, 1, 0, 1, 2], [2.0, 4, 2, 4, 3], item_ids=range(4))
    factors = train(ratings)
    again = mf.Factors.load(factors.save(tmp_path / "factors.npz"))
    for each in (factors, again):
        assert each.cold([0, 0, 0, 0], [0, 1, 2, 3]).tolist() == [False, False, False, True]


# -- files -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_device_is_not_replaced_and_a_link_stays(tmp_path):
    with pytest.raises(OSError, match="is a device or a pipe: name a file"):
        FACTORS.save("/dev/full")
    link, place = tmp_path / "link.npz", tmp_path / "place.npz"
    link.symlink_to(place)
    FACTORS.save(link)
    assert link.is_symlink()
    assert mf.Factors.load(place).rms_difference(FACTORS) < 1e-12
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a device or a pipe"), replacing(tmp_path / "pipe"):
        pass


def damaged(whole):
    """Flipped bits, cuts, other compressions and encrypted members, as disks and mail programs make them."""
    for place in np.linspace(0, 8 * len(whole) - 1, 150).astype(int).tolist():
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        yield bytes(flipped)
    for field, value in ((8, 99), (6, 1), (18, 7), (22, 1)):  # method, encrypted, sizes: in every header
        for start in (b"PK\x03\x04", b"PK\x01\x02"):
            changed = bytearray(whole)
            at = whole.find(start)
            while at >= 0:
                changed[at + field + 2 * (start[2] == 1)] = value
                at = whole.find(start, at + 4)
            yield bytes(changed)
    for header in (whole.find(b"<f8", at) for at in range(0, len(whole), 200)):  # half of an array, not read to its end
        yield whole[:header] + b"<f4" + whole[header + 3 :]
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as file:
        for name in ("mean", "user_biases", "item_biases", "user_factors", "item_factors"):
            file.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00\x04\x00{[(\n")
    yield kept.getvalue()


def test_damaged_factors_are_a_data_error_or_what_was_saved(tmp_path):
    draw = np.random.default_rng(0).normal
    factors = mf.Factors(3.5, draw(size=2000), draw(size=900), draw(size=(2000, 2)), draw(size=(900, 2)))
    whole, path, refused = factors.save(tmp_path / "whole.npz").read_bytes(), tmp_path / "damaged.npz", 0
    for content in damaged(whole):
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert mf.Factors.load(path).rms_difference(factors) < 1e-12
            except mf.DataError:
                refused += 1
    assert refused > 100
