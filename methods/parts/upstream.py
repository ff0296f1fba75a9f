"""Building on another method's encoder: keeping it still, and starting from it."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from bench.contract import Encoder, UnlabelledImages
from bench.data.views import pixels_of
from bench.errors import StageError
from bench.models.encoder import ResNetEncoder, with_routes


class Frozen(nn.Module):
    """An encoder kept in eval mode, without gradients, whatever its parent does."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, d], detached."""
        return self.encoder.encode(x)


@torch.no_grad()
def initialised_from(
    teacher: Encoder, student: ResNetEncoder, images: UnlabelledImages, *, route_by_route: bool = False
) -> ResNetEncoder:
    """`student` with the teacher's weights, every batch-norm route a copy of the teacher's active one.

    Args:
        teacher: stays as it is.
        student: changed in place.
        images: some are encoded by both.
        route_by_route: whether each route is a copy of the teacher's of that name instead.

    Raises:
        StageError: if the two are not the same function then. Weights alone do not tell: a stem of padding 1 takes
            those of padding 2 without complaint.
    """
    if not isinstance(teacher, ResNetEncoder):
        raise StageError(f"cannot start from a {type(teacher).__name__}: only a ResNetEncoder lends its weights")
    lender = teacher if route_by_route else with_routes(teacher, student.routes)
    try:
        student.load_state_dict(lender.state_dict())
    except RuntimeError as error:
        raise StageError(f"the teacher's weights do not fit the student, check `architecture`: {error}") from error
    x = pixels_of(images.pixels[:8]).to(next(teacher.parameters()).device)
    same = teacher.eval().encode(x), student.to(x.device).eval().encode(x)
    if not torch.allclose(*same, rtol=1e-3, atol=1e-4):
        raise StageError(
            "the student computes other features than its teacher from the same weights, check `architecture`"
        )
    return student.train()
