"""What every method promises of the encoder that it returns."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.conformance.observe import Trace, black_and_white
from bench.conformance.subject import Subject
from bench.conformance.verdicts import expect

WIDEST = 6.0
"""Black to white at the first layer: a deviation of 1/6, and every data set's is wider. Twice .3759 is 1/7."""
RTOL, ATOL = 1e-4, 1e-5
"""Between batches of other sizes, whose sums may take another order."""


def close(one: Tensor, other: Tensor) -> bool:
    """Equal but for the order of sums."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=RTOL, atol=ATOL)


@torch.no_grad()
def has_one_shape(subject: Subject) -> None:
    """[B, d], on every route."""
    encoder, x = subject.encoder, subject.pixels
    expect(encoder.active_route in encoder.routes, f"its route '{encoder.active_route}' is none of {encoder.routes}")
    shapes = {name: tuple(encoder.route(name).encode(x).shape) for name in encoder.routes}
    own = shapes[encoder.active_route]
    expect(len(own) == 2 and own[0] == len(x) and own[1] > 0, f"{len(x)} images give features {own}")
    expect(len(set(shapes.values())) == 1, f"its routes give features of other shapes: {shapes}")


@torch.no_grad()
def is_finite(subject: Subject) -> None:
    """Weights, statistics and features, in eval mode."""
    encoder = subject.encoder
    broken = [name for name, tensor in encoder.state_dict().items() if not bool(tensor.isfinite().all())]
    expect(not broken, f"{', '.join(broken[:3])} of the encoder are not finite")
    expect(bool(encoder.encode(subject.pixels).isfinite().all()), "features are not finite")
    expect(not any(module.training for module in encoder.modules()), "it is handed over in training mode")


@torch.no_grad()
def survives_the_store(subject: Subject) -> None:
    """Stored weights load strictly into a new encoder and give the same features."""
    stored, fresh = subject.encoder, subject.make().encoder(subject.profile).eval()
    fresh.load_state_dict(stored.state_dict(), strict=True)
    routes = (fresh.routes, fresh.active_route), (stored.routes, stored.active_route)
    expect(routes[0] == routes[1], f"`encoder` makes routes {routes[0]}, `pretrain` returns {routes[1]}")
    expect(close(fresh.encode(subject.pixels), stored.encode(subject.pixels)), "features differ after a reload")


@torch.no_grad()
def ignores_batch_mates(subject: Subject) -> None:
    """Features of an image are the same in any company."""
    encoder, x = subject.encoder, subject.pixels
    order = torch.arange(len(x)).flip(0)
    together = encoder.encode(x)
    expect(close(encoder.encode(x[order])[order], together), "features depend on the order of the batch")
    expect(close(encoder.encode(x[:1]), together[:1]), "features of an image alone are others than in a batch")


@torch.no_grad()
def stays_as_it_is(subject: Subject) -> None:
    """Encoding leaves no trace."""
    encoder = subject.encoder
    before = Trace.of(encoder)
    encoder.encode(subject.pixels)
    expect(Trace.of(encoder) == before, "encoding changed its weights, statistics or modes")


def passes_gradients(subject: Subject) -> None:
    """To the pixels of every image."""
    x = subject.pixels.requires_grad_()
    (slope,) = torch.autograd.grad(subject.encoder.encode(x).square().sum(), x, allow_unused=True)
    expect(slope is not None, "features do not depend on the pixels as far as autograd can tell")
    expect(bool(slope.isfinite().all()), "the gradient of features is not finite")
    flat = int((slope.flatten(1).abs().amax(dim=1) == 0).sum())
    expect(flat == 0, f"the gradient is zero for {flat} of {len(x)} images")


@torch.no_grad()
def tells_images_apart(subject: Subject) -> None:
    """Other images, other features."""
    distances = torch.pdist(subject.encoder.encode(subject.pixels))
    expect(bool(distances.min() > 0), "two images have the same features")


def normalises_once(subject: Subject) -> None:
    """Black and white are not further apart at the first layer than one normalisation puts them."""
    black, white = black_and_white(subject.encoder, subject.profile)
    widest = float((white - black).abs().max())
    expect(widest > 0, "black and white look the same to its first layer")
    expect(
        widest <= WIDEST,
        f"black and white are {widest:.3g} apart at its first layer: pixels are normalised twice, or scaled to 0..255",
    )
