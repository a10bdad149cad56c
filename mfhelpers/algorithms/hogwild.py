"""Training by several processes on one set of factors, without locks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.multiprocessing

from ..data.arguments import whole_number
from ..data.ratings import Ratings
from ..models.factors import Factors
from ..models.penalty import Penalty
from .loop import History, Monitor, Stepper, run
from .resources import Resources
from .sgd import Minibatch, Settings

POLL = 0.001  # seconds between two looks at the others


def hogwild(
    train: Ratings,
    n_factors: int = 20,
    *,
    n_workers: int = 2,
    epochs: int = 20,
    lr: float = 0.005,
    reg: float | Penalty = 0.02,
    biased: bool = True,
    batch_size: int = 1024,
    start: Factors | None = None,
    init_std: float = 0.1,
    seed: int = 0,
    valid: Ratings | None = None,
    patience: int | None = None,
    watch: Callable[[Factors], Any] | None = None,
    history: History | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Factors:
    """`sgd` by several processes that read and write the same factors at the same time.

    Each worker has its share of the ratings and goes through it in batches, as ``engine="minibatch"``
    does. Within an epoch nobody waits: two workers that move one row at once may lose a part of a step. The
    result differs a little from run to run for that reason, whatever the seed. Interrupting keeps the factors
    so far. With `valid`, `watch`, `history` or `log_dir` all wait for each other after each epoch; else nobody does.

    Parameters
    ----------
    train, n_factors, epochs, lr, reg, biased, start, init_std, seed
        As in `sgd`.
    n_workers : int
        Processes, each with one thread, at most four a processor. More than there are processors only
        slow each other down.
    batch_size : int
        Ratings in a step of a worker.
    valid, patience, watch, history, log_dir, progress
        As in `fit`. The seconds of a `history` begin when all workers are there, which takes seconds by itself:
        each is a new Python that loads PyTorch.

    Raises
    ------
    ValueError, DivergenceError
        As in `sgd`; a divergence is seen when the training is judged, or at its end.
    RuntimeError
        When a worker ended by itself; the message has its exit code.

    Notes
    -----
    Processes are spawned and never forked, on all systems: a fork of a process that has used PyTorch's
    threads may hang. What they run stands in this module, so it works from a notebook; a script that
    calls this needs the line ``if __name__ == "__main__":``.

    Whoever finishes late weighs more in the end: on a busy machine, or with a few thousand ratings, the
    training error may end some per cent above that of one process.

    Niu, Recht, Ré, Wright, HOGWILD!: A Lock-Free Approach to Parallelizing SGD, NIPS 2011.
    """
    n_workers = whole_number("n_workers", n_workers)
    monitor = Monitor(train, valid, patience, watch, history, log_dir, progress)
    settings = Settings(
        n_factors, epochs, lr, Penalty.of(reg), biased, "minibatch", batch_size, "shuffled", start, init_std, seed
    )
    most = min(len(train), 4 * (os.cpu_count() or 1))
    if not 1 <= n_workers <= most:
        raise ValueError(f"n_workers={n_workers}: from 1 to {most} here, four a processor and a rating for each")
    with _Workers(train, settings, n_workers, monitor.watched) as workers:
        run(workers, settings.epochs, monitor)
    return workers.result()  # when nobody moves them any more


class _Workers(Stepper):
    """Processes that move one P and Q; a step is over when each has done one more epoch."""

    def __init__(self, train: Ratings, settings: Settings, n_workers: int, in_step: bool) -> None:
        self.shared = Minibatch(
            train, settings.start_for(train), settings, np.random.default_rng(0), torch.device("cpu")
        )
        self.setting, self.remedy = self.shared.setting, self.shared.remedy
        self.settings = settings.for_log(train) | {"model": "hogwild", "n_workers": n_workers}
        self.resources = Resources(torch.device("cpu"), "workers are processes", n_workers, "a thread a worker")
        self.n_epochs, self.in_step, self.done = settings.epochs, in_step, 0
        for table in (self.shared.P, self.shared.Q):
            table.share_memory_()
        # epochs done by each, -1 until it is there; and how many they may do
        self.board = torch.full((n_workers,), -1).share_memory_()
        self.allowed = torch.zeros(1, dtype=torch.int64).share_memory_()
        seed, context = settings.seed, torch.multiprocessing.get_context("spawn")
        shares = np.array_split(np.random.default_rng([seed, 1]).permutation(len(train)), n_workers)
        engines = [self.shared.share(part, [seed, 2, rank]) for rank, part in enumerate(shares)]
        self.workers = [
            context.Process(target=_work, args=(engine, self.n_epochs, self.board, rank, self.allowed), daemon=True)
            for rank, engine in enumerate(engines)
        ]

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *error: Any) -> None:
        for worker in self.workers:
            if worker.pid is not None:
                worker.terminate()  # they hold no lock and no file; P and Q are ours
                worker.join()

    def started(self, history: History) -> None:
        for worker in self.workers:
            worker.start()
        self._wait_for(0)

    def step(self) -> None:
        self.done += 1
        self.allowed[0] = self.done if self.in_step else self.n_epochs
        self._wait_for(self.done)

    def predictor(self) -> Factors:
        return self.shared.predictor()

    def _wait_for(self, epoch: int) -> None:
        while int(self.board.min()) < epoch:
            for rank, worker in enumerate(self.workers):
                # exit code 0 too: a script without the line below may have caught its error and ended in peace
                if worker.exitcode is not None and self.board[rank] < self.n_epochs:
                    raise RuntimeError(
                        f"worker {rank} ended with exit code {worker.exitcode}; its own message stands above, or in the "
                        'terminal. In a script, the call belongs below `if __name__ == "__main__":`'
                    )
            time.sleep(POLL)


def _work(engine: Minibatch, epochs: int, board: torch.Tensor, rank: int, allowed: torch.Tensor) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is never the first process
    board[rank] = 0
    for done in range(epochs):
        while int(allowed) <= done and parent.is_alive():
            time.sleep(POLL)
        if not parent.is_alive():  # it was killed, and nobody would ever end this process
            return
        engine.step()
        board[rank] = done + 1
