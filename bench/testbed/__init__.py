"""Testbed: Redis, workers and clients around the tokens of a keyring.

config_files  configuration files with the settings that a benchmark varies
failover      Redis as three nodes that Sentinels watch
replicas      replicas of Redis, and the accept level that counts them
testbed       the processes, started and stopped

Must never import ``bench.scenarios`` or ``bench.report``.
"""
