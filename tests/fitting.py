"""What the tests of `fit` train, and how: few ratings, small models, optimisers that note or interrupt."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR

from mfhelpers import BiasedMatrixFactorization, History, MatrixFactorization, fit, random_split, simulate_ratings

BOTH = pytest.mark.parametrize("kind", [MatrixFactorization, BiasedMatrixFactorization])
RATINGS, _ = simulate_ratings(40, 30, 400, min_per_user=5)
# users 0 to 2 and item 0 are left without a training rating
TRAIN, VALID = random_split(RATINGS[(RATINGS.users > 2) & (RATINGS.items > 0)], 0.25)
SETTINGS = dict(epochs=4, batch_size=64, lr=0.02, progress=False, device="cpu")


def made(kind=BiasedMatrixFactorization, k=3, **options):
    return kind(40, 30, k, **options)


def assert_equal(model, other):
    """Bit for bit."""
    states = model.state_dict(), other.state_dict() if isinstance(other, torch.nn.Module) else other
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name]), name


def at_step(n, action, optimizer=torch.optim.Adam):
    """An optimiser that does something right after its n-th step."""

    def ready(parameters, lr):
        stepper, steps = optimizer(parameters, lr=lr), []

        def count(*_):
            steps.append(0)
            if len(steps) == n:
                action(stepper)

        stepper.register_step_post_hook(count)
        return stepper

    return ready


def interrupt(_):
    raise KeyboardInterrupt


def by_hand(model, train, optimizer, epochs, batch_size, lr, seed=0, steps=None):
    """The loop in its plainest form; stops after `steps` steps."""
    if getattr(model, "mean_from_train", False):
        model.mean.fill_(float(np.mean(train.values, dtype=np.float64)))
        model.mean_from_train.fill_(False)
    seen = {"user": set(train.users.tolist()), "item": set(train.items.tolist())}
    for name, weight in model.named_parameters():
        for row in set(range(len(weight))) - seen[name[:4]]:
            weight.data[row] = 0
        getattr(model, f"trained_{name[:4]}s")[sorted(seen[name[:4]])] = True
    stepper = optimizer(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    users, items, values = train.to_tensors()
    done = 0
    for _ in range(epochs):
        order = torch.randperm(len(train), generator=generator)
        for start in range(0, len(train), batch_size):
            if done == steps:
                return
            batch = order[start : start + batch_size]
            loss = (model(users[batch], items[batch]) - values[batch]).square().mean()
            model.zero_grad()
            loss.backward()
            stepper.step()
            done += 1


EARLY = {**SETTINGS, "epochs": 200, "lr": 0.1}
FULL = {**SETTINGS, "epochs": 1, "batch_size": len(TRAIN), "optimizer": torch.optim.SGD}  # one step with all ratings
N_BATCHES = -(-len(TRAIN) // 64)
HALVED = partial(StepLR, step_size=3, gamma=0.5)
COSINE = partial(CosineAnnealingLR, T_max=4)
ONE_CYCLE = partial(OneCycleLR, max_lr=0.1, total_steps=4 * N_BATCHES)


def noting(rates, optimizer=torch.optim.Adam):
    """An optimiser that notes with which rates, one for each group, it makes its steps."""

    def ready(parameters, lr):
        stepper = optimizer(parameters, lr=lr)
        stepper.register_step_pre_hook(lambda *_: rates.append([group["lr"] for group in stepper.param_groups]))
        return stepper

    return ready


def history_of(model, train, valid=None, **settings) -> History:
    """How a training with `fit` went."""
    history = History()
    assert fit(model, train, valid, history=history, **settings) is model
    return history
