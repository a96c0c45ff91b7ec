"""TLS: who is not certainly the server is refused, and is never spoken to in plain text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from django_jobqueue.exceptions import StoreUnavailable, WrongServer
from django_jobqueue.store.store import Store
from tests.support.tls import Authority, TlsServer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that has signed the servers."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[TlsServer]:
    """A server that is called localhost."""
    with TlsServer(authority, authority.issue("localhost")) as made:
        yield made


def test_a_server_with_a_certificate_of_a_trusted_ca_is_used(
    server: TlsServer, authority: Authority
) -> None:
    with closing(Store(server.tls_url(f"ssl_ca_certs={authority.path}"))) as store:
        store.queues.push({"q": [b"1"]})
        assert store.queues.page("q") == [b"1"]
        assert store.address == f"localhost:{server.tls_port}"


@pytest.mark.parametrize(
    ("query", "host", "reason"),
    [
        ("", "localhost", "self-signed certificate in certificate chain"),
        ("ssl_ca_certs={other}", "localhost", "self-signed certificate in certificate chain"),
        ("ssl_ca_certs={ca}", "127.0.0.1", "certificate is not valid for '127.0.0.1'"),
    ],
    ids=["unknown CA", "other CA", "other host"],
)
def test_a_certificate_that_proves_nothing_is_refused(
    server: TlsServer, authority: Authority, tmp_path: Path, query: str, host: str, reason: str
) -> None:
    given = query.format(ca=authority.path, other=Authority(tmp_path / "other").path)
    with closing(Store(server.tls_url(given, host=host))) as store:
        with pytest.raises(WrongServer) as caught:
            store.ping()
        assert reason in str(caught.value)
        with server.client() as client:
            clients = client.client_list()
        # Nobody came back over the plain port: only who asks now is there.
        assert len(clients) == 1


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    with TlsServer(authority, authority.issue("localhost", expired=True)) as expired:
        url = expired.tls_url(f"ssl_ca_certs={authority.path}")
        with closing(Store(url)) as store, pytest.raises(WrongServer, match="has expired"):
            store.ping()


@pytest.mark.parametrize("query", ["ssl_cert_reqs=none", "ssl_cert_reqs=none&ssl_check_hostname=1"])
def test_who_wants_to_checks_nothing(server: TlsServer, query: str) -> None:
    with closing(Store(server.tls_url(query, host="127.0.0.1"))) as store:
        store.ping()


def test_who_wants_to_checks_the_ca_and_not_the_host(
    server: TlsServer, authority: Authority
) -> None:
    query = f"ssl_ca_certs={authority.path}&ssl_check_hostname=false"
    with closing(Store(server.tls_url(query, host="127.0.0.1"))) as store:
        store.ping()


def test_plain_text_and_tls_do_not_meet(server: TlsServer) -> None:
    plain_to_tls = server.tls_url().replace("rediss:", "redis:")
    tls_to_plain = server.node_url.replace("redis:", "rediss:")
    for url in (plain_to_tls, tls_to_plain):
        with closing(Store(url, timeout=0.5)) as store, pytest.raises(StoreUnavailable):
            store.ping()


def test_a_client_shows_its_own_certificate(authority: Authority) -> None:
    certificate, key = authority.issue("worker")
    with TlsServer(authority, authority.issue("localhost"), asks_for_certificate=True) as strict:
        trusting = f"ssl_ca_certs={authority.path}"
        with closing(Store(strict.tls_url(trusting))) as store, pytest.raises(StoreUnavailable):
            store.ping()
        ours = f"{trusting}&ssl_certfile={certificate}&ssl_keyfile={key}"
        with closing(Store(strict.tls_url(ours))) as store:
            store.ping()
