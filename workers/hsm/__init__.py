"""PKCS#11, and the only place that imports ``pkcs11``. Runs in a lane's process, never in the worker's.

module      load a module once, so that threads may use it
tokens      choose exactly one token
sessions    one login, and a session for each thread
keys        find a key by its pinned public key; the attributes it must have
mechanisms  what a module is told for each algorithm
encodings   DigestInfo, ECDSA DER, EC points, SPKI
signing     digests in, verified signatures out
provision   create, list and adopt keys
faults      what each return value means, and what is to be done

Nothing is imported here: ``import workers.hsm`` loads no PKCS#11.
"""

__all__ = [
    "encodings",
    "faults",
    "keys",
    "mechanisms",
    "module",
    "provision",
    "sessions",
    "signing",
    "tokens",
]
