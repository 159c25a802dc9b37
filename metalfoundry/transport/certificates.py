"""The certificate that a host shows instead of a bare key, judged as OpenSSH does: for whom it is, and until when.

Whether its authority is one that known_hosts trusts for the host is for HostKeys to say.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from metalfoundry.transport.host_keys import HostCertificate

_RSA_SIGNATURES = (b"rsa-sha2-256", b"rsa-sha2-512")


def judge(kind: str, blob: bytes, name: str, now: datetime) -> HostCertificate:
    """The certificate in `blob` (`kind` is its type), shown by the host `name`. A pattern among its principals is none:
    some releases of OpenSSH take one for a name like any other.
    """
    try:
        found = load_ssh_public_identity(f"{kind} {base64.b64encode(blob).decode()}".encode())
        if not isinstance(found, SSHCertificate):
            return HostCertificate("", "it is none")
        signer = found.signature_key()
        authority = signer.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split(" ")[1]
        found.verify_cert_signature()
    except InvalidSignature:
        return HostCertificate("", "its signature is wrong")
    except (ValueError, UnsupportedAlgorithm) as error:
        return HostCertificate("", f"it cannot be read: {error}")
    weak = isinstance(signer, RSAPublicKey) and not _signed_with_sha2(blob, signer)
    problems = ["its signature is SHA-1's"] if weak else []
    problems += _problems(found, name, now.timestamp())
    return HostCertificate(authority, next(iter(problems), ""))


def _problems(found: SSHCertificate, name: str, now: float) -> Iterator[str]:
    if found.type is not SSHCertificateType.HOST:
        yield "it is a user's"
    if found.critical_options:
        yield "it has critical options, which no host's may have"
    if now < found.valid_after:
        yield f"it is not valid before {_moment(found.valid_after)}"
    if now >= found.valid_before:
        yield f"it was valid until {_moment(found.valid_before)}"
    principals = [principal.decode(errors="replace") for principal in found.valid_principals]
    if principals and name not in principals:
        yield f"it is for {', '.join(principals)}, and not for {name}"


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds < 2**37 else "a time far away"


def _signed_with_sha2(blob: bytes, signer: RSAPublicKey) -> bool:
    """A certificate ends with its signature: the algorithm's name, and as many bytes as the key has, with their
    length before them."""
    return blob[: -(4 + (signer.key_size + 7) // 8)].endswith(_RSA_SIGNATURES)
