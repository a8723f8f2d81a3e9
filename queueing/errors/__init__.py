"""Errors of signing, as one closed tree.

SigningError                      reason, retryable, denied, hint
├── Denied                        the caller may not; a retry changes nothing
│   ├── KeyUnknown · KeyDisabled · KeyExpired
│   ├── AlgorithmMismatch
│   ├── EnvelopeSignature · EnvelopeAudience
│   ├── ClientUnknown · ClientRevoked · ClientExpired
│   ├── GrantRefused · GrantExpired · GrantExhausted · IdentityRefused
│   └── PolicyDenied
├── Invalid                       the input is wrong; the same input fails again
│   ├── AlgorithmUnknown · DigestLength · EnvelopeMalformed · EnvelopeExpired · GrantMalformed
│   ├── JobCancelled · JobConflict · JobPoisoned · JobUnknown · FunctionUnknown
│   ├── InputUnreadable · OutputUnwritable · ResultInvalid · ProofInvalid
│   └── ArtifactInvalid · ArtifactSigned
└── Unavailable                   not now; the same request may succeed later (retryable)
    ├── LimitRate · LimitBacklog · LimitBudget
    ├── JobExpired · WaitTimeout
    ├── TokenUnavailable · HsmFault · ClockSetBack · ConfigBehind
    ├── LogUnavailable · QueueUnavailable · QueueUnconfirmed
    ├── IdentityUnavailable · IssuerUnavailable
    └── TimeStampUnavailable · ReceiptMissing · CreationBusy

``ConfigError`` is separate: an operator gets it at start-up or reload, a job never does.

``reason`` is at once the metric label, the code in JSON and the dead letter's reason. No message carries
a PIN, a key, a digest or a payload.

root         the root, its three branches, and ``ConfigError``
denied       errors of ``Denied``
invalid      errors of ``Invalid``
unavailable  errors of ``Unavailable``
codes        the closed set of reasons, and the error for a reason
counts       counts with nouns and verbs, for messages
durations    durations in words, for messages

Import the errors from here. Must never import any other folder.
"""

from queueing.errors.codes import BY_REASON, RESULT_REASONS, from_reason
from queueing.errors.denied import (
    AlgorithmMismatch,
    ClientExpired,
    ClientRevoked,
    ClientUnknown,
    EnvelopeAudience,
    EnvelopeSignature,
    GrantExhausted,
    GrantExpired,
    GrantRefused,
    IdentityRefused,
    KeyDisabled,
    KeyExpired,
    KeyUnknown,
    PolicyDenied,
)
from queueing.errors.invalid import (
    AlgorithmUnknown,
    ArtifactInvalid,
    ArtifactSigned,
    DigestLength,
    EnvelopeExpired,
    EnvelopeMalformed,
    FunctionUnknown,
    GrantMalformed,
    InputUnreadable,
    JobCancelled,
    JobConflict,
    JobPoisoned,
    JobUnknown,
    OutputUnwritable,
    ProofInvalid,
    ResultInvalid,
)
from queueing.errors.root import (
    ConfigError,
    Denied,
    Invalid,
    SigningError,
    Unavailable,
)
from queueing.errors.unavailable import (
    ClockSetBack,
    ConfigBehind,
    CreationBusy,
    HsmFault,
    IdentityUnavailable,
    IssuerUnavailable,
    JobExpired,
    LimitBacklog,
    LimitBudget,
    LimitRate,
    LogUnavailable,
    QueueUnavailable,
    QueueUnconfirmed,
    ReceiptMissing,
    TimeStampUnavailable,
    TokenUnavailable,
    WaitTimeout,
)

__all__ = [
    "BY_REASON",
    "RESULT_REASONS",
    "AlgorithmMismatch",
    "AlgorithmUnknown",
    "ArtifactInvalid",
    "ArtifactSigned",
    "ClientExpired",
    "ClientRevoked",
    "ClientUnknown",
    "ClockSetBack",
    "ConfigBehind",
    "ConfigError",
    "CreationBusy",
    "Denied",
    "DigestLength",
    "EnvelopeAudience",
    "EnvelopeExpired",
    "EnvelopeMalformed",
    "EnvelopeSignature",
    "FunctionUnknown",
    "GrantExhausted",
    "GrantExpired",
    "GrantMalformed",
    "GrantRefused",
    "HsmFault",
    "IdentityRefused",
    "IdentityUnavailable",
    "InputUnreadable",
    "Invalid",
    "IssuerUnavailable",
    "JobCancelled",
    "JobConflict",
    "JobExpired",
    "JobPoisoned",
    "JobUnknown",
    "KeyDisabled",
    "KeyExpired",
    "KeyUnknown",
    "LimitBacklog",
    "LimitBudget",
    "LimitRate",
    "LogUnavailable",
    "OutputUnwritable",
    "PolicyDenied",
    "ProofInvalid",
    "QueueUnavailable",
    "QueueUnconfirmed",
    "ReceiptMissing",
    "ResultInvalid",
    "SigningError",
    "TimeStampUnavailable",
    "TokenUnavailable",
    "Unavailable",
    "WaitTimeout",
    "from_reason",
]
