"""Checkpoints of `fit`: a resumed training is the uninterrupted one, and no other file is taken for one."""

import copy
import dataclasses
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fitting import (
    COSINE,
    EARLY,
    HALVED,
    N_BATCHES,
    ONE_CYCLE,
    SETTINGS,
    TRAIN,
    VALID,
    assert_equal,
    at_step,
    history_of,
    interrupt,
    made,
    noting,
)
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, ReduceLROnPlateau, StepLR

from mfhelpers import MatrixFactorization, Penalty, fit
from mfhelpers.algorithms import fit as training

# -- checkpoints -----------------------------------------------------------------------------------


def assert_same_course(resumed, whole):
    for field in ("train_rmse", "valid_rmse", "n_train", "stopped", "epochs", "best_epoch"):
        assert getattr(resumed, field) == getattr(whole, field)
    assert (np.diff(resumed.seconds) > 0).all()


@pytest.mark.parametrize("optimizer", [None, torch.optim.SGD, partial(torch.optim.SGD, momentum=0.9)])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path, optimizer, sparse):
    options = {**SETTINGS, "optimizer": optimizer, "checkpoint": tmp_path / "checkpoint", "resume": True}
    whole, resumed = made(sparse=sparse), made(sparse=sparse, seed=9)  # the seed of the start is overwritten
    course = history_of(whole, TRAIN, VALID, **{**options, "checkpoint": tmp_path / "another"})
    fit(made(sparse=sparse), TRAIN, VALID, **{**options, "epochs": 2})
    assert_same_course(history_of(resumed, TRAIN, VALID, **options), course)
    assert_equal(resumed, whole)


@pytest.mark.parametrize("step", [1, 5, 6, 13])
def test_an_interrupted_training_resumes_from_the_last_whole_epoch(tmp_path, capsys, step):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint"}
    whole, resumed = made(), made()
    course = history_of(whole, TRAIN, **SETTINGS)
    assert history_of(made(), TRAIN, optimizer=at_step(step, interrupt), **options).stopped == "interrupted"
    assert_same_course(history_of(resumed, TRAIN, resume=True, **options), course)
    assert_equal(resumed, whole)


@pytest.mark.parametrize("epochs", [1, 6, 200])
def test_early_stopping_survives_a_resume(tmp_path, epochs):
    options = dict(patience=3, checkpoint=tmp_path / "checkpoint", resume=True)
    whole, resumed = made(), made()
    course = history_of(whole, TRAIN, VALID, patience=3, **EARLY)
    fit(made(), TRAIN, VALID, **{**EARLY, "epochs": epochs}, **options)
    assert_same_course(history_of(resumed, TRAIN, VALID, **EARLY, **options), course)
    assert_equal(resumed, whole)


def test_a_killed_training_resumes(tmp_path):
    path = tmp_path / "checkpoint"
    child = subprocess.Popen([sys.executable, __file__, str(path)])
    try:
        deadline, versions = time.monotonic() + 60, set()
        while len(versions) < 4 and child.poll() is None and time.monotonic() < deadline:  # epochs 0 to 3
            versions |= {path.stat().st_mtime_ns} if path.exists() else set()
            time.sleep(0.005)
    finally:
        child.kill()
        child.wait()
    if sys.platform != "win32":
        assert child.returncode == -signal.SIGKILL
    done = len(torch.load(path)["history"]["train_error"]) - 1
    assert done >= 2
    options = {**SETTINGS, "epochs": done + 2}
    whole, resumed = made(), made()
    course = history_of(whole, TRAIN, **options)
    assert_same_course(history_of(resumed, TRAIN, checkpoint=path, resume=True, **options), course)
    assert_equal(resumed, whole)


def test_the_checkpoint_is_replaced_only_when_whole(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    fit(made(), TRAIN, checkpoint=path, **{**SETTINGS, "epochs": 2})
    kept = path.read_bytes()

    def full_disk(state, file):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        fit(made(), TRAIN, checkpoint=path, resume=True, **SETTINGS)
    assert path.read_bytes() == kept
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("place", ["below a file", "a folder"])
def test_a_checkpoint_that_cannot_be_written_is_named_before_anything_is_trained(tmp_path, monkeypatch, place, resume):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "checkpoint" if place == "below a file" else tmp_path
    monkeypatch.setattr(training._Training, "step", lambda *_: pytest.fail("it trained"))
    error = ValueError if resume and place == "a folder" else OSError
    with pytest.raises(error, match=f"{path}.*(cannot be written|is not a checkpoint)"):
        fit(made(), TRAIN, checkpoint=path, resume=resume, **SETTINGS)


def test_the_best_epoch_is_restored_when_a_checkpoint_cannot_be_written(tmp_path, monkeypatch):
    best = history_of(made(), TRAIN, VALID, patience=3, **EARLY).best_epoch
    model, until_best, saved = made(), made(), []
    fit(until_best, TRAIN, VALID, **{**EARLY, "epochs": best})

    def fills_up(state, file):
        saved.append(0)
        if len(saved) > best + 2:
            raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fills_up)
    with pytest.raises(OSError, match=f"the checkpoint {tmp_path / 'full'} cannot be written .*PytorchStreamWriter"):
        fit(model, TRAIN, VALID, patience=3, checkpoint=tmp_path / "full", **EARLY)
    assert_equal(model, until_best)


def test_data_are_only_hashed_for_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fingerprint", lambda *_: pytest.fail("hashed"))
    fit(made(), TRAIN, **SETTINGS)


def test_numpys_numbers_do_as_pythons_and_survive_a_checkpoint(tmp_path):
    whole, resumed = made(), made()
    fit(whole, TRAIN, seed=3, **SETTINGS)
    options = {**SETTINGS, "seed": np.int64(3), "batch_size": np.int32(64), "lr": np.float64(0.02)}
    options |= {"checkpoint": tmp_path / "checkpoint", "resume": True, "patience": None}
    options["optimizer"] = partial(torch.optim.Adam, eps=np.float64(1e-8))
    fit(made(), TRAIN, **{**options, "epochs": np.int8(2)})
    fit(resumed, TRAIN, **options)
    assert_equal(resumed, whole)


@pytest.mark.parametrize("resume", [False, True])
def test_resume_starts_anew_where_there_is_no_file(tmp_path, resume):
    plain, model = made(), made()
    fit(plain, TRAIN, **SETTINGS)
    assert history_of(model, TRAIN, checkpoint=tmp_path / "checkpoint", resume=resume, **SETTINGS).epochs == 4
    assert_equal(model, plain)


def test_a_checkpoint_is_not_overwritten_without_resume(tmp_path):
    path, model = tmp_path / "checkpoint", made()
    fit(made(), TRAIN, checkpoint=path, **SETTINGS)
    kept, start = path.read_bytes(), copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="holds a training already: resume=True continues it"):
        fit(model, TRAIN, checkpoint=path, **SETTINGS)
    assert path.read_bytes() == kept
    assert_equal(model, start)


def test_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path):
    path = tmp_path / "checkpoint"
    fit(made(), TRAIN, checkpoint=path, **{**SETTINGS, "epochs": 1})
    whole = path.read_bytes()
    for place in np.linspace(0, 8 * len(whole) - 1, 100).astype(int).tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is not a checkpoint of fit, or is damaged"):
            fit(made(), TRAIN, checkpoint=path, resume=True, **SETTINGS)


def test_nothing_is_left_to_do_after_the_last_epoch(tmp_path):
    options = {**SETTINGS, "checkpoint": tmp_path / "checkpoint", "resume": True}
    whole, resumed = made(), made()
    course = history_of(whole, TRAIN, **options)
    assert_same_course(history_of(resumed, TRAIN, **{**options, "epochs": 2}), course)
    assert_equal(resumed, whole)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (dict(model=made(MatrixFactorization)), "model"),
        (dict(model=made(k=4)), "shapes"),
        (dict(train=TRAIN[1:]), "data"),
        (dict(train=TRAIN[::-1]), "data"),
        (dict(train=dataclasses.replace(TRAIN, users=39 - TRAIN.users)), "data"),
        (dict(train=dataclasses.replace(TRAIN, items=29 - TRAIN.items)), "data"),
        (dict(train=dataclasses.replace(TRAIN, values=6 - TRAIN.values)), "data"),
        (dict(valid=None), "data"),
        (dict(batch_size=65), "batch_size"),
        (dict(seed=1), "seed"),
        (dict(optimizer=torch.optim.SGD), "optimizer"),
        (dict(lr=0.01), r"lr is \[0\.02\], here it is \[0\.01\]"),
        (dict(optimizer=partial(torch.optim.Adam, weight_decay=0.1)), "weight_decay"),
        (dict(patience=3), "early stopping"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, changes, key):
    path = tmp_path / "checkpoint"
    options = {**SETTINGS, "train": TRAIN, "valid": VALID, "checkpoint": path}
    fit(made(), **options)
    kept = path.read_bytes()
    options = {**options, "model": made(), "resume": True, **changes}
    start = copy.deepcopy(options["model"].state_dict())
    with pytest.raises(ValueError, match=f"checkpoint belongs to another training: its {key}"):
        fit(**options)
    assert_equal(options["model"], start)
    assert path.read_bytes() == kept


class Planted:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def rewrite(path, key, value):
    """Put another value in a checkpoint, or None: take the key out."""
    state = torch.load(path)
    state.pop(key)
    torch.save(state | ({} if value is None else {key: value}), path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("epoch,rmse\n1,2\n"),
        lambda path: torch.save(made().state_dict(), path),
        lambda path: torch.save({"identity": Planted(path.with_name("planted"))}, path),
        lambda path: path.write_bytes(pickle.dumps(Planted(path.with_name("planted")))),
        *(partial(rewrite, key=key, value=None) for key in ("model", "optimizer", "shuffling", "history", "best")),
        partial(rewrite, key="model", value=made(k=2).state_dict()),
        partial(rewrite, key="history", value={"epochs": 3}),
        partial(rewrite, key="history", value={}),
        partial(rewrite, key="shuffling", value=torch.zeros(3, dtype=torch.uint8)),
    ],
    ids=[
        "cut early",
        "cut late",
        "empty",
        "text",
        "a model",
        "planted code",
        "planted pickle",
        "no model",
        "no optimizer",
        "no shuffling",
        "no history",
        "no best",
        "other shapes",
        "another history",
        "empty history",
        "a short state",
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path, write):
    path = tmp_path / "checkpoint"
    fit(made(), TRAIN, checkpoint=path, **SETTINGS)
    write(path)
    model = made()
    start = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="checkpoint is not a checkpoint of fit, or is damaged"):
        fit(model, TRAIN, checkpoint=path, resume=True, **SETTINGS)
    assert_equal(model, start)
    assert list(tmp_path.iterdir()) == [path]


# -- checkpoints with penalties, schedules and dropout ---------------------------------------------

NEVER_GOOD = partial(ReduceLROnPlateau, patience=1, threshold=9, threshold_mode="abs")  # lowers in the third epoch
RESUMED = pytest.mark.parametrize(
    ("dropout", "changes"),
    [
        (0.0, dict(schedule=HALVED)),
        (0.0, dict(schedule=COSINE)),
        (0.0, dict(schedule=NEVER_GOOD)),
        (0.0, dict(schedule=partial(StepLR, step_size=7), schedule_every="batch")),
        (0.0, dict(schedule=ONE_CYCLE, schedule_every="batch")),
        (0.0, dict(schedule=partial(LambdaLR, lr_lambda=lambda step: 1 / np.sqrt(1 + step)))),
        (0.5, dict()),
        (0.5, dict(reg=Penalty(0.1, 0.5, biases=0.3), schedule=ONE_CYCLE, schedule_every="batch")),
    ],
    ids=["StepLR", "Cosine", "Plateau", "StepLR by batch", "OneCycle by batch", "LambdaLR", "dropout", "all"],
)


@RESUMED
def test_a_training_with_extras_resumes_bit_for_bit(tmp_path, dropout, changes):
    options = {**SETTINGS, **changes, "checkpoint": tmp_path / "checkpoint", "resume": True}
    whole, resumed = made(dropout=dropout), made(dropout=dropout, seed=9)
    rates, rest = [], []
    course = history_of(
        whole, TRAIN, VALID, **{**options, "checkpoint": tmp_path / "another", "optimizer": noting(rates)}
    )
    fit(made(dropout=dropout), TRAIN, VALID, **{**options, "epochs": 2})
    torch.manual_seed(5)
    assert_same_course(history_of(resumed, TRAIN, VALID, **options, optimizer=noting(rest)), course)
    assert rest == rates[2 * N_BATCHES :]
    assert_equal(resumed, whole)


@RESUMED
@pytest.mark.parametrize("step", [1, N_BATCHES + 2, 3 * N_BATCHES])
def test_an_interrupted_training_with_extras_resumes_bit_for_bit(tmp_path, capsys, dropout, changes, step):
    options = {**SETTINGS, **changes, "checkpoint": tmp_path / "checkpoint"}
    whole, resumed = made(dropout=dropout), made(dropout=dropout)
    course = history_of(whole, TRAIN, VALID, **{**options, "checkpoint": None})
    stopped = history_of(made(dropout=dropout), TRAIN, VALID, optimizer=at_step(step, interrupt), **options)
    assert stopped.stopped == "interrupted"
    assert_same_course(history_of(resumed, TRAIN, VALID, resume=True, **options), course)
    assert_equal(resumed, whole)


@pytest.mark.parametrize(
    ("first", "changes", "key"),
    [
        (dict(reg=0.1), dict(reg=0.2), r"reg is \(0\.1, 1\.0, 0\.1\), here it is \(0\.2, 1\.0, 0\.2\)"),
        (dict(reg=0.1), dict(), r"reg is .* here it is \(0\.0, 1\.0, 0\.0\)"),
        (dict(), dict(reg=0.1), "reg"),
        (dict(reg=0.1), dict(reg=Penalty(0.1, power=0.5)), "reg"),
        (dict(reg=0.1), dict(reg=Penalty(0.1, biases=0.2)), "reg"),
        (dict(schedule=HALVED), dict(schedule=COSINE), "schedule is StepLR, here it is CosineAnnealingLR"),
        (dict(schedule=HALVED), dict(), "schedule is StepLR, here it is NoneType"),
        (dict(), dict(schedule=HALVED), "schedule is NoneType, here it is StepLR"),
        (dict(schedule=HALVED), dict(schedule=HALVED, schedule_every="batch"), "schedule_every is epoch, here it is b"),
        (
            dict(schedule=HALVED),
            dict(schedule=partial(HALVED, gamma=0.9)),
            r"schedule's gamma is 0\.5, here it is 0\.9",
        ),
        (dict(schedule=COSINE), dict(schedule=partial(COSINE, T_max=8)), "schedule's T_max is 4, here it is 8"),
        (dict(model=made(dropout=0.5)), dict(model=made(dropout=0.2)), r"dropout is \[0\.5\], here it is \[0\.2\]"),
        (dict(model=made(dropout=0.5)), dict(), "dropout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_with_other_extras_is_refused(tmp_path, first, changes, key):
    path = tmp_path / "checkpoint"
    fit(**{**SETTINGS, "model": made(), "train": TRAIN, "checkpoint": path, **first})
    kept = path.read_bytes()
    options = {**SETTINGS, "model": made(), "train": TRAIN, "checkpoint": path, "resume": True, **changes}
    start = copy.deepcopy(options["model"].state_dict())
    with pytest.raises(ValueError, match=f"checkpoint belongs to another training: its {key}"):
        fit(**options)
    assert_equal(options["model"], start)
    assert path.read_bytes() == kept


@pytest.mark.parametrize(
    "changes",
    [
        dict(reg=Penalty(np.float64(0.1), biases=np.float32(0.25))),
        dict(schedule=partial(StepLR, step_size=np.int64(1), gamma=np.float64(0.5))),
        dict(schedule=partial(MultiStepLR, milestones=np.array([1, 3]))),
        dict(schedule=partial(ONE_CYCLE, max_lr=np.float64(0.1)), schedule_every="batch"),
        dict(optimizer=partial(torch.optim.Adam, betas=(np.float64(0.8), np.float64(0.9)))),
    ],
    ids=["reg", "StepLR", "MultiStepLR", "OneCycleLR", "betas"],
)
def test_numpys_numbers_survive_a_checkpoint_in_extras_too(tmp_path, changes):
    options = {**SETTINGS, **changes}
    whole, resumed = made(), made()
    fit(whole, TRAIN, **options)
    options |= {"checkpoint": tmp_path / "checkpoint", "resume": True}
    fit(made(), TRAIN, **{**options, "epochs": 2})
    fit(resumed, TRAIN, **options)
    assert_equal(resumed, whole)


if __name__ == "__main__":  # the child that test_a_killed_training_resumes kills

    def slow(parameters, lr):
        optimizer = torch.optim.Adam(parameters, lr=lr)
        optimizer.register_step_post_hook(lambda *_: time.sleep(0.02))
        return optimizer

    fit(made(), TRAIN, optimizer=slow, checkpoint=sys.argv[1], **{**SETTINGS, "epochs": 10_000})
