"""Certificates for a lab's servers: one authority, and what it signs. Made anew each time, valid for a year.

Good enough for a lab on one machine and nothing else: keys lie unencrypted in the lab's folder, readable by its
owner alone.
"""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=365)
# A guest's or a test's clock may lag.
EARLIER = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def authority(name: str) -> Certified:
    """A new self-signed authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Certified(builder.sign(key, hashes.SHA256()), key)


def server(signer: Certified, hosts: Sequence[str]) -> Certified:
    """A certificate for a server reached under those names and addresses (the first is its common name)."""
    names = [_general_name(host) for host in dict.fromkeys(hosts)]
    return _signed(signer, [(NameOID.COMMON_NAME, hosts[0])], names)


def client(signer: Certified, user: str, group: str = "") -> Certified:
    """A certificate by which Kubernetes knows its bearer as `user` in `group` (common name, organisation)."""
    subject = [(NameOID.COMMON_NAME, user)]
    if group:
        subject.append((NameOID.ORGANIZATION_NAME, group))
    return _signed(signer, subject, [])


def write(certified: Certified, certificate: Path, key: Path) -> None:
    """Both as PEM files, the key readable by its owner alone."""
    certificate.write_bytes(certified.certificate.public_bytes(serialization.Encoding.PEM))
    _write_private(key, certified.key)


def write_key(private: Path, public: Path) -> None:
    """A new RSA key pair as PEM files: what a kube-apiserver signs service account tokens with."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_private(private, key)
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def client_context(trusted: Path) -> ssl.SSLContext:
    """A context for clients that trusts that authority's PEM file and nothing else."""
    return ssl.create_default_context(cafile=str(trusted))


def _signed(
    signer: Certified, subject: Sequence[tuple[x509.ObjectIdentifier, str]], names: list[x509.GeneralName]
) -> Certified:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    issuer = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(name, signer.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Certified(builder.sign(signer.key, hashes.SHA256()), key)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + VALID)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
