"""The CNI specification's words, 0.3.1 to 1.1.0: a request parsed, a result or an error formatted.

Pure: bytes in, values out, bytes out. It knows nothing of sockets, OVN or this node. Whatever is read, nothing
but a CniError is raised, because what a plug-in prints besides the specification's JSON costs the pod 12 seconds
and tells nobody why.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = VERSIONS[-1]

# Error codes: CNI 1.1.0, section "Error" (50 and 51 are of STATUS).
INCOMPATIBLE_VERSION = 1
UNKNOWN_CONTAINER = 3
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
INVALID_CONFIG = 7
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
# From 100 on the codes are the plug-in's own.
INTERNAL = 100
NOT_AS_EXPECTED = 101

# command → (the version that brought it, the environment variables it needs)
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ADD": ("0.3.1", ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")),
    "DEL": ("0.3.1", ("CNI_CONTAINERID", "CNI_IFNAME")),
    "CHECK": ("0.4.0", ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")),
    "STATUS": ("1.1.0", ()),
    "GC": ("1.1.0", ()),
    "VERSION": ("0.3.1", ()),
}

_IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*\Z")
_IFNAME_BYTES_MAX = 15  # IFNAMSIZ less its NUL
_POD_KEYS = ("K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID")
_KNOWN_KEYS = {*_POD_KEYS, "K8S_POD_INFRA_CONTAINER_ID", "IgnoreUnknown"}
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}  # what Go's strconv.ParseBool takes, as libcni does


class CniError(Exception):
    """What the runtime is told, by the specification's code; kubelet shows "`message`; `details`" to the operator."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(f"{message}; {details}" if details else message)
        self.code, self.message, self.details = code, message, details

    def encode(self, version: str) -> bytes:
        """The error as JSON, in the version asked for where we speak it."""
        spoken = version if version in VERSIONS else NEWEST
        document = {"cniVersion": spoken, "code": self.code, "msg": self.message, "details": self.details}
        return msgspec.json.encode(document)


@dataclass(frozen=True, slots=True)
class Pod:
    """Which pod the sandbox is for, of CNI_ARGS. `uid` tells it from an earlier pod of the same name."""

    namespace: str
    name: str
    uid: str


class Attached(Struct, frozen=True, rename={"container_id": "containerID"}):
    """One attachment that the runtime knows (GC)."""

    container_id: str
    ifname: str


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the plug-in. What the command has no use for is empty; `pod` is there for ADD alone."""

    command: str
    version: str
    container_id: str = ""
    ifname: str = ""
    netns: str = ""
    pod: Pod | None = None
    previous: "Previous | None" = None
    valid: tuple[Attached, ...] = ()
    host_ports: "tuple[PortMapping, ...]" = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the node that shall lead to the pod (CNI conventions, portMappings); `protocol` in lower case."""

    protocol: str
    host_port: int
    container_port: int
    host_ip: str = ""


class PreviousInterface(Struct, frozen=True):
    """An interface of a prevResult; `sandbox` is empty for one on the host."""

    name: str
    mac: str = ""
    sandbox: str = ""


class PreviousAddress(Struct, frozen=True):
    """An address of a prevResult ("10.244.1.5/24"), by index into its interfaces."""

    address: str
    gateway: str = ""
    interface: int | None = None


class Previous(Struct, frozen=True):
    """The part of a prevResult that CHECK compares; alike in all versions."""

    interfaces: tuple[PreviousInterface, ...] | None = ()
    ips: tuple[PreviousAddress, ...] | None = ()


class _Config(Struct, frozen=True):
    version: str = field(name="cniVersion", default="")
    name: str = ""
    # Read by CHECK alone, so that no DEL fails over it; empty where it is absent.
    previous: Raw = field(name="prevResult", default=Raw())
    # Read by ADD alone.
    runtime: Raw = field(name="runtimeConfig", default=Raw())
    valid: tuple[Attached, ...] | UnsetType | None = field(name="cni.dev/valid-attachments", default=UNSET)
    # The name an early text of 1.1.0 had; libcni sends both (containernetworking/cni issue 1101).
    attachments: tuple[Attached, ...] | UnsetType | None = field(name="cni.dev/attachments", default=UNSET)


@dataclass(frozen=True, slots=True)
class Result:
    """What ADD made: one veth pair, its addresses ("10.244.1.5/24") and gateways, one a family, and default routes."""

    host_interface: str
    ifname: str
    netns: str
    mac: str
    mtu_bytes: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]

    def encode(self, version: str) -> bytes:
        """The result as JSON of `version`: 0.x says each address's family, 1.1.0 the MTU."""
        interfaces: list[dict[str, object]] = [
            {"name": self.host_interface},
            {"name": self.ifname, "mac": self.mac, "sandbox": self.netns},
        ]
        if version == "1.1.0":
            for interface in interfaces:
                interface["mtu"] = self.mtu_bytes
        ips, routes = [], []
        for address, gateway in zip(self.addresses, self.gateways, strict=True):
            v6 = ":" in address
            entry: dict[str, object] = {"address": address, "gateway": gateway, "interface": 1}
            if version.startswith("0."):
                entry["version"] = "6" if v6 else "4"
            ips.append(entry)
            routes.append({"dst": "::/0" if v6 else "0.0.0.0/0", "gw": gateway})
        return msgspec.json.encode(
            {"cniVersion": version, "interfaces": interfaces, "ips": ips, "routes": routes, "dns": {}}
        )


def parse(environment: Mapping[str, bytes], stdin: bytes) -> Request:
    """The request in the plug-in's environment and standard input.

    Raises CniError: code 4 for the environment, 6 for text that is not JSON of the right shape, 1 for a version we
    do not speak or one in which the command does not exist, 7 for a configuration without what the command needs.
    """
    values = {name: _text(name, value) for name, value in environment.items()}
    command = values.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise CniError(INVALID_ENVIRONMENT, f'CNI_COMMAND "{command}" is not one of {", ".join(COMMANDS)}')
    since, needed = COMMANDS[command]
    config = _decode(stdin)
    if command != "VERSION":
        _check_version(config.version, command, since)
    for name in needed:
        if not values.get(name):
            raise CniError(INVALID_ENVIRONMENT, f"{name} is missing; {command} needs it")
    if "CNI_CONTAINERID" in needed:
        check_container_id(values["CNI_CONTAINERID"])
        check_ifname(values["CNI_IFNAME"])
    return Request(
        command=command,
        version=config.version,
        container_id=values.get("CNI_CONTAINERID", ""),
        ifname=values.get("CNI_IFNAME", ""),
        netns=values.get("CNI_NETNS", ""),
        pod=_pod(values.get("CNI_ARGS", "")) if command == "ADD" else None,
        previous=_previous(config) if command == "CHECK" else None,
        valid=_valid(config) if command == "GC" else (),
        host_ports=_host_ports(config) if command == "ADD" else (),
    )


def requested_version(stdin: bytes) -> str:
    """The configuration's cniVersion, or "" where it cannot be read: errors are answered in it."""
    try:
        return _decode(stdin).version
    except CniError:
        return ""


def encode_versions(requested: str) -> bytes:
    """The answer to VERSION (CNI 1.1.0, section 2, VERSION)."""
    version = requested if requested in VERSIONS else NEWEST
    return msgspec.json.encode({"cniVersion": version, "supportedVersions": VERSIONS})


def check_container_id(container_id: str) -> None:
    """Raises CniError 4 unless it is alphanumeric, then alphanumerics, '_', '.', '-' (CNI, section 2, Parameters)."""
    if not _IDENTIFIER.match(container_id):
        raise CniError(
            INVALID_ENVIRONMENT,
            f'CNI_CONTAINERID "{container_id}" must start with a letter or digit and hold only these, "_", "." and "-"',
        )


def check_ifname(ifname: str) -> None:
    """Raises CniError 4 unless Linux takes it as a name (dev_valid_name) and the specification does."""
    if len(ifname.encode()) > _IFNAME_BYTES_MAX:
        why = f"is longer than {_IFNAME_BYTES_MAX} bytes"
    elif ifname in (".", ".."):
        why = "is not a name"
    elif any(character in "/:" or character.isspace() for character in ifname):
        why = 'holds "/", ":" or white space'
    else:
        return
    raise CniError(INVALID_ENVIRONMENT, f'CNI_IFNAME "{ifname}" {why}')


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CniError(INVALID_ENVIRONMENT, f"{name} is not UTF-8") from None


def _decode(stdin: bytes) -> _Config:
    try:
        return msgspec.json.decode(stdin, type=_Config)
    except msgspec.ValidationError as error:
        raise CniError(INVALID_CONFIG, "the network configuration cannot be used", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CniError(
            DECODING_FAILURE, "the network configuration on standard input is not JSON", str(error)
        ) from None


def _check_version(version: str, command: str, since: str) -> None:
    if version not in VERSIONS:
        raise CniError(
            INCOMPATIBLE_VERSION,
            f'cniVersion "{version}" is not supported',
            f"supported are {', '.join(VERSIONS)}; change cniVersion in the network configuration",
        )
    if VERSIONS.index(version) < VERSIONS.index(since):
        raise CniError(
            INCOMPATIBLE_VERSION, f"{command} does not exist in cniVersion {version}", f"it came with {since}"
        )


def _pod(text: str) -> Pod:
    """The pod of CNI_ARGS: "KEY=VALUE;…" in any order; unknown keys only beside IgnoreUnknown, as libcni has it."""
    values: dict[str, str] = {}
    for part in filter(None, text.split(";")):
        key, equals, value = part.partition("=")
        if not equals:
            raise CniError(INVALID_ENVIRONMENT, f'CNI_ARGS: "{part}" is not KEY=VALUE')
        values[key] = value
    unknown = sorted(values.keys() - _KNOWN_KEYS)
    if unknown and values.get("IgnoreUnknown") not in _TRUE:
        raise CniError(INVALID_ENVIRONMENT, f"CNI_ARGS: {', '.join(unknown)} unknown and IgnoreUnknown not set")
    for key in _POD_KEYS:
        if not values.get(key):
            raise CniError(
                INVALID_ENVIRONMENT,
                f"CNI_ARGS has no {key}",
                "the pod is found by its namespace, name and UID, which containerd and CRI-O both give",
            )
    return Pod(*(values[key] for key in _POD_KEYS))


def _host_ports(config: _Config) -> tuple[PortMapping, ...]:
    """The mappings with a host port; containerd spells the keys "HostPort", CRI-O "hostPort"."""
    try:
        runtime = msgspec.json.decode(config.runtime or b"null", type=dict[str, Any] | None) or {}
        listed = msgspec.convert(runtime.get("portMappings") or (), tuple[dict[str, Any], ...])
        lowered = [{key.lower(): value for key, value in one.items()} for one in listed]
        mappings = [msgspec.convert(one, _Mapping) for one in lowered if one.get("hostport")]
        return tuple(
            PortMapping(
                one.protocol.lower() or "tcp",
                one.hostport,
                one.containerport,
                str(ipaddress.ip_address(one.hostip)) if one.hostip else "",
            )
            for one in mappings
        )
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CniError(INVALID_CONFIG, "runtimeConfig.portMappings cannot be used", str(error)) from None


Port = Annotated[int, Meta(ge=1, le=65535)]


class _Mapping(Struct, frozen=True):
    hostport: Port
    containerport: Port
    protocol: Literal["tcp", "udp", "sctp", "TCP", "UDP", "SCTP", ""] = ""
    hostip: str = ""


def _previous(config: _Config) -> Previous:
    if bytes(config.previous) in (b"", b"null"):
        raise CniError(INVALID_CONFIG, "CHECK needs prevResult in the network configuration")
    try:
        return msgspec.json.decode(config.previous, type=Previous)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CniError(INVALID_CONFIG, "prevResult is not a result of this plug-in", str(error)) from None


def _valid(config: _Config) -> tuple[Attached, ...]:
    """The attachments to keep. An absent list is an error: read as empty, it would take every pod off the network.

    An empty Go slice comes as null and does mean "none" (libcni, GCNetworkList).
    """
    given = config.valid if config.valid is not UNSET else config.attachments
    if isinstance(given, UnsetType):
        raise CniError(INVALID_CONFIG, "GC needs cni.dev/valid-attachments in the network configuration")
    return given or ()
