"""The views: each image as torchvision would make it, each draw by torchvision's law."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from torch import Generator, Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms import v2
from torchvision.transforms.functional import to_tensor
from torchvision.transforms.v2 import functional as reference

from bench.data.views import (
    BlurDraw,
    Boxes,
    ColourJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Interpolation,
    JitterDraw,
    Offsets,
    Operation,
    PaddedCrop,
    PadMode,
    RandomResizedCrop,
    Views,
    pixels_of,
)
from bench.errors import BenchError

Draws = npt.NDArray[np.float64]
Pair = tuple[float, float]
Make = Callable[..., Operation[Any]]

TOLERANCE = 2e-5  # 1/255 is promised
SIZES = (8, 32, 96)
ORDERS = list(itertools.permutations(range(4)))
CHANCE = 1e-3  # seeds are fixed: a law that holds passes for ever

OPERATIONS: dict[str, Operation[Any]] = {
    "bilinear crop": RandomResizedCrop(scale=(0.2, 1.0)),
    "bicubic crop": RandomResizedCrop(interpolation=Interpolation.BICUBIC),
    "padded crop": PaddedCrop(2),
    "reflected crop": PaddedCrop(2, PadMode.REFLECT),
    "flip": HorizontalFlip(),
    "jitter": ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
    "grayscale": Grayscale(),
    "blur": GaussianBlur(),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def noise(batch: int, height: int, width: int | None = None) -> Tensor:
    """Pixels that reach 0 and 1 often, where clamping and rounding err."""
    return (torch.rand(batch, 3, height, width or height, generator=seeded(1)) * 1.6 - 0.3).clamp(0, 1)


def fields(drawn: Any) -> list[Tensor]:
    return [drawn] if isinstance(drawn, Tensor) else list(vars(drawn).values())


def assert_images(actual: Tensor, expected: Callable[[int], Tensor]) -> None:
    made = torch.stack([expected(image) for image in range(len(actual))])
    torch.testing.assert_close(actual, made, rtol=0, atol=TOLERANCE)


# What is done with a draw -------------------------------------------------------------------------------------------


def boxes_of(size: int) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width): the whole, single pixels and thin strips at each border, halves, and drawn ones."""
    last, half = size - 1, size // 2
    edge = [(0, 0, size, size), (0, 0, 1, 1), (last, last, 1, 1), (0, last, size, 1), (last, 0, 1, size)]
    inner = [(half, 0, half, size), (1, 2, size - 2, 3), (0, 1, last, last), (half - 1, half - 1, 2, 2)]
    drawn = RandomResizedCrop().draw(torch.Size((12, 3, size, size)), seeded(size))
    return edge + inner + list(zip(*(field.tolist() for field in fields(drawn)), strict=True))


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize(("size", "out"), [*((size, None) for size in SIZES), (8, 96), (32, 5), (96, 32), (96, 8)])
def test_a_box_is_resized_as_torchvision_does(size: int, out: int | None, interpolation: Interpolation) -> None:
    boxes = boxes_of(size)
    pixels = noise(len(boxes), size)
    drawn = Boxes(*torch.tensor(boxes).T)
    views = RandomResizedCrop(size=out, interpolation=interpolation).apply(pixels, drawn)
    side = [out or size] * 2
    assert_images(
        views,
        lambda image: reference.resized_crop(
            pixels[image], *boxes[image], side, v2.InterpolationMode(interpolation.value), antialias=True
        ).clamp(0, 1),
    )


def test_bicubic_overshoot_is_cut_as_on_8_bit_images() -> None:
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1
    drawn = Boxes(*torch.tensor([[0, 2, 8, 4]]).T)
    unclamped = reference.resized_crop(edge[0], 0, 2, 8, 4, [8, 8], v2.InterpolationMode.BICUBIC, antialias=True)
    view = RandomResizedCrop(interpolation=Interpolation.BICUBIC).apply(edge, drawn)
    assert unclamped.max() > 1.01 and view.max() == 1 and view.min() == 0


@pytest.mark.parametrize("mode", PadMode)
@pytest.mark.parametrize(("height", "width", "padding"), [(8, 8, 1), (8, 12, 4), (32, 32, 4), (8, 8, 0)])
def test_every_shift_is_cut_from_the_padded_image(mode: PadMode, height: int, width: int, padding: int) -> None:
    corners = list(itertools.product(range(2 * padding + 1), repeat=2))
    pixels = noise(len(corners), height, width)
    views = PaddedCrop(padding, mode).apply(pixels, Offsets(*torch.tensor(corners).T))
    fill = {PadMode.ZERO: "constant", PadMode.REFLECT: "reflect"}[mode]
    padded = reference.pad(pixels, [padding] * 4, padding_mode=fill)
    for image, (top, left) in enumerate(corners):
        assert torch.equal(views[image], reference.crop(padded[image], top, left, height, width))


def test_only_the_drawn_images_are_flipped() -> None:
    pixels = noise(2, 8)
    views = HorizontalFlip().apply(pixels, torch.tensor([True, False]))
    assert torch.equal(views[0], reference.horizontal_flip(pixels[0]))
    assert torch.equal(views[1], pixels[1])


def jittered_by_torchvision(pixels: Tensor, drawn: JitterDraw, image: int) -> Tensor:
    adjust = (
        (reference.adjust_brightness, drawn.brightness),
        (reference.adjust_contrast, drawn.contrast),
        (reference.adjust_saturation, drawn.saturation),
        (reference.adjust_hue, drawn.hue),
    )
    view = pixels[image]
    for index in drawn.order[image].tolist():
        function, strength = adjust[index]
        view = function(view, float(strength[image]))
    return view


@pytest.mark.parametrize("size", SIZES)
def test_jitter_follows_each_of_the_24_orders(size: int) -> None:
    pixels = noise(len(ORDERS), size)
    drawn = ColourJitter(0.8, 0.8, 0.8, 0.5).draw(pixels.shape, seeded())
    drawn = replace(drawn, order=torch.tensor(ORDERS))
    views = ColourJitter(0.8, 0.8, 0.8, 0.5).apply(pixels, drawn)
    assert_images(views, lambda image: jittered_by_torchvision(pixels, drawn, image))


@pytest.mark.parametrize("colour", list(itertools.product((0.0, 0.4, 1.0), repeat=3)), ids=str)
def test_jitter_agrees_where_hue_is_ambiguous(colour: tuple[float, float, float]) -> None:
    """Black, white, greys, and colours of which two channels are equal, at factors up to their ends."""
    ends = torch.tensor(list(itertools.product((0.0, 1.0, 2.0), (0.0, 2.0), (0.0, 2.0), (-0.5, -0.1, 0.0, 0.25, 0.5))))
    pixels = torch.tensor(colour)[None, :, None, None].expand(len(ends), 3, 2, 2)
    order = torch.tensor([ORDERS[index % 24] for index in range(len(ends))])
    brightness, contrast, saturation, hue = ends.T
    drawn = JitterDraw(order, brightness, contrast, saturation, hue, torch.ones(len(ends), dtype=torch.bool))
    views = ColourJitter(1, 1, 1, 0.5).apply(pixels, drawn)
    assert_images(views, lambda image: jittered_by_torchvision(pixels, drawn, image))


def test_only_the_drawn_images_lose_their_colour() -> None:
    pixels = noise(2, 8)
    views = Grayscale().apply(pixels, torch.tensor([True, False]))
    torch.testing.assert_close(views[0], reference.rgb_to_grayscale(pixels[0], 3), rtol=0, atol=TOLERANCE)
    assert torch.equal(views[1], pixels[1])


@pytest.mark.parametrize(
    ("size", "sigma", "taps"),
    [(8, (0.1, 2.0), 13), (32, (0.1, 2.0), 13), (96, (0.1, 2.0), 13), (32, (0.5, 1.1), 9), (4, (0.1, 2.0), 7)],
)
def test_blur_equals_torchvision_with_the_same_kernel(size: int, sigma: tuple[float, float], taps: int) -> None:
    blur = GaussianBlur(sigma, p=1)
    sigmas = torch.linspace(*sigma, 7)
    pixels = noise(len(sigmas), size)
    views = blur.apply(pixels, BlurDraw(sigmas, torch.ones(len(sigmas), dtype=torch.bool)))
    assert_images(views, lambda image: reference.gaussian_blur(pixels[image], [taps, taps], [float(sigmas[image])]))


def test_a_rectangle_is_treated_along_both_axes() -> None:
    pixels = noise(4, 8, 20)
    crop, blur = RandomResizedCrop(), GaussianBlur(p=1)
    boxes, blurs = crop.draw(pixels.shape, seeded()), blur.draw(pixels.shape, seeded())
    assert_images(
        crop.apply(pixels, boxes),
        lambda i: reference.resized_crop(pixels[i], *(int(field[i]) for field in fields(boxes)), [8, 20]),
    )
    assert_images(
        blur.apply(pixels, blurs),
        lambda i: reference.gaussian_blur(pixels[i], [13, 13], [float(blurs.sigma[i])]),
    )


# The sampling laws --------------------------------------------------------------------------------------------------


def torchvision_draws(transform: v2.Transform, shape: tuple[int, ...], names: list[str]) -> Draws:
    """What torchvision draws, 10,000 times: [10,000, names]."""
    image = torch.zeros(shape)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        draws = [transform.make_params([image]) for _ in range(10_000)]
    return np.array([[float(draw[name]) for name in names] for draw in draws])


def assert_same_law(ours: Draws, theirs: Draws) -> None:
    """Every marginal, and every sum and difference of two, which show how the numbers hang together."""
    for one, other in itertools.product(range(ours.shape[1]), repeat=2):
        sign = 1 if one >= other else -1
        mine, reference_draws = (draws[:, one] + sign * draws[:, other] for draws in (ours, theirs))
        assert stats.ks_2samp(mine, reference_draws).pvalue > CHANCE, (one, other)


@pytest.mark.parametrize(
    ("scale", "ratio", "shape"),
    [
        ((0.08, 1.0), (3 / 4, 4 / 3), (3, 32, 32)),
        ((0.2, 1.0), (3 / 4, 4 / 3), (3, 8, 8)),
        ((0.9, 1.0), (1 / 2, 2.0), (3, 16, 16)),  # many tries fail
        ((0.9, 1.0), (3 / 4, 4 / 3), (3, 8, 24)),  # none fits: always the central box
    ],
)
def test_boxes_follow_torchvision(scale: Pair, ratio: Pair, shape: tuple[int, ...]) -> None:
    names = ["top", "left", "height", "width"]
    theirs = torchvision_draws(v2.RandomResizedCrop(8, scale, ratio), shape, names)
    boxes = RandomResizedCrop(scale, ratio).draw(torch.Size((20_000, *shape)), seeded())
    ours = torch.stack([getattr(boxes, name) for name in names], dim=1).numpy()
    assert_same_law(ours, theirs)
    assert (ours[:, 2:] >= 1).all() and (ours[:, :2] >= 0).all() and (ours[:, :2] + ours[:, 2:] <= shape[1:]).all()


def test_ten_failures_give_the_central_box() -> None:
    boxes = RandomResizedCrop(scale=(1.0, 1.0), ratio=(2.0, 3.0)).draw(torch.Size((5, 3, 16, 9)), seeded())
    assert [set(field.tolist()) for field in fields(boxes)] == [{6}, {0}, {4}, {9}]


def test_jitter_factors_follow_torchvision() -> None:
    names = ["brightness_factor", "contrast_factor", "saturation_factor", "hue_factor"]
    theirs = torchvision_draws(v2.ColorJitter(0.4, 1.5, 0.2, 0.1), (3, 8, 8), names)
    drawn = ColourJitter(0.4, 1.5, 0.2, 0.1).draw(torch.Size((20_000, 3, 8, 8)), seeded())
    ours = torch.stack([drawn.brightness, drawn.contrast, drawn.saturation, drawn.hue], dim=1).numpy()
    assert_same_law(ours, theirs)


def uniform_on(counted: list[Any], cells: int) -> bool:
    _, counts = np.unique(np.array(counted), axis=0, return_counts=True)
    return len(counts) == cells and bool(stats.chisquare(counts).pvalue > CHANCE)


def test_every_order_of_jitter_is_equally_likely() -> None:
    drawn = ColourJitter(0.4, 0.4, 0.4, 0.1).draw(torch.Size((24_000, 3, 8, 8)), seeded())
    assert uniform_on(drawn.order.tolist(), cells=24)


def test_every_shift_of_a_padded_crop_is_equally_likely() -> None:
    drawn = PaddedCrop(4).draw(torch.Size((40_000, 3, 32, 32)), seeded())
    assert uniform_on(torch.stack(fields(drawn), dim=1).tolist(), cells=81)


def test_sigma_of_a_blur_is_uniform() -> None:
    drawn = GaussianBlur((0.1, 2.0)).draw(torch.Size((20_000, 3, 8, 8)), seeded())
    assert stats.kstest(drawn.sigma.numpy(), stats.uniform(0.1, 1.9).cdf).pvalue > CHANCE


def applied_of(operation: Operation[Any], count: int) -> Tensor:
    drawn = operation.draw(torch.Size((count, 3, 8, 8)), seeded())
    return drawn if isinstance(drawn, Tensor) else drawn.applied


@pytest.mark.parametrize("p", [0.0, 0.2, 0.8, 1.0])
@pytest.mark.parametrize(
    "make",
    [HorizontalFlip, Grayscale, lambda p: GaussianBlur(p=p), lambda p: ColourJitter(0, 0, 0, 0, p)],
    ids=["flip", "grayscale", "blur", "jitter"],
)
def test_an_operation_is_applied_with_probability_p(make: Make, p: float) -> None:
    applied = applied_of(make(p), 20_000)
    assert stats.binomtest(int(applied.sum()), len(applied), p).pvalue > CHANCE


# An own draw per image ----------------------------------------------------------------------------------------------


@every_operation
def test_images_of_a_batch_draw_independently(operation: Operation[Any]) -> None:
    """Neighbours in a batch, and the same place in the next batch, are uncorrelated."""
    generator, shape = seeded(), torch.Size((10_000, 3, 8, 8))
    batches = zip(fields(operation.draw(shape, generator)), fields(operation.draw(shape, generator)), strict=True)
    for now, after in batches:
        here, there = (field.double().reshape(10_000, -1)[:, 0].numpy() for field in (now, after))
        assert stats.pearsonr(here[:-1], here[1:]).pvalue > CHANCE
        assert stats.pearsonr(here, there).pvalue > CHANCE


@every_operation
def test_equal_images_get_different_views(operation: Operation[Any]) -> None:
    views = operation(noise(1, 16).expand(64, 3, 16, 16), seeded())
    assert len({view.numpy().tobytes() for view in views}) > 1


# As one pipeline ----------------------------------------------------------------------------------------------------

SIMCLR = Views(
    RandomResizedCrop(interpolation=Interpolation.BICUBIC),
    ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
    Grayscale(),
    GaussianBlur(),
    HorizontalFlip(),
)


def test_views_are_the_operations_one_after_another() -> None:
    flip, crop = HorizontalFlip(), PaddedCrop(1)
    generator, pixels = seeded(), noise(16, 8)
    assert torch.equal(Views(flip, crop)(pixels, seeded()), crop(flip(pixels, generator), generator))


def test_a_seed_fixes_the_views_and_a_generator_moves_on() -> None:
    generator, pixels = seeded(), noise(16, 8)
    first, second = SIMCLR(pixels, generator), SIMCLR(pixels, generator)
    assert torch.equal(first, SIMCLR(pixels, seeded()))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("views", [SIMCLR, Views(PaddedCrop(2), HorizontalFlip())], ids=["simclr", "weak"])
def test_views_made_at_once_are_those_made_one_by_one(views: Views) -> None:
    pixels = noise(16, 8)
    together = views.each(pixels, seeded(2), seeded(3), seeded(4))
    assert len(together) == 3
    for view, seed in zip(together, (2, 3, 4), strict=True):
        assert torch.equal(view, views(pixels, seeded(seed)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_of_the_pixels_does_not_matter(layout: torch.memory_format) -> None:
    pixels = noise(16, 8)
    assert_images(SIMCLR(pixels.contiguous(memory_format=layout), seeded()), lambda i: SIMCLR(pixels, seeded())[i])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("views", [SIMCLR, Views(ColourJitter(0.4, 0.4, 0.4, 0.1), HorizontalFlip()), Views()])
def test_views_lie_channels_last_as_networks_take_them(views: Views, layout: torch.memory_format) -> None:
    for view in views.each(noise(16, 8).contiguous(memory_format=layout), seeded(2), seeded(3)):
        assert view.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "never", [HorizontalFlip(0), Grayscale(0), GaussianBlur(p=0), ColourJitter(0.4, 0.4, 0.4, 0.1, p=0)]
)
def test_what_never_happens_is_not_made(never: Operation[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = Views(never, PaddedCrop(2))
    monkeypatch.setattr(type(never), "apply", lambda *_: pytest.fail("it was made"))
    assert torch.equal(made(noise(16, 8), seeded()), PaddedCrop(2)(noise(16, 8), seeded()))


def test_what_a_schedule_may_bring_about_is_made() -> None:
    assert not HorizontalFlip(torch.tensor(0.0)).idle


@pytest.mark.parametrize("size", SIZES)
def test_an_image_that_is_not_blurred_keeps_every_bit(size: int) -> None:
    pixels, applied = noise(8, size), torch.arange(8) % 2 == 0
    views = GaussianBlur().apply(pixels, BlurDraw(torch.full((8,), 2.0), applied))
    assert torch.equal(views[~applied], pixels[~applied])
    assert not torch.equal(views[applied], pixels[applied])


@every_operation
def test_views_stay_pixels_and_leave_their_input_alone(operation: Operation[Any]) -> None:
    pixels = noise(64, 16)
    before = pixels.clone()
    views = operation(pixels, seeded())
    assert views.shape == pixels.shape and views.dtype == torch.float32
    assert views.min() >= 0 and views.max() <= 1
    assert torch.equal(pixels, before)


@pytest.mark.parametrize(
    "operation",
    [
        HorizontalFlip(0),
        Grayscale(0),
        GaussianBlur(p=0),
        ColourJitter(0.4, 0.4, 0.4, 0.1, p=0),
        PaddedCrop(0),
        RandomResizedCrop((1.0, 1.0), (1.0, 1.0)),
        RandomResizedCrop((1.0, 1.0), (1.0, 1.0), Interpolation.BICUBIC),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_an_operation_without_strength_changes_no_bit(operation: Operation[Any]) -> None:
    pixels = noise(16, 32)
    assert torch.equal(operation(pixels, seeded()), pixels)


STRENGTHS: dict[str, tuple[Make, tuple[float, ...]]] = {
    "crop": (lambda low, high: RandomResizedCrop((low, high)), (0.3, 0.9)),
    "jitter": (ColourJitter, (0.3, 1.4, 0.3, 0.1, 0.7)),
    "grayscale": (Grayscale, (0.3,)),
    "flip": (HorizontalFlip, (0.3,)),
    "blur": (lambda p: GaussianBlur(p=p), (0.3,)),
}


@pytest.mark.parametrize(("make", "strengths"), STRENGTHS.values(), ids=STRENGTHS)
def test_a_tensor_is_as_good_as_a_number(make: Make, strengths: tuple[float, ...]) -> None:
    pixels = noise(32, 8)
    tensors = [torch.tensor(strength) for strength in strengths]
    assert torch.equal(make(*tensors)(pixels, seeded()), make(*strengths)(pixels, seeded()))


@pytest.mark.parametrize(("make", "strengths"), STRENGTHS.values(), ids=STRENGTHS)
def test_a_schedule_overwrites_strengths_in_place(make: Make, strengths: tuple[float, ...]) -> None:
    pixels = noise(32, 8)
    tensors = [torch.tensor(strength) for strength in strengths]
    operation = make(*tensors)
    for tensor in tensors:
        tensor.mul_(0.5)
    weaker = make(*(strength / 2 for strength in strengths))
    assert torch.equal(operation(pixels, seeded()), weaker(pixels, seeded()))


@every_operation
def test_shapes_are_static_and_the_host_never_waits(operation: Operation[Any]) -> None:
    """On tensors without values, reading one (`.item()`, `if`) or selecting by a mask is an error."""
    with FakeTensorMode():
        views = Views(operation).each(torch.empty(4, 3, 16, 16), torch.Generator(), torch.Generator())
        assert [view.shape for view in views] == [(4, 3, 16, 16)] * 2


@every_operation
def test_mixed_precision_of_the_network_does_not_reach_the_views(operation: Operation[Any]) -> None:
    pixels = noise(8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        views = operation(pixels, seeded())
    assert torch.equal(views, operation(pixels, seeded()))


def test_bytes_become_pixels_in_the_unit_range() -> None:
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).expand(3, 16, 16)
    assert torch.equal(pixels_of(image[None])[0], to_tensor(image.permute(1, 2, 0).numpy()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomResizedCrop(scale=(0.0, 1.2)), "scale is 1.2, but it must be between 0 and 1"),
        (lambda: RandomResizedCrop(scale=(0.9, 0.2)), "scale runs from 0.9 down to 0.2"),
        (lambda: RandomResizedCrop(ratio=(0.0, 1.0)), "ratio is 0, but it must be at least 0.001"),
        (lambda: RandomResizedCrop(ratio=(2.0, 1.0)), "ratio runs from 2 down to 1"),
        (lambda: RandomResizedCrop(size=0), "size is 0, but it must be at least 1"),
        (lambda: PaddedCrop(-1), "padding is -1, but it must be at least 0"),
        (lambda: PaddedCrop(8, PadMode.REFLECT)(noise(1, 8), seeded()), "padding of 8 cannot be reflected"),
        (lambda: HorizontalFlip(1.5), "flip's probability is 1.5"),
        (lambda: ColourJitter(-0.1, 0, 0, 0), "strength of brightness is -0.1"),
        (lambda: ColourJitter(0, 0, 0, 0.6), "strength of hue is 0.6, but it must be between 0 and 0.5"),
        (lambda: Grayscale(-0.2), "probability of grayscale is -0.2"),
        (lambda: GaussianBlur((0.0, 2.0)), "sigma of a blur is 0, but it must be at least 0.001"),
        (lambda: GaussianBlur(p=2), "probability of a blur is 2"),
    ],
)
def test_bad_settings_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        make()
