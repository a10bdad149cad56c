"""Arguments of all kinds, made by Hypothesis: a good result, or an error that names value, limit and remedy."""

import inspect
import re
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

import mfhelpers as mf
from mfhelpers.algorithms import hogwild as workers

RATINGS, _ = mf.simulate_ratings(12, 10, 70, 2, min_per_user=3)
TRAIN, TEST = mf.random_split(RATINGS, 0.2)
OTHERS, _ = mf.simulate_ratings(6, 5, 20, 1, min_per_user=2)
FACTORS = mf.als(TRAIN, 2, sweeps=1, progress=False)
PLAYS = mf.Ratings.from_arrays(TRAIN.users, TRAIN.items, 100 * TRAIN.values**3)
PACKAGE = Path(mf.__file__).parent
SECONDS = 5  # that a call of a few dozen ratings may take on a busy machine

ODD = [None, True, "abc", "", b"x", [], [1], (5, 1), {}, object(), np.ones(2), 1j, float("nan"), -float("inf"), torch]  # fmt: skip
NUMBERS = [
    0,
    1,
    2,
    3,
    -1,
    0.5,
    1e-300,
    1e-9,
    1e9,
    1e300,
    10**9,
    2**64,
    10**30,
    np.float32(0.1),
    np.int64(2),
    float("inf"),
]
TABLES = [
    None, [(0, 1, 3.0)], {"user": [0]}, pd.DataFrame({"user": [0], "item": [0], "rating": [3.0]}), TRAIN.to_csr(),
    torch.utils.data.DataLoader([1, 2]), np.ones((3, 3)), TRAIN.to_interactions(), TEST, OTHERS, PLAYS, "ml-100k",
]  # fmt: skip
STARTS = [FACTORS, mf.global_mean(TRAIN), mf.global_mean(OTHERS), mf.als(OTHERS, 2, sweeps=1, progress=False)]
PENALTIES = [mf.Penalty(0.1, 0), mf.Penalty(1e9), mf.Penalty(1e300), mf.Penalty(0.1, 1000), mf.Penalty(0), "mf.Penalty"]
OPTIMIZERS = [
    torch.optim.SGD,
    torch.optim.LBFGS,
    torch.optim.SparseAdam,
    torch.optim.Adam,
    "adam",
    dict,
    lambda *_, **__: None,
]
MODELS = [
    lambda: mf.BiasedMatrixFactorization(12, 10, 2), lambda: mf.MatrixFactorization(12, 10, 2, sparse=True),
    lambda: mf.BiasedMatrixFactorization(12, 10, 2).half(), lambda: mf.BiasedMatrixFactorization(12, 10, 2, init_std=0),
    lambda: mf.BiasedMatrixFactorization(3, 3, 2), lambda: mf.MatrixFactorization, lambda: torch.nn.Linear(2, 1),
    lambda: torch.nn.Identity(), lambda: FACTORS,
]  # fmt: skip
CHOICES = [
    "auto",
    "cpu",
    "cuda",
    "exact",
    "cg",
    "frozen",
    "minibatch",
    "loop",
    "shuffled",
    "surprise",
    "float32",
    "float64",
    "batch",
]


def values(*special):
    """Mostly what somebody might mean, often what nobody can."""
    return st.one_of(st.sampled_from(special), st.sampled_from(NUMBERS), st.sampled_from(ODD))


ANY = {
    "train": st.one_of(st.just(TRAIN), st.just(TRAIN), st.sampled_from(TABLES)),
    "ratings": st.one_of(st.just(TRAIN), st.sampled_from(TABLES)),
    "valid": values(TEST, *TABLES), "implicit": values(*TABLES), "exclude": values(*TABLES, [1, 2], np.zeros(10, bool)),
    "start": values(*STARTS), "baseline": values(*STARTS), "reg": values(0.1, *PENALTIES), "optimizer": values(*OPTIMIZERS),
    "history": values(mf.History), "watch": values(lambda _: None), "progress": values(False),
    "device": values("cpu", "cuda", "auto", "tpu"), "threads": values(1), "checkpoint": values("new", "old", "/dev/full", "."),
    "log_dir": values("new", "."), "resume": values(True, False), "clip": values(True, False), "biased": values(True, False),
    "settings": values({"reg": [0.1, 1]}, [{"reg": 0.1}], {"reg": 0.1}, {}, [{}]), "fit_one": values(mf.als),
    "folds": values(2, [(TRAIN, TEST)], [(TRAIN, OTHERS)], [TRAIN]), "seeds": values([0], [0, 0], []),
    "score": values("rmse", mf.Score("s", lambda *_: 1.0)), "model": st.sampled_from(MODELS),
    "algorithms": values({"als": lambda train, seed: mf.als(train, 2, sweeps=1, seed=seed, progress=False)}, {"a": len}),
    "schedule": values(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1)),
    **dict.fromkeys(("epochs", "sweeps"), st.sampled_from([0, 1, 2, -1, 0.5, 1.0, True, None, "abc", np.int64(2)])),
}  # fmt: skip
USUAL = {"train": TRAIN, "ratings": TRAIN, "settings": {"reg": [0.1]}, "user": 0, "reg": 0.1, "progress": False,
         "fit_one": lambda part, **setting: mf.als(part, 2, sweeps=1, progress=False, **setting), "folds": 2,
         "algorithms": {"als": lambda train, seed: mf.als(train, 2, sweeps=1, seed=seed, progress=False)}}  # fmt: skip
FEW = {"epochs": 1, "sweeps": 1, "n_factors": 2, "n_workers": 1}
FUNCTIONS = {
    "fit": mf.fit, "sgd": mf.sgd, "als": mf.als, "svdpp": mf.svdpp, "soft_impute": mf.soft_impute, "hogwild": mf.hogwild,
    "choose": mf.choose, "cross_validate": mf.cross_validate, "fold_in": FACTORS.fold_in, "recommend": FACTORS.recommend,
}  # fmt: skip
CALLS = {name: list(inspect.signature(function).parameters) for name, function in FUNCTIONS.items()}


@st.composite
def calls(draw, name):
    """Usual arguments, but for one to three."""
    names = CALLS[name]
    odd = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    chosen = {each: draw(ANY.get(each, values(*CHOICES))) for each in odd}
    return {each: value for each, value in {**USUAL, **FEW}.items() if each in names} | chosen


def called(name, arguments, folder):
    """What a call gives or raises; fails on a half-written file and on a global that it leaves changed."""
    arguments = dict(arguments)
    for each in ("checkpoint", "log_dir"):
        if isinstance(arguments.get(each), str) and arguments[each] in ("new", "old", "."):
            arguments[each] = folder / arguments[each]
    if arguments.get("history") is mf.History:  # a new one each time
        arguments["history"] = mf.History()
    if name == "fit":
        arguments["model"] = arguments.get("model", MODELS[0])()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    threads, state, began = torch.get_num_threads(), torch.get_rng_state(), time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = FUNCTIONS[name](**arguments)
    except Exception as error:
        got = error
    if isinstance(got, Exception):
        left = [path.name for path in folder.rglob("*") if path.is_file() and path not in before]
        assert isinstance(got, mf.DivergenceError | OSError) or not left, f"{left} after {got!r}"
        assert all(path.read_bytes() == content for path, content in before.items()), "a refusal that wrote"
    assert time.monotonic() - began < SECONDS
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    return got


def is_clear(error):
    """An error of the package's own: raised by its code, in words that say what was given and what to do."""
    own = error.__traceback__
    while own.tb_next is not None:
        own = own.tb_next
    raised_here = Path(own.tb_frame.f_code.co_filename).is_relative_to(PACKAGE)
    told = re.search(r"[:;,.] |outside", str(error)) and not re.search(r"'\w+' object|ufunc", str(error))
    return raised_here and isinstance(error, ValueError | mf.DivergenceError | OSError | KeyError) and bool(told)


def is_good(got):
    if isinstance(got, mf.Factors):  # finite: it refuses anything else
        return True
    if isinstance(got, torch.nn.Module):
        return all(bool(parameter.isfinite().all()) for parameter in got.parameters())
    if isinstance(got, tuple):
        return all(np.isfinite(array).all() for array in got)
    return isinstance(got, mf.Choice | mf.Comparison)


def is_meant(name, argument, value):
    """Whether a value is of the type that the signature names, as far as that can be told."""
    kind = str(inspect.signature(FUNCTIONS[name]).parameters[argument].annotation)
    if value is None:
        return "None" in kind
    if kind.startswith("int"):
        return argument in ("folds", "seeds") or (
            isinstance(value, int | np.integer) and value is not True and value >= 0
        )
    if kind.startswith("float"):
        number = isinstance(value, int | float | np.number) and value is not True and abs(value) < 1e308
        return number or ("Penalty" in kind and isinstance(value, mf.Penalty))
    types = {"bool": bool, "str": str, "Ratings": mf.Ratings, "Factors": mf.Factors, "History": mf.History}
    wanted = types.get(kind.split(" | ")[0])
    return (
        wanted is None
        or argument in ("device", "score", "checkpoint", "log_dir", "history")
        or isinstance(value, wanted)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("generated")
    mf.fit(MODELS[0](), TRAIN, epochs=1, checkpoint=place / "old", progress=False)
    return place


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_arguments_give_a_result_or_a_clear_error(name, folder, monkeypatch):
    monkeypatch.chdir(folder)  # some texts are good names of files
    if name == "hogwild":  # no processes: each takes two seconds to begin
        monkeypatch.setattr(workers._Workers, "started", lambda self, history: None)
        monkeypatch.setattr(workers._Workers, "step", lambda self: self.shared.step())

    @settings(max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(calls(name))
    def check(arguments):
        got = called(name, arguments, folder)
        told = {each: value for each, value in arguments.items() if value is not USUAL.get(each, FEW.get(each))}
        if isinstance(got, Exception):
            assert is_clear(got), f"{name}({told}): {got!r}"
        else:
            assert is_good(got), f"{name}({told}): {got!r}"
            silent = [each for each, value in told.items() if not is_meant(name, each, value)]
            assert not silent, f"{name}({told}) took {silent}"
        for new in folder.glob("*"):  # for the next one
            if new.name != "old":
                shutil.rmtree(new) if new.is_dir() else new.unlink()

    check()
