"""What training makes small: squared errors plus the penalty."""

from __future__ import annotations

import numpy as np

from ..data.ratings import Ratings
from .factors import Factors
from .penalty import Penalty


def objective(factors: Factors, train: Ratings, reg: float | Penalty) -> float:
    """Σ (r_ui - r̂_ui)² over the training ratings plus the penalty: what training makes small, in stars².

    Parameters
    ----------
    factors : Factors
    train : Ratings
    reg : float or Penalty
        That which the factors were trained with; 0 for none.
    """
    errors = train.values - factors.predict(train.users, train.items).astype(np.float64)
    return float(errors @ errors) + Penalty.of(reg).cost(factors, train)
