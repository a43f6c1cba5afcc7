"""The order of CNI calls around a sandbox is the one recorded of kubelet and containerd 1.6."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from ovnk.lab.kubelet import sandbox
from ovnk.lab.kubelet.plugin import PluginError
from ovnk.lab.kubelet.sandbox import Folders, Sandbox

pytestmark = pytest.mark.system

RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "fd00::3/64"}, {"address": "10.244.1.3/24"}]}

# Writes down each call and whether the namespace was there; fails as long as a file says so.
PLUGIN = """#!/usr/bin/python3 -ISE
import json, os, sys
configuration = json.load(sys.stdin)
folder = configuration["folder"]
network, verb = os.environ["CNI_NETNS"], os.environ["CNI_COMMAND"]
call = {"verb": verb, "container": os.environ["CNI_CONTAINERID"], "network": network,
        "there": bool(network) and os.path.exists(network), "prevResult": configuration.get("prevResult")}
with open(folder + "/calls", "a") as file:
    file.write(json.dumps(call) + chr(10))
failing = folder + "/fail-" + verb
if os.path.exists(failing):
    left = int(open(failing).read()) - 1
    open(failing, "w").write(str(left)) if left else os.unlink(failing)
    print(json.dumps({"code": 11, "msg": "try again later"}))
    sys.exit(1)
print(json.dumps(configuration["result"]) if verb == "ADD" else "")
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    # Stands where /run/netns is in a node.
    monkeypatch.setattr(sandbox, "NETWORKS", tmp_path / "netns")
    monkeypatch.setattr(sandbox, "PREFIX", "")
    monkeypatch.setattr(sandbox, "DELETE_AFTER_FAILURE_S", 0.0)
    monkeypatch.setattr(sandbox, "DELETE_AGAIN_S_FIRST", 0.0)
    for name in ("netns", "configuration", "plugins"):
        (tmp_path / name).mkdir()
    program = tmp_path / "plugins" / "recorder"
    program.write_text(PLUGIN)
    program.chmod(0o755)
    plugin = {"type": "recorder", "folder": str(tmp_path), "result": RESULT}
    conflist = {"name": "ovnk", "cniVersion": "1.0.0", "plugins": [plugin]}
    (tmp_path / "configuration" / "10-ovnk.conflist").write_text(json.dumps(conflist))
    return Folders(tmp_path / "configuration", str(tmp_path / "plugins"), tmp_path / "records")


def calls(folders: Folders) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folders.records.parent / "calls").read_text().splitlines()]


def fail(folders: Folders, verb: str, times: int = 1) -> None:
    (folders.records.parent / f"fail-{verb}").write_text(str(times))


def networks(folders: Folders) -> list[Path]:
    return list((folders.records.parent / "netns").iterdir())


def test_add_then_delete_with_its_result(folders: Folders) -> None:
    one = Sandbox("shop", "web-0", "uid-1")

    async def scenario() -> None:
        await sandbox.create(one, folders)
        assert one.ips == ["10.244.1.3", "fd00::3"], "IPv4 first, as containerd has it"
        await sandbox.remove(one, folders, again_s=0)

    asyncio.run(scenario())

    add, delete = calls(folders)
    assert (add["verb"], add["there"], add["prevResult"]) == ("ADD", True, None)
    assert (delete["verb"], delete["there"], delete["prevResult"]) == ("DEL", True, RESULT)
    assert add["container"] == delete["container"]
    assert networks(folders) == []


def test_a_failed_add_is_followed_by_a_delete_without_result_and_a_new_container(folders: Folders) -> None:
    fail(folders, "ADD")
    one = Sandbox("shop", "web-0", "uid-1")

    async def scenario() -> None:
        with pytest.raises(PluginError, match=r'plugin type="recorder" failed \(add\): try again later'):
            await sandbox.create(one, folders)
        assert networks(folders) == []
        await sandbox.create(one, folders)
        await sandbox.remove(one, folders, again_s=0)

    asyncio.run(scenario())

    made = calls(folders)
    assert [call["verb"] for call in made] == ["ADD", "DEL", "ADD", "DEL"]
    assert (made[1]["container"], made[1]["there"], made[1]["prevResult"]) == (made[0]["container"], True, None)
    assert made[2]["container"] != made[0]["container"]


def test_a_delete_is_repeated_until_it_works(folders: Folders) -> None:
    one = Sandbox("shop", "web-0", "uid-1")

    async def scenario() -> None:
        await sandbox.create(one, folders)
        fail(folders, "DEL", times=2)
        await sandbox.remove(one, folders, again_s=0.01)

    asyncio.run(scenario())

    deletes = calls(folders)[1:]
    assert [(call["verb"], call["prevResult"]) for call in deletes] == [("DEL", RESULT)] * 3


def test_a_network_that_is_gone_is_told_as_empty(folders: Folders) -> None:
    one = Sandbox("shop", "web-0", "uid-1")

    async def scenario() -> None:
        await sandbox.create(one, folders)
        sandbox.remove_network(one.network)
        await sandbox.remove(one, folders, again_s=0)

    asyncio.run(scenario())

    assert (calls(folders)[1]["network"], calls(folders)[1]["prevResult"]) == ("", RESULT)


def test_a_call_that_is_given_up_is_followed_by_a_delete(folders: Folders) -> None:
    program = Path(folders.plugins) / "recorder"
    program.write_text(
        PLUGIN + "\nimport time\nif verb == 'ADD': open(folder + '/began', 'w').close(); time.sleep(60)\n"
    )
    began = folders.records.parent / "began"
    os.mkfifo(began)
    one = Sandbox("shop", "web-0", "uid-1")

    async def scenario() -> None:
        adding = asyncio.create_task(sandbox.create(one, folders))
        await asyncio.to_thread(began.read_text)
        adding.cancel()
        await asyncio.wait({adding})
        assert adding.cancelled()

    asyncio.run(scenario())

    assert [(call["verb"], call["prevResult"]) for call in calls(folders)] == [("ADD", None), ("DEL", None)]
    assert networks(folders) == []


def test_without_a_conflist_nothing_is_called(folders: Folders) -> None:
    (folders.configuration / "10-ovnk.conflist").unlink()

    with pytest.raises(PluginError, match="cni plugin not initialized"):
        asyncio.run(sandbox.create(Sandbox("shop", "web-0", "uid-1"), folders))

    assert not (folders.records.parent / "calls").exists()


def test_the_record_outlives_the_kubelet(folders: Folders) -> None:
    one = Sandbox("shop", "web-0", "uid-1", capabilities={"dns": {}})

    asyncio.run(sandbox.create(one, folders))

    (found,) = sandbox.recorded(folders)
    assert found == one
    asyncio.run(sandbox.remove(found, folders, again_s=0))
    assert networks(folders) == []


def test_capabilities_are_made_of_the_pod() -> None:
    ports = [{"containerPort": 8080, "hostPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    annotations = {"kubernetes.io/egress-bandwidth": "10M"}
    pod = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"ports": ports}]}}

    made = sandbox.capabilities(pod)

    assert made["portMappings"] == [{"HostPort": 80, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": ""}]
    assert made["bandwidth"] == {
        "IngressRate": 0,
        "IngressBurst": 0,
        "EgressRate": 10_000_000,
        "EgressBurst": 4294967295,
    }
    assert made["io.kubernetes.cri.pod-annotations"] == annotations
