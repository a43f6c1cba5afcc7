"""AddressPools: API JSON in, the frozen value of pool_objects.py out, or InvalidObject that names the field."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import msgspec
from msgspec import Struct

from ovnk import contract
from ovnk.kube import wire
from ovnk.kube.label_selectors import LabelSelector, Wrong, requirements
from ovnk.kube.policy_objects import Selector
from ovnk.kube.pool_objects import PLURAL, AddressPool, AddressPoolSpec, AddressRange

ADDRESS_POOLS = wire.Resource(f"/apis/{contract.GROUP}/{contract.VERSION}/{PLURAL}", AddressPool)


def address_pool(raw: wire.Json) -> AddressPool:
    """The AddressPool in `raw`. Raises InvalidObject; Services that have an address of it keep that all the same."""
    found = wire.decode(AddressPool, _POOL, raw)
    metadata, spec = found.metadata or wire.Metadata(), found.spec
    if spec is None:
        raise wire.invalid(AddressPool, raw, "spec", "is missing")
    ranges = [_range(raw, f"spec.addresses[{index}]", text) for index, text in enumerate(spec.addresses)]
    return AddressPool(
        name=wire.name(AddressPool, raw, metadata.name, wire.SUBDOMAIN),
        ranges=merged(ranges),
        uid=metadata.uid or "",
        auto_assign=spec.auto_assign,
        services=_selector(raw, "spec.serviceSelector", spec.service_selector),
        namespaces=_selector(raw, "spec.namespaceSelector", spec.namespace_selector),
    )


def merged(ranges: list[AddressRange]) -> tuple[AddressRange, ...]:
    """The same addresses as sorted ranges that do not touch each other."""
    found: list[AddressRange] = []
    for version, first, last in sorted(ranges):
        if found and found[-1][0] == version and first <= found[-1][2] + 1:
            found[-1] = (version, found[-1][1], max(last, found[-1][2]))
        else:
            found.append((version, first, last))
    return tuple(found)


def _range(raw: wire.Json, path: str, text: str) -> AddressRange:
    """A CIDR, "FIRST-LAST", or an address. Each address of a CIDR counts, the first and the last too."""
    try:
        if "/" in text:
            network = ip_network(text.strip())
            return network.version, int(network.network_address), int(network.broadcast_address)
        first, _, last = (part.strip() for part in text.partition("-"))
        ends = _address(first), _address(last or first)
    except ValueError as error:
        why = f'"{text}" is neither a CIDR ("192.0.2.0/24"), a range ("192.0.2.10-192.0.2.20") nor an address: {error}'
        raise wire.invalid(AddressPool, raw, path, why) from None
    if ends[0].version != ends[1].version or int(ends[0]) > int(ends[1]):
        raise wire.invalid(AddressPool, raw, path, f'"{text}" does not run from a lower to a higher address')
    return ends[0].version, int(ends[0]), int(ends[1])


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text)
    if "%" in text:
        raise ValueError(f"'{text}' has a zone")
    return address


def _selector(raw: wire.Json, path: str, given: LabelSelector | None) -> Selector:
    try:
        return requirements(path, given or LabelSelector())
    except Wrong as error:
        raise wire.invalid(AddressPool, raw, error.path, error.why) from None


class _Pool(Struct, gc=False):
    metadata: wire.Metadata | None = None
    spec: AddressPoolSpec | None = None


_POOL = msgspec.json.Decoder(_Pool)
