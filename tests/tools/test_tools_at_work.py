"""Real tools through `sigmill run` beyond the recipes: other kinds of file, many at once, and what a denial looks like."""

from __future__ import annotations

import hashlib
import zipfile

import pytest

from tests.support.time_stamps import TimeStampAuthority
from tests.tools.conftest import LACKING, ToolRig, flip

RUN = "sigmill run --config client.toml"
KEY = "'pkcs11:token=sigmill;object=release'"
QUOTED = '"pkcs11:token=sigmill;object=release"'


def needs(*packages: str) -> None:
    """Skip what the distribution cannot run."""
    lacking = LACKING & {*packages}
    if lacking:
        pytest.skip(f"this distribution has no {', '.join(sorted(lacking))}")


def test_pkcs11_tool_sees_each_key_with_its_certificate(rig: ToolRig) -> None:
    """Private key, public key and certificate share label and ID; no PIN is asked for."""
    needs("opensc")
    ran = rig.run(f"{RUN} --key release -- sh -c 'pkcs11-tool --module $SIGMILL_PKCS11_MODULE -O'")
    assert ran.code == 0, ran.text
    assert ran.text.count("ID:         72656c65617365\n") == 3
    assert "release-ec" not in ran.text


def test_openssl_makes_pss_signatures(rig: ToolRig) -> None:
    """With the salt that Sigmill makes; a changed byte is refused.

    OpenSSL's own default is refused, with the option to use.
    """
    needs("libengine-pkcs11-openssl")
    sign = f"openssl dgst -sha256 -engine pkcs11 -keyform engine -sign {KEY} -sigopt rsa_padding_mode:pss"
    salt = "-sigopt rsa_pss_saltlen:digest"
    ran = rig.run(f"{RUN} -- {sign} {salt} -out app.sig app.bin")
    assert ran.code == 0, ran.text
    verify = (
        "openssl x509 -in release.pem -pubkey -noout > release.pub && openssl dgst -sha256 -verify release.pub"
        f" -sigopt rsa_padding_mode:pss {salt} -signature app.sig app.bin"
    )
    assert "Verified OK" in rig.run(verify).text
    flip(rig.folder / "app.bin", b"artefact")
    assert "Verification failure" in rig.run(verify).text
    ran = rig.run(f"{RUN} -- {sign} -sigopt rsa_pss_saltlen:20 -out app.sig app.bin")
    assert ran.code == 77
    assert "rsa_pss_saltlen:digest" in ran.text


JARSIGNER = f"{RUN} --key release -- jarsigner -keystore NONE -storetype PKCS11 -protected"
APKSIGNER = (
    f"{RUN} --key release -- apksigner sign --ks NONE --ks-type PKCS11 --ks-key-alias release --ks-pass pass:none"
    " --min-sdk-version 28"
)


def test_an_archive_in_an_archive_is_signed_as_any_entry(rig: ToolRig) -> None:
    """A changed byte in the inner one is refused."""
    needs("default-jdk-headless")
    with zipfile.ZipFile(rig.folder / "app.jar", "a") as jar:
        jar.write(rig.folder / "app.apk", "lib/inner.jar")
    ran = rig.run(f"{JARSIGNER} app.jar release")
    assert ran.code == 0, ran.text
    assert "jar verified." in rig.run("jarsigner -verify app.jar").text
    flip(rig.folder / "app.jar", b"<manifest/>")
    assert rig.run("jarsigner -verify app.jar").code != 0


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "package, sign, told",
    [
        ("default-jdk-headless", f"{JARSIGNER} app.jar release", "duplicate entry: twice"),
        ("apksigner", f"{APKSIGNER} --in app.jar --out signed.jar", "entries with the same name: twice"),
    ],
    ids=["jarsigner", "apksigner"],
)
def test_two_entries_of_one_name_are_refused_by_the_tools(
    rig: ToolRig, package: str, sign: str, told: str
) -> None:
    """Readers would see one or the other; the tool's own words are shown, and nothing is signed."""
    needs(package)
    with zipfile.ZipFile(rig.folder / "app.jar", "a") as jar:
        jar.writestr("AndroidManifest.xml", b"<manifest/>")
        jar.writestr("twice", b"first")
        jar.writestr("twice", b"other")
    before = (rig.folder / "app.jar").read_bytes()
    ran = rig.run(sign)
    assert ran.code == 1, ran.text
    assert told in ran.text
    assert (rig.folder / "app.jar").read_bytes() == before
    output = rig.folder / "signed.jar"  # apksigner makes it first
    assert not output.exists() or not zipfile.is_zipfile(output)


def test_osslsigncode_signs_cabinets(rig: ToolRig) -> None:
    """Its verifier accepts the signed cabinet, and refuses it with a changed byte."""
    needs("osslsigncode", "libengine-pkcs11-openssl", "gcab")
    sign = (
        f"osslsigncode sign -pkcs11module $SIGMILL_PKCS11_MODULE -certs release.pem -key {QUOTED} -h sha256"
    )
    verify = "osslsigncode verify -CAfile ca.pem -in signed.cab"
    for command in (
        "gcab -c app.cab app.bin",
        f"{RUN} -- sh -c '{sign} -in app.cab -out signed.cab'",
        verify,
    ):
        ran = rig.run(command)
        assert ran.code == 0, ran.text
    flip(rig.folder / "signed.cab", b"artefact")
    assert rig.run(verify).code != 0


def test_many_tools_at_once_sign_through_one_agent(rig: ToolRig) -> None:
    """Twenty processes: a PKCS#11 module with a PIN often fails so; here each artefact is signed."""
    needs("osslsigncode", "libengine-pkcs11-openssl")
    sign = (
        f"osslsigncode sign -pkcs11module $SIGMILL_PKCS11_MODULE -certs release.pem -key {QUOTED} -h sha256"
    )
    ran = rig.run(f"seq 20 | {RUN} -- xargs -P 20 -I% sh -c '{sign} -in app.exe -out signed-%.exe'")
    assert ran.code == 0, ran.text
    signed = sorted(rig.folder.glob("signed-*.exe"))
    assert len(signed) == 20
    ran = rig.run("for f in signed-*.exe; do osslsigncode verify -CAfile ca.pem -in $f || exit 1; done")
    assert ran.code == 0, ran.text
    flip(signed[-1], b".text")
    assert rig.run(f"osslsigncode verify -CAfile ca.pem -in {signed[-1].name}").code != 0


TOOLS = {
    "openssl": (
        "openssl dgst -sha256 -engine pkcs11 -keyform engine -sign 'pkcs11:token=sigmill;object=lapsed' -out x app.bin",
        ("libengine-pkcs11-openssl",),
    ),
    "jarsigner": (
        "jarsigner -keystore NONE -storetype PKCS11 -protected app.jar lapsed",
        ("default-jdk-headless",),
    ),
    "osslsigncode": (
        (
            "sh -c 'osslsigncode sign -pkcs11module $SIGMILL_PKCS11_MODULE -certs lapsed.pem"
            ' -key "pkcs11:token=sigmill;object=lapsed" -h sha256 -in app.exe -out signed.exe\''
        ),
        ("osslsigncode", "libengine-pkcs11-openssl"),
    ),
    "pkcs11-tool": (
        (
            "sh -c 'head -c 32 app.bin > d; pkcs11-tool --module $SIGMILL_PKCS11_MODULE --sign -m RSA-PKCS-PSS"
            " --hash-algorithm SHA256 --id 6c6170736564 --input-file d --output-file s'"
        ),
        ("opensc",),
    ),
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_denial_is_told_behind_the_tools_own_words(name: str, rig: ToolRig) -> None:
    """No tool can say why; `sigmill run` says it, once, and ends with 77."""
    command, packages = TOOLS[name]
    needs(*packages)
    ran = rig.run(f"{RUN} -- {command}")
    assert ran.code == 77, ran.text
    assert ran.text.count("[key.expired]") == 1
    assert "error: lapsed/1: " in ran.text


def test_sha1_is_refused_with_the_option_to_use(rig: ToolRig) -> None:
    """The tool's own exit code stays: the mistake is the command's."""
    needs("libengine-pkcs11-openssl")
    ran = rig.run(f"{RUN} -- openssl dgst -sha1 -engine pkcs11 -keyform engine -sign {KEY} -out x app.bin")
    assert ran.code not in (0, 75, 77)
    assert "-h sha256" in ran.text


APT = (
    "apt-get update -qq -o Dir::State=$PWD/apt/state -o Dir::Cache=$PWD/apt/cache -o Dir::Etc::SourceParts=/dev/null"
    " -o Dir::Etc::SourceList=$PWD/app.list -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any"
)


def test_apt_takes_a_repository_and_refuses_it_with_a_changed_byte(rig: ToolRig) -> None:
    """apt itself reads the InRelease that `sigmill-gpg --clearsign` made."""
    needs("gpgv")
    release = "Origin: Example\nSuite: stable\nCodename: stable\nDate: Fri, 27 Nov 2026 00:00:00 UTC\nArchitectures: all\n"
    index = "Package: app\nVersion: 1\nArchitecture: all\nFilename: app_1_all.deb\nSize: 1\n"
    (rig.folder / "repository/Packages").write_text(index)
    listed = f" {hashlib.sha256(index.encode()).hexdigest()} {len(index)} Packages\n"
    (rig.folder / "repository/Release").write_text(f"{release}SHA256:\n{listed}")
    source = f"deb [signed-by={rig.folder}/release.gpg] file:{rig.folder}/repository ./\n"
    (rig.folder / "app.list").write_text(source)
    sign = "sigmill-gpg --clearsign -u release --output repository/InRelease repository/Release"
    ran = rig.run(f"mkdir -p apt/state/lists/partial apt/cache; {RUN} --pgp release=release.asc -- {sign}")
    assert ran.code == 0, ran.text
    ran = rig.run(APT)
    assert ran.code == 0, ran.text
    signed = rig.folder / "repository/InRelease"
    signed.write_text(signed.read_text().replace("Origin: Example", "Origin: Exemple"))
    ran = rig.run(APT)
    assert ran.code != 0, ran.text


@pytest.mark.parametrize("verifier", ["gpgv --keyring ./release.gpg", "sqv --keyring release.gpg"])
@pytest.mark.parametrize("armor", ["", "--armor"])
def test_detached_signatures_are_read_by_both_implementations(
    rig: ToolRig, verifier: str, armor: str
) -> None:
    """GnuPG and Sequoia, armored or not; a changed byte is refused by both."""
    needs("gpgv", "sqv")
    sign = f"sigmill-gpg --batch {armor} --detach-sign --local-user release@example.com -o app.sig app.bin"
    ran = rig.run(f"{RUN} --pgp release=release.asc -- {sign}")
    assert ran.code == 0, ran.text
    assert rig.run(f"{verifier} app.sig app.bin").code == 0
    assert rig.run(f"printf x >> app.bin; {verifier} app.sig app.bin").code != 0


def test_git_commits_are_signed(rig: ToolRig) -> None:
    """`git commit -S`, judged by git and gpg: they refuse the commit with a changed byte, and one without a signature."""
    needs("git", "gnupg")
    ran = rig.run(f"{RUN} --pgp release=release.asc -- git commit -q -S --allow-empty -m signed")
    assert ran.code == 0, ran.text
    assert "Good signature" in rig.run("git verify-commit HEAD").text
    assert rig.run("git verify-commit HEAD~1").code != 0
    changed = rig.run(
        "git cat-file commit HEAD | sed 's/^signed$/sigNed/' | git hash-object -t commit -w --stdin"
    )
    ran = rig.run(f"git verify-commit {changed.text}")
    assert ran.code != 0
    assert "BAD signature" in ran.text


def test_git_signs_by_openpgp_where_a_person_signs_by_ssh(rig: ToolRig) -> None:
    """With `gpg.format` ssh, git 2.39 makes a tag without a signature, and succeeds."""
    needs("git", "gnupg")
    config = "git config gpg.format ssh && git config user.signingKey key.pub"
    ran = rig.run(f"{config} && {RUN} --pgp release=release.asc -- git tag -s v2 -m two")
    assert ran.code == 0, ran.text
    assert "Good signature" in rig.run("git verify-tag v2").text
    changed = rig.run("git cat-file tag v2 | sed 's/^two$/tWo/' | git hash-object -t tag -w --stdin")
    assert "BAD signature" in rig.run(f"git verify-tag {changed.text}").text


TEXTS = {
    "crlf": b"one\r\ntwo \r\n",
    "dashes": b"-----BEGIN PGP SIGNATURE-----\n- x\n--\n-",
    "blanks": b"one \t\n \t \n\ntwo\n\n\n",
    "empty": b"",
    "long": b"-" * 19_993 + b"\n",
    "bytes": bytes(range(1, 256)) * 3,
}


def test_cleartext_signatures_of_any_text_are_verified(rig: ToolRig) -> None:
    """Line ends, dashes, blanks and long lines; a changed byte is refused, and what gpgv would refuse is not signed."""
    needs("gpgv")
    for name, text in TEXTS.items():
        (rig.folder / f"{name}.txt").write_bytes(text)
    sign = "sigmill-gpg --clearsign $f || exit 1"
    ran = rig.run(f"{RUN} --pgp release=release.asc -- sh -c 'for f in *.txt; do {sign}; done'")
    assert ran.code == 0, ran.text
    for name in TEXTS:
        verify = f"gpgv --keyring ./release.gpg {name}.txt.asc"
        assert rig.run(verify).code == 0, name
        flip(rig.folder / f"{name}.txt.asc", b"SHA256\n\n", at_byte=8)
        assert rig.run(verify).code != 0, name


def test_an_openpgp_certificate_is_the_same_when_it_is_made_again(rig: ToolRig) -> None:
    """With the same creation time both have one fingerprint, which gpg shows."""
    made = [
        rig.run(
            "sigmill pgp certificate --config client.toml --key release-ec --user-id 'A <a@example.com>' --created 1700000000"
            f" -o {name}.asc"
        )
        for name in ("one", "two")
    ]
    assert [ran.code for ran in made] == [0, 0]
    assert made[0].text == made[1].text
    assert made[0].text.startswith("fingerprint: ")
    shown = rig.run("gpg --batch --show-keys --with-colons one.asc").text
    assert made[0].text.split()[1] in shown


def test_a_denial_of_an_openpgp_certificate_is_told(rig: ToolRig) -> None:
    """A certificate by an expired key ends with 77 and the reason; sigmill-gpg alone names `sigmill run
    --pgp`.
    """
    needs("git")
    refused = rig.run(
        "sigmill pgp certificate --config client.toml --key lapsed --user-id 'A <a@example.com>' -o l.asc"
    )
    assert refused.code == 77
    assert "[key.expired]" in refused.text
    ran = rig.run("sigmill-gpg -bsau release < app.bin")
    assert ran.code == 2
    assert "sigmill run --pgp" in ran.text


def test_osslsigncode_signs_installers(rig: ToolRig) -> None:
    """MSI is signed as PE is; a changed byte is refused."""
    needs("osslsigncode", "libengine-pkcs11-openssl", "wixl")
    sign = (
        f"osslsigncode sign -pkcs11module $SIGMILL_PKCS11_MODULE -certs release.pem -key {QUOTED} -h sha256"
    )
    verify = "osslsigncode verify -CAfile ca.pem -in signed.msi"
    for command in (
        f"{RUN} -- sh -c '{sign} -in app.msi -out signed.msi'",
        verify,
    ):
        ran = rig.run(command)
        assert ran.code == 0, ran.text
    flip(rig.folder / "signed.msi", b"MSCF")
    assert rig.run(verify).code != 0


def test_a_time_stamp_comes_from_the_tools_own_authority(rig: ToolRig) -> None:
    """`-ts` and `-tsa` as the tools have them: only the digest of the signature goes to the authority.

    A changed byte is refused by both verifiers.
    """
    needs("osslsigncode", "libengine-pkcs11-openssl", "efitools", "default-jdk-headless")
    with TimeStampAuthority(rig.folder / "tsa") as authority:
        sign = f"osslsigncode sign -pkcs11module $SIGMILL_PKCS11_MODULE -certs release.pem -key {QUOTED} -h sha256"
        ran = rig.run(f"{RUN} -- sh -c '{sign} -ts {authority.url} -in app.exe -out signed.exe'")
        assert ran.code == 0, ran.text
        jar = f"jarsigner -keystore NONE -storetype PKCS11 -protected -tsa {authority.url} app.jar release"
        ran = rig.run(f"{RUN} -- {jar}")
        assert ran.code == 0, ran.text
    verify = "osslsigncode verify -CAfile ca.pem -TSA-CAfile tsa/tsa.pem -in signed.exe"
    ran = rig.run(verify)
    assert ran.code == 0, ran.text
    assert "Timestamp Server Signature verification: ok" in ran.text
    flip(rig.folder / "signed.exe", b".text")
    assert rig.run(verify).code != 0
    verify = "jarsigner -verify -verbose -certs app.jar"
    ran = rig.run(verify)
    assert ran.code == 0, ran.text
    assert '\n  Timestamped by "CN=TSA" on ' in ran.text
    assert "\njar verified.\n" in ran.text
    flip(rig.folder / "app.jar", b"\xca\xfe\xba\xbe")
    assert rig.run(verify).code != 0
