"""Tables of commands, which are imported when called: ``sigmill sign`` imports no PKCS#11, ``sigmill lane`` no Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Final, NamedTuple

import click

from workers.cli.shell.output import Output


class LazyCommand(NamedTuple):
    """Location of a command (``module:attribute``) and its line in ``--help``."""

    target: str
    summary: str


COMMANDS: Final[dict[str, LazyCommand]] = {
    "agent": LazyCommand(
        "workers.cli.tools.agent:agent", "Show the keys to other programs as a PKCS#11 token."
    ),
    "audit": LazyCommand("workers.cli.audit:audit", "The write-ahead log of this host."),
    "bench": LazyCommand("workers.cli.processes.bench:bench", "Measure this machine, or plan a larger one."),
    "cancel": LazyCommand("workers.cli.signing.cancel:cancel", "Remove queued jobs that are not begun."),
    "check-config": LazyCommand(
        "workers.cli.operate.check_config:check_config", "Report every mistake in the configuration files."
    ),
    "clients": LazyCommand("workers.cli.clients:clients", "Client keys: create, list, revoke."),
    "deadletter": LazyCommand(
        "workers.cli.operate.deadletter:deadletter", "Dead letters: list, show, retry, drop."
    ),
    "dev": LazyCommand("workers.cli.processes.dev:dev", "Run a private stack with throwaway keys."),
    "directory": LazyCommand(
        "workers.cli.signing.directory:directory", "Show the tenant's keys and certificates to a build host."
    ),
    "doctor": LazyCommand(
        "workers.cli.operate.doctor:doctor", "Diagnose this host and print the fix for each problem."
    ),
    "explain": LazyCommand("workers.cli.operate.explain:explain", "Explain an error code and its remedy."),
    "exporter": LazyCommand("workers.cli.processes.exporter:exporter", "Export queue metrics to Prometheus."),
    "issuer": LazyCommand("workers.cli.issuer:issuer", "Grants for builds that show a token of their CI."),
    "keys": LazyCommand("workers.cli.keys:keys", "Signing keys: create in a token, adopt, list, show."),
    "lane": LazyCommand("workers.cli.processes.lane:lane", "Run a lane for a worker of another user."),
    "login": LazyCommand(
        "workers.cli.clients.login:login", "Show what the issuer makes of this build's identity."
    ),
    "operators": LazyCommand(
        "workers.cli.operate.operators:operators", "Operator keys, which sign stop orders."
    ),
    "pgp": LazyCommand("workers.cli.tools.pgp:pgp", "OpenPGP certificates of keys."),
    "relay": LazyCommand("workers.cli.processes.relay:relay", "Serve clients that have no Redis, by HTTPS."),
    "run": LazyCommand("workers.cli.tools.run:run", "Run a command that signs with the tenant's keys."),
    "sealer": LazyCommand(
        "workers.cli.processes.sealer:sealer", "Run the sealer, which makes the record of this host."
    ),
    "sign": LazyCommand(
        "workers.cli.signing.sign:sign", "Sign files or digests, and wait for the signatures."
    ),
    "sign-file": LazyCommand(
        "workers.cli.artifacts.sign_file:sign_file", "Sign files in their own formats, with Authenticode."
    ),
    "status": LazyCommand("workers.cli.status.status:status", "Show the state of jobs, or of the cluster."),
    "stop": LazyCommand(
        "workers.cli.operate.stop:stop", "Stop a tenant, key or client on every host within a second."
    ),
    "submit": LazyCommand("workers.cli.signing.submit:submit", "Enqueue files or digests without waiting."),
    "support-bundle": LazyCommand(
        "workers.cli.operate.support_bundle:support_bundle",
        "Collect diagnostics for support, with secrets removed.",
    ),
    "tenants": LazyCommand("workers.cli.tenants:tenants", "Tenants: list, show, reload, Redis ACLs."),
    "tokens": LazyCommand("workers.cli.tokens:tokens", "Tokens: list, drain, resume."),
    "top": LazyCommand(
        "workers.cli.status.top:top", "Live view: rates, waits, backlogs, sessions, circuit breakers."
    ),
    "verify": LazyCommand(
        "workers.cli.signing.verify:verify", "Check signatures against files, digests and the key directory."
    ),
    "wait": LazyCommand("workers.cli.signing.wait:wait", "Wait for submitted jobs."),
    "worker": LazyCommand("workers.cli.processes.worker:worker", "Run this host's worker until SIGTERM."),
    "workers": LazyCommand("workers.cli.status.workers:workers", "The workers of the cluster."),
}
AUDIT: Final[dict[str, LazyCommand]] = {
    "cms-receipt": LazyCommand(
        "workers.cli.audit.receipts.cms_receipt:cms_receipt",
        "Put a receipt into a CMS signature, or verify it.",
    ),
    "export": LazyCommand("workers.cli.audit.export:export_record", "Export a tenant's record of this host."),
    "find": LazyCommand("workers.cli.audit.find:find", "Find jobs in an exported record."),
    "keys": LazyCommand("workers.cli.audit.keys:keys", "The keys that sign a tenant's checkpoints."),
    "receipt": LazyCommand(
        "workers.cli.audit.receipts.receipt:receipt", "Make or verify a receipt for one digest."
    ),
    "seal": LazyCommand(
        "workers.cli.audit.seal:seal_log", "Seal the write-ahead log of a decommissioned host."
    ),
    "status": LazyCommand(
        "workers.cli.audit.status:status", "The record of this host, and damage of its log."
    ),
    "verify": LazyCommand("workers.cli.audit.verify:verify_record", "Verify an exported record, offline."),
}
CLIENTS: Final[dict[str, LazyCommand]] = {
    "create": LazyCommand("workers.cli.clients.create:create", "Create a client key and its client.toml."),
    "list": LazyCommand("workers.cli.clients.list_revoke:list_clients", "List the clients of the tenants."),
    "revoke": LazyCommand("workers.cli.clients.list_revoke:revoke", "Revoke a client."),
}
DEADLETTER: Final[dict[str, LazyCommand]] = {
    "drop": LazyCommand("workers.cli.operate.deadletter:drop", "Delete dead letters."),
    "list": LazyCommand("workers.cli.operate.deadletter:list_letters", "List the dead letters."),
    "retry": LazyCommand(
        "workers.cli.operate.deadletter:retry", "Requeue jobs and reset their attempt counters."
    ),
    "show": LazyCommand("workers.cli.operate.deadletter:show", "Show one dead letter with its evidence."),
}
ISSUER: Final[dict[str, LazyCommand]] = {
    "check": LazyCommand(
        "workers.cli.issuer.check:check", "Check the issuer's file, or say what a token would get."
    ),
    "create-key": LazyCommand(
        "workers.cli.issuer.create_key:create_key", "Create the key that signs grants inside a token."
    ),
    "lane": LazyCommand("workers.cli.issuer.lane:lane", "Run the issuer's lane, which holds its PIN."),
    "refresh": LazyCommand("workers.cli.issuer.refresh:refresh", "Fetch the public keys of the providers."),
    "serve": LazyCommand("workers.cli.issuer.serve:serve", "Serve requests for grants over HTTPS."),
}
KEYS: Final[dict[str, LazyCommand]] = {
    "activate": LazyCommand("workers.cli.keys.rotation:activate", "Make a key version the active one."),
    "adopt": LazyCommand(
        "workers.cli.keys.create_adopt:adopt", "Register a key created with the vendor's tools."
    ),
    "attach-certificate": LazyCommand(
        "workers.cli.keys.certificates:attach_certificate", "Attach the certificate chain of a key."
    ),
    "certificate": LazyCommand(
        "workers.cli.keys.certificates:certificate", "Print the certificate chain of a key."
    ),
    "create": LazyCommand("workers.cli.keys.create_adopt:create", "Create a key inside a token."),
    "list": LazyCommand(
        "workers.cli.keys.list_show:list_keys", "Compare the configured keys with the tokens."
    ),
    "origin": LazyCommand("workers.cli.keys.origins.commands:origin", "Statements about the origin of keys."),
    "request": LazyCommand(
        "workers.cli.keys.request:request", "Make a certificate request, signed inside the token."
    ),
    "retire": LazyCommand("workers.cli.keys.ending:retire", "End a key version; it signs nothing more."),
    "revoke": LazyCommand("workers.cli.keys.ending:revoke", "Revoke a key version permanently."),
    "rotate": LazyCommand("workers.cli.keys.rotate:rotate", "Create the next version of a key."),
    "set": LazyCommand("workers.cli.keys.rules:set_rules", "Change the rules of a key."),
    "show": LazyCommand(
        "workers.cli.keys.list_show:show", "Show one key: versions, public keys, attributes."
    ),
}
KEYS_ORIGIN: Final[dict[str, LazyCommand]] = {
    "create": LazyCommand(
        "workers.cli.keys.origins.commands:create", "Make a statement about an existing key."
    ),
    "show": LazyCommand("workers.cli.keys.origins.commands:show", "Show a statement, without verifying it."),
    "verify": LazyCommand("workers.cli.keys.origins.commands:verify", "Verify a statement."),
}
OPERATORS: Final[dict[str, LazyCommand]] = {
    "create": LazyCommand("workers.cli.operate.operators:create", "Create an operator key."),
}
PGP: Final[dict[str, LazyCommand]] = {
    "certificate": LazyCommand("workers.cli.tools.pgp:certificate", "Make an OpenPGP certificate of a key."),
}
TENANTS: Final[dict[str, LazyCommand]] = {
    "acl": LazyCommand("workers.cli.tenants.acl:acl", "Print the Redis ACL of a tenant, or of the workers."),
    "list": LazyCommand("workers.cli.tenants:list_tenants", "List the configured tenants."),
    "reload": LazyCommand(
        "workers.cli.tenants.reload:reload", "Reload the configuration on this host's workers."
    ),
    "show": LazyCommand("workers.cli.tenants:show", "Show one tenant: keys, policies, clients, stop orders."),
}
TOKENS: Final[dict[str, LazyCommand]] = {
    "drain": LazyCommand("workers.cli.tokens.drain:drain", "Stop using a token on this host, until resumed."),
    "list": LazyCommand("workers.cli.tokens:list_tokens", "List the configured tokens and their state."),
    "resume": LazyCommand("workers.cli.tokens:resume", "Resume a drained token, or one with a refused PIN."),
}
WORKERS: Final[dict[str, LazyCommand]] = {
    "list": LazyCommand("workers.cli.status.workers:list_workers", "List the workers and their state."),
}


class CheckedGroup(click.Group):
    """A group whose commands take an option of one value once."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Command of the first argument. Fails where it gets an option of one value twice."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            _refuse_repeated(click.Context(command, ctx, name, **command.context_settings), rest)
        return name, command, rest


class LazyGroup(CheckedGroup):
    """A group that imports a command's module when the command is called."""

    def __init__(self, *, table: Mapping[str, LazyCommand], **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, sorted."""
        return sorted({*self._table, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None for an unknown name."""
        lazy = self._table.get(cmd_name)
        if lazy is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = lazy.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Command of the first argument; for an unknown one the error names the one that was meant."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            ctx.fail(f"no such command `{name}`." + (f" Did you mean `{near[0]}`?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, so that ``--help`` imports none of them."""
        rows = [(name, self._table[name].summary) for name in self.list_commands(ctx) if name in self._table]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _refuse_repeated(ctx: click.Context, arguments: list[str]) -> None:
    """Fail for an option of one value that is given twice. click takes the last one, so that `stop --subject A --subject B` would leave A
    its rights.
    """
    try:
        _, _, given = ctx.command.make_parser(ctx).parse_args([*arguments])
    except click.UsageError:
        return  # the command says so itself
    single = [each for each in given if isinstance(each, click.Option) and _has_one_value(each)]
    for option, times in Counter(single).items():
        if times > 1:
            ctx.ensure_object(Output).as_json |= any(each.name == "as_json" for each in given)
            ctx.fail(f"`{option.opts[-1]}` takes one value and is given {times} times. Give it once.")


def _has_one_value(option: click.Option) -> bool:
    """Whether a second value would replace the first. A flag says the same each time, unless it has an opposite."""
    return not (option.multiple or option.count or (option.is_flag and not option.secondary_opts))
