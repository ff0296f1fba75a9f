"""Colours and marks: one look for a method everywhere, told apart on paper and by all eyes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from leaderboard.figures.palette import CLASSES, GREY, STYLES, Dash, Hue, Mark, class_colour, dash, style

VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB."""
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip  # noqa: E501
TOGETHER = (
    ("simclr", "ncp", "acl", "dynacl", "deacl", "advcl"),
    ("moco", "acl", "amoc"),
    ("standard", "pgd-at", "alp", "trades", "amoc"),
    ("ncp", "amoc", "simclr"),
)
"""Methods that tables and figures of the papers compare."""


def linear(colour: str) -> np.ndarray:
    encoded = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colour", [*Hue, GREY])
def test_every_colour_stands_out_from_white_paper(colour: str) -> None:
    luminance = float(TO_XYZ[1] @ linear(colour))

    assert 1.05 / (luminance + 0.05) >= 3


@pytest.mark.parametrize("eyes", VISION)
def test_any_two_hues_are_far_apart_for_all_eyes(eyes: str) -> None:
    seen = {hue: lab(VISION[eyes] @ linear(hue)) for hue in Hue}

    closest = min(float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(Hue, 2))

    assert closest >= 25


@pytest.mark.parametrize("methods", TOGETHER)
def test_what_papers_compare_differs_in_hue(methods: tuple[str, ...]) -> None:
    assert len({style(method).hue for method in methods}) == len(methods)


def test_no_two_known_methods_look_alike() -> None:
    assert len(set(STYLES.values())) == len(STYLES)


def test_all_methods_of_the_package_are_known() -> None:
    from bench.registry import Registry

    shipped = {entry.name for entry in Registry.discover().entries if (entry.module or "").startswith("methods.")}

    assert shipped
    assert shipped <= set(STYLES)


@pytest.mark.parametrize("variant", ["ncp[neighbour=3]", "ncp[neighbour=4]", "amoc[variant=release]", "mine[a=1]"])
def test_a_variant_has_the_hue_of_its_method_and_a_mark_of_its_own(variant: str) -> None:
    own, base = style(variant), style(variant.partition("[")[0])

    assert own.hue is base.hue
    assert own.mark is not base.mark


def test_the_order_of_options_changes_nothing() -> None:
    assert style("ncp[a=1,b=2]") == style("ncp[b=2,a=1]")


def test_a_method_of_a_user_keeps_its_look() -> None:
    assert (style("mine").hue, style("mine").mark) == (Hue.AZURE, Mark.RIGHT)


def test_a_label_that_is_no_label_has_a_look_too() -> None:
    assert style("half[open") == style("half[open")


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("", Dash.SOLID),
        ("slf-1", Dash.SOLID),
        ("own-1[attacks=pgd20]", Dash.SOLID),
        ("slf@amoc", Dash.LONG),
        ("alf-1", Dash.DASHED),
        ("alf@amoc", Dash.DASH_DOT),
        ("aff@amoc", Dash.DASH_DOT_DOT),
        ("joint@rocl", Dash.DOTTED),
    ],
)
def test_dashes_tell_protocols_apart(protocol: str, expected: Dash) -> None:
    assert dash(protocol) is expected


def test_ten_classes_have_ten_colours() -> None:
    names = [str(number) for number in range(12)]
    colours = [class_colour(name, names) for name in names]

    assert len(set(colours)) == len(CLASSES) == 10
    assert colours[0] == colours[10]
