"""Cluster IPs, families and node ports of Services: what no controller does, because the API server itself allocates.

What is in use follows from the stored Services alone, so nothing can leak and a restart needs no repair. Addresses
are handed out in order and not reused until the range has come round; the first ten stay free for those who name
them (the `kubernetes` Service, DNS).
"""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from ovnk.lab.apiserver import kinds, status
from ovnk.lab.apiserver.status import Cause
from ovnk.lab.apiserver.store import Event, Store

Object = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SERVICES: Final = kinds.built_in("services").storage
NODE_PORTS: Final = range(30000, 32768)
_RESERVED: Final = 10
# An IPv6 service range is far larger than anybody allocates; the search stays within its first 2^16.
_SEARCHED_MAX: Final = 1 << 16


class ServiceAddresses:
    """Allocates for one cluster: one service CIDR a family, the primary family first."""

    def __init__(self, store: Store, cidrs: tuple[Network, ...], node_ports: range = NODE_PORTS) -> None:
        self._networks = {f"IPv{cidr.version}": cidr for cidr in cidrs}
        self._node_ports = node_ports
        self._used_addresses: Counter[str] = Counter()
        self._used_ports: Counter[tuple[str, int]] = Counter()
        self._next = dict.fromkeys(self._networks, _RESERVED)
        self._next_port = 0
        for stored in store.select(SERVICES):
            self._count(stored.value, 1)
        store.subscribe(SERVICES, self._follow)

    def allocate(self, old: Object | None, new: Object) -> list[Cause]:
        """Complete a Service's spec in place, keeping what `old` has; what cannot be had is told as causes."""
        spec = new["spec"]
        if spec["type"] == "ExternalName":
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(name, None)
            return []
        before = old["spec"] if old is not None and old["spec"].get("type") != "ExternalName" else {}
        if not spec.get("clusterIP") and not spec.get("clusterIPs") and before.get("clusterIP"):
            spec["clusterIPs"] = list(before.get("clusterIPs") or [before["clusterIP"]])
        return [*self._addresses(spec, before), *self._ports(spec, before)]

    def _addresses(self, spec: Object, before: Object) -> list[Cause]:
        wanted: list[str] = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
        if spec.get("clusterIP") and wanted[0] != spec["clusterIP"]:
            if before.get("clusterIPs") == spec.get("clusterIPs"):
                wanted = [spec["clusterIP"]]
            else:
                return [status.invalid_value("spec.clusterIPs", wanted, "first value must match `clusterIP`")]
        headless = bool(wanted) and wanted[0] == "None"
        families, causes = self._families(spec, before, [] if headless else wanted)
        if causes:
            return causes
        spec["ipFamilies"] = families
        if headless:
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
            return []
        kept = set(before.get("clusterIPs") or ())
        addresses: list[str] = []
        for index, family in enumerate(families):
            address = wanted[index] if index < len(wanted) else self._free_address(family)
            if address is None:
                why = f"failed to allocate a serviceIP: range is full ({self._networks[family]})"
                return [status.invalid_value("spec.clusterIPs", wanted, why)]
            if address not in kept:
                why = self._refusal(address, family)
                if why:
                    return [status.invalid_value("spec.clusterIPs", wanted, f"failed to allocate IP {address}: {why}")]
            addresses.append(address)
        spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses
        return []

    def _families(self, spec: Object, before: Object, wanted: list[str]) -> tuple[list[str], list[Cause]]:
        """(the Service's families, or what is wrong); sets ipFamilyPolicy."""
        have = list(self._networks)
        asked: list[str] = list(spec.get("ipFamilies") or before.get("ipFamilies") or ())
        for index, address in enumerate(wanted):
            try:
                family = f"IPv{ipaddress.ip_address(address).version}"
            except ValueError:
                return [], [status.invalid_value(f"spec.clusterIPs[{index}]", address, "must be a valid IP address")]
            if index >= len(asked):
                asked.append(family)
            elif asked[index] != family:
                why = f"expected an {asked[index]} value as indicated by `ipFamilies[{index}]`"
                return [], [status.invalid_value(f"spec.clusterIPs[{index}]", address, why)]
        for index, family in enumerate(asked):
            if family not in have:
                why = "not configured on this cluster"
                return [], [status.invalid_value(f"spec.ipFamilies[{index}]", family, why)]
        asked = asked or have[:1]
        both = len(asked) > 1 and len(spec.get("ipFamilies") or ()) > 1
        default = "RequireDualStack" if both and not before else before.get("ipFamilyPolicy", "SingleStack")
        policy = spec.setdefault("ipFamilyPolicy", default)
        if policy == "SingleStack":
            del wanted[1:]
            return asked[:1], []
        if policy == "RequireDualStack" and len(have) < 2:
            why = "this cluster is not configured for dual-stack services"
            return [], [status.invalid_value("spec.ipFamilyPolicy", policy, why)]
        return [*asked, *(family for family in have if family not in asked)], []

    def _refusal(self, address: str, family: str) -> str:
        if ipaddress.ip_address(address) not in self._networks[family]:
            return f"provided IP is not in the valid range. The range of valid IPs is {self._networks[family]}"
        return "provided IP is already allocated" if self._used_addresses[address] else ""

    def _free_address(self, family: str) -> str | None:
        network = self._networks[family]
        # The network's own address is no service's, nor is an IPv4 network's broadcast address.
        size = min(network.num_addresses - (2 if network.version == 4 else 1), _SEARCHED_MAX)
        for step in range(size):
            offset = (self._next[family] + step) % size
            address = str(network.network_address + 1 + offset)
            if not self._used_addresses[address]:
                self._next[family] = offset + 1
                return address
        return None

    def _ports(self, spec: Object, before: Object) -> list[Cause]:
        ports: list[Object] = spec.get("ports") or []
        if spec["type"] == "ClusterIP" or spec.get("allocateLoadBalancerNodePorts") is False:
            kept = {port.get("nodePort") for port in before.get("ports") or ()}
            for port in ports:
                if port.get("nodePort") in kept:
                    port.pop("nodePort", None)
            return []
        old_ports = {(port["protocol"], port.get("port")): port.get("nodePort") for port in before.get("ports") or ()}
        mine = {(protocol, number) for (protocol, _), number in old_ports.items()}
        causes: list[Cause] = []
        taken: set[tuple[str, int]] = {(port["protocol"], port["nodePort"]) for port in ports if port.get("nodePort")}
        for index, port in enumerate(ports):
            protocol, field = port["protocol"], f"spec.ports[{index}].nodePort"
            number = port.get("nodePort") or old_ports.get((protocol, port.get("port")))
            if not number:
                number = next(self._free_ports(protocol, taken), None)
                if number is None:
                    causes.append(status.invalid_value(field, 0, "failed to allocate a nodePort: range is full"))
                    continue
            elif number not in self._node_ports:
                why = f"{self._node_ports.start}-{self._node_ports.stop - 1}"
                why = f"provided port is not in the valid range. The range of valid ports is {why}"
                causes.append(status.invalid_value(field, number, why))
            elif self._used_ports[protocol, number] and (protocol, number) not in mine:
                causes.append(status.invalid_value(field, number, "provided port is already allocated"))
            port["nodePort"] = number
            taken.add((protocol, number))
        return causes

    def _free_ports(self, protocol: str, taken: set[tuple[str, int]]) -> Iterator[int]:
        for _ in self._node_ports:
            number = self._node_ports[self._next_port % len(self._node_ports)]
            self._next_port += 1
            if not self._used_ports[protocol, number] and (protocol, number) not in taken:
                yield number

    def _follow(self, event: Event) -> None:
        if event.previous is not None:
            self._count(event.previous.value, -1)
        if event.type != "DELETED":
            self._count(event.current.value, 1)

    def _count(self, service: Object, step: int) -> None:
        for address in service["spec"].get("clusterIPs") or ():
            self._used_addresses[address] += step
        for port in service["spec"].get("ports") or ():
            if port.get("nodePort"):
                self._used_ports[port["protocol"], port["nodePort"]] += step
