"""Network namespaces by path, entered by one thread of this process.

pyroute2's pushns keeps its way back in one list for all threads, so two threads could return each other to the
wrong namespace, and its NetNS forks; setns(2) itself is per thread, which is all that is needed here.
"""

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterator

from cni.protocol import INVALID_ENVIRONMENT, CniError

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703  # linux/nsfs.h: answers the CLONE_* flag
_libc = ctypes.CDLL(None, use_errno=True)


def own() -> int:
    """A file descriptor of the calling thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def exists(path: str) -> bool:
    """Whether a network namespace is at `path`; a file left behind by an unmounted one is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_one(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened(path: str, home: int) -> Iterator[int]:
    """A file descriptor of the pod's namespace. Raises CniError 4 where the path is none, or is the node's own."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        why = error.strerror or ""
        raise CniError(INVALID_ENVIRONMENT, f'CNI_NETNS "{path}" cannot be opened', why.lower()) from None
    try:
        if not _is_one(descriptor):
            raise CniError(INVALID_ENVIRONMENT, f'CNI_NETNS "{path}" is not a network namespace')
        if os.path.sameopenfile(descriptor, home):
            raise CniError(INVALID_ENVIRONMENT, f'CNI_NETNS "{path}" is the node\'s own network namespace')
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def inside(descriptor: int, home: int) -> Iterator[None]:
    """The calling thread is in the namespace within the block, and back in `home` after it.

    Sockets opened within stay in the namespace wherever the thread goes, so the block can be short.
    """
    _enter(descriptor)
    try:
        yield
    finally:
        _enter(home)


def _is_one(descriptor: int) -> bool:
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
