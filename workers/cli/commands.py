"""The table of commands, loaded when called: ``sigmill sign`` imports no PKCS#11, ``sigmill lane`` no Redis."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final, NamedTuple

import click


class Lazy(NamedTuple):
    """Where a command is (``module:attribute``), and the line that ``--help`` shows for it."""

    target: str
    summary: str


COMMANDS: Final[dict[str, Lazy]] = {
    "audit": Lazy("workers.cli.audit:audit", "The log of this host."),
    "bench": Lazy("workers.cli.processes.bench:bench", "Measure this machine, or plan a larger one."),
    "check-config": Lazy(
        "workers.cli.operate.check_config:check_config", "Find every mistake in the service's files."
    ),
    "clients": Lazy("workers.cli.clients:clients", "Client keys: create one on a build host."),
    "deadletter": Lazy(
        "workers.cli.operate.deadletter:deadletter", "Jobs that were set aside: look, retry, drop."
    ),
    "dev": Lazy("workers.cli.processes.dev:dev", "Run a whole private stack with throwaway keys."),
    "doctor": Lazy("workers.cli.operate.doctor:doctor", "What is wrong here, and the line that mends it."),
    "explain": Lazy(
        "workers.cli.operate.explain:explain", "What an error code means, and what to do about it."
    ),
    "exporter": Lazy("workers.cli.processes.exporter:exporter", "Tell Prometheus what stands in the queues."),
    "keys": Lazy("workers.cli.keys:keys", "Signing keys: make them in the token, compare, show."),
    "lane": Lazy(
        "workers.cli.processes.lane:lane", "Hold one token's sessions for a worker of another user."
    ),
    "operators": Lazy("workers.cli.operate.operators:operators", "Operator keys, which sign stop orders."),
    "sign": Lazy("workers.cli.signing.sign:sign", "Sign files or digests, and wait for the signatures."),
    "status": Lazy("workers.cli.status.status:status", "Where jobs are; how the cluster is."),
    "stop": Lazy(
        "workers.cli.operate.stop:stop", "Stop a tenant, a key or a client everywhere within a second."
    ),
    "submit": Lazy(
        "workers.cli.signing.submit:submit", "Put files or digests into the queue, and do not wait."
    ),
    "support-bundle": Lazy(
        "workers.cli.operate.support_bundle:support_bundle",
        "Facts of this host for whoever helps, without secrets.",
    ),
    "tenants": Lazy("workers.cli.tenants:tenants", "Tenants: show them, and adopt changes."),
    "tokens": Lazy("workers.cli.tokens:tokens", "Tokens: what is there, drain, resume."),
    "top": Lazy(
        "workers.cli.status.top:top", "The cluster at work: rates, waits, backlogs, sessions, circuits."
    ),
    "verify": Lazy(
        "workers.cli.signing.verify:verify", "Check signatures against files, digests and the key directory."
    ),
    "wait": Lazy("workers.cli.signing.wait:wait", "Wait for what was submitted."),
    "worker": Lazy("workers.cli.processes.worker:worker", "Run this host's worker until SIGTERM."),
    "workers": Lazy("workers.cli.status.workers:workers", "The workers of the cluster."),
}
AUDIT: Final[dict[str, Lazy]] = {
    "seal": Lazy("workers.cli.audit.seal:seal_log", "State that the log of a host that goes is at rest."),
}
CLIENTS: Final[dict[str, Lazy]] = {
    "create": Lazy("workers.cli.clients.create:create", "Make a client key and its client.toml."),
    "list": Lazy("workers.cli.clients.list_revoke:list_clients", "The clients of the tenants."),
    "revoke": Lazy("workers.cli.clients.list_revoke:revoke", "Take a client's right to ask for signatures."),
}
DEADLETTER: Final[dict[str, Lazy]] = {
    "drop": Lazy("workers.cli.operate.deadletter:drop", "Remove dead letters for good."),
    "list": Lazy("workers.cli.operate.deadletter:list_letters", "The jobs that were set aside."),
    "retry": Lazy("workers.cli.operate.deadletter:retry", "Put jobs back into their queues."),
    "show": Lazy("workers.cli.operate.deadletter:show", "One job, with the evidence."),
}
KEYS: Final[dict[str, Lazy]] = {
    "adopt": Lazy("workers.cli.keys.create_adopt:adopt", "Register a key that the vendor's tools made."),
    "create": Lazy("workers.cli.keys.create_adopt:create", "Make a key inside a token."),
    "list": Lazy(
        "workers.cli.keys.list_show:list_keys", "The keys of the tenants, and whether the tokens have them."
    ),
    "show": Lazy("workers.cli.keys.list_show:show", "One key: versions, public keys, attributes."),
}
OPERATORS: Final[dict[str, Lazy]] = {
    "create": Lazy("workers.cli.operate.operators:create", "Make an operator's key."),
}
TENANTS: Final[dict[str, Lazy]] = {
    "acl": Lazy("workers.cli.tenants.acl:acl", "The Redis user of a tenant, or of the workers."),
    "list": Lazy("workers.cli.tenants:list_tenants", "The tenants of the configuration."),
    "reload": Lazy("workers.cli.tenants:reload", "Have the workers of this host adopt the changed files."),
    "show": Lazy("workers.cli.tenants:show", "One tenant: keys and their rules, clients, stop orders."),
}
TOKENS: Final[dict[str, Lazy]] = {
    "drain": Lazy("workers.cli.tokens.drain:drain", "Have this host take no more work for a token."),
    "list": Lazy("workers.cli.tokens:list_tokens", "The tokens of the configuration, and what is there."),
    "resume": Lazy("workers.cli.tokens:resume", "End a drain; try a refused PIN again."),
}
WORKERS: Final[dict[str, Lazy]] = {
    "list": Lazy("workers.cli.status.workers:list_workers", "Who is alive, since when, with what."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def __init__(self, *, table: Mapping[str, Lazy], **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        return sorted({*self._table, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None where there is none of this name."""
        lazy = self._table.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = lazy.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by the table, so that help imports none of them."""
        rows = [(name, self._table[name].summary) for name in self.list_commands(ctx) if name in self._table]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
