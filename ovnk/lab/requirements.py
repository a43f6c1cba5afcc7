"""What a lab needs of the machine, looked for before anything is started, and which Debian package brings it."""

import os
import shutil
from pathlib import Path

from ovnk.errors import ConfigError
from ovnk.lab import databases, linux, places
from ovnk.lab.plan import Datapath, Plan

# program → Debian package
PROGRAMS = {
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-common",
    "ovs-vswitchd": "openvswitch-switch",
    "ovn-northd": "ovn-central",
    "ovn-controller": "ovn-host",
    "nft": "nftables",
    "ip": "iproute2",
}
FILES = {
    databases.VSWITCH_SCHEMA: "openvswitch-switch",
    databases.NORTHBOUND_SCHEMA: "ovn-common",
    databases.SOUTHBOUND_SCHEMA: "ovn-common",
}
TUN = Path("/dev/net/tun")


def check(plan: Plan) -> None:
    """Raise ConfigError with all that is missing, and what to do about it."""
    folders = places.environment()["PATH"]
    missing = {name: package for name, package in PROGRAMS.items() if shutil.which(name, path=folders) is None}
    missing |= {str(file): package for file, package in FILES.items() if not file.exists()}
    if missing:
        raise ConfigError(
            f"a lab needs {', '.join(missing)}, not found on this machine; "
            f"on Debian: apt install {' '.join(sorted(set(missing.values())))}"
        )
    if plan.api_state is not None and plan.kube_bin is not None:
        raise ConfigError(
            "--state is for the embedded API server; with real Kubernetes programs nothing outlives the lab"
        )
    for flag, path in (("--state", plan.api_state), ("--kube-bin", plan.kube_bin)):
        if path is not None and path.resolve().is_relative_to("/run"):
            raise ConfigError(
                f'{flag} "{path}": a lab has a /run of its own and cannot see this one; choose another folder'
            )
    if plan.datapath is Datapath.NETDEV:
        _check_tun()
    if os.geteuid() != 0:
        _check_user_namespaces()


def _check_tun() -> None:
    """Open vSwitch's internal ports (br-phy, ovnk0) are tap devices with the userspace datapath."""
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        raise ConfigError(
            f'"{TUN}" cannot be opened ({error.strerror}), and Open vSwitch makes its userspace ports with it; '
            f"run the lab as root, or have root do: chmod 0666 {TUN}"
        ) from error


def _check_user_namespaces() -> None:
    child = os.fork()
    if child == 0:
        try:
            linux.unshare(linux.NEW_USERS | linux.NEW_NETWORK | linux.NEW_MOUNTS | linux.NEW_PROCESSES)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise ConfigError(
            f"this machine lets users make no namespaces ({os.strerror(code)}); run the lab as root, or look at the "
            "sysctls user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns"
        )
