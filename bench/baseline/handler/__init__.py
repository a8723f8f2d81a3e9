"""Baseline: an HTTPS handler that signs through python-pkcs11 in a thread pool, the service that teams write themselves.

client_process  load process: batches of many connections, or one digest at a time
flow            the handler as a flow
service         the handler

Must never import ``workers``, apart from the processes and certificates of the development stack.
"""
