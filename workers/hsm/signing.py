"""Signer with one key on one session of one thread: digests in, signatures out, verified unless the token says otherwise.

A digest of any other length than the algorithm signs never reaches the module: SoftHSM signs an ECDSA 'digest'
of any length, calls a too-long RSA input a broken device, and ends the process for some. No signature leaves that does not
verify under the pinned public key, because a stale handle can be another key; with ``verify_after_sign = false`` of its token
that is left to the clients.

A run is signed by the native loop where the thread has one: with other calls of the module, and by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeAlias

from queueing.errors import AlgorithmMismatch, DigestLength, ResultInvalid, SigningError
from queueing.protocol.algorithms import FACTS, KEY_KINDS, Algorithm, Scheme, check_digest_length
from workers.hsm.encodings import ecdsa_der, ecdsa_readings, rsa_readings
from workers.hsm.faults import NO_CODE, Action, HsmFailure, failure_for_code, to_signing_error, translate
from workers.hsm.mechanisms import MECHANISMS
from workers.hsm.module import CKR_OK
from workers.hsm.native.loop import MOST_PER_CALL, ROOM_BYTES, NativeMechanism

if TYPE_CHECKING:
    from queueing.protocol.public_keys import PublicKey
    from workers.hsm.keys import SigningKey
    from workers.hsm.native.loop import NativeKey

_SignOne: TypeAlias = Callable[[bytes], bytes]
_Finish: TypeAlias = Callable[[bytes, bytes], bytes]


class Timing:
    """Time spent by the signers of one thread, in seconds: in the module, and for verifying; and calls of C_Sign, failed ones
    included. It only grows.
    """

    __slots__ = ("calls", "sign_s", "verify_s")

    def __init__(self) -> None:
        self.calls = 0
        self.sign_s = 0.0
        self.verify_s = 0.0


_BUFFER_BYTES: Final = ROOM_BYTES  # python-pkcs11 would take 8192 per call


class Signer:
    """Signs with one private key on the session in which it was found; for one thread.

    ``verify=False`` (``verify_after_sign`` of the token) leaves out verify-after-sign. ``spent``: the times that it adds to.
    ``native``: the same key for the native loop of the thread; None: runs are signed by python-pkcs11.
    """

    __slots__ = ("_by_algorithm", "_native", "public_key")

    def __init__(
        self,
        key: SigningKey,
        public_key: PublicKey,
        *,
        verify: bool = True,
        spent: Timing | None = None,
        native: NativeKey | None = None,
    ) -> None:
        self.public_key = public_key
        spent = spent or Timing()
        self._by_algorithm: dict[Algorithm, _SignOne] = {}
        self._native: dict[Algorithm, _NativeRun] = {}
        for algorithm in public_key.algorithms:
            finish = _finisher(public_key, algorithm, verify=verify, spent=spent)
            self._by_algorithm[algorithm] = _sign_one(key, algorithm, finish, spent)
            if native is not None:
                self._native[algorithm] = _NativeRun(native, algorithm, finish, spent, proven=not verify)

    def sign(self, algorithm: Algorithm, digest: bytes) -> bytes:
        """Signature over ``digest`` in its final encoding: DER for ECDSA, else raw.

        Raises ``AlgorithmMismatch`` and ``DigestLength`` (final) before the module is called, ``HsmFailure``
        if it fails or its signature is not this key's. Always by python-pkcs11: three calls of the module, and one verification.
        """
        return self._for(algorithm)(digest)

    def sign_run(
        self, algorithm: Algorithm, digests: Sequence[bytes], done: list[bytes | SigningError]
    ) -> None:
        """Sign ``digests``, appending each outcome to ``done``; a digest that is refused alone has its
        error there. Two calls of the module for each by the native loop, else three.

        Raises ``AlgorithmMismatch`` for the whole run, and ``HsmFailure`` as soon as the session, or more, is
        unusable; what is in ``done`` by then is valid. ``done``, and ``signed`` of the native loop, show a watchdog how far it is. A
        native loop that is stopped leaves the rest without outcomes.
        """
        sign_one = self._for(algorithm)
        native = self._native.get(algorithm)
        if native is not None and native.fits(digests):
            native.sign(digests, done)
            return
        add = done.append
        for digest in digests:
            try:
                add(sign_one(digest))
            except DigestLength as exc:
                add(exc)
            except HsmFailure as exc:
                if exc.action is not Action.PERMANENT:
                    raise
                add(to_signing_error(exc))

    def _for(self, algorithm: Algorithm) -> _SignOne:
        sign_one = self._by_algorithm.get(algorithm)
        if sign_one is None:
            raise AlgorithmMismatch(f"{self.public_key.kind} keys do not sign with {algorithm}")
        return sign_one


class _NativeRun:
    """Signer of runs of one algorithm through the native loop; it adds to the same times, and its outcomes are finished alike.

    ``proven``: whether signatures need not be verified, or one was. Before that a digest is signed alone: a handle that is another
    key's signs one digest, not a run of them.
    """

    __slots__ = ("_finish", "_key", "_lengths", "_mechanism", "_prefix", "_proven", "_spent")

    def __init__(
        self, key: NativeKey, algorithm: Algorithm, finish: _Finish, spent: Timing, *, proven: bool
    ) -> None:
        row = MECHANISMS[algorithm]
        self._key = key
        self._mechanism = NativeMechanism(row)
        self._prefix = row.prefix
        self._lengths = FACTS[algorithm].digest_lengths
        self._finish = finish
        self._spent = spent
        self._proven = proven

    def fits(self, digests: Sequence[bytes]) -> bool:
        """Whether all are digests of one length that the algorithm signs; otherwise each gets its own answer, one by one."""
        length = len(digests[0]) if digests and type(digests[0]) is bytes else -1
        return length in self._lengths and all(type(d) is bytes and len(d) == length for d in digests)

    def sign(self, digests: Sequence[bytes], done: list[bytes | SigningError]) -> None:
        """Sign digests that fit, with outcomes, errors and stops as ``Signer.sign_run`` has them."""
        key, finish, spent, prefix = self._key, self._finish, self._spent, self._prefix
        first = 0
        while first < len(digests):
            part = digests[first : first + (MOST_PER_CALL if self._proven else 1)]
            began = perf_counter()
            result = key.sign(self._mechanism, [prefix + digest for digest in part] if prefix else part)
            spent.sign_s += perf_counter() - began
            spent.calls += result.calls
            for raw, digest in zip(result.raws, part, strict=False):
                done.append(finish(raw, digest))
                self._proven = True
            first += len(result.raws)
            if result.code != CKR_OK:
                failure = failure_for_code(result.code)
                if failure.action is not Action.PERMANENT:
                    raise failure
                done.append(to_signing_error(failure))
                first += 1
            elif len(result.raws) < len(part):
                return


def _sign_one(key: SigningKey, algorithm: Algorithm, finish: _Finish, spent: Timing) -> _SignOne:
    """Make the function that signs one digest, with everything constant bound to local names."""
    row, lengths = MECHANISMS[algorithm], FACTS[algorithm].digest_lengths
    mechanism, parameter, prefix = row.mechanism, row.parameter, row.prefix
    module_sign = key.sign

    def sign_one(digest: bytes) -> bytes:
        if type(digest) is not bytes:
            raise DigestLength("a digest is bytes")
        if len(digest) not in lengths:
            check_digest_length(algorithm, len(digest))
        data = prefix + digest if prefix else digest
        spent.calls += 1  # before: a call that fails may have signed
        began = perf_counter()
        try:
            raw = module_sign(data, mechanism=mechanism, mechanism_param=parameter, buffer_size=_BUFFER_BYTES)
        except Exception as exc:
            raise translate(exc) from exc
        spent.sign_s += perf_counter() - began
        return finish(raw, digest)

    return sign_one


def _finisher(public_key: PublicKey, algorithm: Algorithm, *, verify: bool, spent: Timing) -> _Finish:
    """Make the function from what the module gave, and the digest, to the signature in its final encoding, verified."""
    signature_bytes = KEY_KINDS[public_key.kind].signature_bytes
    is_ecdsa = FACTS[algorithm].scheme is Scheme.ECDSA
    check = public_key.verify

    def finish(raw: bytes, digest: bytes) -> bytes:
        if len(raw) != signature_bytes:
            return _restored(raw, digest, signature_bytes, (public_key, algorithm), is_ecdsa=is_ecdsa)
        signature = ecdsa_der(raw) if is_ecdsa else raw
        if verify:
            began = perf_counter()
            try:
                check(algorithm, digest, signature)
            except ResultInvalid as exc:
                raise _distrusted("the signature does not verify under the pinned public key") from exc
            spent.verify_s += perf_counter() - began
        return signature

    return finish


def _restored(
    raw: bytes, digest: bytes, signature_bytes: int, key: tuple[PublicKey, Algorithm], *, is_ecdsa: bool
) -> bytes:
    """Signature of a module that leaves out leading zeros, or gives DER: the one reading that verifies, in its final encoding.

    Verified also where the signer verifies nothing, since there may be several readings.
    """
    public_key, algorithm = key
    for signature in ecdsa_readings(raw, signature_bytes) if is_ecdsa else rsa_readings(raw, signature_bytes):
        with suppress(ResultInvalid):
            public_key.verify(algorithm, digest, signature)
            return signature
    raise _distrusted("the signature has the wrong length, and no reading of it verifies")


def _distrusted(detail: str) -> HsmFailure:
    return HsmFailure("SIGNATURE_DISTRUSTED", NO_CODE, Action.REPLACE_LANE, detail=detail)
