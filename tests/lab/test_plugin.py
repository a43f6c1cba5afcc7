"""The lab calls a CNI plug-in as containerd 1.6 was recorded to do."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from ovnk.lab.kubelet import plugin
from ovnk.lab.kubelet.plugin import Call, NetworkList, PluginError

RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "10.244.1.3/24"}]}

# Writes down what it was given, then does what its configuration says.
RECORDER = """#!/usr/bin/python3 -ISE
import json, os, sys, signal
stdin = sys.stdin.read()
configuration = json.loads(stdin)
with open(configuration["record"], "a") as file:
    file.write(json.dumps({"env": dict(os.environ), "stdin": stdin, "cwd": os.getcwd()}) + "\\n")
if configuration.get("kill"):
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdout.write(configuration.get("say", ""))
sys.stderr.write(configuration.get("complain", ""))
sys.exit(configuration.get("code", 0))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = tmp_path / "recorder"
    program.write_text(RECORDER)
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return tmp_path


def networks(folder: Path, *plugins: dict[str, object], version: str = "1.0.0") -> NetworkList:
    record = str(folder / "record")
    default = {"type": "recorder", "record": record, "say": json.dumps(RESULT)}
    return NetworkList("ovnk", version, tuple({**default, **one} for one in plugins or ({},)))


def call(**capabilities: object) -> Call:
    return Call("c" * 64, "/var/run/netns/cni-1", "shop", "web-0", "uid-1", capabilities)


def recorded(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "record").read_text().splitlines()]


def add(folder: Path, *plugins: dict[str, object]) -> dict[str, object]:
    return asyncio.run(plugin.add(networks(folder, *plugins), call(), str(folder)))


def test_add_says_who_the_pod_is(folder: Path) -> None:
    assert add(folder) == RESULT

    env = recorded(folder)[0]["env"]
    assert env["CNI_COMMAND"] == "ADD"
    assert env["CNI_CONTAINERID"] == "c" * 64
    assert env["CNI_NETNS"] == "/var/run/netns/cni-1"
    assert env["CNI_IFNAME"] == "eth0"
    assert env["CNI_PATH"] == str(folder)
    assert recorded(folder)[0]["cwd"] == "/"
    assert dict(pair.split("=") for pair in env["CNI_ARGS"].split(";")) == {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": "shop",
        "K8S_POD_NAME": "web-0",
        "K8S_POD_INFRA_CONTAINER_ID": "c" * 64,
        "K8S_POD_UID": "uid-1",
    }


def test_the_runtimes_own_environment_is_passed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")

    add(folder)

    assert recorded(folder)[0]["env"]["PYTHONPATH"] == "/somewhere"


def test_arguments_come_in_any_order(folder: Path) -> None:
    async def many() -> None:
        await asyncio.gather(*(plugin.add(networks(folder), call(), str(folder)) for _ in range(12)))

    asyncio.run(many())

    assert len({one["env"]["CNI_ARGS"] for one in recorded(folder)}) > 1


def test_configuration_has_sorted_keys_and_the_lists_name_and_version(folder: Path) -> None:
    add(folder, {"zebra": 1, "alpha": {"d": 1, "c": 2}})

    stdin = recorded(folder)[0]["stdin"]
    value = json.loads(stdin)
    assert stdin == json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert (value["name"], value["cniVersion"]) == ("ovnk", "1.0.0")
    assert "runtimeConfig" not in value
    assert "prevResult" not in value


def test_runtime_configuration_goes_to_the_plugin_that_declares_it(folder: Path) -> None:
    mappings = [{"HostPort": 80, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": ""}]
    lists = networks(folder, {}, {"capabilities": {"portMappings": True, "bandwidth": False}})

    asyncio.run(plugin.add(lists, call(portMappings=mappings, bandwidth={"IngressRate": 1}), str(folder)))

    first, second = (json.loads(one["stdin"]) for one in recorded(folder))
    assert "runtimeConfig" not in first
    assert second["runtimeConfig"] == {"portMappings": mappings}


def test_a_plugin_is_given_the_result_of_the_one_before(folder: Path) -> None:
    add(folder, {}, {})

    assert [json.loads(one["stdin"]).get("prevResult") for one in recorded(folder)] == [None, RESULT]


def test_delete_goes_backwards_with_the_last_result(folder: Path) -> None:
    lists = networks(folder, {"number": 1}, {"number": 2})

    asyncio.run(plugin.delete(lists, call(), str(folder), RESULT))

    given = [json.loads(one["stdin"]) for one in recorded(folder)]
    assert [one["number"] for one in given] == [2, 1]
    assert all(one["prevResult"] == RESULT for one in given)
    assert {one["env"]["CNI_COMMAND"] for one in recorded(folder)} == {"DEL"}


def test_message_and_details_are_joined(folder: Path) -> None:
    error = json.dumps({"code": 11, "msg": "no address yet", "details": "subnet default is full"})

    with pytest.raises(PluginError) as raised:
        add(folder, {"say": error, "code": 1})

    assert str(raised.value) == 'plugin type="recorder" failed (add): no address yet; subnet default is full'


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"kill": True}, "netplugin failed with no error message: signal: killed"),
        ({"say": "noise", "code": 1}, "error parsing its diagnostic message"),
        ({"say": "", "complain": "boom", "code": 1}, "netplugin failed: 'boom'"),
        ({"say": json.dumps({**RESULT, "cniVersion": "1.1.0"})}, "unsupported CNI result version"),
    ],
    ids=["killed", "noise", "stderr", "result too new"],
)
def test_a_plugin_that_fails_without_an_error_is_told_as_containerd_does(
    folder: Path, behaviour: dict[str, object], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        add(folder, behaviour)


def test_a_plugin_that_is_not_there_names_the_folders(folder: Path) -> None:
    with pytest.raises(PluginError, match=f'failed to find plugin "absent" in path \\[{folder}\\]'):
        add(folder, {"type": "absent"})


def test_the_first_conflist_by_name_is_used(tmp_path: Path) -> None:
    for name in ("20-b", "10-a"):
        (tmp_path / f"{name}.conflist").write_text(json.dumps({"name": name, "cniVersion": "1.0.0", "plugins": []}))
    (tmp_path / "00-temporary.conflist.tmp").write_text("half a")

    loaded = plugin.load(tmp_path)

    assert loaded is not None
    assert loaded.name == "10-a"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}'])
def test_a_conflist_that_is_none_leaves_the_node_without_network(tmp_path: Path, text: str) -> None:
    (tmp_path / "10-ovnk.conflist").write_text(text)

    assert plugin.load(tmp_path) is None
