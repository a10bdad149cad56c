"""Where `fit` trains: a GPU for large steps or on request, and there it learns the same."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from fitting import BOTH, SETTINGS, TRAIN, VALID, history_of, made

from mfhelpers import fit
from mfhelpers.algorithms import fit as training, resources as devices


@pytest.mark.parametrize(
    ("cuda", "mps", "batch_size", "sparse", "device", "reason"),
    [
        (False, False, 1 << 20, False, "cpu", "there is no GPU here"),
        (True, False, 1024, False, "cpu", "1024 ratings × k is 20,480 values a step: too little to keep a GPU busy"),
        (True, False, 1 << 16, False, "cuda", "a step of 1,310,720 values is enough work for a GPU"),
        (True, True, 1 << 16, True, "cuda", "enough work"),
        (False, True, 1 << 16, False, "mps", "enough work"),
        (False, True, 1 << 16, True, "cpu", "MPS has no sparse gradients"),
    ],
)
def test_auto_takes_a_gpu_for_large_steps(monkeypatch, cuda, mps, batch_size, sparse, device, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    model = made(k=20, sparse=sparse)
    chosen = devices.choose_resources("auto", 1, batch_size, model, partial(training._refusal, model))
    assert chosen.device == torch.device(device)
    assert reason in chosen.device_reason


def test_a_step_has_no_more_ratings_than_there_are(monkeypatch):
    # seen by the choice alone: PyTorch's optimizers would turn to the driver
    cuda = SimpleNamespace(is_available=lambda: True)
    threads = {name: getattr(torch, name) for name in ("get_num_threads", "set_num_threads")}
    seen = SimpleNamespace(device=torch.device, cuda=cuda, **threads)
    monkeypatch.setattr(devices, "torch", seen)
    history = history_of(made(), TRAIN, **{**SETTINGS, "batch_size": 1 << 20, "device": "auto"})
    assert history.device_reason.startswith(f"{len(TRAIN)} ratings × k is {3 * len(TRAIN)} values")


@pytest.mark.parametrize(("device", "there"), [("cuda", True), ("cuda:1", True), ("cuda:2", False), ("mps", False)])
def test_a_device_is_taken_if_asked_for_and_there(monkeypatch, device, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if there:
        chosen = devices.choose_resources(device, 1, 1)
        assert (chosen.device, chosen.device_reason) == (torch.device(device), "it was asked for")
    else:
        with pytest.raises(ValueError, match=f"device='{device}' is not available here; device='auto' or 'cpu'"):
            devices.choose_resources(device, 1, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
@BOTH
@pytest.mark.parametrize("sparse", [False, True])
def test_gpu_and_cpu_reach_the_same_objective(tmp_path, kind, sparse):
    options = {**SETTINGS, "epochs": 30, "checkpoint": tmp_path / "checkpoint", "resume": True}
    on_cpu, on_gpu = made(kind, sparse=sparse), made(kind, sparse=sparse)
    wanted = history_of(on_cpu, TRAIN, VALID, **{**options, "checkpoint": None, "resume": False})
    fit(made(kind, sparse=sparse), TRAIN, VALID, **{**options, "device": "cuda", "epochs": 10})
    history = history_of(on_gpu, TRAIN, VALID, **{**options, "device": "cuda"})  # resumed on the GPU
    assert history.device.startswith("cuda")
    assert history.train_rmse == pytest.approx(wanted.train_rmse, abs=1e-3)
    assert history.valid_rmse == pytest.approx(wanted.valid_rmse, abs=1e-3)
    assert on_gpu.to_factors().rms_difference(on_cpu.to_factors()) < 1e-2


def test_what_a_ready_optimiser_keeps_follows_parameters_that_changed():
    """In type here, where there may be no second device."""
    model = made()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    fit(model, TRAIN, optimizer=optimizer, **{**SETTINGS, "lr": None})
    model.double()
    training._ready_optimizer(model, optimizer, None, moved=True)
    kept = [optimizer.state[weight]["momentum_buffer"] for weight in model.parameters()]
    assert {momentum.dtype for momentum in kept} == {torch.float64}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")
def test_what_a_ready_optimiser_keeps_moves_with_the_model():
    model, plain = made(), made()
    for trained, places in ((model, ("cpu", "cuda", "cpu")), (plain, ("cpu", "cpu", "cpu"))):
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.02, momentum=0.9)
        for device in places:
            fit(trained, TRAIN, optimizer=optimizer, **{**SETTINGS, "lr": None, "device": device})
    assert model.to_factors().rms_difference(plain.to_factors()) < 1e-2
