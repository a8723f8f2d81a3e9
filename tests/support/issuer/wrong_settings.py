"""Wrong values for every setting of a TOML file, by the structs that read its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WRONG: Final = {
    "a date": "1979-05-27",
    "negative": "-1",
    "huge": "1e300",
    "a huge whole number": "9" * 30,
    "a table": "{ x = 1 }",
}
"""Values that no text, number, boolean or list of ours takes."""


def wrong_tables(
    good: Mapping[str, Mapping[str, str]], structs: Mapping[str, type[msgspec.Struct]]
) -> Iterator[tuple[str, str]]:
    """Texts of files with one wrong setting each, with the setting's key path.

    ``good``: texts of the values of a valid file by table and key, '' for keys outside of tables; ``structs``: those that read
    the tables. A key that is required is also left out.
    """
    for table, struct in structs.items():
        for field in msgspec.structs.fields(struct):
            name, given = field.encode_name, good.get(table, {})
            path = f"{table}.{name}" if table else name
            if any(other == path or other.startswith(f"{path}.") for other in (*good, *structs)):
                continue
            for value in WRONG.values():
                yield path, text_of({**good, table: {**given, name: value}})
            if field.required:
                yield path, text_of({**good, table: {k: v for k, v in given.items() if k != name}})


def text_of(tables: Mapping[str, Mapping[str, str]]) -> str:
    """The file's text."""
    parts: list[str] = []
    for table, values in sorted(tables.items()):
        parts += [f"[{table}]"] if table else []
        parts += [f"{key} = {value}" for key, value in values.items()]
    return "\n".join(parts) + "\n"
