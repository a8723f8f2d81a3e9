"""Scenarios over HTTPS: the relay, the issuer, and a plain handler beside the relay.

handler  the relay beside a plain aiohttp handler that signs in a thread pool
issuer   grants of an issuer
relay    the relay beside Redis itself, and its memory

Must never import ``workers.cli``.
"""
