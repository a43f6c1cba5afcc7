"""Settings come from defaults, a TOML file, the environment and flags, in that order; errors name key and source."""

import json
import sys

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ovnk import cli, config
from ovnk.cli.node import NodeSettings, look_for_loopback
from ovnk.errors import ConfigError
from ovnk.lab.apiserver import kubeconfig
from ovnk.settings import ControllerSettings


def load(flags=None, file=None, environ=None):
    return config.load(ControllerSettings, "controller", flags or {}, file, environ or {})


def test_flags_beat_the_environment_beats_the_file_beats_the_defaults(tmp_path):
    file = tmp_path / "ovnk.toml"
    file.write_text('[controller]\nnorthbound = "unix:/file"\nnode-prefix-v4 = 26\nidentity = "file"\n')
    environ = {"OVNK_NORTHBOUND": "unix:/environ", "OVNK_IDENTITY": "environ"}
    loaded = load({"northbound": "unix:/flag", "identity": None}, file, environ)
    assert (loaded.northbound, loaded.identity, loaded.node_prefix_v4) == ("unix:/flag", "environ", 26)
    assert loaded.cluster_cidr == ("10.244.0.0/16",)


def test_lists_are_comma_separated_texts_or_toml_lists(tmp_path):
    file = tmp_path / "ovnk.toml"
    file.write_text('[controller]\nnorthbound = "unix:/x"\ncluster_cidr = ["10.0.0.0/16", "fd00::/48"]\n')
    assert load(file=file).cluster_cidr == ("10.0.0.0/16", "fd00::/48")
    assert load({"northbound": "unix:/x", "cluster_cidr": "10.0.0.0/16, fd00::/48"}).cluster_cidr == (
        "10.0.0.0/16",
        "fd00::/48",
    )


@pytest.mark.parametrize(
    ("text", "environ", "says"),
    [
        ("[controller]\nnorthbond = 1", {}, '[controller] has no key "northbond"; known keys: '),
        ("[controller]\nnode_prefix_v4 = 'x'", {}, "[controller] node_prefix_v4: 'x' cannot be used: expected `int`"),
        ("[controller", {}, "is not TOML"),
        ("[contoller]", {}, "has no table [controller]; its tables: contoller"),
        ("controller = 1", {}, "controller must be a table, written [controller]"),
        ("", {}, "northbound is not set; give --northbound, OVNK_NORTHBOUND, or northbound in [controller]"),
        ("", {"OVNK_NODE_PREFIX_V4": "wide"}, "environment OVNK_NODE_PREFIX_V4: 'wide' cannot be used"),
        ("", {"OVNK_NORTHBOUND": "ssl:10.0.0.1:6641"}, "and northbound_ca (given by environment OVNK_NORTHBOUND)"),
        (
            "",
            {"OVNK_NORTHBOUND": "unix:/x", "OVNK_MTU_BYTES": "100"},
            "and 65535 (given by environment OVNK_MTU_BYTES)",
        ),
        ('[controller]\nnorthbound = "tcp:1.2.3.4"', {}, "ovnk.toml: [controller] northbound)"),
        ('[controller]\nnorthbound = "tcp:1.2.3.4:66410"', {}, "has no port between 1 and 65535: 66410"),
        ('[controller]\nnorthbound = "tcp:fd00::1:6641"', {}, "IPv6 addresses stand in brackets"),
        ('[controller]\nnorthbound = "unix:/" + 1', {}, "is not TOML"),
        ("", {"OVNK_NORTHBOUND": f"unix:/{'x' * 108}"}, "give the socket a shorter one"),
        ("", {"OVNK_NORTHBOUND": "unix:/x", "OVNK_FIRST_DELETE_SHARE": "2"}, "must be between 0 and 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, environ, says):
    file = tmp_path / "ovnk.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(file=file, environ=environ)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"OVNK_SOUTHBOUND": "ssl:10.0.0.1:6642"}, "southbound_ca (given by environment OVNK_SOUTHBOUND)"),
        ({"OVNK_SOUTHBOUND": "db:here"}, 'southbound remote "db:here" is not unix:PATH, tcp:IP:PORT or ssl:IP:PORT'),
        ({"OVNK_OVS": "tcp:x"}, "(given by environment OVNK_OVS)"),
        ({"OVNK_ENCAP_TYPE": "gre"}, "(given by environment OVNK_ENCAP_TYPE)"),
        ({"OVNK_CNI_VERSION": "3"}, "(given by environment OVNK_CNI_VERSION)"),
    ],
)
def test_what_is_wrong_with_a_nodes_settings_is_named(environ, says):
    needed = {"OVNK_NODE_NAME": "node-1", "OVNK_SOUTHBOUND": "unix:/s"}
    with pytest.raises(ConfigError) as error:
        config.load(NodeSettings, "node", {}, None, needed | environ)
    assert says in str(error.value)


def test_a_node_without_the_loopback_plugin_is_warned_of(tmp_path):
    with capture_logs() as logs:
        look_for_loopback(tmp_path)
    assert "containernetworking-plugins" in logs[0]["event"]
    (tmp_path / "loopback").touch()
    with capture_logs() as logs:
        look_for_loopback(tmp_path)
    assert not logs


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--cluster-cidr=10.244.0.0/8x", 'cluster_cidr "10.244.0.0/8x" is not a network'),
        ("--cluster-cidr=10.96.0.0/12", 'cluster_cidr "10.96.0.0/12" overlaps service_cidr "10.96.0.0/16"'),
        ("--northbound=http:there", "IPv6 addresses stand in brackets (given by --northbound)"),
        ("--http-address=nowhere:1", 'http_address "nowhere:1" cannot be listened on'),
        ("--kubeconfig=/none", "/none"),
        ("--log-level=loud", 'log_level "loud" is none of'),
    ],
)
def test_settings_that_are_wrong_end_the_controller_with_code_2_and_one_line(tmp_path, monkeypatch, capsys, flag, says):
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(kubeconfig("http://127.0.0.1:1", "token", None)))
    monkeypatch.setattr(
        sys, "argv", ["ovnk", "controller", f"--kubeconfig={file}", f"--northbound=unix:{tmp_path}/nb", flag]
    )
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        structlog.reset_defaults()
    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert says in said


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(file=tmp_path / "none.toml")


# The tables of st.text() are made at its first use, which takes seconds on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(ControllerSettings.__struct_fields__), st.text() | st.integers() | st.none()))
def test_any_flags_give_settings_or_a_config_error(flags):
    try:
        loaded = load(flags)
    except ConfigError:
        return
    assert loaded.northbound == flags["northbound"]
