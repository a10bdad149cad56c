"""Training any PyTorch module on batches of shuffled ratings."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..data.arguments import (
    LARGEST_SEED,
    file_path,
    one_of,
    real_number,
    require_one_each,
    whole_number,
    yes_or_no,
)  # fmt: skip
from ..data.context import TABLES, TIMES, asked_for, tables_of, times_of
from ..data.interactions import Interactions
from ..data.ratings import Ratings
from ..models.modules import MatrixFactorization
from ..models.pairs import PairModel, as_array, modes_kept
from ..models.penalty import Penalty
from .checkpoint import Checkpoint, fingerprint, hashed, shapes
from .loop import TOO_MUCH, History, Monitor, Stepper, run, slower
from .resources import Resources, choose_resources

Optimizer = torch.optim.Optimizer
Model = TypeVar("Model", bound=nn.Module)
Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

PENALISED = ("user_factors", "item_factors", "user_biases", "item_biases")
EVALUATION_CHUNK = 1 << 18  # pairs scored at a time when an epoch is judged


def fit(
    model: Model,
    train: Interactions,
    valid: Interactions | None = None,
    *,
    loss: Loss | None = None,
    epochs: int = 20,
    batch_size: int = 1024,
    optimizer: Optimizer | Callable[..., Optimizer] | None = None,
    lr: float | None = None,
    reg: float | Penalty = 0.0,
    schedule: Callable[[Optimizer], Any] | None = None,
    schedule_every: str = "epoch",
    patience: int | None = None,
    device: str | torch.device = "auto",
    threads: int | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    watch: Callable[[Model], Any] | None = None,
    history: History | None = None,
    log_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> Model:
    """Train a model in place on batches of shuffled ratings.

    The loss of a batch is its mean squared error, plus for each rating its share of the penalty `reg`
    for the rows that it looks up: so in the mean over all batches, 1 / n_ratings times the `objective`.

    Users and items without a training rating get rows of zeros first: see
    `MatrixFactorization.forget_unseen`. Each epoch runs in training mode and is judged in
    evaluation mode; the model's own mode is restored at the end. Interrupting (Ctrl-C, or ■ in a
    notebook) ends the training and keeps the model as it is, or with `patience` as it was in its
    best epoch.

    Parameters
    ----------
    model : module with forward(user, item), such as a `PairModel`
        A `forward` that also takes timestamps, user_features or item_features, by these names, gets those of the ratings:
        see `PairModel`. The model is back on the CPU afterwards only if it was trained there.
    train : Ratings; with a `loss` of your own, Interactions will do
    valid : of the type of `train`, optional
        Judged after every epoch and never trained on.
    loss : function (model, users, items, values) -> mean loss of a batch, optional
        Instead of the mean squared error; of interactions the values are the weights. The history's errors are then
        its mean over all ratings, and its `measure` the function's `name`. `mf.bpr` trains with one.
    epochs : int
        At most so many.
    batch_size : int
        Ratings in a step. The last batch of an epoch may be smaller.
    optimizer : a torch optimiser class, a function (parameters, lr=…) -> optimiser, or an optimiser
        Default: Adam, or SparseAdam for a model with sparse gradients. A ready optimiser brings its
        own learning rate; a function may.
    lr : float, optional
        Learning rate; default 0.005 for an optimiser class, a function's own for a function.
    reg : float or Penalty
        λ of a penalty of λ for each rating, or any `Penalty`. It is on the rows that `forward` looks up in
        embeddings named user_factors, item_factors, user_biases and item_biases. It leaves other rows alone,
        unlike an optimiser's weight_decay.
    schedule : function of an optimiser, returns a scheduler of torch.optim.lr_scheduler, optional
        Such as ``lambda optimizer: CosineAnnealingLR(optimizer, T_max=20)``. One that steps by a metric
        (ReduceLROnPlateau) gets the validation RMSE, or without validation data the training RMSE.
    schedule_every : {"epoch", "batch"}
        After what the scheduler makes a step.
    patience : int, optional
        Stop when `valid` has not improved for so many epochs, and restore the best epoch. Needs `valid`.
    device : "auto", "cpu", "cuda", "mps" or torch.device
        "auto" takes a GPU if there is one and a step is large enough to be worth it;
        `History.device_reason` says why it chose.
    threads : int, optional
        Of the processor. The default is one for small steps, which more would only wait for, and PyTorch's own
        setting for large ones; `History.threads_reason` says why. Your setting is back afterwards.
    seed : int
        Of the shuffling, and of what the model draws in training, as dropout does; PyTorch's global
        generator is left as it was. Several `fit` in threads take turns for that, epoch by epoch.
    checkpoint : path, optional
        File to write before the first epoch and after every one: a temporary one first, then renamed. One that is
        there already needs `resume`.
    resume : bool
        Continue from `checkpoint` if that file exists, with the same settings but for `epochs`. On
        the CPU the result equals that of an uninterrupted run bit for bit.
    watch : function of the model, optional
        Called after every epoch.
    history : History, optional
        An empty ``mf.History()`` to be filled: errors, seconds, device, and why the training stopped.
    log_dir : path, optional
        A new folder for TensorBoard's event files: after every epoch both RMSEs, seconds, learning rate, and
        histograms of all parameters and of predictions (of `valid`, or else of `train`); at the end the settings
        with the best RMSE, and the factors of the items with their titles for the projector. With `resume`, the
        folder of the training that is continued.
    progress : bool
        Show a bar for what takes over two seconds.

    Returns
    -------
    The model that was given, trained.

    Raises
    ------
    ValueError
        For settings that do not fit together, a penalty on nothing that there is, data larger than
        the model, parts that are numbered differently, predictions that are not one finite number a pair,
        timestamps or features that a model asks for and the ratings have not, a checkpoint of another training, or a
        `log_dir` that holds another run; before anything is trained.
    OSError
        When `log_dir` cannot be written, or the checkpoint: before anything is trained, or with `patience` after
        restoring the best epoch.
    DivergenceError
        When the training RMSE stops being a number or exceeds 100 times the rating scale, or the mean of a `loss`
        100 times the first one (at least 1); the
        message names epoch, learning rate and error. The model is left as it was one epoch before.
    """
    if loss is not None:
        _require_loss(loss, train, checkpoint)
    monitor = Monitor(train, valid, patience, watch, history, log_dir, progress, rated=loss is None)
    settings = Settings(epochs, batch_size, optimizer, lr, Penalty.of(reg), schedule, schedule_every, seed, loss)
    settings.require_fit(model, monitor)
    place = None if checkpoint is None else file_path("checkpoint", checkpoint)
    if yes_or_no("resume", resume) and place is None:
        raise ValueError("resume=True needs checkpoint=, the file to continue from")
    if not resume and place is not None and place.is_file():
        raise ValueError(
            f"checkpoint={str(checkpoint)!r} holds a training already: resume=True continues it; "
            "for a new one name another file, or delete this one"
        )
    resources = choose_resources(device, threads, min(settings.batch_size, len(train)), model, partial(_refusal, model))
    with resources.scope():
        training = _Training(model, monitor, settings, resources)
        file = None if place is None else Checkpoint(place, training.identity())
        resumed = resume and file is not None and file.path.exists()
        monitor.open_log(resumed)
        training.checkpoint = file
        with modes_kept(model):
            training.resume(file) if file is not None and resumed else training.prepare()
            run(training, settings.epochs, monitor)
    return model


@dataclass
class Settings:
    """How `fit` trains, checked on its own and then against the model."""

    epochs: int
    batch_size: int
    optimizer: Any
    lr: float | None
    penalty: Penalty
    schedule: Any
    schedule_every: str
    seed: int
    loss: Loss | None = None

    def __post_init__(self) -> None:
        self.epochs, self.batch_size = (whole_number(n, getattr(self, n), 1) for n in ("epochs", "batch_size"))
        self.seed = whole_number("seed", self.seed, 0, LARGEST_SEED)
        self.lr = None if self.lr is None else real_number("lr", self.lr, above=0)
        one_of("schedule_every", self.schedule_every, ("epoch", "batch"))
        if isinstance(self.optimizer, Optimizer) and self.lr is not None:
            raise ValueError("lr= and a ready optimiser contradict each other: the optimiser has a learning rate")

    def require_fit(self, model: nn.Module, monitor: Monitor) -> None:
        """Refuse what this model cannot be trained with, with a ValueError."""
        _require_trainable(model)
        _require_optimizer(self.optimizer)
        if isinstance(self.optimizer, Optimizer):
            trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
            if not trained & {id(p) for p in model.parameters()}:
                raise ValueError(
                    "this optimiser holds none of the model's parameters: was it made for an earlier model?"
                )
        for part in (monitor.train, monitor.valid):
            for n in ("n_users", "n_items"):
                if part is not None and hasattr(model, n) and getattr(part, n) > getattr(model, n):
                    raise ValueError(f"the ratings have {n}={getattr(part, n)}, the model only {getattr(model, n)}")
        if (self.penalty.reg or self.penalty.biases) and not _penalised_tables(model):
            raise ValueError(
                f"reg={self.penalty}: {type(model).__name__} has no embedding named {', '.join(PENALISED)} to be penalised"
            )


class _Training(Stepper):
    """A model, its optimiser, and what both are trained on."""

    kept = "the model so far is kept"
    always_judged = True

    def __init__(self, model: nn.Module, monitor: Monitor, settings: Settings, resources: Resources) -> None:
        self.model, self.how, self.resources, self.device = model, settings, resources, resources.device
        self.train, self.valid, self.history = monitor.train, monitor.valid, monitor.record
        self.early_stopping, device = monitor.patience is not None, self.device
        moved = any(parameter.device != device for parameter in model.parameters())
        model.to(device)
        self.optimizer = _ready_optimizer(model, settings.optimizer, settings.lr, moved)
        largest = settings.penalty.largest_share(self.train) * max(group["lr"] for group in self.optimizer.param_groups)
        self.remedy = TOO_MUCH if largest > 1 and isinstance(self.optimizer, torch.optim.SGD) else slower(self.train)
        self.loss = squared_error
        if settings.loss is not None:
            self.loss, self.error_name = settings.loss, _loss_name(settings.loss)
            self.remedy = "Try a tenth of the learning rate."
        if any(torch.finfo(parameter.dtype).bits < 32 for parameter in model.parameters()):
            self.remedy = "Half precision has three digits: train in float32, as model.float() does."
        # after the optimiser: its first rate is what the scheduler starts from
        self.scheduler = _made(settings.schedule, self.optimizer)
        if settings.schedule_every == "batch" and isinstance(self.scheduler, ReduceLROnPlateau):
            raise ValueError("schedule_every='batch': ReduceLROnPlateau steps by the RMSE of an epoch; choose 'epoch'")
        self.shares = _shares(settings.penalty, monitor.train, device)
        asked = asked_for(model.forward)
        if asked and settings.loss is not None:
            raise ValueError(
                f"loss= calls forward(user, item) alone, and {type(model).__name__}.forward asks for {asked[0]}: "
                "let the model hold it, as a buffer"
            )
        if any(name in TABLES for name in asked) and monitor.valid is not None:
            _require_same_features(monitor.train, monitor.valid)
        self.names = (TIMES,) if TIMES in asked else ()
        self.features = {name: torch.tensor(a, device=device) for name, a in tables_of(monitor.train, asked).items()}
        self.parts = {id(part): self._tensors(part) for part in (monitor.train, monitor.valid) if part is not None}
        self.data = self.parts[id(monitor.train)]
        self.shuffling = torch.Generator().manual_seed(settings.seed)
        self.checkpoint: Checkpoint | None = None
        self.before: dict[str, Any] = {}
        self.settings = {"model": type(model).__name__, "n_factors": getattr(model, "n_factors", 0),
                         "optimizer": type(self.optimizer).__name__, "lr": self._rates(),
                         "batch_size": settings.batch_size, "epochs": settings.epochs, "seed": settings.seed,
                         **settings.penalty.settings()}  # fmt: skip

    def _tensors(self, part: Interactions) -> tuple[torch.Tensor, ...]:
        """Users, items, values, and timestamps if the model asks for them."""
        times = (torch.tensor(column, device=self.device) for column in times_of(part, self.names).values())
        return (*part.to_tensors(self.device), *times)

    def _context(self, more: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """What `forward` asks for besides user and item; `more` are the columns after these and the values."""
        return dict(zip(self.names, more, strict=True)) | self.features

    def prepare(self) -> None:
        """What the first epoch finds: rows of zeros where nothing will be learned, the mean of the ratings."""
        model: Any = self.model
        train = self.train
        some = [column[:1] for column in self.data]
        _require_penalised(model, self.shares, some[0], some[1], self._context(some[3:]))
        if self.how.loss is not None:  # else the first errors show the shape
            with modes_kept(model), torch.no_grad():
                model.eval()
                some = [column[:2] for column in self.data]
                require_one_each("forward", model(*some[:2]).shape, len(some[0]))
        if getattr(model, "mean_from_train", False) and isinstance(train, Ratings):
            model.mean.fill_(float(train.values.mean(dtype="float64")))
            model.mean_from_train = torch.zeros_like(model.mean, dtype=torch.bool)
        if hasattr(model, "forget_unseen"):
            model.forget_unseen(train)
        self._keep_tables()

    def _keep_tables(self) -> None:
        if isinstance(self.model, PairModel):
            self.model.feature_tables = self.features  # for what is asked later

    # -- one epoch ------------------------------------------------------------------------------------

    def step(self) -> None:
        """One pass over the ratings in a new order."""
        self.before = copy.deepcopy(self.model.state_dict())
        with _reproducible(self.how.seed, self.history.epochs, self.device), _ids_unchecked(self.model):
            self._epoch()
        self.setting = f" at learning rate {self._rates()}"

    def _epoch(self) -> None:
        model, optimizer, by_batch = self.model, self.optimizer, self.how.schedule_every == "batch"
        values = self.data[2]
        model.train()
        # the order is drawn on the CPU, so that it is the same on every device
        order = torch.randperm(len(values), generator=self.shuffling).to(values.device)
        # gathered once: slices of three arrays cost less than three gathers a batch
        batches = (column.index_select(0, order).split(min(self.how.batch_size, len(values))) for column in self.data)
        with _looked_up(model, self.shares) as rows:
            for user, item, value, *more in zip(*batches, strict=True):
                optimizer.zero_grad()
                loss = self.loss(model, user, item, value, **self._context(more))
                for table, ids, looked_up in rows:
                    loss = loss + (self.shares[table][ids] * looked_up.square().sum(-1)).sum() / len(value)
                rows.clear()
                loss.backward()
                optimizer.step()
                if self.scheduler is not None and by_batch:
                    self.scheduler.step()

    def predictor(self) -> nn.Module:
        return self.model

    def measure(self, predictor: nn.Module, part: Ratings) -> float:
        predictor.eval()
        with _ids_unchecked(predictor):
            data = self.parts[id(part)]
            if self.how.loss is not None:
                return _pooled_loss(predictor, self.loss, data)
            return _pooled_rmse(predictor, data, self._context)

    def _rates(self) -> str:
        return ", ".join(sorted({f"{float(group['lr']):g}" for group in self.optimizer.param_groups}))

    # -- what the log shows ---------------------------------------------------------------------------

    def scalars(self) -> dict[str, float]:
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        names = ["learning rate"] if len(rates) == 1 else [f"learning rate/{n}" for n in range(len(rates))]
        return dict(zip(names, rates, strict=True))

    def tables(self, predictor: nn.Module) -> dict[str, np.ndarray]:
        return {name.removesuffix(".weight"): as_array(table) for name, table in predictor.named_parameters()}

    @torch.no_grad()
    def predictions(self, predictor: nn.Module, part: Ratings, some: slice) -> np.ndarray:
        users, items, _, *more = (column[some] for column in self.parts[id(part)])
        predictor.eval()
        return as_array(predictor(users, items, **self._context(more)))

    # -- states to come back to -----------------------------------------------------------------------

    def keep(self, predictor: nn.Module) -> dict[str, Any]:
        return copy.deepcopy(predictor.state_dict())

    def result(self) -> nn.Module:
        if self.best is not None:
            self.model.load_state_dict(self.best)
        return self.model

    def started(self, history: History) -> None:
        self._save(history)  # before the first epoch too: a path that cannot be written shows now

    def noted(self, history: History) -> None:
        if self.scheduler is not None and self.how.schedule_every == "epoch":
            if isinstance(self.scheduler, ReduceLROnPlateau):
                self.scheduler.step((history.valid_error or history.train_error)[-1])
            else:
                self.scheduler.step()
        self._save(history)

    def interrupted(self, done: int) -> None:
        """A step that was broken off may have been one too far: then one epoch back."""
        if self.before and not all(bool(table.isfinite().all()) for table in self.model.parameters()):
            self.kept = "that epoch diverged, and the model of the epoch before is kept"
            self.diverged()

    def diverged(self) -> None:
        """One epoch back, as the error promises."""
        if self.before:
            self.model.load_state_dict(self.before)

    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be continued.

        The settings of optimiser and schedule too, learning rate first: those in the file would silently
        replace the new ones. And whether there is early stopping: without it no best epoch is kept up to date.
        """
        groups, scheduler = self.optimizer.param_groups, self.scheduler
        settings = {key: [group[key] for group in groups] for key in groups[0] if key != "params"}
        schedule = {}
        if scheduler is not None:
            started = {f"schedule's {key}": value for key, value in scheduler.state_dict().items()}
            schedule = {"schedule_every": self.how.schedule_every, **started}
        return {"model": type(self.model).__name__, "shapes": shapes(self.model.state_dict()),
                "dropout": [part.p for part in self.model.modules() if isinstance(part, nn.Dropout)],
                "data": [fingerprint(part, self.names) for part in (self.train, self.valid) if part is not None],
                "batch_size": self.how.batch_size, "seed": self.how.seed, "loss": self.error_name,
                "reg": dataclasses.astuple(self.how.penalty), "schedule": type(scheduler).__name__,
                "optimizer": type(self.optimizer).__name__, "early stopping": self.early_stopping,
                **{name: hashed(table) for name, table in self.features.items()},
                **settings, **schedule}  # fmt: skip

    def _save(self, history: History) -> None:
        if self.checkpoint is not None:
            self.checkpoint.save(
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                schedule=None if self.scheduler is None else self.scheduler.state_dict(),
                shuffling=self.shuffling.get_state(),
                history=dataclasses.asdict(history),
                best=self.best,
            )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from the checkpoint; all that may fail comes before the model is touched."""
        with checkpoint.loaded() as state:
            past = History(**state["history"])
            for weights in (state["model"], state["best"] or state["model"]):
                if shapes(weights) != shapes(self.model.state_dict()):
                    raise ValueError("its weights have other shapes than it says")
            if not 0 < len(past.train_error) == len(past.seconds):
                raise ValueError("its history has gaps")
            self.shuffling.set_state(state["shuffling"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(state["schedule"])
        for name in ("train_error", "valid_error", "seconds"):
            getattr(self.history, name).extend(getattr(past, name))
        self.model.load_state_dict(state["model"])
        self.best = state["best"]
        self._keep_tables()


# -- parts of an epoch -----------------------------------------------------------------------------


def _require_same_features(train: Interactions, valid: Interactions) -> None:
    """The tables of `train` serve both parts, so those of `valid` must be the same."""
    for side in ("users", "items"):
        one, other = (getattr(part.features, side, None) for part in (train, valid))
        if not (one is other is None or (one is not None and other is not None and one.equals(other))):
            raise ValueError(f"the features of {side} differ between train and valid: split one Ratings")


def _require_trainable(model: Any) -> None:
    """Refuse what no gradient descent can train, with a ValueError."""
    if not isinstance(model, nn.Module):
        made = "a class" if isinstance(model, type) else type(model).__name__
        raise ValueError(f"model is {made}: give a module, such as BiasedMatrixFactorization(n_users, n_items)")
    parameters = list(model.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(f"{type(model).__name__} has no parameter that wants a gradient: there is nothing to train")
    if not torch.is_grad_enabled() or any(map(torch.is_inference, parameters)):
        raise ValueError(
            "fit needs gradients: make the model and call fit outside torch.no_grad() and inference_mode()"
        )
    try:
        inspect.signature(model.forward).bind(None, None, **dict.fromkeys(asked_for(model.forward)))
    except TypeError as error:
        raise ValueError(f"{type(model).__name__}.forward: {error}; it must take (user, item)") from error
    own = isinstance(model, MatrixFactorization)
    if own and not (model.user_factors.weight.any() or model.item_factors.weight.any()):
        raise ValueError("factors that start at zero are a saddle and never move: make the model with init_std=0.1")


def _require_optimizer(optimizer: Any) -> None:
    """Refuse what is no optimiser, or takes no steps by itself, with a ValueError."""
    if not (optimizer is None or isinstance(optimizer, Optimizer) or callable(optimizer)):
        raise ValueError(f"optimizer={optimizer!r}: give a class or a function, such as torch.optim.Adam")
    if optimizer is torch.optim.LBFGS or isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(
            "LBFGS asks for the loss again within a step, which fit does not: take torch.optim.Adam or SGD"
        )


def _require_gradients(model: nn.Module, optimizer: Any) -> None:
    """Refuse an optimiser that takes sparse gradients alone, or none, where the model has others."""
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer made {type(optimizer).__name__}: it must return an optimiser of torch.optim")
    _require_optimizer(optimizer)
    kinds = nn.Embedding, nn.EmbeddingBag
    sparse = {id(part.weight) for part in model.modules() if isinstance(part, kinds) and part.sparse}
    dense = {id(parameter) for parameter in model.parameters()} - sparse
    name = type(optimizer).__name__
    if type(optimizer) is torch.optim.SparseAdam and dense:
        raise ValueError("SparseAdam takes sparse gradients alone: take Adam, or a model with sparse=True")
    dense_only = type(optimizer).__module__.startswith("torch.optim") and name not in ("SGD", "Adagrad", "SparseAdam")
    if sparse and dense_only:
        raise ValueError(f"{name} takes no sparse gradients: take SparseAdam or SGD, or a model with sparse=False")


def _refusal(model: nn.Module, kind: str) -> str | None:
    return "has no sparse gradients" if kind == "mps" and getattr(model, "sparse", False) else None


@contextmanager
def _ids_unchecked(model: Any) -> Iterator[None]:
    """Spare a model the look at all numbers in every step: those of both parts are known to be in range."""
    if not hasattr(model, "check_ids"):
        yield
        return
    kept, model.check_ids = model.check_ids, False
    try:
        yield
    finally:
        model.check_ids = kept


def _shares(penalty: Penalty, train: Ratings, device: torch.device) -> dict[str, torch.Tensor]:
    """λ n^(α-1) of every row, by table; nothing if there is no penalty."""
    if not (penalty.reg or penalty.biases):
        return {}
    shares = {}
    for side, counts in (("user", train.user_counts), ("item", train.item_counts)):
        share = torch.tensor(penalty.per_rating(counts), dtype=torch.float32, device=device)
        shares[f"{side}_factors"], shares[f"{side}_biases"] = penalty.reg * share, penalty.biases * share
    if not all(bool(share.isfinite().all()) for share in shares.values()):
        raise ValueError(f"{penalty} is beyond float32 for these ratings: take less")
    return shares


def _penalised_tables(model: nn.Module) -> dict[str, nn.Module]:
    return {name: table for name, table in model.named_children() if name in PENALISED}


@torch.no_grad()
def _require_penalised(model: nn.Module, shares: dict, user: torch.Tensor, item: torch.Tensor, context: dict) -> None:
    """Raise ValueError if `forward` takes rows past their table, where no penalty sees them."""
    if not shares:
        return
    with modes_kept(model), _looked_up(model, shares) as rows:
        model.eval()
        model(user, item, **context)
    missed = sorted(set(_penalised_tables(model)) - {name for name, *_ in rows})
    if missed:
        raise ValueError(
            f"the penalty does not see {', '.join(missed)}: forward does not call it, as in self.{missed[0]}(user)"
        )


@contextmanager
def _looked_up(model: nn.Module, shares: dict[str, torch.Tensor]) -> Iterator[list]:
    """A list to which each lookup in a penalised table adds (its name, the numbers, the rows)."""
    rows: list = []
    tables = _penalised_tables(model) if shares else {}
    hooks = [
        table.register_forward_hook(
            lambda _, given, named, output, name=name: rows.append((name, *given, *named.values(), output)),
            with_kwargs=True,
        )
        for name, table in tables.items()
    ]
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


_DRAWING = threading.RLock()  # of PyTorch's global generators, which the threads of a process share


@contextmanager
def _reproducible(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Let what a model draws by itself, as dropout does, depend on seed and epoch, not on what ran before."""
    start = (1_000_003 * seed + epoch) % 2**64
    with _DRAWING, torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        # not torch.manual_seed, which moves the generators of all devices
        torch.default_generator.manual_seed(start)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(start)
        elif device.type != "cpu":
            getattr(torch, device.type).manual_seed(start)
        yield


@torch.no_grad()
def _pooled_rmse(model: nn.Module, data: tuple[torch.Tensor, ...], context: Callable[[Any], dict]) -> float:
    total = 0.0
    for users, items, values, *more in zip(*(column.split(EVALUATION_CHUNK) for column in data), strict=True):
        predicted = model(users, items, **context(more))
        require_one_each("forward", predicted.shape, len(values))
        total += (predicted - values).square().sum().item()
    return (total / len(data[2])) ** 0.5


def _loss_name(loss: Loss) -> str:
    return getattr(loss, "name", getattr(loss, "__name__", "loss").replace("<lambda>", "loss"))


def _require_loss(loss: Any, train: Any, checkpoint: Any) -> None:
    """Refuse what is no loss, one that cannot be told from others, and one of another training part."""
    if not callable(loss):
        raise ValueError(f"loss={loss!r}: give a function (model, users, items, values) -> mean loss of a batch")
    name = _loss_name(loss)
    if not isinstance(name, str) or name == "RMSE":
        raise ValueError(f"loss has the name {name!r}: give it a text of its own, and not 'RMSE', which is of stars")
    if checkpoint is not None and name == "loss":
        raise ValueError(
            "checkpoint= tells losses by their names, and this one has none: write it with def, or set its .name"
        )
    if hasattr(loss, "require"):
        loss.require(train)


def squared_error(
    model: nn.Module, users: torch.Tensor, items: torch.Tensor, values: torch.Tensor, **context: torch.Tensor
) -> torch.Tensor:
    """The loss of a batch unless another is asked for."""
    return (model(users, items, **context) - values).square().mean()


@torch.no_grad()
def _pooled_loss(model: nn.Module, loss: Loss, data: tuple[torch.Tensor, ...]) -> float:
    total = 0.0
    for batch in zip(*(column.split(EVALUATION_CHUNK) for column in data), strict=True):
        mean = loss(model, *batch)
        if not isinstance(mean, torch.Tensor) or mean.numel() != 1:
            got = f"shape {tuple(mean.shape)}" if isinstance(mean, torch.Tensor) else type(mean).__name__
            raise ValueError(
                f"loss returned {got}: it must return one number as a tensor, such as a mean() of the batch"
            )
        total += mean.item() * len(batch[0])
    return total / len(data[0])


# -- optimisers and schedules ----------------------------------------------------------------------


def _ready_optimizer(model: nn.Module, optimizer: Any, lr: float | None, moved: bool) -> Optimizer:
    made = _made_optimizer(model, optimizer, lr, moved)
    _require_gradients(model, made)
    return made


def _made_optimizer(model: nn.Module, optimizer: Any, lr: float | None, moved: bool) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        if moved:  # the parameters have a new device, what the optimiser keeps of each has not
            optimizer.load_state_dict(optimizer.state_dict())
        return optimizer
    if optimizer is None:
        optimizer = torch.optim.SparseAdam if getattr(model, "sparse", False) else torch.optim.Adam
    if lr is None and isinstance(optimizer, type):
        lr = 0.005
    return optimizer(model.parameters(), **({} if lr is None else {"lr": lr}))


def _made(schedule: Any, optimizer: Optimizer) -> Any:
    if schedule is None:
        return None
    if not callable(schedule):
        kind = type(schedule).__name__
        raise ValueError(f"schedule={kind}: give a function, schedule=lambda optimizer: {kind}(optimizer, …)")
    scheduler = schedule(optimizer)
    if not hasattr(scheduler, "step"):
        raise ValueError(f"schedule returned {scheduler!r}, which is no scheduler: does it return one?")
    return scheduler
