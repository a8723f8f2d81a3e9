"""Support bundle: diagnostics of one host, without secrets.

collectors  parts of a bundle, each collected independently
redaction   removal of secrets from configuration files and from all other texts
bundle      the archive

Must never import ``workers.cli`` or anything that talks to Redis or an HSM.
"""
