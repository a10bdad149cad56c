"""`als` and `fold_in`: against ridge regression row by row, the SVD, gradient descent and themselves."""

import numpy as np
import pytest
import torch
from alternating import BIASED, EXACT, RATINGS, SOLVERS, TRAIN

from mfhelpers import (
    DivergenceError,
    Factors,
    History,
    Penalty,
    Ratings,
    als,
    average_biases,
    objective,
    random_split,
    rmse,
    sgd,
    simulate_ratings,
)
from mfhelpers.algorithms import als as least_squares, loop
from mfhelpers.check import numerical_gradient, same

PENALTIES = pytest.mark.parametrize("penalty", [Penalty(3, 0), Penalty(0.8, 0.5, 0.1), Penalty(0.1, 1)], ids=str)


def changed(factors, **tables) -> Factors:
    names = ("mean", "user_biases", "item_biases", "user_factors", "item_factors")
    return Factors(**{name: getattr(factors, name) for name in names} | tables)


def ridge(train, factors, penalty, biased) -> tuple[np.ndarray, np.ndarray]:
    """Every user's own regression, written out."""
    factors_u, biases_u = np.zeros_like(factors.user_factors), np.zeros_like(factors.user_biases)
    for u in np.unique(train.users):
        mine = train[train.users == u]
        features = factors.item_factors[mine.items]
        price = np.full(factors.n_factors, penalty.reg)
        if biased:
            features, price = np.hstack([features, np.ones((len(mine), 1))]), np.append(price, penalty.biases)
        target = mine.values.astype(np.float64) - factors.mean - factors.item_biases[mine.items]
        system = features.T @ features + np.diag(price * len(mine) ** penalty.power)
        solution = np.linalg.inv(system) @ features.T @ target
        factors_u[u] = solution[: factors.n_factors]
        biases_u[u] = solution[-1] if biased else 0
    return factors_u, biases_u


def turned(train) -> Ratings:
    return Ratings(train.items, train.users, train.values, train.n_items, train.n_users, train.scale)


def other_way(factors) -> Factors:
    return Factors(factors.mean, factors.item_biases, factors.user_biases, factors.item_factors, factors.user_factors)


def complete(n_users=12, n_items=9, seed=0) -> Ratings:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (n_users, 3)) @ rng.normal(0, 1, (3, n_items)) + rng.normal(0, 0.3, (n_users, n_items))
    users, items = np.indices(values.shape)
    return Ratings(users.ravel(), items.ravel(), values.ravel().astype(np.float32), n_users, n_items, (-20, 20, 0))


# -- the solution ----------------------------------------------------------------------------------


@PENALTIES
@BIASED
@pytest.mark.parametrize("k", [0, 1, 3])
def test_a_sweep_is_a_ridge_regression_for_each_user_and_then_for_each_item(penalty, biased, k):
    if not k and not biased:
        pytest.skip("there would be nothing to solve for")
    rng = np.random.default_rng(0)
    tables = [rng.normal(0, 0.5, (n, k)) for n in (TRAIN.n_users, TRAIN.n_items)]
    start = Factors(3.5, np.zeros(TRAIN.n_users), np.zeros(TRAIN.n_items), *tables)
    begun = changed(start, item_factors=start.item_factors * (TRAIN.item_counts > 0)[:, None])
    users, biases = ridge(TRAIN, begun, penalty, biased)
    middle = changed(begun, user_factors=users, user_biases=biases)
    items, biases = ridge(turned(TRAIN), other_way(middle), penalty, biased)
    expected = changed(middle, item_factors=items, item_biases=biases)
    got = als(TRAIN, k, reg=penalty, biased=biased, sweeps=1, start=start, solver="exact", **EXACT)
    for name in ("user_factors", "user_biases", "item_factors", "item_biases"):
        same(getattr(got, name), getattr(expected, name), 1e-10, name)


@PENALTIES
@BIASED
def test_after_a_solution_the_gradient_of_that_side_is_zero(penalty, biased):
    got = als(TRAIN, 3, reg=penalty, biased=biased, sweeps=3, **EXACT)
    for name in ("item_factors", "item_biases") if biased else ("item_factors",):
        slope = numerical_gradient(
            lambda table: objective(changed(got, **{name: table}), TRAIN, penalty),  # noqa: B023
            getattr(got, name),
            1e-4,
        )
        assert np.abs(slope).max() < 1e-5, name


@SOLVERS
@PENALTIES
@BIASED
def test_the_objective_never_rises(solver, penalty, biased):
    values = []
    als(
        TRAIN, 4, reg=penalty, biased=biased, sweeps=30, solver=solver, **EXACT,
        watch=lambda factors: values.append(objective(factors, TRAIN, penalty)),
    )  # fmt: skip
    assert len(values) == 30
    assert all(after <= before + 1e-9 * before for before, after in zip(values[:-1], values[1:], strict=True))
    assert values[-1] < values[0]


@PENALTIES
@BIASED
def test_conjugate_gradients_with_steps_enough_are_exact(penalty, biased):
    exact, steps = (
        als(TRAIN, 4, reg=penalty, biased=biased, sweeps=3, solver=solver, cg_steps=30, **EXACT)
        for solver in ("exact", "cg")
    )
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        same(getattr(steps, name), getattr(exact, name), 1e-8, name)


def test_three_steps_a_sweep_end_where_exact_solutions_end():
    exact, steps = (als(TRAIN, 4, sweeps=300, solver=solver, **EXACT) for solver in ("exact", "cg"))
    assert exact.rms_difference(steps) < 1e-3


@BIASED
@pytest.mark.parametrize("k", [7, 8, 15, 16, 23])
def test_conjugate_gradients_take_any_number_of_factors(k, biased):
    """Tables are padded to eights; with biases, one column of ones more may fill the next eight."""
    short, long = ({"reg": 4, "biased": biased, "sweeps": sweeps, **EXACT} for sweeps in (3, 60))
    exact, steps = (als(TRAIN, k, solver=solver, cg_steps=60, **short) for solver in ("exact", "cg"))
    assert steps.user_factors.shape == (TRAIN.n_users, k)
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        same(getattr(steps, name), getattr(exact, name), 1e-8, name)
    exact, few = (als(TRAIN, k, solver=solver, **long) for solver in ("exact", "cg"))
    assert exact.rms_difference(few) < 1e-4
    least = objective(exact, TRAIN, Penalty(4, 0.5))
    assert objective(few, TRAIN, Penalty(4, 0.5)) == pytest.approx(least, rel=1e-6)


@SOLVERS
def test_on_a_complete_matrix_it_is_the_soft_thresholded_svd(solver):
    full, k, reg = complete(), 3, 0.8
    rest = full.values.astype(np.float64) - full.values.mean(dtype=np.float64)
    left, sizes, right = np.linalg.svd(rest.reshape(full.n_users, full.n_items), full_matrices=False)
    expected = (left[:, :k] * np.maximum(sizes[:k] - reg, 0)) @ right[:k]
    got = als(full, k, reg=Penalty(reg, 0), biased=False, sweeps=3000, solver=solver, init_std=1.0, **EXACT)
    same(got.user_factors @ got.item_factors.T, expected, 1e-10)
    # of all factors with these products, the penalty chooses the balanced ones
    assert np.linalg.norm(got.user_factors) == pytest.approx(np.linalg.norm(got.item_factors), rel=1e-6)


def test_a_tiny_price_on_a_complete_matrix_is_the_truncated_svd():
    full, k = complete(), 3
    rest = full.values.astype(np.float64) - full.values.mean(dtype=np.float64)
    left, sizes, right = np.linalg.svd(rest.reshape(full.n_users, full.n_items), full_matrices=False)
    got = als(full, k, reg=Penalty(1e-9, 0), biased=False, sweeps=500, **EXACT)
    same(got.user_factors @ got.item_factors.T, (left[:, :k] * sizes[:k]) @ right[:k], 1e-6)


def test_without_a_price_a_complete_matrix_has_a_solution_too():
    full = complete()
    got = als(full, 2, reg=0, biased=False, sweeps=200, **EXACT)
    sizes = np.linalg.svd((full.values - got.mean).reshape(full.n_users, -1), compute_uv=False)
    assert objective(got, full, 0) == pytest.approx((sizes[2:] ** 2).sum(), rel=1e-6)


def test_gradient_descent_ends_in_the_same_valley():
    penalty = Penalty(0.2, 1)
    solved = als(TRAIN, 3, reg=penalty, sweeps=200, **EXACT)
    far = sgd(TRAIN, 3, epochs=300, lr=0.02, reg=penalty, engine="loop", progress=False)
    settled = sgd(TRAIN, 3, epochs=100, lr=0.002, reg=penalty, engine="loop", start=far, progress=False)
    solved, settled = (objective(factors, TRAIN, penalty) for factors in (solved, settled))
    assert settled == pytest.approx(solved, rel=5e-3)


@pytest.mark.parametrize(("solver", "k"), [("exact", 5), ("cg", 5), ("auto", 20)])
def test_float32_is_float64_to_three_digits(solver, k):
    short, long = (als(TRAIN, k, solver=solver, dtype=dtype, progress=False) for dtype in ("float32", "float64"))
    assert (short.user_factors.dtype, long.user_factors.dtype) == (np.float32, np.float64)
    assert objective(short, TRAIN, Penalty(1.4, 0.5)) == pytest.approx(
        objective(long, TRAIN, Penalty(1.4, 0.5)), rel=1e-3
    )


@BIASED
def test_products_in_pieces_are_the_same(biased, monkeypatch):
    whole = als(TRAIN, 4, biased=biased, solver="exact", **EXACT)
    monkeypatch.setattr(least_squares, "MOST_AT_ONCE", 200)
    monkeypatch.setattr(least_squares, "IN_CACHE", 200)
    pieces = als(TRAIN, 4, biased=biased, solver="exact", **EXACT)
    assert whole.rms_difference(pieces) < 1e-10


def test_defaults_beat_averages():
    known, held_out = random_split(simulate_ratings(300, 400, 20_000)[0])
    assert rmse(als(known, progress=False), held_out) < rmse(average_biases(known, damping=5), held_out)


# -- who has no rating, where it starts ------------------------------------------------------------


@SOLVERS
@BIASED
@pytest.mark.parametrize("penalty", [Penalty(1), Penalty(0.5, 0)], ids=str)
def test_rows_without_a_rating_are_zero_and_cold(solver, biased, penalty):
    start = als(RATINGS, 2, biased=biased, progress=False)  # knows them all
    got = als(TRAIN, 2, reg=penalty, biased=biased, solver=solver, start=start if biased else None, progress=False)
    assert not got.user_factors[:3].any()
    assert not got.item_factors[:2].any()
    assert got.cold([0, 2, 5], [5, 5, 1]).all()
    assert not got.cold([5], [5]).any()


@SOLVERS
def test_a_start_goes_on_where_it_stopped(solver):
    whole = als(TRAIN, 3, sweeps=6, solver=solver, **EXACT)
    half = als(TRAIN, 3, sweeps=2, solver=solver, **EXACT)
    rest = als(TRAIN, 3, sweeps=4, solver=solver, start=half, **EXACT)
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        same(getattr(rest, name), getattr(whole, name), 1e-10, name)


def test_without_biases_those_of_the_start_stay_and_count():
    biases = average_biases(TRAIN, damping=5)
    start = changed(
        biases,
        user_factors=np.zeros((TRAIN.n_users, 2)),
        item_factors=np.random.default_rng(0).normal(0, 0.1, (TRAIN.n_items, 2)),
    )
    got = als(TRAIN, 2, biased=False, start=start, **EXACT)
    assert np.array_equal(got.user_biases, biases.user_biases)
    assert objective(got, TRAIN, 0) < objective(biases, TRAIN, 0)


def test_a_seed_reproduces_and_another_differs():
    one, again, other = (als(TRAIN, 3, seed=seed, sweeps=2, progress=False) for seed in (1, 1, 2))
    assert np.array_equal(one.item_factors, again.item_factors)
    assert not np.array_equal(one.item_factors, other.item_factors)


# -- history, early stopping, interruption ---------------------------------------------------------


def test_a_history_is_filled():
    known, held_out = RATINGS[:1200], RATINGS[1200:]
    history = History()
    got = als(known, 3, sweeps=4, valid=held_out, history=history, progress=False)
    assert history.epochs == 4
    assert history.train_rmse[-1] == pytest.approx(rmse(got, known), abs=1e-5)
    assert history.valid_rmse[-1] == pytest.approx(rmse(got, held_out))
    assert (history.n_train, history.device, history.stopped) == (1200, "cpu", "finished")
    assert all(a < b for a, b in zip(history.seconds[:-1], history.seconds[1:], strict=True))
    assert "4 epochs" in repr(history)


def test_validation_ratings_are_only_looked_at():
    known, held_out = RATINGS[:1200], RATINGS[1200:]
    blind, seeing = (als(known, 3, valid=valid, progress=False) for valid in (None, held_out))
    assert np.array_equal(blind.item_factors, seeing.item_factors)


def test_patience_stops_and_returns_the_best():
    known, held_out = RATINGS[:1200], RATINGS[1200:]
    history = History()
    got = als(known, 8, reg=0.01, sweeps=100, valid=held_out, patience=3, history=history, progress=False)
    assert history.stopped == "early"
    assert history.epochs == history.best_epoch + 3
    assert rmse(got, held_out) == pytest.approx(min(history.valid_rmse))


def test_an_interruption_returns_the_factors_so_far(capsys):
    seen = []

    def watch(factors):
        seen.append(factors)
        if len(seen) == 2:
            raise KeyboardInterrupt

    history = History()
    got = als(TRAIN, 3, watch=watch, history=history, progress=False)
    assert "interrupted in sweep 2" in capsys.readouterr().out
    assert np.array_equal(got.item_factors, seen[-1].item_factors)
    assert history.stopped == "interrupted"


# -- what is refused, what is reported -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_factors": -1}, "n_factors=-1"),
        ({"n_factors": 2.5}, "n_factors=2.5"),
        ({"sweeps": 0}, "sweeps=0"),
        ({"cg_steps": 0}, "cg_steps=0"),
        ({"seed": -1}, "seed=-1"),
        ({"reg": -1}, "reg=-1"),
        ({"reg": float("nan")}, "reg=nan"),
        ({"reg": "abc"}, "reg='abc'"),
        ({"watch": 1}, "watch=1: give a function"),
        ({"valid": 3}, "valid is int: give Ratings"),
        ({"threads": 0}, "threads=0"),
        ({"init_std": 0}, "saddle"),
        ({"reg": 1e39}, "beyond float32"),
        ({"n_factors": 20, "reg": 0}, "reg=0: .* fewer than 21 ratings"),
        ({"solver": "lu"}, "'lu'.*'exact' or 'cg'"),
        ({"dtype": "float16"}, "float16.*float32"),
        ({"device": "mars"}, "mars"),
        ({"n_factors": 0, "biased": False}, "nothing to solve"),
        ({"init_std": float("inf")}, "init_std"),
        ({"start": 3}, "give Factors"),
        ({"start": average_biases(TRAIN)}, "does not fit"),
        ({"patience": 2}, "patience=2"),
        ({"patience": 0, "valid": TRAIN}, "patience=0"),
        ({"history": 3}, "empty History"),
        ({"history": History([1.0])}, "empty History"),
        ({"valid": simulate_ratings(30, 40, 200)[0]}, "numbered|number"),
        ({"n_factors": 10, "reg": 0}, "reg=0: .* fewer than 11 ratings"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_solved(options, message, monkeypatch):
    monkeypatch.setattr(least_squares, "exact_half", lambda *_: pytest.fail("something was solved"))
    with pytest.raises(ValueError, match=message):
        als(TRAIN, **{"progress": False} | options)


@SOLVERS
def test_a_price_that_float32_cannot_carry_is_reported(solver):
    with pytest.raises(DivergenceError, match="float64"):
        als(TRAIN, 30, reg=Penalty(1e-12, 0.5), solver=solver, cg_steps=30, sweeps=200, progress=False)


def spoil(monkeypatch, factor, from_half):
    """From some half on, what the solver returns is wrong."""
    solve, halves = least_squares.exact_half, iter(range(1000))

    def spoiled(*size):
        half = solve(*size)
        return lambda *sides: half(*sides) * (factor if next(halves) >= from_half else 1)

    monkeypatch.setattr(least_squares, "exact_half", spoiled)


@pytest.mark.parametrize("factor", [5, np.nan])
@pytest.mark.parametrize(("from_half", "sweeps"), [(1, 1), (3, 2), (5, 3), (7, 15), (29, 15)])
@pytest.mark.parametrize("judged", [True, False])
def test_a_solution_that_makes_things_worse_is_reported(factor, from_half, sweeps, judged, monkeypatch):
    spoil(monkeypatch, factor, from_half)
    with pytest.raises((DivergenceError), match="by sweep .*float32"):
        als(TRAIN, 3, sweeps=sweeps, history=History() if judged else None, progress=False)


def test_what_an_interruption_leaves_is_looked_at_too(monkeypatch):
    spoil(monkeypatch, 5, from_half=11)
    monkeypatch.setattr(least_squares.Sides, "predictor", lambda self: None)
    calls = iter(range(100))
    kept = loop.time.perf_counter

    def clock():
        if next(calls) == 13:  # in the seventh sweep, two after the solver went wrong
            raise KeyboardInterrupt
        return kept()

    monkeypatch.setattr(loop.time, "perf_counter", clock)
    with pytest.raises(DivergenceError):
        als(TRAIN, 3, progress=False)


@SOLVERS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_fits_exactly_is_no_divergence(solver, dtype):
    rng = np.random.default_rng(0)
    users, items = map(np.ravel, np.indices((12, 9)))
    values = rng.uniform(1, 2, 12)[users] * rng.uniform(1, 2, 9)[items]  # less its mean, of rank two
    full = Ratings(users, items, values.astype(np.float32), 12, 9, (1, 5, 0))
    got = als(full, 2, reg=0, biased=False, sweeps=200, solver=solver, dtype=dtype, progress=False)
    assert rmse(got, full) < 1e-5


def test_more_steps_than_unknowns_do_no_harm():
    ratings, _ = simulate_ratings(300, 400, 20_000)
    values = [
        objective(als(ratings, 5, solver="cg", cg_steps=steps, progress=False), ratings, Penalty(1.4, 0.5))
        for steps in (12, 200)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_an_error_offers_float64_only_to_whom_it_may_help(monkeypatch):
    spoil(monkeypatch, 5, from_half=1)
    with pytest.raises(DivergenceError) as told:
        als(TRAIN, 3, sweeps=1, **EXACT)
    assert "dtype=" not in str(told.value)


def test_an_interrupted_judgement_leaves_no_gap(monkeypatch):
    known, held_out = RATINGS[:1200], RATINGS[1200:]
    calls = iter(range(100))

    def interrupted(*arguments):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return rmse(*arguments)

    monkeypatch.setattr(loop, "rmse", interrupted)
    history = History()
    als(known, 3, valid=held_out, history=history, progress=False)
    assert len(history.train_rmse) == len(history.valid_rmse) == len(history.seconds) == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@SOLVERS
def test_a_gpu_gives_what_the_processor_gives(solver):
    here, there = (als(TRAIN, 5, solver=solver, device=device, **EXACT) for device in ("cpu", "cuda"))
    assert here.rms_difference(there) < 1e-6


# -- new users -------------------------------------------------------------------------------------


@PENALTIES
@BIASED
def test_folding_in_is_the_ridge_regression_of_new_users(penalty, biased):
    factors = als(TRAIN, 3, reg=penalty, biased=biased, **EXACT)
    folded = factors.fold_in(TRAIN, reg=penalty, biased=biased)
    users, biases = ridge(TRAIN, factors, penalty, biased)
    same(folded.user_factors, users, 1e-10)
    same(folded.user_biases, biases, 1e-10)
    assert np.array_equal(folded.item_factors, factors.item_factors)


def test_whom_it_was_trained_on_are_found_again_at_rest():
    factors = als(TRAIN, 3, sweeps=1000, **EXACT)
    assert factors.fold_in(TRAIN, reg=Penalty(1.4, power=0.5)).rms_difference(factors) < 1e-6


def test_a_newcomer_gets_recommendations():
    factors = als(TRAIN, 3, progress=False)
    liked = Ratings([0, 0], [5, 9], [5, 4], 1, TRAIN.n_items, TRAIN.scale)
    newcomer = factors.fold_in(liked, reg=Penalty(1.4, power=0.5))
    assert (newcomer.n_users, newcomer.n_items) == (1, TRAIN.n_items)
    items, _ = newcomer.recommend(0, 3, exclude=liked)
    assert len(items) == 3
    assert rmse(newcomer, liked) < rmse(changed(newcomer, user_factors=np.zeros((1, 3)), user_biases=[0.0]), liked)


def test_a_newcomer_without_ratings_gets_zeros():
    factors = als(TRAIN, 3, progress=False)
    folded = factors.fold_in(Ratings([1], [5], [5], 3, TRAIN.n_items, TRAIN.scale), reg=1)
    assert not folded.user_factors[[0, 2]].any()
    assert folded.user_factors[1].any()


def test_folding_in_refuses_other_items_and_what_has_no_solution():
    factors = als(TRAIN, 3, progress=False)
    with pytest.raises(ValueError, match="items"):
        factors.fold_in(Ratings([0], [5], [5], 1, TRAIN.n_items + 1, TRAIN.scale), reg=1)
    rng = np.random.default_rng(0)
    for n in (1, 2, 3) * 10:
        few = Ratings(
            np.zeros(n, int), 2 + rng.permutation(70)[:n], rng.integers(1, 6, n), 1, TRAIN.n_items, TRAIN.scale
        )
        with pytest.raises(ValueError, match=f"user 0 has {n} ratings.*larger reg"):
            factors.fold_in(few, reg=0)
