"""PKCS#11, and the only folder of the service that imports ``pkcs11``. Runs in the process of a lane or of the token
administration.

module             load a module once, initialised for threads; CK_FUNCTION_LIST
tokens             select exactly one token
sessions           one login, and a session for each thread
objects            search for objects, and attributes read without trust in their form
keys               find a key by its pinned public key, and check its required attributes
mechanisms         PKCS#11 mechanism of each algorithm, key type of each kind of key
encodings          ECDSA DER, EC points, SPKI
signing            digests in, signatures out, verified by default
key_creation       create, list and adopt keys
key_description    what token and module show of a key, for its origin statement
messages           whole messages in, verified signatures out: for requests and statements, never for jobs
faults             meaning of each return value, and the action that follows
pin_guard          no PIN is tried again after it was refused
process_hardening  no core dumps, no tracing, no life after the worker, no hanging start
native             the loop in C that signs a run without the GIL
admin_process      child process that answers one request of ``workers.token_admin``

Nothing is imported here: ``import workers.hsm`` loads no PKCS#11. Never imports ``workers.lanes`` or Redis.
"""

__all__ = [
    "encodings",
    "faults",
    "key_creation",
    "key_description",
    "keys",
    "mechanisms",
    "messages",
    "module",
    "objects",
    "pin_guard",
    "process_hardening",
    "sessions",
    "signing",
    "tokens",
]
