"""What a platform takes of this computer, process by process: measured when it rests, and compared with an earlier time.

    first = Footing(platform)
    ...
    for line in Footing(platform).grown(first): print(line)
"""

import contextlib
import os
import time
from pathlib import Path

from flowtest import flowstream

from flowstream import embedded, netns, processes

# What a process may have more than at the base line, and still count as back: a share, and what is added to it.  A daemon makes threads when it has work for them and keeps them:
# 16 for tasks, and as many for calls as came at once; each has two mappings, and the connections that its calls keep alive.
TOLERANCE = {"rss": (0.25, 4096), "pss": (0.25, 4096), "anon": (0.25, 4096), "fds": (0.1, 16), "maps": (0.10, 64), "threads": (0, 32)}
MEMORY = ("rss", "pss", "anon")
NONE_KEPT = {"results": 0, "results_kb": 0}
COLUMNS = ("age", *TOLERANCE, "results", "results_kb")
_BOOT = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def living(platform):
    """name -> process number of all that a platform runs."""
    found = {part["name"]: part["pid"] for part in embedded.parts(flowstream.folder.Record.load(platform.dir)) if part["pid"]}
    for path in sorted(platform.dir.glob("hosts/*/mux/pid")) + sorted(platform.dir.glob("hosts/*/modules/*/pid")):
        process = processes.read_pid(path)
        if process and process.alive() and not path.parent.is_symlink():  # a link is a module in the process of another
            host = path.relative_to(platform.dir / "hosts").parts[0]
            found[f"mux:{host}" if path.parent.name == "mux" else f"{path.parent.name} on {host}"] = process.pid
    return found


def of_process(pid):
    """Age in s; RSS, PSS, anonymous memory in kB; descriptors, mappings, threads."""
    folder = Path(f"/proc/{pid}")
    sums = dict(line.split(":", 1) for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
    ticks = int((folder / "stat").read_text().rpartition(")")[2].split()[19])
    return {"age": int(time.time() - _BOOT - ticks / os.sysconf("SC_CLK_TCK")), "rss": int(sums["Rss"].split()[0]), "pss": int(sums["Pss"].split()[0]),
            "anon": int(sums["Anonymous"].split()[0]), "fds": len(os.listdir(folder / "fd")), "maps": len((folder / "maps").read_text().splitlines()),
            "threads": len(os.listdir(folder / "task"))}


def of_computer(platform, pids):
    """Namespaces, control groups, interfaces, mounts and files, counted."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            inodes |= {(kind, os.stat(f"/proc/{pid}/ns/{kind}").st_ino) for kind in ("net", "mnt", "pid", "ipc", "uts", "user")}
    tag = platform.tag()
    found = {"namespaces of processes": len(inodes), "named network namespaces": sum(name.startswith(f"fs-{tag}-") for name in os.listdir(netns.FOLDER)),
             "control groups": sum(len([1 for path in group.rglob("*") if path.is_dir()]) for group in Path("/sys/fs/cgroup").glob(f"*/flowstream/{tag}-*")),
             "interfaces of the fabric": len(processes.run(["ip", "-n", f"fs-{tag}-fabric", "-oneline", "link"]).splitlines()),
             "mounts that name it": sum(f"/fs-{tag}-" in line or str(platform.dir) in line for line in Path("/proc/self/mounts").read_text().splitlines())}
    logs = images = others = 0
    for path in platform.dir.rglob("*"):
        if not path.is_dir() or path.is_symlink():
            logs += path.name == "log" or ".log" in path.name
            images += "images" in path.parts
            others += not (path.name == "log" or ".log" in path.name or "images" in path.parts)
    return {**found, "files: logs": logs, "files: images of loadables": images, "files: all others": others}


def kept_results(client, name):
    """Results of tasks, and their kB, that a daemon keeps for get_task: within limits (docs/configuration.md), so these are no leak."""
    with contextlib.suppress(flowstream.Error):
        figures = client.call(name, "get_statistics")["process"]
        return {"results": int(figures["task_results"]), "results_kb": int(figures["task_result_bytes"]) // 1024}
    return NONE_KEPT


class Footing:
    def __init__(self, platform):
        names = living(platform)
        self.processes = {}
        for name, pid in names.items():
            with contextlib.suppress(OSError):
                self.processes[name] = {**of_process(pid), **(kept_results(platform.client, name) if name in platform.client.daemons() else NONE_KEPT)}
        self.computer = of_computer(platform, names.values())

    def total(self, column):
        return sum(one[column] for one in self.processes.values())

    def grown(self, first):
        """A line for each thing that is there now and was not, or has more than TOLERANCE allows."""
        lines = []
        for name, now in self.processes.items():
            before = first.processes.get(name)
            if not before:
                lines.append(f"GROWN: {name} is there, and was not at the base line")
                continue
            lines += [f"GROWN: {name}: {column} {before[column]} at the base line, {now[column]} now" for column, (share, more) in TOLERANCE.items()
                      if now[column] > before[column] * (1 + share) + more + (column in MEMORY) * max(0, now["results_kb"] - before["results_kb"])]
        lines += [f"GONE: {name}" for name in first.processes if name not in self.processes]
        for what, now in self.computer.items():
            # Of images the last four versions of each task are kept: docs/tasks.md.
            if now > first.computer[what] and what != "files: images of loadables":
                lines.append(f"GROWN: {what}: {first.computer[what]} at the base line, {now} now")
        return lines
