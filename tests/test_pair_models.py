"""Modules that predict pairs: what they are handed by name, and what they can do with `forward` alone."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import mfhelpers as mf

PLAIN, _ = mf.simulate_ratings(40, 30, 600, min_per_user=5)
FILMS = pd.DataFrame({"year": np.arange(30) + 1960, "genres": ["Drama", "Comedy|Drama", "Comedy"] * 10})
PEOPLE = pd.DataFrame({"age": np.arange(40) + 20})
RATINGS = mf.Ratings(PLAIN.users, PLAIN.items, PLAIN.values, 40, 30, PLAIN.scale, timestamps=PLAIN.timestamps,
                     features=mf.Features(PEOPLE, FILMS))  # fmt: skip
TRAIN, TEST = mf.random_split(RATINGS, 0.2)
QUIET = {"progress": False, "device": "cpu"}


class Everything(mf.PairModel):
    """Notes what it is handed."""

    def __init__(self):
        super().__init__(40, 30)
        self.item_biases = nn.Embedding(30, 1)
        self.of_item, self.of_user = nn.Linear(6, 1), nn.Linear(2, 1)
        self.slope = nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, user, item, timestamps, *, item_features, user_features):
        self.seen.append((user, item, timestamps, item_features, user_features))
        days = (timestamps - int(RATINGS.timestamps.min())) / 86_400 / 200
        rows = self.of_item(item_features[item]) + self.of_user(user_features[user]) + self.item_biases(item)
        return 3 + rows[:, 0] + self.slope * days


class Dot(mf.PairModel):
    def __init__(self):
        super().__init__(40, 30)
        self.user_factors, self.item_factors = nn.Embedding(40, 3), nn.Embedding(30, 3)

    def forward(self, user, item):
        self.require_in_range(user, item)
        return (self.user_factors(user) * self.item_factors(item)).sum(-1)


def test_fit_hands_timestamps_of_each_pair_and_whole_tables():
    moment = {(u, i): t for u, i, t in zip(RATINGS.users, RATINGS.items, RATINGS.timestamps, strict=True)}
    model, seen_in = Everything(), []
    mf.fit(model, TRAIN, TEST, epochs=2, batch_size=100, **QUIET)
    sizes = {len(call[0]) for call in model.seen}
    assert {len(TRAIN), len(TEST)} <= sizes  # judged with them, too
    for user, item, times, items, users in model.seen:
        assert times.dtype == torch.int64
        for u, i, t in zip(user.tolist(), item.tolist(), times.tolist(), strict=True):
            assert moment[u, i] == t
        seen_in.append((items, users))
    items, users = seen_in[0]
    np.testing.assert_allclose(items.numpy(), mf.Encoding.of(mf.features(RATINGS)[1]).encode(mf.features(RATINGS)[1]).toarray(), rtol=1e-6)  # fmt: skip
    assert users.shape == (40, 2)
    assert users.dtype == torch.float32


def test_evaluate_and_cross_validate_pass_them():
    model = mf.fit(Everything(), TRAIN, epochs=1, **QUIET)
    by_hand = model.predict(TEST.users, TEST.items, timestamps=TEST.timestamps)
    assert mf.rmse(model, TEST) == pytest.approx(np.sqrt(np.mean((by_hand - TEST.values) ** 2)), abs=1e-6)
    compared = mf.cross_validate({"it": lambda train, seed: mf.fit(Everything(), train, epochs=1, **QUIET)}, RATINGS, 2, progress=False)  # fmt: skip
    assert np.isfinite(compared.table().rmse["it"])

    class Asks:
        def predict(self, users, items, timestamps):
            assert timestamps is TEST.timestamps
            return np.full(len(users), 3.0)

    class AsksNothing:
        def predict(self, users, items, **more):
            assert not more
            return np.full(len(users), 3.0)

    assert mf.rmse(Asks(), TEST) == mf.rmse(AsksNothing(), TEST)


def test_time_that_matters_is_learned():
    """Ratings that rise with time alone: only a model that is handed it can follow."""
    times = np.random.default_rng(0).permutation(RATINGS.timestamps)  # else who rates says when
    rising = np.clip(1 + 4 * np.argsort(np.argsort(times)) / len(RATINGS), 1, 5)
    ratings = mf.Ratings(RATINGS.users, RATINGS.items, rising, 40, 30, (1, 5), timestamps=times,
                         features=RATINGS.features)  # fmt: skip
    model = mf.fit(Everything(), ratings, epochs=120, lr=0.05, **QUIET)
    assert mf.rmse(model, ratings) < 0.5 * mf.rmse(mf.average_biases(ratings), ratings)


def test_what_is_missing_or_not_asked_for_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="has no timestamps, which the model asks for"):
        mf.fit(Everything(), mf.Ratings(TRAIN.users, TRAIN.items, TRAIN.values, 40, 30, TRAIN.scale, features=TRAIN.features), **QUIET)  # fmt: skip
    with pytest.raises(ValueError, match="has no features"):
        mf.fit(Everything(), PLAIN, **QUIET)
    films_alone = mf.Ratings(TRAIN.users, TRAIN.items, TRAIN.values, 40, 30, TRAIN.scale, timestamps=TRAIN.timestamps,
                             features=mf.Features(None, FILMS))  # fmt: skip
    with pytest.raises(ValueError, match="no user features"):
        mf.fit(Everything(), films_alone, **QUIET)
    with pytest.raises(ValueError, match="let the model hold it"):
        mf.fit(Everything(), TRAIN, loss=mf.PairLoss(TRAIN), **QUIET)
    model = Everything()
    with pytest.raises(ValueError, match="asks for timestamps: give timestamps="):
        model.predict([1], [2])
    with pytest.raises(ValueError, match="asks for user_features, which `fit` hands over"):
        model.predict([1], [2], timestamps=3)
    trained = mf.fit(Everything(), TRAIN, epochs=1, **QUIET)
    with pytest.raises(ValueError, match=r"timestamps are float64 of shape \(\): give whole seconds"):
        trained.predict([1], [2], timestamps=3.5)
    with pytest.raises(ValueError, match="does not ask for timestamps"):
        Dot().predict([1], [2], timestamps=3)


def test_with_forward_alone_it_recommends_and_knows_what_is_cold():
    part = TRAIN[(TRAIN.users > 1) & (TRAIN.items > 0)]
    model = mf.fit(Dot(), part, epochs=2, **QUIET)
    assert not model.user_factors.weight[:2].any()
    users, items = np.meshgrid(np.arange(40), np.arange(30), indexing="ij")
    np.testing.assert_array_equal(model.cold(users, items), (users < 2) | (items == 0))
    every = model.predict(users, items)
    np.testing.assert_array_equal(model.predict_all([3, 7]), every[[3, 7]])
    found, scores = model.recommend([5, 6], 4, exclude=part)
    for row, user in enumerate((5, 6)):
        left = np.setdiff1d(np.arange(30), part.items[part.users == user])
        best = left[np.argsort(-every[user, left], kind="stable")[:4]]
        np.testing.assert_array_equal(found[row], best)
        np.testing.assert_array_equal(scores[row], every[user, best])
        np.testing.assert_array_equal(model.recommend(user, 4, exclude=part)[0], best)
    assert mf.rank(model, TEST[(TEST.users > 1) & (TEST.items > 0)], exclude=part)["auc"] > 0
    assert isinstance(model, mf.Predictor)
    with pytest.raises(ValueError, match="user numbers 0 … 99 exceed"):
        model(torch.tensor([0, 99]), torch.tensor([0, 0]))
    with pytest.raises(NotImplementedError, match=r"PairModel has no forward\(user, item\)"):
        mf.PairModel(2, 2).predict([0], [0])


def test_a_list_for_a_moment_is_that_of_the_predictions_then():
    model = mf.fit(Everything(), TRAIN, epochs=2, **QUIET)
    now = int(TRAIN.timestamps.max())
    found, scores = model.recommend(3, 5, timestamps=now)
    every = model.predict(np.full(30, 3), np.arange(30), timestamps=now)
    np.testing.assert_array_equal(found, np.argsort(-every, kind="stable")[:5])
    np.testing.assert_allclose(scores, np.sort(every)[::-1][:5], rtol=1e-6)


def test_a_resumed_training_with_context_equals_one_without_a_break(tmp_path):
    def train(**more):
        torch.manual_seed(0)
        return mf.fit(Everything(), TRAIN, batch_size=50, **more, **QUIET)

    whole = train(epochs=4)
    train(epochs=2, checkpoint=tmp_path / "c")
    resumed = train(epochs=4, checkpoint=tmp_path / "c", resume=True)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert resumed.predict([1], [2], timestamps=0) == whole.predict([1], [2], timestamps=0)
    later = mf.Ratings(TRAIN.users, TRAIN.items, TRAIN.values, 40, 30, TRAIN.scale, timestamps=TRAIN.timestamps + 1,
                       features=TRAIN.features)  # fmt: skip
    with pytest.raises(ValueError, match="belongs to another training"):
        mf.fit(Everything(), later, epochs=4, checkpoint=tmp_path / "c", resume=True, batch_size=50, **QUIET)


class Perhaps(Dot):
    """Timestamps with a default: asked for all the same."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.full((), 2.0))

    def forward(self, user, item, timestamps=None):
        return super().forward(user, item) + (0 if timestamps is None else self.slope * (timestamps % 2))


def test_a_default_makes_nothing_optional():
    """Else a model would be trained without and judged with."""
    timeless = mf.Ratings(TRAIN.users, TRAIN.items, TRAIN.values, 40, 30, TRAIN.scale)
    late = mf.Ratings(TEST.users, TEST.items, TEST.values, 40, 30, TEST.scale)
    for train, valid in ((timeless, None), (TRAIN, late)):
        with pytest.raises(ValueError, match="has no timestamps, which the model asks for: from_arrays"):
            mf.fit(Perhaps(), train, valid, epochs=1, **QUIET)
    with pytest.raises(ValueError, match="let the model hold it"):
        mf.fit(Perhaps(), TRAIN, loss=mf.PairLoss(TRAIN), epochs=1, **QUIET)
    with pytest.raises(ValueError, match="asks for timestamps: give timestamps="):
        Perhaps().predict([1], [2])


def test_lists_are_of_one_moment():
    model = mf.fit(Everything(), TRAIN, epochs=1, **QUIET)
    now = int(TRAIN.timestamps.max())
    ranked = mf.rank(model, TEST, exclude=TRAIN, timestamps=now)

    class Fixed:
        def predict(self, users, items):
            return model.predict(users, items, timestamps=now)

    assert ranked["ndcg@10"] == pytest.approx(mf.rank(Fixed(), TEST, exclude=TRAIN)["ndcg@10"])

    class Foreign:
        def predict(self, users, items, timestamps):
            assert timestamps == now
            return model.predict(users, items, timestamps=timestamps)

    assert mf.rank(Foreign(), TEST, exclude=TRAIN, timestamps=now)["auc"] == ranked["auc"]
    for predictor in (model, Foreign()):
        with pytest.raises(ValueError, match="timestamps=the moment of the lists"):
            mf.rank(predictor, TEST, exclude=TRAIN)
    with pytest.raises(ValueError, match="does not ask for timestamps"):
        mf.rank(Fixed(), TEST, exclude=TRAIN, timestamps=now)


class OfFilms(Dot):
    def __init__(self):
        super().__init__()
        self.of_films = nn.Linear(6, 1)

    def forward(self, user, item, item_features):
        return super().forward(user, item) + self.of_films(item_features)[item, 0]


def test_columns_keep_their_meaning_whatever_part_is_judged(tmp_path):
    """The tables of the training stay: a part whose features differ is judged with these, and refused beside them in `fit`."""
    model = mf.fit(OfFilms(), TRAIN, epochs=2, reg=0.01, log_dir=tmp_path / "log", **QUIET)
    turned = FILMS.assign(genres=FILMS.genres.replace({"Drama": "Comedy", "Comedy": "Drama"}))
    columns = TEST.users, TEST.items, TEST.values, 40, 30, TEST.scale
    others = [mf.Ratings(*columns, features=known) for known in (mf.Features(PEOPLE, turned), None)]
    for other in others:
        assert mf.rmse(model, other) == mf.rmse(model, TEST)
        with pytest.raises(ValueError, match="the features of .* differ between train and valid"):
            mf.fit(OfFilms(), TRAIN, other, epochs=1, **QUIET)
    mf.fit(OfFilms(), TRAIN, epochs=1, checkpoint=tmp_path / "c", **QUIET)
    backwards = mf.Features(PEOPLE, FILMS[::-1].reset_index(drop=True))
    columns = TRAIN.users, TRAIN.items, TRAIN.values, 40, 30, TRAIN.scale
    with pytest.raises(ValueError, match="belongs to another training: its item_features"):
        mf.fit(OfFilms(), mf.Ratings(*columns, features=backwards), epochs=2, checkpoint=tmp_path / "c", resume=True, **QUIET)  # fmt: skip


def test_what_is_no_number_has_no_place_in_a_list():
    class Gaps(Dot):
        def forward(self, user, item):
            return super().forward(user, item) + torch.where(item > 20, torch.nan, 0.0)

    with pytest.raises(ValueError, match="not finite for 9 pairs: they have no order"):
        Gaps().recommend(1, 3)


def test_padding_and_another_loop():
    model = Dot()
    model.user_factors = nn.Embedding(41, 3, padding_idx=40)
    model.forget_unseen(TRAIN[TRAIN.users > 1])
    assert not model.user_factors.weight[:2].any()
    assert not Dot().cold([0, 1], [2, 3]).any()  # nobody noted what it was trained with


def test_errors_are_measured_without_pytorch():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, mfhelpers as mf; mf.rmse; sys.exit('torch' in sys.modules)"]
    )
    assert done.returncode == 0


def test_a_moment_for_other_pairs_is_refused_and_limits_hold():
    model = mf.fit(Everything(), TRAIN, epochs=1, **QUIET)
    with pytest.raises(ValueError, match=r"timestamps are int64 of shape \(2,\): give whole seconds"):
        model.predict([1, 2, 3], [1, 2, 3], timestamps=np.array([1, 2]))
    limited = model.predict(TEST.users, TEST.items, limits=(2.9, 3.1), timestamps=TEST.timestamps)
    assert 2.9 <= limited.min() <= limited.max() <= np.float32(3.1)


def test_a_model_that_returns_a_column_is_refused():
    class Column(Dot):
        def forward(self, user, item):
            return super().forward(user, item)[:, None]

    with pytest.raises(ValueError, match=r"forward returned shape \(3, 1\) for 3 pairs"):
        Column().predict([1, 2, 3], [1, 2, 3])
