"""What the machine's side asks of a lab's API server, by the kubeconfig that the lab has written. Reads only.

Standard library: `ovnk lab up` must not pay for a client's import while it waits.
"""

import base64
import json
import ssl
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from ovnk.errors import LabError

Object = dict[str, Any]

AGAIN_S = 0.05


def get(kubeconfig: Path, path: str) -> Object:
    """One object or list; raises LabError."""
    try:
        with _open(kubeconfig, path, timeout_s=10.0) as answer:
            value: Object = json.load(answer)
            return value
    except OSError as error:
        raise LabError(f"the lab's API server did not answer {path}: {error}") from error


def await_nodes_ready(kubeconfig: Path, count: int, timeout_s: float) -> Iterator[str]:
    """Yields the names of nodes as they become Ready, and ends when `count` are; raises LabError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    ready: set[str] = set()
    why = "the API server does not serve"
    while len(ready) < count:
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise LabError(f"{len(ready)} of {count} nodes are Ready after {timeout_s:.0f} s: {why}")
        try:
            # From resourceVersion 0: the nodes there are come first, as ADDED.
            with _open(kubeconfig, "/api/v1/nodes?watch=1&resourceVersion=0", timeout_s=left_s) as events:
                for line in events:
                    node = json.loads(line)["object"]
                    condition = _ready(node)
                    name = node.get("metadata", {}).get("name", "")
                    if condition.get("status") == "True" and name not in ready:
                        ready.add(name)
                        yield name
                    elif condition:
                        why = f"{name}: {condition.get('message', '')}"
                    if len(ready) >= count:
                        return
        except HTTPError as error:
            why = f"the API server answers {error.code}"
        except TimeoutError:
            # Nothing came any more: what was last seen is what it waits for.
            continue
        except OSError as error:
            why = f"the API server cannot be reached: {error}"
        time.sleep(AGAIN_S)


def _ready(node: Object) -> Object:
    conditions = node.get("status", {}).get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def _open(kubeconfig: Path, path: str, timeout_s: float) -> HTTPResponse:
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    inline = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"), cadata=base64.b64decode(inline).decode() if inline else None
    )
    request = urllib.request.Request(cluster["server"] + path, headers={"Authorization": f"Bearer {user['token']}"})
    response: HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s, context=context)
    return response
