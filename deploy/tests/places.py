"""Where things are, and how to run them."""

import os
import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
REVEIL = Path(os.environ.get("REVEIL_BIN", TARGET / "debug" / "reveil")).resolve()


def run(*command, **options):
    """Runs it; fails with everything it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        said = f"{done.stdout}{done.stderr}"
        raise AssertionError(f"{command[0]} ended with {done.returncode}:\n{said}")
    return done.stdout + done.stderr


def beside_python(name):
    """A program of the environment that runs the tests."""
    return Path(sys.executable).parent / name
