"""What URLs say of one server, of Sentinels and of a cluster, and what is wrong with others."""

from __future__ import annotations

import pytest

from django_jobqueue.redis_url import find_fault, mask_url, parse

SECRET = "s3cr3t"


# What a URL says ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "kind", "hosts"),
    [
        ("redis://localhost", "server", [("localhost", 6379)]),
        ("rediss://u:p@redis.example:7000/3", "server", [("redis.example", 7000)]),
        ("redis://[::1]", "server", [("::1", 6379)]),
        ("unix:///run/redis.sock", "server", []),
        ("redis+sentinel://a/main", "sentinel", [("a", 26379)]),
        ("redis+sentinel://a:26380,[::1]:7/main/2", "sentinel", [("a", 26380), ("::1", 7)]),
        ("rediss+cluster://u:p@a,[fe80::2]", "cluster", [("a", 6379), ("fe80::2", 6379)]),
        ("redis+cluster://a:7000,b:7001/", "cluster", [("a", 7000), ("b", 7001)]),
    ],
)  # fmt: skip
def test_hosts_and_ports_are_read(url: str, kind: str, hosts: list[tuple[str, int]]) -> None:
    found = parse(url)
    assert (found.kind, list(found.hosts)) == (kind, hosts)
    assert found.is_encrypted == url.startswith("rediss")


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("redis://u:p@h:1/2?client_name=x", "redis://u:p@h:1/2?client_name=x"),
        (
            "rediss+sentinel://u:p@a:1,b:2/main/3?ssl_ca_certs=/ca.pem&sentinel_password=q",
            "rediss://u:p@a:1/3?ssl_ca_certs=/ca.pem",
        ),
        ("redis+cluster://[::1]:1,b:2?socket_timeout=3", "redis://[::1]:1/?socket_timeout=3"),
    ],
)
def test_what_holds_for_every_server_is_kept_as_the_url_of_one(url: str, plain: str) -> None:
    assert parse(url).plain == plain


def test_a_sentinel_url_names_the_master_and_the_user_of_the_sentinels() -> None:
    found = parse(
        "redis+sentinel://app:word@a/my%20master?sentinel_username=watch&sentinel_password=p%40q"
    )
    assert found.master == "my master"
    assert (found.sentinel_username, found.sentinel_password) == ("watch", "p@q")


@pytest.mark.parametrize(
    ("url", "has_credentials"),
    [
        ("redis://h", False),
        ("redis://:@h", False),
        ("redis://:word@h", True),
        ("redis://user:word@h", True),
        ("redis://user@h", False),  # nobody is asked for more than a name by an open server
        ("redis://h?username=user", False),
        ("redis://h?password=word", True),
        ("rediss://h?ssl_certfile=/me.pem&ssl_keyfile=/me.key", True),
        ("rediss://h?ssl_ca_certs=/ca.pem", False),
        ("redis+sentinel://a,b/main?sentinel_password=word", False),
        ("redis+cluster://:word@a,b", True),
    ],
)
def test_it_is_known_whether_the_server_learns_who_we_are(url: str, has_credentials: bool) -> None:
    assert parse(url).has_credentials is has_credentials


def test_the_files_of_tls_are_known_by_their_parameters() -> None:
    url = "rediss://h?ssl_ca_certs=/ca.pem&client_name=x&ssl_keyfile=/me.key"
    assert parse(url).paths == (("ssl_ca_certs", "/ca.pem"), ("ssl_keyfile", "/me.key"))


# What is wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "fact", "way_out"),
    [
        ("sentinel://a:26379/main", "does not begin with redis+sentinel://", "redis+sentinel://"),
        ("redis-cluster://a:7000", "does not begin with redis+cluster://", "redis+cluster://"),
        ("redis+sentinel://a,b", "without the name of a master", "/mymaster/0'"),
        ("redis+sentinel://a,b/", "without the name of a master", "/mymaster/0'"),
        ("redis+sentinel://a/main/x", "not a master and the number of a database", "/mymaster/0'"),
        ("redis+sentinel://a/main/0/1", "not a master and the number", "/mymaster/0'"),
        ("redis+sentinel:///main", "without a host", "host1:26379"),
        ("redis+sentinel://a,,b/main", "a comma and no host", "host1:26379"),
        ("redis+cluster://", "without a host", "host1:6379"),
        ("redis+cluster://a,b:0", "port is 0", "host1:6379"),
        ("redis+cluster://a,b:x", "cannot be made out", "host1:6379"),
        ("redis+cluster://a,::1:6379", "cannot be made out", "host1:6379"),
        ("redis+cluster://a/1", "a cluster has only one", "host1:6379"),
        ("redis+cluster://a?db=2", "a cluster has only one", "host1:6379"),
        ("redis://a,b/0", "names several hosts", "redis+cluster://"),
        ("redis+cluster://u:p@a,u:p@b", "an '@' before its last host", "before the first host"),
        ("redis://h?ssl_ca_certs=/ca.pem", "has ssl_ca_certs, and no TLS", "Write rediss://"),
        (
            "redis+cluster://h?ssl_cert_reqs=none",
            "has ssl_cert_reqs, and no TLS",
            "Write rediss+cluster://",
        ),
        ("rediss://h?ssl_ca_cert=/ca.pem", "'ssl_ca_cert' is not known", "mean 'ssl_ca_certs'?"),
        ("redis://h?sentinel_password=x", "'sentinel_password' is not known", "There are"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs is not known", "none"),
        ("redis://h?socket_timeout=soon", "socket_timeout is not a number", "in seconds"),
        ("redis://h?max_connections=1.5", "max_connections is not a whole number", "digits"),
        ("unix:///s?socket_keepalive=1", "'socket_keepalive' is not known", "There are"),
        # What the answers look like is not for a project to say: bytes, by RESP2.
        ("redis://h?protocol=3", "'protocol' is not known", "There are"),
        ("redis://h?decode_responses=true", "'decode_responses' is not known", "There are"),
    ],
)
def test_a_wrong_url_is_told_with_the_way_out(url: str, fact: str, way_out: str) -> None:
    fault = find_fault(url)
    assert fault is not None
    assert fact in fault[0]
    assert way_out in fault[1]
    with pytest.raises(ValueError, match="The URL is "):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h?",
        "redis://h?&client_name=x",
        "redis://h?socket_timeout=0.5&socket_connect_timeout=3&health_check_interval=5",
        "redis+sentinel://a/main/?db=2",
        "redis+cluster://a/0",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false",
    ],
)
def test_what_may_be_left_out_or_added_is_no_fault(url: str) -> None:
    assert find_fault(url) is None


# Passwords ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis+sentinel://u:s3cr3t@a,b/main/0", "redis+sentinel://u:***@a,b/main/0"),
        ("redis+cluster://:s3cr3t@a:1,[::1]:2", "redis+cluster://:***@a:1,[::1]:2"),
        ("redis+cluster://u:s3cr3t@a,u:s3cr3t@b", "redis+cluster://u:***@b"),
        ("redis+sentinel://a/m?sentinel_password=s3cr3t", "redis+sentinel://a/m?sentinel_password=***"),
        ("sentinel://u:s3cr3t@a/m", "sentinel://u:***@a/m"),
    ],
)  # fmt: skip
def test_a_password_is_hidden_however_many_hosts_there_are(url: str, masked: str) -> None:
    assert mask_url(url) == masked
    assert SECRET not in str(find_fault(url))


def test_what_a_url_says_is_printed_without_its_passwords() -> None:
    found = parse("redis+sentinel://u:s3cr3t@a/m?sentinel_password=s3cr3t&sentinel_username=s3cr3t")
    assert SECRET not in repr(found)
