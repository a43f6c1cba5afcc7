"""The system calls a lab needs and Python 3.11 does not offer: namespaces, mounts, checksum offload.

Thin and without policy: each function is one call and raises OSError as the os module would.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
from pathlib import Path

NEW_MOUNTS = 0x0002_0000
NEW_HOST_NAME = 0x0400_0000
NEW_USERS = 0x1000_0000
NEW_PROCESSES = 0x2000_0000
NEW_NETWORK = 0x4000_0000

MOUNT_NOSUID = 0x2
MOUNT_NODEV = 0x4
MOUNT_BIND = 0x1000
MOUNT_RECURSIVE = 0x4000
MOUNT_PRIVATE = 0x4_0000
_UNMOUNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
# linux/sockios.h and linux/ethtool.h
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
# linux/sockios.h and linux/if.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

# linux/inotify.h
FILE_MODIFIED = 0x2
FILE_MOVED_FROM = 0x40
FILE_DELETED = 0x200

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give the calling process new namespaces; NEW_PROCESSES means those of its children."""
    _check(_libc.unshare(flags), "unshare")


def set_namespace(descriptor: int, kind: int = 0) -> None:
    """Enter the namespace that `descriptor` refers to: setns(2). Mounts: only in a single-threaded process."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Put a file system, or with MOUNT_BIND a folder, at `target`."""
    texts = [text.encode() for text in (source, str(target), kind)]
    _check(_libc.mount(*texts, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def unmount(target: Path) -> None:
    """Take a mount out of the tree; it goes for good when its last user does: umount2(2) with MNT_DETACH."""
    _check(_libc.umount2(str(target).encode(), _UNMOUNT_DETACH), f"umount {target}")


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send the calling process this signal when its parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def transmit_checksums_in_software(interface: str) -> None:
    """`ethtool -K INTERFACE tx off`, in the calling process's network namespace.

    The userspace datapath reads packets with AF_PACKET and would pass on checksums that nobody has computed:
    ping works and TCP hangs.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0))
        request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
        fcntl.ioctl(endpoint, _SIOCETHTOOL, request)


def bring_up(interface: str) -> None:
    """`ip link set INTERFACE up`, in the calling thread's network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        request = struct.pack("16sh14x", interface.encode(), _IFF_UP)
        fcntl.ioctl(endpoint, _SIOCSIFFLAGS, request)


def watch_folder(folder: Path, events: int) -> int:
    """A descriptor that becomes readable after such events in a folder: inotify(7), non-blocking."""
    descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    _check(descriptor, "inotify_init1")
    _check(_libc.inotify_add_watch(descriptor, str(folder).encode(), events), f"inotify_add_watch {folder}")
    return descriptor


def _check(result: int, call: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
