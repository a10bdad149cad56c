"""Training by several processes on one set of factors, without locks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import Any

import numpy as np
import torch
import torch.multiprocessing

from ..data.arguments import whole_number
from ..data.ratings import Ratings
from ..display.progress import progress as progress_bar
from ..models.factors import Factors, drawn
from ..models.penalty import Penalty
from .sgd import Minibatch, checked, sound

POLL = 0.01  # seconds between two looks at the workers


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
    progress: bool = True,
) -> tuple[Factors, float]:
    """`sgd` by several processes that read and write the same factors at the same time.

    Each worker has its share of the ratings and goes through it in batches, as ``engine="minibatch"``
    does. Nobody waits: two workers that move one row at once may lose a part of a step. The result
    differs a little from run to run for that reason, whatever the seed. Interrupting keeps the factors
    so far.

    Parameters
    ----------
    train, n_factors, epochs, lr, reg, biased, start, init_std, seed, progress
        As in `sgd`.
    n_workers : int
        Processes, each with one thread, at most four a processor. More than there are processors only
        slow each other down.
    batch_size : int
        Ratings in a step of a worker.

    Returns
    -------
    factors : Factors
    seconds : float
        What the training took once all workers were there. That takes seconds by itself: each is a
        new Python that loads PyTorch.

    Raises
    ------
    ValueError
        For settings that do not fit together, before any process is started.
    DivergenceError
        When errors stop being numbers or exceed 100 times the rating scale; seen at the end only.
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
    n_factors, epochs, n_workers = map(
        whole_number, ("n_factors", "epochs", "n_workers"), (n_factors, epochs, n_workers)
    )
    seed, penalty, lr = whole_number("seed", seed), Penalty.of(reg), float(lr)
    batch_size = checked(train, n_factors, epochs, lr, "minibatch", batch_size, "shuffled", start, seed)
    most = min(len(train), 4 * (os.cpu_count() or 1))
    if not 1 <= n_workers <= most:
        raise ValueError(f"n_workers={n_workers}: from 1 to {most} here, four a processor and a rating for each")
    start = drawn(train, n_factors, float(init_std), seed) if start is None else start
    shared = Minibatch(train, start, lr, penalty, biased, batch_size, None, torch.device("cpu"))
    shares = np.array_split(np.random.default_rng([seed, 1]).permutation(len(train)), n_workers)
    for table in (shared.P, shared.Q):
        table.share_memory_()
    board = torch.full((n_workers,), -1).share_memory_()  # epochs done by each, -1 until it is there

    context = torch.multiprocessing.get_context("spawn")
    go = context.Event()
    engines = [shared.share(part, [seed, 2, rank]) for rank, part in enumerate(shares)]
    workers = [
        context.Process(target=_work, args=(engine, epochs, board, rank, go), daemon=True)
        for rank, engine in enumerate(engines)
    ]
    bar = progress_bar(show=progress, total=epochs * n_workers, unit="epoch", desc=f"{n_workers} workers")
    seconds = 0.0
    try:
        for worker in workers:
            worker.start()
        while int(board.min()) < 0:
            _require_healthy(workers, board, epochs)
            time.sleep(POLL)
        go.set()
        began = time.perf_counter()
        while int(board.min()) < epochs:
            _require_healthy(workers, board, epochs)
            time.sleep(POLL)
            seconds = time.perf_counter() - began
            bar.update(int(board.sum()) - bar.n)
    except KeyboardInterrupt:
        print(f"interrupted after {max(0, int(board.min()))} epochs of each worker: the factors so far are kept")
    finally:
        for worker in workers:
            if worker.pid is not None:
                worker.terminate()  # they hold no lock and no file; P and Q are ours
                worker.join()
        bar.close()
    return sound(shared, train, lr), seconds


def _work(engine: Minibatch, epochs: int, board: torch.Tensor, rank: int, go: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    board[rank] = 0
    while not go.wait(1) and parent.is_alive():
        pass
    for done in range(epochs):
        if not parent.is_alive():  # it was killed, and nobody would ever end this process
            return
        engine.epoch()
        board[rank] = done + 1


def _require_healthy(workers: list, board: torch.Tensor, epochs: int) -> None:
    for rank, worker in enumerate(workers):
        # exit code 0 too: a script without the line below may have caught its error and ended in peace
        if worker.exitcode is not None and board[rank] < epochs:
            raise RuntimeError(
                f"worker {rank} ended with exit code {worker.exitcode}; its own message stands above, or in the "
                'terminal. In a script, the call belongs below `if __name__ == "__main__":`'
            )
