"""What `fit`, `als` and `svdpp` write for TensorBoard is what happened, and logging changes nothing."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from fitting import history_of
from logs import (
    EPOCHS,
    LEAST_SQUARES,
    N_BATCHES,
    SETTINGS,
    SWEEPS,
    TRAIN,
    VALID,
    assert_equal,
    files,
    float32,
    histograms,
    hparams,
    made,
    most_rated,
    projected,
    scalars,
)
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from mfhelpers import (
    BiasedMatrixFactorization,
    History,
    MatrixFactorization,
    Penalty,
    Ratings,
    als,
    fit,
    objective,
    simulate_ratings,
)
from mfhelpers.display import tensorboard as logbook

pytestmark = pytest.mark.usefixtures("_no_thread_is_left")
EARLY = {**SETTINGS, "epochs": 200, "lr": 0.1, "patience": 2}
TABLES = ["user_factors", "item_factors", "user_biases", "item_biases"]


class Foreign(torch.nn.Module):
    """Nothing is called as ours is, and a parameter has no axis."""

    def __init__(self):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(3.0))
        self.rows, self.layer = torch.nn.Embedding(40, 4), torch.nn.Linear(4, 1)

    def forward(self, user, item):
        return self.offset + self.layer(self.rows(user))[..., 0] + 0 * item


def spread(table):
    table = np.asarray(table)
    return table.size, table.min(), table.max()


def states_by_epoch(sparse=False, **options):
    """The model after 0, 1, 2 and 3 epochs, from trainings without a log."""
    start = made()
    start.mean.fill_(float(TRAIN.values.mean(dtype=np.float64)))
    start.forget_unseen(TRAIN)
    models = [start]
    for epochs in EPOCHS[1:]:
        models.append(made(sparse=sparse))
        fit(models[-1], TRAIN, VALID, **{**SETTINGS, **options, "epochs": epochs})
    return models


def noting(rates):
    """An optimiser that tells the rate of every step."""

    def ready(parameters, lr):
        stepper = torch.optim.Adam(parameters, lr=lr)
        stepper.register_step_pre_hook(lambda *_: rates.append(stepper.param_groups[0]["lr"]))
        return stepper

    return ready


# -- scalars ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "none"])
@pytest.mark.parametrize(
    "make", [made, partial(made, MatrixFactorization), Foreign], ids=["biased", "plain", "foreign"]
)
def test_the_scalars_of_fit_are_those_of_its_history_for_every_epoch(tmp_path, make, valid):
    history = history_of(make(), TRAIN, valid, log_dir=tmp_path / "new" / "run", **SETTINGS)
    told = scalars(tmp_path / "new" / "run")
    assert history.epochs == 3
    assert told.pop("RMSE/train") == float32(history.train_rmse)
    assert told.pop("seconds") == float32(history.seconds)
    assert told.pop("learning rate") == float32([0.02] * 4)
    if valid is not None:
        assert told.pop("RMSE/validation") == float32(history.valid_rmse)
    assert set(told) == {"result/RMSE", "result/epoch"}


def test_every_group_of_parameters_has_its_learning_rate(tmp_path):
    model = made()
    groups = [{"params": [model.user_factors.weight, model.item_factors.weight], "lr": 0.5}]
    groups += [{"params": [model.user_biases.weight, model.item_biases.weight]}]
    options = {**SETTINGS, "lr": None, "schedule": partial(StepLR, step_size=1, gamma=0.5)}
    fit(model, TRAIN, optimizer=torch.optim.SGD(groups, lr=0.25), log_dir=tmp_path, **options)
    told = scalars(tmp_path)
    assert told["learning rate/0"] == {0: 0.5, 1: 0.5, 2: 0.25, 3: 0.125}
    assert told["learning rate/1"] == {0: 0.25, 1: 0.25, 2: 0.125, 3: 0.0625}
    assert "learning rate" not in told


@pytest.mark.parametrize(
    "schedule",
    [
        partial(StepLR, step_size=1, gamma=0.5),
        partial(LambdaLR, lr_lambda=lambda step: 1 / (1 + step)),
        partial(ReduceLROnPlateau, patience=0, threshold=10),
    ],
    ids=["StepLR", "LambdaLR", "Plateau"],
)
def test_under_a_schedule_the_learning_rate_is_the_one_that_the_epoch_had(tmp_path, schedule):
    rates = []
    fit(made(), TRAIN, optimizer=noting(rates), schedule=schedule, log_dir=tmp_path, **SETTINGS)
    assert len(set(rates)) > 1
    had = [rates[0], *rates[::N_BATCHES]]  # the first epoch's is known before it
    assert scalars(tmp_path)["learning rate"] == float32(had)


def test_under_a_schedule_by_batch_the_learning_rate_is_the_one_of_the_next_step(tmp_path):
    rates = []
    schedule = partial(StepLR, step_size=2, gamma=0.9)
    fit(
        made(), TRAIN, optimizer=noting(rates), schedule=schedule, schedule_every="batch", log_dir=tmp_path, **SETTINGS
    )  # fmt: skip
    told = scalars(tmp_path)["learning rate"]
    assert [told[n] for n in EPOCHS[:3]] == list(float32(rates[::N_BATCHES]).values())


@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "none"])
@pytest.mark.parametrize("solver", ["exact", "cg"])
@LEAST_SQUARES
def test_the_scalars_of_least_squares_are_those_of_their_history_for_every_sweep(tmp_path, solve, solver, valid):
    history = History()
    solve(TRAIN, valid=valid, history=history, solver=solver, log_dir=tmp_path, **SWEEPS)
    told = scalars(tmp_path)
    assert history.epochs == 3
    assert told.pop("RMSE/train") == float32(history.train_rmse)
    assert told.pop("seconds") == float32(history.seconds)
    if valid is not None:
        assert told.pop("RMSE/validation") == float32(history.valid_rmse)
    course = told.pop("objective")
    assert list(course) == EPOCHS
    assert all(course[n] < course[n - 1] for n in EPOCHS[1:])
    assert set(told) == {"result/RMSE", "result/epoch"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_objective_of_als_is_the_objective(tmp_path, dtype):
    penalty, seen = Penalty(0.8, 0.5, 0.3), []
    als(TRAIN, reg=penalty, dtype=dtype, watch=seen.append, log_dir=tmp_path, **SWEEPS)
    told = scalars(tmp_path)["objective"]
    expected = [objective(factors, TRAIN, penalty) for factors in seen]
    assert [told[n] for n in EPOCHS[1:]] == pytest.approx(expected, rel=1e-6)
    assert told[0] > told[1]


# -- histograms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_the_histograms_of_fit_hold_all_parameters_after_every_epoch(tmp_path, sparse):
    fit(made(sparse=sparse), TRAIN, VALID, log_dir=tmp_path, optimizer=torch.optim.SGD, **SETTINGS)
    told = histograms(tmp_path)
    assert set(told) == {"predictions"} | {f"learned/{name}" for name in TABLES}
    for epoch, model in enumerate(states_by_epoch(sparse, optimizer=torch.optim.SGD)):
        for name in TABLES:
            assert told[f"learned/{name}"][epoch] == spread(getattr(model, name).weight.detach()), (name, epoch)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_the_predictions_of_fit_are_those_of_validation_or_else_of_training(tmp_path, part):
    fit(made(), TRAIN, VALID if part == "valid" else None, log_dir=tmp_path, **SETTINGS)
    told, shown = histograms(tmp_path)["predictions"], VALID if part == "valid" else TRAIN
    assert list(told) == EPOCHS
    for epoch, model in enumerate(states_by_epoch()):
        assert told[epoch] == pytest.approx(spread(model.predict(shown.users, shown.items)), rel=1e-6)


@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "none"])
@LEAST_SQUARES
def test_the_histograms_of_least_squares_hold_all_tables_and_predictions(tmp_path, solve, valid):
    seen, shown = [], TRAIN if valid is None else valid
    solve(TRAIN, valid=valid, watch=seen.append, log_dir=tmp_path, **SWEEPS)
    told = histograms(tmp_path)
    assert set(told) == {"predictions"} | {f"learned/{name}" for name in TABLES}
    assert all(list(epochs) == EPOCHS for epochs in told.values())
    for sweep, factors in enumerate(seen, 1):
        for name in TABLES:
            assert told[f"learned/{name}"][sweep] == spread(getattr(factors, name))
        assert told["predictions"][sweep] == spread(factors.predict(shown.users, shown.items))


def test_the_first_histograms_are_those_of_the_start(tmp_path):
    start = als(TRAIN, seed=5, **SWEEPS)
    als(TRAIN, start=start, log_dir=tmp_path, **SWEEPS)
    told = histograms(tmp_path)
    for name in TABLES:
        assert told[f"learned/{name}"][0] == spread(getattr(start, name))
    assert told["predictions"][0] == spread(start.predict(TRAIN.users, TRAIN.items))


def test_of_many_predictions_an_even_sample_is_shown(tmp_path):
    assert logbook.MOST_PREDICTIONS == 2**14
    many, _ = simulate_ratings(200, 150, 2**14 + 1)
    for log_dir, n, train in ((tmp_path / "one", 2**14, many[: 2**14]), (tmp_path / "two", 2**13 + 1, many)):
        factors = als(train, 1, sweeps=1, progress=False, log_dir=log_dir)
        shown = train if n == 2**14 else train[::2]
        assert histograms(log_dir)["predictions"][1] == (n, *spread(factors.predict(shown.users, shown.items))[1:])


def test_of_many_predictions_fit_shows_an_even_sample_too(tmp_path, monkeypatch):
    monkeypatch.setattr(logbook, "MOST_PREDICTIONS", 50)
    model = made()
    fit(model, TRAIN, log_dir=tmp_path, **SETTINGS)
    step = -(-len(TRAIN) // 50)
    some = TRAIN[::step]
    assert 25 < len(some) <= 50
    expected = spread(model.predict(some.users, some.items))
    assert histograms(tmp_path)["predictions"][3] == pytest.approx(expected, rel=1e-6)


def test_the_parameters_of_any_model_are_shown_by_their_names(tmp_path):
    model = Foreign()
    fit(model, TRAIN, log_dir=tmp_path, **SETTINGS)
    told = histograms(tmp_path)
    assert set(told) == {"predictions", "learned/offset", "learned/rows", "learned/layer", "learned/layer.bias"}
    assert told["learned/offset"][3] == (1, model.offset.item(), model.offset.item())
    assert told["learned/layer.bias"][3] == spread(model.layer.bias.detach())
    assert told["learned/rows"][3] == spread(model.rows.weight.detach())


def test_a_model_in_half_precision_is_logged(tmp_path):
    history = history_of(made().to(torch.bfloat16), TRAIN, log_dir=tmp_path, **SETTINGS)
    assert scalars(tmp_path)["RMSE/train"] == float32(history.train_rmse)
    assert list(histograms(tmp_path)["learned/item_factors"]) == EPOCHS
    assert (tmp_path / "projector_config.pbtxt").exists()


# -- logging changes nothing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (made, {}),
        (made, {"patience": 2, "epochs": 100, "lr": 0.1}),
        (made, {"reg": 0.1, "schedule": partial(StepLR, step_size=1)}),
        (partial(made, dropout=0.5), {}),
        (partial(made, sparse=True), {}),
        (partial(made, MatrixFactorization), {}),
    ],
    ids=["biased", "patience", "penalty and schedule", "dropout", "sparse", "plain"],
)
def test_fit_gives_the_same_model_bit_for_bit_with_a_log(tmp_path, make, options):
    logged, plain = make(), make()
    torch.manual_seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    with_log = history_of(logged, TRAIN, VALID, log_dir=tmp_path, **{**SETTINGS, **options})
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    without = history_of(plain, TRAIN, VALID, **{**SETTINGS, **options})
    assert_equal(logged, plain)
    assert (with_log.train_rmse, with_log.valid_rmse) == (without.train_rmse, without.valid_rmse)


def test_the_model_keeps_its_mode_and_steps_are_in_training_mode(tmp_path):
    class Watched(BiasedMatrixFactorization):
        def forward(self, user, item):
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(user, item)

    for mode in (True, False):
        modes, model = [], made(Watched)
        model.train(mode)
        model.item_factors.train(not mode)
        fit(model, TRAIN, VALID, log_dir=tmp_path / str(mode), **SETTINGS)
        assert (model.training, model.item_factors.training) == (mode, not mode)
        assert set(modes) == {(True, True), (False, False)}
        assert modes.count((True, True)) == 3 * N_BATCHES
        assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    "options",
    [{"solver": "exact"}, {"solver": "cg"}, {"valid": VALID, "patience": 1}],
    ids=["exact", "cg", "patience"],
)
@LEAST_SQUARES
def test_least_squares_give_the_same_factors_bit_for_bit_with_a_log(tmp_path, solve, options):
    options = {**SWEEPS, "sweeps": 12, **options}
    assert_equal(solve(TRAIN, log_dir=tmp_path, **options), solve(TRAIN, **options))


def test_nothing_is_printed(tmp_path, capfd):
    fit(made(), TRAIN, VALID, log_dir=tmp_path / "fit", **SETTINGS)
    als(TRAIN, log_dir=tmp_path / "als", **SWEEPS)
    assert capfd.readouterr() == ("", "")


# -- settings and results --------------------------------------------------------------------------


def test_the_settings_of_fit_are_in_the_table_of_hyper_parameters(tmp_path):
    options = {**SETTINGS, "seed": np.int64(5), "lr": np.float32(0.25), "reg": Penalty(np.float32(0.5), 0.5, 0.25)}
    history = history_of(made(), TRAIN, VALID, log_dir=tmp_path, optimizer=torch.optim.SGD, **options)
    settings, results = hparams(tmp_path)
    assert settings == {
        "model": "BiasedMatrixFactorization", "n_factors": 3, "optimizer": "SGD", "lr": 0.25, "batch_size": 64,
        "epochs": 3, "seed": 5, "reg": 0.5, "reg power": 0.5, "reg biases": 0.25,
    }  # fmt: skip
    assert all(isinstance(value, float) for name, value in settings.items() if name not in ("model", "optimizer"))
    assert results == ["result/RMSE", "result/epoch"]
    told = scalars(tmp_path)
    assert told["result/RMSE"] == {3: np.float32(min(history.valid_rmse))}
    assert told["result/epoch"] == {3: history.best_epoch}


def test_several_learning_rates_are_text(tmp_path):
    model = made()
    groups = [{"params": [table], "lr": 0.1 * n} for n, table in enumerate(model.parameters(), 1)]
    fit(model, TRAIN, log_dir=tmp_path, optimizer=torch.optim.SGD(groups), **{**SETTINGS, "lr": None})
    assert hparams(tmp_path)[0]["lr"] == "0.1, 0.2, 0.3, 0.4"


@LEAST_SQUARES
def test_the_settings_of_least_squares_are_in_the_table_of_hyper_parameters(tmp_path, solve):
    history = History()
    solve(TRAIN, reg=Penalty(0.75, 0.5, 0.25), seed=7, history=history, log_dir=tmp_path, **SWEEPS)
    settings, results = hparams(tmp_path)
    wanted = {"model": solve.__name__, "n_factors": 3, "solver": "exact", "sweeps": 3, "seed": 7}
    wanted |= {"reg": 0.75, "reg power": 0.5, "reg biases": 0.25}
    assert {name: settings.get(name) for name in wanted} == wanted
    assert "result/RMSE" in results
    assert scalars(tmp_path)["result/RMSE"] == {3: np.float32(min(history.train_rmse))}


def test_the_result_is_that_of_the_best_epoch(tmp_path):
    history = history_of(made(), TRAIN, VALID, log_dir=tmp_path, **EARLY)
    assert history.best_epoch == history.epochs - 2
    told = scalars(tmp_path)
    assert list(told["RMSE/validation"]) == list(range(history.epochs + 1))
    assert told["result/RMSE"] == {history.epochs: np.float32(history.valid_rmse[history.best_epoch])}
    assert told["result/epoch"] == {history.epochs: history.best_epoch}


# -- the map ---------------------------------------------------------------------------------------

GENRES = np.array([f"Genre{n}|Other" for n in range(30)])
AWKWARD = {
    "Tab\there": "Tab here",
    "Line\nend": "Line end",
    "Return\r\nand more": "Return and more",
    "\"Quoted\", 'so'": "\"Quoted\", 'so'",
    '"': '"',
    "L'été à 日本 🎬": "L'été à 日本 🎬",
    "Next\x85line\u2028and\u2029paragraph": "Next line and paragraph",
    "\tpadded ": "padded",
    "Vertical\x0btab\x0cfeed": "Vertical tab feed",
    "# no comment": "# no comment",
    "": "",
}


def test_the_map_of_fit_shows_each_rated_item_with_its_title_the_most_rated_first(tmp_path):
    model = made()
    fit(model, TRAIN, VALID, log_dir=tmp_path, **SETTINGS)
    shown = most_rated(TRAIN)
    numbers, header, cells = projected(tmp_path)
    assert len(shown) < 30
    assert np.array_equal(numbers, model.item_factors.weight.detach().double().numpy()[shown])
    assert header == ["title", "ratings"]
    assert cells == [[TRAIN.titles[i], str(TRAIN.item_counts[i])] for i in shown]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@LEAST_SQUARES
def test_the_map_of_least_squares_shows_the_factors_that_come_back(tmp_path, solve, dtype):
    factors = solve(TRAIN, dtype=dtype, log_dir=tmp_path, **SWEEPS)
    numbers, _, cells = projected(tmp_path)
    shown = most_rated(TRAIN)
    assert np.array_equal(numbers, factors.item_factors[shown].astype(np.float64))
    assert [title for title, _ in cells] == TRAIN.titles[shown].tolist()


def test_with_patience_the_map_is_that_of_the_best_epoch(tmp_path):
    model = made()
    history = history_of(model, TRAIN, VALID, log_dir=tmp_path / "fit", **EARLY)
    assert history.best_epoch < history.epochs
    shown = most_rated(TRAIN)
    until_best = made()
    fit(until_best, TRAIN, VALID, **{**EARLY, "epochs": history.best_epoch})
    best = until_best.item_factors.weight.detach().double().numpy()[shown]
    assert np.array_equal(projected(tmp_path / "fit")[0], best)

    history = History()
    options = dict(valid=VALID, patience=1, history=history, reg=0.01, sweeps=50, progress=False)
    factors = als(TRAIN, 3, log_dir=tmp_path / "als", **options)
    assert history.best_epoch < history.epochs < 50
    assert np.array_equal(projected(tmp_path / "als")[0], factors.item_factors[shown].astype(np.float64))


def test_genres_are_a_column_of_the_map(tmp_path):
    als(dataclasses.replace(TRAIN, genres=GENRES), log_dir=tmp_path, **SWEEPS)
    _, header, cells = projected(tmp_path)
    assert header == ["title", "genres", "ratings"]
    assert [row[1] for row in cells] == GENRES[most_rated(TRAIN)].tolist()


@pytest.mark.parametrize("awkward", AWKWARD, ids=ascii)
def test_an_awkward_title_stays_one_cell(tmp_path, awkward):
    titles = np.array([awkward if i % 2 else f"Film {i}" for i in range(30)], dtype=object)
    als(dataclasses.replace(TRAIN, titles=titles, genres=titles), 1, sweeps=1, progress=False, log_dir=tmp_path)
    _, _, cells = projected(tmp_path)
    wanted = [AWKWARD[awkward] if i % 2 else f"Film {i}" for i in most_rated(TRAIN)]
    assert [row[:2] for row in cells] == [[title, title] for title in wanted]


def test_only_the_most_rated_items_are_on_the_map(tmp_path, monkeypatch):
    assert logbook.MOST_ITEMS == 10_000
    monkeypatch.setattr(logbook, "MOST_ITEMS", 7)
    factors = als(TRAIN, log_dir=tmp_path, **SWEEPS)
    numbers, _, cells = projected(tmp_path)
    shown = most_rated(TRAIN)[:7]
    assert np.array_equal(numbers, factors.item_factors[shown].astype(np.float64))
    assert [title for title, _ in cells] == TRAIN.titles[shown].tolist()


@pytest.mark.parametrize("label", [str, int, "film {}".format], ids=["text", "numbers", "names"])
def test_ratings_without_titles_have_the_labels_of_their_items(tmp_path, label):
    items = [label(100 + i) for i in TRAIN.items.tolist()]
    train = Ratings.from_arrays(TRAIN.users, items, TRAIN.values)
    als(train, log_dir=tmp_path, **SWEEPS)
    _, _, cells = projected(tmp_path)
    assert [title for title, _ in cells] == [str(train.item_ids[i]) for i in most_rated(train)]


@pytest.mark.parametrize(
    "train", [partial(als, TRAIN, n_factors=0), partial(fit, Foreign(), TRAIN)], ids=["als", "fit"]
)
def test_without_factors_of_items_there_is_no_map_but_the_rest(tmp_path, train):
    options = SETTINGS if train.func is fit else {"sweeps": 3, "progress": False}
    train(log_dir=tmp_path, **options)
    assert not (tmp_path / "projector_config.pbtxt").exists()
    assert len(files(tmp_path)) == 1
    assert list(scalars(tmp_path)["RMSE/train"]) == EPOCHS
    assert list(histograms(tmp_path)["predictions"]) == EPOCHS
    assert "learned/item_factors" not in histograms(tmp_path)
    assert hparams(tmp_path)[1] == ["result/RMSE", "result/epoch"]


def test_a_model_that_is_larger_than_the_ratings_has_a_map_too(tmp_path):
    model = BiasedMatrixFactorization(50, 35, 3)
    fit(model, TRAIN, log_dir=tmp_path, **SETTINGS)
    shown = most_rated(TRAIN)
    assert np.array_equal(projected(tmp_path)[0], model.item_factors.weight.detach().double().numpy()[shown])
