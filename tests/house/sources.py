"""Source files of a tree, their syntax trees and docstring heads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

PACKAGES: Final = ("queueing", "workers", "bench")
"""The packages that are shipped, and the benchmarks."""

RELATIVE: Final = re.compile(
    r"(what(ever)?|how|where|which|who(ever)?|whom|whose|when|why|that|those)\b", re.IGNORECASE
)
"""Begin of a relative clause."""

ELSEWHERE: Final = re.compile(
    r"(the same|as|of|by|so many|told|its|it|they|their|this one|these|those|both|neither|none|nothing|always)\b",
    re.IGNORECASE,
)
"""Begin of a sentence about something that was named elsewhere, or not at all."""

_NAMED: Final = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def sources_of(root: Path, packages: Iterable[str] = PACKAGES) -> list[Path]:
    """Modules of the packages, in order."""
    return sorted(file for package in packages for file in (root / package).rglob("*.py"))


@cache
def tree_of(file: Path) -> ast.Module:
    """Its syntax tree, which several rules look at."""
    return ast.parse(file.read_text())


@cache
def nodes_of(file: Path) -> tuple[ast.AST, ...]:
    """All nodes of its syntax tree: a walk takes longer than the parser, and most rules need one."""
    return tuple(ast.walk(tree_of(file)))


def modules_in(folder: Path) -> list[Path]:
    """Its modules but for the package's own."""
    return [file for file in folder.glob("*.py") if file.name != "__init__.py"]


@cache
def docstring_heads(file: Path) -> tuple[str, ...]:
    """First line of each docstring."""
    texts = [ast.get_docstring(node) for node in nodes_of(file) if isinstance(node, (ast.Module, *_NAMED))]
    return tuple(text.splitlines()[0] for text in texts if text)


def constructors_of(file: Path) -> Iterator[tuple[ast.ClassDef, ast.FunctionDef]]:
    """Classes and the constructors that are written out in them."""
    for owner in nodes_of(file):
        if isinstance(owner, ast.ClassDef):
            for made in owner.body:
                if isinstance(made, ast.FunctionDef) and made.name == "__init__":
                    yield owner, made
