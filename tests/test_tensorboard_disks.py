"""A disk that a log cannot be written to harms no training."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from fitting import history_of
from logs import (
    SETTINGS,
    SWEEPS,
    TRAIN,
    VALID,
    assert_equal,
    float32,
    hparams,
    made,
    most_rated,
    opened,
    projected,
    scalars,
)

from mfhelpers import als, fit

pytestmark = pytest.mark.usefixtures("_no_thread_is_left")
ROOT = Path(__file__).parents[1]


def test_tensorboard_is_only_imported_for_a_log(children):
    assert children["imported early"] == [[]]


def test_a_map_that_cannot_be_written_is_a_warning_and_the_rest_is_there(tmp_path):
    (tmp_path / "00003").write_text("where the map would be")
    model, plain = made(), made()
    with pytest.warns(RuntimeWarning, match=f"the log in {tmp_path} ends here .*; the training goes on") as told:
        history = history_of(model, TRAIN, VALID, log_dir=tmp_path, **SETTINGS)
    assert len(told) == 1
    fit(plain, TRAIN, VALID, **SETTINGS)
    assert_equal(model, plain)
    assert scalars(tmp_path)["RMSE/train"] == float32(history.train_rmse)
    assert hparams(tmp_path)[0]["epochs"] == 3


CHILD = """
import json, sys
import mfhelpers.algorithms.fit, mfhelpers.display.tensorboard
print(json.dumps(["imported early", [name for name in sys.modules if name.startswith("tensorb")]]), flush=True)
import test_tensorboard_disks
for kind, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    getattr(test_tensorboard_disks, kind)(test_tensorboard_disks.Path(folder))
"""


@pytest.fixture(scope="module")
def children():
    """What a process with bad disks tells, by kind of disk: one process for all, since it takes long to start."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # other users may enter
        kinds, wrapper = {}, []
        for kind in ("full", "limited", "read_only"):
            kinds[kind] = Path(folder, kind)
            kinds[kind].mkdir()
        mount = 'mount -t tmpfs -o size=512k none "$0" && exec "$@"'
        mount = ["unshare", "-m", "sh", "-c", mount, str(kinds["full"])]
        if shutil.which("unshare") and not subprocess.run([*mount, "true"], capture_output=True).returncode:
            wrapper = mount
        else:
            del kinds["full"]
        command = [*wrapper, sys.executable, "-c", CHILD, *(str(word) for pair in kinds.items() for word in pair)]
        path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": path}
        )
        assert process.returncode == 0, process.stderr
        told = {}
        for kind, line in map(json.loads, process.stdout.splitlines()):
            told.setdefault(kind, []).append(line)
        yield told


def assert_harmless(told):
    """Refused at the start, or else the right result, one warning if the log is cut, and a log that can be read."""
    assert {line["training"] for line in told} == {"fit", "als"}
    for line in told:
        if line["refused"]:
            assert "cannot be written" in line["refused"], line
            assert "name another folder" in line["refused"], line
            continue
        assert line["right"], line
        assert len(line["warnings"]) == (not line["whole"]), line
        for warning in line["warnings"]:
            assert warning.startswith(f"RuntimeWarning: the log in {line['folder']} ends here ("), line
            assert warning.endswith("); the training goes on"), line
        assert line["epochs"] == list(range(len(line["epochs"]))), line


@pytest.mark.parametrize("name", ["fit", "als"])
@pytest.mark.parametrize("kind", ["limited", "full"])
def test_a_disk_that_fills_up_ends_the_log_and_not_the_training(children, kind, name):
    """With a limit on the size of files, and with a real disk of 512 KB, mounted for one process alone."""
    if kind not in children:
        pytest.skip("needs the right to mount a small tmpfs")
    assert_harmless(children[kind])
    first, *cut, last = (line for line in children[kind] if line["training"] == name)
    assert first["whole"]
    assert last["refused"]
    assert not any(line["refused"] or line["whole"] for line in cut)
    # in the middle of the epochs, and where all of them have their place, but not what comes after
    lengths = {len(line["epochs"]) for line in cut}
    assert min(lengths) < max(lengths) == 4


@pytest.mark.parametrize("kind", ["limited", "full"])
def test_what_was_refused_can_be_tried_again_when_there_is_space(children, kind):
    if kind not in children:
        pytest.skip("needs the right to mount a small tmpfs")
    refused = [line for line in children[kind] if line["refused"]]
    assert refused
    assert [line["left"] for line in refused] == [[]] * len(refused)


def test_a_read_only_folder_is_refused_before_anything_is_trained(children):
    assert len(children["read_only"]) == 2
    assert all(line["refused"] for line in children["read_only"])
    assert_harmless(children["read_only"])


def tell(kind, name, folder):
    """Train with a log in the folder and print what came of it; returns how large the log was."""
    log_dir, refused, result = folder / f"run-{time.time_ns()}", "", None

    def run(**options):
        if name == "als":
            return als(TRAIN, valid=VALID, **SWEEPS, **options)
        model = made()
        fit(model, TRAIN, VALID, **SETTINGS, **options)
        return model

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = run(log_dir=log_dir)
        except OSError as error:
            refused = str(error)
    told = {"training": name, "folder": str(log_dir), "refused": refused, "right": False, "epochs": []}
    told["warnings"] = [f"{warning.category.__name__}: {warning.message}" for warning in caught]
    if not refused:
        with suppress(AssertionError):
            assert_equal(result, run())
            told["right"] = True
        scalar_names = opened(log_dir).Tags()["scalars"]
        told["epochs"] = [*scalars(log_dir).get("RMSE/train", ())]
        with suppress(OSError, ValueError):  # an empty list of maps
            told["whole"] = "result/epoch" in scalar_names and len(projected(log_dir)[0]) == len(most_rated(TRAIN))
    told |= {"whole": told.get("whole", False), "left": sorted(path.name for path in log_dir.rglob("*"))}
    size = sum(path.stat().st_size for path in log_dir.rglob("events*")) if log_dir.exists() else 0
    print(json.dumps([kind, told]), flush=True)
    shutil.rmtree(log_dir, ignore_errors=True)
    return size


def limited(folder):
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does by itself: a write fails instead
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in ("fit", "als"):
        size = tell("limited", name, folder)
        for share in (0.98, 0.9, 0.5, 0.4, 0.02, 0):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), limits[1]))
            tell("limited", name, folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def full(folder):
    page = os.sysconf("SC_PAGESIZE")  # what a file takes at least
    for name in ("fit", "als"):
        pages = -(-tell("full", name, folder) // page)
        for free in (pages + 2, pages + 1, pages, pages - 1, pages // 2, 1, 0):
            with (folder / "filler").open("wb", buffering=0) as filler:
                with suppress(OSError):
                    while True:
                        filler.write(bytes(page))
                filler.truncate(filler.tell() - free * page)
            tell("full", name, folder)
            (folder / "filler").unlink()


def read_only(folder):
    folder.chmod(0o555)
    if not os.getuid():
        os.seteuid(65534)  # permissions do not bind root
    for name in ("fit", "als"):
        tell("read_only", name, folder)
