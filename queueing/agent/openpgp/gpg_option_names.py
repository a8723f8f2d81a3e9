"""Names of gpg's options (gpg(1)) by what they have to do with a signature of data."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "--detach-sign": "detach",
    "--detach-sig": "detach",
    "-b": "detach",
    "--clearsign": "clear",
    "--clear-sign": "clear",
    "--sign": "sign",
    "-s": "sign",
}
"""Commands that sign; with ``sign`` alone the content is in the signature, which is gpg's own work."""


def _named(text: str) -> frozenset[str]:
    return frozenset(name if name.startswith("-") else f"--{name}" for name in text.split())


READ: Final = _named(
    """-u -o local-user default-key output status-fd status-file logger-fd logger-file log-file digest-algo
    personal-digest-preferences default-sig-expire options"""
)
"""Options with a value that `sigmill-gpg` obeys, or refuses by their value."""

NO_MATTER: Final = READ | _named(
    """-r -z agent-program attribute-fd attribute-file auto-key-locate bzip2-compress-level cert-digest-algo cert-notation
    cert-policy-url charset cipher-algo command-fd command-file comment compress-algo compress-level debug debug-level
    default-cert-expire default-cert-level default-keyserver-url default-new-key-algo default-preference-list
    default-recipient dirmngr-program disable-cipher-algo display-charset encrypt-to exec-path export-filter
    export-options gpg-agent-info group hidden-encrypt-to hidden-recipient hidden-recipient-file homedir import-filter
    import-options input-size-hint key-origin keyid-format keyring keyserver keyserver-options known-notation
    limit-card-insert-tries list-options min-cert-level passphrase passphrase-fd
    passphrase-file passphrase-repeat personal-cipher-preferences personal-compress-preferences photo-viewer
    pinentry-mode primary-keyring recipient recipient-file request-origin s2k-cipher-algo s2k-count s2k-digest-algo
    s2k-mode secret-keyring set-filename tofu-default-policy trust-model trustdb-name trusted-key
    try-secret-key ungroup verify-options weak-digest"""
)
"""Options with a value that change no signature of data, and those that are read. Of certifications: ``--cert-notation``."""

REFUSED_WITH_VALUE: Final = {
    **dict.fromkeys(
        ("-N", "--sig-notation", "--set-notation"), "signatures that sigmill-gpg makes have no notations"
    ),
    **dict.fromkeys(
        ("--sig-policy-url", "--set-policy-url"), "signatures that sigmill-gpg makes have no policy URL"
    ),
    "--sig-keyserver-url": "signatures that sigmill-gpg makes name no keyserver",
    "--faked-system-time": "signatures that sigmill-gpg makes have the time of this host's clock",
    "--sender": "signatures that sigmill-gpg makes name no sender",
    "--max-output": "sigmill-gpg writes signatures whole",
    "--compliance": "sigmill-gpg has one form of signatures",
    "--disable-pubkey-algo": "sigmill-gpg signs by the algorithm of the key",
    "--min-rsa-length": "the service has the rules of its keys",
}
"""Options that change a signature, or what it claims, and why they cannot be obeyed."""

REFUSED: Final = {
    "--include-key-block": "signatures that sigmill-gpg makes contain no key",
    "--ask-sig-expire": "signatures that sigmill-gpg makes do not expire",
    "--not-dash-escaped": "sigmill-gpg escapes dashes in clear-signed texts",
    **dict.fromkeys(
        ("--rfc2440", "--rfc2440-text", "--rfc4880bis", "--pgp6", "--pgp7", "--pgp8"),
        "sigmill-gpg signs as RFC 4880 says",
    ),
}

TEXT_MODE: Final = frozenset(["-t", "--textmode"])

DRY_RUN: Final = frozenset(["-n", "--dry-run"])

FLAGS_SHORT: Final = frozenset(["-a", "-t", "-v", "-q", "-n"])

FLAGS: Final = (
    FLAGS_SHORT
    | TEXT_MODE
    | DRY_RUN
    | _named(
        """allow-freeform-uid allow-multiple-messages allow-non-selfsigned-uid allow-secret-key-import
        allow-weak-digest-algos allow-weak-key-signatures always-trust armor ask-cert-expire ask-cert-level
        auto-check-trustdb auto-key-import auto-key-retrieve batch bzip2-decompress-lowmem debug-all debug-iolbf
        default-recipient-self disable-dirmngr disable-dsa2 disable-large-rsa disable-mdc disable-signer-uid
        emit-version enable-dsa2 enable-large-rsa enable-progress-filter escape-from-lines exit-on-status-write-error
        expert fast-list-mode fixed-list-mode for-your-eyes-only force-mdc force-sign-key force-v3-sigs force-v4-certs
        gnupg ignore-crc-error ignore-mdc-error ignore-time-conflict ignore-valid-from interactive legacy-list-mode
        lock-multiple lock-never lock-once mangle-dos-filenames no no-allow-multiple-messages no-armor no-ask-cert-expire
        no-ask-cert-level no-ask-sig-expire no-auto-check-trustdb no-auto-key-import no-auto-key-locate
        no-auto-key-retrieve no-autostart no-batch no-comments no-default-keyring no-default-recipient no-emit-version
        no-encrypt-to no-escape-from-lines no-expensive-trust-checks no-expert no-for-your-eyes-only no-force-v3-sigs
        no-force-v4-certs no-greeting no-groups no-include-key-block no-keyring no-mangle-dos-filenames no-options
        no-permission-warning no-random-seed-file no-require-cross-certification no-require-secmem no-rfc2440-text
        no-secmem-warning no-show-notation no-show-photos no-show-policy-url no-sig-cache no-sk-comments
        no-skip-hidden-recipients no-symkey-cache no-textmode no-throw-keyids no-tty no-use-agent
        no-use-embedded-filename no-utf8-strings no-verbose openpgp override-compliance-check preserve-permissions quiet
        require-cross-certification require-secmem rfc4880 show-keyring show-notation show-photos show-policy-url
        sk-comments skip-hidden-recipients throw-keyids try-all-secrets use-agent use-embedded-filename utf8-strings
        verbose with-colons with-fingerprint with-icao-spelling with-key-data with-key-origin with-keygrip with-secret
        with-subkey-fingerprint with-wkd-hash yes"""
    )
)
"""Options without a value that change no signature of data: ``--force-v3-sigs`` has had no effect since GnuPG 2.1."""
