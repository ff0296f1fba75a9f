"""A bundle holds what was measured, is told from a forged one, and never brings code or reaches outside of itself."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load, save

from bench.attacks.classifier import Classifier
from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.rounds import Target
from bench.bundles import container, reevaluation
from bench.bundles.reevaluation import Place, attacked, slice_of
from bench.bundles.submit import facts_of, submit
from bench.bundles.verify import AGAIN, Verdict, verify
from bench.cells import name_of
from bench.contract import Encoder
from bench.data import loading
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.executors.product import bits_of
from bench.keys import canonical, recipe_key
from bench.plan import DataRef
from bench.randomness import Randomness
from bench.schema import Row, arrow_schema
from bench.store import CORRECT, Store, parquet
from tests.cli.runner import invoke
from tests.conftest import Ran, add_cheap_protocols, cheap_sweep
from tests.plugins import PGD2, write_method, write_trained

Parts = dict[str, bytes]
Forgery = Callable[[Parts, dict[str, Any]], None]
"""Changes the parts of a bundle and its row."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """A cell by PGD that is finished, and whose method is gone."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        add_cheap_protocols(patch)
        yield Ran(cheap_sweep(folder, methods=write_trained(folder)))


@pytest.fixture(scope="module")
def bundle(made: Ran, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "cell.zip"
    row = {**made.rows[0], "gates": fine(made.rows[0]["gates"]), "gate_verdict": "ok"}
    submit(made.store, made.rows[0], path)
    Path(made.plan.cells[0].method.text.partition(":")[0]).unlink()
    return repacked(path, path, lambda parts, stored: stored.update(row) or settle_gates(parts, stored))


def fine(gates: str) -> str:
    """The gates of a network that has learnt nothing, as if it had."""
    return canonical({name: {**facts, "verdict": "ok"} for name, facts in json.loads(gates).items()})


def settle_gates(parts: Parts, row: dict[str, Any]) -> None:
    for key in json.loads(row["audits"]):
        edit_record(parts, key, lambda record: record["result"].update(gates=json.loads(row["gates"])))


def repacked(source: Path, target: Path, forge: Forgery) -> Path:
    """The bundle after a forgery by someone who keeps manifest, row and the parts for people in step."""
    manifest, given = container.read(source)
    parts, row = dict(given), {**_row(given)}
    forge(parts, row)
    parts[container.ROW] = parquet(pa.Table.from_pylist([row], schema=arrow_schema()))
    for name, facts in facts_of(row).items():
        if parts[name] == given[name]:
            parts[name] = json.dumps({**json.loads(parts[name]), **facts}).encode()
    facts = {name: value for name, value in manifest.items() if name not in ("format", "files")}
    container.write(target, parts, {**facts, "cell": row["cell"], "name": name_of(row)})
    return target


def _row(parts: container.Parts) -> dict[str, Any]:
    (values,) = pq.read_table(pa.BufferReader(parts[container.ROW])).to_pylist()
    return Row(**{name: value for name, value in values.items() if value is not None}).as_dict()


def edit_record(parts: Parts, key: str, change: Callable[[dict[str, Any]], None]) -> None:
    name = f"stages/{key}/stage.json"
    record = json.loads(parts[name])
    change(record)
    parts[name] = json.dumps(record).encode()


def flip(parts: Parts, row: dict[str, Any], attack: str, count: int) -> None:
    """Turn the verdicts on `count` images, and everything that follows from them."""
    key = json.loads(row["outcomes"])[attack]
    name = f"stages/{key}/outcomes.parquet"
    correct = torch.tensor(pq.read_table(pa.BufferReader(parts[name])).column(CORRECT).to_pylist())
    correct[:count] = ~correct[:count]
    parts[name] = parquet(pa.table({CORRECT: correct.numpy()}))
    edit_record(parts, key, lambda record: record.update(bits=bits_of({CORRECT: correct})))
    scores = json.loads(row["scores"]) | {attack: 100 * int(correct.sum()) / len(correct)}
    column = {"clean": "sa", "pgd2": "ra_pgd20"}[attack]
    row |= {"scores": canonical(scores), column: scores[attack], "worst_over": "[]", "ra_worst": None}


def only_the_best(parts: Parts, row: dict[str, Any]) -> None:
    """Only images that are classified correctly were scored, so the row says."""
    for attack, key in json.loads(row["outcomes"]).items():
        parts[f"stages/{key}/outcomes.parquet"] = parquet(pa.table({CORRECT: [True] * 5}))
        edit_record(parts, key, lambda record: record.update(bits=ALL_RIGHT))
        row |= {"scores": canonical({**json.loads(row["scores"]), attack: 100.0})}
    row |= {"sa": 100.0, "ra_pgd20": 100.0, "ra_worst": 100.0, "test_images": 5}


def elsewhere(parts: Parts, row: dict[str, Any]) -> None:
    for key in json.loads(row["outcomes"]).values():
        edit_record(parts, key, lambda record: record["context"].update(device="another CPU"))


def other_weights(parts: Parts, row: dict[str, Any]) -> None:
    name = f"stages/{row['pretrain_key']}/encoder.safetensors"
    tensors = {one: value.flip(0).contiguous() for one, value in load(parts[name]).items()}
    parts[name] = save(tensors)
    edit_record(parts, row["pretrain_key"], lambda record: record.update(bits=bits_of(tensors)))


def other_config(parts: Parts, row: dict[str, Any]) -> None:
    parts[container.CONFIG] = b'{"method": "ncp", "config": {}}'


def other_recipe(parts: Parts, row: dict[str, Any]) -> None:
    edit_record(parts, row["head_key"], lambda record: record["recipe"].update(seed=7))


def no_outcomes(parts: Parts, row: dict[str, Any]) -> None:
    del parts[f"stages/{json.loads(row['outcomes'])['clean']}/outcomes.parquet"]


def a_smaller_ball(parts: Parts, row: dict[str, Any]) -> None:
    """The attack's recipe says another radius, and has the key that goes with it."""
    outcomes = json.loads(row["outcomes"])
    before, content = outcomes["pgd2"], {name: value for name, value in parts.items() if outcomes["pgd2"] in name}
    edit_record(parts, before, lambda record: record["recipe"].update(eps=0.001))
    record = json.loads(parts[f"stages/{before}/stage.json"])
    after = recipe_key(record["kind"], record["recipe"], record["upstream"])
    for name in content:
        parts[name.replace(before, after)] = parts.pop(name)
    row["outcomes"] = canonical({**outcomes, "pgd2": after})


def a_gate_fails(parts: Parts, row: dict[str, Any]) -> None:
    gates = json.loads(row["gates"])
    gates["R1"]["verdict"] = "fail"
    row |= {"gates": canonical(gates), "gate_verdict": "fail"}
    settle_gates(parts, row)


def a_gate_is_dropped(parts: Parts, row: dict[str, Any]) -> None:
    gates = json.loads(row["gates"])
    del gates["R1"]
    row["gates"] = canonical(gates)
    settle_gates(parts, row)


ALL_RIGHT = bits_of({CORRECT: torch.ones(5, dtype=torch.bool)})
OTHER_NETWORK = b'{"architecture": "resnet18-padding1", "routes": ["main"], "active_route": "main"}'
FORGERIES: dict[str, tuple[str, Forgery]] = {
    "a better accuracy": ("numbers", lambda parts, row: row.update(sa=100.0)),
    "settings of another method": ("schema", other_config),
    "a failed cell": ("schema", lambda parts, row: row.update(status="failed", error="the loss is nan")),
    "another version of the protocol": ("protocol", lambda parts, row: row.update(protocol_hash="0" * 12)),
    "an unknown protocol": ("protocol", lambda parts, row: row.update(protocol="slf-99")),
    "another recipe under the same key": ("stages", other_recipe),
    "outcomes that are missing": ("stages", no_outcomes),
    "another seed": ("chain", lambda parts, row: row.update(seed_attack=5)),
    "other settings": ("chain", lambda parts, row: row.update(config="{}")),
    "images of another set": ("chain", lambda parts, row: row.update(data_fingerprint="other")),
    "the name of another ball": ("protocol", lambda parts, row: row.update(eps=0.5)),
    "an attack in a smaller ball": ("chain", a_smaller_ball),
    "a network of another shape": ("network", lambda parts, row: parts.update({container.NETWORK: OTHER_NETWORK})),
    "no network": ("network", lambda parts, row: parts.update({container.NETWORK: b"[]"})),
    "a gate that fails": ("gates", a_gate_fails),
    "a gate that was dropped": ("gates", a_gate_is_dropped),
    "verdicts that were turned": ("clean again", lambda parts, row: flip(parts, row, "clean", 1)),
    "verdicts under attack that were turned": ("pgd2 again", lambda parts, row: flip(parts, row, "pgd2", 1)),
    "images that were left out": ("clean again", only_the_best),
    "weights of another network": ("clean again", other_weights),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "cpu", seed=3)


def failures(path: Path, place: Place) -> list[str]:
    return [finding.check for finding in verify(path, place) if finding.verdict is Verdict.FAIL]


class TestVerify:
    def test_an_honest_bundle_verifies_without_its_methods_code(self, bundle: Path, place: Place) -> None:
        found = {finding.check: finding for finding in verify(bundle, place)}
        assert {finding.verdict for finding in found.values()} == {Verdict.OK}
        assert "20 images now" in found["pgd2 again"].detail and "0 differ, 0 may" in found["pgd2 again"].detail

    @pytest.mark.parametrize("case", FORGERIES)
    def test_a_forged_one_does_not(self, bundle: Path, tmp_path: Path, place: Place, case: str) -> None:
        check, forge = FORGERIES[case]
        assert failures(repacked(bundle, tmp_path / "forged.zip", forge), place)[0] == check

    def test_a_part_that_was_altered_is_named(self, bundle: Path, tmp_path: Path, place: Place) -> None:
        _, parts = container.read(bundle)
        changed = raw(tmp_path / "altered.zip", {**manifest_of(bundle), **parts, "gates.json": b"{}"})
        (finding,) = verify(changed, place)
        assert (finding.check, finding.verdict) == ("hashes", Verdict.FAIL)
        assert finding.detail == "gates.json is not what was packed"

    @pytest.mark.parametrize(("turned", "verdict"), [(2, Verdict.OK), (3, Verdict.FAIL)])
    def test_another_context_may_turn_a_few_verdicts(
        self, bundle: Path, tmp_path: Path, place: Place, turned: int, verdict: Verdict
    ) -> None:
        def forge(parts: Parts, row: dict[str, Any]) -> None:
            elsewhere(parts, row)
            flip(parts, row, "clean", turned)

        found = {one.check: one for one in verify(repacked(bundle, tmp_path / "moved.zip", forge), place)}
        assert found["clean again"].verdict is verdict
        assert "another CPU" in found["clean again"].detail

    def test_other_images_are_refused(self, bundle: Path, place: Place) -> None:
        elsewhere = dataclasses.replace(place, source="cifar10")
        with pytest.raises(BenchError, match="cifar10"):
            list(verify(bundle, elsewhere))


class TestSlice:
    def test_it_depends_on_the_seed_alone(self) -> None:
        first, second = slice_of(10_000, 1), slice_of(10_000, 2)
        assert len(first.unique()) == reevaluation.SLICE
        assert torch.equal(first, slice_of(10_000, 1)) and not torch.equal(first, second)
        assert torch.equal(slice_of(20, 1), torch.arange(20))

    def test_each_image_meets_the_attack_that_it_met_among_all(self, tmp_path: Path) -> None:
        spec = dataclasses.replace(PGD2, batch=50, steps=1, step_fraction=0.01)
        images = loading.test_images(DataRef("digits"), tmp_path)
        classifier, randomness = linear(images.profile.image_size), Randomness(4, "attack")
        context = AttackContext(randomness, torch.device("cpu"), lambda *_: None)
        everyone = outcomes(classifier, images, spec, 0.9, context)
        target = Target(classifier, pixels_of(images.pixels), images.labels, 0.9)
        chosen = torch.arange(1, len(everyone), 2)
        assert attacked(target, spec, randomness, chosen).tolist() == everyone[chosen].tolist()
        other = attacked(target, spec, Randomness(5, "attack"), chosen)
        assert other.tolist() != everyone[chosen].tolist(), "the random start decides"


def linear(side: int) -> Classifier:
    """Nearest class mean of the digits, which an attack moves some images of."""

    class Flat(Encoder):
        routes, active_route = ("main",), "main"

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    train = loading.training_set(DataRef("digits"), Path()).train
    x = pixels_of(train.pixels).flatten(1)
    means = torch.stack([x[train.labels == one].mean(0) for one in range(10)])
    return Classifier(Flat(), means, -means.square().sum(1) / 2)


def raw(path: Path, parts: container.Parts, compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip of whatever parts."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def manifest_of(bundle: Path, **facts: Any) -> Parts:
    manifest, _ = container.read(bundle)
    return {container.MANIFEST: json.dumps({**manifest, **facts}).encode()}


EVIL = "stages/../../evil.json"
TORN: dict[str, tuple[str, Callable[[Path, Parts, Path], object]]] = {
    "half of it": ("zip", lambda path, parts, good: path.write_bytes(good.read_bytes()[:3000])),
    "no zip": ("zip", lambda path, parts, good: path.write_bytes(b"PK, more or less")),
    "a byte turned": ("CRC", lambda path, parts, good: path.write_bytes(good.read_bytes().replace(b"PAR1", b"PAR2"))),
    "no manifest": ("manifest.json is missing", lambda path, parts, good: raw(path, parts)),
    "a part missing": ("is missing", lambda path, parts, good: raw(path, {**manifest_of(good), "row.parquet": b""})),
    "a path out of it": ("no place", lambda path, parts, good: raw(path, {**manifest_of(good), **parts, EVIL: b"{}"})),
    "an absolute path": ("no place", lambda path, parts, good: raw(path, {**manifest_of(good), "/tmp/evil": b""})),
    "a pickle": ("no place", lambda path, parts, good: raw(path, {**manifest_of(good), **parts, "encoder.pt": b""})),
    "a stranger": (
        "does not know",
        lambda path, parts, good: raw(path, {**manifest_of(good), **parts, f"stages/{'a' * 24}/stage.json": b"{}"}),
    ),
    "a part blown up": (
        "compressed",
        lambda path, parts, good: raw(path, {"row.parquet": bytes(10**6)}, zipfile.ZIP_DEFLATED),
    ),
    "too long a text": ("at most", lambda path, parts, good: raw(path, {"config.json": bytes(2**24 + 1)})),
    "a newer format": (
        "format 99.*upgrade",
        lambda path, parts, good: raw(path, {**manifest_of(good, format=99), **parts}),
    ),
    "a newer schema": (
        "schema version 99.*upgrade",
        lambda path, parts, good: raw(path, {**manifest_of(good, schema_version=99), **parts}),
    ),
}


@pytest.mark.parametrize("case", TORN)
def test_a_torn_bundle_is_a_slip_and_leaves_nothing_behind(
    bundle: Path, tmp_path: Path, place: Place, case: str
) -> None:
    message, tear = TORN[case]
    tear(tmp_path / "torn.zip", dict(container.read(bundle)[1]), bundle)
    with pytest.raises(BenchError, match=message):
        list(verify(tmp_path / "torn.zip", place))
    assert [path.name for path in tmp_path.iterdir()] == ["torn.zip"]


@pytest.mark.parametrize(("name", "found"), [("", "a folder"), ("none.zip", "not there")])
def test_what_is_no_file_is_no_bundle(tmp_path: Path, name: str, found: str) -> None:
    with pytest.raises(BenchError, match=f"is {found}: name a file that `bench submit` wrote"):
        container.read(tmp_path / name)


def test_a_name_that_stands_twice_is_refused(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    path.write_bytes(bundle.read_bytes())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr("config.json", b"{}")
    with pytest.raises(BenchError, match="twice"):
        container.read(path)


class TestSubmit:
    def test_it_holds_data_alone_and_equal_cells_are_equal_files(self, made: Ran, tmp_path: Path) -> None:
        submit(made.store, made.rows[0], tmp_path / "one.zip", weights=False)
        submit(made.store, made.rows[0], tmp_path / "other.zip", weights=False)
        assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
        names = zipfile.ZipFile(io.BytesIO((tmp_path / "one.zip").read_bytes())).namelist()
        assert {Path(name).suffix for name in names} == {".json", ".parquet", ".safetensors"}

    def test_without_weights_their_hashes_come_along(self, made: Ran, tmp_path: Path, place: Place) -> None:
        (row,) = made.rows
        submit(made.store, row, tmp_path / "cell.zip", weights=False)
        manifest, parts = container.read(tmp_path / "cell.zip")
        name = f"stages/{row['pretrain_key']}/encoder.safetensors"
        content = made.store.read(row["pretrain_key"], "encoder.safetensors")
        assert manifest["withheld"][name] == {"bytes": len(content), "sha256": container.sha256(content)}
        assert name not in parts
        found = {finding.check: finding.verdict for finding in verify(tmp_path / "cell.zip", place)}
        assert (found["stages"], found[AGAIN]) == (Verdict.OK, Verdict.NOT_RUN)

    def test_a_failed_or_damaged_cell_is_refused(self, made: Ran, tmp_path: Path) -> None:
        (row,) = made.rows
        for change, message in (
            ({"status": "failed", "error": "no luck"}, "failed .no luck."),
            ({"head_key": "gone"}, "lost its stage gone"),
            ({"protocol_hash": "other"}, "another version of cheap"),
        ):
            with pytest.raises(BenchError, match=message):
                submit(made.store, {**row, **change}, tmp_path / "cell.zip")
        assert not list(tmp_path.iterdir())

    def test_an_encoder_that_needs_its_methods_code_goes_without_weights(
        self, tmp_path: Path, make_sweep: Any, ran: Any
    ) -> None:
        done = ran(make_sweep(methods=write_method(tmp_path)))
        with pytest.raises(BenchError, match=r"of its own kind .Flat.*--without-weights"):
            submit(done.store, done.rows[0], tmp_path / "cell.zip")
        submit(done.store, done.rows[0], tmp_path / "cell.zip", weights=False)


def test_on_the_command_line(made: Ran, bundle: Path, tmp_path: Path) -> None:
    store: Store = made.store
    written = str(tmp_path / "cell.zip")
    code, out, err = invoke("submit", "trained", "--store", str(store.root), "--out", written, "--without-weights")
    assert (code, err) == (0, "") and out.startswith(written)
    code, out, _ = invoke("verify", str(bundle), "--seed", "11")
    assert code == 0 and "verified (slice of seed 11)" in out
    forged = repacked(bundle, tmp_path / "forged.zip", FORGERIES["verdicts that were turned"][1])
    code, out, _ = invoke("verify", str(forged))
    assert code == 1 and "does not verify (slice of seed " in out
    (tmp_path / "torn.zip").write_bytes(b"")
    code, _, err = invoke("verify", str(tmp_path / "torn.zip"))
    assert code == 2 and "no whole bundle" in err
