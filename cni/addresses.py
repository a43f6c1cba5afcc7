"""What this node's NodeNetwork says of its pods, and who waits for it to say more.

A pod's ADD often comes before the controller's write; it waits here and is woken by the write itself, never by a
clock. All in the event loop's thread, no I/O.
"""

import asyncio
import ipaddress

from cni.attachment import Addresses
from cni.protocol import TRY_AGAIN_LATER, CniError, Pod
from ovnk.contract import NodeNetworkSpec, PodAllocation, SubnetRange


class Allocations:
    """The pods' addresses on one node, by namespace, name and UID."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._spec: NodeNetworkSpec | None = None
        self._pods: dict[tuple[str, str, str], PodAllocation] = {}
        self._waiting: dict[tuple[str, str, str], set[asyncio.Future[None]]] = {}

    @property
    def uids(self) -> frozenset[str] | None:
        """The UIDs of all pods that have an allocation here; None while no NodeNetwork is known."""
        return None if self._spec is None else frozenset(uid for _, _, uid in self._pods)

    def update(self, spec: NodeNetworkSpec | None) -> None:
        """Takes a new NodeNetwork (None: it was deleted) and wakes whom it serves."""
        self._spec = spec
        pods = spec.pods if spec else ()
        self._pods = {(pod.namespace, pod.name, pod.uid): pod for pod in pods}
        for key in [key for key in self._waiting if key in self._pods]:
            for future in self._waiting.pop(key):
                if not future.done():
                    future.set_result(None)

    def get(self, pod: Pod) -> Addresses | None:
        """What the pod has, or None where it has nothing that can be used (`why_not` says what)."""
        allocation = self._pods.get((pod.namespace, pod.name, pod.uid))
        if allocation is None or self._spec is None:
            return None
        try:
            return addresses(allocation, self._spec.subnets)
        except ValueError:
            return None

    async def wait(self, pod: Pod, timeout_s: float) -> Addresses:
        """What the pod has, as soon as it has it.

        Raises CniError 11 after `timeout_s`, with words that lead to the object to look at.
        """
        key = (pod.namespace, pod.name, pod.uid)
        try:
            async with asyncio.timeout(timeout_s):
                while (found := self.get(pod)) is None:
                    future = asyncio.get_running_loop().create_future()
                    self._waiting.setdefault(key, set()).add(future)
                    try:
                        await future
                    finally:
                        self._forget(key, future)
                return found
        except TimeoutError:
            raise CniError(TRY_AGAIN_LATER, *self.why_not(pod, timeout_s)) from None

    def why_not(self, pod: Pod, waited_s: float) -> tuple[str, str]:
        """(message, details) for a pod without an address: what is missing and where to look with kubectl."""
        who = f"pod {pod.namespace}/{pod.name}"
        waited = f"after {waited_s:.0f} s"
        look = f"kubectl get nodenetwork {self._node} -o yaml"
        if self._spec is None:
            return (
                f"node {self._node} has no NodeNetwork {waited}, so {who} has no address",
                f"the ovnk controller writes it; see: kubectl get nodenetworks; kubectl describe node {self._node}",
            )
        allocation = self._pods.get((pod.namespace, pod.name, pod.uid))
        if allocation is not None:
            try:
                addresses(allocation, self._spec.subnets)
            except ValueError as error:
                return f"the allocation of {who} on node {self._node} cannot be used {waited}: {error}", f"see: {look}"
        others = [uid for namespace, name, uid in self._pods if (namespace, name) == (pod.namespace, pod.name)]
        if others:
            return (
                f"{who} (uid {pod.uid}) has no address {waited}, but an earlier pod of its name has (uid {others[0]})",
                f"see: kubectl get pod -n {pod.namespace} {pod.name} -o jsonpath={{.metadata.uid}}; {look}",
            )
        return (
            f"{who} (uid {pod.uid}) has no address in NodeNetwork {self._node} {waited}",
            f"is its subnet full? see: kubectl describe pod -n {pod.namespace} {pod.name}; {look}",
        )

    def _forget(self, key: tuple[str, str, str], future: asyncio.Future[None]) -> None:
        if (futures := self._waiting.get(key)) is not None:
            futures.discard(future)
            if not futures:
                del self._waiting[key]


def addresses(allocation: PodAllocation, subnets: tuple[SubnetRange, ...]) -> Addresses:
    """The allocation's addresses with the prefix lengths and gateways of its subnet, in the allocation's order.

    Raises ValueError, saying which, for an address that no range of the subnet holds or that is none.
    """
    ranges = [
        (ipaddress.ip_network(subnet.cidr), subnet.gateway) for subnet in subnets if subnet.name == allocation.subnet
    ]
    with_prefix, gateways = [], []
    for text in allocation.ips:
        address = ipaddress.ip_address(text)
        holding = [(network, gateway) for network, gateway in ranges if address in network]
        if not holding:
            raise ValueError(f'no range of subnet "{allocation.subnet}" holds the address "{text}"')
        network, gateway = holding[0]
        with_prefix.append(f"{address}/{network.prefixlen}")
        gateways.append(str(ipaddress.ip_address(gateway)))
    return Addresses(allocation.mac, tuple(with_prefix), tuple(gateways))
