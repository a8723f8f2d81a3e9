"""What the operator decided: one TOML file of the service and a directory of tenant files.

settings     the files' tables as typed structs
tenants      a tenant as the processes use it: keys and clients resolved, public keys parsed
policy       who may use a key, when, and how much
values       single values, read strictly
stops        operators' stop orders in force, as the lanes apply them
tenant_file  one tenant's file
loading      the service's file, and all of it checked together; every mistake is a ``ConfigError``
reading      the same again and again, for a process that goes on: only what changed
adopted      what was adopted last, so that an older file is refused
survey       every mistake at once, and what the files point to
edits        a tenant's file changed as text, and only as was meant
writing      the same on disk: checked, under a lock, in one step
"""
