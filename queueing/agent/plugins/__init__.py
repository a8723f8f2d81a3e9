"""Plugins of programs that have a plugin protocol of their own: thin clients of the agent's socket.

requests  JSON of requests, read strictly
keys      a key of the agent's token: its kind, public key, certificates and signatures
sigstore  ``sigstore-kms-sigmill``, for cosign and others of Sigstore
notation  ``notation-sigmill``

Each starts for every signature: it must never import asyncio, msgspec, cryptography or ``queueing.client`` to sign.
"""
