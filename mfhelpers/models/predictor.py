"""What everything that is trained has in common: it predicts."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Predictor(Protocol):
    """Anything with ``predict(users, items)``: `Factors`, a model of ours, an algorithm of Surprise, a class of yours.

    `evaluate`, `choose` and `cross_validate` ask for no more. Two methods are used where they are there:
    ``cold(users, items)``, which pairs have a user or item without training ratings, and
    ``recommend(user, n, exclude)``, items for a user, best first. What is linear has more: `Factors`.
    """

    def predict(self, users: Any, items: Any, /) -> np.ndarray:
        """One finite number, in stars, for each pair (users[j], items[j])."""
        ...
