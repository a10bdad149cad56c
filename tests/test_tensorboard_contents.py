"""What `fit`, `als` and `svdpp` write for TensorBoard is what happened, and logging changes and harms nothing."""

import copy
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from mfhelpers import (
    BiasedMatrixFactorization,
    DivergenceError,
    History,
    MatrixFactorization,
    Penalty,
    Ratings,
    als,
    fit,
    objective,
    random_split,
    simulate_ratings,
    svdpp,
    tensorboard,
)
from mfhelpers.algorithms import als as least_squares
from mfhelpers.algorithms import fit as training
from mfhelpers.display import tensorboard as logbook

pytest.importorskip("tensorboard")

from google.protobuf import text_format
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.summary.writer import event_file_writer

ROOT = Path(__file__).parents[1]
RATINGS, _ = simulate_ratings(40, 30, 400, min_per_user=5)
# users 0 to 2 and item 0 are left without a training rating
TRAIN, VALID = random_split(RATINGS[(RATINGS.users > 2) & (RATINGS.items > 0)], 0.25)
SETTINGS = dict(epochs=3, batch_size=64, lr=0.02, progress=False, device="cpu")
EARLY = {**SETTINGS, "epochs": 200, "lr": 0.1, "patience": 2}
SWEEPS = dict(n_factors=3, sweeps=3, progress=False)
EPOCHS = [0, 1, 2, 3]
N_BATCHES = -(-len(TRAIN) // 64)
TABLES = ["user_factors", "item_factors", "user_biases", "item_biases"]
LEAST_SQUARES = pytest.mark.parametrize("solve", [als, svdpp])


def made(kind=BiasedMatrixFactorization, k=3, **options):
    return kind(40, 30, k, **options)


class Foreign(torch.nn.Module):
    """Nothing is called as ours is, and a parameter has no axis."""

    def __init__(self):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(3.0))
        self.rows, self.layer = torch.nn.Embedding(40, 4), torch.nn.Linear(4, 1)

    def forward(self, user, item):
        return self.offset + self.layer(self.rows(user))[..., 0] + 0 * item


# -- reading ---------------------------------------------------------------------------------------


def opened(folder):
    return _opened(str(folder), *sorted((path.name, path.stat().st_size) for path in Path(folder).glob("events*")))


@lru_cache(maxsize=2)  # its check sums are slow
def _opened(folder, *files):
    guidance = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 0)
    return event_accumulator.EventAccumulator(folder, size_guidance=guidance).Reload()


def scalars(folder):
    """{name: {epoch: value}}; an epoch that is there twice is an error."""
    run = opened(folder)
    return {name: once([(event.step, event.value) for event in run.Scalars(name)]) for name in run.Tags()["scalars"]}


def histograms(folder):
    """{name: {epoch: (number of values, min, max)}}."""
    run = opened(folder)
    return {
        name: once([(e.step, (e.histogram_value.num, e.histogram_value.min, e.histogram_value.max)) for e in events])
        for name in run.Tags()["histograms"]
        for events in [run.Histograms(name)]
    }


def once(pairs):
    steps = [step for step, _ in pairs]
    assert steps == sorted(set(steps))
    return dict(pairs)


def hparams(folder):
    """The settings, and the names of the results."""
    parts = opened(folder).PluginTagToContent("hparams")
    settings, results = {}, []
    for content in parts.values():
        part = HParamsPluginData.FromString(content)
        settings |= {k: getattr(v, v.WhichOneof("kind")) for k, v in part.session_start_info.hparams.items()}
        results += [metric.name.tag for metric in part.experiment.metric_infos]
    return settings, results


def projected(folder):
    """The rows of numbers on the map, and header and cells beside them."""
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (items,) = config.embeddings
    texts = [(folder / path).read_bytes().decode() for path in (items.tensor_path, items.metadata_path)]
    assert all(text.endswith("\n") for text in texts)
    numbers, cells = ([line.split("\t") for line in text[:-1].split("\n")] for text in texts)
    header, *cells = cells
    assert {len(row) for row in cells} == {len(header)}
    assert len(cells) == len(numbers)
    return np.array(numbers, dtype=np.float64), header, cells


def files(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def float32(values):
    return dict(enumerate(np.array(values, dtype=np.float32).astype(np.float64).tolist()))


def spread(table):
    table = np.asarray(table)
    return table.size, table.min(), table.max()


def assert_equal(one, other):
    """Models, factors or state dicts, bit for bit."""
    states = [
        x if isinstance(x, dict) else x.state_dict() if hasattr(x, "state_dict") else vars(x) for x in (one, other)
    ]
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        assert np.array_equal(np.asarray(states[0][name]), np.asarray(states[1][name])), name


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


def interrupt(*_):
    raise KeyboardInterrupt


def fails(*_):
    raise ZeroDivisionError("mine")


def at_step(n, action):
    """An optimiser that does something right after its n-th step."""

    def ready(parameters, lr):
        stepper, steps = torch.optim.Adam(parameters, lr=lr), []

        def count(*_):
            steps.append(0)
            if len(steps) == n:
                action(stepper)

        stepper.register_step_post_hook(count)
        return stepper

    return ready


def noting(rates):
    """An optimiser that tells the rate of every step."""

    def ready(parameters, lr):
        stepper = torch.optim.Adam(parameters, lr=lr)
        stepper.register_step_pre_hook(lambda *_: rates.append(stepper.param_groups[0]["lr"]))
        return stepper

    return ready


def explode(optimizer):
    optimizer.param_groups[0]["params"][0].data.mul_(1e6)


def in_epoch(n, action):
    """A schedule that does something after the n-th epoch."""

    def rate(step):
        return action() if step == n else 1.0

    return partial(LambdaLR, lr_lambda=rate)


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = set(threading.enumerate())
    yield
    new = set(threading.enumerate()) - before
    assert [thread for thread in new if type(thread).__module__.startswith("tensorboard")] == []  # tqdm has one too


# -- scalars ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", [VALID, None], ids=["validation", "none"])
@pytest.mark.parametrize(
    "make", [made, partial(made, MatrixFactorization), Foreign], ids=["biased", "plain", "foreign"]
)
def test_the_scalars_of_fit_are_those_of_its_history_for_every_epoch(tmp_path, make, valid):
    history = fit(make(), TRAIN, valid, log_dir=tmp_path / "new" / "run", **SETTINGS)
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
    history = fit(made().to(torch.bfloat16), TRAIN, log_dir=tmp_path, **SETTINGS)
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
    with_log = fit(logged, TRAIN, VALID, log_dir=tmp_path, **{**SETTINGS, **options})
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    without = fit(plain, TRAIN, VALID, **{**SETTINGS, **options})
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
    history = fit(made(), TRAIN, VALID, log_dir=tmp_path, optimizer=torch.optim.SGD, **options)
    settings, results = hparams(tmp_path)
    assert settings == {
        "model": "BiasedMatrixFactorization", "n_factors": 3, "optimizer": "SGD", "lr": 0.25, "batch_size": 64,
        "epochs": 3, "seed": 5, "reg": 0.5, "reg_exponent": 0.5, "reg_biases": 0.25,
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
    wanted |= {"reg": 0.75, "reg_exponent": 0.5, "reg_biases": 0.25}
    assert {name: settings.get(name) for name in wanted} == wanted
    assert "result/RMSE" in results
    assert scalars(tmp_path)["result/RMSE"] == {3: np.float32(min(history.train_rmse))}


def test_the_result_is_that_of_the_best_epoch(tmp_path):
    history = fit(made(), TRAIN, VALID, log_dir=tmp_path, **EARLY)
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


def most_rated(train):
    """Items with a rating, the most rated first, and of equals the lower number."""
    return sorted((i for i in range(train.n_items) if train.item_counts[i]), key=lambda i: (-train.item_counts[i], i))


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
    history = fit(model, TRAIN, VALID, log_dir=tmp_path / "fit", **EARLY)
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


# -- refused before anything is trained ------------------------------------------------------------


def below_a_file(folder):
    (folder / "file").write_text("in the way")
    return folder / "file" / "run"


def a_file(folder):
    (folder / "file").write_text("in the way")
    return folder / "file"


def with_a_run(folder):
    als(TRAIN, log_dir=folder / "run", **SWEEPS)
    return folder / "run"


REFUSED = pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        (with_a_run, ValueError, "holds a run already, .*: name a new folder, or delete this one"),
        (a_file, OSError, "cannot be written .*: name another folder"),
        (below_a_file, OSError, "cannot be written .*: name another folder"),
    ],
    ids=["a run", "a file", "below a file"],
)


@REFUSED
def test_a_log_dir_that_will_not_do_is_refused_before_fit_trains(tmp_path, monkeypatch, place, error, message):
    log_dir = place(tmp_path)
    before, model = files(tmp_path), made()
    monkeypatch.setattr(training, "_epoch", lambda *_: pytest.fail("it trained"))
    with pytest.raises(error, match=f"log_dir='{log_dir}' {message}"):
        fit(model, TRAIN, VALID, log_dir=log_dir, **SETTINGS)
    assert files(tmp_path) == before


@REFUSED
def test_a_log_dir_that_will_not_do_leaves_the_model_as_it_was(tmp_path, place, error, message):
    log_dir, model = place(tmp_path), made()
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(error):
        fit(model, TRAIN, VALID, log_dir=log_dir, **SETTINGS)
    assert_equal(model, start)


@pytest.mark.parametrize("place", [a_file, below_a_file])
def test_a_log_dir_that_will_not_do_leaves_a_model_to_be_resumed_as_it_was(tmp_path, place):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint"}
    fit(made(), TRAIN, **options)
    model, log_dir = made(seed=9), place(tmp_path)
    start, before = copy.deepcopy(model.state_dict()), files(tmp_path)
    with pytest.raises(OSError, match="cannot be written .*: name another folder"):
        fit(model, TRAIN, resume=True, log_dir=log_dir, **options)
    assert files(tmp_path) == before
    assert_equal(model, start)


@REFUSED
@LEAST_SQUARES
def test_a_log_dir_that_will_not_do_is_refused_before_least_squares_solve(
    tmp_path, monkeypatch, place, error, message, solve
):
    log_dir, history = place(tmp_path), History()
    before = files(tmp_path)
    monkeypatch.setattr(least_squares._Sides, "sweep", lambda *_: pytest.fail("it trained"))
    monkeypatch.setattr(least_squares._ImplicitSides, "sweep", lambda *_: pytest.fail("it trained"))
    with pytest.raises(error, match=f"log_dir='{log_dir}' {message}"):
        solve(TRAIN, log_dir=log_dir, watch=lambda _: pytest.fail("it trained"), history=history, **SWEEPS)
    assert files(tmp_path) == before
    assert history.epochs < 1


def test_a_refused_log_dir_leaves_the_history_of_als_empty_for_the_next_try(tmp_path):
    history = History()
    with pytest.raises(OSError, match="name another folder"):
        als(TRAIN, log_dir=a_file(tmp_path), history=history, **SWEEPS)
    als(TRAIN, log_dir=tmp_path / "another", history=history, **SWEEPS)
    assert list(scalars(tmp_path / "another")["RMSE/train"].values()) == list(float32(history.train_rmse).values())


def test_settings_that_are_refused_leave_no_log(tmp_path):
    for wrong in ({"epochs": 0}, {"schedule": 3}, {"patience": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fit(made(), TRAIN, log_dir=tmp_path / "run", **{**SETTINGS, **wrong})
    with pytest.raises(ValueError, match="solver"):
        als(TRAIN, solver="guess", log_dir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_runs_beside_each_other_and_in_an_empty_folder_are_welcome(tmp_path):
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "notes.txt").write_text("mine")
    courses = {
        name: fit(made(seed=n), TRAIN, log_dir=tmp_path / name, **SETTINGS) for n, name in enumerate(("one", "two"))
    }
    als(TRAIN, log_dir=tmp_path, **SWEEPS)  # a folder of runs may be one too
    for name, history in courses.items():
        assert scalars(tmp_path / name)["RMSE/train"] == float32(history.train_rmse)
    assert (tmp_path / "two" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("missing", ["tensorboard", "torch.utils.tensorboard"])
def test_without_tensorboard_the_error_names_the_remedy_before_anything_is_trained(tmp_path, monkeypatch, missing):
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(training, "_epoch", lambda *_: pytest.fail("it trained"))
    remedy = r"log_dir needs TensorBoard: pip install -c constraints\.txt tensorboard"
    with pytest.raises(ImportError, match=remedy):
        fit(made(), TRAIN, log_dir=tmp_path / "run", **SETTINGS)
    with pytest.raises(ImportError, match=remedy):
        als(TRAIN, log_dir=tmp_path / "run", watch=lambda _: pytest.fail("it trained"), **SWEEPS)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_is_only_imported_for_a_log(children):
    assert children["imported early"] == [[]]


# -- continued -------------------------------------------------------------------------------------


def assert_as_uninterrupted(folder, history):
    assert history.epochs == 3
    told, shown = scalars(folder), histograms(folder)
    assert told["RMSE/train"] == float32(history.train_rmse)
    assert told["RMSE/validation"] == float32(history.valid_rmse)
    assert list(told["learning rate"]) == EPOCHS
    assert told["result/RMSE"][3] == np.float32(min(history.valid_rmse))
    assert all(list(epochs) == EPOCHS for epochs in shown.values())


@pytest.fixture
def counted_anew(monkeypatch):
    """TensorBoard sorts the files of a folder by name, which has the second, then a count as text: 100 before 99."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_resumed_training_goes_on_in_the_same_log(tmp_path, counted_anew, epochs):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True, "log_dir": tmp_path / "run"}
    options["schedule"] = partial(StepLR, step_size=1, gamma=0.5)
    fit(made(), TRAIN, VALID, **{**options, "epochs": epochs})
    assert list(scalars(tmp_path / "run")["RMSE/train"]) == EPOCHS[: epochs + 1]
    resumed = fit(made(seed=9), TRAIN, VALID, **options)
    assert_as_uninterrupted(tmp_path / "run", resumed)
    fit(made(), TRAIN, VALID, **{**options, "checkpoint": None, "resume": False, "log_dir": tmp_path / "whole"})
    told, whole = scalars(tmp_path / "run"), scalars(tmp_path / "whole")
    for name in ("RMSE/train", "RMSE/validation", "learning rate"):
        assert told[name] == whole[name]
    assert histograms(tmp_path / "run") == histograms(tmp_path / "whole")
    assert np.array_equal(projected(tmp_path / "run")[0], projected(tmp_path / "whole")[0])


def test_what_was_logged_beyond_the_checkpoint_no_longer_counts(tmp_path, counted_anew):
    """As if the process had been killed before the checkpoints of the second and third epoch."""
    options = {**SETTINGS, "log_dir": tmp_path / "run"}
    fit(made(), TRAIN, VALID, checkpoint=tmp_path / "early", **{**SETTINGS, "epochs": 1})
    fit(made(), TRAIN, VALID, checkpoint=tmp_path / "late", **options)
    history = fit(made(), TRAIN, VALID, checkpoint=tmp_path / "early", resume=True, **options)
    assert_as_uninterrupted(tmp_path / "run", history)
    assert len(list((tmp_path / "run").glob("events*"))) == 2


@pytest.mark.parametrize("step", [1, N_BATCHES + 1, 3 * N_BATCHES], ids=["first epoch", "second", "third"])
def test_an_interrupted_training_goes_on_in_the_same_log(tmp_path, counted_anew, capsys, step):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True, "log_dir": tmp_path / "run"}
    stopped = fit(made(), TRAIN, VALID, optimizer=at_step(step, interrupt), **options)
    assert stopped.stopped == "interrupted"
    history = fit(made(), TRAIN, VALID, **options)
    assert_as_uninterrupted(tmp_path / "run", history)


def test_a_training_of_which_nothing_is_left_to_do_leaves_a_readable_log(tmp_path, counted_anew, capsys):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True, "log_dir": tmp_path / "run"}
    fit(made(), TRAIN, VALID, **options)
    history = fit(made(), TRAIN, VALID, **options)
    assert [event.step for event in opened(tmp_path / "run").Scalars("RMSE/train")] == EPOCHS
    assert {event.value for event in opened(tmp_path / "run").Scalars("result/epoch")} == {history.best_epoch}
    assert capsys.readouterr().out == ""


def test_resume_without_a_checkpoint_file_does_not_mix_two_runs(tmp_path):
    log_dir = with_a_run(tmp_path)
    before = files(log_dir)
    with pytest.raises(ValueError, match="holds a run already"):
        fit(made(), TRAIN, checkpoint=tmp_path / "none", resume=True, log_dir=log_dir, **SETTINGS)
    assert files(log_dir) == before


def test_the_learning_rate_among_the_settings_of_a_resumed_training_is_the_one_it_began_with(tmp_path):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True}
    options["schedule"] = partial(StepLR, step_size=1, gamma=0.5)
    fit(made(), TRAIN, **{**options, "epochs": 2})
    fit(made(), TRAIN, log_dir=tmp_path / "run", **options)
    assert hparams(tmp_path / "run")[0]["lr"] == 0.02
    assert list(scalars(tmp_path / "run")["RMSE/train"]) == [3]


# -- cut short -------------------------------------------------------------------------------------


def assert_whole_until(folder, epochs):
    """All that is written for each epoch, and the end."""
    told, shown = scalars(folder), histograms(folder)
    wanted = list(range(epochs + 1))
    assert list(told["RMSE/train"]) == list(told["seconds"]) == wanted
    assert all(list(values) == wanted for values in shown.values())
    assert hparams(folder)[1] == ["result/RMSE", "result/epoch"]
    assert len(told["result/RMSE"]) == 1
    assert len(projected(folder)[0]) == len(most_rated(TRAIN))


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({"optimizer": at_step(1, interrupt)}, 0),
        ({"optimizer": at_step(N_BATCHES + 2, interrupt)}, 1),
        ({"schedule": in_epoch(2, interrupt)}, 2),
        ({"schedule": in_epoch(3, interrupt)}, 3),
    ],
    ids=["first step", "second epoch", "after the second", "after the last"],
)
def test_an_interrupted_fit_leaves_the_log_of_all_epochs_done(tmp_path, capsys, options, epochs):
    model, options = made(), {**SETTINGS, **options}
    history = fit(model, TRAIN, VALID, log_dir=tmp_path, **options)
    assert (history.stopped, history.epochs) == ("interrupted", epochs)
    assert_whole_until(tmp_path, epochs)
    shown = most_rated(TRAIN)
    assert np.array_equal(projected(tmp_path)[0], model.item_factors.weight.detach().double().numpy()[shown])


def test_an_interruption_while_the_log_is_written_leaves_it_readable(tmp_path, monkeypatch, capsys):
    from torch.utils.tensorboard import SummaryWriter

    add, calls = SummaryWriter.add_histogram, []

    def interrupted(*arguments, **options):
        calls.append(0)
        return interrupt() if len(calls) == 7 else add(*arguments, **options)

    monkeypatch.setattr(SummaryWriter, "add_histogram", interrupted)
    history = fit(made(), TRAIN, VALID, log_dir=tmp_path, **SETTINGS)
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert list(scalars(tmp_path)["RMSE/train"]) == [0, 1]
    assert hparams(tmp_path)[0]["epochs"] == 3


@pytest.mark.parametrize("sweep", [1, 2, 3])
@LEAST_SQUARES
def test_interrupted_least_squares_leave_the_log_of_all_sweeps_done(tmp_path, capsys, solve, sweep):
    seen, history = [], History()

    def watch(factors):
        seen.append(factors)
        if len(seen) == sweep:
            interrupt()

    factors = solve(TRAIN, history=history, watch=watch, log_dir=tmp_path, **SWEEPS)
    assert (history.stopped, history.epochs) == ("interrupted", sweep)
    assert_whole_until(tmp_path, sweep)
    assert np.array_equal(projected(tmp_path)[0], factors.item_factors[most_rated(TRAIN)].astype(np.float64))


def test_the_map_of_als_interrupted_within_a_sweep_is_that_of_the_factors_that_come_back(tmp_path, monkeypatch, capsys):
    look = least_squares._Sides.look

    def interrupted(self, done, cheap=False, calls=[]):  # noqa: B006
        calls.append(0)
        look(self, done, cheap) if len(calls) != 3 else interrupt()

    monkeypatch.setattr(least_squares._Sides, "look", interrupted)
    factors = als(TRAIN, log_dir=tmp_path, **SWEEPS)
    assert np.array_equal(projected(tmp_path)[0], factors.item_factors[most_rated(TRAIN)].astype(np.float64))


def test_a_divergence_in_fit_is_the_error_and_the_log_ends_one_epoch_before(tmp_path):
    model = made()
    with pytest.raises(DivergenceError, match="diverged in epoch 3 at learning rate 0.02"):
        fit(model, TRAIN, VALID, optimizer=at_step(2 * N_BATCHES + 1, explode), log_dir=tmp_path, **SETTINGS)
    assert_whole_until(tmp_path, 2)
    shown = most_rated(TRAIN)
    assert np.array_equal(projected(tmp_path)[0], model.item_factors.weight.detach().double().numpy()[shown])


def test_a_divergence_to_what_is_no_number_is_the_error_too(tmp_path):
    options = {**SETTINGS, "optimizer": torch.optim.SGD, "lr": 500}
    with pytest.raises(DivergenceError, match="diverged in epoch 1 at learning rate 500"):
        fit(made(), TRAIN, VALID, log_dir=tmp_path, **options)
    assert_whole_until(tmp_path, 0)


@pytest.mark.parametrize("factor", [5, np.nan])
def test_a_divergence_in_als_is_the_error_and_the_log_ends_one_sweep_before(tmp_path, monkeypatch, factor):
    solve, halves = least_squares._exact, iter(range(100))

    def spoiled(*size):
        half = solve(*size)
        return lambda *sides: half(*sides) * (factor if next(halves) >= 5 else 1)  # from the items of the third

    monkeypatch.setattr(least_squares, "_exact", spoiled)
    with pytest.raises(DivergenceError, match="by sweep 3"):
        als(TRAIN, log_dir=tmp_path, **SWEEPS)
    assert_whole_until(tmp_path, 2)


def test_any_other_error_is_raised_as_it_was_and_the_log_is_closed(tmp_path):
    with pytest.raises(ZeroDivisionError, match="mine"):
        fit(made(), TRAIN, VALID, schedule=in_epoch(2, fails), log_dir=tmp_path / "fit", **SETTINGS)
    assert_whole_until(tmp_path / "fit", 2)
    with pytest.raises(ZeroDivisionError, match="mine"):
        als(TRAIN, watch=fails, log_dir=tmp_path / "als", **SWEEPS)
    assert_whole_until(tmp_path / "als", 1)


def test_a_checkpoint_that_cannot_be_written_is_the_error_and_the_log_is_closed(tmp_path):
    with pytest.raises(OSError, match="the checkpoint .* cannot be written"):
        fit(made(), TRAIN, checkpoint=below_a_file(tmp_path), log_dir=tmp_path / "run", **SETTINGS)
    assert not list((tmp_path / "run").iterdir())
    fit(made(), TRAIN, log_dir=tmp_path / "run", **SETTINGS)  # with the mistake mended the folder can be taken
    assert hparams(tmp_path / "run")[0]["epochs"] == 3


def test_two_trainings_at_once_leave_what_is_printed_alone(tmp_path, capsys):
    work = [threading.Thread(target=als, args=(TRAIN,), kwargs={**SWEEPS, "log_dir": tmp_path / name}) for name in "ab"]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    print("still here")
    assert capsys.readouterr().out == "still here\n"


# -- disks that fill up ----------------------------------------------------------------------------


def test_a_map_that_cannot_be_written_is_a_warning_and_the_rest_is_there(tmp_path):
    (tmp_path / "00003").write_text("where the map would be")
    model, plain = made(), made()
    with pytest.warns(RuntimeWarning, match=f"the log in {tmp_path} ends here .*; the training goes on") as told:
        history = fit(model, TRAIN, VALID, log_dir=tmp_path, **SETTINGS)
    assert len(told) == 1
    fit(plain, TRAIN, VALID, **SETTINGS)
    assert_equal(model, plain)
    assert scalars(tmp_path)["RMSE/train"] == float32(history.train_rmse)
    assert hparams(tmp_path)[0]["epochs"] == 3


CHILD = """
import json, sys
import mfhelpers.algorithms.fit, mfhelpers.display.tensorboard
print(json.dumps(["imported early", [name for name in sys.modules if name.startswith("tensorb")]]), flush=True)
import test_tensorboard_contents
for kind, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    getattr(test_tensorboard_contents, kind)(test_tensorboard_contents.Path(folder))
"""


@pytest.fixture(scope="module")
def children():
    """What a process with bad disks tells, by kind of disk: one process for all, since it takes long to start."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # other users may enter
        kinds, wrapper = {}, []
        for kind in ("full", "limited", "read_only"):
            kinds[kind] = Path(folder, kind)
            kinds[kind].mkdir()
        mount = 'mount -t tmpfs -o size=512k none "$0" && exec "$@"'
        mount = ["unshare", "-m", "sh", "-c", mount, str(kinds["full"])]
        if shutil.which("unshare") and not subprocess.run([*mount, "true"], capture_output=True).returncode:
            wrapper = mount
        else:
            del kinds["full"]
        command = [*wrapper, sys.executable, "-c", CHILD, *(str(word) for pair in kinds.items() for word in pair)]
        path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": path}
        )
        assert process.returncode == 0, process.stderr
        told = {}
        for kind, line in map(json.loads, process.stdout.splitlines()):
            told.setdefault(kind, []).append(line)
        yield told


def assert_harmless(told):
    """Refused at the start, or else the right result, one warning if the log is cut, and a log that can be read."""
    assert {line["training"] for line in told} == {"fit", "als"}
    for line in told:
        if line["refused"]:
            assert "cannot be written" in line["refused"], line
            assert "name another folder" in line["refused"], line
            continue
        assert line["right"], line
        assert len(line["warnings"]) == (not line["whole"]), line
        for warning in line["warnings"]:
            assert warning.startswith(f"RuntimeWarning: the log in {line['folder']} ends here ("), line
            assert warning.endswith("); the training goes on"), line
        assert line["epochs"] == list(range(len(line["epochs"]))), line


@pytest.mark.parametrize("name", ["fit", "als"])
@pytest.mark.parametrize("kind", ["limited", "full"])
def test_a_disk_that_fills_up_ends_the_log_and_not_the_training(children, kind, name):
    """With a limit on the size of files, and with a real disk of 512 KB, mounted for one process alone."""
    if kind not in children:
        pytest.skip("needs the right to mount a small tmpfs")
    assert_harmless(children[kind])
    first, *cut, last = (line for line in children[kind] if line["training"] == name)
    assert first["whole"]
    assert last["refused"]
    assert not any(line["refused"] or line["whole"] for line in cut)
    # in the middle of the epochs, and where all of them have their place, but not what comes after
    lengths = {len(line["epochs"]) for line in cut}
    assert min(lengths) < max(lengths) == 4


@pytest.mark.parametrize("kind", ["limited", "full"])
def test_what_was_refused_can_be_tried_again_when_there_is_space(children, kind):
    if kind not in children:
        pytest.skip("needs the right to mount a small tmpfs")
    refused = [line for line in children[kind] if line["refused"]]
    assert refused
    assert [line["left"] for line in refused] == [[]] * len(refused)


def test_a_read_only_folder_is_refused_before_anything_is_trained(children):
    assert len(children["read_only"]) == 2
    assert all(line["refused"] for line in children["read_only"])
    assert_harmless(children["read_only"])


def tell(kind, name, folder):
    """Train with a log in the folder and print what came of it; returns how large the log was."""
    log_dir, refused, result = folder / f"run-{time.time_ns()}", "", None

    def run(**options):
        if name == "als":
            return als(TRAIN, valid=VALID, **SWEEPS, **options)
        model = made()
        fit(model, TRAIN, VALID, **SETTINGS, **options)
        return model

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = run(log_dir=log_dir)
        except OSError as error:
            refused = str(error)
    told = {"training": name, "folder": str(log_dir), "refused": refused, "right": False, "epochs": []}
    told["warnings"] = [f"{warning.category.__name__}: {warning.message}" for warning in caught]
    if not refused:
        with suppress(AssertionError):
            assert_equal(result, run())
            told["right"] = True
        scalar_names = opened(log_dir).Tags()["scalars"]
        told["epochs"] = [*scalars(log_dir).get("RMSE/train", ())]
        with suppress(OSError, ValueError):  # an empty list of maps
            told["whole"] = "result/epoch" in scalar_names and len(projected(log_dir)[0]) == len(most_rated(TRAIN))
    told |= {"whole": told.get("whole", False), "left": sorted(path.name for path in log_dir.rglob("*"))}
    size = sum(path.stat().st_size for path in log_dir.rglob("events*")) if log_dir.exists() else 0
    print(json.dumps([kind, told]), flush=True)
    shutil.rmtree(log_dir, ignore_errors=True)
    return size


def limited(folder):
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does by itself: a write fails instead
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in ("fit", "als"):
        size = tell("limited", name, folder)
        for share in (0.98, 0.9, 0.5, 0.4, 0.02, 0):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), limits[1]))
            tell("limited", name, folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def full(folder):
    page = os.sysconf("SC_PAGESIZE")  # what a file takes at least
    for name in ("fit", "als"):
        pages = -(-tell("full", name, folder) // page)
        for free in (pages + 2, pages + 1, pages, pages - 1, pages // 2, 1, 0):
            with (folder / "filler").open("wb", buffering=0) as filler:
                with suppress(OSError):
                    while True:
                        filler.write(bytes(page))
                filler.truncate(filler.tell() - free * page)
            tell("full", name, folder)
            (folder / "filler").unlink()


def read_only(folder):
    folder.chmod(0o555)
    if not os.getuid():
        os.seteuid(65534)  # permissions do not bind root
    for name in ("fit", "als"):
        tell("read_only", name, folder)


# -- the page ----------------------------------------------------------------------------------------


@pytest.fixture
def kernel(monkeypatch):
    """As in a notebook that somebody looks at; what is displayed goes into the list."""
    shown: list = []
    monkeypatch.setattr("mfhelpers.display.notebook.in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    for name in ("MFHELPERS_PROGRESS", "JUPYTERHUB_SERVICE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    yield shown
    for process, _ in logbook._SERVERS.values():
        process.terminate()
        process.wait(10)
    logbook._SERVERS.clear()


def test_the_page_is_served_below_the_cell_and_knows_the_runs(kernel, tmp_path):
    als(TRAIN, 2, sweeps=1, log_dir=tmp_path / "one", progress=False)
    tensorboard(tmp_path)
    tensorboard(tmp_path, height=300)
    first, second = (shown.data for shown in kernel)
    addresses = [re.search(r'new URL\("(http://localhost:\d+/)"', page)[1] for page in (first, second)]
    assert addresses[0] == addresses[1]  # one server for both
    assert 'height="800"' in first
    assert 'height="300"' in second
    with urllib.request.urlopen(addresses[0] + "data/runs", timeout=30) as answer:
        assert json.load(answer) == ["one"]


def test_the_page_ends_with_its_process(tmp_path):
    code = "import sys; from pathlib import Path; from mfhelpers.display import tensorboard as logbook; print(logbook._serve(Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=90, check=True
    )
    for _ in range(100):
        try:
            urllib.request.urlopen(done.stdout.strip(), timeout=5).close()
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("it still answers")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("MFHELPERS_PROGRESS", "0", "a page made by a machine"), ("JUPYTERHUB_SERVICE_PREFIX", "/user/x/", "not yours")],
)
def test_where_no_page_can_show_it_the_command_is_named(kernel, tmp_path, monkeypatch, capsys, name, value, said):
    monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    tensorboard("runs")
    assert not kernel
    assert said in (words := capsys.readouterr().out)
    assert words.endswith("in a terminal: tensorboard --logdir runs\n")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder: train with log_dir="):
        tensorboard(tmp_path / "none")


def test_what_a_server_said_that_did_not_start_is_told(kernel, tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho all is lost >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    with pytest.raises(RuntimeError, match="did not start.*: all is lost"):
        tensorboard(tmp_path)
