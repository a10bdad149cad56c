"""What the tests of alternating least squares solve: few ratings, both solvers, with biases and without."""

import pytest

from mfhelpers import simulate_ratings

RATINGS, _ = simulate_ratings(60, 80, 1500)
TRAIN = RATINGS[(RATINGS.users > 2) & (RATINGS.items > 1)]  # users 0 to 2 and items 0 and 1 have no training rating
SOLVERS = pytest.mark.parametrize("solver", ["exact", "cg"])
BIASED = pytest.mark.parametrize("biased", [True, False], ids=["biased", "without biases"])
EXACT = {"dtype": "float64", "progress": False}
