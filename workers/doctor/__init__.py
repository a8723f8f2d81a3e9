"""Checks of ``sigmill doctor``: each module checks one part, and a failed part hides no other.

findings        findings and their states
run             all checks, one part after the other
host            file descriptors, core files, state directory, metrics port
log             damage of the write-ahead log, events that wait for it, shares of its disk
record          sealer keeps up, no record was given up
heads           a record that this host has published, and that is not here
redis           version, eviction, persistence, rights, TLS, clock
relay           certificate, descriptors and Redis of this host's relay
server_package  Debian package of the running Redis, for its version
tokens          module, mechanisms, sessions, PIN and keys of each token
issuer          files, keys of providers and TLS certificate of `sigmill issuer`
epochs          files of tenants that are older than those of another host
client          settings, key and certificates of a build host
expiries        certificates, key versions and clients that expire soon

Must never import ``workers.cli``.
"""
