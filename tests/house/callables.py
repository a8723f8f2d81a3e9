"""Parameters of constructors that are callables, under whatever name their type goes.

A type is one of a callable if it names ``Callable``, an alias of such a type, or a Protocol with ``__call__``; the constructor
is written out, or made by a dataclass, a msgspec struct or a NamedTuple from the fields of its class.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.house.sources import constructors_of, nodes_of, tree_of

_Names = Mapping[str, tuple[str, str]]
"""Name in a module -> the module and the name there where it is defined."""

_FIELD_CLASSES: Final = ("Struct", "NamedTuple")
_NO_PARAMETER: Final = ("ClassVar", "init=False")


def callable_parameters(root: Path, files: list[Path]) -> list[str]:
    """``file Class(parameter)`` of each; ``files`` are all modules in which types may be defined, below ``root``."""
    modules = {_module_name(root, file): file for file in files}
    names = {module: _names_in(module, file) for module, file in modules.items()}
    types = _callable_types(modules, names)
    return [
        f"{file.relative_to(root)} {owner}({parameter})"
        for module, file in modules.items()
        for owner, parameter, annotation in _parameters(file)
        if _is_callable(annotation, names[module], types)
    ]


def _module_name(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _names_in(module: str, file: Path) -> _Names:
    names: dict[str, tuple[str, str]] = {}
    for node in nodes_of(file):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {each.asname or each.name: (node.module, each.name) for each in node.names}
        elif isinstance(node, ast.ClassDef):
            names[node.name] = (module, node.name)
    names |= {name: (module, name) for name, _ in _assigned(tree_of(file))}
    return names


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names that a module gives to expressions: among them its aliases of types."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


def _callable_types(modules: Mapping[str, Path], names: Mapping[str, _Names]) -> set[tuple[str, str]]:
    """Protocols with ``__call__`` and aliases, those of aliases included."""
    found = {
        (module, node.name)
        for module, file in modules.items()
        for node in nodes_of(file)
        if isinstance(node, ast.ClassDef) and _is_callable_protocol(node)
    }
    while True:
        more = {
            (module, name)
            for module, file in modules.items()
            for name, value in _assigned(tree_of(file))
            if _names_a_type(value) and _is_callable(value, names[module], found)
        } - found
        if not more:
            return found
        found |= more


def _is_callable_protocol(node: ast.ClassDef) -> bool:
    return any("Protocol" in ast.unparse(base) for base in node.bases) and any(
        isinstance(each, ast.FunctionDef) and each.name == "__call__" for each in node.body
    )


def _names_a_type(value: ast.expr) -> bool:
    return isinstance(value, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp | ast.Constant)


def _is_callable(annotation: ast.expr, names: _Names, types: set[tuple[str, str]]) -> bool:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if "Callable" in node.value:
                return True
        elif (isinstance(node, ast.Attribute) and node.attr == "Callable") or (
            isinstance(node, ast.Name) and (node.id == "Callable" or names.get(node.id) in types)
        ):
            return True
    return False


def _parameters(file: Path) -> Iterator[tuple[str, str, ast.expr]]:
    for owner, made in constructors_of(file):
        for parameter in (*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs):
            if parameter.annotation is not None:
                yield owner.name, parameter.arg, parameter.annotation
    for made_class in nodes_of(file):
        if isinstance(made_class, ast.ClassDef) and _is_made_of_fields(made_class):
            for field in made_class.body:
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and not any(mark in ast.unparse(field) for mark in _NO_PARAMETER)
                ):
                    yield made_class.name, field.target.id, field.annotation


def _is_made_of_fields(owner: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(each) for each in owner.decorator_list) or any(
        ast.unparse(base).rpartition(".")[2] in _FIELD_CLASSES for base in owner.bases
    )
