"""What breaks while a platform runs: daemons, switches, modules, disks, clients.  Clear errors, nothing left, traffic goes on, and all works again afterwards."""

import contextlib
import functools
import os
import re
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import breaking  # noqa: E402
from breaking import chain, kill, settled, start  # noqa: E402
from flowtest import BUILD, PATIENCE, ROOT, SANITIZED, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from loadables import Workshop  # noqa: E402
from traffic import Stream, send, udp, watch  # noqa: E402

from flowstream import processes  # noqa: E402

need_root_of_namespaces()
tests = Tests()
works = functools.partial(breaking.works, tests)

DAEMONS = ("pm", "openflow", "monitoring", "resource")


def refuses(p, name, words, port, seconds=15):
    """An install that cannot be fails in time with these words, and leaves nothing."""
    begin = time.monotonic()
    tests.refused(name, words, p.client.install_allocation, chain(port))
    took = time.monotonic() - begin
    tests.check(took < seconds * PATIENCE, f"{name}: told in time", f"{took:.1f} s")
    tests.check(until(5, lambda: all(a["name"] != f"c{port}" for a in p.client.list_allocations())), f"{name}: it is not listed", p.client.list_allocations())


def plan_refused(p, text):
    """Why a plan is refused, or ""."""
    try:
        p.client.plan_allocation(text)
    except flowstream.Error as error:
        return str(error)
    return ""


def test_daemons_down(p):
    standing = p.client.install_allocation(chain(7000))
    for number, name in enumerate(("pm", "openflow")):
        kill(p, name)
        refuses(p, f"install without the {name} daemon", [f"{name} daemon", "start flowstream-" + name], 7001 + number)
        tests.same([a["id"] for a in p.client.list_allocations()], [standing], f"without the {name} daemon allocations are listed")
        tests.check(not [r for r in p.remains() if f"a{standing}." not in r and f"{standing:04x}" not in r], f"without the {name} daemon: nothing is left", p.remains())
        start(p, name)
    kill(p, "monitoring")
    one = p.client.get_allocation(standing)
    tests.check(any("monitoring" in problem for problem in one["problems"]), "without the monitoring daemon get_allocation says so", one["problems"])
    start(p, "monitoring")
    kill(p, "resource")
    tests.refused("without the resource daemon", ["resource", "flowstream start resource"], p.client.list_allocations)
    start(p, "resource")
    tests.check(settled(p), "after all that the platform is whole")
    tests.check(p.client.get_allocation(standing)["state"] == "installed", "the standing allocation is known")
    for host in ("h1", "h2", "h3"):
        kill(p, f"modulehost:{host}")
    refuses(p, "install without module hosts", ["host"], 7005)
    tests.check(until(20, lambda: not p.client.hosts_up()), "silent hosts are told apart")
    refuses(p, "install when all hosts are silent", ["no module host is up", "host h2 is silent since"], 7006)
    for host in ("h1", "h2", "h3"):
        start(p, f"modulehost:{host}")
    tests.check(settled(p), "they register again")
    p.client.delete_allocation(standing)
    works(p, 7007, "after each daemon was down")


def test_stopped(p):
    """Daemons that are there and do not answer."""
    for name, words, seconds in (("pm", ["pm daemon", "did not answer"], 20), ("openflow", ["openflow daemon", "did not answer"], 30),
                                 ("modulehost:h1", ["modulehost daemon", "did not answer"], 30),
                                 ("modulehost:h2", ["modulehost daemon", "did not answer"], 30)):
        pid = kill(p, name, signal.SIGSTOP)
        begin = time.monotonic()
        failed = 0
        try:
            for port in range(7010, 7013):
                try:
                    p.client.delete_allocation(p.client.install_allocation(chain(port)))
                except flowstream.Error as error:
                    failed += 1
                    tests.check(all(word in str(error) for word in words), f"{name} stopped: the error names it", error)
                    break
            tests.check(time.monotonic() - begin < seconds * PATIENCE, f"{name} stopped: told by the deadline", time.monotonic() - begin)
        finally:
            os.kill(pid, signal.SIGCONT)
        tests.check(failed or ":" in name, f"{name} stopped: no install succeeds without it")
        tests.check(until(30, lambda: not p.client.list_allocations() and not p.remains(), 0.5), f"{name} goes on: nothing is left", "\n".join(p.remains()))
    tests.check(settled(p), "after daemons were stopped the platform is whole")
    works(p, 7015, "after daemons were stopped")


def test_switch_away(p):
    standing = p.client.install_allocation(chain(7020))
    rules = sorted(rule.split(":")[0] for rule in p.rules(standing))
    pid = kill(p, "ovs-vswitchd", signal.SIGSTOP)
    try:
        refuses(p, "install while ovs-vswitchd is stopped", ["switch"], 7021, 30)
        tests.same([a["id"] for a in p.client.list_allocations()], [standing], "the rest goes on")
    finally:
        os.kill(pid, signal.SIGCONT)
    tests.check(until(30, lambda: not p.remains(standing + 1)), "nothing is left of what failed")
    kill(p, "ovs-vswitchd")
    refuses(p, "install while ovs-vswitchd is dead", ["switch"], 7022, 30)
    away = re.compile(r"switch tor0 is not connected since \d+ s, and \d+ rules would go there")
    tests.check(until(10, lambda: away.search(plan_refused(p, chain(7022)))), "a plan says so as well, and since when", plan_refused(p, chain(7022)))
    done = p.command("start", timeout=90)
    tests.same(done.returncode, 0, "flowstream start starts it again")
    p.record = flowstream.folder.Record.load(p.dir)
    tests.check(until(40, lambda: sorted(rule.split(":")[0] for rule in p.rules(standing)) == rules, 0.3), "a switch that was started again gets its rules back", p.rules())
    with watch(p, "net1") as out:
        until(20, lambda: send(p, "net0", [udp(1, 7020)]) or out.wait(1, 1), 0)
        before = out.received
        send(p, "net0", [udp(n, 7020) for n in range(40)])
        tests.check(out.wait(before + 40, 10 * PATIENCE), "and carries traffic again", out.received)
    tests.check(settled(p), "after the switch was away the platform is whole")
    p.client.delete_allocation(standing)
    works(p, 7023, "after the switch was away")


def test_module_does_not_start(p):
    types = p.dir / "lib/types"
    source = (ROOT / "pm/types/counter.c").read_text().replace('"Counter"', '"Doomed"')
    source += """
#include <errno.h>
static void __attribute__((constructor)) fail(void)
{
    if (strstr(program_invocation_short_name, "flowstream-module") && !strstr(program_invocation_short_name, "host")) { abort(); }
}
"""
    shutil.copy(Workshop(p.scratch).compile(source), types / "doomed.so")
    text = 'NAME=doomed\nin :: FromNet("in_port=net0,udp,tp_dst=7030")\nin -> Counter("") -> Doomed("") -> Counter("") -> ToNet("net1")\n'
    tests.check(any(name.startswith("Doomed:") for name, _ in p.client.get_pm_info()), "a type that only fails when it is started is offered")
    tests.refused("a module that does not start fails the install, and is named", ["Doomed", "host"], p.client.install_allocation, text)
    tests.check(not p.client.list_allocations() and not p.remains(), "the two modules beside it are gone as well", "\n".join(p.remains()))
    (types / "doomed.so").write_bytes(b"\x7fELF but no more")
    tests.refused("a type that cannot be loaded is refused", ["Doomed"], p.client.install_allocation, text)
    (types / "doomed.so").unlink()
    works(p, 7031, "after modules that do not start")


def test_killed_under_traffic(p):
    id_ = p.client.install_allocation(chain(5000))
    names = list(DAEMONS) + ["modulehost:h1", "modulehost:h2", "modulehost:h3"]
    with Stream(p, "net0", "net1") as stream:
        for name in names:
            time.sleep(0.2)
            kill(p, name)
            time.sleep(0.2)
            start(p, name)
    tests.check(stream.sent > 100 and not stream.missing, f"kill -9 and start of each daemon: of {stream.sent} packets none is lost", stream.missing[:20])
    tests.check(settled(p), "all are back")
    one = p.client.get_allocation(id_)
    tests.same([(m["state"], m["in"]) for m in one["modules"]], [("running", float(stream.sent))] * 2, "they know their allocation and its counts")
    p.client.delete_allocation(id_)
    tests.check(not p.remains(), "and can delete it", "\n".join(p.remains()))


def test_killed_in_the_middle(p, times=12):
    """kill -9 of the resource daemon at random moments of an install: afterwards the allocation is whole or gone."""
    seed = int(os.environ.get("FLOWSTREAM_SEED", time.time()))
    print(f"# FLOWSTREAM_SEED={seed}")
    chance = random.Random(seed)
    halves = 0
    for number in range(times // (2 if SANITIZED else 1)):
        program = [sys.executable, "-c", "import sys, flowstream; flowstream.Client(sys.argv[1]).install_allocation(sys.argv[2])", str(p.dir), chain(7100 + number)]
        with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env={**os.environ, "PYTHONPATH": str(ROOT / "clients/python")}) as client:
            until(10, lambda: f"c{7100 + number}" in (p.dir / "resource/store.db-wal").read_text(errors="replace"), 0.001)
            time.sleep(chance.uniform(0, 0.06 * PATIENCE))
            kill(p, "resource")
            client.wait(30)
        halves += bool(p.remains())
        start(p, "resource")
        settled(p)
        whole = until(15, lambda: all(a["state"] == "installed" for a in p.client.list_allocations()), 0.2)
        known = {a["id"] for a in p.client.list_allocations()}
        clean = until(15, lambda: not orphans(p, known), 0.3)
        if not (whole and clean):
            tests.check(False, f"kill {number}: whole or gone within 15 s", f"{p.client.list_allocations()}\n" + "\n".join(p.remains()))
        for id_ in known:
            p.client.delete_allocation(id_)
    tests.check(halves, f"some of the kills came in the middle ({halves})")
    tests.check(not p.remains(), "kill -9 in the middle of installs: nothing half done is left", "\n".join(p.remains()))
    works(p, 7199, "after kills in the middle")


def orphans(p, known):
    """What remains of allocations that are not known."""
    mine = {f"/a{id_}." for id_ in known} | {f"cookie=0xf105{id_:08x}" for id_ in known}
    return [r for r in p.remains() if not any(m in r for m in mine)]


@contextlib.contextmanager
def small_disk(folder, size):
    """A small file system on the folder, with what was in it."""
    kept = folder.with_name(folder.name + ".kept")
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.sock"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)], check=True)
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(kept)


def fill(folder):
    """Write until nothing more goes in; the file."""
    path = folder / "filler"
    with open(path, "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        with contextlib.suppress(OSError):
            while True:
                file.write(b"x")
    return path


def full_store(p, folder, what):
    """Fill the disk until an installation fails, make room, delete all; returns the ids that were known meanwhile."""
    filler = fill(folder)
    texts = []
    for number in range(40):  # the write-ahead log has room for some more
        try:
            p.client.install_allocation(chain(7201 + number) + "// " + "x" * 20000 + "\n")
        except flowstream.Error as error:
            texts.append(str(error))
            break
    tests.check(texts and "store" in texts[0] and "full" in texts[0], f"a disk that is {what} under the store is told", texts)
    known = {a["id"] for a in p.client.list_allocations()}
    tests.check("installed" in {a["state"] for a in p.client.list_allocations()} and not orphans(p, known), f"{what}: the daemon goes on, and nothing is left of what failed",
                orphans(p, known))
    filler.unlink()
    for id_ in known:
        with contextlib.suppress(flowstream.Refused):
            p.client.delete_allocation(id_)
    tests.check(until(20, lambda: not p.client.list_allocations() and not p.remains(), 0.3), f"{what}: when there is room again all can be deleted", p.client.list_allocations())
    return known


def test_full_disk(p):
    kill(p, "resource", signal.SIGTERM)
    with small_disk(p.folder_of("resource"), "24m" if SANITIZED else "6m") as folder:
        start(p, "resource")
        settled(p)
        standing = p.client.install_allocation(chain(7200))
        known = {standing} | full_store(p, folder, "full")
        p.client.install_allocation(chain(7200))
        known |= full_store(p, folder, "full again")
        works(p, 7250, "after the disk was full, and full again")
        tests.check(standing in known, "the standing one was known all the time")
        kill(p, "resource", signal.SIGTERM)
    start(p, "resource")
    tests.check(settled(p), "back on its own disk")
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(small_disk(p.folder_of(f"modulehost:{host}") / "modules", "128k")) for host in ("h1", "h2", "h3")]
        fillers = [fill(folder) for folder in folders]
        tests.refused("full disks under the modules' folders are told", ["host", "No space left"], p.client.install_allocation, chain(7251))
        tests.check(not p.client.list_allocations() and not p.remains(), "nothing is left of what failed", "\n".join(p.remains()))
        for filler in fillers:
            filler.unlink()
        works(p, 7252, "when modules' folders have room again")


def post(p, body):
    """The HTTP status of a call with that body."""
    url = p.client.url("resource")
    credentials, _, rest = url.partition("//")[2].partition("@")
    request = urllib.request.Request("http://" + rest, data=body, headers={"Content-Type": "text/xml"})
    manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
    user, _, password = credentials.partition(":")
    manager.add_password(None, "http://" + rest, urllib.request.unquote(user), urllib.request.unquote(password), is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    try:
        with opener.open(request, timeout=30 * PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:  # the daemon may close while we still send
        return f"closed: {error}"


def test_clients(p):
    status = post(p, b"<methodCall>" + b" " * (5 << 20))
    tests.check(status == 413 or str(status).startswith("closed"), "a body over the limit is refused", status)
    tests.same(p.client.call("resource", "ping"), "pong", "the daemon goes on")
    address = urllib.parse.urlsplit(p.client.record.data["daemons"]["resource"]["url"])
    half = []
    try:
        for _ in range(1000):
            s = socket.create_connection((address.hostname, address.port), timeout=10)
            s.send(b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Le")
            half.append(s)
        begin = time.monotonic()
        with flowstream.Client(p.dir) as client:
            for _ in range(50):
                client.call("resource", "ping")
        tests.check(time.monotonic() - begin < 5 * PATIENCE, "with 1,000 half-open connections 50 calls are answered at once", time.monotonic() - begin)
        works(p, 7300, "with 1,000 half-open connections")
    finally:
        for s in half:
            s.close()


def test_any_order(p):
    standing = p.client.install_allocation(chain(7310))
    names = list(DAEMONS) + ["modulehost:h1", "modulehost:h2", "modulehost:h3"]
    for turn in (["modulehost:h3", "resource", "modulehost:h1", "pm", "modulehost:h2", "monitoring", "openflow"], ["monitoring", "modulehost:h2", "openflow", "resource",
                                                                                                                 "modulehost:h1", "modulehost:h3", "pm"]):
        for name in names:
            kill(p, name, signal.SIGTERM)
        for name in turn:
            start(p, name)
        tests.check(settled(p), f"started as {', '.join(turn)}: the platform is whole")
    tests.same([m["state"] for m in p.client.get_allocation(standing)["modules"]], ["running"] * 2, "allocations outlive it")
    p.client.delete_allocation(standing)
    works(p, 7311, "after starts in any order")


def test_hosts(p):
    done = p.command("host", "add", "h4", timeout=90)
    tests.same(done.returncode, 0, "host add while running")
    tests.check(until(20, lambda: "h4" in p.client.hosts_up()), "the new host is up")
    ids = [p.client.install_allocation(chain(7320 + n)) for n in range(8)]
    used = {m["host"] for id_ in ids for m in p.modules(id_).values()}
    tests.check("h4" in used, "modules are placed on it", used)
    tests.same(p.command("host", "remove", "h4").returncode, 1, "a host with modules is not removed")
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, 7320 + port) for port in range(8) for n in range(10)])
        tests.check(out.wait(80, 10 * PATIENCE), "all eight carry traffic", out.received)
    for id_ in ids:
        p.client.delete_allocation(id_)
    done = p.command("host", "remove", "h4", timeout=90)
    tests.same((done.returncode, done.stderr), (0, done.stderr), "an empty host is removed while running")
    tests.check("h4" not in [h["name"] for h in p.client.list_hosts()], "it is not listed any more")
    p.record = flowstream.folder.Record.load(p.dir)
    works(p, 7330, "after a host came and went")


def test_second_up(p):
    done = p.command("up", timeout=90)
    tests.check(done.returncode == 1 and "already up" in done.stderr, "a second up is refused", done.stderr)
    works(p, 7331, "after a second up")


def test_clean_exit(p):
    """Each daemon as our own child: SIGTERM while it works ends it with status 0; under valgrind with no error and no leak, under ASan with no report."""
    valgrind = None if SANITIZED else shutil.which("valgrind")
    prefix = [valgrind, "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect", f"--log-file={p.scratch}/valgrind.%p"] if valgrind else []
    for name in (*DAEMONS, "modulehost:h1"):
        for method in ("list_tasks", "list_commands"):  # all are tried in a child now, which valgrind's own program could not do
            p.client.call(name, method)
        kill(p, name, signal.SIGTERM)
        folder = p.folder_of(name)
        (folder / "rpc.sock").unlink(missing_ok=True)
        with open(p.scratch / "child.log", "wb") as log:
            child = subprocess.Popen([*prefix, str(BUILD / "bin" / ("flowstream-" + name.split(":")[0])), f"--config={folder}/config.xml", "--foreground"],
                                     stdout=log, stderr=log, start_new_session=True)
        with flowstream.Client(p.dir, deadline=60) as client:
            def answers():
                with contextlib.suppress(flowstream.Error):
                    return client.call(name, "ping")
            until(60, answers, 0.2)
            for method in ("get_statistics", "list_tasks", "list_commands", "get_version"):
                client.call(name, method)
            with contextlib.suppress(flowstream.Error):
                client.call(name, "get_task", 99)
            if name == "resource":
                until(60, client.hosts_up, 0.3)
                client.delete_allocation(client.install_allocation(chain(7400), wait=45))
                client.plan_allocation(chain(7401))
        child.send_signal(signal.SIGTERM)
        try:
            status = child.wait(60 * PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            status = "killed after a minute"
        said = (p.scratch / "child.log").read_text(errors="replace")
        said += "".join(path.read_text(errors="replace") for path in p.scratch.glob("valgrind.*"))
        how = "under valgrind " if valgrind else ""
        tests.check(status == 0 and "Sanitizer" not in said, f"{name}: SIGTERM ends it {how}with status 0 and no report", f"status {status}\n{said[-6000:]}")
        for path in p.scratch.glob("valgrind.*"):
            path.unlink()
        start(p, name)
    settled(p)


def test_down_after_all_is_dead(p):
    p.client.install_allocation(chain(7500))
    for process in flowstream.folder.Record.load(p.dir).processes():
        process.signal(signal.SIGKILL)
    processes.wait_gone(flowstream.folder.Record.load(p.dir).processes(), 10)
    done = p.command("down", timeout=90)
    tests.same((done.returncode, p.dir.exists()), (0, False), "down with every process killed leaves nothing")
    tests.check(not p.remains(), "no process of a module either", p.remains())


STORIES = (test_daemons_down, test_stopped, test_switch_away, test_module_does_not_start, test_killed_under_traffic, test_killed_in_the_middle, test_full_disk,
           test_clients, test_any_order, test_hosts, test_second_up, test_clean_exit, test_down_after_all_is_dead)
chosen = [s for s in STORIES if not sys.argv[1:] or s.__name__ in sys.argv[1:]]
with Platform() as platform:
    reports = ""
    for story in chosen:
        begin = time.monotonic()
        with tests.story(story.__name__):
            if story is test_down_after_all_is_dead:
                reports = platform.logs()
            story(platform)
        print(f"# {story.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
    reports = reports or platform.logs()
    tests.check("Sanitizer" not in reports and "runtime error:" not in reports and "Assertion" not in reports, "no report of a sanitizer and no assertion in any log",
                "\n".join(line for line in reports.splitlines() if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line))
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()
