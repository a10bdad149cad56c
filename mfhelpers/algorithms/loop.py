"""One loop for all algorithms: progress, judging, early stopping, interruption, divergence, logs.

An algorithm is a `Stepper`: what one epoch or sweep does, and what it would predict with now. `run` does the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..data.arguments import file_path, whole_number, yes_or_no
from ..data.interactions import Interactions, require_interactions, require_same_labels
from ..data.ratings import Ratings, require_ratings
from ..display.progress import progress as progress_bar
from ..display.tensorboard import RunLog, even_sample
from ..models.factors import ARRAYS
from ..models.metrics import rmse
from .resources import Resources

DIVERGED = 100  # a training RMSE of so many times the rating scale will not come back
LARGE_VALUES = 100  # where no learning rate that suits stars will do
TOO_MUCH = "A step takes more off a row than it has: take a smaller penalty."
_NOTICED: ContextVar[list | None] = ContextVar("interruptions that a loop has kept to itself", default=None)


class DivergenceError(ArithmeticError):
    """The training error grew beyond all bounds, or is no longer a number."""


def slower(train: Interactions) -> str:
    """What helps against a divergence of gradient descent."""
    largest = float(np.abs(train._amounts()).max())
    if largest < LARGE_VALUES:
        return "Try a tenth of the learning rate."
    return f"The values reach {largest:g}: divide them by {largest / 5:.3g}, or take their logarithms, np.log1p."


def divergence_limit(train: Any) -> float:
    """The error in stars beyond which a training has diverged."""
    return DIVERGED * (train.scale.high - train.scale.low or 1)


@dataclass
class History:
    """How a training went; element 0 of each list is the state before the first epoch or sweep.

    Make an empty one, ``history = mf.History()``, and hand it to an algorithm as `history=`: it is filled there.

    Attributes
    ----------
    train_error, valid_error : list of float
        What `measure` says, at the end of each epoch; `valid_error` is empty without validation data.
    train_rmse, valid_rmse : list of float
        The same lists, where `measure` is "RMSE": pooled, in stars.
    measure : str
        What the errors are: "RMSE", or the loss of a training that knows no stars.
    seconds : list of float
        Time spent in training steps up to the end of each epoch, judging not included.
    n_train : int
        Ratings in an epoch.
    device, device_reason : str
        Where it ran, and why there.
    threads, threads_reason : int, str
        With how many threads, and why so many.
    best_epoch : int
        Epoch with the lowest validation error (training error without validation data).
    stopped : str
        "finished", "converged" (nothing moved any more), "early" (no improvement for `patience` epochs),
        "interrupted", "diverged" or "failed"; "running" until then.
    """

    train_error: list[float] = field(default_factory=list)
    valid_error: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    n_train: int = 0
    device: str = "cpu"
    device_reason: str = ""
    threads: int = 1
    threads_reason: str = ""
    stopped: str = "finished"
    measure: str = "RMSE"

    @property
    def train_rmse(self) -> list[float]:
        self._require_stars()
        return self.train_error

    @property
    def valid_rmse(self) -> list[float]:
        self._require_stars()
        return self.valid_error

    def _require_stars(self) -> None:
        if self.measure != "RMSE":
            raise AttributeError(f"this training made the {self.measure} small: see train_error and valid_error")

    @property
    def epochs(self) -> int:
        """Whole epochs done."""
        return max(0, len(self.train_error) - 1)

    @property
    def best_epoch(self) -> int:
        judged = self.valid_error or self.train_error
        return min(range(len(judged)), key=judged.__getitem__, default=0)

    @property
    def ratings_per_second(self) -> float:
        """Training speed over all epochs."""
        return self.n_train * self.epochs / self.seconds[-1] if any(self.seconds) else float("nan")

    def plot(self, ax: Any = None, title: str | None = None) -> Any:
        """Draw the errors against epochs and return the axes; `plots.show(ax.figure, alt=…)` shows them."""
        from ..display import plots  # here, so that training does not load a drawing library

        label = f"{self.measure}, stars" if self.measure == "RMSE" else self.measure
        parts = {"train": self.train_error} | ({"validation": self.valid_error} if self.valid_error else {})
        return plots.lines(parts, ax=ax, xlabel="epochs", ylabel=label, title=title)

    def __repr__(self) -> str:
        if not self.train_error:
            return "History(empty: hand it to a training as history=)"
        valid = f", validation {self.valid_error[-1]:.3f}" if self.valid_error else ""
        return (
            f"History({self.stopped} after {self.epochs} epochs: {self.measure} {self.train_error[-1]:.3f}{valid}; "
            f"{self.seconds[-1]:.1f} s on {self.device}, {self.ratings_per_second:,.0f} ratings/s)"
        )


@dataclass
class Monitor:
    """What watches a training: arguments that every algorithm takes with the meaning they have in `fit`.

    Raises
    ------
    ValueError
        For what does not fit together.
    """

    train: Any  # Ratings, or Interactions where `rated` is False
    valid: Any = None
    patience: int | None = None
    watch: Callable[[Any], Any] | None = None
    history: History | None = None
    log_dir: str | os.PathLike | None = None
    progress: bool = True
    rated: bool = True  # whether the algorithm needs values

    def __post_init__(self) -> None:
        for name, part in (("train", self.train), ("valid", self.valid)):
            if name == "train" or part is not None:
                (require_ratings if self.rated else require_interactions)(name, part)
        if self.valid is not None:
            require_same_labels(self.train, self.valid)
        if self.patience is not None:
            self.patience = whole_number("patience", self.patience)
            if self.valid is None or self.patience < 1:
                raise ValueError(
                    f"patience={self.patience}: early stopping needs validation ratings and a patience of 1 or more"
                )
        if self.watch is not None and not callable(self.watch):
            raise ValueError(f"watch={self.watch!r}: give a function of what would predict")
        if self.history is not None and not (isinstance(self.history, History) and not self.history.train_error):
            raise ValueError("history= takes a new, empty History() and fills it")
        self.log_dir = None if self.log_dir is None else file_path("log_dir", self.log_dir)
        self.progress = yes_or_no("progress", self.progress)
        self.measured = any(wish is not None for wish in (self.valid, self.history, self.log_dir))
        self.watched = self.measured or self.watch is not None
        self.record = History() if self.history is None else self.history
        self.log: RunLog | None = None

    def open_log(self, continued: bool = False) -> None:
        """Make the folder of the log, if there is to be one; refuse one that holds a run already."""
        if self.log_dir is not None:
            self.log = RunLog(self.log_dir, continued)


class Stepper:
    """An algorithm, as `run` sees it. A new one has a `step` and a `predictor`; the rest has an answer here."""

    unit = "epoch"  # or sweep: how messages call a step
    kept = "the factors so far are kept"  # what an interruption says
    setting, remedy = "", "Try a tenth of the learning rate."  # what a divergence blames, and what helps
    error_name = "RMSE"  # what `measure` returns
    always_judged = False  # whether errors are measured after each step though nobody asked
    converged = False  # to be set when another step would change nothing
    settings: dict[str, Any] = {}  # for the log's table of hyper-parameters
    resources: Resources | None = None  # where it runs, for the history
    best: Any = None  # what `keep` returned in the best epoch, if there is early stopping

    def step(self) -> float | None:
        """One epoch or sweep. Returns the error that it met on its way, where that costs nothing."""
        raise NotImplementedError

    def predictor(self) -> Any:
        """What would predict now; `Factors` wherever the model is linear."""
        raise NotImplementedError

    # -- measuring: what an algorithm may know better -------------------------------------------------

    def check(self, done: int) -> None:
        """Raise `DivergenceError` if the state after `done` steps cannot be right."""

    def interrupted(self, done: int) -> None:
        """Called when a step was broken off: raise `DivergenceError` if what it left cannot be right."""
        self.check(done)

    def measure(self, predictor: Any, part: Ratings) -> float:
        """The error, as `error_name` calls it, on the training or the validation ratings."""
        return rmse(predictor, part)

    # -- what a log shows -----------------------------------------------------------------------------

    def scalars(self) -> dict[str, float]:
        """Numbers beside errors and seconds."""
        return {}

    def tables(self, predictor: Any) -> dict[str, np.ndarray]:
        """What is learned, by name; "item_factors" come on the map."""
        return {name: getattr(predictor, name) for name in ARRAYS[1:] if hasattr(predictor, name)}

    def predictions(self, predictor: Any, part: Ratings, some: slice) -> np.ndarray:
        return predictor.predict(part.users[some], part.items[some])

    # -- for models that are trained in place -----------------------------------------------------------

    def keep(self, predictor: Any) -> Any:
        """The present state, to come back to."""
        return predictor

    def result(self) -> Any:
        """What the algorithm returns: the best state with early stopping, else the last."""
        return self.predictor() if self.best is None else self.best

    def started(self, history: History) -> None:
        """Called before the first step, after all that may be refused."""

    def noted(self, history: History) -> None:
        """Called when an epoch has been judged."""

    def diverged(self) -> None:
        """Called before a `DivergenceError` is passed on."""


def run(stepper: Stepper, n: int, monitor: Monitor) -> History:
    """Take `n` steps, and do all that is not the algorithm's arithmetic.

    Errors are measured after each step if anybody wants to know them: `valid`, `history` or `log_dir`. Interrupting (Ctrl-C, or
    ■ in a notebook) ends the training in peace; `stepper.result()` is what has been reached. A history that holds
    epochs already, as after `resume`, is continued.

    Raises
    ------
    DivergenceError
        When errors stop being numbers or exceed 100 times the rating scale, or where there is none 100 times the first
        error (at least 1); the history ends one step before.
    """
    loop = _Loop(stepper, n, monitor)
    bar = progress_bar(show=monitor.progress, initial=loop.done, total=n, unit=stepper.unit)
    try:
        loop.open()
        while not (reason := loop.over()):
            loop.advance(bar)
        loop.history.stopped = reason
    except KeyboardInterrupt:
        loop.interrupted()
    except BaseException as error:
        loop.failed(error)
        raise
    finally:
        bar.close()
        loop.close()
    return loop.history


class _Loop:
    """The state of a `run`."""

    def __init__(self, stepper: Stepper, n: int, monitor: Monitor) -> None:
        self.stepper, self.n, self.monitor, self.history = stepper, n, monitor, monitor.record
        self.judged = stepper.always_judged or monitor.measured
        # other errors than stars have no scale: what a training begins with stands for it
        self.limit = divergence_limit(monitor.train) if stepper.error_name == "RMSE" else np.inf
        self.history.measure = stepper.error_name
        self.latest, self.spent, self.done = None, 0.0, self.history.epochs
        self.current, self.begun = self.done + 1, False
        self.resumed, self.history.stopped = bool(self.history.train_error), "running"

    def open(self) -> None:
        """Judge the start, which must be finite, and begin the log."""
        self.history.n_train, where = len(self.monitor.train), self.stepper.resources
        if where is not None:
            self.history.device, self.history.device_reason = str(where.device), where.device_reason
            self.history.threads, self.history.threads_reason = where.threads, where.threads_reason
        if self.monitor.log is None:
            self.monitor.open_log()
        if self.resumed:
            self.spent, self.latest = self.history.seconds[-1], self.stepper.predictor()
        elif not self.judged:
            self.stepper.check(0)
        else:
            self.judge()
        self.stepper.started(self.history)
        self.begun = True
        if self.monitor.log is not None:  # after what may be refused: a folder without a run can be taken again
            self.monitor.log.begin(self.done, self.resumed)
            if not self.done:
                self.note()

    def over(self) -> str:
        """Why it is over; nothing while it is not."""
        patience = self.monitor.patience
        if patience is not None and self.history.epochs - self.history.best_epoch >= patience:
            return "early"
        if self.stepper.converged:
            return "converged"
        return "" if self.done < self.n else "finished"

    def advance(self, bar: Any) -> None:
        self.current, began = self.done + 1, time.perf_counter()
        met = self.stepper.step()
        if self.history.device.startswith("cuda"):
            torch.cuda.synchronize(self.history.device)
        self.spent += time.perf_counter() - began
        self.done = self.current
        if met is not None:
            self.require_bounded(met)
        if self.judged:
            self.judge()
            bar.set_postfix_str(
                f"{self.history.measure} {(self.history.valid_error or self.history.train_error)[-1]:.3f}",
                refresh=False,
            )
            self.note()
            self.stepper.noted(self.history)
        # a look at all errors costs a fifth of a sweep with few factors: after 4, 8, 16 … and the last
        elif self.done == self.n or (met is None and self.done > 2 and not self.done & (self.done - 1)):
            self.stepper.check(self.done)
        if self.monitor.watch is not None:
            self.latest = self.latest if self.judged else self.stepper.predictor()
            self.monitor.watch(self.latest)
        bar.update()

    def judge(self) -> None:
        """Measure all before any is noted: an interruption leaves lists of one length."""
        self.stepper.check(self.done)
        predictor = self.stepper.predictor()
        train_error = self.stepper.measure(predictor, self.monitor.train)
        if self.limit == np.inf:
            self.limit = DIVERGED * max(1.0, abs((self.history.train_error or [train_error])[0]))
        if self.done:
            self.require_bounded(train_error)
        valid = [] if self.monitor.valid is None else [self.stepper.measure(predictor, self.monitor.valid)]
        if self.done and not np.isfinite(valid).all():
            self.require_bounded(valid[0])
        if not self.done and not np.isfinite([train_error, *valid]).all():
            raise ValueError(
                f"the model's first predictions are not finite ({self.history.measure} {train_error}): make a new model"
            )
        self.history.train_error.append(train_error)
        self.history.valid_error += valid
        self.history.seconds.append(self.spent)
        self.latest = predictor
        if self.monitor.patience is not None and self.history.best_epoch == self.history.epochs:
            self.stepper.best = self.stepper.keep(predictor)  # the start may remain the best

    def require_bounded(self, error: float) -> None:
        if not error <= self.limit:
            remedy, began = self.stepper.remedy, self.history.train_error[:1]
            if began and not began[0] <= self.limit:
                remedy = f"It began with {began[0]:.3g}: take smaller first factors, or a model with the mean of the ratings."
            raise DivergenceError(
                f"diverged in {self.stepper.unit} {self.current}{self.stepper.setting}: "
                f"training {self.history.measure} {error:.3g}. {remedy}"
            )

    def note(self) -> None:
        """Write the state after an epoch into the log, if there is one."""
        if self.monitor.log is None:
            return
        history, shown = self.history, self.monitor.valid or self.monitor.train
        predictions = self.stepper.predictions(self.latest, shown, even_sample(len(shown)))
        scalars = {f"{history.measure}/train": history.train_error[-1], "seconds": history.seconds[-1]}
        scalars |= self.stepper.scalars()
        if history.valid_error:
            scalars[f"{history.measure}/validation"] = history.valid_error[-1]
        self.monitor.log.epoch(history.epochs, scalars, self.stepper.tables(self.latest), predictions)

    def interrupted(self) -> None:
        self.history.stopped = "interrupted"
        note_interruption(self.current)
        if self.stepper.best is None:
            self.stepper.interrupted(self.done)
            self.latest = self.stepper.predictor()
        kept = self.stepper.kept
        if self.stepper.best is not None:
            kept = f"{self.stepper.unit} {self.history.best_epoch}, the best, is kept"
        print(f"interrupted in {self.stepper.unit} {self.current}: {kept}")

    def failed(self, error: BaseException) -> None:
        """What a divergence or another error leaves; a history in which nothing was trained can be used again."""
        self.history.stopped = "diverged" if isinstance(error, DivergenceError) else "failed"
        if isinstance(error, DivergenceError):
            self.stepper.best = None
            self.stepper.diverged()
        if not self.begun and not self.resumed:
            for numbers in (self.history.train_error, self.history.valid_error, self.history.seconds):
                numbers.clear()

    def close(self) -> None:
        final = self.latest if self.stepper.best is None else self.stepper.result()
        if self.monitor.log is not None:
            tables = {} if final is None else self.stepper.tables(final)
            columns = _map_columns(self.monitor.train)
            self.monitor.log.close(self.history, self.stepper.settings, tables.get("item_factors"), columns)


def note_interruption(at: int = 0) -> None:
    """Tell whoever runs several trainings that one of them was interrupted and kept it to itself."""
    if (noticed := _NOTICED.get()) is not None:
        noticed.append(at)


@contextmanager
def interruptions() -> Iterator[list]:
    """A list that grows with each interruption that a loop keeps to itself, for whoever runs several trainings."""
    token = _NOTICED.set(noticed := [])
    try:
        yield noticed
    finally:
        _NOTICED.reset(token)


def _map_columns(train: Ratings) -> dict[str, np.ndarray]:
    """What the projector tells of each item."""
    columns = {"title": np.asarray(train.item_ids if train.titles is None else train.titles)}
    if train.genres is not None:
        columns["genres"] = train.genres
    return columns | {"ratings": train.item_counts}
