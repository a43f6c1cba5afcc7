"""Which daemons a lab has, and how each is started. Values only: the supervisor starts them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ovnk.lab import fabric
from ovnk.lab.places import Place
from ovnk.lab.plan import NORTHBOUND_PORT, SOUTHBOUND_PORT, Plan, bracketed
from ovnk.lab.state import State
from ovnk.lab.supervisor import Daemon

# Debian's defaults, in each place's own /run, so that ovs-vsctl, ovs-appctl and ovn-nbctl need no options there.
VSWITCH_SOCKET = Path("/run/openvswitch/db.sock")
# What OVS and OVN programs say goes to stderr, which is the daemon's log.
_LOGGING = ("-vconsole:info", "-vsyslog:off", "-vfile:off")


def databases(plan: Plan, state: State, central: Place, files: dict[str, Path]) -> list[Daemon]:
    """The northbound's and southbound's servers; `files` by daemon name."""
    sockets = {"northbound": state.northbound_socket, "southbound": state.southbound_socket}
    ports = {"northbound": NORTHBOUND_PORT, "southbound": SOUTHBOUND_PORT}
    address = bracketed(plan.central()[plan.versions[0]])
    return [
        Daemon(
            name,
            central,
            (
                "ovsdb-server",
                str(files[name]),
                f"--remote=punix:{sockets[name]}",
                f"--remote=punix:/run/ovn/{sockets[name].name}",
                f"--remote=ptcp:{ports[name]}:{address}",
                f"--unixctl=/run/ovn/{sockets[name].stem}.ctl",
                f"--pidfile=/run/ovn/{sockets[name].stem}.pid",
                *_LOGGING,
            ),
        )
        for name in files
    ]


def northd(state: State, central: Place) -> Daemon:
    """The translator from northbound to southbound."""
    return Daemon(
        "northd",
        central,
        (
            "ovn-northd",
            f"--ovnnb-db=unix:{state.northbound_socket}",
            f"--ovnsb-db=unix:{state.southbound_socket}",
            "--unixctl=/run/ovn/ovn-northd.ctl",
            "--pidfile=/run/ovn/ovn-northd.pid",
            *_LOGGING,
        ),
    )


def vswitch_database(place: Place, file: Path) -> Daemon:
    """A node's Open vSwitch database server."""
    return Daemon(
        f"{place.name}/ovsdb-server",
        place,
        (
            "ovsdb-server",
            str(file),
            f"--remote=punix:{VSWITCH_SOCKET}",
            "--unixctl=/run/openvswitch/ovsdb-server.ctl",
            "--pidfile=/run/openvswitch/ovsdb-server.pid",
            *_LOGGING,
        ),
    )


def vswitchd(plan: Plan, place: Place) -> Daemon:
    """A node's switch; with the userspace datapath the node's underlay is part of it."""
    underlay: Callable[[], None] = partial(fabric.underlay, plan, place.name)
    return Daemon(
        f"{place.name}/ovs-vswitchd",
        place,
        (
            "ovs-vswitchd",
            f"unix:{VSWITCH_SOCKET}",
            "--pidfile=/run/openvswitch/ovs-vswitchd.pid",
            *_LOGGING,
        ),
        after_start=underlay,
    )


def ovn_controller(place: Place) -> Daemon:
    """A node's ovn-controller; the agent tells it through the node's database where the southbound is."""
    return Daemon(
        f"{place.name}/ovn-controller",
        place,
        (
            "ovn-controller",
            f"unix:{VSWITCH_SOCKET}",
            "--pidfile=/run/ovn/ovn-controller.pid",
            *_LOGGING,
        ),
    )
