"""Revisions of a template: the hash that names one, and the ControllerRevisions that remember the former ones.

StatefulSets and DaemonSets keep their templates in ControllerRevision objects, from which «kubectl rollout undo»
restores them and a partitioned StatefulSet makes Pods of the former revision. A Deployment's are its ReplicaSets.
"""

import hashlib
import json
from typing import Any

from ovnk.lab.controllers import ownership, pods
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.resources import (
    CONTROLLER_REVISIONS,
    Object,
    Resource,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)

# No vowels, so that no hash spells a word (apimachinery's SafeEncodeString).
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
HASH_LENGTH = 10


def hash_of(template: Object, collisions: int = 0) -> str:
    """A short name for a template's content; another one for each number of collisions."""
    text = json.dumps([template, collisions], sort_keys=True)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    return "".join(ALPHABET[number // len(ALPHABET) ** i % len(ALPHABET)] for i in range(HASH_LENGTH))


def same(one: Object, other: Object) -> bool:
    """Whether two Pod templates ask for the same, but for the label that a Deployment puts on its ReplicaSets'."""
    return bool(_essence(_unmarked(one)) == _essence(_unmarked(other)))


def index(cluster: Cluster) -> None:
    """Have the cache of ControllerRevisions, with its index by owner."""
    ownership.index(cluster, CONTROLLER_REVISIONS)


async def record(cluster: Cluster, resource: Resource, owner: Object) -> tuple[Object, list[Object]]:
    """The revision of the owner's current template, made if new, and all of the owner's, the oldest first."""
    held = cluster.cache(CONTROLLER_REVISIONS).by(ownership.OWNED, (namespace_of(owner), uid_of(owner)))
    held.sort(key=_number)
    newest = _number(held[-1]) if held else 0
    data = {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}
    current = next((revision for revision in held if same(template_of(revision), owner["spec"]["template"])), None)
    if current is None:
        current = await cluster.create(CONTROLLER_REVISIONS, _revision(resource, owner, data, newest + 1))
    elif current is not held[-1]:
        # Gone back to a former template: its revision becomes the newest again.
        current = await cluster.update(CONTROLLER_REVISIONS, {**current, "revision": newest + 1})
    others = [revision for revision in held if name_of(revision) != name_of(current)]
    return current, [*others, current]


async def forget(cluster: Cluster, owner: Object, held: list[Object], used: set[str]) -> None:
    """Delete the oldest revisions that nobody uses, beyond the owner's revisionHistoryLimit."""
    unused = [revision for revision in held if name_of(revision) not in used]
    for revision in unused[: max(0, len(unused) - owner["spec"].get("revisionHistoryLimit", 10))]:
        await cluster.delete(CONTROLLER_REVISIONS, revision)


def template_of(revision: Object) -> Object:
    """The Pod template that a revision remembers."""
    return {name: value for name, value in revision["data"]["spec"]["template"].items() if name != "$patch"}


def mark_of(revision: Object) -> str:
    """The hash that Pods of the revision carry as their label controller-revision-hash."""
    return labels_of(revision)[pods.CONTROLLER_REVISION_HASH]


def _unmarked(template: Object) -> Object:
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != pods.POD_TEMPLATE_HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _essence(value: Any) -> Any:
    """The value without what is empty: «kubectl rollout undo» writes "resources": {} where a manifest says nothing."""
    if isinstance(value, dict):
        return {k: found for k, v in value.items() if (found := _essence(v)) not in (None, {}, [], "")}
    if isinstance(value, list):
        return [_essence(entry) for entry in value]
    return value


def _revision(resource: Resource, owner: Object, data: dict[str, Any], number: int) -> Object:
    mark = hash_of(owner["spec"]["template"])
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": f"{name_of(owner)}-{mark}",
            "namespace": namespace_of(owner),
            "labels": {
                **pods.template_labels(owner["spec"]["template"]),
                pods.CONTROLLER_REVISION_HASH: mark,
            },
            "ownerReferences": [owner_reference(resource, owner)],
        },
        "data": data,
        "revision": number,
    }


def _number(revision: Object) -> int:
    return int(revision["revision"])
