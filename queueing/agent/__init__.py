"""The agent of a build host: shows the tenant's keys as a PKCS#11 token, so that unmodified tools sign through Sigmill.

Tools load p11-kit's ``p11-kit-client.so``, which sends their PKCS#11 calls over a unix socket. Tools hash locally; only
digests leave the host.

agent           wiring of an agent that listens
agent_socket    the unix socket, which one agent has at a time
server          connections
connection      PKCS#11 calls of one connection
session         sessions of one connection, and what each has begun
rpc             p11-kit's protocol: bytes to values and back
cryptoki        constants of PKCS#11
token           the token, made of the key directory
token_info      descriptions of library, slot, token and mechanisms
token_objects   keys and certificates as objects
certificates    certificates that the build host brings along
signing_input   from mechanism and data to algorithm and digest
signer          signatures with waits and retries
failures        reasons of failed signatures
token_client    the agent's socket, for programs of our own
openpgp         OpenPGP signatures by keys of the token, and ``sigmill-gpg``
plugins         plugins of cosign and notation

Must never import ``workers`` or ``pkcs11``: a build host has neither a module nor a PIN.
"""
