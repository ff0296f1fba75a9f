"""TensorBoard's event files of a pre-training: what its history holds, as curves over the epochs."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.contract import Record
from bench.errors import BenchError
from bench.history import scalars
from bench.plan import Stage
from bench.store import Folder, Store

WHOLE = frozenset({"loss", "learning_rate"})
"""Scalars that are no parts of the loss."""


def check_tensorboard() -> None:
    """See that event files can be written.

    Raises:
        BenchError: if the package is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise BenchError(
            "--tensorboard needs the package tensorboard, which is not installed: pip install acl-bench[tensorboard], "
            "or leave the option out."
        )


def log_folder(store: Store, stage: Stage) -> Path:
    """Where a stage's event files lie: named for people, and unique."""
    name = re.sub(r"[^\w.=,-]+", "-", stage.label).strip("-")
    return store.root / Folder.TENSORBOARD / f"{name}-{stage.key[:8]}"


@contextmanager
def event_log(folder: Path) -> Iterator[Record]:
    """Writes each record's numbers at its epoch as long as the block lasts; a full disk stops no training."""
    from torch.utils.tensorboard.writer import SummaryWriter

    try:
        writer = SummaryWriter(str(folder))
    except OSError:
        yield lambda _: None
        return

    def record(facts: Mapping[str, Any]) -> None:
        with suppress(OSError):
            for name, value in scalars(facts).items():
                writer.add_scalar(tag(name), value, facts["epoch"] + 1)
            writer.flush()

    try:
        yield record
    finally:
        with suppress(OSError):
            writer.close()


def tag(name: str) -> str:
    """The tag of a scalar: parts of the loss stand together, as do signs."""
    return name if name in WHOLE or "/" in name else f"parts/{name}"
