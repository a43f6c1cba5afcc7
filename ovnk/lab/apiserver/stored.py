"""One object as of one version: kept as JSON, and as a value only while somebody is using it.

JSON is what goes out (to the file, to every reader and watcher) and takes a tenth of the memory a value takes, which
for ten thousand pods and a log of their changes decides between tens and hundreds of megabytes, and spares the
garbage collector a million dicts. Parsing it again costs some 15 µs a pod.
"""

from collections import deque
from typing import Any, Final

import orjson

# So many of the values used last are kept parsed.
_PARSED_MAX: Final = 1024
_parsed: Final[deque["Stored"]] = deque()


class Stored:
    """An object that is never changed: not what `value` gives either; `fresh` gives a copy that may be."""

    __slots__ = ("_value", "encoded", "labels", "name", "namespace", "version")

    def __init__(self, value: dict[str, Any], version: int, encoded: bytes | None = None) -> None:
        metadata = value["metadata"]
        self.version = version
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.encoded = orjson.dumps(value) if encoded is None else encoded
        self._value: dict[str, Any] | None = None
        self._keep(value)

    @property
    def value(self) -> dict[str, Any]:
        """The object."""
        value = self._value
        if value is None:
            value = self.fresh()
            self._keep(value)
        return value

    def fresh(self) -> dict[str, Any]:
        """A copy of the object that is the caller's own."""
        copied: dict[str, Any] = orjson.loads(self.encoded)
        return copied

    def _keep(self, value: dict[str, Any]) -> None:
        self._value = value
        _parsed.append(self)
        if len(_parsed) > _PARSED_MAX:
            _parsed.popleft()._value = None  # noqa: SLF001  one of us
