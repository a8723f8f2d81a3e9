"""``sigmill audit``: the write-ahead log and the record of this host, and exported records.

seal    ``sigmill audit seal``
status  ``sigmill audit status``
keys    ``sigmill audit keys``
export  ``sigmill audit export``
verify  ``sigmill audit verify``
verified_lines  its lines with --json
find    ``sigmill audit find``
receipts  ``sigmill audit receipt`` and ``cms-receipt``
entry_meter  progress of a verification
kept_checkpoints  option that names checkpoints which an auditor kept
key_files  files of public keys
times   options that are times
digest_option  option that is a digest
tenant_option  option that is a tenant

It never imports `queueing.client` or `queueing.redis`: the log is read without Redis.
"""

from __future__ import annotations

import click

from workers.cli.commands import AUDIT, LazyGroup


@click.group(cls=LazyGroup, table=AUDIT, no_args_is_help=True)
def audit() -> None:
    """The write-ahead log of this host, and the tamper-evident record that is made of it."""
