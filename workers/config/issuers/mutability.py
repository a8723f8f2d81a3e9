"""Warning for identities that match only names, which another project can get once they are given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from workers.config.issuers.identities import IdentityRule
    from workers.config.tenants import Tenant

_PREFERRED: Final = {
    "repository": "repository_id",
    "repository_owner": "repository_owner_id",
    "project_path": "project_id",
    "namespace_path": "namespace_id",
    "user_login": "user_id",
    "actor": "actor_id",
}
"""Claims of GitHub and GitLab with names that can be given to others, and the ids that cannot."""

_LASTING: Final = frozenset({*_PREFERRED.values(), "enterprise_id", "root_group_id", "group_id"})

_SUBJECTS: Final = ("repo:", "project_path:")
"""Begins of the ``sub`` of GitHub's and GitLab's tokens, in which there are such names."""


def mutable_identities(file: Path, tenant: Tenant) -> Iterator[ConfigError]:
    """A warning for each identity of the tenant without a lasting id, where its provider has one."""
    for key in tenant.keys.values():
        yield from mutable_rules(file, key.identities)


def mutable_rules(file: Path, rules: Iterable[IdentityRule]) -> Iterator[ConfigError]:
    """The same, of these rules."""
    for rule in rules:
        names = sorted(_PREFERRED.keys() & rule.claims.keys())
        subject = rule.claims.get("sub")
        if subject is not None and str(subject.value).startswith(_SUBJECTS):
            names.append("sub")
        if names and not _LASTING & rule.claims.keys():
            better = sorted({_PREFERRED.get(name, "repository_id or project_id") for name in names})
            yield ConfigError(
                str(file),
                rule.place,
                f"matches names alone ({', '.join(names)}): who takes over a name that was given up gets grants",
                f"Add {' or '.join(better)}, which no other project ever gets.",
            )
