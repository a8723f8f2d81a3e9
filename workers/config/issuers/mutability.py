"""Warnings for identities that match only names, which another project can get, or the tokens of no project in particular."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from workers.config.issuers.identities import ClaimRule, IdentityRule
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


_PUBLIC: Final = ("https://token.actions.githubusercontent.com", "https://gitlab.com")
"""Providers at which everybody may have an account. GitHub's own URLs of an enterprise are longer: no stranger gets a token of one."""

_PROJECTS: Final = frozenset({*_PREFERRED, *_LASTING, "sub"})
"""Claims that say whose build it is. ``job_workflow_ref`` is not among them: a public workflow is called by any repository."""


def mutable_identities(file: Path, tenant: Tenant) -> Iterator[ConfigError]:
    """A warning for each identity of the tenant without a lasting id, where its provider has one, and for one of any project."""
    for key in tenant.keys.values():
        yield from mutable_rules(file, key.identities)


def mutable_rules(file: Path, rules: Iterable[IdentityRule]) -> Iterator[ConfigError]:
    """A warning for each of the rules without a lasting id, where its provider has one, and for one of any project."""
    for rule in rules:
        exact = {claim for claim, wanted in rule.claims.items() if not _is_any(wanted)}
        if rule.issuer_url in _PUBLIC and not exact & _PROJECTS:
            yield ConfigError(
                str(file),
                rule.place,
                "names no project: everybody with an account at this provider can have such a token, for any audience",
                "Add repository_id (GitHub) or project_id (GitLab) with the id of your project.",
            )
        names = sorted(_PREFERRED.keys() & rule.claims.keys())
        subject = rule.claims.get("sub")
        if subject is not None and str(subject.value).startswith(_SUBJECTS):
            names.append("sub")
        if names and not _LASTING & exact:
            better = sorted({_PREFERRED.get(name, "repository_id or project_id") for name in names})
            yield ConfigError(
                str(file),
                rule.place,
                f"matches names alone ({', '.join(names)}): who takes over a name that was given up gets grants",
                f"Add {' or '.join(better)}, which no other project ever gets.",
            )


def _is_any(rule: ClaimRule) -> bool:
    """Whether the rule leaves a whole field of the claim open from its begin, as ``*`` and ``repo:*`` do."""
    return rule.pattern and str(rule.value).split(":", 1)[-1].startswith("*")
