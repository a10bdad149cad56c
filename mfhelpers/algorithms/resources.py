"""Where an algorithm runs and with how many threads; both are chosen by the size of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from ..data.arguments import whole_number

# Below this many factor values a step, starting the GPU's kernels takes longer than their work.
# A rule of thumb: measure, then set device= yourself.
SMALL_STEP = 1 << 20
# Below this many numbers a step, threads wait for each other longer than they work. On a machine that is busy with
# something else one of them waits for its turn in every product: hundreds of times as long as the product takes.
# Measured with least squares on ML-100K: at 10 million numbers a second thread takes 2.6 times as long beside a busy core.
LARGE_STEP = 1 << 24
MOST_THREADS = 1024  # with very many, the process dies


@dataclass(frozen=True)
class Resources:
    """A device and a number of threads, each with a sentence that says why."""

    device: torch.device
    device_reason: str
    threads: int
    threads_reason: str

    @contextmanager
    def scope(self, blas: bool = False) -> Iterator[None]:
        """Use so many threads, and give the caller's setting back, whatever happens.

        `blas` limits NumPy's and SciPy's products too, which takes a millisecond to arrange.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with threadpool_limits(self.threads) if blas else nullcontext():
                yield
        finally:
            torch.set_num_threads(before)


def choose_resources(
    device: str | torch.device,
    threads: int | None,
    step: int,
    model: Any = None,
    refusal: Callable[[str], str | None] = lambda kind: None,
) -> Resources:
    """The device and the threads for steps of `step` ratings with the `n_factors` of a model.

    "auto" and None leave the choice to this function. `refusal` says of "cuda", "mps" … why an algorithm cannot run
    there, as in "has no sparse products", or None. A device that is not there or refused is a ValueError.
    """
    k = max(1, getattr(model, "n_factors", 1))
    chosen, reason = _auto_device(step, k, refusal) if device == "auto" else _asked_device(device, refusal)
    if threads is None:
        return Resources(chosen, reason, *_choose_threads(chosen, step * k))
    return Resources(chosen, reason, whole_number("threads", threads, 1, MOST_THREADS), "it was asked for")


def _asked_device(device: str | torch.device, refusal: Callable[[str], str | None]) -> tuple[torch.device, str]:
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"device={device!r} is no device; choose 'auto', 'cpu', 'cuda' or 'mps'") from error
    cuda = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    available = {"cpu": True, "cuda": cuda, "mps": torch.backends.mps.is_available()}
    if not (available[device.type] if device.type in available else _computes(device)):
        raise ValueError(f"device={str(device)!r} is not available here; device='auto' or 'cpu' will do")
    if device.type != "cpu" and (why := refusal(device.type)):
        raise ValueError(f"device={str(device)!r} {why}; device='auto' or 'cpu' will do")
    return device, "it was asked for"


def _auto_device(step: int, k: int, refusal: Callable[[str], str | None]) -> tuple[torch.device, str]:
    gpu = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
    if gpu is None:
        return torch.device("cpu"), "there is no GPU here"
    if why := refusal(gpu):
        return torch.device("cpu"), f"{gpu.upper()} {why}"
    if step * k < SMALL_STEP:
        return torch.device("cpu"), f"{step} ratings × k is {step * k:,} values a step: too little to keep a GPU busy"
    return torch.device(gpu), f"a step of {step * k:,} values is enough work for a GPU"


def _choose_threads(device: torch.device, step: int) -> tuple[int, str]:
    allowed = torch.get_num_threads()
    if allowed == 1:
        return 1, "this process has one"
    if device.type != "cpu":
        return allowed, "the GPU does the work"
    if step < LARGE_STEP:
        return 1, f"a step of {step:,} numbers is over before a second thread is of use"
    return allowed, f"a step of {step:,} numbers is enough work for each"


def _computes(device: torch.device) -> bool:
    try:
        torch.zeros(1, device=device).item()  # the meta device has no values
    except Exception:  # whatever a kind of device raises that this PyTorch was not built for
        return False
    return True
