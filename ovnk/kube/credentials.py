"""Who we are to the API server and where it is: a kubeconfig, or the service account of the pod we run in.

The official `kubernetes` package reads both (contexts, CA and certificates as files or data, bearer tokens, token
files, exec plug-ins, OIDC) and says when a token is to be read again; this module turns its answer into an SSL
context and a header, and its manifold exceptions into one ConfigError. Its client, models and watch are not used.
"""

import ssl
from pathlib import Path

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, incluster_config, kube_config

from ovnk.errors import ConfigError


class Credentials:
    """The server's URL, the SSL context for it (None for plain HTTP), and the current Authorization header.

    Construction and `refresh` read files and may run an exec plug-in: call them in a thread.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        """Read `kubeconfig`, or the pod's service account when it is None. Raises ConfigError."""
        self._source = f'kubeconfig "{kubeconfig}"' if kubeconfig else "the pod's service account"
        self._configuration = _from_file(kubeconfig) if kubeconfig else _from_pod()
        self.server: str = self._configuration.host
        if not self.server.startswith(("https://", "http://")):
            raise ConfigError(f'{self._source}: the server "{self.server}" must begin with https:// or http://')
        self.server_name: str | None = self._configuration.tls_server_name
        self.ssl_context = self._ssl_context() if self.server.startswith("https://") else None

    @property
    def authorization(self) -> str | None:
        """The Authorization header's value, or None where certificates (or nothing) say who we are."""
        token: str | None = self._configuration.api_key.get("BearerToken")
        return token.strip() if token else None

    def refresh(self) -> None:
        """Read the token again if it is due (a file once a minute, an exec plug-in's five minutes before its end)."""
        hook = self._configuration.refresh_api_key_hook
        if hook is not None:
            try:
                hook(self._configuration)
            except (ConfigException, OSError) as error:
                raise ConfigError(f"{self._source}: the token cannot be read again: {error}") from error

    def _ssl_context(self) -> ssl.SSLContext:
        configuration = self._configuration
        try:
            context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
            if not configuration.verify_ssl:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            # Kubernetes' CAs are often made without the extensions Python 3.13 began to insist on.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if configuration.cert_file:
                context.load_cert_chain(configuration.cert_file, configuration.key_file)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(f"{self._source}: its certificates cannot be used: {error}") from error
        return context


# What the package lets through when a kubeconfig's shape is not what it expects; it has no one exception for it.
_MALFORMED = (ConfigException, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError)


def _from_file(path: Path) -> Configuration:
    source = f'kubeconfig "{path}"'
    try:
        path.read_bytes()  # the package says only "no configuration found"
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}") from error
    configuration = Configuration()
    try:
        merged = kube_config.KubeConfigMerger(str(path)).config  # type: ignore[no-untyped-call]  # the package's config half is untyped
        loader = kube_config.KubeConfigLoader(merged, config_base_path=None)  # type: ignore[no-untyped-call]  # the package's config half is untyped
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]  # the package's config half is untyped
        user = loader.current_context["context"].get("user")
        asks_plugin = any(
            entry["name"] == user and "exec" in entry["user"] for entry in merged.value.get("users") or ()
        )
    except _MALFORMED as error:
        raise ConfigError(f"{source} is not a usable kubeconfig: {error}") from error
    if asks_plugin and not configuration.api_key and not configuration.cert_file:
        # The package logs why and goes on as anonymous, which would end as a puzzling 403.
        raise ConfigError(f"{source}: the exec plug-in of its user gave no credential; its error is logged above")
    return configuration


def _from_pod() -> Configuration:
    configuration = Configuration()
    try:
        incluster_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # the package's config half is untyped
    except (ConfigException, OSError) as error:
        raise ConfigError(
            f"no kubeconfig is given and this is not a pod of a cluster ({error}); give --kubeconfig FILE"
        ) from error
    return configuration
