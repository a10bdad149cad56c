"""`ials`, and `fold_in` and `explain` with and without its α: against regressions over all cells, implicit and themselves."""

import numpy as np
import pytest
import scipy.sparse
import torch
from choosing import CHOSEN, QUIET, TEST, TRAIN as MANY, changed, dense, drawn, tastes, without
from threadpoolctl import threadpool_limits

from mfhelpers import (
    DivergenceError,
    Factors,
    History,
    Interactions,
    Penalty,
    Ratings,
    als,
    average_biases,
    ials,
    most_popular,
    random_split,
    rank,
    simulate_ratings,
)
from mfhelpers.algorithms import als as least_squares, ials as implicit_als
from mfhelpers.check import numerical_gradient, same
from mfhelpers.models.metrics import objective

RATINGS, _ = simulate_ratings(40, 30, 500)
TRAIN = without(RATINGS, 3, 2)
CONFIDENT = TRAIN.to_interactions(weights=lambda stars: 1.5 ** (stars - 3))
ALPHA = 0.3
EXACT = {"dtype": "float64", "alpha": ALPHA, **QUIET}
SOLVERS = pytest.mark.parametrize("solver", ["exact", "cg"])
PENALTIES = pytest.mark.parametrize("penalty", [Penalty(2, 0), Penalty(0.3, 0.5), Penalty(0.05, 1)], ids=str)
PARTS = pytest.mark.parametrize("part", [TRAIN.to_interactions(), CONFIDENT], ids=["ones", "weights"])
TABLES = ("user_factors", "item_factors")


def start_for(part, k=3, seed=0) -> Factors:
    """Of everybody, whoever has chosen something and who has not."""
    rng = np.random.default_rng(seed)
    tables = [rng.normal(0, 0.5, (n, k)) for n in (part.n_users, part.n_items)]
    return Factors(0.0, np.zeros(part.n_users), np.zeros(part.n_items), *tables)


def all_cells(confidences, features, alpha, penalty) -> np.ndarray:
    """Every row's own regression on all cells: each is 0 with weight α, and the chosen ones are 1 besides."""
    n, k = features.shape
    solved = np.zeros((len(confidences), k))
    for row, confidence in enumerate(confidences):
        cells = np.count_nonzero(confidence) + alpha * n
        ones, zeros, price = (
            np.sqrt(confidence),
            np.full(n, np.sqrt(alpha)),
            np.sqrt(penalty.reg * cells**penalty.power),
        )
        system = np.vstack([ones[:, None] * features, zeros[:, None] * features, price * np.eye(k)])
        solved[row] = np.linalg.lstsq(system, np.concatenate([ones, np.zeros(n + k)]), rcond=None)[0]
    return solved


def stepped(confidences, rows, features, penalty, steps) -> np.ndarray:
    """A few steps towards `all_cells`, from where each row stands, each system written out."""
    moved = rows.copy()
    for row, confidence in zip(moved, confidences, strict=True):
        cells = np.count_nonzero(confidence) + ALPHA * len(features)
        system = (features.T * (confidence + ALPHA)) @ features + np.eye(len(row)) * penalty.reg * cells**penalty.power
        residual = features.T @ confidence - system @ row
        direction = residual
        for _ in range(steps if residual.any() else 0):
            length = (residual @ residual) / (direction @ system @ direction)
            row += length * direction
            before, residual = residual, residual - length * system @ direction
            direction = residual + (residual @ residual) / (before @ before) * direction
    return moved


def by_hand(factors, part, alpha, penalty) -> torch.Tensor:
    """The objective over all cells, written out; factors are two tensors."""
    users, items = factors
    confidence, scores = torch.tensor(dense(part)), users @ items.T
    total = (confidence * (scores - 1) ** 2).sum() + alpha * (scores**2).sum()
    for table, chosen in ((users, confidence > 0), (items, confidence.T > 0)):
        cells = chosen.double().sum(1) + alpha * chosen.shape[1]
        total = total + (penalty.reg * cells**penalty.power * (table**2).sum(1)).sum()
    return total


def value(factors, part, penalty, alpha=ALPHA) -> float:
    tables = [torch.tensor(getattr(factors, name), dtype=torch.float64) for name in TABLES]
    return by_hand(tables, part, alpha, penalty).item()


def assert_alike(one, another, tolerance):
    for name in TABLES:
        same(getattr(one, name), getattr(another, name), tolerance, name)


# -- the solution ----------------------------------------------------------------------------------


@PENALTIES
@PARTS
def test_a_sweep_is_a_regression_on_all_cells_for_each_user_and_then_for_each_item(part, penalty):
    start = start_for(part)
    got = ials(part, 3, reg=penalty, sweeps=1, start=start, solver="exact", **EXACT)
    users = all_cells(dense(part), start.item_factors, ALPHA, penalty)
    same(got.user_factors, users, 1e-10)
    same(got.item_factors, all_cells(dense(part).T, users, ALPHA, penalty), 1e-10)
    assert not got.mean
    assert not got.user_biases.any()
    assert not got.item_biases.any()


@PENALTIES
@PARTS
def test_the_objective_is_that_of_all_cells(part, penalty):
    factors = ials(part, 3, reg=penalty, sweeps=2, **EXACT)
    assert objective(factors, part, penalty, alpha=ALPHA) == pytest.approx(value(factors, part, penalty), rel=1e-12)


@PENALTIES
@PARTS
def test_after_a_solution_the_gradient_of_that_side_is_zero(part, penalty):
    got = ials(part, 2, reg=penalty, sweeps=3, **EXACT)
    slope = numerical_gradient(
        lambda table: objective(changed(got, item_factors=table), part, penalty, alpha=ALPHA),
        got.item_factors,
        1e-4,
    )
    assert np.abs(slope).max() < 1e-5


@SOLVERS
@PENALTIES
@PARTS
def test_at_rest_the_gradient_is_zero(solver, part, penalty):
    rested = ials(part, 2, reg=penalty, sweeps=600, solver=solver, **EXACT)
    tables = [torch.tensor(getattr(rested, name), requires_grad=True) for name in TABLES]
    by_hand(tables, part, ALPHA, penalty).backward()
    for name, table in zip(TABLES, tables, strict=True):
        assert table.abs().max() > 0.1, name
        assert table.grad.abs().max() < 1e-6, name


@SOLVERS
@PENALTIES
def test_the_objective_never_rises(solver, penalty):
    values = []
    watch = lambda factors: values.append(value(factors, CONFIDENT, penalty))  # noqa: E731
    ials(CONFIDENT, 4, reg=penalty, sweeps=25, solver=solver, watch=watch, **EXACT)
    assert len(values) == 25
    assert all(after <= before * (1 + 1e-9) for before, after in zip(values[:-1], values[1:], strict=True))
    assert values[-1] < values[0]


@PENALTIES
@PARTS
def test_conjugate_gradients_with_steps_enough_are_exact(part, penalty):
    exact, steps = (
        ials(part, 4, reg=penalty, sweeps=3, solver=solver, cg_steps=30, **EXACT) for solver in ("exact", "cg")
    )
    assert_alike(steps, exact, 1e-8)


@pytest.mark.parametrize("steps", [1, 2, 3])
@PENALTIES
def test_a_few_steps_are_those_of_conjugate_gradients_row_by_row(steps, penalty):
    start = start_for(CONFIDENT, 6)
    start = changed(
        start,
        user_factors=start.user_factors * (CONFIDENT.user_counts > 0)[:, None],
        item_factors=start.item_factors * (CONFIDENT.item_counts > 0)[:, None],
    )
    got = ials(CONFIDENT, 6, reg=penalty, sweeps=1, start=start, solver="cg", cg_steps=steps, **EXACT)
    users = stepped(dense(CONFIDENT), start.user_factors, start.item_factors, penalty, steps)
    same(got.user_factors, users, 1e-10)
    same(got.item_factors, stepped(dense(CONFIDENT).T, start.item_factors, users, penalty, steps), 1e-10)


def test_few_steps_a_sweep_end_where_exact_solutions_end():
    exact, steps = (ials(CONFIDENT, 4, reg=0.05, sweeps=400, solver=solver, **EXACT) for solver in ("exact", "cg"))
    assert exact.rms_difference(steps) < 1e-5


@SOLVERS
def test_what_weighs_all_cells_alike_changes_nothing(solver):
    twice = drawn(dense(TRAIN) > 0, np.full((40, 30), 2.0))
    one = ials(TRAIN, 3, reg=Penalty(0.5, 0), solver=solver, **EXACT)
    two = ials(twice, 3, reg=Penalty(1, 0), solver=solver, **EXACT | {"alpha": 2 * ALPHA})
    assert_alike(two, one, 1e-9)


@pytest.mark.parametrize(("solver", "k"), [("exact", 5), ("cg", 5), ("auto", 20)])
@PARTS
def test_float32_is_float64_to_three_digits(solver, k, part):
    short, long = (ials(part, k, solver=solver, dtype=dtype, **QUIET) for dtype in ("float32", "float64"))
    assert (short.user_factors.dtype, long.user_factors.dtype) == (np.float32, np.float64)
    assert value(short, part, Penalty(0.02), 0.2) == pytest.approx(value(long, part, Penalty(0.02), 0.2), rel=1e-3)


@PARTS
@pytest.mark.parametrize("steps", [3, 20])
def test_blocks_of_columns_leave_no_seam(part, steps, monkeypatch):
    wide = tastes(150, 200) if part.weights is None else drawn(np.ones((150, 200), bool), dense(tastes(150, 200)) + 0.1)
    blocks, make = [], implicit_als._Blocks
    monkeypatch.setattr(implicit_als, "_Blocks", lambda *given: blocks.append(len(given[0])) or make(*given))
    whole = ials(wide, 4, solver="cg", cg_steps=steps, sweeps=3, **EXACT)
    monkeypatch.setattr(implicit_als, "IN_SECOND_CACHE", 1)
    assert_alike(ials(wide, 4, solver="cg", cg_steps=steps, sweeps=3, **EXACT), whole, 1e-10)
    assert blocks == [1, 1, 4, 3]  # of 64 items, and of 64 users


@PARTS
def test_products_in_pieces_are_the_same(part, monkeypatch):
    whole = ials(part, 4, solver="exact", **EXACT)
    monkeypatch.setattr(least_squares, "MOST_AT_ONCE", 200)
    monkeypatch.setattr(least_squares, "IN_CACHE", 200)
    assert_alike(ials(part, 4, solver="exact", **EXACT), whole, 1e-10)


@pytest.mark.parametrize("use_cg", [True, False])
@pytest.mark.parametrize("confidence", [1.0, 2.5])
def test_implicit_takes_the_same_course(use_cg, confidence):
    """Its objective, Hu's, is ours in other units: scores (c + α) / c times as large, and all divided by α."""
    pytest.importorskip("implicit")
    from implicit.cpu.als import AlternatingLeastSquares

    alpha, reg = 0.2, 1.5
    part = drawn(dense(MANY) > 0, np.full((MANY.n_users, MANY.n_items), confidence))
    start, scale = start_for(part, 5), (confidence + alpha) / confidence
    with threadpool_limits(1):
        theirs = AlternatingLeastSquares(
            5, regularization=reg * scale / alpha, dtype=np.float64, use_cg=use_cg, iterations=4, num_threads=1
        )
        theirs.user_factors, theirs.item_factors = (getattr(start, name) * scale**0.5 for name in TABLES)
        theirs.fit(scipy.sparse.csr_matrix((dense(part) > 0) * (1 + confidence / alpha)), show_progress=False)
    ours = ials(
        part, 5, alpha=alpha, reg=Penalty(reg, 0), sweeps=4, start=start, solver="cg" if use_cg else "exact",
        dtype="float64", **QUIET,
    )  # fmt: skip
    back = changed(ours, **{name: getattr(theirs, name) / scale**0.5 for name in TABLES})
    objectives = [value(factors, part, Penalty(reg, 0), alpha) for factors in (start, ours, back)]
    assert objectives[1] < 0.9 * objectives[0]
    assert objectives[2] == pytest.approx(objectives[1], rel=1e-4)
    assert_alike(back, ours, 1e-6)


def test_defaults_beat_what_is_popular():
    popular, fitted = (rank(model, TEST, exclude=MANY) for model in (most_popular(MANY), ials(MANY, 8, **QUIET)))
    mean, low, _ = fitted.difference(popular, "ndcg@10")
    assert mean > low > 0


# -- what was chosen, who has chosen nothing, where it starts --------------------------------------


@SOLVERS
def test_of_ratings_those_from_at_least_are_chosen(solver):
    for at_least in (None, 4):
        rated = ials(TRAIN, 3, at_least=at_least, solver=solver, **EXACT)
        assert_alike(rated, ials(TRAIN.to_interactions(at_least), 3, solver=solver, **EXACT), 0)


@SOLVERS
@PENALTIES
@pytest.mark.parametrize("started", [False, True], ids=["new", "started"])
def test_rows_without_an_interaction_are_zero_and_cold(solver, penalty, started):
    start = ials(RATINGS, 3, **QUIET) if started else None  # knows them all
    got = ials(TRAIN, 3, reg=penalty, solver=solver, start=start, **QUIET)
    assert not got.user_factors[:3].any()
    assert not got.item_factors[:2].any()
    assert got.cold([0, 2, 5], [5, 5, 1]).all()
    assert not got.cold([5], [5]).any()


@SOLVERS
def test_a_start_goes_on_where_it_stopped(solver):
    whole = ials(CONFIDENT, 3, sweeps=6, solver=solver, **EXACT)
    half = ials(CONFIDENT, 3, sweeps=2, solver=solver, **EXACT)
    assert_alike(ials(CONFIDENT, 3, sweeps=4, solver=solver, start=half, **EXACT), whole, 1e-10)


def test_a_seed_reproduces_and_another_differs():
    one, again, other = (ials(TRAIN, 3, seed=seed, sweeps=2, **QUIET) for seed in (1, 1, 2))
    assert_alike(one, again, 0)
    assert not np.array_equal(one.item_factors, other.item_factors)


# -- history, early stopping, interruption, log ----------------------------------------------------

KNOWN, HELD_OUT = random_split(CHOSEN, 0.3)


def mean_square(factors, part, alpha=0.2, without=None) -> float:
    """The root of the mean weighted square over all cells, or those that another part does not have."""
    scores, confidence = factors.user_factors @ factors.item_factors.T, dense(part)
    squares = confidence * (scores - 1) ** 2 + alpha * scores**2
    asked = np.ones(scores.shape, bool) if without is None else dense(without) == 0
    return float(np.sqrt(squares[asked].sum() / (confidence + alpha)[asked].sum()))


@pytest.mark.parametrize("weighted", [True, False])
def test_a_history_tells_the_error_over_all_cells(weighted):
    weights = np.random.default_rng(0).uniform(0.5, 3, (90, 60)) if weighted else None
    known, held_out = (drawn(dense(part) > 0, weights) for part in (KNOWN, HELD_OUT))
    history = History()
    got = ials(known, 3, sweeps=4, dtype="float64", valid=held_out, history=history, **QUIET)
    assert (history.epochs, history.stopped, history.n_train) == (4, "finished", len(known))
    assert history.measure == "RMSE of all cells"
    assert history.train_error[-1] == pytest.approx(mean_square(got, known), rel=1e-6)
    assert history.valid_error[-1] == pytest.approx(mean_square(got, held_out, without=known), rel=1e-6)
    assert len(history.train_error) == len(history.valid_error) == len(history.seconds) == 5
    assert "4 epochs: RMSE of all cells" in repr(history)
    for name in ("train_rmse", "valid_rmse"):
        with pytest.raises(AttributeError, match="made the RMSE of all cells small: see train_error and valid_error"):
            getattr(history, name)


def test_validation_interactions_are_only_looked_at():
    blind, seeing = (ials(KNOWN, 3, valid=valid, **QUIET) for valid in (None, HELD_OUT))
    assert_alike(blind, seeing, 0)


def test_patience_stops_and_returns_the_best():
    history = History()
    got = ials(KNOWN, 20, reg=1e-4, sweeps=100, valid=HELD_OUT, patience=2, history=history, **QUIET)
    assert history.stopped == "early"
    assert history.epochs == history.best_epoch + 2
    assert mean_square(got, HELD_OUT, without=KNOWN) == pytest.approx(min(history.valid_error), rel=1e-5)


def test_ratings_to_validate_on_are_chosen_by_at_least_too():
    known, held_out = random_split(RATINGS)
    histories = History(), History()
    ials(known, 3, at_least=4, valid=held_out, history=histories[0], **QUIET)
    ials(known.to_interactions(4), 3, valid=held_out.to_interactions(4), history=histories[1], **QUIET)
    assert histories[0].valid_error == histories[1].valid_error


def test_an_interruption_returns_the_factors_so_far(capsys):
    seen = []

    def watch(factors):
        seen.append(factors)
        if len(seen) == 2:
            raise KeyboardInterrupt

    history = History()
    got = ials(TRAIN, 3, watch=watch, history=history, **QUIET)
    assert "interrupted in sweep 2: the factors so far are kept" in capsys.readouterr().out
    assert_alike(got, seen[-1], 0)
    assert history.stopped == "interrupted"


@SOLVERS
def test_a_log_has_errors_and_objective(solver, tmp_path):
    pytest.importorskip("tensorboard")
    from logs import float32, hparams, scalars

    history = History()
    logged = {"valid": HELD_OUT, "history": history, "log_dir": tmp_path / "run"}
    got = ials(KNOWN, 3, reg=0.05, sweeps=3, solver=solver, **logged, **QUIET)
    told = scalars(tmp_path / "run")
    assert told["RMSE of all cells/train"] == float32(history.train_error)
    assert told["RMSE of all cells/validation"] == float32(history.valid_error)
    assert told["objective"][3] == pytest.approx(value(got, KNOWN, Penalty(0.05), 0.2), rel=1e-5)
    settings, results = hparams(tmp_path / "run")
    assert (settings["model"], settings["alpha"], settings["reg"]) == ("ials", 0.2, 0.05)
    assert set(results) == {"result/RMSE of all cells", "result/epoch"}


# -- what is refused, what is reported -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": TRAIN.to_csr()}, "train is csr_array: give Ratings or Interactions"),
        ({"n_factors": 0}, "n_factors=0: it must be at least 1"),
        ({"n_factors": 2.5}, "n_factors=2.5"),
        ({"alpha": 0}, "alpha=0: it must be above 0"),
        ({"alpha": -1}, "alpha=-1: it must be above 0"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"alpha": "some"}, "alpha='some': give a number"),
        ({"alpha": 1e300}, "alpha=1e.300|beyond"),
        ({"reg": -1}, "reg=-1"),
        ({"reg": 1e39}, "reg=1e.39.* beyond .*float32 for these rows: take less"),
        ({"reg": Penalty(0.1, 1000)}, "beyond float64 for a row of"),
        ({"at_least": 6}, "at_least=6: no rating of simulated is that high"),
        ({"train": CONFIDENT, "at_least": 4}, "at_least=4: the train part has no stars, so all of it counts"),
        ({"sweeps": 0}, "sweeps=0"),
        ({"cg_steps": 0}, "cg_steps=0"),
        ({"seed": -1}, "seed=-1"),
        ({"solver": "lu"}, "solver='lu': choose 'auto', 'exact' or 'cg'"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"device": "mars"}, "mars"),
        ({"threads": 0}, "threads=0"),
        ({"init_std": 0}, "init_std=0.0: .* saddle"),
        ({"start": 3}, "start=int: give Factors"),
        ({"start": average_biases(TRAIN)}, "does not fit .* n_factors=3"),
        ({"start": changed(start_for(TRAIN), mean=1.0)}, "scores have no mean and no biases.*; start from ials"),
        ({"start": changed(start_for(TRAIN), user_biases=np.ones(40))}, "scores have no mean and no biases"),
        ({"start": changed(start_for(TRAIN), item_biases=np.ones(30))}, "scores have no mean and no biases"),
        ({"start": changed(start_for(TRAIN), item_factors=np.zeros((30, 3)))}, "item factors of zero are a saddle"),
        ({"watch": 1}, "watch=1: give a function"),
        ({"valid": 3}, "valid is int: give Ratings or Interactions"),
        ({"valid": MANY}, "are not parts of the same interactions"),
        ({"patience": 2}, "patience=2: early stopping needs validation"),
        ({"patience": 0, "valid": TRAIN}, "patience=0"),
        ({"history": History([1.0])}, "empty History"),
        ({"n_factors": 10**9}, "n_factors=1,000,000,000 .*GB are free; take less"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused_before_anything_is_solved(options, message, monkeypatch):
    monkeypatch.setattr(implicit_als, "exact_half", lambda *_: lambda *_: pytest.fail("something was solved"))
    given = {"train": TRAIN, "n_factors": 3, **QUIET} | options
    with pytest.raises(ValueError, match=message):
        ials(given.pop("train"), given.pop("n_factors"), **given)


@pytest.mark.parametrize(("dtype", "offered"), [("float32", True), ("float64", False)])
def test_without_a_price_more_factors_than_items_have_no_solution(dtype, offered):
    few = drawn(np.eye(8, 5, dtype=bool))
    with pytest.raises(DivergenceError, match=f"8 rows cannot be solved in {dtype}. Take a larger reg") as told:
        ials(few, 12, reg=0, solver="exact", dtype=dtype, **QUIET)
    assert ("dtype='float64'" in str(told.value)) == offered


@pytest.mark.parametrize("factor", [3, np.nan])
@pytest.mark.parametrize(("from_half", "sweeps"), [(3, 2), (7, 16), (31, 16)])
@pytest.mark.parametrize("judged", [True, False])
def test_a_solution_that_makes_things_worse_is_reported(factor, from_half, sweeps, judged, monkeypatch):
    solve, halves = implicit_als.exact_half, iter(range(1000))

    def spoiled(*size):
        half = solve(*size)
        return lambda *sides: half(*sides) * (factor if next(halves) >= from_half else 1)

    monkeypatch.setattr(implicit_als, "exact_half", spoiled)
    with pytest.raises(DivergenceError, match="the objective went from .* by sweep .*float32 loses too many digits"):
        ials(TRAIN, 3, sweeps=sweeps, history=History() if judged else None, **QUIET)


# -- new users -------------------------------------------------------------------------------------


@PENALTIES
@pytest.mark.parametrize("at_least", [None, 4])
@pytest.mark.parametrize("part", [TRAIN, CONFIDENT], ids=["ratings", "weights"])
def test_folding_in_is_the_users_half_of_a_sweep(part, penalty, at_least):
    at_least = at_least if isinstance(part, Ratings) else None
    start = start_for(part)
    swept = ials(part, 3, reg=penalty, at_least=at_least, sweeps=1, start=start, solver="exact", **EXACT)
    folded = start.fold_in(part, reg=penalty, alpha=ALPHA, at_least=at_least)
    same(folded.user_factors, swept.user_factors, 1e-10)
    assert np.array_equal(folded.item_factors, start.item_factors)
    assert not folded.user_biases.any()
    assert folded.trained_users.tolist() == swept.trained_users.tolist()
    assert not folded.user_factors[:3].any()


def test_whom_it_was_trained_on_are_found_again_at_rest():
    factors = ials(CONFIDENT, 3, reg=0.05, sweeps=800, **EXACT)
    assert factors.fold_in(CONFIDENT, reg=0.05, alpha=ALPHA).rms_difference(factors) < 1e-6


EXPLAINED = pytest.mark.parametrize(
    ("part", "how"),
    [(TRAIN, {"biased": True}), (TRAIN, {"biased": False}), (TRAIN, {"alpha": ALPHA}),
     (TRAIN, {"alpha": ALPHA, "at_least": 4}), (CONFIDENT, {"alpha": ALPHA})],
    ids=["biased", "without biases", "implicit", "at least", "weights"],
)  # fmt: skip


@EXPLAINED
@PENALTIES
def test_contributions_add_up_to_the_prediction(part, how, penalty):
    rng = np.random.default_rng(0)
    factors = als(TRAIN, 3, **QUIET) if "biased" in how else start_for(part)
    if "biased" in how:
        factors = changed(factors, item_biases=rng.normal(0, 0.3, part.n_items))
    chosen = part.to_interactions(how["at_least"]) if "at_least" in how else part
    predicted = factors.fold_in(part, reg=penalty, **how).predict(np.arange(40)[:, None], np.arange(30))
    for user, item in rng.integers(0, (40, 30), (60, 2)):
        items, contributions = factors.explain(user, item, part, reg=penalty, **how)
        level = factors.mean + factors.item_biases[item]
        assert contributions.sum() + level == pytest.approx(predicted[user, item], abs=1e-9)
        assert sorted(items.tolist()) == sorted(chosen.items[chosen.users == user].tolist())
        assert (np.diff(contributions) <= 0).all()


@pytest.mark.parametrize("biased", [True, False])
def test_a_contribution_is_what_the_prediction_loses_without_the_surprise_of_that_rating(biased):
    factors = als(TRAIN, 3, biased=biased, dtype="float64", **QUIET)
    items, contributions = factors.explain(5, 7, TRAIN, reg=1, biased=biased)
    place = int(np.flatnonzero((TRAIN.users == 5) & (TRAIN.items == items[0]))[0])
    values = TRAIN.values.astype(np.float64)
    values[place] = factors.mean + factors.item_biases[items[0]]
    other = Ratings(TRAIN.users, TRAIN.items, values.astype(np.float32), 40, 30, (-9, 9, 0))
    before, after = (factors.fold_in(part, reg=1, biased=biased).predict(5, 7) for part in (TRAIN, other))
    assert before - after == pytest.approx(contributions[0], abs=1e-6)


@EXPLAINED
def test_whoever_has_nothing_gets_nothing_explained(part, how):
    items, contributions = start_for(part).explain(0, 7, part, reg=1, **how)
    assert items.shape == contributions.shape == (0,)


def test_the_first_user_is_meant_unless_another_is_named():
    newcomer = Interactions([0, 0], [4, 9], 1, 30)
    factors = ials(TRAIN, 3, **QUIET)
    items, contributions = factors.explain(0, 4, newcomer, reg=0.02, alpha=0.2)
    folded = factors.fold_in(newcomer, reg=0.02, alpha=0.2)
    assert (folded.n_users, sorted(items)) == (1, [4, 9])
    assert contributions.sum() == pytest.approx(folded.predict(0, 4), abs=1e-9)


@pytest.mark.parametrize("explained", [False, True], ids=["fold_in", "explain"])
@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        (CONFIDENT, {}, "ratings is Interactions: give Ratings"),
        (TRAIN.to_csr(), {"alpha": 1}, "ratings is csr_array: give Ratings or Interactions"),
        (TRAIN, {"at_least": 4}, "at_least=4: what was chosen is asked for with alpha=, that of ials"),
        (CONFIDENT, {"at_least": 4, "alpha": 1}, "at_least=4: the ratings part has no stars"),
        (TRAIN, {"alpha": 0}, "alpha=0: it must be above 0"),
        (TRAIN, {"alpha": "a"}, "alpha='a': give a number"),
        (TRAIN, {"reg": -1}, "reg=-1"),
        (TRAIN, {"biased": 1}, "biased=1: give True or False"),
        (MANY, {"alpha": 1}, "has 60 items, these factors 30: number the items as they are here"),
        (Ratings([0], [5], [5], 1, 30, (1, 5, 1)), {"reg": 0}, "user 0 has 1 ratings and no unique solution .*larger reg"),
        (TRAIN, {"reg": Penalty(1, 1000)}, "beyond float64"),
    ],
)  # fmt: skip
def test_newcomers_that_do_not_fit_are_refused(part, options, message, explained):
    factors, options = start_for(TRAIN), {"reg": 1} | options
    with pytest.raises(ValueError, match=message):
        factors.explain(0, 3, part, **options) if explained else factors.fold_in(part, **options)


@pytest.mark.parametrize(
    ("item", "user", "message"),
    [(30, 0, "item 30 is outside 0 … 29"), (-1, 0, "item -1"), (3, 40, "user 40 is outside 0 … 39"),
     ([3, 4], 0, r"item=\[3, 4\]: give one number"), (3, [0, 1], r"user=\[0, 1\]: give one number"),
     (0.5, 0, "item numbers have type float64"), (3, True, "user numbers have type bool")],
)  # fmt: skip
def test_explain_refuses_numbers_that_are_none(item, user, message):
    with pytest.raises(ValueError, match=message):
        start_for(TRAIN).explain(user, item, TRAIN, reg=1)


def test_alpha_belongs_to_factors_without_levels():
    with pytest.raises(ValueError, match="have a mean or biases, so they rate"):
        als(RATINGS, 2, sweeps=1, progress=False).fold_in(RATINGS, reg=0.02, alpha=0.2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@SOLVERS
@PARTS
def test_a_gpu_gives_what_the_processor_gives(solver, part):
    options = {"reg": 0.02, "sweeps": 5, "solver": solver, **EXACT}
    here, there = (ials(part, 5, device=device, **options) for device in ("cpu", "cuda"))
    assert here.rms_difference(there) < 1e-6
