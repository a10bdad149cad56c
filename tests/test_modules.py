"""The two torch models: formula, gradients, shapes, and what they leave alone."""

import numpy as np
import pytest
import torch

from mfhelpers import BiasedMatrixFactorization, MatrixFactorization, Ratings
from mfhelpers.check import numerical_gradient, same
from mfhelpers.models import modules, pairs as models

BOTH = pytest.mark.parametrize("kind", [MatrixFactorization, BiasedMatrixFactorization])
TABLES = ("user_factors", "item_factors", "user_biases", "item_biases")
USERS, ITEMS = torch.tensor([0, 3, 3, 1, 0]), torch.tensor([1, 1, 2, 0, 1])  # rows 2 and 4, and item 3, not looked up


def made(kind, sparse=False, dtype=torch.float64):
    """5 users, 4 items, k = 3, with biases that are not zero."""
    model = kind(5, 4, 3, sparse, mean=3.5, init_std=0.5).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name in TABLES[2:]:
            if hasattr(model, name):
                weight = getattr(model, name).weight
                weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


def weights(model) -> dict[str, torch.Tensor]:
    return {name: getattr(model, name).weight for name in TABLES if hasattr(model, name)}


# -- predictions -----------------------------------------------------------------------------------


@BOTH
def test_forward_is_the_formula(kind):
    model = made(kind)
    p, q, *biases = (weight.detach().numpy() for weight in weights(model).values())
    wanted = 3.5 + np.einsum("nk,nk->n", p[USERS], q[ITEMS])
    if biases:
        wanted += biases[0][USERS, 0] + biases[1][ITEMS, 0]
    same(model(USERS, ITEMS).detach(), wanted, 1e-14)


@BOTH
@pytest.mark.parametrize("shape", [(), (1,), (0,), (6,), (2, 3), (1, 1)])
def test_predictions_have_the_shape_of_the_ids(kind, shape):
    ids = torch.zeros(shape, dtype=torch.int64)
    assert made(kind)(ids, ids).shape == shape
    assert made(kind).predict(ids.numpy(), ids.numpy()).shape == shape


@BOTH
@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([0, 5], [0, 0], "user numbers 0 … 5 exceed the model's 0 … 4"),
        ([-1, 0], [0, 0], "user numbers -1 … 0"),
        ([0, 0], [4, 1], "item numbers 1 … 4 exceed the model's 0 … 3"),
        ([0, 0], [-2, 1], "item numbers -2 … 1"),
    ],
)
def test_numbers_out_of_range_are_refused(kind, users, items, message):
    with pytest.raises(ValueError, match=message):
        made(kind)(torch.tensor(users), torch.tensor(items))


@BOTH
def test_factors_predict_as_the_model_does(kind):
    model = made(kind, dtype=torch.float32)
    predicted = model(USERS, ITEMS).detach().numpy()
    for predictions in (model.to_factors().predict(USERS, ITEMS), model.predict(USERS.numpy(), ITEMS.numpy())):
        same(predictions, predicted, 1e-6)
    same(model.predict(USERS.numpy(), ITEMS.numpy(), limits=(3, 4)), predicted.clip(3, 4), 1e-6)
    assert model.to_factors().user_factors.dtype == np.float32


@BOTH
def test_predict_takes_what_factors_take(kind):
    model = made(kind, dtype=torch.float32)
    grid = np.arange(5)[:, None], np.arange(4)
    same(model.predict(*grid), model.to_factors().predict(*grid), 1e-6)
    assert model.predict(3, 2).shape == ()
    for wrong in ([0, 5], [-1, 0], [0.0, 1.0]):
        with pytest.raises(ValueError, match="user (5|-1) is outside 0 … 4|type float64, expected integers"):
            model.predict(wrong, [0, 0])
    assert made(kind, dtype=torch.bfloat16).predict(0, 0).dtype == np.float32
    assert made(kind).predict(0, 0).dtype == np.float64


@BOTH
def test_predict_works_in_chunks(kind, monkeypatch):
    model = made(kind)
    whole = model.predict(USERS.numpy(), ITEMS.numpy())
    monkeypatch.setattr(models, "CHUNK", 2)
    same(model.predict(USERS.numpy(), ITEMS.numpy()), whole, 1e-14)


@BOTH
@pytest.mark.parametrize("training", [True, False])
def test_predict_is_in_evaluation_mode_and_restores_each_part(kind, training):
    model, modes = made(kind), []
    model.train(training)
    model.user_factors.eval()
    model.register_forward_hook(lambda *_: modes.append(model.training))
    model.predict(0, 0)
    assert modes == [False]
    assert (model.training, model.item_factors.training, model.user_factors.training) == (training, training, False)


@BOTH
def test_cold_is_that_of_the_factors(kind):
    model = made(kind)
    model.forget_unseen(Ratings(USERS[1:4], ITEMS[1:4], [1, 2, 3], 5, 4, (1, 5, 1)))
    assert model.cold(np.arange(5), 0).tolist() == [True, False, True, False, True]


@BOTH
def test_factors_are_a_copy(kind):
    model = made(kind)
    factors = model.to_factors()
    before = factors.predict(0, 0)
    for weight in weights(model).values():
        weight.data.fill_(9)
    assert factors.predict(0, 0) == before


# -- gradients -------------------------------------------------------------------------------------


def loss(model) -> torch.Tensor:
    values = torch.tensor([1.0, 5, 3, 2, 4], dtype=torch.float64)
    return (model(USERS, ITEMS) - values).square().mean()


def gradients_by_hand(model) -> dict[str, np.ndarray]:
    """dL/dp_u = Σ 2/n e q_i over the user's ratings, and so on, rating by rating."""
    table = {name: weight.detach().numpy() for name, weight in weights(model).items()}
    gradients = {name: np.zeros_like(array) for name, array in table.items()}
    for user, item, value in zip(USERS.tolist(), ITEMS.tolist(), [1.0, 5, 3, 2, 4], strict=True):
        predicted = 3.5 + table["user_factors"][user] @ table["item_factors"][item]
        if "user_biases" in table:
            predicted += table["user_biases"][user, 0] + table["item_biases"][item, 0]
        push = 2 / 5 * (predicted - value)
        gradients["user_factors"][user] += push * table["item_factors"][item]
        gradients["item_factors"][item] += push * table["user_factors"][user]
        if "user_biases" in table:
            gradients["user_biases"][user] += push
            gradients["item_biases"][item] += push
    return gradients


@BOTH
def test_autograd_hand_and_differences_agree(kind):
    model = made(kind)
    loss(model).backward()
    by_hand = gradients_by_hand(model)
    for name, weight in weights(model).items():

        def at(array, weight=weight):
            kept = weight.detach().clone()
            with torch.no_grad():
                weight.copy_(torch.from_numpy(array))
                result = loss(model).item()
                weight.copy_(kept)
            return result

        same(weight.grad, by_hand[name], 1e-12, what=f"autograd and hand, {name}")
        same(weight.grad, numerical_gradient(at, weight.detach()), 1e-6, what=f"autograd and differences, {name}")
        assert weight.grad.abs().max() > 0.1


@BOTH
def test_sparse_gradients_equal_dense_ones_and_hold_only_looked_up_rows(kind):
    dense, sparse = made(kind), made(kind, sparse=True)
    for model in (dense, sparse):
        loss(model).backward()
    for name, weight in weights(sparse).items():
        assert weight.grad.is_sparse
        same(weight.grad.to_dense(), weights(dense)[name].grad, 1e-14, what=name)
        rows = USERS if name.startswith("user") else ITEMS
        assert set(weight.grad.coalesce().indices()[0].tolist()) == set(rows.tolist())


# -- construction ----------------------------------------------------------------------------------


@BOTH
def test_a_seed_reproduces_and_another_differs(kind):
    one, again, other = (kind(5, 4, 3, seed=seed).to_factors() for seed in (1, 1, 2))
    for name in TABLES[:2]:
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
        assert (getattr(one, name) != getattr(other, name)).any()


@BOTH
def test_construction_neither_reads_nor_moves_the_global_generators(kind):
    torch.manual_seed(0)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = kind(50, 40, 3).to_factors()
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    torch.manual_seed(1)
    np.testing.assert_array_equal(kind(50, 40, 3).to_factors().user_factors, first.user_factors)


@BOTH
def test_the_start_has_the_asked_spread_no_biases_and_is_trainable(kind):
    model = kind(2000, 1000, 10, init_std=0.3)
    factors = model.to_factors()
    assert factors.user_factors.std() == pytest.approx(0.3, rel=0.02)
    assert factors.item_factors.std() == pytest.approx(0.3, rel=0.02)
    assert not factors.user_biases.any()
    assert not factors.item_biases.any()
    assert {id(p) for p in model.parameters()} == {id(w) for w in weights(model).values()}  # μ is not one
    assert all(p.requires_grad for p in model.parameters())


def test_only_the_biased_model_takes_its_mean_from_the_ratings_and_only_if_none_is_given():
    assert not hasattr(MatrixFactorization(1, 1), "mean_from_train")
    assert BiasedMatrixFactorization(1, 1).mean_from_train
    assert not BiasedMatrixFactorization(1, 1, mean=0.0).mean_from_train
    assert BiasedMatrixFactorization(1, 1, mean=3.5).to_factors().mean == 3.5


@BOTH
@pytest.mark.parametrize("size", ["n_users", "n_items", "n_factors"])
def test_sizes_below_one_are_refused(kind, size):
    with pytest.raises(ValueError, match=f"{size}=0: it must be at least 1"):
        kind(**{"n_users": 2, "n_items": 2, "n_factors": 2, size: 0})
    with pytest.raises(ValueError, match=rf"{size}=2\.0: give a whole number"):
        kind(**{"n_users": 2, "n_items": 2, "n_factors": 2, size: 2.0})


@BOTH
def test_numbers_may_be_numpys(kind):
    model = kind(np.int64(5), np.int32(4), np.int8(3), mean=np.float64(3), init_std=np.float64(0.1), seed=np.int64(7))
    plain = kind(5, 4, 3, mean=3, init_std=0.1, seed=7)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert {type(n) for n in (model.n_users, model.n_items, model.n_factors)} == {int}


# -- rows that nothing will train ------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("n_users", "n_items"), [(5, 4), (4, 3)], ids=["same size", "larger model"])
def test_forget_unseen_zeroes_the_rows_without_a_rating_and_no_other(kind, n_users, n_items):
    model = made(kind)
    before = {name: weight.detach().clone() for name, weight in weights(model).items()}
    model.forget_unseen(
        Ratings(USERS[1:4], ITEMS[1:4], [1, 2, 3], n_users, n_items, (1, 5, 1))
    )  # users 1, 3; items 0–2
    for name, weight in weights(model).items():
        unseen = [0, 2, 4] if name.startswith("user") else [3]
        seen = sorted(set(range(len(weight))) - set(unseen))
        assert not weight[unseen].any()
        assert torch.equal(weight[seen], before[name][seen])
        assert weight.requires_grad


@BOTH
def test_forget_unseen_keeps_what_an_earlier_training_had_and_changes_nothing_when_repeated(kind):
    model = made(kind)
    first, second = (Ratings([u], [i], [3], 5, 4, (1, 5, 1)) for u, i in ((1, 0), (3, 2)))
    model.forget_unseen(first)
    loaded = made(kind)
    loaded.load_state_dict(model.state_dict())
    for again in (model, loaded):
        with torch.no_grad():
            again.user_factors.weight[3] = 9  # a row that nothing trained
        state = {name: tensor.clone() for name, tensor in again.state_dict().items()}
        again.forget_unseen(first)
        state["user_factors.weight"][3] = 0
        assert all(torch.equal(state[name], tensor) for name, tensor in again.state_dict().items())
        again.forget_unseen(second)
        assert torch.equal(again.user_factors.weight[1], state["user_factors.weight"][1])
        assert again.user_factors.weight[1].all()
        assert again.trained_users.tolist() == [False, True, False, True, False]
        assert again.trained_items.tolist() == [True, False, True, False]


# -- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (0,), (7,), (2, 3), (3, 0), (1, 1)])
@pytest.mark.parametrize("width", [1, 3])
def test_a_table_looks_up_and_learns_as_pytorchs_embedding(shape, width):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, width, generator=generator, dtype=torch.float64)
    ids = torch.randint(4, shape, generator=generator)
    rows, gradients = [], []
    for kind in (modules.Table, torch.nn.Embedding):
        table = kind.from_pretrained(weight.clone(), freeze=False)
        rows.append(table(ids))
        assert rows[-1].shape == (*shape, width)
        rows[-1].square().sum().backward()
        gradients.append(table.weight.grad)
    assert torch.equal(*rows)
    same(*gradients, 1e-14)


# -- dropout ---------------------------------------------------------------------------------------


@BOTH
def test_evaluation_mode_drops_nothing(kind):
    dropped, whole = made(kind), made(kind)
    dropped.dropout.p = 0.9
    dropped.eval()
    assert torch.equal(dropped(USERS, ITEMS), whole(USERS, ITEMS))
    dropped.train()
    np.testing.assert_array_equal(dropped.predict(USERS, ITEMS), whole.predict(USERS, ITEMS))
    np.testing.assert_array_equal(dropped.to_factors().user_factors, whole.to_factors().user_factors)


@BOTH
def test_dropout_drops_factors_and_neither_the_mean_nor_biases(kind):
    """With m of 3 factors kept, each worth 1 and scaled by 1 / (1 - 0.75), 4 m is added."""
    model = kind(5, 4, 3, mean=3.5, dropout=0.75)
    with torch.no_grad():
        for weight in weights(model).values():
            weight.fill_(1)
    draws = 20_000
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        predicted = model(torch.zeros(draws, dtype=torch.int64), torch.zeros(draws, dtype=torch.int64)).detach()
    kept = (predicted - (3.5 if kind is MatrixFactorization else 5.5)) / 4
    shares = [float((kept == m).double().mean()) for m in range(4)]
    for share, wanted in zip(shares, [27 / 64, 27 / 64, 9 / 64, 1 / 64], strict=True):
        assert share == pytest.approx(wanted, abs=4 * np.sqrt(wanted / draws))


@BOTH
def test_in_the_mean_over_draws_dropout_predicts_as_without(kind):
    dropped, whole = (kind(5, 4, 3, mean=3.5, init_std=0.5, dropout=dropout).double() for dropout in (0.4, 0.0))
    draws = 20_000
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(0)
        predicted = dropped(USERS.expand(draws, 5), ITEMS.expand(draws, 5))
    error = predicted.std(dim=0) / draws**0.5
    assert (error > 0).all()
    assert ((predicted.mean(dim=0) - whole(USERS, ITEMS)).abs() < 4 * error).all()


@BOTH
def test_training_mode_without_dropout_draws_nothing(kind):
    model, state = made(kind), torch.get_rng_state()
    assert torch.equal(model.train()(USERS, ITEMS), model.eval()(USERS, ITEMS))
    assert torch.equal(torch.get_rng_state(), state)


@BOTH
@pytest.mark.parametrize("dropout", [-0.1, 1, 1.0, 1.5, float("nan"), float("inf")])
def test_a_dropout_outside_0_to_below_1_is_refused(kind, dropout):
    with pytest.raises(ValueError, match=f"dropout={dropout}: the share of factors to drop, from 0 to below 1"):
        kind(5, 4, dropout=dropout)


@BOTH
def test_what_is_saved_knows_no_dropout(kind):
    """So what was saved before there was any still loads."""
    names = {f"{name}.weight" for name in weights(made(kind))} | {"mean", "trained_users", "trained_items"}
    names |= {"mean_from_train"} if kind is BiasedMatrixFactorization else set()
    model, saved = kind(5, 4, 3, dropout=np.float64(0.5), seed=1), made(kind, dtype=torch.float32)
    assert set(model.state_dict()) == names
    model.load_state_dict(saved.state_dict(), strict=True)
    np.testing.assert_array_equal(model.predict(USERS, ITEMS), saved.predict(USERS, ITEMS))


@BOTH
def test_dropout_does_not_change_the_start(kind):
    dropped, plain = kind(5, 4, 3, dropout=0.5).state_dict(), kind(5, 4, 3).state_dict()
    assert all(torch.equal(dropped[name], plain[name]) for name in plain)
