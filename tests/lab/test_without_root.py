"""A user who is not root has a lab too, where /dev/net/tun is open to all as distributions have it."""

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.labs import PROGRAM

pytestmark = pytest.mark.system

NOBODY = 65534

# In mounts of its own: /dev/net/tun as other machines have it, and folders that only root may enter opened to all.
SCRIPT = """
set -eu
mount --make-rprivate /
if [ -n "$TUN" ]; then
    mount -t tmpfs tun /dev/net
    mknod -m "$TUN" /dev/net/tun c 10 200
fi
for folder in $CLOSED; do
    mkdir -p "$SCRATCH$folder"
    mount -t tmpfs scratch "$SCRATCH$folder"
    mkdir -m 755 "$SCRATCH$folder/upper" "$SCRATCH$folder/work"
    mount -t overlay overlay -o "lowerdir=$folder,upperdir=$SCRATCH$folder/upper,workdir=$SCRATCH$folder/work" "$folder"
done
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of nobody's; not in tmp_path, whose parents only root may enter."""
    with tempfile.TemporaryDirectory(prefix="ovnk-") as folder:
        for path in (Path(folder), Path(folder) / "scratch"):
            path.mkdir(exist_ok=True)
            os.chown(path, NOBODY, NOBODY)
        yield Path(folder)


def run_as_nobody(home: Path, tun: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    needed = [
        Path(sys.executable),
        Path(sys.executable).resolve(),
        Path(sysconfig.get_path("stdlib")),
        Path(__file__),
        home,
    ]
    above = {folder for path in needed for folder in path.parents}
    closed = sorted(str(folder) for folder in above if not folder.stat().st_mode & 0o001)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "TUN": tun,
        "CLOSED": " ".join(closed),
        "SCRATCH": str(home / "scratch"),
    }
    command = ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", *PROGRAM, "lab", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False, cwd="/")


def test_a_lab_comes_up_in_a_user_namespace(home: Path) -> None:
    up = run_as_nobody(home, "0666", "up", "--nodes=2")
    assert up.returncode == 0, up.stderr
    try:
        entered = run_as_nobody(home, "0666", "exec", "node/n1", "--", "ping", "-c1", "-W3", "192.168.100.2")
        assert entered.returncode == 0, entered.stderr
    finally:
        down = run_as_nobody(home, "0666", "down")
    assert down.stderr == "lab default is down\n"


def test_without_tun_it_says_at_once_what_is_missing(home: Path) -> None:
    up = run_as_nobody(home, "0600", "up")

    assert up.returncode == 2
    assert '"/dev/net/tun" cannot be opened (Permission denied)' in up.stderr
    assert "run the lab as root, or have root do: chmod 0666 /dev/net/tun" in up.stderr
