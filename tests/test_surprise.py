"""`from_surprise`: Surprise as it is itself."""

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparing import QUIET, RATINGS, Constant, Witness, means, measured

from mfhelpers import average_biases, cross_validate, evaluate, from_surprise, kfold, simulate_ratings
from mfhelpers.evaluation import comparison

KINDS = {
    "SVD": dict(n_factors=5, n_epochs=3),
    "SVDpp": dict(n_factors=2, n_epochs=2),
    "NMF": dict(n_factors=3, n_epochs=3),
    "BaselineOnly": {},
    "KNNBasic": dict(k=5),
    "KNNBaseline": dict(k=5, sim_options={"name": "pearson_baseline", "user_based": False}),
    "SlopeOne": {},
    "CoClustering": dict(n_epochs=3),
}
SEEDED = {"SVD", "SVDpp", "NMF", "CoClustering"}
HALF_STARS, _ = simulate_ratings(30, 20, 200, min_per_user=3, scale=(0.5, 5, 0.5), seed=1)


@pytest.fixture
def surprise():
    os.environ.setdefault("SURPRISE_DATA_FOLDER", tempfile.gettempdir())
    return pytest.importorskip("surprise")


def as_dataset(surprise, ratings):
    """The usual way into Surprise, by a data frame."""
    frame = pd.DataFrame({"user": ratings.users, "item": ratings.items, "rating": ratings.values})
    reader = surprise.Reader(rating_scale=(ratings.scale.low, ratings.scale.high))
    return surprise.Dataset.load_from_df(frame, reader)


def as_testset(ratings):
    return list(zip(ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist(), strict=True))


def its_own(surprise, kind, train, seed=0, **settings):
    """The algorithm of Surprise, trained by Surprise's own pipeline."""
    settings |= {"verbose": False} if kind != "SlopeOne" else {}
    settings |= {"random_state": seed} if kind in SEEDED else {}
    return getattr(surprise, kind)(**settings).fit(as_dataset(surprise, train).build_full_trainset())


@pytest.mark.parametrize("ratings", [RATINGS, HALF_STARS], ids=["whole stars", "half stars"])
def test_the_trainset_is_the_one_that_surprise_would_make(surprise, ratings):
    train, _ = next(kfold(ratings, 4))  # in no order of users or items
    ours, theirs = from_surprise("SVD").prepare(train), as_dataset(surprise, train).build_full_trainset()
    assert list(ours.ur.items()) == list(theirs.ur.items())
    assert list(ours.ir.items()) == list(theirs.ir.items())
    assert list(ours.all_ratings()) == list(theirs.all_ratings())
    for what in ("n_users", "n_items", "n_ratings", "global_mean", "rating_scale"):
        assert getattr(ours, what) == getattr(theirs, what)
    assert ours.rating_scale == (ratings.scale.low, 5)
    for u, i in zip(train.users.tolist(), train.items.tolist(), strict=True):
        assert (ours.to_inner_uid(u), ours.to_inner_iid(i)) == (theirs.to_inner_uid(u), theirs.to_inner_iid(i))


@pytest.mark.parametrize("seed", [0, 5])
def test_svd_learns_bit_for_bit_what_it_learns_in_surprise(surprise, seed):
    train, _ = next(kfold(RATINGS, 4))
    ours = from_surprise("SVD", n_epochs=5)(train, seed=seed).model
    theirs = its_own(surprise, "SVD", train, seed, n_epochs=5)
    for what in ("pu", "qi", "bu", "bi"):
        np.testing.assert_array_equal(getattr(ours, what), getattr(theirs, what))


@pytest.mark.parametrize("ratings", [RATINGS, HALF_STARS], ids=["whole stars", "half stars"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_surprise(surprise, kind, ratings):
    from surprise import accuracy

    train, test = next(kfold(ratings, 4))
    ours = from_surprise(kind, **KINDS[kind])(train, seed=3)
    theirs = its_own(surprise, kind, train, 3, **KINDS[kind]).test(as_testset(test))
    predicted = np.clip(ours.predict(test.users, test.items), ratings.scale.low, ratings.scale.high)
    np.testing.assert_array_equal(predicted, [each.est for each in theirs])
    judged = evaluate(ours, test, clip=True)
    assert judged.rmse == pytest.approx(accuracy.rmse(theirs, verbose=False), rel=1e-12)
    assert judged.mae == pytest.approx(accuracy.mae(theirs, verbose=False), rel=1e-12)


def test_predictions_are_limited_by_the_judgement_alone(surprise):
    class Beyond(surprise.AlgoBase):
        def estimate(self, u, i):
            return 9.5

    fitted = from_surprise(Beyond)(RATINGS)
    assert fitted.predict(RATINGS.users, RATINGS.items).tolist() == 200 * [9.5]
    rmse = [
        cross_validate({"it": from_surprise(Beyond)}, RATINGS, 2, clip=clip, **QUIET).table().rmse["it"]
        for clip in (True, False)
    ]
    assert rmse[0] < 4 < rmse[1]


def test_the_folds_are_those_of_surprises_kfold(surprise):
    from surprise.model_selection import KFold

    witness = Witness()
    cross_validate({"it": witness}, RATINGS, 5, **QUIET)
    folds = list(KFold(5, random_state=42).split(as_dataset(surprise, RATINGS)))
    assert witness.tested == [{(u, i) for u, i, _ in testset} for _, testset in folds]
    for train, (trainset, _) in zip(witness.trained, folds, strict=True):
        assert list(from_surprise("SVD").prepare(train).all_ratings()) == list(trainset.all_ratings())


def test_a_comparison_of_surprise_is_its_own_cross_validation(surprise):
    from surprise.model_selection import KFold, cross_validate as its_cross_validate

    svd = dict(n_factors=3, n_epochs=2)
    compared = cross_validate({"SVD": from_surprise("SVD", **svd)}, RATINGS, 4, (7,), **QUIET).scores
    algorithm, data = surprise.SVD(**svd, random_state=7), as_dataset(surprise, RATINGS)
    theirs = its_cross_validate(algorithm, data, ["rmse", "mae"], KFold(4, random_state=42), return_train_measures=True)
    for ours, name in (
        ("rmse", "test_rmse"),
        ("mae", "test_mae"),
        ("train_rmse", "train_rmse"),
        ("train_mae", "train_mae"),
    ):
        np.testing.assert_allclose(compared[ours], theirs[name], rtol=1e-9)


def test_the_first_fold_of_ml_100k_has_the_error_that_surprise_measures(surprise, movielens_100k):
    from surprise import accuracy
    from surprise.model_selection import KFold

    settings = dict(n_factors=20, n_epochs=5)
    trainset, testset = next(KFold(5, random_state=42).split(as_dataset(surprise, movielens_100k)))
    theirs = surprise.SVD(**settings, random_state=0).fit(trainset).test(testset)
    folds = itertools.islice(kfold(movielens_100k, 5), 1)
    compared = cross_validate({"SVD": from_surprise("SVD", **settings)}, movielens_100k, folds, **QUIET).scores
    assert compared.rmse[0] == pytest.approx(accuracy.rmse(theirs, verbose=False), rel=0, abs=1e-9)
    assert compared.mae[0] == pytest.approx(accuracy.mae(theirs, verbose=False), rel=0, abs=1e-9)


def test_an_algorithm_may_be_named_or_be_a_class(surprise):
    algorithms = {"name": from_surprise("SVD", n_epochs=2), "class": from_surprise(surprise.SVD, n_epochs=2)}
    by_fold = cross_validate(algorithms, RATINGS, 3, **QUIET).by_fold()
    assert by_fold["name"].tolist() == by_fold["class"].tolist()


def test_seeds_change_what_starts_at_random_and_nothing_else(surprise):
    algorithms = {kind: from_surprise(kind, **KINDS[kind]) for kind in KINDS}
    spread = cross_validate(algorithms, RATINGS, 2, (0, 1), **QUIET).table().seed_sd
    assert {kind for kind in KINDS if spread[kind] > 0} == SEEDED
    again = cross_validate(algorithms, RATINGS, 2, (1,), **QUIET)
    pd.testing.assert_frame_equal(
        measured(again), measured(cross_validate(algorithms, RATINGS, 2, np.array([1]), **QUIET))
    )


@pytest.mark.parametrize("passes_on", [False, True], ids=["by name", "as **settings"])
def test_a_class_of_ones_own_gets_the_seed(surprise, passes_on):
    class Named(surprise.SVD):
        def __init__(self, n_epochs=2, random_state=None):
            super().__init__(n_epochs=n_epochs, random_state=random_state)

    class PassesOn(surprise.SVD):
        def __init__(self, n_epochs=2, **settings):
            super().__init__(n_epochs=n_epochs, **settings)

    kind = from_surprise(PassesOn if passes_on else Named)
    ours = kind(RATINGS, seed=4).model
    np.testing.assert_array_equal(ours.qi, its_own(surprise, "SVD", RATINGS, 4, n_epochs=2).qi)


@pytest.mark.parametrize("kind", ["BaselineOnly", "KNNBaseline", "SVDpp", "NMF"])
def test_nothing_is_printed_while_surprise_trains(surprise, capfd, kind):
    cross_validate({kind: from_surprise(kind)}, RATINGS[:60], 2, **QUIET)
    assert capfd.readouterr() == ("", "")
    from_surprise(kind, verbose=True)(RATINGS[:60])
    assert capfd.readouterr().out  # what there would be


@pytest.mark.parametrize("kind", KINDS)
def test_users_and_items_that_surprise_has_not_seen_get_what_it_gives_them(surprise, kind):
    seen = (RATINGS.users > 4) & (RATINGS.items > 4)
    train = RATINGS[seen]
    fitted = from_surprise(kind, **KINDS[kind])(train)
    theirs = its_own(surprise, kind, train, **KINDS[kind])
    users, items = np.array([0, 0, 9, 29]), np.array([0, 9, 0, 19])
    predicted = fitted.predict(users, items)
    assert np.isfinite(predicted).all()
    assert predicted.tolist() == [theirs.predict(u, i, clip=False).est for u, i in zip(users, items, strict=True)]
    assert predicted[0] == pytest.approx(train.values.mean())
    folds = [(train, RATINGS[~seen])]
    assert np.isfinite(cross_validate({kind: from_surprise(kind)}, RATINGS, folds, **QUIET).table().rmse[kind])


def test_a_surprise_algorithm_that_diverges_has_infinite_errors_and_the_others_are_unharmed(surprise):
    algorithms = {"too fast": from_surprise("SVD", lr_all=50), "means": means}
    by_fold = cross_validate(algorithms, RATINGS, 2, **QUIET).by_fold()
    assert (by_fold["too fast"] == np.inf).all()
    assert np.isfinite(by_fold["means"]).all()


@pytest.mark.parametrize("kind", ["svd", "Reader", "model_selection", "", None, 3, Constant], ids=str)
def test_what_surprise_does_not_have_is_refused(surprise, kind):
    with pytest.raises(ValueError, match="Surprise has no algorithm .*: choose such as 'SVD', 'SVDpp', 'BaselineOnly'"):
        from_surprise(kind)


@pytest.mark.parametrize(
    ("kind", "setting"),
    [("SVD", "n_factor"), ("SVDpp", "lr"), ("BaselineOnly", "k"), ("KNNBaseline", "n_neighbours"), ("SlopeOne", "k")],
)
def test_a_setting_that_the_algorithm_does_not_take_is_refused(surprise, kind, setting):
    with pytest.raises(ValueError, match=f"{kind} takes no setting '{setting}' here"):
        from_surprise(kind, **{setting: 3})


@pytest.mark.parametrize("kind", ["SVD", "KNNBaseline"])
def test_the_seed_is_no_setting(surprise, kind):
    with pytest.raises(ValueError, match="takes no setting 'random_state' here; the seed sets random_state"):
        from_surprise(kind, random_state=3)


def test_settings_reach_the_algorithm(surprise):
    model = from_surprise("SVD", n_factors=7, reg_all=0.5)(RATINGS).model
    assert model.pu.shape == (30, 7)
    assert (model.reg_pu, model.reg_bi) == (0.5, 0.5)


HOMELESS = "import sys; sys.path[:0] = [{path!r}]; from mfhelpers import from_surprise; from_surprise('SVD')"


@pytest.mark.parametrize("through", ["from_surprise", "surprise itself"])
def test_importing_surprise_makes_no_folder_at_home(surprise, tmp_path, through):
    package = Path(comparison.__file__).parents[1]
    code = HOMELESS.format(path=str(package)) if through == "from_surprise" else "import surprise"
    environment = {name: value for name, value in os.environ.items() if name != "SURPRISE_DATA_FOLDER"}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    made_by = [path.name for path in tmp_path.iterdir()]
    assert made_by == ([] if through == "from_surprise" else [".surprise_data"])


def test_without_surprise_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "surprise", None)
    with pytest.raises(ImportError, match=r"scikit-surprise is not installed: pip install .*scikit-surprise"):
        from_surprise("SVD")
    assert cross_validate({"means": means, "biases": lambda t, seed: average_biases(t)}, RATINGS, 2, **QUIET)
