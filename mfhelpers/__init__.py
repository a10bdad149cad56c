"""Matrix factorisation for recommender systems: what the lessons share.

Ratings go in as `Ratings`; every algorithm ends in `Factors`. The names below are loaded when they
are first used, so that `python -m mfhelpers doctor` can speak where a package is missing.
"""

from importlib import import_module

_HOMES = {
    "ratings": ["Ratings", "Scale"],
    "factors": ["Factors"],
    "simulate": ["simulate_ratings"],
    "download": ["DownloadError"],
    "movielens": ["load_ratings", "DataError"],
    "splits": ["random_split", "kfold", "official_folds", "leave_last_out", "time_split", "cold_report"],
    "metrics": ["evaluate", "rmse", "mae"],
    "penalties": ["Penalty", "objective"],
    "baselines": ["global_mean", "item_means", "average_biases"],
    "models": ["MatrixFactorization", "BiasedMatrixFactorization"],
    "display": ["progress"],
    "training": ["fit", "History", "DivergenceError"],
    "descent": ["sgd"],
    "parallel": ["hogwild"],
    "least_squares": ["als", "svdpp"],
    "decompositions": ["complete_svd", "residual_svd", "soft_impute"],
    "tuning": ["choose", "Choice"],
    "logbook": ["tensorboard"],
    "comparison": ["cross_validate", "Comparison", "from_surprise"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = {*_HOMES, "check", "interactive", "plots"}
__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
