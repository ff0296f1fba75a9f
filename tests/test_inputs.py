"""Files as settings: their content counts, wherever they lie, and may not change under a sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.config import MethodConfig
from bench.errors import BenchError, StageError
from bench.inputs import InputFile
from bench.plan import Plan
from bench.planning import plan_of
from bench.validation import validated
from tests.plugins import write_method

READS = """    class Config(Settings):
        content: InputFile | None = None
    QUICK = {"digits": Config()}
    def check(self, images=None):
        if images is not None and self.config.content and images < self.config.content.size:
            raise BenchError(f"{self.config.content.size} bytes for {images} images")
"""
IMPORTS = "from bench.errors import BenchError\nfrom bench.inputs import InputFile"
BODY = "self.config.content.read()"


class Settings(MethodConfig):
    """Settings with a file."""

    content: InputFile | None = None
    """Chosen."""
    width: int = 4
    """Chosen."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.bin"
    path.write_bytes(b"what counts")
    return path


def settings(**values: Any) -> Settings:
    return validated(Settings, values, "mine")


@pytest.fixture
def reader(tmp_path: Path) -> str:
    """A method whose pre-training reads a file."""
    return write_method(tmp_path, body=BODY, more=READS, imports=IMPORTS)


def plan(make_sweep: Any, reader: str, file: Path) -> Plan:
    return plan_of(make_sweep(methods=f'{reader}[content="{file}"]'))


class TestResolution:
    def test_a_path_becomes_content(self, file: Path) -> None:
        (found,) = settings(content=str(file)).input_files().values()
        assert (found.path, found.size, len(found.sha256)) == (file, 11, 64)
        assert found.read() == b"what counts"

    def test_a_relative_path_holds_in_another_folder(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        found = InputFile.model_validate(file.name)
        monkeypatch.chdir("/")
        assert found.read() == b"what counts"

    def test_it_crosses_a_process_without_being_read_again(self, file: Path) -> None:
        before = settings(content=str(file))
        data = json.loads(json.dumps(before.model_dump(mode="json")))
        file.unlink()
        assert Settings.model_validate(data) == before

    def test_no_file_is_no_file(self) -> None:
        assert settings().input_files() == {}
        assert settings().identity() == {"content": None, "width": 4}

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("not/there.npz", r"not/there\.npz' cannot be read \(No such file or directory\): give the path"),
            (".", r"cannot be read \(Is a directory\)"),
            (5, "mine option 'content' cannot be 5: it should be the path of a file"),
        ],
    )
    def test_bad_input(self, value: object, message: str) -> None:
        with pytest.raises(BenchError, match=message):
            settings(content=value)


class TestReading:
    def test_an_edited_file_is_refused(self, file: Path) -> None:
        found = InputFile.model_validate(str(file))
        file.write_bytes(b"other words")
        with pytest.raises(StageError, match=r"one\.bin' was changed after the sweep was planned"):
            found.read()

    def test_a_lost_file_is_named(self, file: Path) -> None:
        found = InputFile.model_validate(str(file))
        file.unlink()
        with pytest.raises(StageError, match=r"one\.bin' can no longer be read"):
            found.read()


class TestPlans:
    def test_the_same_content_elsewhere_is_the_same_cell(
        self, make_sweep: Any, reader: str, file: Path, tmp_path: Path
    ) -> None:
        copy = tmp_path / "elsewhere, renamed.bin"
        copy.write_bytes(file.read_bytes())
        one, other = plan(make_sweep, reader, file), plan(make_sweep, reader, copy)
        assert list(one.stages) == list(other.stages)
        assert [cell.key for cell in one.cells] == [cell.key for cell in other.cells]
        assert one.cells[0].label == other.cells[0].label == f"mine[content={InputFile.model_validate(str(file))}]"

    def test_other_content_is_another_cell(self, make_sweep: Any, reader: str, file: Path) -> None:
        before = plan(make_sweep, reader, file)
        file.write_bytes(b"other words")
        after = plan(make_sweep, reader, file)
        assert set(before.stages).isdisjoint(after.stages)
        assert before.cells[0].key != after.cells[0].key

    def test_a_method_may_refuse_it_before_anything_runs(self, make_sweep: Any, reader: str, file: Path) -> None:
        file.write_bytes(bytes(41))
        with pytest.raises(BenchError, match="41 bytes for 40 images"):
            plan(make_sweep, reader, file)


class TestRuns:
    def test_a_worker_reads_it_and_the_row_holds_its_hash_but_no_path(
        self, make_sweep: Any, ran: Any, reader: str, file: Path
    ) -> None:
        done = ran(make_sweep(methods=f'{reader}[content="{file}"]'))
        (row,) = done.rows
        assert row["status"] == "ok"
        content = InputFile.model_validate(str(file))
        assert json.loads(row["config"])["content"] == {"sha256": content.sha256, "size": 11}
        assert str(file) not in json.dumps(row)

    def test_a_file_that_was_edited_after_planning_fails_its_cell(
        self, make_sweep: Any, tmp_path: Path, ran: Any, file: Path
    ) -> None:
        edits = f"Path({str(file)!r}).write_bytes(b'other words'); {BODY}"
        text = write_method(tmp_path, body=edits, more=READS, imports=IMPORTS)
        (row,) = ran(make_sweep(methods=f'{text}[content="{file}"]')).rows
        assert row["status"] == "failed"
        assert "was changed after the sweep was planned" in row["error"]
