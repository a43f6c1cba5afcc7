"""Namespaces: a new one gets its ServiceAccount "default", a deleted one is emptied and then let go.

Emptying asks the server which namespaced resources it has, custom ones too, and deletes each; Pods take their grace
period, so it looks again until nothing is left. Pods' tokens and the root CA's ConfigMap are not made.
"""

from typing import ClassVar

import orjson

from ovnk.kube.client import ApiError
from ovnk.lab.controllers.cluster import Cluster
from ovnk.lab.controllers.controller import Controller, itself
from ovnk.lab.controllers.resources import (
    NAMESPACES,
    SERVICE_ACCOUNTS,
    Key,
    Object,
    Resource,
    deleting,
    namespace_of,
)

FINALIZER = "kubernetes"
LOOK_AGAIN_S = 0.5
# The server cannot do that to this resource, or no longer has it.
PASSED_OVER = (404, 405)


class Namespaces(Controller):
    """The namespace controller, and what of the service account controller a lab needs."""

    name: ClassVar[str] = "namespaces"

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.follow(NAMESPACES, itself)
        self.follow(SERVICE_ACCOUNTS, lambda account: (namespace_of(account),))

    async def reconcile(self, key: Key) -> float | None:
        """Give the namespace its account, or empty it."""
        namespace = self.cluster.cache(NAMESPACES).get(key)
        if namespace is None:
            return None
        if deleting(namespace):
            return await self._end(namespace, key)
        if self.cluster.cache(SERVICE_ACCOUNTS).get(f"{key}/default") is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key}}
            await self.cluster.create(SERVICE_ACCOUNTS, account)
        return None

    async def _end(self, namespace: Object, key: Key) -> float | None:
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if FINALIZER not in finalizers:
            return None
        left = 0
        for resource in await self._resources():
            path = resource.path(key)
            try:
                if await self._count(path):
                    await self.cluster.request("DELETE", path, {"propagationPolicy": "Background"})
                    left += await self._count(path)
            except ApiError as error:
                if error.status not in PASSED_OVER:
                    raise
        if left:
            return LOOK_AGAIN_S
        finalized = {**namespace, "spec": {"finalizers": [entry for entry in finalizers if entry != FINALIZER]}}
        await self.cluster.request("PUT", NAMESPACES.path_of(key, "finalize"), finalized)
        return None

    async def _resources(self) -> list[Resource]:
        """The namespaced resources that can be listed and deleted, each in one version."""
        groups = orjson.loads(await self.cluster.request("GET", "/apis"))["groups"]
        found: list[Resource] = []
        for version in ("v1", *(group["preferredVersion"]["groupVersion"] for group in groups)):
            root = "/apis/" if "/" in version else "/api/"
            try:
                listed = orjson.loads(await self.cluster.request("GET", root + version))["resources"]
            except ApiError as error:
                if error.status not in PASSED_OVER:
                    raise
                continue
            found += [
                Resource(version, entry["kind"], entry["name"])
                for entry in listed
                if entry["namespaced"] and {"list", "deletecollection"} <= set(entry["verbs"])
            ]
        return found

    async def _count(self, path: str) -> int:
        return len(orjson.loads(await self.cluster.request("GET", path)).get("items") or ())
