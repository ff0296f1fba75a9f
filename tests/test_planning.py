"""From a sweep to stages: what is shared, what is in a key, and what cannot be planned."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.data import profiles
from bench.data.sources import _read
from bench.errors import BenchError
from bench.plan import Plan, Seeds, StageKind
from bench.planning import plan_of
from bench.protocols.recipes import PROTOCOLS
from tests.plugins import CHEAP, write_method

PRETRAIN, HEAD, ATTACK, AUDIT = StageKind


def keys(plan: Plan, kind: StageKind) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind is kind]


def kinds_that_moved(before: Plan, after: Plan) -> set[StageKind]:
    """The kinds of stage whose keys differ."""
    return {kind for kind in StageKind if keys(before, kind) != keys(after, kind)}


ENOUGH = "train=70,test=20"
"""Images for every number of clusters that `ncp` tries."""


class TestGraph:
    def test_stages_are_shared_by_the_cells_that_need_them(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep(seeds=2, protocols="cheap,cheap-alf"))
        assert len(plan.cells) == 4
        assert [len(keys(plan, kind)) for kind in StageKind] == [2, 4, 6, 4]

    def test_a_source_is_read_once_whatever_the_limit(
        self, make_sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads: list[Any] = []
        monkeypatch.setattr("bench.data.sources._read", lambda *of: reads.append(of) or _read(*of))
        own = {"data_dir": tmp_path / "of its own", "methods": "simclr,ncp"}
        plan_of(make_sweep(limit="train=70,test=30", **own))
        assert len(reads) == 1

    def test_an_upstream_is_a_stage_of_the_same_seed_shared_with_the_method_itself(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep(methods="ncp,simclr", seeds=2, limit=ENOUGH))
        labels = [plan.stages[key].label for key in keys(plan, PRETRAIN)]
        assert labels == [f"{name} digits seed {seed}" for seed in (0, 1) for name in ("simclr", "ncp")]

    def test_every_stage_comes_after_its_upstreams(self, make_sweep: Any) -> None:
        seen: set[str] = set()
        for key, stage in plan_of(make_sweep(methods="ncp", protocols="cheap-alf", limit=ENOUGH)).stages.items():
            assert set(stage.upstream.values()) <= seen
            seen.add(key)

    def test_seeds_of_heads_and_attacks_are_crossed_with_those_of_pre_training(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep(seeds=2, head_seeds=3, attack_seeds="0,7"))
        assert [cell.seeds for cell in plan.cells] == [
            Seeds(pretrain, head, attack) for pretrain in (0, 1) for head in (0, 1, 2) for attack in (0, 7)
        ]
        assert [len(keys(plan, kind)) for kind in StageKind] == [2, 6, 24, 12]  # Two attacks, clean images among them.
        assert len({cell.name for cell in plan.cells}) == 12

    def test_one_seed_sets_all_where_no_other_is_asked_for(self, make_sweep: Any) -> None:
        (cell,) = plan_of(make_sweep(seeds="3,")).cells
        same = plan_of(make_sweep(seeds="3,", head_seeds="3,", attack_seeds="3,")).cells
        assert (cell.seeds, [cell.key]) == (Seeds(3, 3, 3), [one.key for one in same])

    def test_a_seed_of_its_own_is_in_the_key_of_its_stage_alone(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep())
        assert kinds_that_moved(plan, plan_of(make_sweep(head_seeds="1,"))) == {HEAD, ATTACK, AUDIT}
        assert kinds_that_moved(plan, plan_of(make_sweep(attack_seeds="1,"))) == {ATTACK, AUDIT}

    def test_a_seed_of_its_own_is_named_in_the_labels_of_its_stage(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep(head_seeds="2,", attack_seeds="5,", protocols="cheap"))
        assert [stage.label for stage in plan.stages.values()] == [
            "mine digits seed 0",
            "mine digits seed 0 cheap head seed 2",
            "mine digits seed 0 cheap head seed 2 clean attack seed 5",
            "mine digits seed 0 cheap head seed 2 pgd2 attack seed 5",
            "mine digits seed 0 cheap head seed 2 gates attack seed 5",
        ]

    def test_a_cell_that_is_named_twice_is_one(self, make_sweep: Any, tmp_path: Path) -> None:
        text = write_method(tmp_path)
        assert len(plan_of(make_sweep(methods=f"{text},{text}")).cells) == 1

    def test_a_default_spelt_out_is_a_row_of_its_own_on_the_same_stages(self, make_sweep: Any, tmp_path: Path) -> None:
        text = write_method(tmp_path)
        plan = plan_of(make_sweep(methods=f"{text},{text}[width=4]"))
        assert [cell.label for cell in plan.cells] == ["mine", "mine[width=4]"]
        assert plan.cells[0].stages == plan.cells[1].stages


class TestKeys:
    @pytest.mark.parametrize(
        ("options", "moved"),
        [
            ({"jobs": 7}, set()),
            ({"device": "auto"}, set()),
            ({"rerun": True}, set()),
            ({"execution": "compiled"}, set()),
            ({"precision": "bf16"}, set()),  # of what the engine trains, which the throw-away method is not
            ({"protocols": "cheap[precision=tf32]"}, {HEAD, ATTACK, AUDIT}),
            ({"out": "elsewhere"}, set()),
            ({"data_dir": "elsewhere"}, set()),
            ({"threads": 2}, {PRETRAIN, HEAD, ATTACK, AUDIT}),
            ({"seeds": "3"}, {PRETRAIN, HEAD, ATTACK, AUDIT}),
            ({"limit": "train=50,test=20"}, {PRETRAIN, HEAD, ATTACK, AUDIT}),
        ],
    )
    def test_options_that_move_no_number_move_no_key(
        self, make_sweep: Any, options: dict[str, Any], moved: set[StageKind]
    ) -> None:
        before, after = plan_of(make_sweep()), plan_of(make_sweep(**options))
        assert kinds_that_moved(before, after) == moved

    @pytest.mark.parametrize(
        ("options", "labels"),
        [
            ({"methods": "ncp"}, {"simclr": "fp32", "ncp": "fp32"}),
            (
                {"methods": "ncp[precision=bf16]"},  # its teacher follows
                {"simclr[precision=bf16]": "bf16", "ncp[precision=bf16]": "bf16"},
            ),
            (
                {"methods": "ncp[precision=bf16,teacher='simclr[precision=tf32]']"},
                {"simclr[precision=tf32]": "tf32", 'ncp[precision=bf16,teacher="simclr[precision=tf32]"]': "bf16"},
            ),
            (
                {"methods": "ncp", "precision": "tf32"},
                dict.fromkeys(["simclr[precision=tf32]", "ncp[precision=tf32]"], "tf32"),
            ),
            ({"methods": "amoc[precision=fp32]", "precision": "bf16"}, {"amoc[precision=fp32]": "fp32"}),
        ],
    )
    def test_the_precision_of_a_pre_training_is_in_its_label_and_key(
        self, make_sweep: Any, options: dict[str, Any], labels: dict[str, str]
    ) -> None:
        plan = plan_of(make_sweep(**options, limit=ENOUGH))
        found = [stage for stage in plan.stages.values() if stage.kind is PRETRAIN]
        assert {stage.label.split()[0]: stage.recipe["precision"] for stage in found} == labels
        scoring = {stage.recipe["precision"] for stage in plan.stages.values() if stage.kind is not PRETRAIN}
        assert scoring == {plan.cells[0].facts["precision"]} == {"fp32"}

    def test_the_precision_of_a_protocol_keeps_its_rows_apart(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep(protocols="cheap,cheap[precision=[fp32,tf32]]"))
        facts = [(cell.protocol, cell.facts["precision"]) for cell in plan.cells]
        assert facts == [("cheap", "fp32"), ("cheap[precision=fp32]", "fp32"), ("cheap[precision=tf32]", "tf32")]
        assert len({cell.key for cell in plan.cells}) == 3
        assert len({cell.facts["protocol_hash"] for cell in plan.cells}) == 3
        assert len(keys(plan, PRETRAIN)) == 1
        assert plan.cells[0].stages == plan.cells[1].stages

    def test_a_precision_that_does_not_exist(self, make_sweep: Any) -> None:
        with pytest.raises(BenchError, match=r"amoc option 'precision' cannot be 'fp16'.*'fp32', 'tf32' or 'bf16'"):
            plan_of(make_sweep(methods="amoc[precision=fp16]"))

    def test_fewer_test_images_leave_the_pre_training_alone(self, make_sweep: Any) -> None:
        before, after = (plan_of(make_sweep(limit=f"train=40,test={count}")) for count in (20, 30))
        assert kinds_that_moved(before, after) == {HEAD, ATTACK, AUDIT}

    @pytest.mark.parametrize(
        ("change", "moved"),
        [
            ({"why": "Better words."}, set()),
            ({"attacks": CHEAP.attacks[:1]}, {ATTACK, AUDIT}),
            ({"attacks": (CHEAP.attacks[0], replace(CHEAP.attacks[1], steps=3))}, {ATTACK, AUDIT}),
            ({"recipe": replace(CHEAP.recipe, epochs=3)}, {HEAD, ATTACK, AUDIT}),
        ],
    )
    def test_a_protocol_moves_the_stages_that_follow_it(
        self, make_sweep: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], moved: set[StageKind]
    ) -> None:
        before = plan_of(make_sweep())
        sweep = make_sweep()
        monkeypatch.setitem(PROTOCOLS, "cheap", replace(CHEAP, **change))  # type: ignore[arg-type]
        assert kinds_that_moved(before, plan_of(sweep)) == moved

    def test_a_legacy_rate_of_another_data_set_is_not_in_the_key(
        self, make_sweep: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def with_rates(**rates: float) -> Plan:
            sweep = make_sweep()
            recipe = replace(CHEAP.recipe, rates=(), rate_by_dataset=rates)
            monkeypatch.setitem(PROTOCOLS, "cheap", replace(CHEAP, recipe=recipe))  # type: ignore[arg-type]
            return plan_of(sweep)

        first = with_rates(digits=0.1, cifar10=1)
        assert kinds_that_moved(first, with_rates(digits=0.1, cifar10=2)) == set()
        assert kinds_that_moved(first, with_rates(digits=0.2, cifar10=1)) == {HEAD, ATTACK, AUDIT}

    def test_facts_of_the_data_set_count_for_all_that_use_them(
        self, make_sweep: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = plan_of(make_sweep())
        other = replace(profiles.PROFILES["digits"], mean=(0.5, 0.5, 0.5))
        monkeypatch.setitem(profiles.PROFILES, "digits", other)  # type: ignore[arg-type]
        assert PRETRAIN in kinds_that_moved(before, plan_of(make_sweep()))

    def test_a_plugins_folder_and_comments_do_not_count_but_its_code_does(
        self, make_sweep: Any, tmp_path: Path
    ) -> None:
        def plan(folder: str, **parts: str) -> Plan:
            return plan_of(make_sweep(methods=write_method(tmp_path / folder, **parts)))

        first = plan("a")
        assert kinds_that_moved(first, plan("b", body="'''Nothing.'''; pass  # Nothing at all.")) == set()
        assert kinds_that_moved(first, plan("c", body="encoder.linear.bias.data += 1")) == {
            PRETRAIN,
            HEAD,
            ATTACK,
            AUDIT,
        }

    def test_a_helper_beside_a_plugin_counts_for_that_plugin_alone(self, make_sweep: Any, tmp_path: Path) -> None:
        helper = tmp_path / "helper_of_one.py"
        helper.write_text("STEP = 1\n")
        text = f"{write_method(tmp_path, 'one', imports='import helper_of_one')},{write_method(tmp_path, 'two')}"
        before = plan_of(make_sweep(methods=text))
        helper.write_text("STEP = 2\n")
        after = plan_of(make_sweep(methods=text))
        pairs = zip(before.cells, after.cells, strict=True)
        assert [old.pretrain == new.pretrain for old, new in pairs] == [False, True]

    @pytest.mark.parametrize(
        ("file", "old", "new", "moved"),
        [
            ("bench/errors.py", "unknown {kind}", "no such {kind}", set()),
            ("bench/store.py", "def open", "def opened", set()),
            ("methods/parts/banks.py", "class ", "class Other: ...\n\n\nclass ", set()),
            ("methods/parts/losses.py", "def nt_xent(", "def nt_xent(*, unused=0, ", {PRETRAIN, HEAD, ATTACK, AUDIT}),
            ("bench/attacks/evaluate.py", "ROUNDING = 1e-6", "ROUNDING = 1e-5", {ATTACK, AUDIT}),
            ("bench/protocols/heads.py", "def choose_rate(", "def choose_rate(*, x=0, ", {HEAD, ATTACK, AUDIT}),
        ],
    )
    def test_an_edit_of_the_project_moves_the_stages_that_run_it(
        self, copy: Path, file: str, old: str, new: str, moved: set[StageKind]
    ) -> None:
        before = sources(copy)
        path = copy / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
        after = sources(copy)
        own = {kind for kind in StageKind if before[kind] != after[kind]}
        reading = {PRETRAIN: {HEAD, ATTACK, AUDIT}, HEAD: {ATTACK, AUDIT}, ATTACK: {AUDIT}, AUDIT: set()}
        assert own.union(*(reading[kind] for kind in own)) == moved


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project's packages."""
    from bench.keys import PROJECT

    for package in ("bench", "methods"):
        shutil.copytree(PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def sources(project: Path) -> dict[StageKind, dict[str, str]]:
    """The source of the stages of `simclr` in a copy of the project."""
    from bench.closure import Sources, closure

    where = Sources((("bench", project), ("methods", project)))
    roots = {kind: [(f"bench.stages.{kind}", str(kind))] for kind in StageKind}
    roots[PRETRAIN].append(("methods.simclr", "SimCLR"))
    return {kind: closure(roots[kind], where) for kind in StageKind}


class TestFacts:
    def test_rows_know_what_was_asked_for(self, make_sweep: Any) -> None:
        (cell,) = plan_of(make_sweep()).cells
        asked = {"label": "mine", "dataset": "digits", "limit_train": 40, "limited": True, "schedule": "quick"}
        assert asked.items() <= cell.facts.items()

    @pytest.mark.parametrize("fact", ["external_data", "labelled_pretraining"])
    def test_rows_say_what_their_method_saw_and_what_it_builds_on(
        self, make_sweep: Any, tmp_path: Path, fact: str
    ) -> None:
        seeing = write_method(tmp_path, "seeing", more=f"    def {fact}(self):\n        return True")
        needs = f"    def requires(self):\n        return {{'teacher': Upstream({seeing!r})}}"
        methods = f"{write_method(tmp_path)},{seeing},{write_method(tmp_path, 'building', more=needs)}"
        plan = plan_of(make_sweep(methods=methods))
        assert {cell.label: cell.facts[fact] for cell in plan.cells} == {
            "mine": False,
            "seeing": True,
            "building": True,
        }

    def test_a_labelled_method_is_keyed_by_classes_too(self, make_sweep: Any, tmp_path: Path) -> None:
        labelled = write_method(tmp_path, "labelled", more="    labelled = True")
        with_classes, without = plan_of(make_sweep(methods=f"{labelled},{write_method(tmp_path)}")).cells
        assert with_classes.facts["pool_fingerprint"] == with_classes.facts["data_fingerprint"]
        assert without.facts["pool_fingerprint"] != without.facts["data_fingerprint"]
        assert with_classes.facts["labelled_pretraining"]
        assert not without.facts["labelled_pretraining"]

    def test_data_that_is_not_here_is_planned_without_it(self, make_sweep: Any) -> None:
        sweep = make_sweep(methods="simclr", datasets="cifar10,stl10", schedule="short", limit="train=500,test=100")
        plan = plan_of(sweep)
        assert len(plan.cells) == 2
        assert all(stage.weight == 0 for stage in plan.stages.values())
        assert not sweep.data_dir.exists()

    def test_planning_imports_torch_only_where_data_or_methods_need_it(self) -> None:
        code = "import sys, bench.planning, bench.explain, bench.store, bench.executors; print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class TestBadInput:
    def test_two_files_that_define_one_name(self, make_sweep: Any, tmp_path: Path) -> None:
        one, two = write_method(tmp_path / "a"), write_method(tmp_path / "b")
        with pytest.raises(BenchError, match="both called 'mine'") as caught:
            plan_of(make_sweep(methods=f"{one},{two}"))
        assert one in str(caught.value)
        assert two in str(caught.value)

    def test_a_file_with_the_name_of_an_installed_method(self, make_sweep: Any, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match=r"'simclr'.*methods/simclr\.py"):
            plan_of(make_sweep(methods=write_method(tmp_path, "simclr", file="other.py")))

    def test_two_files_that_bring_helpers_of_one_name(self, make_sweep: Any, tmp_path: Path) -> None:
        texts = []
        for name in ("one", "two"):
            texts.append(write_method(tmp_path / name, name, imports="import shared_helper"))
            (tmp_path / name / "shared_helper.py").write_text(f"NAME = '{name}'\n")
        with pytest.raises(BenchError, match=r"a module called 'shared_helper'.*rename one of them"):
            plan_of(make_sweep(methods=",".join(texts)))

    def test_own_heads_of_a_method_that_trains_none(self, make_sweep: Any) -> None:
        with pytest.raises(BenchError, match=r"'own-1' scores the head .* 'mine' trains\s+none: judge it by 'slf-1'"):
            plan_of(make_sweep(protocols="own-1"))

    def test_labels_of_other_classes_than_the_head_is_for(self, make_sweep: Any, tmp_path: Path) -> None:
        for number in range(24):
            path = tmp_path / "images" / f"class{number % 4}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        source = f"folder:{tmp_path / 'images'}[like=digits]"
        with pytest.raises(BenchError, match=r"a head for the 10 classes of 'digits', and 'folder:.*' has 4"):
            plan_of(make_sweep(methods="standard", datasets=source, limit=None))

    def test_a_method_that_needs_itself(self, make_sweep: Any, tmp_path: Path) -> None:
        needs = f"    def requires(self):\n        return {{'self': Upstream({str(tmp_path / 'mine.py')!r})}}"
        with pytest.raises(BenchError, match="'mine' needs itself"):
            plan_of(make_sweep(methods=write_method(tmp_path, more=needs)))

    @pytest.mark.parametrize(
        ("more", "error"),
        [
            ("    def requires(self):\n        return {'x': Upstream('simclr,amoc')}", "names 2 things where one is"),
            ("    def requires(self):\n        return {'x': Upstream('simclr[epochs=[1,2]]')}", "several methods"),
            ("    def requires(self):\n        return {'x': Upstream('simklr')}", "did you mean 'simclr'"),
            ("    def passes(self):\n        return 1 / 0", "'mine' .* cannot be planned: it raised ZeroDivisionError"),
        ],
    )
    def test_a_plugin_that_cannot_be_asked(self, make_sweep: Any, tmp_path: Path, more: str, error: str) -> None:
        with pytest.raises(BenchError, match=error):
            plan_of(make_sweep(methods=write_method(tmp_path, more=more)))

    def test_autoattack_on_three_classes(self, make_sweep: Any, tmp_path: Path) -> None:
        from PIL import Image

        for split in ("train", "test"):
            for number in range(30):
                path = tmp_path / "images" / split / f"class{number % 3}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        source = f"folder:{tmp_path / 'images'}[like=digits]"
        assert plan_of(make_sweep(datasets=source, limit=None)).cells
        with pytest.raises(BenchError, match="DLR loss needs at least 4 classes"):
            plan_of(make_sweep(datasets=source, limit=None, protocols="slf-1"))
