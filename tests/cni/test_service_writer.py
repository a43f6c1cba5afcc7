"""The table for services in a real kernel: one object that nft refuses, and ports that somebody listens on."""

import asyncio
import contextlib
import json
import socket

import pytest

from cni import listeners, nft, services, settings
from cni.listeners import Claim, Listener
from cni.service_table import FAMILY, TABLE, Here
from cni.services import Services
from ovnk.kube.objects import Node, Put, Remove, Replace
from ovnk.kube.service_objects import Endpoint, EndpointSlice, Service
from tests.builders import endpoint_slice, node, service
from tests.cni import world
from tests.cni.test_looking import node as namespace

# nft takes no name of more than 255 characters (linux/netfilter/nf_tables.h NFT_NAME_MAXLEN).
TOO_LONG = "x" * 250


def node_port(name, number, **more):
    return service(name, f"10.96.0.{number}", ports=[("", "TCP", 80, 30000 + number)], **more)


@contextlib.asynccontextmanager
async def running(*services, networks=()):
    """(Services, what it has told) with these, each with an endpoint on this node."""
    told = []
    made = Services("node-1", networks, tell=told.append)
    slices = [endpoint_slice(f"e{one.key}", Endpoint("10.244.1.3", node="node-1"), of=one.key) for one in services]
    for kind, values in ((Service, services), (EndpointSlice, slices), (Node, [node("node-1")])):
        made.changed(Replace(kind, {value.key: value for value in values}))
    made.network_changed(world.spec())
    made.ports_known()
    task = asyncio.create_task(made.run())
    try:
        await made.applied()
        yield made, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def served():
    """The node ports that the kernel's table serves."""
    listing = json.loads(await nft.run("-j", "list", "table", FAMILY, TABLE))["nftables"]
    found = set()
    for one in (item["map"] for item in listing if "map" in item):
        if one["name"].startswith("node_port"):
            found |= {element[0]["concat"][1] for element in one.get("elem", ())}
    return found


@pytest.mark.system
def test_a_service_whose_rules_are_refused_does_not_keep_others_from_being_served():
    bad = node_port(TOO_LONG, 3, external_local=True)

    async def run():
        some = [node_port(f"s{number}", 10 + number, external_local=True) for number in range(9)]
        async with running(*some[:4], bad, *some[4:]) as (made, told):
            assert await served() == set(range(30010, 30019))
            assert [(one.kind, one.key, one.reason) for one in told] == [("Service", bad.key, "NodeRulesRefused")]
            (trouble,) = made.troubles
            assert bad.key in trouble
            # A change of another service neither tries it again nor tells of it again.
            made.changed(Put(node_port("s0", 30)))
            await made.applied()
            assert await served() == {30030, *range(30011, 30019)}
            # As soon as it is right itself, it is served; wrong again, it is told of again.
            made.changed(Put(node_port(TOO_LONG, 4)))
            await made.applied()
            assert 30004 in await served()
            made.changed(Put(bad))
            await made.applied()
            assert await served() == {30030, *range(30011, 30019)}
            assert len(told) == 2
            made.changed(Remove(Service, bad.key))
            await made.applied()
            assert not made.troubles

    with namespace("link set lo up"):
        asyncio.run(run())


@pytest.mark.system
def test_a_change_that_nft_could_not_take_is_applied_later_and_was_not_forgotten(monkeypatch):
    """Its UDP connections are looked after too."""
    monkeypatch.setattr(services, "_RETRY_S", 0.05)
    given = node_port("web", 10)
    udp = service("web", "10.96.0.10", ports=[("", "UDP", 80, 30010)])

    async def run():
        async with running(given) as (made, _told):
            with monkeypatch.context() as broken:
                broken.setenv("PATH", "/nonexistent")
                made.changed(Put(udp))
                while not made.trouble:  # noqa: ASYNC110  it is told to nobody
                    await asyncio.sleep(0)
            await made.applied()
            assert await served() == {30010}
            refused = made._ways.lead(("10.0.0.1", 30010), local=True)
            assert refused == frozenset()
            assert not made.troubles

    with namespace("link set lo up"):
        asyncio.run(run())


@pytest.mark.system
@pytest.mark.parametrize(
    ("family", "kind", "protocol"), [("0.0.0.0", socket.SOCK_STREAM, "TCP"), ("::", socket.SOCK_DGRAM, "UDP")]
)
def test_a_process_that_listens_on_a_node_port_is_told_of(family, kind, protocol):
    async def run():
        given = service("web", ports=[("", protocol, 80, 30010)])
        async with running(given) as (made, told):
            assert [(one.key, one.reason) for one in told] == [("shop/web", "PortInUse")]
            assert f"nodePort 30010/{protocol}" in told[0].message
            made.changed(Put(service("web", ports=[("", protocol, 80, 30011)])))
            await made.applied()
            assert len(told) == 1

    with (
        namespace("link set lo up"),
        socket.socket(socket.AF_INET6 if ":" in family else socket.AF_INET, kind) as other,
    ):
        other.bind((family, 30010))
        if kind == socket.SOCK_STREAM:
            other.listen()
        asyncio.run(run())


@pytest.mark.system
def test_primary_node_port_addresses_are_those_of_the_node_object():
    async def rules(made):
        await made.applied()
        return (await nft.run("list", "chain", FAMILY, TABLE, "node_ports")).decode()

    async def run():
        async with running(networks=settings.node_port_networks("primary")) as (made, _told):
            assert "ip daddr != 192.168.100.1 return" in await rules(made)
            made.changed(Put(node("node-1", addresses=("192.168.100.9",))))
            assert "ip daddr != 192.168.100.9 return" in await rules(made)

    with namespace("link set lo up"):
        asyncio.run(run())


@pytest.mark.system
def test_listeners_are_found_with_their_addresses_and_clients_are_none():
    with namespace("link set lo up"), contextlib.ExitStack() as several:
        tcp = several.enter_context(socket.create_server(("127.0.0.1", 0)))
        several.enter_context(socket.create_connection(tcp.getsockname()))
        udp = several.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        udp.bind(("::1", 0))
        client = several.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.connect(("127.0.0.1", 9))
        assert set(listeners.listening()) == {
            Listener("tcp", "127.0.0.1", tcp.getsockname()[1]),
            Listener("udp", "::1", udp.getsockname()[1]),
        }


HERE = Here("node-1", ("10.244.0.0/16",), ("10.96.0.0/16",), ("192.168.0.0/16",))
NODE_PORT = Claim("Service", "shop/web", "", "nodePort", "tcp", 30010)
HOST_PORT = Claim("Pod", "shop/web", "", "hostPort", "tcp", 30010, "10.0.0.1")


@pytest.mark.parametrize(
    ("claim", "address", "meet"),
    [
        (NODE_PORT, "0.0.0.0", True),
        (NODE_PORT, "192.168.1.1", True),
        (NODE_PORT, "10.0.0.1", False),
        (NODE_PORT, "fd00::1", True),
        (HOST_PORT, "::", True),
        (HOST_PORT, "10.0.0.1", True),
        (HOST_PORT, "10.0.0.2", False),
    ],
)
def test_a_listener_on_an_address_that_the_port_is_not_served_on_keeps_its_packets(claim, address, meet):
    assert bool(listeners.contested([claim], [Listener("tcp", address, 30010)], HERE)) == meet
    assert not listeners.contested([claim], [Listener("udp", address, 30010), Listener("tcp", address, 1)], HERE)
