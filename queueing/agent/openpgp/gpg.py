"""``sigmill-gpg``: signs as gpg does, by the agent of ``sigmill run``; every other command is gpg's own.

Starts for each file that a program signs, so it imports little and talks to the agent, which waits and retries.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from queueing.agent.cryptoki import Attribute, Mechanism, ObjectClass
from queueing.agent.openpgp.armor import armored, canonical_text, clear_sign_problem, cleartext, unarmored
from queueing.agent.openpgp.gpg_messages import opened_status, tell, write_status
from queueing.agent.openpgp.gpg_options import NotObeyed, NotSigning, SignOptions, log_target, read_options
from queueing.agent.openpgp.output_file import would_be_lost, write_whole
from queueing.agent.openpgp.packets import HASHES, RSA, NotOpenPgp, PrimaryKey, read_certificate
from queueing.agent.openpgp.signature import BINARY, TEXT, SignatureMaker, UnfinishedSignature
from queueing.agent.token_client import DIGEST_INFO, TokenClient, TokenRefused
from queueing.files.folders import entries
from queueing.files.standard_streams import open_standard_streams

FOLDER_VARIABLE: Final = "SIGMILL_PGP_FOLDER"
"""Folder with a certificate ``KEY.asc`` for each key, as `sigmill run --pgp KEY=FILE` makes it."""

_TRIED_VARIABLE: Final = "SIGMILL_GPG_TRIED"
"""Paths of gpg that commands were passed on to: one that comes back is a script that runs this program."""

_PIECE_BYTES: Final = 1 << 20
_FAILED: Final = 2
"""gpg's exit code of a failure."""

_INTERRUPTED: Final = 130

_KEY_ID_DIGITS: Final = 16
"""Of a key ID: the low 64 bits of the fingerprint (RFC 4880 12.2)."""

_SHORT_ID_DIGITS: Final = 8
"""Of the short key IDs that gpg once showed: a graphics card makes another key with the same one in seconds (evil32.com)."""


class _Failed(Exception):
    """A sentence for the person."""


class Certificate(NamedTuple):
    """A certificate of the folder. ``name``: the key's name in Sigmill."""

    name: str
    key: PrimaryKey
    user_ids: list[str]

    def is_named(self, user: str) -> bool:
        """Whether ``--local-user`` names it: by the key's name, by fingerprint or key ID of 16 digits."""
        fingerprint = self.key.fingerprint.hex().upper()
        return user == self.name or _digits(user) in {fingerprint, fingerprint[-_KEY_ID_DIGITS:]}

    def is_owned_by(self, user: str) -> bool:
        """Whether ``--local-user`` is a part of a user ID; capital letters are as small ones, as in gpg."""
        wanted = user.casefold()
        return bool(wanted.strip()) and any(wanted in user_id.casefold() for user_id in self.user_ids)

    def has_short_id(self, user: str) -> bool:
        """Whether ``--local-user`` is the end of the fingerprint, and too short or too long for a key ID."""
        wanted = _digits(user)
        return len(wanted) >= _SHORT_ID_DIGITS and self.key.fingerprint.hex().upper().endswith(wanted)


def _digits(user: str) -> str:
    """Digits of a fingerprint or key ID as gpg takes them: in groups, after 0x, with the mark of an exact key at the end."""
    return user.replace(" ", "").upper().removeprefix("0X").removesuffix("!")


def main() -> int:
    """Sign, or become gpg; return the exit code."""
    open_standard_streams()
    arguments = sys.argv[1:]
    try:
        options = read_options(arguments)
        with opened_status(options.status) as status:
            _sign(options, status)
    except NotSigning:
        _become_gpg()
    except (NotObeyed, _Failed, TokenRefused, NotOpenPgp) as error:
        tell(log_target(arguments), str(error))
        return _FAILED
    except OSError as error:
        tell(log_target(arguments), f"{error.filename or 'output'}: {error.strerror}")
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _become_gpg() -> NoReturn:
    """Run the first gpg on PATH that is not this program: it may be called gpg there, by a link or by a script that runs it."""
    tried = os.environ.get(_TRIED_VARIABLE, "").split(os.pathsep)
    own = os.path.realpath(sys.argv[0])
    for program in ("gpg", "gpg2"):
        for folder in os.get_exec_path():
            path = shutil.which(program, path=folder)
            if path is not None and path not in tried and os.path.realpath(path) != own:
                os.environ[_TRIED_VARIABLE] = os.pathsep.join([*tried, path])
                os.execv(path, [path, *sys.argv[1:]])  # noqa: S606  # no shell is the point
    sys.stderr.write("sigmill-gpg: this command needs gpg, which is not installed\n")
    sys.exit(_FAILED)


def _sign(options: SignOptions, status: int | None) -> None:
    output = _output(options)
    if output is not None and not options.yes and not options.dry_run and would_be_lost(output):
        raise _Failed(f"{output} exists: give --yes to replace it")  # gpg asks, and fails without a terminal
    key = _chosen(options.user).key
    hash_name = _hash_name(key, options)
    kind = TEXT if options.mode == "clear" else BINARY
    maker = SignatureMaker(kind, key, hash_name, int(time.time()))
    content = maker.begin()
    text = _read_into(content, options)
    unfinished = maker.after(content)
    write_status(
        status, f"BEGIN_SIGNING H{HASHES[hash_name]}"
    )  # git before 2.39.3 needs a line before SIG_CREATED
    with TokenClient.from_environment() as token:
        handle = _private_key(token, key)
        if options.dry_run:
            return
        signature = unfinished.finish(_raw_signature(token, handle, unfinished))
    if options.mode == "clear":
        written = cleartext(text, hash_name, signature)
    else:
        written = armored("SIGNATURE", signature) if options.armor else signature
    if output is not None:
        write_whole(output, written)
    else:
        sys.stdout.buffer.write(written)
        sys.stdout.buffer.flush()
    write_status(status, _created(options, maker))


def _read_into(content: hashlib._Hash, options: SignOptions) -> bytes:
    """Read what is signed into the hash; return it where it is a text, which the signature contains."""
    with Path(options.file).open("rb") if options.file else sys.stdin.buffer as source:
        if options.mode != "clear":
            while piece := source.read(_PIECE_BYTES):
                content.update(piece)
            return b""
        text = source.read()
    problem = clear_sign_problem(text)
    if problem is not None:
        raise _Failed(f"{options.file or 'stdin'} {problem}: sign it with --detach-sign")
    content.update(canonical_text(text))
    return text


def _hash_name(key: PrimaryKey, options: SignOptions) -> str:
    """The hash that was asked for, else the first preferred one that the key can sign, else the key's own."""
    asked = options.digest
    if asked is None:
        asked = next((name for name in options.preferred if key.hash_for(name) == name), None)
    made = key.hash_for(asked)
    if asked is not None and made != asked:
        raise _Failed(
            f"--digest-algo {asked}: this key signs {'hashes of ' + made if key.algorithm != RSA else 'sha256, sha384 and sha512'} only"
            f" (--digest-algo {made}; rpmsign: --define '_gpg_digest_algo {made}')"
        )
    return made


def _private_key(token: TokenClient, key: PrimaryKey) -> int:
    """Handle of the token's private key that belongs to the OpenPGP key."""
    if key.algorithm == RSA:
        part = Attribute.MODULUS, key.numbers[0]
    else:
        point = key.numbers[1]
        head = bytes((0x04, len(point))) if len(point) < 0x80 else bytes((0x04, 0x81, len(point)))
        part = Attribute.EC_POINT, head + point
    found = token.find(dict([(Attribute.CLASS, ObjectClass.PRIVATE_KEY), part]))
    if not found:
        raise TokenRefused("the agent's token has no active key with the public key of the certificate")
    return found[0]


def _raw_signature(token: TokenClient, handle: int, unfinished: UnfinishedSignature) -> bytes:
    if unfinished.key.algorithm == RSA:
        return token.sign(handle, Mechanism.RSA_PKCS, DIGEST_INFO[unfinished.hash_name] + unfinished.digest)
    return token.sign(handle, Mechanism.ECDSA, unfinished.digest)


def _chosen(user: str | None) -> Certificate:
    certificates = _certificates()
    found = certificates if user is None else _meant(certificates, user)
    if len(found) == 1:
        return found[0]
    if user is not None and not found and (short := [x for x in certificates if x.has_short_id(user)]):
        meant = " or ".join(x.key.fingerprint.hex().upper() for x in short)
        raise _Failed(
            f"{user} is no whole key ID, and keys with the same end can be made: give all 16 digits, or the fingerprint ({meant})"
        )
    known = ", ".join(each.name for each in certificates) or "none"
    problem = (
        f"{len(found)} certificates are meant by {user}"
        if user is not None
        else "several keys are there: name one"
    )
    raise _Failed(f"{problem}; there are certificates for: {known} (sigmill run --pgp KEY=FILE)")


def _meant(certificates: list[Certificate], user: str) -> list[Certificate]:
    """Certificates that ``user`` names, else those of such an owner: the owner of another key may have this key's name in it."""
    named = [each for each in certificates if each.is_named(user)]
    return named or [each for each in certificates if each.is_owned_by(user)]


def _certificates() -> list[Certificate]:
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise _Failed(f"{FOLDER_VARIABLE} is not set: use sigmill run --pgp KEY=FILE")
    found = []
    for file in entries(Path(folder), suffix=".asc"):
        key, user_ids = read_certificate(unarmored(file.read_bytes()))
        found.append(Certificate(file.name.removesuffix(".asc"), key, user_ids))
    return found


def _output(options: SignOptions) -> str | None:
    """The file to write: the output, else one beside a signed file as gpg names it; None is stdout."""
    path = options.output
    if path is None and options.file is not None:
        path = options.file + (".asc" if options.armor or options.mode == "clear" else ".sig")
    return None if path == "-" else path


def _created(options: SignOptions, maker: SignatureMaker) -> str:
    """The status line that git and others wait for."""
    kind, number = "C" if options.mode == "clear" else "D", HASHES[maker.hash_name]
    return (
        f"SIG_CREATED {kind} {maker.key.algorithm} {number} {maker.kind:02x} {maker.created_s}"
        f" {maker.key.fingerprint.hex().upper()}"
    )
