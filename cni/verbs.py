"""What each CNI command does: ADD, DEL, CHECK, STATUS and GC, one sandbox at a time, many sandboxes at once.

    ADD   wait for the address ─▶ veth pair ─▶ port on br-int ─▶ wait for OVN's flows ─▶ result
          └──────────── anything fails, or the caller goes: undone from the last to the first ┘

A failed ADD costs the pod 12 to 15 seconds (kubelet's retry), so what is only late is waited for, and only what
will not come fails. Nothing is remembered but in OVSDB, so all of it holds over a restart.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from cni import attachment, host_ports, metrics, namespace, protocol
from cni.addresses import Allocations
from cni.attach import Attacher
from cni.attachment import Attachment
from cni.bridge import Bridge
from cni.protocol import NOT_AS_EXPECTED, NOT_AVAILABLE, TRY_AGAIN_LATER, CniError, Request
from ovnk import contract
from ovnk.errors import CommitError

# kubelet gives up after 240 s and kills the plug-in, whereupon nobody learns why. We answer before.
ADD_TIMEOUT_S = 200.0
# How long a command other than ADD waits for an agent that has just started to have read the database.
_KNOWN_TIMEOUT_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PodLink:
    """What every pod's link on this node has alike."""

    mtu_bytes: int
    checksum_offload: bool


class Node(Protocol):
    """What the commands need to know of the node (cni/node.py)."""

    def why_not_ready(self) -> str:
        """What an ADD would wait for, in words; "" when nothing."""
        ...

    async def pod_link(self) -> PodLink:
        """The link's properties, as soon as the node is set up."""
        ...

    async def host_ports_served(self) -> None:
        """Returns once the host ports of all ports on the bridge lead there."""
        ...


class Verbs:
    """The CNI commands of one node."""

    def __init__(
        self, node: Node, allocations: Allocations, attacher: Attacher, bridge: Bridge, add_timeout_s: float
    ) -> None:
        self._node = node
        self._allocations = allocations
        self._attacher = attacher
        self._bridge = bridge
        self._add_timeout_s = add_timeout_s
        self._locks = _Locks()
        self._commands: dict[str, Callable[[Request], Awaitable[bytes]]] = {
            "ADD": self._add,
            "DEL": self._delete,
            "CHECK": self._check,
            "STATUS": self._status,
            "GC": self._collect,
            "VERSION": self._version,
        }

    async def __call__(self, request: Request) -> bytes:
        """What the plug-in prints. Raises CniError."""
        try:
            if request.command not in ("STATUS", "VERSION"):
                await self._bridge.known(self._add_timeout_s if request.command == "ADD" else _KNOWN_TIMEOUT_S)
            return await self._commands[request.command](request)
        except CommitError as error:
            raise CniError(TRY_AGAIN_LATER, str(error), "is Open vSwitch running on this node?") from error

    async def sweep(self) -> None:
        """Removes the ports whose pod is gone from the NodeNetwork and whose namespace is gone from the node."""
        uids = self._allocations.uids
        if uids is None:
            return
        unlisted = [one for one in self._bridge.attachments.values() if one.uid not in uids]
        vanished = frozenset(one.netns for one in unlisted if not namespace.exists(one.netns))
        for one in attachment.orphans(self._bridge.attachments, uids, vanished):
            async with self._locks.hold(one.container_id):
                await self._remove(one.host_interface)
            metrics.SWEPT.inc()
            log.info(
                "removed the port of a pod that is gone", pod=one.interface_id, uid=one.uid, port=one.host_interface
            )

    async def restore(self) -> None:
        """Puts back the ports that somebody else took off the bridge while their pods run. Raises CommitError.

        The pod's side of the link is as it was: neither ovs-vswitchd nor OVSDB has a hand in it.
        """
        await asyncio.gather(*map(self._restore, tuple(self._bridge.lost.values())))

    async def _restore(self, port: Attachment) -> None:
        name = port.host_interface
        async with self._locks.hold(port.container_id):
            if name not in self._bridge.lost:
                return
            try:
                found = await self._attacher.find(port.netns, port.ifname)
            except CniError:
                found = None
            if found is None:
                self._bridge.forget(name)
                return
            await self._bridge.add(port)
        metrics.APPLIED.labels("port").inc()
        log.warning("put back a pod's port that was taken off the bridge", pod=port.interface_id, port=name)

    async def _add(self, request: Request) -> bytes:
        assert request.pod is not None  # protocol.parse gives an ADD its pod
        name = f"pod {request.pod.namespace}/{request.pod.name}"
        async with self._locks.hold(request.container_id), self._locks.hold(name):
            port = await self._existing(request, request.pod) or await self._new(request, request.pod)
        return port.result().encode(request.version)

    async def _existing(self, request: Request, pod: protocol.Pod) -> Attachment | None:
        """What an earlier ADD of the same sandbox made, if it is still all there and complete."""
        port = self._bridge.find(request.container_id, request.ifname)
        if port is None or (port.uid, port.netns) != (pod.uid, request.netns):
            return None
        if attachment.differences(port, await self._attacher.find(port.netns, port.ifname)):
            return None
        await self._bridge.installed(port.host_interface, self._add_timeout_s)
        return port

    async def _new(self, request: Request, pod: protocol.Pod) -> Attachment:
        if why := host_ports.conflict(
            request.host_ports, contract.interface_id(pod.namespace, pod.name), self._bridge.attachments.values()
        ):
            raise CniError(TRY_AGAIN_LATER, why, "one of the two pods must have another hostPort or another node")
        loop, steps = asyncio.get_running_loop(), metrics.Steps()
        deadline = loop.time() + self._add_timeout_s
        with steps.time(metrics.ADDRESS):
            link = await self._link()
            addresses = await self._allocations.wait(pod, deadline - loop.time())
        port = attachment.make(
            request.container_id,
            request.ifname,
            request.netns,
            pod,
            addresses,
            link.mtu_bytes,
            self._bridge.free_name(request.container_id, request.ifname),
            request.host_ports,
        )
        async with contextlib.AsyncExitStack() as undo:
            with steps.time(metrics.LINK):
                await self._attacher.create(port, link.checksum_offload)
                undo.push_async_callback(_quietly, self._attacher.remove, port.host_interface)
            with steps.time(metrics.PORT):
                undo.push_async_callback(_quietly, self._bridge.remove, [port.host_interface])
                replaced = await self._bridge.add(port)
            for name in replaced:
                await self._attacher.remove(name)
            with steps.time(metrics.FLOWS):
                await self._bridge.installed(port.host_interface, deadline - loop.time())
            if port.host_ports:
                await self._host_ports(deadline - loop.time())
            undo.pop_all()
        log.debug("added a pod's port", pod=port.interface_id, uid=port.uid, port=port.host_interface, **steps.ms)
        return port

    async def _host_ports(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._node.host_ports_served()
        except TimeoutError:
            raise CniError(
                TRY_AGAIN_LATER, "the pod's host ports are not served yet", "see ovnk's log on the node: nftables"
            ) from None

    async def _link(self) -> PodLink:
        try:
            async with asyncio.timeout(self._add_timeout_s):
                return await self._node.pod_link()
        except TimeoutError:
            why = self._node.why_not_ready()
            raise CniError(
                TRY_AGAIN_LATER, f"this node is not ready for pods after {self._add_timeout_s:.0f} s", why
            ) from None

    async def _delete(self, request: Request) -> bytes:
        async with self._locks.hold(request.container_id):
            port = self._bridge.find(request.container_id, request.ifname)
            # Without a record there may still be a pair: ADD makes it first.
            made = attachment.host_interface(request.container_id, request.ifname)
            await self._remove(port.host_interface if port else made)
        return b""

    async def _remove(self, host_interface: str) -> None:
        await asyncio.gather(self._bridge.remove([host_interface]), self._attacher.remove(host_interface))

    async def _check(self, request: Request) -> bytes:
        async with self._locks.hold(request.container_id):
            port = self._bridge.find(request.container_id, request.ifname)
            if port is None:
                raise CniError(
                    NOT_AS_EXPECTED, f'sandbox {request.container_id} has no port on the bridge for "{request.ifname}"'
                )
            wrong = _contradictions(port, request)
            wrong += attachment.differences(
                replace(port, netns=request.netns), await self._attacher.find(request.netns, request.ifname)
            )
        if wrong:
            raise CniError(NOT_AS_EXPECTED, f"pod {port.interface_id} is not connected as it was", ", ".join(wrong))
        return b""

    async def _status(self, request: Request) -> bytes:
        if why := self._node.why_not_ready():
            raise CniError(NOT_AVAILABLE, "this node cannot connect pods yet", why)
        return b""

    async def _collect(self, request: Request) -> bytes:
        """GC: what the runtime does not list is stale, unless a call for it is under way at this moment."""
        valid = {(one.container_id, one.ifname) for one in request.valid}
        stale = [
            port
            for port in self._bridge.attachments.values()
            if (port.container_id, port.ifname) not in valid and not self._locks.held(port.container_id)
        ]
        for port in stale:
            async with self._locks.hold(port.container_id):
                await self._remove(port.host_interface)
            log.info("removed a port that the runtime no longer knows", pod=port.interface_id, port=port.host_interface)
        return b""

    async def _version(self, request: Request) -> bytes:
        return protocol.encode_versions(request.version)


def _contradictions(port: Attachment, request: Request) -> list[str]:
    """What the runtime's prevResult says of the interface and the record does not."""
    previous = request.previous or protocol.Previous()
    interfaces = previous.interfaces or ()
    wrong = []
    ours = [one for one in interfaces if one.sandbox and one.name == port.ifname]
    if not ours:
        wrong.append(f'prevResult has no interface "{port.ifname}"')
    wrong += [f"prevResult has MAC {one.mac}, the port {port.mac}" for one in ours if one.mac and one.mac != port.mac]
    for ip in previous.ips or ():
        index = ip.interface
        mine = index is None or not 0 <= index < len(interfaces) or interfaces[index] in ours
        if mine and ip.address not in port.addresses:
            wrong.append(f"prevResult has address {ip.address}, the port {', '.join(port.addresses)}")
    return wrong


async def _quietly(undo: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Undoes a step of a failed ADD. What cannot be undone now is by the DEL that follows a failed ADD."""
    try:
        await undo(*arguments)
    except (CommitError, CniError, OSError) as error:
        log.warning("a failed ADD could not be undone yet", what=arguments, error=str(error))


class _Locks:
    """A lock a key, which is there while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def held(self, key: str) -> bool:
        return key in self._locks

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)
