"""One loop for all algorithms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.ratings import Ratings

HOPELESS = 100  # a training RMSE of so many times the rating scale will not come back


class DivergenceError(ArithmeticError):
    """The training error grew beyond all bounds, or is no longer a number."""


def hopeless(train: Ratings) -> float:
    """The error in stars beyond which a training has diverged."""
    return HOPELESS * (train.scale.high - train.scale.low or 1)


@dataclass
class History:
    """How a training went; element 0 of each list is the state before the first epoch.

    Attributes
    ----------
    train_rmse, valid_rmse : list of float
        Pooled RMSE in stars at the end of each epoch; `valid_rmse` is empty without validation data.
    seconds : list of float
        Time spent in training steps up to the end of each epoch, judging not included.
    n_train : int
        Ratings in an epoch.
    device, device_reason : str
        Where it ran, and why there.
    best_epoch : int
        Epoch with the lowest validation RMSE (training RMSE without validation data).
    stopped : str
        "finished", "early" (no improvement for `patience` epochs) or "interrupted".
    """

    train_rmse: list[float] = field(default_factory=list)
    valid_rmse: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    n_train: int = 0
    device: str = "cpu"
    device_reason: str = ""
    stopped: str = "finished"

    @property
    def epochs(self) -> int:
        """Whole epochs done."""
        return len(self.train_rmse) - 1

    @property
    def best_epoch(self) -> int:
        judged = self.valid_rmse or self.train_rmse
        return min(range(len(judged)), key=judged.__getitem__)

    @property
    def ratings_per_second(self) -> float:
        """Training speed over all epochs."""
        return self.n_train * self.epochs / self.seconds[-1] if self.seconds[-1] else float("nan")

    def last(self) -> dict[str, float]:
        """The state after the last epoch, by the names that a log has for it."""
        valid = {"RMSE/validation": self.valid_rmse[-1]} if self.valid_rmse else {}
        return {"RMSE/train": self.train_rmse[-1], **valid, "seconds": self.seconds[-1]}

    def plot(self, ax: Any = None, title: str | None = None) -> Any:
        """Draw RMSE against epochs and return the axes; `plots.show(ax.figure, alt=…)` shows them."""
        from ..display import plots  # here, so that training does not load a drawing library

        return plots.training_curves({"": self}, ax=ax, title=title)

    def __repr__(self) -> str:
        valid = f", validation {self.valid_rmse[-1]:.3f}" if self.valid_rmse else ""
        return (
            f"History({self.stopped} after {self.epochs} epochs: RMSE {self.train_rmse[-1]:.3f}{valid}; "
            f"{self.seconds[-1]:.1f} s on {self.device}, {self.ratings_per_second:,.0f} ratings/s)"
        )


def map_columns(train: Ratings) -> dict[str, np.ndarray]:
    """What the projector tells of each item."""
    columns = {"title": train.item_ids if train.titles is None else train.titles}
    if train.genres is not None:
        columns["genres"] = train.genres
    return columns | {"ratings": train.item_counts}
