"""Which objects a controller owns: those that name it, those it adopts, those it lets go.

An object without a controller whose labels the selector matches is adopted; an owned one whose labels no longer
match is released («kubectl label pod web-0 app=debug --overwrite» takes a Pod out to be looked at). As upstream's
ControllerRefManager, but for its second, uncached look at the owner: deletions here are by UID.
"""

from ovnk.lab.controllers import labels
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.resources import (
    Object,
    Resource,
    controller_uid,
    deleting,
    key_of,
    labels_of,
    namespace_of,
    owner_reference,
    uid_of,
)

OWNED = "owned"


def index(cluster: Cluster, resource: Resource) -> None:
    """Have the cache of `resource` find objects by namespace and controller's UID ("" for those without)."""
    cluster.cache(resource).index(OWNED, lambda value: ((namespace_of(value), controller_uid(value)),))


async def claim(cluster: Cluster, resource: Resource, owner_resource: Resource, owner: Object) -> list[Object]:
    """The objects of `resource` that `owner` controls, after adopting and releasing. Raises ApiError.

    The cache must have been given its index. A deleted owner adopts and releases nothing.
    """
    cache = cluster.cache(resource)
    namespace, selector = namespace_of(owner), owner["spec"].get("selector")
    claimed = []
    for value in cache.by(OWNED, (namespace, uid_of(owner))):
        if deleting(owner) or deleting(value) or labels.selects(selector, labels_of(value)):
            claimed.append(value)
        else:
            await _set_owners(cluster, resource, value, [])
    if deleting(owner):
        return claimed
    orphans = [value for value in cache.by(OWNED, (namespace, "")) if labels.selects(selector, labels_of(value))]
    reference = owner_reference(owner_resource, owner)
    adopted = [await _set_owners(cluster, resource, value, [reference]) for value in orphans if not deleting(value)]
    return claimed + adopted


async def _set_owners(cluster: Cluster, resource: Resource, value: Object, controller: list[Object]) -> Object:
    others = [owner for owner in value["metadata"].get("ownerReferences") or () if not owner.get("controller")]
    # The resourceVersion makes it fail with a conflict when somebody else was quicker.
    metadata = {
        "uid": uid_of(value),
        "resourceVersion": value["metadata"]["resourceVersion"],
        "ownerReferences": others + controller,
    }
    return await cluster.patch(resource, key_of(value), {"metadata": metadata})
