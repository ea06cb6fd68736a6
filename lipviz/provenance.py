"""Which code computed something, and on what machine."""

import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

from lipviz import __version__


@cache
def revision() -> str:
    """The version of lipviz, with its commit where it runs from a checkout, such as "0.1.0 at 7be29ebd3c52"."""
    root, version = Path(__file__).resolve().parents[1], __version__
    if not (root / ".git").exists():
        return version
    describe = ["git", f"--git-dir={root / '.git'}", f"--work-tree={root}", "describe", "--always", "--exclude=*"]
    try:
        done = subprocess.run(
            [*describe, "--abbrev=12", "--dirty= with changes"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return version  # no git on this machine, or it does not trust the folder
    return f"{version} at {done.stdout.strip()}"


def hardware(device: torch.device) -> str:
    """What a run was computed on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"
