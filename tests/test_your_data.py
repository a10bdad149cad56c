"""The page "Your own ratings": its files are written, its lines run, and what they print is what it says."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "notebooks" / "YOUR_DATA.md").read_text(encoding="utf8")
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
HEAD, *SECTIONS = re.split(r"^## ", PAGE, flags=re.M)
((_, _, IMPORTS),) = FENCE.findall(HEAD)


@pytest.mark.parametrize("section", SECTIONS, ids=[section.partition("\n")[0] for section in SECTIONS])
def test_a_section_reads_its_files_and_prints_what_it_says(section, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = FENCE.findall(section)
    for kind, name, content in blocks:
        if kind == "csv":
            (tmp_path / name).write_text(content, encoding="utf8")
    (code,) = (content for kind, _, content in blocks if kind == "python")
    if "pyarrow" in code:  # in no extra: with it pandas keeps text elsewhere, and lessons would take more memory
        pytest.importorskip("pyarrow")
    exec(IMPORTS + code, {})
    said = re.findall(r"^# ?> (.*)$", code, re.M)
    assert said
    assert capsys.readouterr().out.splitlines() == said


def test_what_people_ask_for_is_there():
    wanted = [
        "header",
        "separators",
        "decimal",
        "BookCrossing",
        "Jester",
        "counts",
        "zones",
        "text",
        "Polars",
        "Arrow",
        "test",
    ]
    titles = " ".join(section.partition("\n")[0] for section in SECTIONS)
    assert [word for word in wanted if word not in titles] == []
    assert len(SECTIONS) == len(re.findall("^```python$", PAGE, re.M)) - 1
    assert "notebooks/YOUR_DATA.md" in (Path(__file__).parents[1] / "README.md").read_text(encoding="utf8")
