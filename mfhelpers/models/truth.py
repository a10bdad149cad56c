"""Simulated ratings, with the factors that they were drawn from."""

from __future__ import annotations

from ..data.ratings import Ratings, Scale
from ..data.simulate import SD_NOISE, simulate
from .factors import Factors


def simulate_ratings(
    n_users: int = 943,
    n_items: int = 1682,
    n_ratings: int = 100_000,
    n_factors: int = 5,
    *,
    scale: Scale | tuple = (1, 5, 1),
    mean: float = 3.55,
    noise: float = SD_NOISE,
    min_per_user: int | None = None,
    seed: int = 0,
    name: str = "simulated",
) -> tuple[Ratings, Factors]:
    """Draw ratings from known factors, biases and noise, shaped like ml-100k.

    A few users rate hundreds of items and most rate few; a few items are rated by everybody and
    most by hardly anyone; what is popular is liked a little better; the values are whole stars.

    Parameters
    ----------
    n_users, n_items, n_ratings : int
        Exactly `n_ratings` distinct pairs are drawn. 20 million take well under a minute.
    n_factors : int
        k of the truth; 0 gives biases alone.
    scale : Scale or (low, high, step)
        Values are rounded to it and clipped; a step of 0 leaves them unrounded.
    mean : float
        μ of the truth, in stars.
    noise : float
        Standard deviation of what no model can explain, in stars. 0 with a step of 0 gives ratings
        that a rank-k model fits exactly, except where they are clipped.
    min_per_user : int, optional
        Every user rates at least so many items; default 20, or fewer where the sizes leave no more.
    seed : int
    name : str

    Returns
    -------
    ratings : Ratings
        With timestamps, in the order of time, and made-up titles.
    truth : Factors
        The factors that the values were drawn from, before noise, rounding and clipping; float32.

    Raises
    ------
    ValueError
        If there are not as many pairs as ratings asked for, or fewer than `min_per_user` a user; for a
        negative number.
    """
    settings = {"scale": scale, "mean": mean, "noise": noise, "min_per_user": min_per_user, "seed": seed, "name": name}
    ratings, truth = simulate(n_users, n_items, n_ratings, n_factors, **settings)
    return ratings, Factors(*truth)
