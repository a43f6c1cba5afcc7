"""The client with every kind of kubeconfig that the official Python client reads, and what it says when one is bad."""

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import itertools
import json
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from scripted_api import ScriptedApi, kubeconfig, scripted, serve, status

from ovnk.errors import ConfigError
from ovnk.kube import client as client_module
from ovnk.kube import credentials
from ovnk.kube.client import ApiError, Client, Lines


class Authority:
    """A CA that signs what the tests need, as PEM."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        self.pem = self._sign(self._name, self._key, []).public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName(
            [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, [alternatives])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM), private

    def _sign(self, subject: x509.Name, key: Any, extensions: list[Any]) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=not extensions, path_length=None), critical=True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@contextlib.asynccontextmanager
async def secure(folder: Path, authority: Authority, *, ask_client: bool = False) -> AsyncIterator[ScriptedApi]:
    certificate, key = authority.issue("kubernetes")
    (folder / "server.pem").write_bytes(certificate + key)
    (folder / "ca.pem").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
    api = ScriptedApi()
    api.otherwise = fine
    async with serve(api, ssl_context=context):
        yield api


async def fine(request: web.Request) -> web.Response:
    return web.Response(text="fine")


async def asked(file: Path | None) -> bytes:
    client = await Client.connect(file)
    try:
        return await client.request("GET", "/version")
    finally:
        await client.close()


def data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def test_bearer_token_and_ca_data(tmp_path: Path, authority: Authority) -> None:
    async def case() -> None:
        async with secure(tmp_path, authority) as api:
            cluster = {"certificate-authority-data": data(authority.pem)}
            file = kubeconfig(tmp_path, f"https://127.0.0.1:{api.port}/", cluster, {"token": "t0ken"})
            assert await asked(file) == b"fine"
            assert api.headers[0]["Authorization"] == "Bearer t0ken"
            assert api.seen[0][1] == "/version"

    run(case())


def test_ca_file_token_file_and_paths_relative_to_the_kubeconfig(tmp_path: Path, authority: Authority) -> None:
    async def case() -> None:
        async with secure(tmp_path, authority) as api:
            (tmp_path / "token").write_text("from-file\n")
            cluster = {"certificate-authority": "ca.pem"}
            file = kubeconfig(tmp_path, f"https://127.0.0.1:{api.port}", cluster, {"tokenFile": "token"})
            assert await asked(file) == b"fine"
            assert api.headers[0]["Authorization"] == "Bearer from-file"

    run(case())


def test_client_certificate(tmp_path: Path, authority: Authority) -> None:
    async def case() -> None:
        async with secure(tmp_path, authority, ask_client=True) as api:
            certificate, key = authority.issue("system:admin")
            user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
            cluster = {"certificate-authority-data": data(authority.pem)}
            assert await asked(kubeconfig(tmp_path, f"https://127.0.0.1:{api.port}", cluster, user)) == b"fine"
            assert "Authorization" not in api.headers[0]

    run(case())


def test_untrusted_certificate_is_refused_and_said_unless_verification_is_off(
    tmp_path: Path, authority: Authority
) -> None:
    async def case() -> None:
        async with secure(tmp_path, authority) as api:
            url = f"https://127.0.0.1:{api.port}"
            other = {"certificate-authority-data": data(Authority().pem)}
            with pytest.raises(ApiError, match="is not trusted by the kubeconfig's CA") as caught:
                await asked(kubeconfig(tmp_path, url, other))
            assert (caught.value.status, caught.value.reason) == (0, "Unreachable")
            assert await asked(kubeconfig(tmp_path, url, {"insecure-skip-tls-verify": True})) == b"fine"

    run(case())


def test_server_is_checked_for_the_name_that_the_kubeconfig_gives(tmp_path: Path, authority: Authority) -> None:
    async def case() -> None:
        async with secure(tmp_path, authority) as api:
            url, ca = f"https://127.0.0.1:{api.port}", {"certificate-authority-data": data(authority.pem)}
            assert await asked(kubeconfig(tmp_path, url, ca | {"tls-server-name": "kubernetes"})) == b"fine"
            with pytest.raises(ApiError, match="is not trusted"):
                await asked(kubeconfig(tmp_path, url, ca | {"tls-server-name": "elsewhere"}))

    run(case())


def plugin(folder: Path, body: str) -> dict[str, Any]:
    file = folder / "plugin"
    file.write_text("#!/bin/sh\n" + body)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(file)}}


def credential(**status: str) -> str:
    document = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"echo '{json.dumps(document)}'\n"


def test_exec_plugin_gives_the_token_and_is_asked_again_when_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REFRESH_S", 0.0)

    async def case() -> None:
        api = ScriptedApi()
        api.otherwise = fine
        async with serve(api):
            user = plugin(tmp_path, credential(token="first", expirationTimestamp="2020-01-01T00:00:00Z"))
            client = await Client.connect(kubeconfig(tmp_path, f"http://127.0.0.1:{api.port}", user=user))
            plugin(tmp_path, credential(token="second"))
            await client.request("GET", "/")
            await client.close()
            assert api.headers[0]["Authorization"] == "Bearer second"

    run(case())


def test_exec_plugin_gives_a_client_certificate(tmp_path: Path, authority: Authority) -> None:
    async def case() -> None:
        async with secure(tmp_path, authority, ask_client=True) as api:
            certificate, key = authority.issue("system:admin")
            document = {
                "apiVersion": "client.authentication.k8s.io/v1",
                "kind": "ExecCredential",
                "status": {"clientCertificateData": certificate.decode(), "clientKeyData": key.decode()},
            }
            (tmp_path / "answer").write_text(json.dumps(document))
            user = plugin(tmp_path, f"cat {tmp_path}/answer\n")
            cluster = {"certificate-authority-data": data(authority.pem)}
            assert await asked(kubeconfig(tmp_path, f"https://127.0.0.1:{api.port}", cluster, user)) == b"fine"

    run(case())


def test_exec_plugin_that_fails_is_an_error_not_an_anonymous_request(tmp_path: Path) -> None:
    user = plugin(tmp_path, "echo no >&2; exit 1\n")
    with pytest.raises(ConfigError, match="the exec plug-in of its user gave no credential"):
        run(asked(kubeconfig(tmp_path, "http://127.0.0.1:1", user=user)))


def test_service_account_of_a_pod_and_its_token_rotated(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").write_text("one\n")
    (tmp_path / "ca.crt").write_bytes(authority.pem)

    async def case() -> None:
        async with secure(tmp_path, authority) as api:
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
            client = await Client.connect(None)
            await client.request("GET", "/")
            (tmp_path / "token").write_text("two\n")
            api.answers = [status(401, "Unauthorized")]  # it need not wait until it would be read again
            with pytest.raises(ApiError):
                await client.request("GET", "/")
            await client.request("GET", "/")
            await client.close()
            assert [header["Authorization"] for header in api.headers] == ["Bearer one", "Bearer one", "Bearer two"]

    run(case())


def test_token_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "REFRESH_S", 0.0)

    async def case() -> None:
        api = ScriptedApi()
        api.otherwise = fine
        async with serve(api):
            (tmp_path / "token").write_text("one")
            file = kubeconfig(tmp_path, f"http://127.0.0.1:{api.port}", user={"tokenFile": "token"})
            client = await Client.connect(file)
            await client.request("GET", "/")
            (tmp_path / "token").write_text("two")
            await client.request("GET", "/")
            (tmp_path / "token").unlink()
            with pytest.raises(ApiError, match="the token cannot be read"):
                await client.request("GET", "/")
            await client.close()
            assert [header["Authorization"] for header in api.headers] == ["Bearer one", "Bearer two"]

    run(case())


def test_certificates_and_tokens_are_read_without_the_official_package(tmp_path: Path) -> None:
    """It would cost the controller and each node's agent 18 MB."""
    file = kubeconfig(tmp_path, "http://127.0.0.1:1")
    program = (
        "import sys, pathlib; from ovnk.kube.credentials import Credentials; "
        f"assert Credentials(pathlib.Path({str(file)!r})).authorization == 'Bearer secret'; "
        "assert 'kubernetes' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_outside_of_a_cluster_without_kubeconfig_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match=r"no kubeconfig is given and this is not a pod .* give --kubeconfig FILE"):
        run(Client.connect(None))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "is not a usable kubeconfig"),
        ("- a\n- b\n", "is not a usable kubeconfig"),
        ("a: [", "is not a usable kubeconfig"),
        ("\x00", "is not a usable kubeconfig"),
        ("{current-context: x, contexts: []}", "is not a usable kubeconfig"),
        ("{contexts: {a: b}, clusters: 5, users: 7}", "is not a usable kubeconfig"),
    ],
)
def test_bad_kubeconfig_is_named_with_what_is_wrong(tmp_path: Path, text: str | None, why: str) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=f'kubeconfig "{file}"') as caught:
        run(Client.connect(file))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("server", "cluster", "why"),
    [
        ("127.0.0.1:6443", {}, "must begin with https://"),
        ("https://h", {"certificate-authority": "missing.pem"}, "missing.pem"),
        ("https://h", {"certificate-authority-data": "!!!"}, "kubeconfig"),
        ("https://h", {"certificate-authority-data": data(b"no PEM")}, "its certificates cannot be used"),
    ],
)
def test_kubeconfig_whose_server_or_ca_is_unusable(tmp_path: Path, server: str, cluster: Any, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(Client.connect(kubeconfig(tmp_path, server, cluster)))
    assert why in str(caught.value)


def test_error_carries_status_reason_and_message(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.answers = [status(409, "Conflict", "it has been modified"), web.Response(status=502, text="<html>bad")]
            with pytest.raises(ApiError, match=r"PUT /x: 409 Conflict: it has been modified") as caught:
                await client.request("PUT", "/x", body={"a": 1})
            assert (caught.value.status, caught.value.reason, caught.value.transient) == (409, "Conflict", False)
            assert api.seen[0] == ("PUT", "/x", {}, {"a": 1})
            with pytest.raises(ApiError, match="502 Bad Gateway: <html>bad") as caught:
                await client.request("GET", "/x")
            assert caught.value.transient

    run(case())


def test_no_answer_in_time_and_no_server_are_said(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):
            api.otherwise = api.watch
            with pytest.raises(ApiError, match="no answer in time") as caught:
                await client.request("GET", "/x", query={"watch": "1"}, timeout_s=0.1)
            assert (caught.value.status, caught.value.reason) == (0, "Timeout")
        unused = kubeconfig(tmp_path, "http://127.0.0.1:1")
        with pytest.raises(ApiError, match=r"http://127\.0\.0\.1:1/version: cannot be reached: Connection refused"):
            await asked(unused)

    run(case())


@given(st.lists(st.binary(max_size=8).filter(lambda line: b"\n" not in line)), st.binary(max_size=4), st.data())
def test_lines_are_the_same_however_they_are_cut(whole: list[bytes], rest: bytes, draw: Any) -> None:
    rest = rest.replace(b"\n", b"")
    text = b"".join(line + b"\n" for line in whole) + rest
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    lines = Lines()
    found = []
    for start, end in itertools.pairwise([0, *cuts, len(text)]):
        found += lines.feed(text[start:end])
    assert found == [line for line in whole if line]
    assert lines.rest == rest


def test_stream_gives_lines_however_they_are_cut(tmp_path: Path) -> None:
    async def case() -> None:
        async with scripted(tmp_path) as (api, client):

            async def answer(request: web.Request) -> web.StreamResponse:
                response = web.StreamResponse()
                await response.prepare(request)
                for part in (b"on", b"e\ntwo\n\nth", b"ree\n", b"x" * 300_000, b"\n"):
                    await response.write(part)
                return response

            api.otherwise = answer
            lines = [line async for line in client.stream("GET", "/")]
            assert lines == [b"one", b"two", b"three", b"x" * 300_000]

    run(case())
