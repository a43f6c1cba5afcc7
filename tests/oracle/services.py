"""What Kubernetes says a client of a Service may reach, written down a second time and plainly, from its own words.

Shares no code with ovnk/translate. Sources: kubernetes.io "Virtual IPs and Service Proxies", KEP-1669 (terminating
endpoints), KEP-2086 (internalTrafficPolicy), KEP-2433 and KEP-3015 (topology hints and traffic distribution).
"""

from collections.abc import Iterable

from ovnk.kube.service_objects import Endpoint, EndpointSlice, Service

# (cluster IP, protocol, port)
Vip = tuple[str, str, int]
# (address, port)
Target = tuple[str, int]


def allowed(service: Service, slices: Iterable[EndpointSlice], node: str, zone: str) -> dict[Vip, set[Target]]:
    """For each vip of the Service, every target that a client on `node` in `zone` may be led to; none: refused."""
    result = {}
    mine = [one for one in slices if one.service == f"{service.namespace}/{service.name}"]
    for ip in service.cluster_ips:
        for port in service.ports:
            entries: dict[Target, list[Endpoint]] = {}
            for one in mine:
                for name, protocol, number in one.ports:
                    if name == port.name and protocol == port.protocol:
                        for endpoint in one.endpoints:
                            if (":" in endpoint.address) == (":" in ip):
                                entries.setdefault((endpoint.address, number), []).append(endpoint)
            result[ip, port.protocol, port.port] = _usable(entries, service.internal_local, node, zone)
    return result


def _usable(entries: dict[Target, list[Endpoint]], local: bool, node: str, zone: str) -> set[Target]:
    if local:
        # "node-local endpoints only": the others might as well not exist
        entries = {target: said for target, said in entries.items() if max(one.node for one in said) == node}
    ready = {target for target, said in entries.items() if any(one.ready for one in said)}
    if not ready:
        return {target for target, said in entries.items() if any(one.serving and one.terminating for one in said)}
    if local:
        return ready
    hinted_nodes = {target: {name for one in entries[target] for name in one.nodes} for target in ready}
    hinted_zones = {target: {name for one in entries[target] for name in one.zones} for target in ready}
    for place, hints in ((node, hinted_nodes), (zone, hinted_zones)):
        here = {target for target in ready if place in hints[target]}
        if here and all(hints.values()):
            return here
    return ready
