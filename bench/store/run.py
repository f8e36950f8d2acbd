#!/usr/bin/python3
"""Durable changes/s of the store, by writers, and the same disk synced by hand.  usage: run.py [BUILD [SECONDS]]"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

build = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "build")
# Beside the build: /tmp may be memory, where a sync costs nothing.
with tempfile.TemporaryDirectory(dir=build, prefix="bench-store-") as folder:
    print(f"load before this {os.getloadavg()[0]:.1f}", flush=True)
    sys.exit(subprocess.run([build / "bench/store/store-load", folder, sys.argv[2] if len(sys.argv) > 2 else "3"], check=False).returncode)
