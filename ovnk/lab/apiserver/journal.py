"""The store's file: one JSON line a change, written at once, rewritten when it is mostly history.

A process killed at any moment leaves a file that ends in whole lines and at most one torn one, which is cut off on
load: that change was never answered. It is not fsynced a line (only a rewrite is): it outlives the process, and a
machine's power cut only as far as the kernel got.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson

from ovnk.errors import ConfigError
from ovnk.lab.apiserver.kinds import Resource

# START heads the file and carries {"version": N}; HELD is an object that was there when the file was rewritten.
RecordType = Literal["START", "HELD", "ADDED", "MODIFIED", "DELETED"]

# Below this many lines a rewrite is not worth it; above, when less than a quarter of the lines are live objects.
_LINES_MIN: Final = 20_000
_LINES_PER_OBJECT_MAX: Final = 4


class Record(NamedTuple):
    """One line: a type, the resource, and the object's JSON."""

    type: RecordType
    resource: Resource
    encoded: bytes
    value: dict[str, Any] | None = None  # the object parsed, where it is at hand

    def line(self) -> bytes:
        r"""{"type":…,"group":…,"plural":…,"object":…}\n, without parsing the object again."""
        head = f'{{"type":"{self.type}","group":"{self.resource.group}","plural":"{self.resource.plural}","object":'
        return b"".join((head.encode(), self.encoded, b"}\n"))


class Journal:
    """An append-only file of records. `load` comes first, and once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def load(self) -> Iterator[Record]:
        """The records in order. A torn last line is cut off; any other bad line is a ConfigError naming it."""
        content = self._path.read_bytes()
        good = content.rfind(b"\n") + 1
        if good != len(content):
            os.ftruncate(self._file, good)
        for number, line in enumerate(content[:good].splitlines(), 1):
            self._lines += 1
            yield self._record(number, line)
        if not self._lines:
            self.append(_start(1))

    def append(self, record: Record) -> None:
        """Hand one record to the kernel: it survives a kill -9 from here on."""
        _write_all(self._file, record.line())
        self._lines += 1

    def should_rewrite(self, objects: int) -> bool:
        """Whether most of the file is history."""
        return self._lines > max(_LINES_MIN, _LINES_PER_OBJECT_MAX * objects)

    def rewrite(self, version: int, records: Iterator[Record]) -> None:
        """Replace the file, atomically, by these records as of `version`."""
        new_path = self._path.with_name(self._path.name + ".new")
        new_file = os.open(new_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        lines = [_start(version).line(), *(record.line() for record in records)]
        _write_all(new_file, b"".join(lines))
        os.fsync(new_file)
        new_path.rename(self._path)
        os.close(self._file)
        self._file, self._lines = new_file, len(lines)

    def _record(self, number: int, line: bytes) -> Record:
        try:
            content: dict[str, Any] = orjson.loads(line)
            resource = Resource(content["group"], content["plural"])
            # The object is the last part of the line and needs no encoding again.
            return Record(content["type"], resource, line[line.index(b'"object":') + 9 : -1], content["object"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f'state file "{self._path}" line {number} is not a record of the API server ({error}); '
                "it is another file, or damaged: move it away to start empty"
            ) from error


def _start(version: int) -> Record:
    return Record("START", Resource("", ""), orjson.dumps({"version": version}))


def _write_all(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
