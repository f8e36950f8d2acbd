#!/usr/bin/env python3
"""Calls a second of a daemon, 16 kept-alive connections, all in one run: a method that the socket's thread serves (ping) and one that
goes through a worker (get_statistics), over TCP and over the Unix socket.  Run it from the build folder."""
import base64
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tests", "core"))
from daemon import BUILD, CREDENTIALS, Daemon  # noqa: E402  pylint: disable=wrong-import-position

CONNECTIONS, SECONDS, ROUNDS = 16, 1.5, 3


def main():
    daemon = Daemon(level="warning")
    with open(daemon.config, encoding="utf-8") as f:
        text = f.read()
    with open(daemon.config, "w", encoding="utf-8") as f:
        f.write(text.replace('<log level="warning"/>', '<log module="daemon" level="info"/><log level="warning"/>'))
    daemon.start()
    secret = base64.b64encode(CREDENTIALS.encode()).decode()
    print(f"{'method':<16} {'socket':<6} {'calls/s: median':>16} {'least':>8} {'most':>8}")
    try:
        for method in ("ping", "get_statistics"):
            for socket, where in (("TCP", f"tcp:{daemon.port}"), ("Unix", f"unix:{daemon.unix}")):
                rates = sorted(float(subprocess.run([os.path.join(BUILD, "bench/rpc/rpc-load"), where, method, str(CONNECTIONS), str(SECONDS),
                                                     secret], capture_output=True, text=True, check=True).stdout) for _ in range(ROUNDS))
                print(f"{method:<16} {socket:<6} {rates[ROUNDS // 2]:16.0f} {rates[0]:8.0f} {rates[-1]:8.0f}", flush=True)
    finally:
        daemon.stop()
        daemon.remove()


main()
