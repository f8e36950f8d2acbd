"""Streams from net0 to net1 of a platform: round trips, packets a second, TCP."""

import json
import shutil
import time

from measuring import OWN_BUILD

LOAD = str(OWN_BUILD / "bench/platform/udp-load")
PEER, PORT, TCP_PORT = "10.9.0.2", "7007", "5201"


def load(platform, *argv):
    done = platform.run_in("net0", LOAD, *argv, timeout=60)
    if done.returncode:
        raise RuntimeError(f"udp-load {' '.join(argv)}: {done.stderr.strip()}")
    return [float(word) for word in done.stdout.split()]


def warm(platform):
    """Until addresses are known and the switches' caches are warm; on a busy machine the first packets may take longer than an answer is waited for."""
    for attempt in range(10):
        try:
            load(platform, "ask", PEER, PORT, "0.3")
            return
        except RuntimeError:
            if attempt == 9:
                raise


def tcp(platform, seconds):
    """Mbit/s of one TCP stream, or None without iperf3."""
    if not shutil.which("iperf3"):
        return None
    done = platform.run_in("net0", "iperf3", "--json", "--client", PEER, "--port", TCP_PORT, "--time", str(seconds), timeout=60)
    answer = json.loads(done.stdout or "{}")
    if "end" not in answer or answer.get("error"):
        raise RuntimeError(f"iperf3: {answer.get('error') or done.stderr.strip()}")
    return answer["end"]["sum_received"]["bits_per_second"] / 1e6


def start_servers(platform):
    # The network port's own address resolution must be done before the first request steers IP away.
    platform.address("net0", "10.9.0.1/24")
    platform.address("net1", f"{PEER}/24")
    servers = [platform.start_in("net1", LOAD, "answer", PORT)]
    if shutil.which("iperf3"):
        servers.append(platform.start_in("net1", "iperf3", "--server", "--port", TCP_PORT))
    time.sleep(1)
    return servers
