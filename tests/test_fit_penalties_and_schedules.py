"""`fit` charges the penalty of `objective`, and learning rates go as PyTorch's schedulers say."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from fitting import (
    BOTH,
    COSINE,
    FULL,
    HALVED,
    N_BATCHES,
    ONE_CYCLE,
    SETTINGS,
    TRAIN,
    VALID,
    assert_equal,
    at_step,
    by_hand,
    history_of,
    interrupt,
    made,
    noting,
)
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from mfhelpers import BiasedMatrixFactorization, MatrixFactorization, Penalty, fit, objective, sgd
from mfhelpers.check import same

# -- penalties -------------------------------------------------------------------------------------

SPARSE = pytest.mark.parametrize("sparse", [False, True])
CHARGED = pytest.mark.parametrize(
    "reg",
    [0.05, Penalty(0.05, power=0.5), Penalty(0.05, power=0), Penalty(0.05, 0.5, biases=0.3), Penalty(0.0, biases=0.3)],
    ids=str,
)


def scattered(kind, sparse=False):
    """Biases too that are not zero, and rows of zeros where there is no training rating."""
    model = made(kind, sparse=sparse, init_std=0.5, mean=3.0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "biases" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator))
    model.forget_unseen(TRAIN)
    return model


def objective_gradients(model, penalty):
    """Of `objective` by autograd, written out in float64."""
    users, items, values = TRAIN.to_tensors()
    tables = {name[:-7]: weight.detach().double().requires_grad_() for name, weight in model.named_parameters()}
    rows = {name: users if name.startswith("user") else items for name in tables}
    p, q, *biases = (weight[rows[name]] for name, weight in tables.items())
    total = (values.double() - model.mean.double() - (p * q).sum(1) - sum(b[:, 0] for b in biases)).square().sum()
    for name, weight in tables.items():
        counts = torch.bincount(rows[name], minlength=len(weight))
        price = torch.where(counts > 0, counts.double() ** penalty.power, 0)
        reg = penalty.biases if name.endswith("biases") else penalty.reg
        total = total + reg * (price * weight.square().sum(1)).sum()
    assert total.item() == pytest.approx(objective(model.to_factors(), TRAIN, penalty), rel=1e-6)
    return dict(zip(tables, torch.autograd.grad(total, list(tables.values())), strict=True))


@BOTH
@SPARSE
@CHARGED
def test_a_full_batch_step_goes_down_the_objective_per_rating(kind, sparse, reg):
    model = scattered(kind, sparse).double()
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    gradients = objective_gradients(model, Penalty.of(reg))
    fit(model, TRAIN, reg=reg, **{**FULL, "lr": 0.5})
    for name, weight in model.named_parameters():
        wanted = start[name] - 0.5 / len(TRAIN) * gradients[name[:-7]]
        same(weight.detach(), wanted, 1e-9, what=name)


@BOTH
@CHARGED
def test_the_batches_of_an_epoch_add_up_to_the_objective(kind, reg):
    """Steps so small that all start from nearly the same place."""
    model = scattered(kind).double()
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    gradients, n_batches = objective_gradients(model, Penalty.of(reg)), 6
    assert len(TRAIN) % n_batches == 0  # else the ratings of the last batch weigh more
    fit(model, TRAIN, reg=reg, **{**FULL, "lr": 1e-6, "batch_size": len(TRAIN) // n_batches})
    for name, weight in model.named_parameters():
        moved = (start[name] - weight.detach()) / 1e-6
        same(moved, n_batches / len(TRAIN) * gradients[name[:-7]], 1e-5, what=name)


@BOTH
@CHARGED
def test_a_full_batch_step_is_that_of_sgd_by_hand(kind, reg):
    """fit takes the mean and the factor 2 of e²; `sgd` the sum without it."""
    model = scattered(kind)
    start, lr = model.to_factors(), 0.01  # below 0.5 / ratings of a row, from where sgd steps less
    options = dict(epochs=1, lr=lr, reg=reg, engine="minibatch", batch_size=len(TRAIN), progress=False)
    wanted = sgd(TRAIN, 3, start=start, biased=kind is BiasedMatrixFactorization, **options)
    fit(model, TRAIN, reg=reg, **{**FULL, "lr": lr * len(TRAIN) / 2})
    assert start.rms_difference(wanted) > 0.03
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        same(getattr(model.to_factors(), name), getattr(wanted, name), 1e-5, what=name)


def strays(optimizer, sparse=False, **options):
    """In each step, how many rows moved that the step's batch did not look up."""

    class Noted(BiasedMatrixFactorization):
        def forward(self, user, item):
            looked_up.update(user=user, item=item)
            return super().forward(user, item)

    def watched(parameters, lr):
        stepper = optimizer(parameters, lr=lr)
        stepper.register_step_pre_hook(lambda *_: kept.update(copy.deepcopy(model.state_dict())))
        stepper.register_step_post_hook(lambda *_: counts.append(sum(map(strayed, model.named_parameters()))))
        return stepper

    def strayed(named):
        moved = (named[1] != kept[named[0]]).any(dim=1)
        moved[looked_up[named[0][:4]]] = False
        return int(moved.sum())

    looked_up, kept, counts, model = {}, {}, [], made(Noted, sparse=sparse)
    fit(model, TRAIN, optimizer=watched, **{**SETTINGS, "batch_size": 16, **options})
    return counts


@pytest.mark.parametrize(
    ("optimizer", "sparse"), [(torch.optim.SGD, False), (torch.optim.SGD, True), (torch.optim.SparseAdam, True)]
)
def test_a_penalty_does_not_move_rows_that_a_batch_does_not_look_up(optimizer, sparse):
    counts = strays(optimizer, sparse, reg=0.5)
    assert len(counts) > 50
    assert not any(counts)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_weight_decay_moves_rows_that_a_penalty_leaves(optimizer):
    """The first step tells: in later ones Adam goes on by its momentum, penalty or none."""
    assert strays(optimizer, reg=0.5)[0] == 0
    assert strays(partial(optimizer, weight_decay=0.5))[0] > 0


@BOTH
@pytest.mark.parametrize(
    ("dense", "sparse"),
    [
        (torch.optim.SGD, torch.optim.SGD),
        # ε is the one thing that they understand differently
        (partial(torch.optim.Adam, eps=1e-12), partial(torch.optim.SparseAdam, eps=1e-12)),
    ],
    ids=["SGD", "Adam"],
)
def test_sparse_gradients_pay_the_same_penalty(kind, dense, sparse):
    """With all ratings in a batch all rows are looked up, and SparseAdam is Adam."""
    one, other, free = scattered(kind), scattered(kind, sparse=True), scattered(kind)
    options = {**FULL, "epochs": 5, "lr": 0.05}
    fit(one, TRAIN, reg=0.5, **{**options, "optimizer": dense})
    fit(other, TRAIN, reg=0.5, **{**options, "optimizer": sparse})
    fit(free, TRAIN, **{**options, "optimizer": dense})
    assert one.to_factors().rms_difference(other.to_factors()) < 1e-5
    assert one.to_factors().rms_difference(free.to_factors()) > 5e-3


@BOTH
@pytest.mark.parametrize("reg", [0, np.float32(0), Penalty(0.0), Penalty(0.0, power=0.5, biases=0)], ids=str)
def test_a_penalty_of_zero_changes_no_bit(kind, reg):
    model, plain = made(kind), made(kind)
    fit(model, TRAIN, reg=reg, **SETTINGS)
    fit(plain, TRAIN, **SETTINGS)
    assert_equal(model, plain)


class Popularity(torch.nn.Module):
    """A number for each item, in a table of any name, and on demand one for each user."""

    def __init__(self, name, by_user=False):
        super().__init__()
        self.name = name
        self.add_module(name, torch.nn.Embedding.from_pretrained(torch.full((30, 1), 2.0), freeze=False))
        self.user_biases = torch.nn.Embedding.from_pretrained(torch.ones(40, 1), freeze=False) if by_user else None

    def forward(self, user, item):
        popularity = getattr(self, self.name)(item)[..., 0]
        return popularity if self.user_biases is None else popularity + self.user_biases(user)[..., 0]


@pytest.mark.parametrize("name", ["item_biases", "popularity"])
def test_a_model_of_ones_own_pays_for_tables_of_four_names(name):
    charged, free = Popularity(name, by_user=True), Popularity(name, by_user=True)
    for model, reg in ((charged, Penalty(9.0, biases=0.1)), (free, 0.0)):
        fit(model, TRAIN, reg=reg, **FULL)
    paid = {what: weight - dict(charged.named_parameters())[what] for what, weight in free.named_parameters()}
    step = 0.02 * 2 * 0.1 / len(TRAIN)
    same(paid["user_biases.weight"].detach()[:, 0], step * TRAIN.user_counts, 1e-6)
    same(paid[f"{name}.weight"].detach()[:, 0], (name == "item_biases") * step * 2 * TRAIN.item_counts, 1e-6)


@pytest.mark.parametrize("reg", [0.1, Penalty(0.0, biases=0.1)], ids=str)
def test_a_penalty_on_a_model_with_nothing_to_charge_for_is_refused_before_anything_is_trained(reg):
    model = Popularity("popularity")
    with pytest.raises(ValueError, match=r"reg=.*: Popularity has no embedding named user_factors, item_factors"):
        fit(model, TRAIN, reg=reg, **SETTINGS)
    assert (model.popularity.weight == 2).all()
    assert history_of(model, TRAIN, reg=0.0, **SETTINGS).epochs == 4


@pytest.mark.parametrize("step", [7, 10_000], ids=["interrupted", "to the end"])
def test_a_penalty_leaves_no_hook_behind(capsys, step):
    model = made()
    fit(model, TRAIN, reg=0.1, optimizer=at_step(step, interrupt), **SETTINGS)
    assert not any(part._forward_hooks for part in model.modules())
    assert_equal(pickle.loads(pickle.dumps(model)), model)


def test_a_penalty_that_forward_gives_nothing_to_charge_for_is_refused():
    class Past(BiasedMatrixFactorization):
        def forward(self, user, item):
            return self.user_biases.weight[user, 0] + self.item_biases.weight[item, 0]

    model = Past(TRAIN.n_users, TRAIN.n_items, 2)
    with pytest.raises(
        ValueError, match="the penalty does not see item_biases, item_factors, user_biases, user_factors"
    ):
        fit(model, TRAIN, reg=0.1, epochs=1)


def test_a_table_looked_up_by_keyword_and_several_times_a_rating_is_charged_for_each_time():
    class Pairs(BiasedMatrixFactorization):
        def forward(self, user, item):
            rows = self.user_factors(input=user[:, None].expand(-1, 3))
            others = self.item_factors(item).sum(1) + self.user_biases(user)[:, 0] + self.item_biases(item)[:, 0]
            return self.mean + 0 * rows.sum((1, 2)) + 0 * others

    model = Pairs(TRAIN.n_users, TRAIN.n_items, 2, mean=0.0)
    before = model.user_factors.weight.detach().clone()
    fit(model, TRAIN, reg=0.5, epochs=1, batch_size=len(TRAIN), optimizer=torch.optim.SGD, lr=0.1)
    counts = torch.tensor(TRAIN.user_counts)[:, None]
    expected = before * (1 - 0.1 * 2 * 0.5 * 3 * counts / len(TRAIN))
    assert torch.allclose(model.user_factors.weight.detach()[counts[:, 0] > 0], expected[counts[:, 0] > 0], atol=1e-6)


def test_a_refused_penalty_leaves_model_and_disk_as_they_were(tmp_path):
    class Half(BiasedMatrixFactorization):
        def forward(self, user, item):
            return self.mean + self.user_biases(user)[:, 0] + 0.0 * item

    model = Half(TRAIN.n_users, TRAIN.n_items, 2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="the penalty does not see item_biases"):
        fit(model, TRAIN, reg=0.1, epochs=1, checkpoint=tmp_path / "file")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not (tmp_path / "file").exists()


# -- schedules -------------------------------------------------------------------------------------

SCHEDULED = pytest.mark.parametrize(
    ("schedule", "every"),
    [(HALVED, "epoch"), (COSINE, "epoch"), (HALVED, "batch"), (ONE_CYCLE, "batch")],
    ids=["StepLR", "CosineAnnealingLR", "StepLR by batch", "OneCycleLR by batch"],
)


def rates_by_torch(schedule, every, n_epochs=4, metrics=None, lr=0.02):
    """What PyTorch's optimiser and scheduler do on their own."""
    stepper, rates = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=lr), []
    scheduler = schedule(stepper)
    for epoch in range(n_epochs):
        for _ in range(N_BATCHES):
            rates.append([stepper.param_groups[0]["lr"]])
            stepper.step()
            if every == "batch":
                scheduler.step()
        if every == "epoch":
            scheduler.step(*() if metrics is None else (metrics[epoch],))
    return rates


@SCHEDULED
def test_rates_are_those_of_pytorchs_scheduler(schedule, every):
    rates = []
    fit(made(), TRAIN, optimizer=noting(rates), schedule=schedule, schedule_every=every, **SETTINGS)
    assert rates == rates_by_torch(schedule, every)
    assert len({rate for (rate,) in rates}) > 1


def test_a_scheduler_steps_after_each_epoch_unless_batches_are_asked_for():
    by_epoch, by_batch = [], []
    fit(made(), TRAIN, optimizer=noting(by_epoch), schedule=HALVED, **SETTINGS)
    fit(made(), TRAIN, optimizer=noting(by_batch), schedule=HALVED, schedule_every="batch", **SETTINGS)
    assert by_epoch == [[0.02]] * 3 * N_BATCHES + [[0.01]] * N_BATCHES
    assert by_batch[:7] == [[0.02]] * 3 + [[0.01]] * 3 + [[0.005]]


@SCHEDULED
def test_fit_with_a_schedule_is_the_plain_loop_with_it(schedule, every):
    def scheduled(parameters, lr):
        stepper, steps = torch.optim.Adam(parameters, lr=lr), []
        scheduler = schedule(stepper)

        def count(*_):
            steps.append(0)
            if every == "batch" or len(steps) % N_BATCHES == 0:
                scheduler.step()

        stepper.register_step_post_hook(count)
        return stepper

    model, plain, constant = made(), made(), made()
    fit(model, TRAIN, schedule=schedule, schedule_every=every, **SETTINGS)
    by_hand(plain, TRAIN, scheduled, epochs=4, batch_size=64, lr=0.02)
    fit(constant, TRAIN, **SETTINGS)
    assert_equal(model, plain)
    assert not torch.equal(model.user_factors.weight, constant.user_factors.weight)


@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "no validation"])
def test_a_plateau_is_one_of_the_validation_rmse_or_else_of_the_training_rmse(valid):
    class Noted(ReduceLROnPlateau):
        def step(self, metrics, **options):
            seen.append(metrics)
            super().step(metrics, **options)

    seen, rates = [], []
    course = dict(epochs=15, lr=0.1, optimizer=noting(rates), schedule=partial(Noted, patience=0, threshold=0.01))
    history = history_of(made(), TRAIN, valid, **{**SETTINGS, **course})
    judged = history.train_rmse if valid is None else history.valid_rmse
    assert seen == judged[1:]
    plateau = partial(ReduceLROnPlateau, patience=0, threshold=0.01)
    by_torch = partial(rates_by_torch, plateau, "epoch", n_epochs=15, lr=0.1)
    assert rates == by_torch(metrics=judged[1:])
    if valid is not None:
        assert rates != by_torch(metrics=history.train_rmse[1:])


@SCHEDULED
def test_rates_for_each_table_keep_their_ratio(schedule, every):
    def each(parameters, lr):
        factors, biases = zip(*[(p, None) if p.shape[1] > 1 else (None, p) for p in parameters], strict=True)
        factors, biases = ([p for p in group if p is not None] for group in (factors, biases))
        return torch.optim.Adam([{"params": factors}, {"params": biases, "lr": 4 * lr}], lr=lr)

    rates = []
    if schedule is ONE_CYCLE:  # it sets the rates itself
        schedule = partial(schedule, max_lr=[0.1, 0.4])
    fit(made(), TRAIN, optimizer=noting(rates, each), schedule=schedule, schedule_every=every, **SETTINGS)
    for low, high in rates:
        assert high == pytest.approx(4 * low, rel=1e-12)
    assert len({low for low, _ in rates}) > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(reg=-0.1), r"reg=-0\.1: it must be at least 0"),
        (dict(reg=float("nan")), "reg=nan: it must be finite"),
        (dict(reg=float("inf")), "reg=inf: it must be finite"),
        (dict(schedule=HALVED, schedule_every="step"), "schedule_every='step': choose 'epoch' or 'batch'"),
        (dict(schedule=HALVED, schedule_every=None), "schedule_every=None"),
        (dict(schedule_every="epochs"), "schedule_every='epochs'"),
        (dict(schedule=ReduceLROnPlateau, schedule_every="batch"), "'batch': ReduceLROnPlateau steps by the RMSE of"),
    ],
    ids=str,
)
def test_bad_penalties_and_schedules_are_refused_before_anything_changes(tmp_path, changes, message):
    model, path = made(), tmp_path / "checkpoint"
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        fit(model, TRAIN, VALID, checkpoint=path, **{**SETTINGS, **changes})
    assert_equal(model, start)
    assert not path.exists()


@pytest.mark.parametrize("schedule", [lambda optimizer: None, StepLR(torch.optim.SGD([torch.zeros(1)]), 1)])
def test_a_schedule_that_makes_no_scheduler_is_refused(schedule):
    with pytest.raises(ValueError, match="schedule"):
        fit(MatrixFactorization(TRAIN.n_users, TRAIN.n_items, 2), TRAIN, schedule=schedule, epochs=1)
