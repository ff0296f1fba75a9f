"""Which methods a source file defines, read from its text: no import, so no torch and no side effects."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError


@dataclass(frozen=True)
class MethodClass:
    """A class statement that looks like a method.

    Attributes:
        cls: the class's own name.
        name: the string it assigns to `name`, or None.
    """

    cls: str
    name: str | None


def method_classes(file: Path) -> tuple[MethodClass, ...]:
    """The derived classes of `file` that set a string `name`, or whose base is called `...Method`.

    Raises:
        BenchError: if the file cannot be read as Python; the message says where.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), file.name)
    except (SyntaxError, ValueError, OSError) as error:
        raise BenchError(f"'{file}' cannot be read as Python: {error}. Correct it there.") from error
    derived = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]
    found = [(MethodClass(node.name, _assigned_name(node)), any(map(_is_method, node.bases))) for node in derived]
    return tuple(cls for cls, is_method in found if cls.name or is_method)


def _assigned_name(cls: ast.ClassDef) -> str | None:
    for node in cls.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=str(text))):
                return text
            case ast.AnnAssign(target=ast.Name(id="name"), value=ast.Constant(value=str(text))):
                return text
    return None


def _is_method(base: ast.expr) -> bool:
    base = base.value if isinstance(base, ast.Subscript) else base
    name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
    return name.endswith("Method")
