"""Protocols with other attacks, norms, radii and steps: what changes, what stays, and what is told apart."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from bench.attacks.catalogue import ATTACKS
from bench.attacks.threats import AttackKind, AttackSpec, Norm
from bench.errors import BenchError
from bench.protocols.recipes import protocol_of
from bench.sweep import Sweep


def names(text: str) -> list[str]:
    return [spec.name for spec in protocol_of(text).attacks]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slf-1[attacks=fgsm]", ["clean", "fgsm"]),
        ("slf-1[attacks=(pgd20,deepfool)]", ["clean", "pgd20", "deepfool"]),
        ("slf-1[attacks=(standard,square)]", ["clean", "pgd20", "autoattack", "square"]),
        ("slf-1[steps=50]", ["clean", "pgd50", "autoattack"]),
        ("slf-1[steps=20]", ["clean", "pgd20", "autoattack"]),
        ("slf@amoc[steps=40]", ["clean", "pgd40-short-step", "autoattack"]),
        ("slf-1[attacks=(fgsm,pgd50-10,pgd-l1),steps=100]", ["clean", "fgsm", "pgd100-10", "pgd100-l1"]),
    ],
)
def test_the_attacks_of_a_protocol(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_pgd_with_other_steps_fills_no_column() -> None:
    (_, pgd, autoattack) = protocol_of("slf-1[steps=50]").attacks
    assert (pgd.metric, pgd.steps, pgd.step_fraction) == (None, 50, 1 / 4)
    assert autoattack == ATTACKS["autoattack"]


def test_a_radius_is_of_all_attacks_in_the_protocols_norm_and_of_its_rows() -> None:
    protocol = protocol_of("slf-1[attacks=(pgd20,deepfool,pgd-l2),eps=4/255]")
    assert {spec.name: spec.eps for spec in protocol.attacks} == {
        "clean": None,
        "pgd20": 4 / 255,
        "deepfool": 4 / 255,
        "pgd-l2": None,
    }
    assert (protocol.norm, protocol.eps) == (Norm.LINF, 4 / 255)


def test_a_norm_is_of_the_attacks_that_are_defined_in_it() -> None:
    protocol = protocol_of("slf-1[attacks=(standard,square,deepfool,slide),norm=l2,eps=0.5]")
    norms = {spec.name: (spec.norm, spec.eps) for spec in protocol.attacks if spec.bounded}
    assert norms == {
        "pgd20": (Norm.L2, 0.5),
        "autoattack": (Norm.L2, 0.5),
        "square": (Norm.L2, 0.5),
        "deepfool": (Norm.LINF, None),
        "slide": (Norm.L1, None),
    }


def test_each_override_is_told_apart_by_name_and_hash() -> None:
    texts = ["slf-1", *(f"slf-1[{one}]" for one in ("eps=0.1", "eps=0.2", "norm=l1", "steps=50", "attacks=fgsm"))]
    assert len({protocol_of(text).hash for text in texts}) == len(texts)
    assert [protocol_of(text).name for text in texts] == texts


def test_who_lends_the_rate_keeps_its_own_attacks() -> None:
    assert protocol_of("alf-1[eps=0.1,steps=50,precision=tf32]").recipe.rate_from == "slf-1[precision=tf32]"
    assert protocol_of("alf-1[eps=0.1]").recipe == protocol_of("alf-1").recipe


def test_fields_that_came_later_are_no_part_of_what_an_attack_is_where_they_are_unset() -> None:
    original = {"name", "metric", "kind", "norm", "steps", "step_fraction", "restarts", "batch", "clip_start"}
    spec = AttackSpec("made", None, AttackKind.PGD)
    assert set(spec.identity) == original
    values = {"eps": 0.1, "step_size": 0.1, "random_start": False, "parts": ("fab-t",), "version": "custom"}
    later = {**values, "options": {"overshoot": 1}, "source": "cell", "corruptions": ("fog",)}
    assert {field.name for field in fields(AttackSpec)} == original | set(later)
    for name, value in later.items():
        assert set(replace(spec, **{name: value}).identity) == original | {name}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"attacks": "amoc-table2"}, "slf-1[attacks=amoc-table2]"),
        ({"attacks": ["pgd20", "deepfool"]}, "slf-1[attacks=(pgd20,deepfool)]"),
        ({"eps": "8/255"}, f"slf-1[eps=[{8 / 255}]]"),
        ({"eps": [0, 0.1]}, "slf-1[eps=[0,0.1]]"),
        ({"norm": "l2", "steps": 50}, "slf-1[norm=[l2],steps=[50]]"),
        ({"protocols": "slf-1,alf-1[eps=0.3]", "eps": 0.1}, "slf-1[eps=[0.1]],alf-1[eps=0.3]"),
    ],
)
def test_options_of_a_sweep_are_overrides_of_its_protocols(options: dict[str, object], expected: str) -> None:
    assert Sweep.of(methods="ncp", **options).protocol_names == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slf-1[attacks=(pgd20,deepfol)]", "unknown attack 'deepfol': did you mean 'deepfool'"),
        ("slf-1[norm=l3]", "unknown norm 'l3'.*Available: l1, l2, linf"),
        ("slf-1[eps=-0.1]", "eps -0.1 is no radius"),
        ("slf-1[eps=8]", "eps 8 is beyond 1.*8/255"),
        ("slf-1[eps=much]", "eps 'much' is no number"),
        ("slf-1[attacks=slide,eps=0.1]", "none of the attacks clean, slide is in one.*--norm"),
        ("slf-1[steps=0]", "steps '0' is no number of steps"),
        ("slf-1[steps=2.5]", "steps '2.5' is no number of steps"),
        ("slf-1[attacks=autoattack,steps=50]", "no(ne)?.* among the attacks clean, autoattack"),
    ],
)
def test_overrides_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        protocol_of(text)
