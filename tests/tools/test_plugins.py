"""Plugins in real lanes: cosign signs images in a registry, and notation's plugin answers as its specification has it."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.tools.conftest import ToolRig
from tests.tools.image_registry import ImageRegistry
from tests.tools.test_recipes import recipes
from tests.tools.test_tools_at_work import RUN, needs

NOTATION = f"{RUN} --key release --key release-ec -- notation-sigmill"
PAYLOAD = b"eyJhbGciOiJQUzM4NCJ9.eyJ0YXJnZXRBcnRpZmFjdCI6e319"


def test_cosign_signs_images_and_refuses_a_changed_one(rig: ToolRig) -> None:
    """The recipe as it stands; an image with a byte changed is refused, even with the signature of the first."""
    needs("cosign", "docker-registry")
    signing, verifying = recipes()["cosign: container images"]
    with ImageRegistry(rig.folder / "registry") as registry:
        digests = [registry.push(layer) for layer in (b"artefact", b"artefacu")]
        ran = rig.run(signing, REGISTRY=registry.name, DIGEST=digests[0])
        assert ran.code == 0, ran.text
        ran = rig.run(verifying, REGISTRY=registry.name, DIGEST=digests[0])
        assert ran.code == 0, ran.text
        assert rig.run(verifying, REGISTRY=registry.name, DIGEST=digests[1]).code != 0
        registry.copy_signatures(digests[0], digests[1])
        ran = rig.run(verifying, REGISTRY=registry.name, DIGEST=digests[1])
        assert ran.code != 0, ran.text


def test_cosign_verifies_by_the_agents_key(rig: ToolRig) -> None:
    """`--key sigmill://` on both sides, an RSA key, and a version by its number; a changed byte is refused."""
    needs("cosign")
    verify = f"{RUN} -- cosign verify-blob --insecure-ignore-tlog --key sigmill://release/1 --signature a.sig app.bin"
    ran = rig.run(
        f"{RUN} -- cosign sign-blob --yes --tlog-upload=false --key sigmill://release --output-signature a.sig app.bin"
        f" && {verify}"
    )
    assert ran.code == 0, ran.text
    assert "Verified OK" in ran.text
    ran = rig.run(f"printf x >> app.bin; {verify}")
    assert ran.code != 0
    assert "not of the key" in ran.text


def test_cosign_shows_why_a_signature_is_denied(rig: ToolRig) -> None:
    """The plugin's protocol carries a sentence, so cosign itself prints the reason; the exit code is 77."""
    needs("cosign")
    ran = rig.run(f"{RUN} -- cosign sign-blob --yes --tlog-upload=false --key sigmill://lapsed app.bin")
    assert ran.code == 77, ran.text
    assert "plugin returned error: version 1 of the key has expired" in ran.text
    assert "error: lapsed/1: version 1 of the key has expired" in ran.text


def asked(rig: ToolRig, command: str, **request: str) -> dict[str, str]:
    """One request as notation makes it; the answer of stdout, or of stderr after exit code 1."""
    (rig.folder / "request.json").write_text(json.dumps({"contractVersion": "1.0", **request}))
    ran = rig.run(f"{NOTATION} {command} < request.json > answer.json 2> error.json")
    raw = (rig.folder / ("answer.json" if ran.code == 0 else "error.json")).read_text()
    found: dict[str, str] = json.loads(raw.splitlines()[0])
    return found


@pytest.mark.parametrize("key, spec, size", [("release", "RSA-3072", "384"), ("release-ec", "EC-256", "256")])
def test_notations_plugin_signs_as_its_specification_has_it(
    rig: ToolRig, key: str, spec: str, size: str
) -> None:
    """Metadata, the key's kind, and a signature that its own leaf certificate verifies; a changed byte is refused."""
    assert asked(rig, "get-plugin-metadata")["name"] == "sigmill"
    assert asked(rig, "describe-key", keyId=key) == {"keyId": key, "keySpec": spec}
    answer = asked(
        rig,
        "generate-signature",
        keyId=key,
        keySpec=spec,
        hashAlgorithm=f"SHA-{size}",
        payload=base64.b64encode(PAYLOAD).decode(),
    )
    assert answer["signingAlgorithm"] == f"{'ECDSA' if key == 'release-ec' else 'RSASSA-PSS'}-SHA-{size}"
    leaf, issuer = (
        x509.load_der_x509_certificate(base64.b64decode(each)) for each in answer["certificateChain"]
    )
    leaf.verify_directly_issued_by(issuer)
    verify(leaf, PAYLOAD, base64.b64decode(answer["signature"]))
    with pytest.raises(InvalidSignature):
        verify(leaf, PAYLOAD[:-1] + b"!", base64.b64decode(answer["signature"]))


def verify(leaf: x509.Certificate, payload: bytes, signature: bytes) -> None:
    """As notation does before it writes an envelope."""
    public = leaf.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA384()), salt_length=hashlib.sha384().digest_size)
        public.verify(signature, payload, pss, hashes.SHA384())
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        public.verify(encode_dss_signature(r, s), payload, ec.ECDSA(hashes.SHA256()))


def test_notations_plugin_tells_a_denial_by_its_code(rig: ToolRig) -> None:
    """ACCESS_DENIED with the service's sentence: notation shows both and does not try again."""
    request = {
        "contractVersion": "1.0",
        "keyId": "lapsed",
        "keySpec": "RSA-3072",
        "hashAlgorithm": "SHA-384",
        "payload": base64.b64encode(PAYLOAD).decode(),
    }
    (rig.folder / "request.json").write_text(json.dumps(request))
    ran = rig.run(f"{RUN} -- notation-sigmill generate-signature < request.json")
    assert ran.code == 77
    assert '"errorCode": "ACCESS_DENIED"' in ran.text
    assert "error: lapsed/1: version 1 of the key has expired" in ran.text
