"""Where to train: a GPU if there is one and a step is large enough to be worth it."""

from __future__ import annotations

import torch
from torch import nn

# Below this many factor values a step, starting the GPU's kernels takes longer than their work.
# A rule of thumb: measure, then set device= yourself.
SMALL_STEP = 1 << 20


def choose_device(device: str | torch.device, batch_size: int, model: nn.Module) -> tuple[torch.device, str]:
    """The device to train on, and a sentence that says why.

    Raises
    ------
    ValueError
        If the device that was asked for is not there.
    """
    if device != "auto":
        try:
            device = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"device={device!r} is no device; choose 'auto', 'cpu', 'cuda' or 'mps'") from error
        cuda = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
        available = {"cpu": True, "cuda": cuda, "mps": torch.backends.mps.is_available()}
        if not (available[device.type] if device.type in available else _computes(device)):
            raise ValueError(f"device={str(device)!r} is not available here; device='auto' or 'cpu' will do")
        return device, "it was asked for"
    gpu = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
    if gpu is None:
        return torch.device("cpu"), "there is no GPU here"
    if gpu == "mps" and getattr(model, "sparse", False):
        return torch.device("cpu"), "MPS has no sparse gradients"
    step = batch_size * getattr(model, "n_factors", 1)
    if step < SMALL_STEP:
        return torch.device("cpu"), f"{batch_size} ratings × k is {step:,} values a step: too little to keep a GPU busy"
    return torch.device(gpu), f"a step of {step:,} values is enough work for a GPU"


def _computes(device: torch.device) -> bool:
    try:
        torch.zeros(1, device=device).item()  # the meta device has no values
    except Exception:  # whatever a kind of device raises that this PyTorch was not built for
        return False
    return True
