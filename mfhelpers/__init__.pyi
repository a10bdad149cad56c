"""What an editor and a type checker see of the names that `__init__.py` loads when they are first used."""

from . import check as check
from .algorithms.als import als as als
from .algorithms.baselines import (
    average_biases as average_biases,
    global_mean as global_mean,
    item_means as item_means,
    most_popular as most_popular,
)
from .algorithms.bpr import PairLoss as PairLoss, bpr as bpr
from .algorithms.ease import Ease as Ease, ease as ease
from .algorithms.fit import fit as fit
from .algorithms.hogwild import hogwild as hogwild
from .algorithms.ials import ials as ials
from .algorithms.loop import (
    DivergenceError as DivergenceError,
    History as History,
)
from .algorithms.sgd import sgd as sgd
from .algorithms.svd import (
    complete_svd as complete_svd,
    residual_svd as residual_svd,
    soft_impute as soft_impute,
)
from .algorithms.svdpp import svdpp as svdpp
from .course import classroom as classroom
from .data.download import DownloadError as DownloadError
from .data.encoding import (
    Encoding as Encoding,
    features as features,
)
from .data.features import Features as Features
from .data.interactions import Interactions as Interactions
from .data.movielens import (
    DataError as DataError,
    load_ratings as load_ratings,
)
from .data.ratings import (
    Ratings as Ratings,
    Scale as Scale,
)
from .data.splits import (
    cold_report as cold_report,
    kfold as kfold,
    leave_last_out as leave_last_out,
    official_folds as official_folds,
    random_split as random_split,
    time_split as time_split,
)
from .display import interactive as interactive, plots as plots
from .display.progress import progress as progress
from .display.tensorboard import tensorboard as tensorboard
from .evaluation.comparison import (
    Comparison as Comparison,
    cross_validate as cross_validate,
)
from .evaluation.surprise import from_surprise as from_surprise
from .evaluation.tuning import (
    Choice as Choice,
    choose as choose,
)
from .models.factors import Factors as Factors
from .models.index import Index as Index
from .models.metrics import (
    Predictor as Predictor,
    Score as Score,
    evaluate as evaluate,
    mae as mae,
    objective as objective,
    rmse as rmse,
)
from .models.modules import (
    BiasedMatrixFactorization as BiasedMatrixFactorization,
    MatrixFactorization as MatrixFactorization,
)
from .models.pairs import PairModel as PairModel
from .models.penalty import Penalty as Penalty
from .models.priors import FeaturePrior as FeaturePrior
from .models.ranking import RankingScores as RankingScores, rank as rank
from .models.truth import simulate_ratings as simulate_ratings

__all__: list[str]
__version__: str
