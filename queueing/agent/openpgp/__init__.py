"""OpenPGP signatures (RFC 4880, version 4) by keys of the agent's token, for programs that call gpg.

packets           packets, their numbers and texts: written, and read from a certificate
certificate       certificates: primary key, user ID and self-signature
signature         signatures: the digest that is signed, and the packet around it
armor             ASCII armor and the cleartext form
output_file       a file that is written whole
gpg_messages      status lines, and sentences for people
gpg_options       the part of gpg's command line that signing uses
gpg_option_names  which options change a signature
gpg               ``sigmill-gpg``

Everything but `certificate` is imported by ``sigmill-gpg``, which starts for each file: it must never import asyncio, msgspec,
cryptography or ``queueing.client``.
"""
