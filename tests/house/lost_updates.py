"""Updates that read a place before they wait and write it after: what another task wrote in between is lost."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Iterable


def lost_updates(nodes: Iterable[ast.AST]) -> list[int]:
    """Lines of ``a.b += await …``, ``a[b] += await …``, and of ``a.b = f(a.b, await …)``, in order."""
    return sorted(node.lineno for node in nodes if isinstance(node, ast.stmt) and _is_lost(node))


def _is_lost(node: ast.stmt) -> bool:
    if isinstance(node, ast.AugAssign):
        return _is_shared(node.target) and _waits(node.value)
    if isinstance(node, ast.Assign) and _waits(node.value):
        read = {ast.unparse(each) for each in ast.walk(node.value) if _is_shared(each)}
        return any(_is_shared(target) and ast.unparse(target) in read for target in node.targets)
    return False


def _is_shared(node: ast.AST) -> TypeGuard[ast.Attribute | ast.Subscript]:
    """Whether other tasks can write the place: a local variable is one task's."""
    return isinstance(node, (ast.Attribute, ast.Subscript))


def _waits(value: ast.expr) -> bool:
    return any(
        isinstance(each, ast.Await) or (isinstance(each, ast.comprehension) and each.is_async)
        for each in ast.walk(value)
    )
