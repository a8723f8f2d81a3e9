"""Refresh of the files of providers' keys: at an interval, and when the lane meets an unknown key.

A file stays as it is while its provider is away: old keys verify tokens until ``max_keys_age_s``. A key that the provider has
withdrawn is gone with the next successful fetch. Providers are fetched side by side, each in a thread of its own: one that hangs
delays no other.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from queueing.files.durable_file import replace_durably
from workers.issuer.fetching import FetchFailed, KeySource, fetch_keys
from workers.issuer.identity.provider_keys import encode_keys
from workers.issuer.identity.signed_token import REFRESH_S

if TYPE_CHECKING:
    from concurrent.futures import Future
    from threading import Event

    from workers.issuer.issuer_file import IssuerConfiguration
    from workers.issuer.refresh_socket import RefreshListener

log = logging.getLogger("sigmill.issuer")

INTERVAL_S: Final = 300.0
"""GitHub and Google let their keys be cached for minutes to a day; a withdrawn key is gone after five minutes."""

RETRY_S: Final = 30.0
_WATCH_S: Final = 1.0
_FILE_MODE: Final = 0o644
"""Public keys, which the lane reads as another user."""


class KeyRefresher:
    """Writer of the files of keys of all providers."""

    def __init__(self, configuration: IssuerConfiguration) -> None:
        self._configuration = configuration
        self._tried_s: dict[str, float] = {}
        self._due_s = dict.fromkeys(configuration.providers, 0.0)
        self._running: dict[str, Future[str]] = {}

    def refresh_all(self) -> dict[str, str]:
        """Fetch the keys of all providers; the error of each that failed, by its name."""
        providers = self._configuration.providers
        with self._threads() as threads:
            found = dict(zip(providers, threads.map(self._refresh, providers), strict=True))
        return {name: why for name, why in found.items() if why}

    def watch(self, listener: RefreshListener | None, stop: Event) -> None:
        """Refresh each provider at its interval, and when it is asked for, until ``stop`` is set and what runs has ended.

        A provider that is asked for is fetched at most once in ``REFRESH_S``; earlier requests for it are dropped.
        """
        with self._threads() as threads:
            while not stop.is_set():
                self._note_ended()
                self._start_due(threads)
                if listener is None:
                    stop.wait(_WATCH_S)
                elif (wanted := listener.wait(_WATCH_S)) is not None:
                    self.asked(wanted, time.monotonic())

    def asked(self, name: str, now_s: float) -> bool:
        """Make a provider due now, unless it was fetched within ``REFRESH_S`` (monotonic); whether it is. A fetch that runs is enough."""
        if name not in self._due_s or now_s - self._tried_s.get(name, -REFRESH_S) < REFRESH_S:
            return False
        self._due_s[name] = now_s
        return True

    def _threads(self) -> ThreadPoolExecutor:
        """Pool with a thread for each provider: of fewer threads, providers that hang could have all."""
        return ThreadPoolExecutor(
            max(1, len(self._configuration.providers)), thread_name_prefix="provider-keys"
        )

    def _start_due(self, threads: ThreadPoolExecutor) -> None:
        now_s = time.monotonic()
        for name, due_s in self._due_s.items():
            if due_s <= now_s and name not in self._running:
                self._running[name] = threads.submit(self._refresh, name)

    def _note_ended(self) -> None:
        """Say when those are due again whose fetch has ended. Raises what is a defect."""
        for name in [name for name, fetch in self._running.items() if fetch.done()]:
            failed = self._running.pop(name).result()
            self._due_s[name] = time.monotonic() + (RETRY_S if failed else INTERVAL_S)

    def _refresh(self, name: str) -> str:
        """Fetch and write the keys of one provider; why it failed, or ''."""
        provider = self._configuration.providers[name]
        ca_file = None if provider.ca_file is None else self._configuration.path(provider.ca_file)
        source = KeySource(issuer_url=provider.issuer_url, jwks_url=provider.jwks_url, ca_file=ca_file)
        try:
            keys = fetch_keys(source, time.time())
            replace_durably(self._configuration.keys_file(name), encode_keys(keys), mode=_FILE_MODE)
        except (FetchFailed, OSError) as error:
            why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            log.warning("issuer.keys_failed", extra={"provider": name, "why": why})
            return why
        finally:
            self._tried_s[name] = time.monotonic()
        log.info("issuer.keys_fetched", extra={"provider": name, "keys": len(keys.keys)})
        return ""
