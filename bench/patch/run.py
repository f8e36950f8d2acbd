#!/usr/bin/env python3
"""Patching under load: what 16 clients notice of it, what a patch takes, and what is left of old versions.

usage: run.py [--patches N] [--clients N] [--minutes N]
       run.py --crashes [--clients N]

One daemon, clients in processes of their own, each calling one command over a kept-alive connection.  First without patches, then with one patch after the other (a command and a task
at one instant), in the same run.  A call fails when it has no answer, or one that is no version's, or one that mixes two versions.

--crashes: versions that crash in their constructor (only in the daemon, not in the child that tries them), at their first and at their hundredth call, three times each; the daemon is
started again at once, as its supervisor would.  Lost are calls that were sent and not answered; connections that were refused while there was no daemon are counted apart."""
import argparse
import base64
import http.client
import multiprocessing
import os
import re
import statistics
import sys
import time
import xmlrpc.client

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tests", "core"))
from daemon import ANY, CREDENTIALS, Daemon  # noqa: E402  pylint: disable=wrong-import-position

ASK = """
    struct fs_reply reply;
    fs_call_task(call, "version", fs_nil(), &reply);
    fs_call_return(call, fs_stringf("%d %%s", fs_text(reply.value, "?")));
    fs_reply_clear(&reply);"""
VERSIONS = 8


def client(port, end, ready, pipe):
    """Calls until the event is set; sends (latencies in ms, failures)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": "Basic " + base64.b64encode(CREDENTIALS.encode()).decode(), "Content-Type": "text/xml"}
    body = "<methodCall><methodName>ask</methodName></methodCall>"
    took, failures = [], []
    ready.wait()
    while not end.is_set():
        begin = time.monotonic()
        try:
            connection.request("POST", "/RPC2", body, headers)
            text = connection.getresponse().read().decode()
        except OSError as error:
            failures.append(str(error))
            connection.close()
            continue
        took.append((time.monotonic() - begin) * 1e3)
        found = re.search(r"<string>(\d+) (\d+)</string>", text)
        if not found or found.group(1) != found.group(2):
            failures.append(text[-300:])
    pipe.send((took, failures))


def under_load(daemon, clients, work):
    """Run work() under load: (its value, latencies, failures)."""
    end, ready = multiprocessing.Event(), multiprocessing.Event()
    pipes, processes = [], []
    for _ in range(clients):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=client, args=(daemon.port, end, ready, theirs))
        process.start()
        pipes.append(ours)
        processes.append(process)
    ready.set()
    value = work()
    end.set()
    took, failures = [], []
    for pipe, process in zip(pipes, processes):
        one = pipe.recv()
        took += one[0]
        failures += one[1]
        process.join()
    return value, sorted(took), failures


def state(daemon):
    """(images mapped, all mappings, descriptors, resident KB) of the daemon."""
    folder = f"/proc/{daemon.process.pid}"
    with open(f"{folder}/maps", encoding="utf-8") as f:
        lines = f.readlines()
    with open(f"{folder}/status", encoding="utf-8") as f:
        resident = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    return len({line.split()[-1] for line in lines if "/images/" in line}), len(lines), len(os.listdir(f"{folder}/fd")), resident


def build(daemon, number):
    patch = []
    for kind, name, body, fields in (("task", "version", f'fs_call_return(call, fs_string("{number}"));', ANY), ("command", "ask", ASK % number, "")):
        with open(daemon.build(kind, name, body, fields), "rb") as f:
            patch.append({"kind": kind, "name": name, "content": xmlrpc.client.Binary(f.read())})
    return patch


def percentile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))] if sorted_values else float("nan")


# A version that ends its daemon: where, and what makes it happen.
CRASHES = (
    ("in the constructor", "", """#include <string.h>
__attribute__((constructor)) static void begin(void)
{
    char line[256] = "";
    FILE *f = fopen("/proc/self/cmdline", "r");
    size_t n = f ? fread(line, 1, sizeof line - 1, f) : 0;
    for (size_t i = 0; i + 5 < n; i++) {
        if (!strcmp(line + i, "--vet")) { fclose(f); return; }
    }
    *(volatile int *) 8 = 1;
}
"""),
    ("at the first call", "*(volatile int *) 8 = 1;", ""),
    ("at the hundredth call", "static int n; if (__atomic_add_fetch(&n, 1, __ATOMIC_RELAXED) == 100) { *(volatile int *) 8 = 1; }", ""),
)


def victim(port, end, ready, pipe):
    """Calls ping, and 'risky' every second time; sends (answered, lost, refused, times of answers)."""
    headers = {"Authorization": "Basic " + base64.b64encode(CREDENTIALS.encode()).decode(), "Content-Type": "text/xml"}
    connection, answered, lost, refused, times = None, 0, {"ping": 0, "risky": 0}, 0, []
    ready.wait()
    while not end.is_set():
        name = ("ping", "risky")[answered % 2]
        try:
            if not connection:
                connection = http.client.HTTPConnection("127.0.0.1", port.value, timeout=30)
                connection.connect()
        except OSError:
            connection = None
            refused += 1
            time.sleep(0.001)
            continue
        try:
            connection.request("POST", "/RPC2", f"<methodCall><methodName>{name}</methodName></methodCall>", headers)
            connection.getresponse().read()
            answered += 1
            times.append(time.monotonic())
        except (OSError, http.client.HTTPException):
            lost[name] += 1
            connection = None
    pipe.send((answered, lost, refused, times))


def crash(daemon, clients, where, patch):
    """One row: the version is put there while clients call; the daemon is started again until it is taken out."""
    port, end, ready = multiprocessing.Value("i", daemon.port), multiprocessing.Event(), multiprocessing.Event()
    pipes, processes, gaps = [], [], []
    for _ in range(clients):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        processes.append(multiprocessing.Process(target=victim, args=(port, end, ready, theirs)))
        processes[-1].start()
        pipes.append(ours)
    ready.set()
    time.sleep(0.5)
    path = daemon.path("command", "risky")
    with open(path + ".new", "wb") as f:
        f.write(patch)
    os.rename(path + ".new", path)
    deaths = 0
    while deaths < 3:
        daemon.process.wait(60)
        died = time.monotonic()
        daemon.start()
        port.value = daemon.port
        gaps.append((died, time.monotonic()))
        deaths += 1
    time.sleep(1)
    end.set()
    rows = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    times = sorted(t for row in rows for t in row[3])
    again = [1e3 * (next((t for t in times if t > started), float("nan")) - died) for died, started in gaps]
    lost = {name: sum(row[1][name] for row in rows) for name in ("ping", "risky")}
    print(f"{where:<24} {sum(row[0] for row in rows):9} {lost['risky']:11} {lost['ping']:11} {statistics.median(again):12.0f} {max(again):9.0f}")


def crashes(options):
    daemon = Daemon(level="error", extra='<log module="daemon" level="info"/><log module="rpc" level="info"/>')
    daemon.start()
    try:
        print(f"{'crash':<24} {'answered':>9} {'lost: its':>11} {'others':>11} {'again, ms':>12} {'most':>9}    ({options.clients} clients, three deaths each)")
        for where, body, head in CRASHES:
            with open(daemon.build("command", "risky", "(void) 0;"), "rb") as f:
                assert daemon.proxy().upgrade([{"kind": "command", "name": "risky", "content": xmlrpc.client.Binary(f.read())}])["code"] == 0
            with open(daemon.build("command", "risky", body, head=head), "rb") as f:
                patch = f.read()
            crash(daemon, options.clients, where, patch)
            answer = daemon.proxy().list_versions()["value"]["refused"]
            print(f"{'':<24} taken out: {', '.join(row['sha256'][:12] for row in answer) or 'none'}; risky answers {daemon.proxy().risky()['code']}")
            for row in answer:
                daemon.proxy().lift_refusal(row["sha256"])
            os.unlink(daemon.path("command", "risky"))
        return 0
    finally:
        daemon.stop()
        daemon.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=300, help="how many (default: 300)")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=60, help="end after so long, also when there were not as many patches yet (default: 60)")
    parser.add_argument("--crashes", action="store_true", help="what crashes of versions lose, and how long until the daemon serves again")
    options = parser.parse_args()
    if options.crashes:
        return crashes(options)
    daemon = Daemon(level="error", extra='<log module="daemon" level="info"/>')
    daemon.start()
    try:
        patches = [build(daemon, n) for n in range(VERSIONS)]
        p = daemon.proxy()
        for patch in patches:
            assert p.upgrade(patch)["code"] == 0
        p.ask()
        latencies, course = [], []  # course: what grows with the number of patches is seen in it, what is there from the first load on is not

        def apply():
            end = time.monotonic() + options.minutes * 60
            for n in range(options.patches):
                if n and n % max(1, options.patches // 10) == 0:
                    course.append((f"after {n} patches", state(daemon)))
                begin = time.monotonic()
                if begin > end:
                    break
                answer = p.upgrade(patches[n % VERSIONS])
                latencies.append((time.monotonic() - begin) * 1e3)
                if answer["code"]:
                    raise RuntimeError(answer["message"])
        before = state(daemon)
        _, quiet, quiet_failures = under_load(daemon, options.clients, lambda: time.sleep(5))
        begin = time.monotonic()
        _, took, failures = under_load(daemon, options.clients, apply)
        seconds = time.monotonic() - begin
        time.sleep(0.5)
        after = state(daemon)
        print(f"{'':<22} {'calls':>9} {'failed':>7} {'median ms':>10} {'99 % ms':>9} {'most ms':>9}")
        for name, values, failed in (("without patches", quiet, quiet_failures), (f"{len(latencies)} patches", took, failures)):
            print(f"{name:<22} {len(values):9} {len(failed):7} {statistics.median(values):10.2f} {percentile(values, 0.99):9.2f} {values[-1]:9.2f}")
        latencies.sort()
        print(f"\na patch of two files takes (median, 99 %): {statistics.median(latencies):.1f} ms, {percentile(latencies, 0.99):.1f} ms; {len(latencies) / seconds:.0f} a second")
        print(f"{'':<22} {'images mapped':>14} {'mappings':>9} {'descriptors':>12} {'resident KB':>12}")
        for name, values in (("before", before), *course, ("after", after)):
            print(f"{name:<22} {values[0]:14} {values[1]:9} {values[2]:12} {values[3]:12}")
        for text in failures[:3]:
            print("failed:", text)
        return 1 if failures else 0
    finally:
        daemon.stop()
        daemon.remove()


if __name__ == "__main__":
    sys.exit(main())
