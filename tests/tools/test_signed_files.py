"""Files signed by `sigmill sign-file`, judged by the verifiers of their ecosystems."""

from __future__ import annotations

import shutil

import pytest

from tests.support.ports import free_port
from tests.support.time_stamps import TimeStampAuthority
from tests.tools.conftest import ToolRig, flip
from tests.tools.test_tools_at_work import needs

SIGN = "sigmill sign-file --config client.toml"
VERIFY = "osslsigncode verify -CAfile ca.pem -in"
TSA = "-TSA-CAfile tsa/tsa.pem"
STAMPED = "Timestamp Server Signature verification: ok"
TST_INFO = bytes.fromhex("060b2a864886f70d0109100104a0")
"""Type of a time-stamp's content, before the content itself."""


def osslsigncode(source: str, to: str) -> str:
    """The command by which osslsigncode signs a file with the key ``release``."""
    return (
        "osslsigncode sign -pkcs11module $SIGMILL_PKCS11_MODULE -certs release.pem"
        f' -key "pkcs11:token=sigmill;object=release" -h sha256 -in {source} -out {to}'
    )


def done(rig: ToolRig, command: str) -> str:
    """Output of a command that succeeds."""
    ran = rig.run(command)
    assert ran.code == 0, f"{command}\n{ran.text}"
    return ran.text


def test_many_files_are_signed_in_one_run(rig: ToolRig) -> None:
    """RSA and EC keys; a rerun leaves every file as it is."""
    needs("osslsigncode", "efitools")
    for key in ("release", "release-ec"):
        names = [f"{key}-{i}.exe" for i in range(20)]
        for name in names:
            shutil.copy(rig.folder / "app.exe", rig.folder / name)
        done(rig, f"{SIGN} --key {key} --description 'An app' --url https://example.com {' '.join(names)}")
        assert done(rig, f"{SIGN} --key {key} {' '.join(names)}").count("unchanged") == 20
        done(rig, f"for f in {key}-*.exe; do {VERIFY} $f || exit 1; done")
    text = done(rig, f"{VERIFY} release-0.exe")
    assert "An app" in text
    assert "https://example.com" in text
    flip(rig.folder / "release-0.exe", b".text")
    assert rig.run(f"{VERIFY} release-0.exe").code != 0


def test_names_that_a_shell_would_misread(rig: ToolRig) -> None:
    """A leading dash behind `--`, a newline, quotes, a byte that is no UTF-8; the verifier reads the same files."""
    needs("osslsigncode", "efitools")
    names = r"""-- -rf.exe $'a\nb.exe' "it's.exe" $'\xff.exe' '$(x).exe'"""
    done(rig, f'for f in {names[3:]}; do cp app.exe ./"$f"; done')
    text = done(rig, f"{SIGN} --key release {names}")
    assert "5 of 5 files signed" in text
    done(rig, f'for f in {names[3:]}; do {VERIFY} ./"$f" || exit 1; done')


def test_bytes_behind_the_sections_are_signed_content(rig: ToolRig) -> None:
    """Installers have them; a changed byte there is refused."""
    needs("osslsigncode", "efitools")
    with (rig.folder / "app.exe").open("ab") as file:
        file.write(b"an archive of any length" * 1001)
    done(rig, f"{SIGN} --key release app.exe")
    done(rig, f"{VERIFY} app.exe")
    flip(rig.folder / "app.exe", b"an archive")
    assert rig.run(f"{VERIFY} app.exe").code != 0


def test_a_second_signature_is_verified_beside_the_first(rig: ToolRig) -> None:
    """Appended to a PE file; the first one may be another tool's."""
    needs("osslsigncode", "efitools", "libengine-pkcs11-openssl")
    shutil.copy("/usr/lib/efitools/x86_64-linux-gnu/HelloWorld.efi", rig.folder / "plain.exe")
    raw = bytearray((rig.folder / "plain.exe").read_bytes())
    subsystem_at = int.from_bytes(raw[0x3C:0x40], "little") + 24 + 68
    raw[subsystem_at] = 3  # a program of Windows: nested signatures are for those
    (rig.folder / "plain.exe").write_bytes(raw)
    first = osslsigncode("plain.exe", "dual.exe")
    done(rig, f"sigmill run --config client.toml --key release -- sh -c '{first}'")
    assert rig.run(f"{SIGN} --key release-ec dual.exe").code == 1
    assert "unchanged" in done(rig, f"{SIGN} --key release dual.exe")
    done(rig, f"{SIGN} --key release-ec --append dual.exe")
    assert "Number of verified signatures: 2" in done(rig, f"{VERIFY} dual.exe")
    done(rig, f"{SIGN} --key release-ec --append dual.exe")
    flip(rig.folder / "dual.exe", b".text")
    assert rig.run(f"{VERIFY} dual.exe").code != 0


def test_boot_images_are_verified_with_both_signatures(rig: ToolRig) -> None:
    """Firmware reads table entries, and sbverify does."""
    needs("sbsigntool", "efitools")
    done(rig, f"{SIGN} --key release boot.efi")
    done(rig, f"{SIGN} --key release-ec --append boot.efi")
    listed = done(rig, "sbverify --list boot.efi")
    assert "signature 2" in listed
    done(rig, "sbverify --cert ca.pem boot.efi")
    flip(rig.folder / "boot.efi", b".text")
    assert rig.run("sbverify --cert ca.pem boot.efi").code != 0


def test_cabinets_are_verified(rig: ToolRig) -> None:
    """Also after a signature of osslsigncode has been replaced, whose digest is the same; gcab still reads the content."""
    needs("osslsigncode", "gcab", "libengine-pkcs11-openssl")
    done(rig, "gcab -c app.cab app.bin app.spec")
    done(rig, f"sigmill run --config client.toml -- sh -c '{osslsigncode('app.cab', 'signed.cab')}'")
    assert "unchanged" in done(rig, f"{SIGN} --key release signed.cab")
    assert rig.run(f"{SIGN} --key release-ec --append signed.cab").code == 1
    done(rig, f"{SIGN} --key release-ec --replace signed.cab")
    done(rig, f"{SIGN} --key release app.cab")
    for name in ("app.cab", "signed.cab"):
        assert "Number of verified signatures: 1" in done(rig, f"{VERIFY} {name}")
    done(rig, "mkdir out && cd out && gcab -x ../app.cab && cmp app.bin ../app.bin")
    raw = bytearray((rig.folder / "app.cab").read_bytes())
    raw[0x100] ^= 1
    (rig.folder / "app.cab").write_bytes(raw)
    assert rig.run(f"{VERIFY} app.cab").code != 0


def test_packages_are_verified(rig: ToolRig) -> None:
    """Small and larger than one table of sectors; msiextract still reads the content."""
    needs("osslsigncode", "wixl", "msitools", "libengine-pkcs11-openssl")
    done(rig, f"sigmill run --config client.toml -- sh -c '{osslsigncode('app.msi', 'signed.msi')}'")
    assert "unchanged" in done(rig, f"{SIGN} --key release signed.msi")
    done(rig, f"{SIGN} --key release-ec --replace signed.msi")
    done(rig, "cp app.bin small.bin && head -c 12000000 /dev/urandom > app.bin && wixl -o large.msi app.wxs")
    done(rig, f"{SIGN} --key release app.msi large.msi")
    for name in ("app.msi", "signed.msi", "large.msi"):
        assert "Number of verified signatures: 1" in done(rig, f"{VERIFY} {name}")
    for name, content in (("app.msi", "small.bin"), ("large.msi", "app.bin")):
        done(rig, f"rm -rf out && msiextract -C out {name} && cmp out/app.bin {content}")
        flip(rig.folder / name, b"MSCF")
        assert rig.run(f"{VERIFY} {name}").code != 0


def test_time_stamps_are_verified_and_a_dead_server_is_no_obstacle(rig: ToolRig) -> None:
    """The second server is asked; without any, each file fails as it was, and with --timestamp-optional it is signed."""
    needs("osslsigncode", "efitools")
    names = [f"stamped-{i}.exe" for i in range(5)]
    for name in names:
        shutil.copy(rig.folder / "app.exe", rig.folder / name)
    dead = f"--timestamp-url http://127.0.0.1:{free_port()}/"
    with TimeStampAuthority(rig.folder / "tsa") as authority:
        alive = f"--timestamp-url {authority.url}"
        done(rig, f"{SIGN} --key release {dead} {alive} {' '.join(names)}")
        done(rig, f"{SIGN} --key release-ec {alive} --format cms app.bin")
        text = done(rig, f"{SIGN} --key release {dead} {alive} --json {' '.join(names)}")
    assert text.count('"unchanged"') == 5
    for name in names:
        text = done(rig, f"{VERIFY} {name} {TSA}")
        assert STAMPED in text
    flip(rig.folder / "stamped-0.exe", b".text")
    flip(rig.folder / "stamped-1.exe", TST_INFO, at_byte=len(TST_INFO) + 30)
    assert rig.run(f"{VERIFY} stamped-0.exe {TSA}").code != 0
    # Of the time-stamp it says nothing then; the signature itself holds, so its exit code is 0.
    assert STAMPED not in rig.run(f"{VERIFY} stamped-1.exe {TSA}").text
    shutil.copy(rig.folder / "boot.efi", rig.folder / "plain.efi")
    done(rig, f"{SIGN} --key release {dead} --timestamp-optional --timestamp-deadline 1s plain.efi")
    before = (rig.folder / "boot.efi").read_bytes()
    ran = rig.run(f"{SIGN} --key release {dead} --timestamp-deadline 1s boot.efi")
    assert ran.code == 75, ran.text
    assert "[timestamp.unavailable]" in ran.text
    assert (rig.folder / "boot.efi").read_bytes() == before
    text = done(rig, "openssl cms -cmsout -print -inform DER -in app.bin.p7s")
    assert "id-smime-aa-timeStampToken" in text


@pytest.mark.parametrize(
    "options", ["--key release", "--key release-ec", "--key release --algorithm RSASSA_PSS_SHA_512"]
)
def test_detached_signatures_are_verified_by_openssl(rig: ToolRig, options: str) -> None:
    """Each scheme that CMS has; a changed byte of the file is refused."""
    verify = "openssl cms -verify -inform DER -in app.bin.p7s -binary -content app.bin -CAfile ca.pem -purpose any -out x"
    done(rig, f"{SIGN} {options} --format cms app.bin")
    assert "unchanged" in done(rig, f"{SIGN} {options} --format cms app.bin")
    assert "successful" in done(rig, verify)
    flip(rig.folder / "app.bin", b"artefact")
    assert rig.run(verify).code != 0
    assert rig.run(f"{SIGN} {options} --format cms app.bin").code == 1


def test_raw_signatures_are_verified_by_openssl(rig: ToolRig) -> None:
    """`openssl dgst -verify` accepts the signature, and refuses a changed byte; no certificate is needed."""
    done(rig, f"{SIGN} --key release-ec --format raw app.bin")
    verify = "openssl dgst -sha256 -verify release-ec.pub -signature app.bin.sig app.bin"
    assert "Verified OK" in done(rig, verify)
    flip(rig.folder / "app.bin", b"artefact")
    assert rig.run(verify).code != 0
