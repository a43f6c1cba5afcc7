"""A real control plane from a folder of binaries: what is found, and how it is started."""

from pathlib import Path

import pytest
from cryptography import x509

from ovnk import errors
from ovnk.lab import kubebin


def binaries(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


def test_the_flag_wins_over_the_environment_and_neither_means_none(tmp_path: Path) -> None:
    given = binaries(tmp_path / "given", "etcd", "kube-apiserver")
    environment = binaries(tmp_path / "environment", "etcd", "kube-apiserver")
    assert kubebin.found(given, {"KUBEBUILDER_ASSETS": str(environment)}) == given
    assert kubebin.found(None, {"KUBEBUILDER_ASSETS": str(environment)}) == environment
    assert kubebin.found(None, {}) is None


def test_a_folder_without_a_needed_binary_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match=r"KUBEBUILDER_ASSETS .* has no executable kube-apiserver"):
        kubebin.found(None, {"KUBEBUILDER_ASSETS": str(binaries(tmp_path / "bin", "etcd"))})


def test_what_is_found_is_run_and_what_is_not_leaves_its_plugins_off(tmp_path: Path) -> None:
    least = binaries(tmp_path / "least", "etcd", "kube-apiserver")
    etcd, server = kubebin.kube_commands(least, tmp_path, ["10.96.0.0/16", "fd00:96::/112"])
    assert etcd.ready_url == "http://127.0.0.1:2379/health"
    assert server.ready_url == "https://127.0.0.1:6443/readyz"
    assert "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112" in server.argv
    assert "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition" in server.argv
    assert kubebin.replaces(least) == frozenset()

    all_four = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    full = binaries(tmp_path / "full", *all_four)
    commands = kubebin.kube_commands(full, tmp_path, ["10.96.0.0/16"])
    assert tuple(command.name for command in commands) == all_four
    assert not any("--disable-admission-plugins" in word for word in commands[1].argv)
    assert kubebin.replaces(full) == {"scheduler", "*"}


def test_credentials_are_private_and_name_every_address_of_the_server(tmp_path: Path) -> None:
    addresses = kubebin.Addresses(api_host="172.30.0.1", advertise="172.30.0.1")
    admin = kubebin.write_credentials(tmp_path, addresses, ["10.96.0.0/16", "fd00:96::/112"], ["lab.example"])
    for secret in (admin, tmp_path / "server.key", tmp_path / "tokens.csv", tmp_path / "accounts.key"):
        assert oct(secret.stat().st_mode & 0o777) == "0o600"
    server = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    reached = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert reached == {"127.0.0.1", "::1", "172.30.0.1", "10.96.0.1", "fd00:96::1"}
    assert {"kubernetes.default.svc", "lab.example"} <= set(names.get_values_for_type(x509.DNSName))


def test_a_command_that_ends_at_once_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    folder = binaries(tmp_path / "bin", "etcd", "kube-apiserver")
    (folder / "etcd").write_text("#!/bin/sh\necho no room on the disk\nexit 1\n")
    with (
        pytest.raises(RuntimeError, match=r"(?s)etcd does not serve .*no room on the disk"),
        kubebin.running(folder, tmp_path / "run", ["10.96.0.0/16"]),
    ):
        pass
