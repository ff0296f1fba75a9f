"""What is attacked and scored: one callable from pixels to logits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bench.attacks.pgd import gradient
from bench.contract import Encoder


class Classifier(nn.Module):
    """An encoder on its active batch-norm route and a linear head: a frozen copy, in eval mode and channels-last.

    Attack and scoring call this very object, so they share route, normalisation and head. Where a forward pass does not
    fit into memory, it is split into chunks, and the attack's logical batch stays what the protocol says.

    Args:
        encoder: left as it is.
        weight: [C, d].
        bias: [C].
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, encoder: Encoder, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", bias.detach().clone())
        self.chunk: int | None = None
        self.to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> logits [B, C]."""
        return self.until_it_fits(lambda: self._logits(x), len(x))

    def settle(self, x: Tensor) -> None:
        """Halve `chunk` until the gradient for a batch like `x` fits into memory, so that no attack is interrupted."""
        self.until_it_fits(lambda: gradient(lambda image: self._logits(image).sum(), x), len(x))

    def until_it_fits(self, work: Callable[[], Tensor], batch: int) -> Tensor:
        """The result of `work` on this classifier, which is done again with half the chunk while memory runs out.

        Args:
            work: gives the same result however often it is called.
            batch: images that it passes through at once.

        Raises:
            torch.OutOfMemoryError: if one image is too much.
        """
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                if self.chunk == 1:
                    raise
                self.chunk = max(1, (self.chunk or batch) // 2)

    def _logits(self, x: Tensor) -> Tensor:
        if self.chunk is None or self.chunk >= len(x):
            return self._piece(x)
        # Checkpointed: a backward pass recomputes one chunk at a time instead of holding the activations of all.
        pieces = [checkpoint(self._piece, piece, use_reentrant=False) for piece in torch.split(x, self.chunk)]
        return torch.cat(pieces)

    def _piece(self, x: Tensor) -> Tensor:
        return functional.linear(self.encoder.encode(x), self.weight, self.bias)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers, to be compared later by `changes`."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changes(module: nn.Module, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of those parameters and buffers that are no longer, to the last bit, what they were in `before`."""
    return {name: value for name, value in state_of(module).items() if not torch.equal(value, before[name])}
