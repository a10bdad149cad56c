"""Checkpoints of a training: a file that is whole, and belongs to the training that goes on from it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.files import replacing
from ..data.interactions import Interactions

CHECKSUM = 32  # bytes of SHA-256


class Checkpoint:
    """The file of one training.

    Parameters
    ----------
    path : Path
    identity : dict
        What must agree for the file to be continued: model, data, settings.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path, self.identity = path, plain(identity)

    def save(self, **state: Any) -> None:
        """Replace the file by this state.

        Raises
        ------
        OSError
            If it cannot be written; the old one is still there.
        """
        try:
            written = io.BytesIO()
            torch.save({"identity": self.identity, **plain(state)}, written)
            with replacing(self.path) as file:
                file.write(written.getbuffer())
                file.write(_checksum(written.getbuffer()))  # behind it, where torch.load does not look
        except (OSError, RuntimeError) as error:  # PyTorch's own writer raises the second for a full disk
            raise OSError(
                f"the checkpoint {self.path} cannot be written ({error}): choose a file in a folder that you can write"
            ) from error

    @contextmanager
    def loaded(self) -> Iterator[dict[str, Any]]:
        """The stored state, to be taken over in the block.

        Raises
        ------
        ValueError
            If the file is damaged, also where only the block finds that out, or belongs to another training.
        """
        try:
            if not self.path.is_file():  # a device may have no end
                raise ValueError("it is no file")
            content = memoryview(self.path.read_bytes())
            if _checksum(content[:-CHECKSUM]) != content[-CHECKSUM:]:
                raise ValueError("its checksum does not fit")
            state = torch.load(io.BytesIO(content[:-CHECKSUM]), map_location="cpu", weights_only=True)
            stored = state["identity"]
            different = [key for key in self.identity if self.identity[key] != stored.get(key)]
            if not different:
                yield state
        except Exception as error:
            raise ValueError(f"{self.path} is not a checkpoint of fit, or is damaged: {error!r}") from error
        if different:
            key = different[0]
            its, ours = stored.get(key), self.identity[key]
            raise ValueError(f"{self.path} belongs to another training: its {key} is {its}, here it is {ours}")


def _checksum(content: Any) -> bytes:
    return hashlib.sha256(content).digest()


def plain(value: Any) -> Any:
    """NumPy's numbers as Python's: a checkpoint with the former could not be read again."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (dict, Counter):
        return type(value)({plain(key): plain(part) for key, part in value.items()})
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


def fingerprint(part: Interactions, more: tuple[str, ...] = ()) -> str:
    """A hash of the ratings and their numbering, and of more columns by name."""
    columns = part.users, part.items, part._amounts(), *(getattr(part, name) for name in more)
    return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


def hashed(table: torch.Tensor) -> str:
    """A hash of the numbers of a table."""
    return hashlib.sha256(table.cpu().numpy().tobytes()).hexdigest()


def shapes(weights: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    """The shape of each table of a model's state."""
    return {name: list(tensor.shape) for name, tensor in weights.items()}
