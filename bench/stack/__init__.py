"""The stack under measurement: Redis, workers and clients around the tokens of a keyring.

config_files  configuration files with the settings that a benchmark varies
stack         the processes, started and stopped

Must never import ``bench.scenarios`` or ``bench.report``.
"""
