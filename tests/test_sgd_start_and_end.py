"""`sgd`: what its engines start from, who may watch, how they end, and what they refuse."""

import numpy as np
import pytest
import torch
from descending import (
    BATCHED,
    BIASED,
    EACH,
    FEW,
    RATINGS,
    TABLES,
    TRAIN,
    assert_close,
    batches,
    begun,
    by_hand,
    changed,
    settings,
)

from mfhelpers import DivergenceError, Factors, Penalty, Ratings, objective, sgd
from mfhelpers.algorithms import sgd as descent


def assert_equal(model, other):
    """Bit for bit."""
    for table in TABLES:
        np.testing.assert_array_equal(getattr(model, table), getattr(other, table), err_msg=table)


# -- start, seed and what stays --------------------------------------------------------------------


@EACH
@BIASED
def test_a_start_keeps_its_mean_and_what_is_not_trained(engine, biased):
    start = changed(begun(), {table: getattr(begun(), table).astype(np.float32) for table in TABLES})
    model = sgd(TRAIN, 3, start=start, biased=biased, epochs=2, **settings(engine))
    assert model.mean == 3.25
    for table in TABLES:
        before, after = getattr(start, table), getattr(model, table)
        unrated = 3 if table.startswith("user") else 2
        trained = (TRAIN.user_counts if table.startswith("user") else TRAIN.item_counts) > 0
        np.testing.assert_array_equal(after[:unrated], before[:unrated])
        if biased or "factors" in table:
            assert (after[trained] != before[trained]).all()
        else:
            np.testing.assert_array_equal(after, before)


@EACH
def test_a_start_goes_on_where_it_stopped(engine):
    options = dict(lr=0.02, reg=0.1, **settings(engine, 16))
    half = sgd(FEW, 3, epochs=10, **options)
    models = half, sgd(FEW, 3, epochs=10, start=half, seed=1, **options), sgd(FEW, 3, epochs=20, **options)
    ends = [objective(model, FEW, 0.1) for model in models]
    assert ends[0] > 1.05 * ends[1]
    assert ends[2] == pytest.approx(ends[1], rel=0.02)


@EACH
@BIASED
def test_rows_without_a_rating_are_zero_and_cold(engine, biased):
    model = sgd(TRAIN, 3, biased=biased, epochs=2, **settings(engine))
    for table in TABLES:
        assert not getattr(model, table)[: 3 if table.startswith("user") else 2].any()
    users, items = np.arange(60)[:, None], np.arange(80)
    never = (TRAIN.user_counts == 0)[:, None] | (TRAIN.item_counts == 0)
    np.testing.assert_array_equal(model.cold(users, items), never)


@EACH
@BIASED
@pytest.mark.parametrize("k", [0, 3])
def test_factors_have_the_precision_of_the_engine(engine, biased, k):
    model = sgd(TRAIN, k, biased=biased, epochs=1, **settings(engine))
    wanted = np.float64 if engine == "loop" else np.float32
    assert {getattr(model, table).dtype for table in TABLES} == {np.dtype(wanted)}
    assert model.mean == pytest.approx(np.mean(TRAIN.values, dtype=np.float64), abs=1e-14)


@EACH
def test_a_seed_reproduces_and_another_differs(engine):
    one, again, other = (sgd(TRAIN, 3, epochs=2, seed=seed, **settings(engine)) for seed in (1, 1, 2))
    assert_equal(one, again)
    assert (one.user_factors != other.user_factors).any()


@EACH
def test_the_seed_orders_the_ratings_too(engine):
    one, other = (sgd(TRAIN, 3, start=begun(), epochs=2, seed=seed, **settings(engine)) for seed in (1, 2))
    assert (one.user_factors != other.user_factors).any()
    assert_close(one, other, 0.1)


@EACH
def test_no_global_generator_is_read_or_moved(engine):
    torch.manual_seed(0)
    np.random.seed(0)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = sgd(TRAIN, 3, epochs=2, **settings(engine))
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    torch.manual_seed(1)
    np.random.seed(1)
    assert_equal(sgd(TRAIN, 3, epochs=2, **settings(engine)), first)


@EACH
def test_the_drawn_start_has_the_asked_spread(engine):
    start = sgd(RATINGS, 20, init_std=0.3, lr=1e-9, epochs=1, **settings(engine))
    rated = start.user_factors[RATINGS.user_counts > 0], start.item_factors[RATINGS.item_counts > 0]
    for rows in rated:
        assert rows.std() == pytest.approx(0.3, rel=0.1)
        assert abs(rows.mean()) < 0.03


@pytest.mark.parametrize("init_std", [-0.1, float("nan"), float("inf")])
def test_a_start_needs_a_finite_spread(init_std):
    with pytest.raises(ValueError, match="init_std="):
        sgd(TRAIN, 2, epochs=1, init_std=init_std)


# -- watching and ending ---------------------------------------------------------------------------


@EACH
def test_watch_sees_the_factors_after_every_epoch(engine):
    seen = []
    model = sgd(TRAIN, 3, lr=0.02, epochs=4, watch=seen.append, **settings(engine))
    assert [type(factors) for factors in seen] == [Factors] * 4
    for epochs, factors in enumerate(seen, 1):
        assert_equal(factors, sgd(TRAIN, 3, lr=0.02, epochs=epochs, **settings(engine)))
    assert_equal(seen[-1], model)
    assert sorted((objective(factors, TRAIN, 0.02) for factors in seen), reverse=True) == [
        objective(factors, TRAIN, 0.02) for factors in seen
    ]


@EACH
def test_an_interruption_returns_the_factors_so_far(engine, capsys):
    seen = []

    def interrupted(factors):
        seen.append(factors)
        if len(seen) == 3:
            raise KeyboardInterrupt

    model = sgd(TRAIN, 3, epochs=10, watch=interrupted, **settings(engine))
    assert_equal(model, seen[-1])
    assert_equal(model, sgd(TRAIN, 3, epochs=3, **settings(engine)))
    assert capsys.readouterr().out == "interrupted in epoch 3: the factors so far are kept\n"


@BATCHED
def test_an_interruption_within_an_epoch_keeps_the_steps_so_far(engine, monkeypatch, capsys):
    start, home, name = begun(), *((torch.sparse, "sampled_addmm") if engine == "frozen" else (torch.Tensor, "sum"))
    once_a_batch, calls = getattr(home, name), []

    def interrupted(*arguments, **options):
        calls.append(0)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return once_a_batch(*arguments, **options)

    monkeypatch.setattr(home, name, interrupted)
    model = sgd(FEW, 3, start=start, lr=0.02, reg=0.1, **settings(engine))
    n_batches = -(-len(FEW) // 64)
    four = list(batches(engine, len(FEW), 1, n_batches))[:4]
    assert_close(model, by_hand(FEW, start, four, 0.02, Penalty(0.1), n_batches=n_batches), 1e-5)
    assert "interrupted in epoch 1" in capsys.readouterr().out


def test_other_errors_of_watch_are_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        sgd(TRAIN, 3, watch=lambda factors: 1 / 0, progress=False)


def test_nothing_is_shown_for_a_short_training(capsys):
    sgd(TRAIN, 3, epochs=2)
    assert capsys.readouterr() == ("", "")


# -- divergence ------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("lr", [5, 1e3])
def test_divergence_names_the_learning_rate(engine, lr):
    with pytest.raises(DivergenceError, match=rf"diverged in epoch \d+ at learning rate {lr:g}: .* Try a tenth"):
        sgd(TRAIN, 3, lr=lr, epochs=50, **settings(engine, 4))


@BATCHED
@pytest.mark.parametrize("lr", [0.1, 100])
def test_a_huge_batch_with_popular_items_does_not_diverge(engine, lr):
    assert TRAIN.item_counts.max() * lr > 2
    course = []
    sgd(
        TRAIN,
        3,
        lr=lr,
        reg=0.1,
        epochs=50,
        watch=lambda f: course.append(objective(f, TRAIN, 0.1)),
        **settings(engine, len(TRAIN)),
    )
    assert course == sorted(course, reverse=True)


@BATCHED
def test_it_would_diverge_if_steps_were_not_limited(engine, monkeypatch):
    monkeypatch.setattr(descent, "MAX_STEP_FRACTION", 1e9)
    with pytest.raises(DivergenceError, match=r"at learning rate 0\.1"):
        sgd(TRAIN, 3, lr=0.1, reg=0.1, epochs=50, **settings(engine, len(TRAIN)))


@pytest.mark.parametrize("options", [{"reg": 1e4}, {"init_std": 4, "lr": 0.1}, {"reg": 1e30}])
@pytest.mark.parametrize("engine", ["minibatch", "frozen"])
def test_what_blows_up_in_the_last_steps_is_no_result(engine, options):
    """The error of an epoch is measured before its steps, so it still looks sound."""
    settings = {"engine": engine, "epochs": 1, "batch_size": 50} | options
    try:
        factors = sgd(TRAIN, 8, **settings)
    except DivergenceError:
        return
    assert np.abs(factors.predict(TRAIN.users, TRAIN.items) - TRAIN.values).mean() < 400


@EACH
@BIASED
def test_every_engine_tells_the_same_error_of_its_factors(engine, biased, monkeypatch):
    told = []

    def predictor(steps):
        factors = steps.factors()
        told.append((steps.mean_error(factors), factors))
        return factors

    monkeypatch.setattr(descent._Engine, "predictor", predictor)
    sgd(TRAIN, 3, start=begun(), biased=biased, epochs=2, lr=0.01, **settings(engine))
    error, factors = told[-1]
    expected = np.abs(factors.predict(TRAIN.users, TRAIN.items) - TRAIN.values).mean()
    assert error == pytest.approx(expected, abs=1e-5)


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(engine="fast"), "engine='fast': choose 'frozen', 'minibatch' or 'loop'"),
        (dict(order="random"), "order='random': choose 'shuffled' or 'surprise'"),
        (dict(order="surprise"), "order='surprise' goes through .*: engine='loop', not 'frozen'"),
        (dict(order="surprise", engine="minibatch"), "engine='loop', not 'minibatch'"),
        (dict(engine="loop", batch_size=10), "batch_size=10: engine='loop' takes one rating at a time"),
        (dict(batch_size=0), "batch_size=0: it must be at least 1"),
        (dict(batch_size=64.0), r"batch_size=64\.0: give a whole number"),
        (dict(lr=0), "lr=0: it must be above 0"),
        (dict(lr=-0.1), "lr=-0.1: it must be above 0"),
        (dict(lr=float("nan")), "lr=nan: it must be finite"),
        (dict(lr=float("inf")), "lr=inf: it must be finite"),
        (dict(epochs=0), "epochs=0: it must be at least 1"),
        (dict(epochs=2.0), r"epochs=2\.0: give a whole number"),
        (dict(n_factors=-1), "n_factors=-1: it must be at least 0"),
        (dict(n_factors=2.5), r"n_factors=2\.5: give a whole number"),
        (dict(seed=0.5), r"seed=0\.5: give a whole number"),
        (dict(reg=-0.1), "reg=-0.1: it must be at least 0"),
        (dict(start=begun(2)), r"start=.*k = 2.* does not fit .* with n_factors=3"),
        (
            dict(start=begun(3, Ratings([0], [0], [3], 61, 80, (1, 5, 1)))),
            "start=.*61 users.* does not fit",
        ),
        (dict(start=begun(3, Ratings([0], [0], [3], 60, 79, (1, 5, 1)))), "start=.*79 items.* does not fit"),
        (dict(device="nonsense"), "device='nonsense' is no device"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_trained(options, message, monkeypatch):
    def refused(*_):
        raise AssertionError("trained")

    for engine in (descent._OneByOne, descent._Frozen, descent.Minibatch):
        monkeypatch.setattr(engine, "step", refused)
    with pytest.raises(ValueError, match=message):
        sgd(TRAIN, **{"n_factors": 3, "progress": False, **options})


@EACH
def test_numbers_may_be_numpys(engine):
    size = {} if engine == "loop" else dict(batch_size=np.int32(64))
    numbers = dict(
        epochs=np.int64(2), lr=np.float32(0.25), reg=np.float64(0.5), seed=np.int64(7), init_std=np.float32(0.125)
    )
    plain = sgd(TRAIN, 3, epochs=2, lr=0.25, reg=0.5, seed=7, init_std=0.125, **settings(engine))
    assert_equal(sgd(TRAIN, np.int8(3), engine=engine, progress=False, **numbers, **size), plain)


@pytest.mark.parametrize("n", [1, 64, 10**9])
@BATCHED
def test_a_batch_may_be_larger_than_the_ratings(engine, n):
    few = TRAIN[:40]
    model = sgd(few, 3, start=begun(), epochs=1, lr=0.01, **settings(engine, n))
    n_batches = -(-len(few) // n)
    order = batches(engine, len(few), 1, n_batches)
    assert_close(model, by_hand(few, begun(), order, 0.01, Penalty(0.02), n_batches=n_batches), 1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"start": object()}, "start=object"),
        ({"n_factors": True}, "n_factors=True"),
        ({"engine": "loop", "device": "meta"}, "meta"),
        ({"device": "nonsense"}, "nonsense"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        sgd(TRAIN, **{"n_factors": 2, "epochs": 1} | options)


@pytest.mark.parametrize("engine", ["loop", "minibatch", "frozen"])
def test_auto_is_a_device_for_every_engine(engine):
    assert sgd(TRAIN, 2, epochs=1, engine=engine, device="auto").n_factors == 2


def test_frozen_batches_that_would_fill_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr("mfhelpers.algorithms.sgd.MOST_KEPT", 1000)
    with pytest.raises(ValueError, match=r"batch_size=1: .* frozen batches keep"):
        sgd(TRAIN, 2, epochs=1, batch_size=1)


def test_what_biases_of_their_own_penalty_keep_is_counted(monkeypatch):
    rows = TRAIN.n_users + TRAIN.n_items
    monkeypatch.setattr("mfhelpers.algorithms.sgd.MOST_KEPT", 4 * rows)
    sgd(TRAIN, 2, epochs=1, reg=0.1)
    with pytest.raises(ValueError, match=f"1 frozen batches keep {8 * rows:,} numbers"):  # 2 factors, 2 biases, 8 lanes
        sgd(TRAIN, 2, epochs=1, reg=Penalty(0.1, biases=0.2))


# -- a graphics card -------------------------------------------------------------------------------


@BATCHED
@BIASED
def test_a_gpu_gives_what_the_processor_gives(engine, biased):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    options = dict(lr=0.02, reg=Penalty(0.5, 0.5, 0.1), biased=biased, epochs=5, **settings(engine))
    assert_close(sgd(TRAIN, 3, device="cuda", **options), sgd(TRAIN, 3, **options), 1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device='cuda' is not available here"):
        sgd(TRAIN, 3, device="cuda", progress=False)
