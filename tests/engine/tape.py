"""A stand-in for CUDA graphs on the CPU: a tape of operations, with a graph's memory and a graph's blindness.

What is captured is undone; what is repeated are the operations on the very tensors of the capture, in their memory,
with every Python number as it was then. A host that waits for the device is an error, as it is in a capture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::is_nonzero"}
"""Operations whose result the host needs."""


class Tape(TorchDispatchMode):  # type: ignore[misc]
    """Records operations, and what is needed to undo them."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.made: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.name in WAITS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        self._keep_written(func, args, kwargs)
        result = func(*args, **kwargs)
        outputs = [part for part in tree_leaves(result) if isinstance(part, Tensor)]
        given = {part.untyped_storage().data_ptr() for part in tensors_of(args, kwargs)}
        fresh = [part for part in outputs if part.untyped_storage().data_ptr() not in given]
        self.made |= {part.untyped_storage().data_ptr() for part in fresh}
        if not func.is_view:
            self.operations.append((func, args, kwargs, outputs))
        return result

    def _keep_written(self, func: Any, args: Any, kwargs: Any) -> None:
        names = [argument.name for argument in func._schema.arguments]
        values = dict(zip(names, args, strict=False)) | kwargs
        written = [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        # Batch norm's statistics are written without the schema saying so.
        written += [name for name in ("running_mean", "running_var") if name in values]
        for part in tensors_of([values[name] for name in written if name in values], {}):
            memory = part.untyped_storage().data_ptr()
            if memory not in self.made and memory not in self.before:
                self.before[memory] = (part, part.detach().clone())

    def undo(self) -> None:
        for part, content in self.before.values():
            part.detach().copy_(content)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, outputs in self.operations:
            again = [part for part in tree_leaves(func(*args, **kwargs)) if isinstance(part, Tensor)]
            for output, value in zip(outputs, again, strict=True):
                if output.data_ptr() != value.data_ptr():
                    output.copy_(value)


def tensors_of(args: Any, kwargs: Any) -> list[Tensor]:
    return [part for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)]


class Tapes:
    """`Graphs` whose captures are tapes.

    Attributes:
        captures: made so far.
        replays: done so far.
    """

    def __init__(self, fails: str | None = None) -> None:
        self.captures = self.replays = 0
        self.fails = fails

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield

    def generator(self) -> torch.Generator:
        return torch.Generator()

    def capture(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        tape = Tape()
        try:
            with tape:
                work()
                if self.fails:
                    raise RuntimeError(self.fails)
        finally:
            with torch.no_grad():
                tape.undo()
        self.captures += 1

        def replay() -> None:
            self.replays += 1
            tape.replay()

        return replay
