"""Reading of configuration: TOML files, secrets, and the settings of Redis. A lane loads this too.

accept_level  write acceptance: by the primary alone, or by replicas too
addresses     hosts with ports, IPv6 in brackets
paths         paths relative to their file, or to a home directory
redis         address, TLS and Sentinels of Redis
secrets       secrets in files, masked in logs
toml          TOML files to typed structs; mistakes name file, key and remedy

Must never import redis, arq, or anything else of ``queueing`` but ``errors`` and ``files``.
"""
