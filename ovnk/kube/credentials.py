"""Who we are to the API server and where it is: a kubeconfig, or the service account of the pod we run in.

Certificates and tokens are read here. What asks somebody else for them (exec plug-ins, auth providers) is left to the
official `kubernetes` package, which is imported only then: it costs 18 MB and 0.2 s. Its exceptions are manifold; here
there is one, ConfigError.
"""

import base64
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import yaml
from msgspec import Struct, field

from ovnk.errors import ConfigError

# Where kubelet puts it ("Accessing the Kubernetes API from a Pod").
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# What a user may have for us to read it; with anything else the official package is asked.
PLAIN = {"client-certificate", "client-certificate-data", "client-key", "client-key-data", "token", "tokenFile"}


class Credentials:
    """The server's URL, the SSL context for it (None for plain HTTP), and the current Authorization header.

    Construction and `refresh` read files and may run an exec plug-in: call them in a thread.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        """Read `kubeconfig`, or the pod's service account when it is None. Raises ConfigError."""
        self._source = f'kubeconfig "{kubeconfig}"' if kubeconfig else "the pod's service account"
        found = _from_file(kubeconfig, self._source) if kubeconfig else _from_pod()
        self.server = found.server.rstrip("/")
        if not self.server.startswith(("https://", "http://")):
            raise ConfigError(f'{self._source}: the server "{self.server}" must begin with https:// or http://')
        self.server_name = found.server_name
        try:
            self.ssl_context = _ssl_context(found) if self.server.startswith("https://") else None
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; what is no base64 a ValueError
            raise ConfigError(f"{self._source}: its certificates cannot be used: {error}") from error
        self._authorize = found.authorize
        self.authorization: str | None = None
        self.refresh()

    def refresh(self) -> None:
        """Read the token again, if it may have changed, for the Authorization header. Raises ConfigError."""
        try:
            self.authorization = self._authorize()
        except OSError as error:
            raise ConfigError(f"{self._source}: the token cannot be read: {error}") from error


class _Found(Struct):
    """What a source says, texts rather than files where it has them so; paths are whole."""

    server: str
    server_name: str | None = None
    ca: Callable[[], str] | None = None
    verify: bool = True
    # Loads certificate and key into the context.
    identify: Callable[[ssl.SSLContext], None] | None = None
    # The Authorization header.
    authorize: Callable[[], str | None] = lambda: None


def _ssl_context(found: _Found) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=found.ca() if found.ca else None)
    if not found.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Kubernetes' CAs are often made without the extensions Python 3.13 began to insist on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if found.identify:
        found.identify(context)
    return context


def _from_pod() -> _Found:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token, ca = SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt"
    if not host or not port:
        raise ConfigError(
            "no kubeconfig is given and this is not a pod of a cluster (there is no KUBERNETES_SERVICE_HOST and "
            "KUBERNETES_SERVICE_PORT); give --kubeconfig FILE"
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return _Found(server, ca=ca.read_text, authorize=lambda: _bearer(token.read_text()))


# A kubeconfig (client-go, tools/clientcmd/api/v1), as far as it is read.


class _Cluster(Struct, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""


class _User(Struct, rename="kebab"):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = field(name="tokenFile", default="")


class _Context(Struct):
    cluster: str
    user: str = ""


class _NamedContext(Struct):
    name: str
    context: _Context


class _NamedCluster(Struct):
    name: str
    cluster: _Cluster


class _NamedUser(Struct):
    name: str
    user: dict[str, object] | None = None


class _Config(Struct, rename="kebab"):
    current_context: str
    contexts: list[_NamedContext]
    clusters: list[_NamedCluster]
    users: list[_NamedUser] | None = None


def _from_file(path: Path, source: str) -> _Found:
    try:
        config = msgspec.convert(yaml.safe_load(path.read_bytes()), _Config)
        context = next(one.context for one in config.contexts if one.name == config.current_context)
        cluster = next(one.cluster for one in config.clusters if one.name == context.cluster)
        user = next((one.user for one in config.users or () if one.name == context.user), None) or {}
        if user.keys() <= PLAIN:
            return _plain(path.parent, cluster, msgspec.convert(user, _User))
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}") from error
    except StopIteration:
        raise ConfigError(
            f'{source} is not a usable kubeconfig: its current-context "{config.current_context}" leads to no cluster'
        ) from None
    except (yaml.YAMLError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{source} is not a usable kubeconfig: {error}") from error
    return _asked(path, source, asks_plugin="exec" in user)


def _plain(folder: Path, cluster: _Cluster, user: _User) -> _Found:
    """A user that has certificates or a token, or neither. Relative paths are the kubeconfig's."""
    found = _Found(cluster.server, cluster.tls_server_name or None, verify=not cluster.insecure_skip_tls_verify)
    if cluster.certificate_authority_data:
        found.ca = lambda: _decoded(cluster.certificate_authority_data).decode()
    elif cluster.certificate_authority:
        found.ca = (folder / cluster.certificate_authority).read_text
    if user.client_certificate or user.client_certificate_data:
        found.identify = lambda context: _identify(context, folder, user)
    if user.token:
        found.authorize = lambda: _bearer(user.token)
    elif user.token_file:
        found.authorize = lambda: _bearer((folder / user.token_file).read_text())
    return found


def _identify(context: ssl.SSLContext, folder: Path, user: _User) -> None:
    parts = [(user.client_certificate_data, user.client_certificate), (user.client_key_data, user.client_key)]
    # ssl takes files alone. One that is its owner's, and gone as soon as it is read.
    with tempfile.NamedTemporaryFile() as both:
        for data, file in parts:
            both.write((_decoded(data) if data else (folder / file).read_bytes()) + b"\n")
        both.flush()
        context.load_cert_chain(both.name)


def _decoded(data: str) -> bytes:
    return base64.b64decode(data, validate=True)


def _bearer(token: str) -> str | None:
    return f"Bearer {token.strip()}" if token.strip() else None


def _asked(path: Path, source: str, asks_plugin: bool) -> _Found:
    """A user whose credentials somebody else gives, by way of the official package, which also asks again in time."""
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, kube_config

    # What the package lets through when a user's shape is not what it expects; it has no one exception for it.
    malformed = (ConfigException, AttributeError, KeyError, TypeError, ValueError)
    configuration = Configuration()
    try:
        merged = kube_config.KubeConfigMerger(str(path)).config  # type: ignore[no-untyped-call]  # the package's config half is untyped
        loader = kube_config.KubeConfigLoader(merged, config_base_path=None)  # type: ignore[no-untyped-call]  # the package's config half is untyped
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]  # the package's config half is untyped
    except malformed as error:
        raise ConfigError(f"{source} is not a usable kubeconfig: {error}") from error
    if asks_plugin and not configuration.api_key and not configuration.cert_file:
        # The package logs why and goes on as anonymous, which would end as a puzzling 403.
        raise ConfigError(f"{source}: the exec plug-in of its user gave no credential; its error is logged above")

    def authorize() -> str | None:
        if configuration.refresh_api_key_hook is not None:
            try:
                configuration.refresh_api_key_hook(configuration)
            except ConfigException as error:
                raise ConfigError(f"{source}: the token cannot be read again: {error}") from error
        token: str | None = configuration.api_key.get("BearerToken")
        return token.strip() if token else None

    found = _Found(configuration.host, configuration.tls_server_name, verify=configuration.verify_ssl)
    found.authorize = authorize
    if configuration.ssl_ca_cert:
        found.ca = Path(configuration.ssl_ca_cert).read_text
    if (certificate := configuration.cert_file) is not None:
        found.identify = lambda context: context.load_cert_chain(certificate, configuration.key_file)
    return found
