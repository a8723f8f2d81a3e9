"""Configuration of the operator: the TOML file of the service and a directory of tenant files.

settings       tables of the files as typed structs
service_file   the service's file: Redis, service key, operators, settings of the worker
token_tables   the tokens in it
tenant_file    one tenant's file: clients, keys, limits
values         single values, read strictly, and the list of errors found so far
loading        all files together; the first error is raised
validation     all errors at once, and the files that the configuration refers to
snapshots      repeated reading for a reload: only changed files are parsed, older ones refused
key_versions   versions of a key: dates and certificates
tenants        a tenant in use: keys and clients resolved, public keys parsed
issuers        issuers of grants, and the identities that they judge
key_policy     rules of a key: clients, time windows, budget
tenant_limits  rate limit, budget and backlog caps of a tenant
stop_rules     operators' stop orders, applied to one tenant
tenant_edits   edits of a tenant's file as text
tenant_writer  the edited file, checked and replaced under a lock

Must never import ``workers.lanes``, ``workers.telemetry``, ``workers.cli`` or anything that talks to Redis.
"""
