"""An encoder under a projection head."""

from __future__ import annotations

from torch import Tensor, nn

from bench.models.encoder import ResNetEncoder
from bench.models.projectors import Head, Projector


class Projected(nn.Module):
    """Encoder and projector: what a contrastive loss sees. The projector is thrown away after training.

    Attributes:
        encoder: pixels to features.
        projector: features to projections.
    """

    def __init__(self, encoder: ResNetEncoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = Projector(head, encoder.feature_dim, encoder.routes)

    def forward(self, x: Tensor, route: str | None = None) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, d], of any length, on `route`; on the encoder's active one unless named."""
        route = route or self.encoder.active_route
        projection: Tensor = self.projector(self.encoder.features(x, route), route)
        return projection
