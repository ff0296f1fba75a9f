"""Finished cells as files: encoder and head from the store, with all that is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from bench import __version__
from bench.cells import check_ended_well, check_kept, method_of_row, name_of
from bench.errors import BenchError
from bench.executors.work import load_encoder, load_head
from bench.models.encoder import ResNetEncoder
from bench.models.portable import HEAD, architecture_of, pack
from bench.protocols.heads import FittedHead, judged_encoder
from bench.store import Store

SCORED = "scored."
"""Prefix of the encoder's buffers that moved while the head was fitted; the scored classifier has these."""
ORIGIN = (
    "method", "label", "config", "dataset", "dataset_like", "pretrain_data", "schedule", "epochs", "limit_train",
    "limit_test", "protocol", "protocol_hash", "eps", "norm", "seed_pretrain", "seed_head", "seed_attack", "sa",
    "ra_pgd20", "aa", "test_images", "external_data", "labelled_pretraining", "cell", "pretrain_key", "head_key",
    "plugin", "plugin_hash", "data_fingerprint", "pool_fingerprint", "commit", "created",
)  # fmt: skip
"""Columns of the row that an exported file repeats."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A finished cell's encoder and head.

    Attributes:
        row: all that was measured.
        encoder: in eval mode, on the CPU; where the protocol fine-tuned it, the fine-tuned one.
        head: the linear layer that was scored.
    """

    row: Row
    encoder: ResNetEncoder
    head: FittedHead


def load_cell(store: Store, row: Row) -> Trained:
    """Encoder and head of a row's cell.

    Raises:
        BenchError: if the cell failed, its stages were removed, its method is gone, or its network cannot be exported.
    """
    check_ended_well(row, "export")
    check_kept(store, row, (row["pretrain_key"], row["head_key"]))
    encoder = load_encoder(store, row["pretrain_key"], method_of_row(row), "cpu")
    if not isinstance(encoder, ResNetEncoder):
        raise BenchError(
            f"cell '{name_of(row)}' has an encoder of its own kind ({type(encoder).__name__}), and only residual "
            f"networks of this package can be exported: take its weights from {store.stage(row['pretrain_key'])}."
        )
    architecture_of(encoder)
    return _as_judged(Trained(row, encoder, load_head(store, row["head_key"])))


def _as_judged(trained: Trained) -> Trained:
    """With the encoder that the protocol fine-tuned, if it did; statistics that drifted alone leave it as it is."""
    encoder, moved = trained.encoder, trained.head.encoder_state or {}
    if not any(name in moved for name, _ in encoder.named_parameters()):
        return trained
    tuned = judged_encoder(encoder, trained.head)
    assert isinstance(tuned, ResNetEncoder)
    return replace(trained, encoder=tuned, head=replace(trained.head, encoder_state=None))


def as_encoder_file(trained: Trained) -> bytes:
    """The encoder alone, with no word of where it comes from: equal weights are equal files."""
    return pack(trained.encoder, {}, {})


def as_safetensors(trained: Trained) -> bytes:
    """A file that `bench evaluate` reads, and any reader of safetensors: `encoder.*`, `head.*`, and metadata."""
    moved = (trained.head.encoder_state or {}).items()
    others: dict[str, Tensor] = {f"{HEAD}weight": trained.head.weight, f"{HEAD}bias": trained.head.bias}
    others |= {f"{SCORED}{name}": value for name, value in moved}
    origin = {name: trained.row[name] for name in ORIGIN}
    return pack(trained.encoder, others, {**origin, "harness_version": __version__})
