"""A registry of container images on this machine (docker-registry), and images that are pushed to it."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import time
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any, Self

from tests.support.ports import free_port

_CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/images}}, delete: {{enabled: true}}}}
http: {{addr: '127.0.0.1:{port}'}}
"""
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class ImageRegistry:
    """Runs from ``__enter__`` to ``__exit__``. ``name``: host and port, as image names have them."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        folder.mkdir()
        self._config = folder / "config.yml"
        self._config.write_text(_CONFIG.format(folder=folder, port=port))
        self._log = folder / "log"
        self.name = f"127.0.0.1:{port}"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end_s = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end_s, "the registry does not answer"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def push(self, layer: bytes) -> str:
        """Push an image ``app`` of one layer; return the digest of its manifest."""
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": self._blob(config, "application/vnd.oci.image.config.v1+json"),
                "layers": [self._blob(layer, "application/vnd.oci.image.layer.v1.tar")],
            }
        ).encode()
        self._put("manifests/latest", manifest, _MANIFEST)
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    def copy_signatures(self, of: str, to: str) -> None:
        """Give an image the signatures of another one, as an attacker with write access to the registry
        does.
        """
        tags = [f"{digest.replace(':', '-')}.sig" for digest in (of, to)]
        manifest, _ = self._ask("GET", f"app/manifests/{tags[0]}", headers={"Accept": _MANIFEST})
        self._put(f"manifests/{tags[1]}", manifest, _MANIFEST)

    def _blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        _, headers = self._ask("POST", "app/blobs/uploads/")
        place = headers["Location"].partition("/v2/")[2]
        binary = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", f"{place}&digest={digest}", content, binary)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def _put(self, path: str, content: bytes, media_type: str) -> None:
        self._ask("PUT", f"app/{path}", content, {"Content-Type": media_type})

    def _ask(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, Message]:
        connection = http.client.HTTPConnection(self.name, timeout=30)
        try:
            connection.request(method, f"/v2/{path}", content, headers or {})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, raw
        return raw, answer.headers

    def _answers(self) -> bool:
        try:
            self._ask("GET", "")
        except ConnectionError:
            return False
        return True
