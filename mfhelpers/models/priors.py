"""What features predict of factors and biases: the prior of a row that has no ratings, or few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..data.encoding import Encoding


@dataclass(frozen=True, eq=False, repr=False)
class FeaturePrior:
    """The rows that features predict: (factors, bias) = x W; made by `als(…, user_features=, item_features=)`.

    Attributes
    ----------
    encoding : Encoding
        How features are read as the numbers x; the first is 1 in every row.
    factors : float array, shape (columns, k)
    biases : float array, shape (columns,)
        In stars; zeros where the model has no biases. Both together are W.
    """

    encoding: Encoding
    factors: np.ndarray
    biases: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.encoding.names)
        for field, dimensions in (("factors", 2), ("biases", 1)):
            array = np.array(getattr(self, field))
            if array.dtype.kind != "f" or array.ndim != dimensions or len(array) != n or not np.isfinite(array).all():
                raise ValueError(f"{field} is {array.dtype} of shape {array.shape}: give finite numbers, {n} rows")
            array.flags.writeable = False
            object.__setattr__(self, field, array)

    def table(self) -> pd.DataFrame:
        """W with a row for each column of the features, by name: `bias`, then factor 0, 1, …."""
        columns = {"bias": self.biases} | {number: self.factors[:, number] for number in range(self.factors.shape[1])}
        return pd.DataFrame(columns, index=pd.Index(self.encoding.names, name="feature"))

    def rows(self, what: str, features: Any) -> tuple[np.ndarray, np.ndarray]:
        """Factors (n, k) and biases (n,) of rows with these features; a ValueError for other columns than in training."""
        X = self.encoding.encode(features, what)
        return X @ self.factors, X @ self.biases

    def __repr__(self) -> str:
        return f"FeaturePrior({len(self.biases)} columns: {', '.join(self.encoding.names[:4])}…)"


def prior_arrays(prior: FeaturePrior | None) -> dict[str, np.ndarray]:
    """What a file holds of it: nothing of None."""
    if prior is None:
        return {}
    return {"encoding": np.array(prior.encoding.to_text()), "factors": prior.factors, "biases": prior.biases}


def prior_of(arrays: dict[str, np.ndarray]) -> FeaturePrior | None:
    """What `prior_arrays` made; a ValueError if its parts do not fit together."""
    if not arrays:
        return None
    return FeaturePrior(Encoding.from_text(arrays["encoding"].item()), arrays["factors"], arrays["biases"])
