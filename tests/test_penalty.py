"""`Penalty` and `objective`, against sums written out rating by rating, and against torch's weight decay."""

import itertools

import numpy as np
import pytest
import torch

from mfhelpers import BiasedMatrixFactorization, Factors, Penalty, objective, rmse, simulate_ratings
from mfhelpers.check import numerical_gradient, same

RATINGS, _ = simulate_ratings(12, 10, 60, min_per_user=3)
TRAIN = RATINGS[(RATINGS.users > 1) & (RATINGS.items > 0)]  # users 0 and 1 and item 0 are left without a rating
TABLES = ("user_factors", "item_factors", "user_biases", "item_biases")
PENALTIES = pytest.mark.parametrize(
    "penalty",
    [Penalty(reg, power, biases) for power, (reg, biases) in itertools.product((0, 0.5, 1, 2), ((0.3, None), (0.2, 3)))]
    + [Penalty(0.3, biases=0), Penalty(0, biases=0.3)],
    ids=str,
)


def drawn(k=3, dtype=np.float64, seed=0) -> Factors:
    rng = np.random.default_rng(seed)
    shapes = [(RATINGS.n_users,), (RATINGS.n_items,), (RATINGS.n_users, k), (RATINGS.n_items, k)]
    return Factors(3.5, *(rng.normal(size=shape).astype(dtype) for shape in shapes))


def by_hand(model, train, penalty) -> tuple[float, float]:
    """The squared errors and the price, summed up over the ratings in turn: a row with n of them pays n^(α-1) at each."""
    users, items = train.users.tolist(), train.items.tolist()
    squares = price = 0.0
    for u, i, r in zip(users, items, train.values.tolist(), strict=True):
        p, q, b_u, b_i = model.user_factors[u], model.item_factors[i], model.user_biases[u], model.item_biases[i]
        squares += (r - (model.mean + b_u + b_i + sum(float(a) * float(b) for a, b in zip(p, q, strict=True)))) ** 2
        for n, row, bias in ((users.count(u), p, b_u), (items.count(i), q, b_i)):
            price += n ** (penalty.power - 1) * (penalty.reg * sum(x**2 for x in row) + penalty.biases * bias**2)
    return squares, price


# -- the price -------------------------------------------------------------------------------------


@PENALTIES
@pytest.mark.parametrize("k", [0, 3])
def test_the_cost_is_that_of_a_loop_over_the_ratings(penalty, k):
    model = drawn(k)
    assert penalty.value(model, TRAIN) == pytest.approx(by_hand(model, TRAIN, penalty)[1], rel=1e-12)


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_the_shares_of_n_ratings_make_n_to_the_power(power):
    counts = np.array([0, 1, 2, 3, 1000])
    shares = Penalty(0.3, power).per_rating(counts)
    assert shares[0] == 0
    np.testing.assert_allclose((shares * counts)[1:], counts[1:] ** float(power), rtol=1e-14)


def test_power_one_is_paid_once_a_rating_and_power_zero_once_a_row():
    model, ids = drawn(), {"user": TRAIN.users, "item": TRAIN.items}
    tables = {
        side: np.column_stack([getattr(model, f"{side}_factors"), getattr(model, f"{side}_biases")]) for side in ids
    }
    rows = {side: np.square(table).sum(axis=1) for side, table in tables.items()}
    once_a_rating = sum(rows[side][ids[side]].sum() for side in ids)
    once_a_row = sum(rows[side][np.unique(ids[side])].sum() for side in ids)
    weighted = sum(rows[side] @ np.bincount(ids[side], minlength=len(rows[side])) for side in ids)
    assert Penalty(0.3).value(model, TRAIN) == pytest.approx(0.3 * once_a_rating, rel=1e-12)
    assert once_a_rating == pytest.approx(weighted, rel=1e-12)
    assert Penalty(0.3, power=0).value(model, TRAIN) == pytest.approx(0.3 * once_a_row, rel=1e-12)
    assert once_a_rating > 2 * once_a_row


@PENALTIES
def test_rows_without_a_rating_cost_nothing(penalty):
    model, changed = drawn(), {table: getattr(drawn(), table).copy() for table in TABLES}
    for table, array in changed.items():
        array[: 2 if table.startswith("user") else 1] = 1e6
    other = Factors(model.mean, **changed)
    assert penalty.value(other, TRAIN) == penalty.value(model, TRAIN)
    assert objective(other, TRAIN, penalty) == objective(model, TRAIN, penalty)
    assert penalty.value(other, RATINGS) > penalty.value(model, RATINGS)


def test_the_cost_of_float32_is_summed_in_float64():
    model = drawn(dtype=np.float32)
    wide = Factors(model.mean, **{table: getattr(model, table).astype(np.float64) for table in TABLES})
    assert Penalty(0.3).value(model, TRAIN) == pytest.approx(Penalty(0.3).value(wide, TRAIN), rel=1e-14)


# -- the objective ---------------------------------------------------------------------------------


@PENALTIES
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_the_objective_is_that_of_a_loop_over_the_ratings(penalty, dtype, tolerance):
    model = drawn(dtype=dtype)
    assert objective(model, TRAIN, penalty) == pytest.approx(sum(by_hand(model, TRAIN, penalty)), rel=tolerance)


def test_without_a_penalty_the_objective_is_n_times_the_squared_rmse():
    assert objective(drawn(), TRAIN, 0) == pytest.approx(len(TRAIN) * rmse(drawn(), TRAIN) ** 2, rel=1e-12)


# -- torch's weight decay --------------------------------------------------------------------------


def leaves(model) -> dict[str, torch.Tensor]:
    return {table: torch.tensor(getattr(model, table), requires_grad=True) for table in TABLES}


def squares(p, q, b_u, b_i, mean) -> torch.Tensor:
    users, items, values = TRAIN.to_tensors()
    return (values - (mean + b_u[users] + b_i[items] + (p[users] * q[items]).sum(dim=1))).square()


def test_a_step_of_torch_with_weight_decay_goes_down_the_penalised_sum_of_squares():
    model, decay, lr = drawn(), 0.07, 0.3
    penalty = Penalty.from_weight_decay(decay, len(TRAIN))
    stepped, summed = leaves(model), leaves(model)
    optimizer = torch.optim.SGD(stepped.values(), lr=lr, weight_decay=decay)
    squares(*stepped.values(), model.mean).mean().backward()
    optimizer.step()
    price = penalty.reg * sum(leaf.square().sum() for leaf in summed.values())  # α = 0: once a row
    (squares(*summed.values(), model.mean).sum() + price).backward()

    for table, leaf in summed.items():

        def at(array, table=table):
            arrays = {name: getattr(model, name) for name in TABLES} | {table: array}
            return objective(Factors(model.mean, **arrays), TRAIN, penalty)

        # torch shrinks rows without a rating too, of which the penalty knows nothing; ours are zero
        rated = np.unique(TRAIN.users if table.startswith("user") else TRAIN.items)
        by_autograd = getattr(model, table) - lr / len(TRAIN) * leaf.grad.numpy()
        by_differences = getattr(model, table) - lr / len(TRAIN) * numerical_gradient(at, getattr(model, table))
        same(stepped[table].detach()[rated], by_autograd[rated], 1e-13, what=f"torch's step and autograd, {table}")
        same(stepped[table].detach()[rated], by_differences[rated], 1e-8, what=f"torch's step and objective, {table}")
        assert (stepped[table].detach().numpy() != getattr(model, table)).all()


def test_weight_decay_is_charged_once_a_row():
    assert Penalty.from_weight_decay(0.1, 400) == Penalty(20, power=0)


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reg", "power", "biases"])
@pytest.mark.parametrize("value", [-1, -1e-9, float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_no_penalty_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"{name}={value}: it must be (finite|at least 0)"):
        Penalty(**{"reg": 0.1, name: value})


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_they_are_refused_wherever_they_come_from(value):
    for made in (Penalty.of, lambda x: Penalty.from_weight_decay(x, 10), lambda x: objective(drawn(), TRAIN, x)):
        with pytest.raises(ValueError, match="it must be (finite|at least 0)"):
            made(value)


@pytest.mark.parametrize("number", [0.25, np.float64(0.25), np.float32(0.25)])
def test_a_number_is_a_penalty_once_a_rating_on_biases_too(number):
    assert Penalty.of(number) == Penalty(0.25, 1.0, 0.25)
    assert objective(drawn(), TRAIN, number) == objective(drawn(), TRAIN, Penalty(0.25))


def test_a_penalty_stays_what_it_is():
    penalty = Penalty(0.1, 0.5, 0)
    assert Penalty.of(penalty) is penalty
    assert penalty.biases == 0  # 0 is a number, not a missing one
    assert Penalty.of(2) == Penalty(2.0)


@pytest.mark.parametrize("value", [None, True, "0.1", np.array([0.1])])
def test_what_is_no_number_is_no_penalty(value):
    with pytest.raises(ValueError, match="give a number"):
        Penalty(value)
    if value is not None:
        with pytest.raises(ValueError, match="give a number"):
            Penalty(0.1, biases=value)


@pytest.mark.parametrize(("optimizer", "ends_there"), [(torch.optim.Adam, True), (torch.optim.AdamW, False)])
def test_adams_decay_ends_where_the_penalty_does_and_adamws_does_not(optimizer, ends_there):
    """As the table of lesson 04 has it: with full batches, the slope of our objective is zero where Adam stops."""
    decay, model = 0.05, BiasedMatrixFactorization(TRAIN.n_users, TRAIN.n_items, 2, mean=3.5, seed=0).double()
    users, items, values = TRAIN.to_tensors()
    stepper = optimizer(model.parameters(), lr=0.05, weight_decay=decay)
    slower = torch.optim.lr_scheduler.ExponentialLR(stepper, 0.995)
    for _ in range(2000):
        stepper.zero_grad()
        (model(users, items) - values.double()).square().mean().backward()
        stepper.step()
        slower.step()
    reg = Penalty.from_weight_decay(decay, len(TRAIN)).reg
    price = sum(weight.square().sum() for weight in model.parameters())
    loss = (model(users, items) - values.double()).square().sum() + reg * price
    slope = max(gradient.abs().max().item() for gradient in torch.autograd.grad(loss, list(model.parameters())))
    assert (slope < 0.01) == ends_there, slope
