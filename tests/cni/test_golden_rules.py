"""Golden folders: cluster.yaml is what a user has, rules.txt what `ovnk compile --rules node-1` makes of it.

As tests/test_golden.py: flags in a line "# ovnk: …", and `pytest --update-golden` writes the texts anew.
"""

import shlex
from pathlib import Path

import pytest

from tests.test_golden import compiled

FOLDERS = sorted(path.parent for path in (Path(__file__).parent.parent / "golden_rules").glob("*/cluster.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_golden(folder, request):
    manifest, golden = folder / "cluster.yaml", folder / "rules.txt"
    marked = [line for line in manifest.read_text().splitlines() if line.startswith("# ovnk: ")]
    flags = [word for line in marked for word in shlex.split(line.removeprefix("# ovnk: "))]
    run = compiled(manifest, ["--rules=node-1", *flags])
    assert run.returncode == 0, run.stderr
    if request.config.getoption("--update-golden"):
        golden.write_text(run.stdout)
    assert run.stdout == golden.read_text()
