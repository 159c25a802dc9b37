"""What a host's certificate proves; the certificates are made here, as ssh-keygen makes them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
)

from metalfoundry.transport.certificates import judge
from metalfoundry.transport.host_keys import HostCertificate

AUTHORITY, HOST, OTHER = (Ed25519PrivateKey.generate() for _ in range(3))
NOW = 1_700_000_000
Change = Callable[[SSHCertificateBuilder], SSHCertificateBuilder]


def certificate(
    names: tuple[str, ...] = ("anvil",), *, host: bool = True, after: int = NOW - 60, before: int = NOW + 60,
    change: Change = lambda builder: builder, authority: Any = AUTHORITY,
) -> tuple[str, bytes]:  # fmt: skip
    builder = (
        SSHCertificateBuilder()
        .public_key(HOST.public_key())
        .serial(1)
        .type(SSHCertificateType.HOST if host else SSHCertificateType.USER)
        .key_id(b"anvil")
        .valid_after(after)
        .valid_before(before)
    )
    if names:
        builder = builder.valid_principals([name.encode() for name in names])
    else:
        builder = builder.valid_for_all_principals()  # type: ignore[no-untyped-call]
    kind, blob = change(builder).sign(authority).public_bytes().split(b" ")[:2]
    return kind.decode(), base64.b64decode(blob)


def judged(shown: tuple[str, bytes], name: str = "anvil") -> HostCertificate:
    return judge(*shown, name, datetime.fromtimestamp(NOW, UTC))


def of(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split(" ")[1]


def test_a_good_one_has_no_problem_and_names_its_authority() -> None:
    assert judged(certificate()) == HostCertificate(of(AUTHORITY), "")


def test_one_for_nobody_in_particular_is_for_everybody() -> None:
    assert judged(certificate(())).problem == ""


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        (certificate(("colo", "192.0.2.7")), "it is for colo, 192.0.2.7, and not for anvil"),
        (certificate(("anv*",)), "it is for anv*, and not for anvil"),
        (certificate(host=False), "it is a user's"),
        (certificate(before=NOW), "it was valid until 2023-11-14T22:13:20Z"),
        (certificate(after=NOW + 1), "it is not valid before 2023-11-14T22:13:21Z"),
        (certificate(change=lambda builder: builder.add_critical_option(b"force-command", b"x")), "critical options"),
    ],
)
def test_what_is_not_right_is_said(shown: tuple[str, bytes], problem: str) -> None:
    assert problem in judged(shown).problem


def test_a_changed_byte_breaks_the_signature() -> None:
    kind, blob = certificate()
    where = blob.index(b"anvil")
    assert judged((kind, blob[:where] + b"envil" + blob[where + 5 :])) == HostCertificate("", "its signature is wrong")


def test_an_rsa_authority_must_sign_with_sha_2() -> None:
    authority = generate_private_key(65537, 2048)
    kind, blob = certificate(authority=authority)
    assert judged((kind, blob)).problem == ""
    body = blob[: -(8 + len(b"rsa-sha2-512") + 4 + 256)]
    weak = authority.sign(body, PKCS1v15(), SHA1())
    assert judged((kind, body + string(string(b"ssh-rsa") + string(weak)))).problem == "its signature is SHA-1's"


def string(data: bytes) -> bytes:
    """As the protocol of SSH writes it."""
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    "shown",
    [("ssh-ed25519-cert-v01@openssh.com", b""), ("ssh-ed25519-cert-v01@openssh.com", b"\0\0\0\x04abcd"), ("odd", b"x")],
)
def test_what_is_no_certificate_proves_nothing(shown: tuple[str, bytes]) -> None:
    assert judged(shown).authority == ""
    assert judged(shown).problem


def test_a_plain_key_is_no_certificate() -> None:
    blob = base64.b64decode(of(OTHER))
    assert judged(("ssh-ed25519", blob)) == HostCertificate("", "it is none")
