"""Options of the statement of a new key's origin: whether one is made, and who was there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

import click

from workers.cli.shell.options import combined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.config.loading import ServiceScope

_MOST_NAME_CHARACTERS: Final = 200

origin_options = combined(
    click.option(
        "--origin/--no-origin",
        "with_origin",
        default=None,
        help="Make a statement of the key's origin, signed by the service key. Default: yes, if there is a service key.",
    ),
    click.option(
        "--witness",
        "witnesses",
        multiple=True,
        metavar="NAME",
        help="Name of a person present, for the statement; may be repeated. Implies --origin.",
    ),
)


class OriginArguments(TypedDict):
    """Values of ``origin_options``, as click passes them to a command."""

    with_origin: bool | None
    witnesses: tuple[str, ...]


def wanted_witnesses(
    arguments: OriginArguments, scope: ServiceScope, *, tenant: str | None
) -> tuple[str, ...] | None:
    """Witnesses of the statement, which a tenant's key has as soon as there is a service key; None for no statement.

    Raises ``click.UsageError``.
    """
    witnesses, wanted = checked_witnesses(arguments["witnesses"]), arguments["with_origin"]
    if witnesses and wanted is False:
        raise click.UsageError("witnesses are named in the statement: omit --witness or --no-origin")
    if wanted is None:
        wanted = bool(witnesses) or (tenant is not None and scope.service_token is not None)
    if tenant is None and wanted:
        raise click.UsageError(
            "the service key signs statements, and has none itself: omit --origin and --witness"
        )
    if wanted is False:
        return None
    return witnesses


def checked_witnesses(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the witnesses, each once. Raises ``click.UsageError``."""
    seen: dict[str, str] = {}
    for name in names:
        plain = " ".join(name.split())
        if not plain or not name.isprintable() or len(plain) > _MOST_NAME_CHARACTERS:
            raise click.UsageError(
                f"--witness {name!r:.80} is no name of a person: 1 to 200 printable characters in one line; name each"
                " person by a --witness of its own"
            )
        if plain.casefold() in seen:
            raise click.UsageError(f"the witness {plain!r} is named twice: name each person once")
        seen[plain.casefold()] = plain
    return tuple(seen.values())
