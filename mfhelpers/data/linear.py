"""What five arrays predict: ratings are simulated with this formula, and `Factors` predict with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

CHUNK = 1 << 18  # pairs predicted at a time: bounds memory, costs nothing


def predicted(arrays: Sequence[Any], users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """μ + b_u + b_i + p_u · q_i, by (μ, b_u, b_i, P, Q) and in their precision, for numbers of shape (n,)."""
    mean, b_u, b_i, P, Q = arrays
    values = np.empty(len(users), np.result_type(b_u, b_i, P, Q))
    for start in range(0, len(users), CHUNK):
        u, i = users[start : start + CHUNK], items[start : start + CHUNK]
        values[start : start + CHUNK] = mean + b_u[u] + b_i[i] + np.einsum("nk,nk->n", P[u], Q[i])
    return values
