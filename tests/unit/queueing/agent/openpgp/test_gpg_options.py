"""Command lines of the programs that call gpg, as they were captured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.openpgp.gpg_options import NotObeyed, NotSigning, SignOptions, log_target, read_options

GIT = ["--status-fd=2", "-bsau", "release"]
RPMSIGN = [
    "--no-verbose",
    "--no-armor",
    "--no-secmem-warning",
    "--digest-algo=sha256",
    "-u",
    "release",
    "-sbo",
    "s",
    "--",
    "-f",
]
DEBSIGN = [
    "--local-user",
    "release",
    "--clearsign",
    "--list-options",
    "no-show-policy-urls",
    "--armor",
    "--textmode",
]
DEBSIGN += ["--output", "f.asc", "f"]


def test_the_command_line_of_git_is_read() -> None:
    """A detached signature of stdin, armored to stdout; git waits for a status line on stderr."""
    assert read_options(GIT) == SignOptions(
        mode="detach", armor=True, user="release", output=None, status=2, digest=None, file=None
    )


def test_the_command_line_of_rpmsign_is_read() -> None:
    """A detached signature. `-o` is joined to other options; a file behind `--` may begin with a dash."""
    assert read_options(RPMSIGN) == SignOptions(
        mode="detach", armor=False, user="release", output="s", status=None, digest="sha256", file="-f"
    )


def test_the_command_line_of_debsign_is_read() -> None:
    """A cleartext signature. Options of listings are skipped with their values."""
    assert read_options(DEBSIGN) == SignOptions(
        mode="clear", armor=True, user="release", output="f.asc", status=None, digest=None, file="f"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--version"],
        ["--verify", "s", "f"],
        ["--list-secret-keys"],
        ["-K", "release"],
        ["--sign", "f"],
        ["-b", "one", "two"],
        ["-b", "-u"],
        ["--clearsign", "--detach-sign", "f"],
    ],
)
def test_everything_else_is_gpgs(arguments: list[str]) -> None:
    """Verification, listings, and what this program would not do as gpg does."""
    with pytest.raises(NotSigning):
        read_options(arguments)


@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from([*GIT, *RPMSIGN, *DEBSIGN])), max_size=12))
def test_any_words_sign_or_are_gpgs(words: list[str]) -> None:
    """No other exception than ``NotSigning`` and ``NotObeyed``."""
    try:
        options = read_options(words)
    except (NotSigning, NotObeyed):
        return
    assert options.mode in ("detach", "clear")


@pytest.mark.parametrize("arguments, yes", [(["--batch"], False), (["--batch", "--yes"], True)])
def test_an_existing_output_is_replaced_by_yes_alone(arguments: list[str], yes: bool) -> None:
    """`--batch` says that no person can be asked, not what the answer is."""
    assert read_options([*arguments, "-b", "f"]).yes is yes


@pytest.mark.parametrize(
    "descriptor", ["\u00b2", "\u0663", "-1", "", "9" * 5000], ids=["power", "arabic", "-1", "none", "long"]
)
def test_a_status_descriptor_that_is_no_number_is_none(descriptor: str) -> None:
    """The signature is made, and nobody is told of it."""
    assert read_options(["--status-fd", descriptor, "-b", "f"]).status is None


@pytest.mark.parametrize(
    "words, status",
    [
        (["--status-file", "st"], "st"),
        (["--status-fd", "2", "--status-file=st"], "st"),
        (["--status-file=st", "--status-fd", "2"], 2),
        (["--status-fd=1", "--status-fd=2"], 2),
        (["--status-file", ""], ""),
    ],
    ids=["file", "file last", "descriptor last", "two descriptors", "no name"],
)
def test_status_lines_go_where_the_last_option_says(words: list[str], status: int | str) -> None:
    """A file as a descriptor; the option before is forgotten, as by gpg."""
    assert read_options([*words, "-b", "f"]).status == status


@pytest.mark.parametrize(
    "words, log",
    [
        ([], None),
        (["--logger-fd", "3"], 3),
        (["--logger-file", "log"], "log"),
        (["--log-file=log", "--logger-fd=2"], "log"),
        (["--logger-fd=2", "--log-file=log", "--invented"], "log"),
        (["--logger-fd", "x"], None),
    ],
    ids=["stderr", "descriptor", "file", "file first", "beside a refused option", "no number"],
)
def test_messages_go_where_the_log_is(words: list[str], log: int | str | None) -> None:
    """A file counts before a descriptor, whatever their order, as in gpg."""
    assert log_target([*words, "-b", "f"]) == log


@pytest.mark.parametrize(
    "words, dry", [(["-n", "-b"], True), (["-nb"], True), (["--dry-run", "-b"], True), (["-b"], False)]
)
def test_a_dry_run_is_read(words: list[str], dry: bool) -> None:
    """In every form in which gpg takes it."""
    assert read_options([*words, "f"]).dry_run is dry


@pytest.mark.parametrize(
    "words, output",
    [(["-o", "one", "--output", "two"], "two"), (["--output=two", "-oone"], "one")],
    ids=["long", "short"],
)
def test_the_last_output_is_written(words: list[str], output: str) -> None:
    """Whichever form of the option it has, as in gpg."""
    assert read_options([*words, "-b", "f"]).output == output


@pytest.mark.parametrize("words, armor", [(["--armor", "--no-armor"], False), (["--no-armor", "-a"], True)])
def test_the_last_word_about_armor_counts(words: list[str], armor: bool) -> None:
    """As in gpg, whose defaults a program's own options follow."""
    assert read_options([*words, "-b", "f"]).armor is armor


@pytest.mark.parametrize(
    "words",
    [
        ["--sig-notation", "a@b=c"],
        ["--set-notation=a@b=c"],
        ["-N", "a@b=c"],
        ["-Na@b=c"],
        ["--sig-policy-url", "https://example.com"],
        ["--set-policy-url", "https://example.com"],
        ["--sig-keyserver-url", "https://example.com"],
        ["--faked-system-time", "20200101T000000!"],
        ["--faked-system-time=1"],
        ["--default-sig-expire", "2y"],
        ["--default-sig-expire=2030-01-01"],
        ["--ask-sig-expire"],
        ["--include-key-block"],
        ["--sender", "release@example.com"],
        ["--not-dash-escaped"],
        ["--rfc2440"],
        ["--pgp6"],
        ["--textmode"],
        ["-t"],
        ["-u", "one", "--local-user", "two"],
        ["--options", "gpg.conf"],
        ["--encrypt"],
        ["--sig-notat", "a@b=c"],
        ["--invented"],
        ["--multifile"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_an_option_that_changes_the_signature_is_refused(words: list[str], first: bool) -> None:
    """Also one that is cut short, as gpg allows it, or not known: it may claim something that the signature does not have."""
    with pytest.raises(NotObeyed, match="cannot be obeyed"):
        read_options([*words, "-b", "f"] if first else ["-b", *words])


@pytest.mark.parametrize(
    "words",
    [
        ["--no-tty", "--batch", "--quiet", "--no-greeting", "--lock-never", "--use-agent", "--expert"],
        ["--pinentry-mode", "loopback", "--passphrase-fd", "0", "--passphrase-repeat", "0"],
        ["--no-auto-check-trustdb", "--no-sk-comments", "--force-v3-sigs", "--no-default-keyring"],
        ["--cert-notation", "a@b=c", "--cert-policy-url", "x", "--default-cert-expire", "2y"],
        ["--default-sig-expire", "0", "--no-ask-sig-expire", "--disable-signer-uid"],
        ["--textmode", "--no-textmode", "--options", "/dev/null"],
        ["-u", "one", "--local-user", "one", "--recipient", "r"],
    ],
    ids=lambda words: words[0],
)
def test_an_option_that_changes_no_signature_of_data_is_accepted(words: list[str]) -> None:
    """Its value is never the file."""
    assert read_options([*words, "-b", "f"]).file == "f"


@pytest.mark.parametrize("words", [["--sig-notation", "a@b=c"], ["--invented"], ["--faked-system-time", "1"]])
def test_options_of_commands_that_do_not_sign_are_gpgs(words: list[str]) -> None:
    """They are passed on with the command, whatever they are."""
    with pytest.raises(NotSigning):
        read_options([*words, "--verify", "s", "f"])


def test_hashes_are_named_as_gpg_names_them() -> None:
    """By name or by number; preferences are in their order."""
    options = read_options(["--digest-algo", "H10", "--personal-digest-preferences", "SHA1 h9,SHA256", "-b"])
    assert (options.digest, options.preferred) == ("sha512", ("sha1", "sha384", "sha256"))
