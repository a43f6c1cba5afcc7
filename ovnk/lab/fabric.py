"""The nodes' network: a bridge in the lab's own namespace, a veth to each place, and the nodes' underlay.

A node's address is on br-phy, a userspace bridge over its eth0, because Open vSwitch's userspace tunnels leave through
its own routing, which knows only its own bridges (`ovs-appctl ovs/route/show`). With the kernel's datapath the address
is on eth0 and there is no br-phy.
"""

import os
import subprocess
from pathlib import Path

from ovs.unixctl import client as unixctl

from ovnk.lab import linux
from ovnk.lab.places import Place
from ovnk.lab.plan import INTERNET, Datapath, Plan, with_prefix

BRIDGE = "fabric"
UPLINK = "eth0"
UNDERLAY_BRIDGE = "br-phy"

_UNDERLAY_S_MAX = 30
# The longest that ovs-vswitchd lets a neighbour be kept without a packet to it.
_NEIGHBOUR_S_MAX = 3600
_PROCESS_FILE = Path("/run/openvswitch/ovs-vswitchd.pid")


def build(plan: Plan, central: Place, outside: Place, nodes: list[Place]) -> None:
    """Make the bridge and all that hangs on it. Node's addresses come with `underlay`."""
    addresses = "\n".join(f"address add dev {BRIDGE} {address}" for address in with_prefix(plan.central()))
    central.run(
        "ip",
        "-batch",
        "-",
        text=f"link set lo up\nlink add {BRIDGE} type bridge mcast_snooping 0\nlink set {BRIDGE} up\n{addresses}\n",
    )
    linux.transmit_checksums_in_software(BRIDGE)
    # Names of interfaces are 15 bytes at most, node names may be longer: number the fabric's ends.
    for number, place in enumerate([outside, *nodes]):
        port = f"port{number}"
        central.run(
            "ip",
            "-batch",
            "-",
            text=f"link add {port} type veth peer name {UPLINK} netns {place.network}\n"
            f"link set {port} master {BRIDGE} addrgenmode none up\n",
        )
        linux.transmit_checksums_in_software(port)
    _outside(plan, outside)
    for place in nodes:
        _node(plan, place)
    for place in (outside, *nodes):
        with place.network_entered():
            linux.transmit_checksums_in_software(UPLINK)


def underlay(plan: Plan, node: str) -> None:
    """Give a node its addresses and default route, in the node's namespaces; waits for br-phy to be made.

    With the userspace datapath this is to be run each time ovs-vswitchd starts: its bridges end with it.
    """
    interface = UPLINK if plan.datapath is Datapath.SYSTEM else UNDERLAY_BRIDGE
    if plan.datapath is Datapath.NETDEV:
        # ovs-vsctl waits until ovs-vswitchd has done what the database says. The link alone is there too early:
        # its MAC is set afterwards, which takes the routes away (ovs-vswitchd 3.1).
        mark = f"external_ids:lab-underlay={os.getpid()}"
        subprocess.run(["ovs-vsctl", f"--timeout={_UNDERLAY_S_MAX}", "set", "Bridge", interface, mark], check=True)
    gateway = plan.outside()
    lines = [f"link set {interface} up"]
    lines += [f"address replace dev {interface} {address}" for address in with_prefix(plan.node(node))]
    lines += [f"route replace default via {gateway[version]}" for version in plan.versions]
    linux.transmit_checksums_in_software(interface)
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
    if plan.datapath is Datapath.NETDEV:
        _introduce(plan, node)


def _introduce(plan: Plan, node: str) -> None:
    """Tell ovs-vswitchd the other nodes' MACs: it drops the packet for which it has to ask, and TCP loses a second."""
    process = _PROCESS_FILE.read_text().strip()
    error, client = unixctl.UnixctlClient.create(f"/run/openvswitch/ovs-vswitchd.{process}.ctl")
    if error:
        raise OSError(error, f"ovs-vswitchd's control socket: {os.strerror(error)}")
    calls = [("tnl/neigh/aging", [str(_NEIGHBOUR_S_MAX)])]
    for other in plan.nodes:
        addresses = plan.node(other).values() if other != node else ()
        calls += [("tnl/neigh/set", [UNDERLAY_BRIDGE, address, plan.mac(other)]) for address in addresses]
    for command, arguments in calls:
        error, complaint, _ = client.transact(command, arguments)
        if error or complaint:
            raise RuntimeError(f"ovs-appctl {command} {' '.join(arguments)}: {complaint or os.strerror(error)}")
    client.close()


def _outside(plan: Plan, place: Place) -> None:
    lines = ["link set lo up", f"link set {UPLINK} up"]
    lines += [f"address add dev {UPLINK} {address}" for address in with_prefix(plan.outside())]
    lines += [f"address add {INTERNET[version]} dev lo" for version in plan.versions]
    place.run("ip", "-batch", "-", text="\n".join(lines))


def _node(plan: Plan, place: Place) -> None:
    place.run("ip", "-batch", "-", text=f"link set lo up\nlink set {UPLINK} addrgenmode none up\n")
    if plan.datapath is Datapath.NETDEV:
        # The kernel sees eth0's packets as well as Open vSwitch: it would answer ARP for br-phy's address and hand
        # every packet to sockets twice. The hook is behind AF_PACKET, where Open vSwitch reads.
        place.run(
            "nft",
            "-f",
            "-",
            text="add table netdev underlay\nadd chain netdev underlay ingress "
            f'{{ type filter hook ingress device "{UPLINK}" priority 0; policy drop; }}\n',
        )
