"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.files import replacing


def test_new_content_takes_the_place_of_the_old_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "page.html"
    for content in ("old", "new"):
        with replacing(path) as unfinished:
            unfinished.write_text(content)
            assert not path.exists() or path.read_text() == "old"
    assert (path.read_text(), list(path.parent.iterdir())) == ("new", [path])


def test_an_exception_leaves_the_old_content_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing(path) as unfinished:
        unfinished.write_text("new \udc80", encoding="utf-8")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
