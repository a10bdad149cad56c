"""Small trainings that are logged for TensorBoard, and their logs read back."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from mfhelpers import BiasedMatrixFactorization, als, random_split, simulate_ratings, svdpp

pytest.importorskip("tensorboard")

from google.protobuf import text_format
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

RATINGS, _ = simulate_ratings(40, 30, 400, min_per_user=5)
# users 0 to 2 and item 0 are left without a training rating
TRAIN, VALID = random_split(RATINGS[(RATINGS.users > 2) & (RATINGS.items > 0)], 0.25)
SETTINGS = dict(epochs=3, batch_size=64, lr=0.02, progress=False, device="cpu")
SWEEPS = dict(n_factors=3, sweeps=3, progress=False)
EPOCHS = [0, 1, 2, 3]
N_BATCHES = -(-len(TRAIN) // 64)
LEAST_SQUARES = pytest.mark.parametrize("solve", [als, svdpp])


def made(kind=BiasedMatrixFactorization, k=3, **options):
    return kind(40, 30, k, **options)


def opened(folder):
    return _opened(str(folder), *sorted((path.name, path.stat().st_size) for path in Path(folder).glob("events*")))


@lru_cache(maxsize=2)  # its check sums are slow
def _opened(folder, *files):
    guidance = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 0)
    return event_accumulator.EventAccumulator(folder, size_guidance=guidance).Reload()


def scalars(folder):
    """{name: {epoch: value}}; an epoch that is there twice is an error."""
    run = opened(folder)
    return {name: once([(event.step, event.value) for event in run.Scalars(name)]) for name in run.Tags()["scalars"]}


def histograms(folder):
    """{name: {epoch: (number of values, min, max)}}."""
    run = opened(folder)
    return {
        name: once([(e.step, (e.histogram_value.num, e.histogram_value.min, e.histogram_value.max)) for e in events])
        for name in run.Tags()["histograms"]
        for events in [run.Histograms(name)]
    }


def once(pairs):
    steps = [step for step, _ in pairs]
    assert steps == sorted(set(steps))
    return dict(pairs)


def hparams(folder):
    """The settings, and the names of the results."""
    parts = opened(folder).PluginTagToContent("hparams")
    settings, results = {}, []
    for content in parts.values():
        part = HParamsPluginData.FromString(content)
        settings |= {k: getattr(v, v.WhichOneof("kind")) for k, v in part.session_start_info.hparams.items()}
        results += [metric.name.tag for metric in part.experiment.metric_infos]
    return settings, results


def projected(folder):
    """The rows of numbers on the map, and header and cells beside them."""
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (items,) = config.embeddings
    texts = [(folder / path).read_bytes().decode() for path in (items.tensor_path, items.metadata_path)]
    assert all(text.endswith("\n") for text in texts)
    numbers, cells = ([line.split("\t") for line in text[:-1].split("\n")] for text in texts)
    header, *cells = cells
    assert {len(row) for row in cells} == {len(header)}
    assert len(cells) == len(numbers)
    return np.array(numbers, dtype=np.float64), header, cells


def files(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def float32(values):
    return dict(enumerate(np.array(values, dtype=np.float32).astype(np.float64).tolist()))


def assert_equal(one, other):
    """Models, factors or state dicts, bit for bit."""
    states = [
        x if isinstance(x, dict) else x.state_dict() if hasattr(x, "state_dict") else vars(x) for x in (one, other)
    ]
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        assert np.array_equal(np.asarray(states[0][name]), np.asarray(states[1][name])), name


def most_rated(train):
    """Items with a rating, the most rated first, and of equals the lower number."""
    return sorted((i for i in range(train.n_items) if train.item_counts[i]), key=lambda i: (-train.item_counts[i], i))
