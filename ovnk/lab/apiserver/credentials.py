"""What a client needs to reach the server: a kubeconfig, and a certificate authority with a serving certificate."""

import base64
import datetime
import ipaddress
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def kubeconfig(server_url: str, token: str | None, ca: bytes | None) -> dict[str, Any]:
    """A kubeconfig (to be written as JSON or YAML) for one cluster; `ca` is PEM, None for plain HTTP."""
    cluster: dict[str, Any] = {"server": server_url}
    if ca is not None:
        cluster["certificate-authority-data"] = base64.b64encode(ca).decode()
    user: dict[str, Any] = {} if token is None else {"token": token}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ovnk", "cluster": cluster}],
        "users": [{"name": "ovnk", "user": user}],
        "contexts": [{"name": "ovnk", "context": {"cluster": "ovnk", "user": "ovnk"}}],
        "current-context": "ovnk",
    }


@dataclass(frozen=True, slots=True)
class ServingCertificate:
    """PEM: the authority clients trust, and the server's certificate and key."""

    ca: bytes
    certificate: bytes
    key: bytes


def serving_certificate(names: list[str], days: int = 3650) -> ServingCertificate:
    """A new authority and a certificate by it for these host names and addresses; the authority's key is forgotten."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, name = _name("ovnk lab"), _name(names[0])
    now = datetime.datetime.now(datetime.UTC)

    def certificate(
        subject: x509.Name, public_key: ec.EllipticCurvePublicKey, *, authority: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    ca = certificate(ca_name, ca_key.public_key(), authority=True).add_extension(usage, critical=True)
    serving = certificate(name, key.public_key(), authority=False).add_extension(
        x509.SubjectAlternativeName([_alternative(one) for one in names]), critical=False
    )
    return ServingCertificate(
        ca=ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        certificate=serving.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
