"""Baselines on the same machine, Redis and module, in the same run: stock arq, and a plain HTTPS handler.

handler         a plain HTTPS handler that signs in a thread pool, the baseline of the relay
client_process  load process of stock arq, one digest per job
flow            the baseline as a flow
worker          stock arq worker that signs through python-pkcs11

Must never import ``workers``, apart from the key names of the development stack.
"""
