"""What clustering and memory banks cost beside an epoch of ResNet-18 at 50,000 x 512: shares to stay below 2 %.

    python tests/studies/clustering.py [--images 50000] [--device cuda]

The epoch is NCP-ACL's, or AMOC's for the banks, with PGD-5, from measured bare passes. K-means and banks recur in every
epoch; the silhouette chooses K once, and its share is that of an epoch all the same. The features are noisy groups,
which k-means finds in a few steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bench.contract import Passes
from bench.data.profiles import profile_of
from bench.models.encoder import resnet_encoder
from bench.models.resnet import Architecture
from bench.perf.arithmetic import Bare
from methods.parts.banks import MemoryBank
from methods.parts.clustering import choose_clusters, silhouette_score, spherical_kmeans
from methods.parts.losses import info_nce

DIM, BATCH = 512, 64
CLUSTERS = (70, 215)
GRID = range(10, 301, 5)
BANK, KEY = 32768, 128
CLUSTERED, BANKED = Passes(8, 5, 2), Passes(11, 5, 2)
"""Of a step of NCP-ACL and of AMOC."""


def features(images: int, device: str, groups: int = 100) -> Tensor:
    """Noisy groups of directions, [images, DIM]."""
    generator = torch.Generator().manual_seed(0)
    centres = normalize(torch.randn(groups, DIM, generator=generator), dim=1)
    own = torch.randint(groups, (images,), generator=generator)
    return (centres[own] + 0.06 * torch.randn(images, DIM, generator=generator)).to(device)


def seconds(action: Callable[[], object], device: str) -> float:
    """Of an action, after a GPU has caught up; on the CPU those of this process, so that others do not count."""
    if device == "cpu":
        began = time.process_time()
        action()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def best_of(action: Callable[[], object], device: str, times: int = 3) -> float:
    """The shortest of some repetitions: whatever disturbs one only makes it longer."""
    return min(seconds(action, device) for _ in range(times))


def bare_seconds(device: str) -> Bare:
    """The bare passes of one batch: fp32, eager."""
    net = resnet_encoder(Architecture.RESNET18_PADDING2, profile_of("cifar10")).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = torch.rand(BATCH, 3, 32, 32, device=device, requires_grad=True)
    weights = list(net.parameters())

    def forward() -> None:
        with torch.no_grad():
            net(pixels)

    return Bare(
        best_of(forward, device),
        best_of(lambda: torch.autograd.grad(net(pixels).sum(), pixels), device),
        best_of(lambda: torch.autograd.grad(net(pixels).sum(), weights), device),
    )


def banks_seconds(images: int, device: str) -> float:
    """What AMOC's banks take in an epoch: per step seven losses, five of them the attack's, and two batches put in."""
    bank = MemoryBank(BANK, KEY).to(device)
    query = normalize(torch.randn(BATCH, KEY, device=device), dim=1).requires_grad_()

    def work() -> None:
        for _ in range(5 + 2):
            torch.autograd.grad(info_nce(query, query.detach(), bank.keys, 0.2), query)
        for _ in range(2):
            bank.enqueue(query)

    return images / BATCH * best_of(work, device)


def main() -> None:
    """Print a line per part: seconds, and their share of an epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--grid", action=argparse.BooleanOptionalAction, default=True, help="the whole grid of K")
    options = parser.parse_args()
    device, images = options.device, options.images
    torch.set_num_threads(1)
    bare = bare_seconds(device)

    def report(what: str, taken: float, passes: Passes = CLUSTERED) -> None:
        epoch = images / BATCH * bare.priced(passes)
        print(f"{what}: {taken:.2f} s, {100 * taken / epoch:.2f} % of an epoch of {epoch:.0f} s", flush=True)

    def seeded(_: int = 0) -> torch.Generator:
        return torch.Generator(device).manual_seed(0)

    points = features(images, device)
    for clusters in CLUSTERS:
        found = spherical_kmeans(points, clusters, seeded())
        report(f"k-means, K {clusters}", seconds(lambda k=clusters: spherical_kmeans(points, k, seeded()), device))
        score = seconds(lambda k=clusters, own=found.assignment: silhouette_score(points, own, k), device)
        report(f"silhouette, K {clusters}", score)
    report("banks", banks_seconds(images, device), BANKED)
    if options.grid:
        grid = seconds(lambda: choose_clusters(points, GRID, seeded), device)
        report(f"choosing K among {len(GRID)}, once", grid)


if __name__ == "__main__":
    main()
