"""`als`, `svdpp` and `fold_in`: against ridge regression row by row, the SVD, gradient descent and themselves."""

import numpy as np
import pytest
import torch

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
    svdpp,
)
from mfhelpers.algorithms import als as least_squares
from mfhelpers.check import numerical_gradient, same

RATINGS, _ = simulate_ratings(60, 80, 1500)
TRAIN = RATINGS[(RATINGS.users > 2) & (RATINGS.items > 1)]  # users 0 to 2 and items 0 and 1 have no training rating
SOLVERS = pytest.mark.parametrize("solver", ["exact", "cg"])
BIASED = pytest.mark.parametrize("biased", [True, False], ids=["biased", "without biases"])
PENALTIES = pytest.mark.parametrize("penalty", [Penalty(3, 0), Penalty(0.8, 0.5, 0.1), Penalty(0.1, 1)], ids=str)
EXACT = {"dtype": "float64", "progress": False}


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
    got = als(full, k, reg=reg, reg_exponent=0, biased=False, sweeps=3000, solver=solver, init_std=1.0, **EXACT)
    same(got.user_factors @ got.item_factors.T, expected, 1e-10)
    # of all factors with these products, the penalty chooses the balanced ones
    assert np.linalg.norm(got.user_factors) == pytest.approx(np.linalg.norm(got.item_factors), rel=1e-6)


def test_a_tiny_price_on_a_complete_matrix_is_the_truncated_svd():
    full, k = complete(), 3
    rest = full.values.astype(np.float64) - full.values.mean(dtype=np.float64)
    left, sizes, right = np.linalg.svd(rest.reshape(full.n_users, full.n_items), full_matrices=False)
    got = als(full, k, reg=1e-9, reg_exponent=0, biased=False, sweeps=500, **EXACT)
    same(got.user_factors @ got.item_factors.T, (left[:, :k] * sizes[:k]) @ right[:k], 1e-6)


def test_without_a_price_a_complete_matrix_has_a_solution_too():
    full = complete()
    got = als(full, 2, reg=0, biased=False, sweeps=200, **EXACT)
    sizes = np.linalg.svd((full.values - got.mean).reshape(full.n_users, -1), compute_uv=False)
    assert objective(got, full) == pytest.approx((sizes[2:] ** 2).sum(), rel=1e-6)


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
    assert objective(got, TRAIN) < objective(biases, TRAIN)


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
        ({"reg": Penalty(1), "reg_exponent": 1}, "leave out"),
        ({"reg_exponent": -1}, "reg_exponent=-1"),
        ({"reg_biases": -1}, "reg_biases=-1"),
        ({"init_std": 0}, "saddle"),
        ({"reg": 1e39}, "beyond float32"),
        ({"n_factors": 20, "reg": 0}, "reg=0: .* fewer than 21 ratings"),
        ({"solver": "lu"}, "'lu'.*'exact', 'cg'"),
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
        ({"reg": 0}, "reg=0: .* fewer than 11 ratings"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_solved(options, message, monkeypatch):
    monkeypatch.setattr(least_squares, "_exact", lambda *_: pytest.fail("something was solved"))
    with pytest.raises(ValueError, match=message):
        als(TRAIN, **{"progress": False} | options)


@SOLVERS
def test_a_price_that_float32_cannot_carry_is_reported(solver):
    with pytest.raises(DivergenceError, match="float64"):
        als(TRAIN, 30, reg=1e-12, solver=solver, cg_steps=30, sweeps=200, progress=False)


def spoil(monkeypatch, factor, from_half):
    """From some half on, what the solver returns is wrong."""
    solve, halves = least_squares._exact, iter(range(1000))

    def spoiled(*size):
        half = solve(*size)
        return lambda *sides: half(*sides) * (factor if next(halves) >= from_half else 1)

    monkeypatch.setattr(least_squares, "_exact", spoiled)


@pytest.mark.parametrize("factor", [5, np.nan])
@pytest.mark.parametrize(("from_half", "sweeps"), [(1, 1), (3, 2), (5, 3), (7, 15), (29, 15)])
@pytest.mark.parametrize("judged", [True, False])
def test_a_solution_that_makes_things_worse_is_reported(factor, from_half, sweeps, judged, monkeypatch):
    spoil(monkeypatch, factor, from_half)
    with pytest.raises((DivergenceError), match="by sweep .*float32"):
        als(TRAIN, 3, sweeps=sweeps, history=History() if judged else None, progress=False)


def test_what_an_interruption_leaves_is_looked_at_too(monkeypatch):
    spoil(monkeypatch, 5, from_half=11)
    monkeypatch.setattr(least_squares._Sides, "factors", lambda self: None)
    calls = iter(range(100))
    kept = least_squares.time.perf_counter

    def clock():
        if next(calls) == 13:  # in the seventh sweep, two after the solver went wrong
            raise KeyboardInterrupt
        return kept()

    monkeypatch.setattr(least_squares.time, "perf_counter", clock)
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

    monkeypatch.setattr(least_squares, "rmse", interrupted)
    history = History()
    als(known, 3, valid=held_out, history=history, progress=False)
    assert len(history.train_rmse) == len(history.valid_rmse) == len(history.seconds) == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@SOLVERS
def test_a_gpu_gives_what_the_processor_gives(solver):
    here, there = (als(TRAIN, 5, solver=solver, device=device, **EXACT) for device in ("cpu", "cuda"))
    assert here.rms_difference(there) < 1e-6


# -- SVD++ -----------------------------------------------------------------------------------------

SMALL, _ = simulate_ratings(30, 20, 200, min_per_user=3)
KNOWN = SMALL[(SMALL.users > 3) & (SMALL.items > 0)]  # users 0 to 3 have no training rating, item 0 neither
MORE = SMALL[SMALL.users > 1]  # users 2 and 3 have implicit feedback alone, users 0 and 1 nothing
FEEDBACK = pytest.mark.parametrize("implicit", [KNOWN, MORE], ids=["of the ratings", "of more pairs"])
LAMBDAS = pytest.mark.parametrize("penalty", [Penalty(1, 0), Penalty(0.8, 0.5, 0.3), Penalty(0.2, 1)], ids=str)
LONG = {"sweeps": 400, **EXACT}


def shares(implicit) -> np.ndarray:
    """X: |N(u)|^-½ at the pairs."""
    X = np.zeros((implicit.n_users, implicit.n_items))
    X[implicit.users, implicit.items] = 1
    return X / np.sqrt(np.maximum(X.sum(axis=1), 1))[:, None]


def best_table(factors, train, X, penalty, reg_implicit) -> np.ndarray:
    """Y, the ridge regression of the users' factors on X, written out."""
    prices = np.where(train.user_counts > 0, penalty.reg * train.user_counts.astype(float) ** penalty.power, 0)
    return np.linalg.solve(
        X.T @ (prices[:, None] * X) + reg_implicit * np.eye(train.n_items),
        X.T @ (prices[:, None] * factors.user_factors),
    )


def textbook(train, X, penalty, reg_implicit, mean, P, Q, bu, bi, Y) -> torch.Tensor:
    """Koren's objective in his own parameters, the user's factors being P + X Y."""
    users, items = torch.tensor(train.users).long(), torch.tensor(train.items).long()
    values, X = torch.tensor(train.values).double(), torch.from_numpy(X)
    dots = ((P + X @ Y)[users] * Q[items]).sum(dim=1)
    total = (values - mean - bu[users] - bi[items] - dots).square().sum() + reg_implicit * Y.square().sum()
    for table, biases, counts in ((P, bu, train.user_counts), (Q, bi, train.item_counts)):
        prices = np.where(counts > 0, np.maximum(counts, 1.0) ** penalty.power, 0)
        rows = penalty.reg * table.square().sum(dim=1) + penalty.biases * biases.square()
        total = total + torch.from_numpy(prices) @ rows
    return total


def parameters(factors, train, X, penalty, reg_implicit) -> list[torch.Tensor]:
    """P, Q, b_u, b_i and Y, to be differentiated; P is what X Y does not explain."""
    Y = best_table(factors, train, X, penalty, reg_implicit)
    tables = factors.user_factors - X @ Y, factors.item_factors, factors.user_biases, factors.item_biases, Y
    return [torch.tensor(table, dtype=torch.float64, requires_grad=True) for table in tables]


@FEEDBACK
@BIASED
@SOLVERS
@LAMBDAS
def test_no_step_of_svdpp_raises_its_objective(implicit, biased, solver, penalty):
    k, reg_implicit, X, values = 3, 2.0, shares(implicit), []
    start, device = least_squares.drawn(KNOWN, k, 0.5, 0), torch.device("cpu")
    sides = least_squares._ImplicitSides(KNOWN, start, penalty, biased, "float64", device, implicit, reg_implicit)
    exact = least_squares._exact(sides.x.shape[1], 30, device)
    solve = exact if solver == "exact" else least_squares._conjugate_gradients(3)

    def note():
        Y, XY = sides.table, torch.from_numpy(X) @ sides.table
        same(sides.users.prior[:, :k], XY, 1e-10, "where users are drawn to")
        P, bu = sides.x[:, :k] - XY, sides.x[:, -1] if biased else torch.zeros(30, dtype=torch.float64)
        Q, bi = sides.y[:, :k], sides.y[:, -1] if biased else torch.zeros(20, dtype=torch.float64)
        values.append(textbook(KNOWN, X, penalty, reg_implicit, start.mean, P, Q, bu, bi, Y).item())

    def half(*arguments):
        note()  # before the users', and between the table's and the items'
        return solve(*arguments)

    for _ in range(25):
        sides.sweep(half)
    note()
    assert len(values) == 51
    assert all(after <= before * (1 + 1e-10) for before, after in zip(values[:-1], values[1:], strict=True))
    assert values[-1] < 0.95 * values[1]


@FEEDBACK
def test_the_objective_that_is_looked_at_is_that_of_svdpp(implicit, monkeypatch):
    """Users without a training rating are charged nothing, so what they are drawn to is no rise."""
    seen, look, X = [], least_squares._Sides.look, shares(implicit)
    penalty, reg_implicit = Penalty(0.8, 0.5), 0.5

    def looked(sides, *arguments, **options):
        look(sides, *arguments, **options)
        P, Q = sides.x[:, :3] - torch.from_numpy(X) @ sides.table, sides.y[:, :3]
        tables = P, Q, sides.x[:, 3], sides.y[:, 3], sides.table
        seen.append((sides.objective, textbook(KNOWN, X, penalty, reg_implicit, sides.start.mean, *tables).item()))

    monkeypatch.setattr(least_squares._Sides, "look", looked)
    options = {"implicit": implicit, "reg": penalty, "reg_implicit": reg_implicit, "sweeps": 10}
    svdpp(KNOWN, 3, history=History(), **options, **EXACT)
    assert len(seen) == 11
    for got, expected in seen[1:]:
        assert got == pytest.approx(expected, rel=1e-10)


def test_many_users_with_implicit_feedback_alone_are_no_divergence():
    everybody, _ = simulate_ratings(1000, 60, 15_000, min_per_user=10)
    few = everybody[everybody.users < 5]
    svdpp(few, 8, implicit=everybody, reg_implicit=0.1, history=History(), progress=False)


@FEEDBACK
@BIASED
@SOLVERS
@LAMBDAS
def test_where_svdpp_ends_the_textbook_gradient_is_zero(implicit, biased, solver, penalty):
    X, reg_implicit = shares(implicit), 2.0
    got = svdpp(
        KNOWN, 3, implicit=implicit, reg=penalty, reg_implicit=reg_implicit, biased=biased, solver=solver, **LONG
    )
    tables = parameters(got, KNOWN, X, penalty, reg_implicit)
    assert tables[4].abs().max() > 0.01  # Y takes part
    assert not torch.isclose(tables[0], torch.tensor(got.user_factors)).all()
    slopes = torch.autograd.grad(textbook(KNOWN, X, penalty, reg_implicit, got.mean, *tables), tables)
    for name, slope in zip(("P", "Q", "b_u", "b_i", "Y"), slopes, strict=True):
        if biased or not name.startswith("b"):
            assert slope.abs().max() < 1e-5, name


@BIASED
def test_gradient_descent_on_the_textbook_objective_ends_there_too(biased):
    penalty, X, reg_implicit = Penalty(1.6, 0.5), shares(MORE), 2.0
    options = {"implicit": MORE, "reg": penalty, "reg_implicit": reg_implicit, "biased": biased}
    got = svdpp(KNOWN, 3, **options, **LONG)
    least = textbook(KNOWN, X, penalty, reg_implicit, got.mean, *parameters(got, KNOWN, X, penalty, reg_implicit))
    begun = svdpp(KNOWN, 3, sweeps=1, **options, **EXACT)
    tables = parameters(begun, KNOWN, X, penalty, reg_implicit)
    free = tables if biased else [tables[0], tables[1], tables[4]]
    optimiser = torch.optim.LBFGS(free, max_iter=600, tolerance_grad=1e-9, tolerance_change=1e-13, history_size=20,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def loss():
        optimiser.zero_grad()
        value = textbook(KNOWN, X, penalty, reg_implicit, got.mean, *tables)
        value.backward()
        return value

    before = loss().item()
    optimiser.step(loss)
    assert loss().item() == pytest.approx(least.item(), rel=1e-5)
    assert before > 1.01 * least.item()
    P, Q, bu, bi, Y = (table.detach().numpy() for table in tables)
    found = Factors(got.mean, bu, bi, P + X @ Y, Q)
    assert np.abs(found.predict(KNOWN.users, KNOWN.items) - got.predict(KNOWN.users, KNOWN.items)).max() < 1e-2


@BIASED
@SOLVERS
def test_implicit_factors_that_cost_too_much_leave_least_squares(biased, solver):
    options = {"reg": Penalty(0.8, 0.5, 0.3), "biased": biased, "solver": solver, **EXACT}
    plain, dear = als(KNOWN, 3, **options), svdpp(KNOWN, 3, implicit=MORE, reg_implicit=1e12, **options)
    cheap = svdpp(KNOWN, 3, implicit=MORE, reg_implicit=1, **options)
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        same(getattr(dear, name), getattr(plain, name), 1e-8, name)
    assert cheap.rms_difference(plain) > 1e-3


def test_the_ratings_themselves_are_the_implicit_feedback_unless_told():
    silent, told, other = (
        svdpp(KNOWN, 3, sweeps=5, reg_implicit=2, **more, **EXACT)
        for more in ({}, {"implicit": KNOWN}, {"implicit": MORE})
    )
    assert np.array_equal(silent.user_factors, told.user_factors)
    assert np.array_equal(silent.item_factors, told.item_factors)
    assert silent.rms_difference(other) > 1e-4


def test_values_of_implicit_feedback_do_not_matter():
    blank = Ratings(MORE.users, MORE.items, np.full(len(MORE), 1.0), MORE.n_users, MORE.n_items, MORE.scale,
                    user_ids=MORE.user_ids, item_ids=MORE.item_ids)  # fmt: skip
    one, other = (svdpp(KNOWN, 3, implicit=implicit, **EXACT) for implicit in (MORE, blank))
    assert np.array_equal(one.user_factors, other.user_factors)


def test_defaults_of_svdpp():
    silent = svdpp(KNOWN, progress=False)
    told = als(KNOWN, 20, reg=1.6, implicit=KNOWN, reg_implicit=60.0, progress=False)
    assert silent.n_factors == 20
    assert np.array_equal(silent.user_factors, told.user_factors)
    assert np.array_equal(silent.item_factors, told.item_factors)
    assert np.array_equal(silent.item_biases, told.item_biases)


@BIASED
@SOLVERS
def test_who_has_implicit_feedback_alone_gets_what_it_predicts(biased, solver):
    penalty, X, reg_implicit = Penalty(0.8, 0.5), shares(MORE), 2.0
    options = {"implicit": MORE, "reg": penalty, "reg_implicit": reg_implicit, "biased": biased, "solver": solver}
    got = svdpp(KNOWN, 3, **options, **LONG)
    predicted = X @ best_table(got, KNOWN, X, penalty, reg_implicit)
    same(got.user_factors[[2, 3]], predicted[[2, 3]], 1e-6)
    assert (np.abs(got.user_factors[[2, 3]]).max(axis=1) > 0.01).all()
    assert not got.user_factors[[0, 1]].any()
    assert not got.user_biases[:4].any()
    assert got.cold([0, 1], [5, 5]).all()
    assert not got.cold([2, 3], [5, 5]).any()


def test_after_any_number_of_sweeps_they_get_what_the_last_table_predicts(monkeypatch):
    tables, X = [], torch.from_numpy(shares(MORE))
    kept = least_squares._ImplicitSides.factors

    def noted(sides):
        tables.append(sides.table.clone())
        return kept(sides)

    monkeypatch.setattr(least_squares._ImplicitSides, "factors", noted)
    for sweeps in (1, 4):
        got = svdpp(KNOWN, 3, implicit=MORE, reg_implicit=2, sweeps=sweeps, **EXACT)
        same(got.user_factors[:4], (X @ tables[-1])[:4], 1e-10)


@FEEDBACK
@BIASED
def test_both_solvers_of_svdpp_end_in_one_place(implicit, biased):
    exact, steps = (
        svdpp(KNOWN, 3, implicit=implicit, reg=1, reg_implicit=2, biased=biased, solver=solver, **LONG)
        for solver in ("exact", "cg")
    )
    assert exact.rms_difference(steps) < 1e-6


@BIASED
@pytest.mark.parametrize("k", [1, 7, 8, 15, 16, 23])
def test_conjugate_gradients_with_steps_enough_are_exact_for_svdpp(k, biased):
    exact, steps = (
        svdpp(
            KNOWN, k, implicit=MORE, reg=1, reg_implicit=2, biased=biased, sweeps=3, solver=solver, cg_steps=80, **EXACT
        )
        for solver in ("exact", "cg")
    )
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        same(getattr(steps, name), getattr(exact, name), 1e-8, name)


def test_svdpp_in_float32_is_float64_to_three_digits():
    short, long = (svdpp(TRAIN, 5, dtype=dtype, reg_implicit=5, progress=False) for dtype in ("float32", "float64"))
    assert (short.user_factors.dtype, long.user_factors.dtype) == (np.float32, np.float64)
    assert short.rms_difference(long) < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_factors": 0}, "n_factors=0: implicit feedback"),
        ({"n_factors": -1}, "n_factors=-1"),
        ({"reg_implicit": 0}, "reg_implicit=0"),
        ({"reg_implicit": -2}, "reg_implicit=-2"),
        ({"reg_implicit": float("inf")}, "reg_implicit=inf"),
        ({"reg_implicit": 1e39}, r"reg_implicit=1e\+39.* in float32"),
        ({"reg_implicit": "60"}, "reg_implicit='60'"),
        ({"implicit": True}, "implicit=True: give Ratings"),
        ({"reg_implicit": float("nan")}, "reg_implicit=nan"),
        ({"implicit": simulate_ratings(30, 21, 200, min_per_user=3)[0]}, "item_ids has 20 labels in one and 21"),
        ({"implicit": simulate_ratings(31, 20, 200, min_per_user=3)[0]}, "user_ids has 30 labels in one and 31"),
        ({"reg": -1}, "reg=-1"),
        ({"reg": Penalty(1), "reg_exponent": 1}, "leave out"),
    ],
)
@pytest.mark.parametrize("method", [svdpp, als])
def test_implicit_feedback_that_does_not_fit_is_refused(method, options, message, monkeypatch):
    monkeypatch.setattr(least_squares, "_exact", lambda *_: pytest.fail("something was solved"))
    with pytest.raises(ValueError, match=message):
        method(KNOWN, **{"n_factors": 3, "implicit": KNOWN, "progress": False} | options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@SOLVERS
def test_a_gpu_gives_the_svdpp_that_the_processor_gives(solver):
    here, there = (svdpp(KNOWN, 5, implicit=MORE, solver=solver, device=device, **EXACT) for device in ("cpu", "cuda"))
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
    assert factors.fold_in(TRAIN).rms_difference(factors) < 1e-6


def test_a_newcomer_gets_recommendations():
    factors = als(TRAIN, 3, progress=False)
    liked = Ratings([0, 0], [5, 9], [5, 4], 1, TRAIN.n_items, TRAIN.scale)
    newcomer = factors.fold_in(liked)
    assert (newcomer.n_users, newcomer.n_items) == (1, TRAIN.n_items)
    items, _ = newcomer.recommend(0, 3, exclude=liked)
    assert len(items) == 3
    assert rmse(newcomer, liked) < rmse(changed(newcomer, user_factors=np.zeros((1, 3)), user_biases=[0.0]), liked)


def test_a_newcomer_without_ratings_gets_zeros():
    factors = als(TRAIN, 3, progress=False)
    folded = factors.fold_in(Ratings([1], [5], [5], 3, TRAIN.n_items, TRAIN.scale))
    assert not folded.user_factors[[0, 2]].any()
    assert folded.user_factors[1].any()


def test_folding_in_refuses_other_items_and_what_has_no_solution():
    factors = als(TRAIN, 3, progress=False)
    with pytest.raises(ValueError, match="items"):
        factors.fold_in(Ratings([0], [5], [5], 1, TRAIN.n_items + 1, TRAIN.scale))
    rng = np.random.default_rng(0)
    for n in (1, 2, 3) * 10:
        few = Ratings(
            np.zeros(n, int), 2 + rng.permutation(70)[:n], rng.integers(1, 6, n), 1, TRAIN.n_items, TRAIN.scale
        )
        with pytest.raises(ValueError, match=f"user 0 has {n} ratings.*larger reg"):
            factors.fold_in(few, reg=0)


def test_a_price_of_implicit_factors_without_any_is_refused():
    with pytest.raises(ValueError, match="reg_implicit=60 without implicit= charges for nothing: give implicit="):
        als(KNOWN, 3, reg_implicit=60, **EXACT)


@pytest.mark.parametrize("implicit", [None, MORE], ids=["train", "more"])
def test_svdpp_goes_on_where_another_training_stopped(implicit):
    options = {"implicit": implicit, "reg": 1, "reg_implicit": 2}
    done = svdpp(KNOWN, 3, **options, **LONG)
    on = svdpp(KNOWN, 3, **options, start=done, sweeps=1, **EXACT)
    assert on.rms_difference(done) < 1e-4


def test_a_few_steps_a_sweep_solve_for_the_table_even_at_a_low_price(monkeypatch):
    ratings, _ = simulate_ratings(300, 400, 15_000, seed=2)
    options = {"reg_implicit": 3, **EXACT}
    few = svdpp(ratings, 10, **options)
    monkeypatch.setattr(least_squares, "STEPS_IMPLICIT", 60)
    assert few.rms_difference(svdpp(ratings, 10, **options)) < 0.02
