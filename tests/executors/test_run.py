"""A sweep carried out in this process: what is stored, what is shared, and what becomes of failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data import loading
from bench.errors import BenchError, StoreError
from bench.executors import StageState, run
from bench.executors.placement import Device
from bench.executors.run import available_device, available_devices
from bench.plan import StageKind
from bench.protocols.recipes import PROTOCOLS
from bench.store import Store
from bench.sweep import Sweep
from tests.plugins import CHEAP, write_method

NOISY = "encoder.linear.weight.data += float(os.environ.get('NOISE', 0))"
"""Something that moves bits without being in the recipe."""


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def only(ran: Any, kind: StageKind) -> str:
    """The key of the one stage of a kind."""
    (key,) = (key for key, stage in ran.plan.stages.items() if stage.kind is kind)
    return str(key)


class TestProducts:
    def test_each_cell_has_a_row_and_each_stage_a_product(self, make_sweep: Any, ran: Any) -> None:
        done = ran(make_sweep(seeds=2, protocols="cheap,cheap-alf"))
        assert done.summary.ok
        assert done.summary.done == len(done.plan.stages) == 2 * (1 + 2 + 3 + 2)
        for row in done.rows:
            assert (row["status"], row["error"], row["attempts"], row["log"]) == ("ok", None, 1, None)
            assert 0 <= row["sa"] <= 100
            assert row["test_images"] == 20
            assert row["train_images"] == 40
            assert row["context_deterministic"]
            assert row["head_rate"] in (0.1, 1.0)
        assert [row["ra_pgd20"] is None for row in done.rows] == [False, True, False, True]

    def test_alf_takes_the_rate_that_slf_chose_even_when_it_runs_alone(self, make_sweep: Any, ran: Any) -> None:
        alone = ran(make_sweep(protocols="cheap-alf"))
        (row,) = alone.rows
        lender = next(key for key, stage in alone.plan.stages.items() if stage.task.protocol == "cheap")
        assert row["head_rate"] == alone.store.record(lender)["result"]["rate"]

    def test_a_second_run_is_served_from_the_store_and_writes_nothing(self, make_sweep: Any, ran: Any) -> None:
        first = ran(make_sweep(seeds=2))
        before = files(first.store.root)
        second = ran(make_sweep(seeds=2))
        assert second.summary.done == 0
        assert second.summary.cached == first.summary.done
        assert files(second.store.root) == before

    def test_another_seed_changes_no_finished_row(self, make_sweep: Any, ran: Any) -> None:
        (one,) = ran(make_sweep()).rows
        assert ran(make_sweep(seeds=2)).rows[0] == one

    def test_a_row_that_was_lost_is_written_anew(self, make_sweep: Any, ran: Any) -> None:
        first = ran(make_sweep())
        (file,) = (first.store.root / "rows").iterdir()
        file.unlink()
        second = ran(make_sweep())
        assert second.summary.done == 0
        assert second.rows[0]["sa"] == first.rows[0]["sa"]

    def test_the_outcomes_are_kept_per_image_and_agree_with_the_row(self, make_sweep: Any, ran: Any) -> None:
        done = ran(make_sweep())
        (row,) = done.rows
        outcomes = {name: done.store.outcomes(key) for name, key in json.loads(row["outcomes"]).items()}
        assert 100 * outcomes["clean"].mean() == pytest.approx(row["sa"])
        assert 100 * outcomes["pgd2"].mean() == pytest.approx(row["ra_pgd20"])
        assert not (outcomes["pgd2"] & ~outcomes["clean"]).any()

    def test_seconds_are_those_of_computing_alone(
        self, make_sweep: Any, ran: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from bench.data import loading

        slow = loading.pool
        monkeypatch.setattr(loading, "pool", lambda *args: time.sleep(0.3) or slow(*args))
        assert ran(make_sweep()).rows[0]["seconds_pretrain"] < 0.3

    def test_the_process_is_left_as_it_was(self, make_sweep: Any, ran: Any) -> None:
        state = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state()
        ran(make_sweep())
        assert state[:2] == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
        assert torch.equal(state[2], torch.random.get_rng_state())


SUPERVISED = """
    labelled = True

    def encoder(self, profile):
        encoder = Flat(3 * profile.image_size**2, self.config.width)
        encoder.head = nn.Linear(self.config.width, profile.classes)
        return encoder
"""
"""The class of a method whose encoder carries a head."""


class TestOwnHead:
    def test_it_is_stored_loaded_and_scored(
        self, make_sweep: Any, ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A head that says 3 whatever it sees is right on the threes: no head was fitted on the way."""
        cheap = replace(PROTOCOLS["own-1"], attacks=CHEAP.attacks)
        monkeypatch.setitem(PROTOCOLS, "own-1", cheap)  # type: ignore[arg-type]
        body = "encoder.head.weight.data.zero_(); encoder.head.bias.data = 9.0 * (torch.arange(10) == 3)"
        method = write_method(tmp_path, body=body, more=SUPERVISED, imports="import torch")
        done = ran(make_sweep(methods=method, protocols="own-1,cheap"))
        own, fitted = done.rows
        data = loading.data_set(done.plan.cells[0].data, tmp_path / "data")
        threes = 100 * (data.test.labels == 3).float().mean().item()
        assert own["status"] == "ok"
        assert own["sa"] == own["ra_pgd20"] == pytest.approx(threes)
        assert (own["head_rate"], own["train_images"], own["labelled_pretraining"]) == (None, None, True)
        assert fitted["head_rate"] in (0.1, 1.0)

    def test_a_promised_head_that_is_not_there_fails_with_the_remedy(
        self, make_sweep: Any, ran: Any, tmp_path: Path
    ) -> None:
        method = write_method(tmp_path, more="    labelled = True")
        (row,) = ran(make_sweep(methods=method, protocols="own-1")).rows
        assert row["status"] == "failed"
        assert "no head of its own to be scored: judge it by 'slf-1'" in row["error"]


class TestFailures:
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ("raise ValueError('too few pixels')", "ValueError: too few pixels"),
            ("raise SystemExit(3)", "SystemExit: 3"),
            ("encoder.linear.weight.data += float('nan')", "not finite"),
        ],
    )
    def test_a_failed_cell_is_a_row_with_its_reason_and_the_others_finish(
        self, make_sweep: Any, ran: Any, tmp_path: Path, body: str, error: str
    ) -> None:
        broken = write_method(tmp_path, "broken", body=body)
        done = ran(make_sweep(methods=f"{broken},{write_method(tmp_path)}"))
        bad, good = done.rows
        assert not done.summary.ok
        assert (bad["status"], good["status"]) == ("failed", "ok")
        assert error in bad["error"]
        assert "Traceback" in (done.store.root / bad["log"]).read_text()
        assert bad["sa"] is None

    def test_a_seed_that_fails_disturbs_no_other_seed(self, make_sweep: Any, ran: Any, tmp_path: Path) -> None:
        text = write_method(tmp_path, body="assert seed != 1, 'seed 1'")
        assert [row["status"] for row in ran(make_sweep(methods=text, seeds=3)).rows] == ["ok", "failed", "ok"]

    def test_what_needs_a_failed_upstream_names_it_and_its_log(self, make_sweep: Any, ran: Any, tmp_path: Path) -> None:
        teacher = write_method(tmp_path, "teacher", body="raise ValueError('no idea')")
        needs = f"    def requires(self):\n        return {{'teacher': Upstream({teacher!r})}}"
        done = ran(make_sweep(methods=write_method(tmp_path, "pupil", more=needs)))
        (row,) = done.rows
        assert row["error"] == "needs teacher digits seed 0, which failed: ValueError: no idea"
        assert "no idea" in (done.store.root / row["log"]).read_text()
        assert done.summary.failed == 1
        assert done.summary.blocked == 5

    def test_tries_are_counted_until_one_succeeds(self, make_sweep: Any, ran: Any, tmp_path: Path) -> None:
        text = write_method(tmp_path, body=f"assert Path({str(tmp_path / 'fixed')!r}).exists(), 'not yet'")
        assert [ran(make_sweep(methods=text)).rows[0]["attempts"] for _ in range(2)] == [1, 2]
        (tmp_path / "fixed").touch()
        (row,) = ran(make_sweep(methods=text)).rows
        assert (row["status"], row["attempts"], row["error"]) == ("ok", 3, None)
        assert ran(make_sweep(methods=text)).rows == [row]

    def test_a_failed_attack_keeps_the_metrics_that_were_reached(
        self, make_sweep: Any, ran: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from bench.executors import work

        honest = work.attack

        def attack(encoder: Any, head: Any, images: Any, spec: Any, *rest: Any) -> Any:
            assert spec.name == "clean", "out of luck"
            return honest(encoder, head, images, spec, *rest)

        monkeypatch.setattr(work, "attack", attack)
        (row,) = ran(make_sweep()).rows
        assert row["status"] == "failed"
        assert row["sa"] is not None
        assert row["ra_pgd20"] is None

    def test_a_full_disk_ends_the_run_and_loses_nothing(
        self, make_sweep: Any, ran: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = Store.put

        def put(self: Store, key: str, record: Any, files: Any, **options: Any) -> None:
            if record["kind"] == "attack":
                raise StoreError("the disk is full")
            honest(self, key, record, files, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "put", put)
            with pytest.raises(StoreError, match="full"):
                ran(make_sweep())
        later = ran(make_sweep())
        assert (later.summary.cached, later.summary.done) == (2, 3)

    def test_a_method_that_was_edited_after_planning_is_not_computed_under_the_old_key(
        self, make_sweep: Any, ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = run._inline
        sweep = make_sweep()

        def edit_first(*arguments: Any) -> None:
            write_method(tmp_path, body="encoder.linear.bias.data += 1")
            honest(*arguments)

        monkeypatch.setattr(run, "_inline", edit_first)
        done = ran(sweep)
        assert "the source was edited after the sweep was planned (mine.py)" in done.rows[0]["error"]
        monkeypatch.undo()


class TestRerun:
    @pytest.fixture
    def noisy(self, make_sweep: Any, tmp_path: Path) -> Callable[..., Any]:
        text = write_method(tmp_path, body=NOISY)
        return lambda **options: make_sweep(methods=text, **options)

    def test_equal_bits_leave_the_store_as_it_is(self, make_sweep: Any, ran: Any) -> None:
        first = ran(make_sweep())
        before = files(first.store.root)
        again = ran(make_sweep(rerun=True))
        assert again.summary.done == first.summary.done
        assert again.rows == first.rows
        assert files(first.store.root) == before

    def test_other_bits_in_the_same_context_fail_and_name_both_hashes(
        self, noisy: Any, ran: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = ran(noisy())
        bits = first.store.record(only(first, StageKind.PRETRAIN))["bits"]
        monkeypatch.setenv("NOISE", "1")
        (row,) = ran(noisy(rerun=True)).rows
        assert row["status"] == "failed"
        assert "in the same context" in row["error"]
        assert bits[:16] in row["error"]
        assert first.store.record(only(first, StageKind.PRETRAIN))["bits"] == bits
        (later,) = ran(noisy()).rows
        assert later["status"] == "ok"
        assert json.loads(later["warnings"]) == [row["error"]]

    def test_other_bits_in_another_context_are_a_warning_of_the_row(
        self, noisy: Any, ran: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from bench.executors import work

        (first,) = ran(noisy()).rows
        honest = work.context
        monkeypatch.setattr(work, "context", lambda *where: replace(honest(*where), torch="9"))
        monkeypatch.setenv("NOISE", "1")
        for _ in range(2):
            (row,) = ran(noisy(rerun=True)).rows
            assert row["status"] == "ok"
            assert row["sa"] == first["sa"]
            (warning,) = json.loads(row["warnings"])
            assert "in another context (torch: " in warning

    @pytest.mark.parametrize("kind", StageKind)
    def test_a_damaged_product_is_computed_again(self, make_sweep: Any, ran: Any, kind: StageKind) -> None:
        first = ran(make_sweep())
        for key, stage in first.plan.stages.items():
            if stage.kind is kind:
                damage(product_file(first.store, key))
        assert ran(make_sweep(rerun=True)).summary.ok
        assert ran(make_sweep(seeds=2, protocols="cheap,cheap-alf")).summary.ok


def product_file(store: Store, key: str) -> Path:
    (file,) = (path for path in store.stage(key).iterdir() if path.suffix in (".safetensors", ".parquet"))
    return file


def damage(file: Path) -> None:
    """Turn one bit of a file's last tensor around."""
    content = bytearray(file.read_bytes())
    content[-1 if file.suffix == ".safetensors" else 10] ^= 1
    file.write_bytes(content)


class TestDamage:
    @pytest.mark.parametrize("change", [damage, lambda file: file.write_bytes(file.read_bytes()[:50]), Path.unlink])
    def test_a_stage_that_reads_a_damaged_product_fails_and_names_file_and_remedy(
        self, make_sweep: Any, ran: Any, change: Callable[[Path], Any]
    ) -> None:
        first = ran(make_sweep())
        file = product_file(first.store, only(first, StageKind.PRETRAIN))
        change(file)
        second = ran(make_sweep(protocols="cheap,cheap-alf"))
        error = second.rows[1]["error"]
        assert str(file) in error
        assert "damaged" in error
        assert "--rerun" in error
        assert second.rows[0]["status"] == "ok"

    @pytest.mark.parametrize("text", ["", '{"kind": "pret', "[]"])
    def test_a_stage_without_a_readable_record_is_computed_again(self, make_sweep: Any, ran: Any, text: str) -> None:
        first = ran(make_sweep())
        key = only(first, StageKind.HEAD)
        (first.store.stage(key) / "stage.json").write_text(text)
        second = ran(make_sweep())
        assert (second.summary.done, second.summary.cached) == (1, 4)
        assert second.store.has(key)
        assert second.rows[0]["sa"] == first.rows[0]["sa"]


class TestDevice:
    def test_the_cpu_is_always_there(self) -> None:
        assert available_device("cpu") == "cpu"
        assert available_device("auto") in ("cpu", "cuda")

    def test_a_gpu_that_is_not_there_is_an_error_with_a_remedy(self) -> None:
        with pytest.raises(BenchError, match=r"device 'cuda:77' is not there.*--device cpu"):
            available_device("cuda:77")

    def test_several_gpus_are_named_and_measured(self, machine: Callable[[int], None]) -> None:
        machine(4)
        found = available_devices(Sweep.of(methods="ncp", gpus="0,2-3"))
        assert found == [Device("cuda:0", 1000), Device("cuda:2", 1002), Device("cuda:3", 1003)]

    @pytest.mark.parametrize(
        ("count", "gpus", "message"),
        [
            (2, "7", r"GPU 7 of --gpus is not there: this machine has 2 CUDA devices\. Use --gpus 0-1\."),
            (1, "0-1", r"GPU 1 of --gpus is not there: this machine has 1 CUDA device\. Use --gpus 0\."),
            (0, "0", r"GPU 0 of --gpus is not there: torch sees no CUDA device\. Leave --gpus out"),
        ],
    )
    def test_one_of_them_that_is_not_there_is_an_error(
        self, machine: Callable[[int], None], count: int, gpus: str, message: str
    ) -> None:
        machine(count)
        with pytest.raises(BenchError, match=message):
            available_devices(Sweep.of(methods="ncp", gpus=gpus))

    @pytest.fixture
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        """A machine with some GPUs; number n has 1000 + n MiB free."""

        def machine(count: int) -> None:
            monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: ((1000 + gpu) * 2**20, 10**12))

        return machine


def test_events_tell_each_stage_once_from_start_to_end(make_sweep: Any, ran: Any) -> None:
    done = ran(make_sweep())
    for key in done.plan.stages:
        states = [event.state for event in done.events if event.key == key]
        assert states[0] is StageState.RUNNING
        assert states[-1] is StageState.DONE
