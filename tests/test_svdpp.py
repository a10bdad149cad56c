"""`svdpp`: against the textbook's objective and its gradient, gradient descent and itself."""

import numpy as np
import pytest
import torch
from alternating import BIASED, EXACT, SOLVERS, TRAIN

from mfhelpers import Factors, History, Penalty, Ratings, als, simulate_ratings, svdpp
from mfhelpers.algorithms import als as least_squares, svdpp as implicit_sides
from mfhelpers.check import same
from mfhelpers.models.factors import initial_factors

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
    start, device = initial_factors(KNOWN, k, 0.5, 0), torch.device("cpu")
    settings = least_squares.Settings(k, penalty, biased, 25, solver, 3, None, 0.5, 0, "float64")
    sides = implicit_sides.ImplicitSides(KNOWN, start, settings, device, implicit=implicit, reg_implicit=reg_implicit)
    solve = sides.half

    def note():
        Y, XY = sides.priors["user"].table, torch.from_numpy(X) @ sides.priors["user"].table
        same(sides.users.prior[:, :k], XY, 1e-10, "where users are drawn to")
        P, bu = sides.x[:, :k] - XY, sides.x[:, -1] if biased else torch.zeros(30, dtype=torch.float64)
        Q, bi = sides.y[:, :k], sides.y[:, -1] if biased else torch.zeros(20, dtype=torch.float64)
        values.append(textbook(KNOWN, X, penalty, reg_implicit, start.mean, P, Q, bu, bi, Y).item())

    def half(*arguments):
        note()  # before the users', and between the table's and the items'
        return solve(*arguments)

    sides.half = half
    for _ in range(25):
        sides.step()
    note()
    assert len(values) == 51
    assert all(after <= before * (1 + 1e-10) for before, after in zip(values[:-1], values[1:], strict=True))
    assert values[-1] < 0.95 * values[1]


@FEEDBACK
def test_the_objective_that_is_looked_at_is_that_of_svdpp(implicit, monkeypatch):
    """Users without a training rating have no penalty, so what they are drawn to is no rise."""
    seen, look, X = [], least_squares.Sides.check, shares(implicit)
    penalty, reg_implicit = Penalty(0.8, 0.5), 0.5

    def looked(sides, done):
        look(sides, done)
        P, Q = sides.x[:, :3] - torch.from_numpy(X) @ sides.priors["user"].table, sides.y[:, :3]
        tables = P, Q, sides.x[:, 3], sides.y[:, 3], sides.priors["user"].table
        seen.append((sides.objective, textbook(KNOWN, X, penalty, reg_implicit, sides.start.mean, *tables).item()))

    monkeypatch.setattr(least_squares.Sides, "check", looked)
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
    told = svdpp(KNOWN, 20, reg=Penalty(1.6, 0.5), implicit=KNOWN, reg_implicit=60.0, progress=False)
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
    same(got.user_factors[:2], np.tile(predicted[2:].mean(axis=0), (2, 1)), 1e-6)
    assert not got.user_biases[:4].any()
    assert got.cold([0, 1], [5, 5]).all()
    assert not got.cold([2, 3], [5, 5]).any()


def test_after_any_number_of_sweeps_they_get_what_the_last_table_predicts(monkeypatch):
    tables, X = [], torch.from_numpy(shares(MORE))
    kept = implicit_sides.ImplicitSides.predictor

    def noted(sides):
        tables.append(sides.priors["user"].table.clone())
        return kept(sides)

    monkeypatch.setattr(implicit_sides.ImplicitSides, "predictor", noted)
    for sweeps in (1, 4):
        got = svdpp(KNOWN, 3, implicit=MORE, reg_implicit=2, sweeps=sweeps, **EXACT)
        same(got.user_factors[2:4], (X @ tables[-1])[2:4], 1e-10)


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
        ({"implicit": True}, "implicit is bool: give Ratings"),
        ({"reg_implicit": float("nan")}, "reg_implicit=nan"),
        ({"implicit": simulate_ratings(30, 21, 200, min_per_user=3)[0]}, "item_ids has 20 labels in one and 21"),
        ({"implicit": simulate_ratings(31, 20, 200, min_per_user=3)[0]}, "user_ids has 30 labels in one and 31"),
        ({"reg": -1}, "reg=-1"),
    ],
)
def test_implicit_feedback_that_does_not_fit_is_refused(options, message, monkeypatch):
    monkeypatch.setattr(least_squares, "exact_half", lambda *_: pytest.fail("something was solved"))
    with pytest.raises(ValueError, match=message):
        svdpp(KNOWN, **{"n_factors": 3, "implicit": KNOWN, "progress": False} | options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@SOLVERS
def test_a_gpu_gives_the_svdpp_that_the_processor_gives(solver):
    here, there = (svdpp(KNOWN, 5, implicit=MORE, solver=solver, device=device, **EXACT) for device in ("cpu", "cuda"))
    assert here.rms_difference(there) < 1e-6


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
    monkeypatch.setattr(implicit_sides, "STEPS_IMPLICIT", 60)
    assert few.rms_difference(svdpp(ratings, 10, **options)) < 0.02


@pytest.mark.parametrize("biased", [True, False])
def test_of_whom_nothing_is_known_has_the_mean_of_what_n_u_gives(biased):
    start, device = initial_factors(KNOWN, 3, 0.5, 0), torch.device("cpu")
    settings = least_squares.Settings(3, Penalty(1.6, 0.5), biased, 4, "auto", 3, None, 0.5, 0, "float64")
    sides = implicit_sides.ImplicitSides(KNOWN, start, settings, device, implicit=MORE, reg_implicit=2.0)
    for _ in range(4):
        sides.step()
    before, factors = sides.x.clone(), sides.predictor()
    given = shares(MORE) @ sides.priors["user"].table.numpy()
    same(factors.user_factors[2:4], given[2:4], 1e-10)  # of these there is N(u) alone
    same(factors.user_factors[:2], np.tile(given[2:].mean(axis=0), (2, 1)), 1e-10)
    assert torch.equal(sides.x, before)  # the solver's own rows stay as they are
    assert factors.cold([0, 2], [1, 1]).tolist() == [True, False]
