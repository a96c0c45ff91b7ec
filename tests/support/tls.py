"""A Redis that speaks TLS, with certificates of a CA that nobody else trusts."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
import trustme

from tests.support.server import RedisServer, find_binary, free_port


class Authority:
    """A CA, and where the files of what it signs are."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self._directory = directory
        self._count = 0
        self.path = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.path)

    def issue(self, *names: str, expired: bool = False) -> tuple[Path, Path]:
        """Return the paths of a certificate for these names, and of its key."""
        ends = datetime.now(UTC) - timedelta(days=1) if expired else None
        issued = self._ca.issue_cert(*names, not_after=ends)
        self._count += 1
        certificate = self._directory / f"{self._count}.crt"
        key = self._directory / f"{self._count}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key


class TlsServer(RedisServer):
    """
    A server with a port for TLS beside the plain one.

    With ``asks_for_certificate`` it lets in only clients that the authority has signed.
    """

    def __init__(
        self,
        authority: Authority,
        certificate: tuple[Path, Path],
        *,
        asks_for_certificate: bool = False,
    ) -> None:
        path, key = certificate
        super().__init__(
            {
                "tls-cert-file": path,
                "tls-key-file": key,
                "tls-ca-cert-file": authority.path,
                "tls-auth-clients": "yes" if asks_for_certificate else "no",
            },
            binary=tls_binary(),
        )
        self.tls_port = 0

    def tls_url(self, query: str = "", *, host: str = "localhost") -> str:
        """The address over TLS, with parameters of the URL."""
        return f"rediss://{host}:{self.tls_port}/0?{query}"

    def _arguments(self, port: int) -> list[str]:
        self.tls_port = self.tls_port or free_port()
        return [*super()._arguments(port), "--tls-port", str(self.tls_port)]


@cache
def tls_binary() -> Path:
    """Return a server that speaks TLS; skip the test when there is none."""
    for binary in {find_binary(), Path(shutil.which("redis-server") or find_binary())}:
        # Without a certificate those that can do it say so, and end like the others.
        said = subprocess.run(
            [str(binary), "--port", "0", "--tls-port", "1"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        if "Failed to configure TLS" in said.stdout:
            return binary
    pytest.skip("no server here is built with TLS: install redis-server")
