"""Dropout in `fit`: drawn anew in each step, from the seed alone, and left out where a model is judged."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fitting import BOTH, FULL, N_BATCHES, SETTINGS, TRAIN, VALID, assert_equal, at_step, history_of, interrupt, made

from mfhelpers import MatrixFactorization, fit, rmse


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_is_drawn_from_the_seed(dropout):
    """With all ratings in a batch their order hardly matters, and what differs are the draws."""
    one, again, other = (made(dropout=dropout, init_std=0.5) for _ in range(3))
    for model, seed in ((one, 1), (again, 1), (other, 2)):
        fit(model, TRAIN, seed=seed, **{**FULL, "epochs": 4, "lr": 5.0})
    assert_equal(one, again)
    apart = one.to_factors().rms_difference(other.to_factors())
    assert apart > 1e-2 if dropout else apart < 1e-5


@BOTH
def test_each_step_draws_anew_and_judging_draws_nothing(kind):
    kept = []
    for seed in (1, 2):
        model = made(kind, dropout=0.3)
        model.dropout.register_forward_hook(lambda part, _, output: kept.append((part.training, output != 0)))
        fit(model, TRAIN, VALID, seed=seed, **SETTINGS)
    masks = [mask[: len(TRAIN) % 64] for trained, mask in kept if trained]  # the last batch is small
    assert len({mask.numpy().tobytes() for mask in masks}) == len(masks) == 2 * 4 * N_BATCHES
    assert 0.65 < torch.cat(masks).float().mean() < 0.75
    # the rows of users and items without a training rating are zero
    warm = (VALID.users > 2) & (VALID.items > 0) & ~model.cold(VALID.users, VALID.items)
    judged = [mask for trained, mask in kept if not trained and len(mask) == len(VALID)]
    assert len(judged) == 2 * 5
    assert all(mask[warm].all() for mask in judged)


def test_history_judges_without_dropout():
    model = made(dropout=0.5)
    history = history_of(model, TRAIN, VALID, **SETTINGS)
    assert history.train_rmse[-1] == pytest.approx(rmse(model, TRAIN), rel=1e-6)
    assert history.valid_rmse[-1] == pytest.approx(rmse(model, VALID), rel=1e-6)


def test_validation_data_move_no_draw():
    with_valid, without = made(dropout=0.5), made(dropout=0.5)
    fit(with_valid, TRAIN, VALID, **SETTINGS)
    fit(without, TRAIN, **SETTINGS)
    assert_equal(with_valid, without)


@pytest.mark.parametrize("optimizer", [None, at_step(7, interrupt)], ids=["to the end", "interrupted"])
def test_dropout_neither_reads_nor_moves_the_global_generator(capsys, optimizer):
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        models.append(made(dropout=0.5))
        fit(models[-1], TRAIN, VALID, optimizer=optimizer, **SETTINGS)
        assert torch.equal(torch.get_rng_state(), state)
    assert_equal(*models)


def test_the_generators_of_devices_that_do_not_train_are_left_alone(monkeypatch):
    for device in ("cuda", "mps", "xpu"):
        for name in ("manual_seed", "manual_seed_all"):
            if hasattr(getattr(torch, device), name):
                monkeypatch.setattr(getattr(torch, device), name, lambda *_: pytest.fail("a seed for another device"))
    fit(made(dropout=0.5), TRAIN, **SETTINGS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_dropout_on_a_gpu_neither_reads_nor_moves_its_generator():
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states = torch.get_rng_state(), torch.cuda.get_rng_state()
        models.append(made(dropout=0.5))
        fit(models[-1], TRAIN, VALID, **{**SETTINGS, "device": "cuda"})
        assert torch.equal(torch.get_rng_state(), states[0])
        assert torch.equal(torch.cuda.get_rng_state(), states[1])
    assert models[0].to_factors().rms_difference(models[1].to_factors()) < 1e-2


@pytest.mark.parametrize("seed", [2**40, 2**63, 2**64 - 1])
def test_any_seed_that_a_generator_takes_will_do(seed):
    one, again = made(dropout=0.5), made(dropout=0.5)
    for model in (one, again):
        fit(model, TRAIN, seed=seed, **SETTINGS)
    assert_equal(one, again)


def test_trainings_in_threads_reproduce_their_seeds_and_leave_the_global_generator():
    alone, together = ([made(dropout=0.5) for _ in range(3)] for _ in range(2))
    for seed, model in enumerate(alone):
        fit(model, TRAIN, seed=seed, **SETTINGS)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda pair: fit(pair[1], TRAIN, seed=pair[0], **SETTINGS), enumerate(together)))
    for one, other in zip(alone, together, strict=True):
        assert_equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


@BOTH
def test_without_dropout_fit_trains_the_bare_formula_bit_for_bit(kind):
    class Bare(kind):
        def forward(self, user, item):
            dots = self.mean + (self.user_factors(user) * self.item_factors(item)).sum(-1)
            if kind is MatrixFactorization:
                return dots
            return dots + (self.user_biases(user)[..., 0] + self.item_biases(item)[..., 0])

    model, bare, dropped = made(kind, dropout=0.0), made(Bare), made(kind, dropout=0.5)
    for trained in (model, bare, dropped):
        fit(trained, TRAIN, **SETTINGS)
    assert_equal(model, bare)
    assert not torch.equal(dropped.user_factors.weight, bare.user_factors.weight)
