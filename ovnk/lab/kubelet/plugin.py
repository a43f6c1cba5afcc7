"""Calling CNI plug-ins exactly as containerd 1.6 does (libcni's way): environment, standard input, errors.

What was recorded of the real one: the whole of containerd's environment is passed on, CNI_ARGS come in any order,
each plug-in's configuration is re-encoded with its keys sorted. Which calls are made when is sandbox.py's business.
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTERFACE = "eth0"
# kubelet gives up on a sandbox after 4 minutes.
CALL_S_MAX = 240.0
# What containerd 1.6 can read of a plug-in's answer.
RESULT_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")

_ENDINGS = (".conf", ".conflist", ".json")

Object = dict[str, Any]


class PluginError(Exception):
    """A plug-in failed; the message is what containerd makes of it."""


@dataclass(frozen=True, slots=True)
class NetworkList:
    """A conflist: the plug-ins' configurations as they stand in the file."""

    name: str
    version: str
    plugins: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """What every call for one sandbox says. `network` is the namespace's path, "" when it is gone.

    `capabilities` are the runtimeConfig values by capability; each plug-in is given those it declares.
    """

    container: str
    network: str
    namespace: str
    pod: str
    uid: str
    capabilities: Mapping[str, object]


def load(folder: Path) -> NetworkList | None:
    """The folder's first conflist, by name, or None; a first file that is none counts as none, as in containerd."""
    for file in sorted(folder.glob("*")):
        if file.suffix not in _ENDINGS:
            continue
        try:
            value = json.loads(file.read_text())
            plugins = tuple(value["plugins"]) if file.suffix == ".conflist" else (value,)
            return NetworkList(value["name"], value.get("cniVersion", "0.1.0"), plugins)
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return None


async def add(networks: NetworkList, call: Call, path: str) -> Object:
    """ADD through the whole list; the last plug-in's result. Raises PluginError."""
    result: Object | None = None
    for plugin in networks.plugins:
        output = await _execute("ADD", networks, plugin, call, path, result)
        try:
            answer = json.loads(output)
            version = answer.get("cniVersion", "0.1.0")
        except (ValueError, AttributeError) as error:
            raise PluginError(f'plugin type="{plugin["type"]}" failed (add): {error}') from error
        if version not in RESULT_VERSIONS:
            raise PluginError(f"unsupported CNI result version {version!r}")
        result = answer
    return result or {}


async def delete(networks: NetworkList, call: Call, path: str, result: Object | None) -> None:
    """DEL through the list backwards; `result` is ADD's where it succeeded. Raises PluginError."""
    for plugin in reversed(networks.plugins):
        await _execute("DEL", networks, plugin, call, path, result)


async def _execute(
    verb: str, networks: NetworkList, plugin: Object, call: Call, path: str, result: Object | None
) -> bytes:
    kind = plugin["type"]
    program = next((file for folder in path.split(":") if os.access(file := Path(folder) / kind, os.X_OK)), None)
    if program is None:
        folders = " ".join(path.split(":"))
        raise PluginError(
            f'plugin type="{kind}" failed ({verb.lower()}): failed to find plugin "{kind}" in path [{folders}]'
        )
    process = await asyncio.create_subprocess_exec(
        program,
        cwd="/",
        env=os.environ | _environment(verb, call, path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CALL_S_MAX):
            output, complaint = await process.communicate(_configuration(networks, plugin, call, result))
    except TimeoutError:
        output, complaint = b"", b""
    finally:
        # A call that is given up (the time, or the pod was deleted meanwhile) is killed, as exec.CommandContext does.
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise PluginError(
            f'plugin type="{kind}" failed ({verb.lower()}): {_why(process.returncode, output, complaint)}'
        )
    return output


def _environment(verb: str, call: Call, path: str) -> dict[str, str]:
    arguments = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": call.namespace,
        "K8S_POD_NAME": call.pod,
        "K8S_POD_INFRA_CONTAINER_ID": call.container,
        "K8S_POD_UID": call.uid,
    }
    # Go's maps have no order.
    pairs = random.sample(sorted(arguments.items()), len(arguments))
    return {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": call.container,
        "CNI_NETNS": call.network,
        "CNI_IFNAME": INTERFACE,
        "CNI_PATH": path,
        "CNI_ARGS": ";".join(f"{name}={value}" for name, value in pairs),
    }


def _configuration(networks: NetworkList, plugin: Object, call: Call, result: Object | None) -> bytes:
    declared = plugin.get("capabilities") or {}
    runtime = {name: value for name, value in call.capabilities.items() if declared.get(name)}
    configuration = {
        **plugin,
        "name": networks.name,
        "cniVersion": networks.version,
        **({"runtimeConfig": runtime} if runtime else {}),
        **({"prevResult": result} if result is not None else {}),
    }
    return json.dumps(configuration, sort_keys=True, separators=(",", ":")).encode()


def _why(code: int, output: bytes, complaint: bytes) -> str:
    """What libcni (pkg/invoke, pluginErr) says of a plug-in that failed."""
    if not output:
        if complaint:
            return f"netplugin failed: {complaint.decode(errors='replace')!r}"
        ended = f"signal: {_signal_name(-code)}" if code < 0 else f"exit status {code}"
        return f"netplugin failed with no error message: {ended}"
    try:
        error = json.loads(output)
        details = error.get("details", "")
        return f"{error.get('msg', '')}; {details}" if details else str(error.get("msg", ""))
    except (ValueError, AttributeError) as error:
        return f"netplugin failed but error parsing its diagnostic message {output.decode(errors='replace')!r}: {error}"


def _signal_name(number: int) -> str:
    return (signal.strsignal(number) or str(number)).lower()
