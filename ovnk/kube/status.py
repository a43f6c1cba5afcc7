"""The controller's record goes out: one NodeNetwork a node, fenced by its resourceVersion.

A write says on which version it is based. Versions that our own writes made since then count as that one, so that
the next write need not wait until the watch has shown the last. Anybody else's write in between is a conflict: ours
is dropped and reported, and the controller decides anew when it has seen the other. So a stale leader can neither
overwrite the new one's record nor hand out an address twice. What a record holds is decided elsewhere.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from ovnk import contract
from ovnk.contract import NodeNetworkSpec
from ovnk.errors import InvalidObject
from ovnk.kube import decode, wire
from ovnk.kube.client import ApiError, Client
from ovnk.kube.objects import Key, NodeNetwork
from ovnk.kube.outbox import Outbox

PARALLEL = 8
# Between two writes of one node while a burst lasts: 2,000 pods created at once on 20 nodes are 60 to 120 writes then,
# 500 without, and each write is the API server's time for creating pods.
PAUSE_S = 0.5


class Write(Struct, frozen=True):
    """What a node's NodeNetwork is to be: `spec`, or None when it is to go.

    `resource_version` is that of the NodeNetwork which was looked at for it, "" if there was none. `node_uid` makes
    the Node its owner, so that Kubernetes' garbage collection takes it along even when no controller runs.
    """

    node: Key
    spec: NodeNetworkSpec | None
    resource_version: str = ""
    node_uid: str = ""


class NodeNetworkWriter:
    """`submit` what is wanted, in order; `run` writes it, the latest for each node, several nodes at a time.

    `written(write, resource_version)` is called when the API server has it ("" for one that is gone), and
    `conflict(write, current)` when somebody else's record stands instead (None: it is gone).
    """

    def __init__(
        self,
        client: Client,
        *,
        written: Callable[[Write, str], None],
        conflict: Callable[[Write, NodeNetwork | None], None],
    ) -> None:
        self._client, self._written, self._conflict = client, written, conflict
        self._outbox: Outbox[Key, Write] = Outbox(self._deliver, parallel=PARALLEL, pause_s=PAUSE_S)
        self._own: dict[Key, _Own] = {}

    @property
    def failure(self) -> ApiError | None:
        """What the API server last said, while it accepts nothing."""
        return self._outbox.failure

    def __len__(self) -> int:
        """How many writes are not done yet."""
        return len(self._outbox)

    def submit(self, write: Write) -> None:
        """Have this written, in place of what may still wait for the same node."""
        self._outbox.put(write.node, write)

    def expect(self, more: bool) -> None:
        """Whether more is about to be submitted, so that it is worth waiting for."""
        self._outbox.expect(more)

    def clear(self) -> None:
        """Forget all that waits: the lease is lost."""
        self._outbox.clear()

    async def run(self) -> None:
        """Write until cancelled; what fails is tried again, with back-off."""
        await self._outbox.run()

    async def _deliver(self, node: Key, write: Write) -> None:
        own = self._own.get(node)
        base = own.latest if own and write.resource_version in own.versions else write.resource_version
        try:
            version = await self._send(write, base)
        except ApiError as error:
            if error.status != 409:
                raise
            await self._collided(write)
        else:
            self._done(write, version)

    async def _send(self, write: Write, base: str) -> str:
        """The new resourceVersion, "" for one that is gone. Raises ApiError, 409 when `base` is not what is there."""
        path = f"{decode.NODE_NETWORKS.path}/{write.node}"
        if write.spec is None:
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": base}}
            try:
                await self._client.request("DELETE", path, body=options if base else None)
            except ApiError as error:
                if error.status != 404:
                    raise
            return ""
        if base:
            try:
                answer = await self._client.request("PUT", path, body=_manifest(write, base))
            except ApiError as error:
                if error.status != 404:
                    raise
                # Deleted by hand: it is needed, so it is made again.
                answer = await self._client.request("POST", decode.NODE_NETWORKS.path, body=_manifest(write))
        else:
            answer = await self._client.request("POST", decode.NODE_NETWORKS.path, body=_manifest(write))
        return wire.identity(answer).resource_version

    async def _collided(self, write: Write) -> None:
        """Somebody else wrote, or we did and never got the answer: look which."""
        current: NodeNetwork | None = None
        try:
            raw = await self._client.request("GET", f"{decode.NODE_NETWORKS.path}/{write.node}")
            current = decode.node_network(raw)
        except ApiError as error:
            if error.status != 404:
                raise
        except InvalidObject:
            # Nobody can read it, and the controller believes that there is none: it is replaced as it stands.
            self._done(write, await self._send(write, wire.identity(raw).resource_version))
            return
        if (current.spec if current else None) == write.spec:
            self._done(write, current.resource_version if current else "")
            return
        own = self._own.pop(write.node, None)
        waits = self._outbox.waiting(write.node)
        known = own.versions if own else {write.resource_version}
        if waits is not None and waits.resource_version in known | {write.resource_version}:
            self._outbox.withdraw(write.node)  # decided on the same, outdated view
        self._conflict(write, current)

    def _done(self, write: Write, version: str) -> None:
        if not version:
            self._own.pop(write.node, None)
            self._written(write, version)
            return
        own = self._own.get(write.node)
        if own is None or write.resource_version not in own.versions or write.resource_version == own.latest:
            # The watch has caught up with us (or this is the first): older versions will not be heard of again.
            own = self._own[write.node] = _Own({write.resource_version}, version)
        own.versions.add(version)
        own.latest = version
        self._written(write, version)


class _Own(Struct):
    """Versions of one NodeNetwork with nobody's writes between them but ours; `latest` is what is there."""

    versions: set[str]
    latest: str


def _manifest(write: Write, resource_version: str = "") -> bytes:
    metadata: dict[str, object] = {"name": write.node}
    if resource_version:
        metadata["resourceVersion"] = resource_version
    if write.node_uid:
        owner = {"apiVersion": "v1", "kind": "Node", "name": write.node, "uid": write.node_uid}
        metadata["ownerReferences"] = [owner]
    return msgspec.json.encode(
        {
            "apiVersion": f"{contract.GROUP}/{contract.VERSION}",
            "kind": contract.KIND,
            "metadata": metadata,
            "spec": write.spec,
        }
    )
