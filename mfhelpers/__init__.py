"""Matrix factorisation for recommender systems: what the lessons share.

Ratings go in as `Ratings`; whatever is trained predicts, and what is linear ends in `Factors`. The names
below are loaded when they are first used, so that `python -m mfhelpers doctor` can speak where a package is missing.
"""

from importlib import import_module

_HOMES = {
    "display.progress": ["progress"],
    "display.tensorboard": ["tensorboard"],
    "data.encoding": ["Encoding", "features"],
    "data.features": ["Features"],
    "data.interactions": ["Interactions"],
    "data.ratings": ["Ratings", "Scale"],
    "data.download": ["DownloadError"],
    "data.movielens": ["load_ratings", "DataError"],
    "data.splits": ["random_split", "kfold", "official_folds", "leave_last_out", "time_split", "cold_report"],
    "models.factors": ["Factors"],
    "models.truth": ["simulate_ratings"],
    "models.index": ["Index"],
    "models.penalty": ["Penalty"],
    "models.priors": ["FeaturePrior"],
    "models.metrics": ["Predictor", "evaluate", "rmse", "mae", "Score", "objective"],
    "models.ranking": ["rank", "RankingScores"],
    "models.pairs": ["PairModel"],
    "models.modules": ["MatrixFactorization", "BiasedMatrixFactorization"],
    "algorithms.loop": ["History", "DivergenceError"],
    "algorithms.baselines": ["global_mean", "item_means", "average_biases", "most_popular"],
    "algorithms.fit": ["fit"],
    "algorithms.sgd": ["sgd"],
    "algorithms.hogwild": ["hogwild"],
    "algorithms.als": ["als"],
    "algorithms.ials": ["ials"],
    "algorithms.ease": ["ease", "Ease"],
    "algorithms.bpr": ["bpr", "PairLoss"],
    "algorithms.svdpp": ["svdpp"],
    "algorithms.svd": ["complete_svd", "residual_svd", "soft_impute"],
    "evaluation.tuning": ["choose", "Choice"],
    "evaluation.comparison": ["cross_validate", "Comparison"],
    "evaluation.surprise": ["from_surprise"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
# classroom: course folders for nbgrader that teachers have made import it from here
_MODULES = {
    "check": "check",
    "classroom": "course.classroom",
    "interactive": "display.interactive",
    "plots": "display.plots",
}
__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
