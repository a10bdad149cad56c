"""`PairLoss` and `bpr`, and `fit` with a loss of one's own: against formulas, even draws and `fit` without one."""

import numpy as np
import pytest
import torch
from choosing import QUIET, TEST, TRAIN, drawn, tastes, without
from fitting import (
    BOTH,
    EARLY,
    SETTINGS,
    TRAIN as RATED,
    VALID,
    assert_equal,
    at_step,
    history_of,
    interrupt,
    made,
)
from scipy import stats
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mfhelpers import (
    BiasedMatrixFactorization,
    DivergenceError,
    History,
    Interactions,
    MatrixFactorization,
    PairLoss,
    Penalty,
    Ratings,
    bpr,
    fit,
    most_popular,
    rank,
)
from mfhelpers.algorithms import fit as training


def uneven() -> Interactions:
    """User 0 has chosen all items, user 1 all but one, user 2 none, user 3 the first half and user 4 the last item."""
    chosen = np.random.default_rng(0).random((12, 20)) < 0.4
    chosen[0], chosen[1], chosen[2], chosen[3], chosen[4] = True, np.arange(20) != 7, False, np.arange(20) < 10, False
    chosen[4, 19] = True
    return drawn(chosen)


UNEVEN = uneven()
OPEN = [user for user in range(12) if user != 0]


def others_of(user, part=UNEVEN) -> np.ndarray:
    return np.setdiff1d(np.arange(part.n_items), part.items[part.users == user])


def drawings(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_for(part, kind=BiasedMatrixFactorization, k=4, seed=1):
    model = kind(part.n_users, part.n_items, k, init_std=0.5, seed=seed)
    if hasattr(model, "item_biases"):
        torch.nn.init.normal_(model.item_biases.weight, generator=drawings(3))
    return model


def squared(model, users, items, values):
    return (model(users, items) - values).square().mean()


# -- the other item --------------------------------------------------------------------------------


def test_a_draw_for_each_place_is_each_other_item_once(monkeypatch):
    loss = PairLoss(UNEVEN)
    for user in OPEN:
        others = others_of(user)
        places = (torch.arange(len(others), dtype=torch.float64) + 0.5) / len(others)
        monkeypatch.setattr(torch, "rand", lambda *_, places=places, **__: places)
        assert loss.others(torch.full((len(others),), user)).tolist() == others.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_no_chosen_item_is_ever_drawn(seed):
    part = tastes(50, 30, seed=seed)
    users = torch.arange(50).repeat(200)
    drawn_items = PairLoss(part).others(users, drawings(seed))
    assert (drawn_items >= 0).all()
    assert (drawn_items < 30).all()
    assert not (part.to_csr().toarray() > 0)[users, drawn_items].any()


@pytest.mark.parametrize("user", [1, 2, 3, 4, 9])
def test_other_items_are_drawn_evenly(user):
    drawn_items = PairLoss(UNEVEN).others(torch.full((20_000,), user), drawings(5)).numpy()
    counts = np.bincount(drawn_items, minlength=20)[others_of(user)]
    assert counts.sum() == 20_000
    assert len(counts) == 1 or stats.chisquare(counts).pvalue > 1e-4


def test_draws_of_different_places_are_independent():
    drawn_items = PairLoss(UNEVEN).others(torch.tensor([3, 3]).repeat(20_000), drawings()).numpy().reshape(-1, 2)
    table = np.zeros((10, 10))
    np.add.at(table, tuple(drawn_items.T - 10), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4


# -- the loss --------------------------------------------------------------------------------------


@BOTH
def test_the_loss_is_the_mean_of_minus_log_sigma_of_the_difference(kind):
    model, loss = model_for(UNEVEN, kind).eval(), PairLoss(UNEVEN)
    users, items, values = UNEVEN.to_tensors()
    got = loss(model, users, items, values).item()
    kept = users > 0
    others = loss.others(users[kept], drawings()).numpy()
    factors, own = model.to_factors(), users[kept].numpy()
    apart = factors.predict(own, items[kept].numpy()).astype(np.float64) - factors.predict(own, others)
    assert got == pytest.approx(-np.log(1 / (1 + np.exp(-apart))).mean(), rel=1e-5)


@BOTH
def test_its_gradient_is_that_of_the_formula(kind):
    loss, (users, items, values) = PairLoss(UNEVEN), UNEVEN.to_tensors()
    given, written = model_for(UNEVEN, kind).eval(), model_for(UNEVEN, kind)
    loss(given, users, items, values).backward()
    kept = users > 0
    users, items, others = users[kept], items[kept], loss.others(users[kept], drawings())
    p, q = written.user_factors.weight, written.item_factors.weight
    apart = (p[users] * (q[items] - q[others])).sum(1)
    if hasattr(written, "item_biases"):
        apart = apart + (written.item_biases.weight[items] - written.item_biases.weight[others])[:, 0]
    (-torch.log(torch.sigmoid(apart)).sum() / len(users)).backward()
    for name, table in given.named_parameters():
        wanted = dict(written.named_parameters())[name].grad
        torch.testing.assert_close(
            table.grad, torch.zeros_like(table) if wanted is None else wanted, rtol=1e-4, atol=1e-7
        )


@pytest.mark.parametrize("apart", [-200.0, 200.0])
def test_scores_far_apart_give_a_finite_loss_and_gradient(apart):
    part = drawn(np.array([[True, False]]))
    model = MatrixFactorization(1, 2, 1, init_std=0)
    model.user_factors.weight.data[:], model.item_factors.weight.data[0] = 1, apart
    loss = PairLoss(part)(model, *part.to_tensors())
    loss.backward()
    assert loss.item() == pytest.approx(max(-apart, 0), abs=1e-6)
    assert model.item_factors.weight.grad.isfinite().all()


def test_users_who_have_chosen_everything_have_no_pair():
    model, loss = model_for(UNEVEN).eval(), PairLoss(UNEVEN)
    users, items, values = UNEVEN.to_tensors()
    full = users == 0
    with_them, without_them = (loss(model, users[k], items[k], values[k]) for k in (full | ~full, ~full))
    assert with_them.item() == without_them.item()
    alone = loss(model, users[full], items[full], values[full])
    alone.backward()
    assert alone.item() == 0
    assert all(table.grad is None or not table.grad.any() for table in model.parameters())


def test_judging_draws_the_same_each_time_and_training_does_not():
    model, loss = model_for(UNEVEN), PairLoss(UNEVEN)
    model.eval()
    before = torch.get_rng_state()
    assert loss(model, *UNEVEN.to_tensors()).item() == loss(model, *UNEVEN.to_tensors()).item()
    assert torch.equal(torch.get_rng_state(), before)
    model.train()
    assert loss(model, *UNEVEN.to_tensors()).item() != loss(model, *UNEVEN.to_tensors()).item()


def test_pairs_are_made_of_interactions_or_ratings_alone():
    assert torch.equal(PairLoss(RATED).below, PairLoss(RATED.to_interactions()).below)
    with pytest.raises(ValueError, match="train is csr_array: give Ratings or Interactions"):
        PairLoss(UNEVEN.to_csr())


# -- bpr -------------------------------------------------------------------------------------------

FEW = {"epochs": 3, "batch_size": 256, "device": "cpu", **QUIET}


def assert_same_factors(one, another):
    for name in ("user_factors", "item_factors", "item_biases", "user_biases"):
        np.testing.assert_array_equal(getattr(one, name), getattr(another, name))


def test_it_beats_what_is_popular():
    popular, fitted = (
        rank(model, TEST, exclude=TRAIN) for model in (most_popular(TRAIN), bpr(TRAIN, 8, lr=0.02, **QUIET))
    )
    for name in ("ndcg@10", "auc"):
        mean, low, _ = fitted.difference(popular, name)
        assert mean > low > 0


def test_its_order_is_learned_where_every_user_likes_one_half():
    likes = np.arange(30)[:, None] % 2 == np.arange(40) % 2
    train = drawn(likes & (np.random.default_rng(0).random(likes.shape) < 0.6))
    factors = bpr(train, 4, epochs=60, lr=0.02, **QUIET)
    scores = factors.predict_all(np.arange(30))
    assert np.where(likes, scores, np.inf).min(axis=1).mean() > np.where(likes, -np.inf, scores).max(axis=1).mean()


def test_a_seed_reproduces_and_another_differs():
    before = torch.get_rng_state()
    one, again, other = (bpr(TRAIN, 3, seed=seed, **FEW) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_factors(one, again)
    assert not np.array_equal(one.item_factors, other.item_factors)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_gpu_and_cpu_draw_the_same_pairs_and_reach_the_same_scores():
    histories = [History(), History()]
    options = {"epochs": 10, "lr": 0.02, "seed": 3, **QUIET}
    on_cpu, on_gpu = (
        bpr(TRAIN, 8, device=device, history=history, valid=TEST, **options)
        for device, history in zip(("cpu", "cuda"), histories, strict=True)
    )
    assert histories[1].device.startswith("cuda")
    assert histories[1].train_error == pytest.approx(histories[0].train_error, abs=1e-3)
    assert histories[1].valid_error == pytest.approx(histories[0].valid_error, abs=1e-3)
    assert on_gpu.rms_difference(on_cpu) < 1e-2


def test_weights_play_no_part_and_of_ratings_those_from_at_least_are_chosen():
    weighted = drawn(TRAIN.to_csr().toarray() > 0, np.random.default_rng(0).uniform(1, 9, (90, 60)))
    assert_same_factors(bpr(weighted, 3, **FEW), bpr(drawn(TRAIN.to_csr().toarray() > 0), 3, **FEW))
    for at_least in (None, 4):
        assert_same_factors(bpr(RATED, 3, at_least=at_least, **FEW), bpr(RATED.to_interactions(at_least), 3, **FEW))


def test_it_is_fit_with_pair_loss():
    model = BiasedMatrixFactorization(90, 60, 3, mean=0.0, seed=4)
    fit(model, TRAIN, loss=PairLoss(TRAIN), lr=0.005, reg=0.01, seed=4, **FEW)
    assert_same_factors(bpr(TRAIN, 3, seed=4, **FEW), model.to_factors())


def test_a_history_tells_the_loss_of_a_pair():
    history, loss = History(), PairLoss(TRAIN)
    factors = bpr(TRAIN, 3, valid=TEST, history=history, init_std=1e-6, **FEW | {"epochs": 20})
    assert history.measure == "pair loss"
    assert history.train_error[0] == pytest.approx(np.log(2), abs=1e-4)
    assert len(history.train_error) == len(history.valid_error) == 21
    for part, error in ((TRAIN, history.train_error[-1]), (TEST, history.valid_error[-1])):
        others = loss.others(torch.tensor(part.users), drawings()).numpy()
        apart = factors.predict(part.users, part.items) - factors.predict(part.users, others)
        assert error == pytest.approx(np.log1p(np.exp(-apart)).mean(), rel=1e-5)
        assert error < np.log(2)
    with pytest.raises(AttributeError, match="this training made the pair loss small: see train_error and valid_error"):
        _ = history.train_rmse


def test_patience_stops_and_returns_the_best():
    history, seen = History(), []
    got = bpr(
        TRAIN, 20, lr=0.05, reg=0, valid=TEST, patience=2, history=history, epochs=100, **QUIET,
        watch=lambda model: seen.append(model.to_factors()),
    )  # fmt: skip
    assert history.stopped == "early"
    assert history.epochs == history.best_epoch + 2
    assert_same_factors(got, seen[history.best_epoch - 1])


def test_users_without_an_interaction_are_cold_and_items_that_nobody_chose_are_only_others():
    got = bpr(without(TRAIN, 3, 2), 3, lr=0.02, **FEW | {"epochs": 30})
    assert not got.user_factors[:3].any()
    assert got.trained_users.tolist() == [False] * 3 + [True] * 87
    assert got.trained_items.tolist() == [False] * 2 + [True] * 58
    assert got.item_biases[:2].max() < got.item_biases[2:].min()


def test_a_log_has_the_loss_of_a_pair(tmp_path):
    pytest.importorskip("tensorboard")
    from logs import float32, hparams, scalars

    history = History()
    bpr(TRAIN, 3, valid=TEST, history=history, log_dir=tmp_path / "run", **FEW)
    told = scalars(tmp_path / "run")
    assert told["pair loss/train"] == float32(history.train_error)
    assert told["pair loss/validation"] == float32(history.valid_error)
    assert set(hparams(tmp_path / "run")[1]) == {"result/pair loss", "result/epoch"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": TRAIN.to_csr()}, "train is csr_array: give Ratings or Interactions"),
        ({"at_least": 4}, "at_least=4: the train part has no stars"),
        ({"train": RATED, "at_least": 4, "valid": VALID.to_interactions()}, "at_least=4: the valid part has no stars"),
        ({"n_factors": 0}, "n_factors=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"lr": 0}, "lr=0: it must be above 0"),
        ({"reg": -1}, "reg=-1"),
        ({"init_std": 0}, "init_std=0.1"),
        ({"seed": -1}, "seed=-1"),
        ({"device": "mars"}, "mars"),
        ({"valid": UNEVEN}, "are not parts of the same interactions"),
        ({"patience": 2}, "patience=2: early stopping needs validation"),
        ({"watch": 1}, "watch=1: give a function"),
        ({"history": History([1.0])}, "empty History"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    given = {"train": TRAIN, "n_factors": 3, **QUIET} | options
    with pytest.raises(ValueError, match=message):
        bpr(given.pop("train"), given.pop("n_factors"), **given)


# -- fit with a loss of one's own ------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"reg": Penalty(0.1, 0.5)}, EARLY | {"patience": 3}], ids=["plain", "reg", "early"]
)
def test_squared_errors_by_hand_train_as_fit_without_a_loss(kind, sparse, options):
    usual, own = made(kind, sparse=sparse), made(kind, sparse=sparse)
    course = history_of(usual, RATED, VALID, **SETTINGS | options)
    told = history_of(own, RATED, VALID, loss=squared, **SETTINGS | options)
    assert_equal(own, usual)
    assert told.measure == "squared"
    assert told.train_error == pytest.approx(np.square(course.train_rmse), rel=1e-5)
    assert told.valid_error == pytest.approx(np.square(course.valid_rmse), rel=1e-5)
    assert (told.stopped, told.best_epoch) == (course.stopped, course.best_epoch)


def test_a_loss_may_be_large_from_the_start():
    percent = Ratings(RATED.users, RATED.items, 25 * (RATED.values - 1), 40, 30, (0, 100, 0))
    usual, own = made(), made()
    fit(usual, percent, **SETTINGS)
    fit(own, percent, loss=squared, **SETTINGS)
    assert_equal(own, usual)


def test_the_penalty_is_on_every_row_that_a_loss_looks_up():
    def twice(model, users, items, values):
        return (model(users, items) - model(users, (items + 1) % 30) - values).square().mean()

    penalty, counts = Penalty(0.3, 0.5), (RATED.user_counts, RATED.item_counts)
    given = made()
    fit(
        given,
        RATED,
        loss=twice,
        reg=penalty,
        optimizer=torch.optim.SGD,
        **SETTINGS | {"epochs": 1, "batch_size": 10**6},
    )
    written, (users, items, values) = made(), RATED.to_tensors()
    written.mean.fill_(float(np.mean(RATED.values, dtype=np.float64)))
    written.forget_unseen(RATED)
    total = twice(written, users, items, values)
    shares = [torch.tensor(penalty.reg * penalty.per_rating(count), dtype=torch.float32) for count in counts]
    for side, share, looked_up in zip(
        ("user", "item"), shares, ([users, users], [items, (items + 1) % 30]), strict=True
    ):
        for numbers in looked_up:
            for table in (getattr(written, f"{side}_factors"), getattr(written, f"{side}_biases")):
                total = total + (share[numbers] * table.weight[numbers].square().sum(1)).sum() / len(values)
    total.backward()
    for name, table in written.named_parameters():
        torch.testing.assert_close(given.get_parameter(name), table - 0.02 * table.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weights", [None, lambda stars: stars / 5])
def test_of_interactions_a_loss_gets_the_weights(weights):
    part, seen = RATED.to_interactions(weights=weights), []

    def loss(model, users, items, values):
        seen.extend(zip(users.tolist(), items.tolist(), values.tolist(), strict=True))
        return squared(model, users, items, values)

    model = fit(made(MatrixFactorization), part, loss=loss, **SETTINGS | {"epochs": 1})
    amounts = np.ones(len(part), np.float32) if part.weights is None else part.weights
    wanted = zip(part.users.tolist(), part.items.tolist(), amounts.tolist(), strict=True)
    assert sorted(seen[: 3 * len(part)]) == sorted(3 * list(wanted))  # judged, trained, judged
    assert model.to_factors().trained_users.tolist() == (part.user_counts > 0).tolist()


def test_interactions_bring_no_mean():
    model = fit(made(), RATED.to_interactions(), loss=squared, **SETTINGS)
    assert model.to_factors().mean == 0


def test_without_a_loss_interactions_are_refused():
    for part in ({"train": RATED.to_interactions()}, {"train": RATED, "valid": VALID.to_interactions()}):
        name = list(part)[-1]
        with pytest.raises(ValueError, match=f"{name} is Interactions: give Ratings"):
            fit(made(), **part, **SETTINGS)


@pytest.mark.parametrize("loss", [1, "squared", torch.ones(2)])
def test_a_loss_that_is_no_function_is_refused(loss):
    with pytest.raises(
        ValueError, match=r"loss=.*: give a function \(model, users, items, values\) -> mean loss of a batch"
    ):
        fit(made(), RATED, loss=loss, **SETTINGS)


def test_a_loss_that_grows_beyond_all_bounds_is_called_by_its_name():
    def steep(model, users, items, values):
        return squared(model, users, items, values)

    steep.name = "steepness"
    history = History()
    with pytest.raises(DivergenceError, match=r"diverged in epoch \d+ at learning rate 50: training steepness"):
        fit(made(), RATED, loss=steep, optimizer=torch.optim.SGD, history=history, **SETTINGS | {"lr": 50, "epochs": 9})
    assert history.stopped == "diverged"
    with pytest.raises(ValueError, match=r"first predictions are not finite \(loss nan\)"):
        fit(
            made(),
            RATED,
            loss=lambda model, users, items, values: squared(model, users, items, values) * np.nan,
            **SETTINGS,
        )


def test_a_schedule_by_plateau_steps_by_the_loss():
    seen = []

    class Noting(ReduceLROnPlateau):
        def step(self, metrics):
            seen.append(metrics)

    for valid, errors in ((None, "train_error"), (VALID, "valid_error")):
        seen.clear()
        history = history_of(made(), RATED, valid, loss=squared, schedule=Noting, **SETTINGS)
        assert seen == getattr(history, errors)[1:]


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_the_loss_of_all_is_the_mean_however_it_is_cut(chunk, monkeypatch):
    whole = history_of(made(), RATED, VALID, loss=squared, **SETTINGS)
    monkeypatch.setattr(training, "EVALUATION_CHUNK", chunk)
    pieces = history_of(made(), RATED, VALID, loss=squared, **SETTINGS)
    assert pieces.train_error == pytest.approx(whole.train_error, rel=1e-5)
    assert pieces.valid_error == pytest.approx(whole.valid_error, rel=1e-5)


@pytest.mark.parametrize(
    "returned", [lambda errors: errors.square(), lambda errors: errors.square().mean().item(), lambda errors: None],
    ids=["a number each", "a number of Python", "nothing"],
)  # fmt: skip
def test_a_loss_that_is_not_one_tensor_is_refused(returned):
    with pytest.raises(ValueError, match="loss"):
        fit(made(), RATED, loss=lambda model, users, items, values: returned(model(users, items) - values), **SETTINGS)


# -- checkpoints -----------------------------------------------------------------------------------


def pair_training(**options):
    part, held_out = RATED.to_interactions(), VALID.to_interactions()
    return part, held_out, {**SETTINGS, "loss": PairLoss(part), "reg": 0.01} | options


@pytest.mark.parametrize("options", [{}, {"patience": 2, "epochs": 30, "lr": 0.1}], ids=["plain", "early"])
def test_a_resumed_training_with_a_loss_equals_an_uninterrupted_one(tmp_path, options):
    part, held_out, settings = pair_training(**options)
    whole, resumed = made(mean=0.0), made(mean=0.0, seed=9)
    course = history_of(whole, part, held_out, **settings)
    settings |= {"checkpoint": tmp_path / "checkpoint", "resume": True}
    fit(made(mean=0.0), part, held_out, **settings | {"epochs": 2})
    told = history_of(resumed, part, held_out, **settings)
    assert_equal(resumed, whole)
    assert (told.train_error, told.valid_error, told.measure) == (course.train_error, course.valid_error, "pair loss")


@pytest.mark.parametrize("step", [1, 6, 13])
def test_an_interrupted_training_with_a_loss_resumes_from_the_last_whole_epoch(tmp_path, capsys, step):
    part, held_out, settings = pair_training()
    whole, resumed = made(mean=0.0), made(mean=0.0)
    fit(whole, part, held_out, **settings)
    settings["checkpoint"] = tmp_path / "checkpoint"
    fit(made(mean=0.0), part, held_out, optimizer=at_step(step, interrupt), **settings)
    fit(resumed, part, held_out, resume=True, **settings)
    assert_equal(resumed, whole)


def test_a_checkpoint_belongs_to_its_loss(tmp_path):
    path = tmp_path / "checkpoint"
    fit(made(), RATED, checkpoint=path, **SETTINGS)
    for loss in (squared, PairLoss(RATED)):
        with pytest.raises(ValueError, match="checkpoint belongs to another training: its loss"):
            fit(made(), RATED, loss=loss, checkpoint=path, resume=True, **SETTINGS)


def test_a_loss_belongs_to_its_training_part_and_has_a_name_of_its_own(tmp_path):
    other = TRAIN[TRAIN.items < TRAIN.n_items - 1]
    fewer = Interactions(other.users, other.items, other.n_users, other.n_items - 1)
    with pytest.raises(ValueError, match="are not parts of the same interactions"):
        fit(MatrixFactorization(TRAIN.n_users, TRAIN.n_items), TRAIN, loss=PairLoss(fewer), **SETTINGS)
    unnamed = lambda model, users, items, values: model(users, items).square().mean()  # noqa: E731
    with pytest.raises(ValueError, match="this one has none"):
        fit(
            MatrixFactorization(TRAIN.n_users, TRAIN.n_items),
            TRAIN,
            loss=unnamed,
            checkpoint=tmp_path / "x",
            **SETTINGS,
        )
    unnamed.name = "RMSE"
    with pytest.raises(ValueError, match="not 'RMSE', which is of stars"):
        fit(MatrixFactorization(TRAIN.n_users, TRAIN.n_items), TRAIN, loss=unnamed, **SETTINGS)


def test_a_forward_of_another_shape_is_refused_with_a_loss_too():
    class Column(MatrixFactorization):
        def forward(self, user, item):
            return super().forward(user, item)[:, None]

    with pytest.raises(ValueError, match=r"forward returned shape \(2, 1\)"):
        fit(Column(TRAIN.n_users, TRAIN.n_items), TRAIN, loss=squared, **SETTINGS)
