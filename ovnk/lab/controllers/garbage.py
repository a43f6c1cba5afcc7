"""The garbage collector: what its owners have left behind goes too (the API's ownerReferences).

Background deletion is the absence of every owner; orphaning and foreground deletion are the finalizers "orphan" and
"foregroundDeletion" on the owner, which are served here too. Only the kinds that controllers make are looked
at, and only owners of the kinds below: a reference to any other kind keeps its object.
"""

from collections.abc import Iterable

from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller
from ovnk.lab.controllers.resources import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    Key,
    Object,
    Resource,
    deleting,
    key_of,
    uid_of,
)

DEPENDENTS = (PODS, REPLICA_SETS, CONTROLLER_REVISIONS, ENDPOINT_SLICES)
OWNERS = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, JOBS, SERVICES, NODES, PODS)
BY_OWNER = "every owner"
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"


class Garbage(Controller):
    """The garbage collector. Its keys are UIDs of owners."""

    name = "garbage"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._kinds = {(resource.api_version, resource.kind): resource for resource in OWNERS}
        for resource in DEPENDENTS:
            cluster.cache(resource).index(BY_OWNER, _owners)
            self.follow(resource, _owners)
        for resource in OWNERS:
            cluster.cache(resource).index("uid", lambda value: (uid_of(value),))
            cluster.cache(resource).subscribe(self._owner_changed)

    async def reconcile(self, key: Key) -> float | None:
        """Let the dependents of the owner with the UID `key` go, if it is gone or going."""
        dependents = [(resource, value) for resource in DEPENDENTS for value in self._dependents(resource, key)]
        found = self._owner(key)
        if found is None:
            for resource, value in dependents:
                if not deleting(value) and not any(self._may_live(entry) for entry in _references(value)):
                    await self.cluster.delete(resource, value)
            return None
        owner_resource, owner = found
        finalizers = owner["metadata"].get("finalizers") or []
        if deleting(owner) and ORPHAN in finalizers:
            for resource, value in dependents:
                others = [entry for entry in _references(value) if entry["uid"] != key]
                metadata = {"resourceVersion": value["metadata"]["resourceVersion"], "ownerReferences": others}
                await self.cluster.patch(resource, key_of(value), {"metadata": metadata})
            await self._finalize(owner_resource, owner, ORPHAN)
        elif deleting(owner) and FOREGROUND in finalizers:
            blocking = [(r, v) for r, v in dependents if self._blocks(v, key)]
            for resource, value in blocking:
                if not deleting(value):
                    await self.cluster.delete(resource, value, "Foreground")
            if not blocking:
                await self._finalize(owner_resource, owner, FOREGROUND)
        return None

    def _dependents(self, resource: Resource, uid: str) -> list[Object]:
        return self.cluster.cache(resource).by(BY_OWNER, uid)

    def _owner(self, uid: str) -> tuple[Resource, Object] | None:
        for resource in OWNERS:
            for owner in self.cluster.cache(resource).by("uid", uid):
                return resource, owner
        return None

    def _may_live(self, reference: Object) -> bool:
        """Whether an owner is there, or of a kind that is not looked at here."""
        known = (reference["apiVersion"], reference["kind"]) in self._kinds
        return not known or self._owner(reference["uid"]) is not None

    def _blocks(self, value: Object, uid: str) -> bool:
        return any(entry["uid"] == uid and entry.get("blockOwnerDeletion") for entry in _references(value))

    async def _finalize(self, resource: Resource, owner: Object, finalizer: str) -> None:
        left = [entry for entry in owner["metadata"]["finalizers"] if entry != finalizer]
        metadata = {"resourceVersion": owner["metadata"]["resourceVersion"], "finalizers": left}
        await self.cluster.patch(resource, key_of(owner), {"metadata": metadata})

    def _owner_changed(self, before: Object | None, after: Object | None) -> None:
        if after is None and before is not None:
            self.queue.add(uid_of(before))
        elif after is not None and deleting(after):
            self.queue.add(uid_of(after))


def _references(value: Object) -> list[Object]:
    return value["metadata"].get("ownerReferences") or []


def _owners(value: Object) -> Iterable[Key]:
    return (entry["uid"] for entry in _references(value))
