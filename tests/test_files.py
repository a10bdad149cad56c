"""`replacing`: a file is whole, or it is the old one."""

import pytest

from mfhelpers.data.files import replacing


def test_a_finished_write_replaces_the_old_file_and_makes_the_folder(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    for content in (b"old", b"new"):
        with replacing(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stays_until_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [b"old", None])
def test_an_interrupted_write_leaves_what_was_there_and_nothing_else(tmp_path, error, old):
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), replacing(path) as file:  # noqa: PT012
        file.write(b"half")
        raise error
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({} if old is None else {"file": old})


def test_a_rename_that_fails_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "taken"
    path.mkdir()
    (path / "inside").write_bytes(b"")
    with pytest.raises(OSError, match="taken"), replacing(path) as file:
        file.write(b"new")
    assert list(tmp_path.iterdir()) == [path]
