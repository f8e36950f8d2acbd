"""The reconciler: what dies, and what is removed or added by hand, becomes what was wanted; the rest is not touched.

The judge is tests/lib/oracle.py, which asks switches and kernel.  'flowstream drift' must say the same as it.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import BUILD, PATIENCE, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from oracle import Ledger, Oracle  # noqa: E402
from traffic import Stream, send, udp, watch  # noqa: E402

from flowstream import processes  # noqa: E402

need_root_of_namespaces()
tests = Tests()
CHAIN = 'NAME={name}\nin :: FromNet("in_port=net0,udp,tp_dst={port}")\nin -> a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'
OURS = 0xf105 << 48


def kill(pid, number=signal.SIGKILL):
    if not pid:
        raise ProcessLookupError("what is to be killed does not run")  # 0 would be ourselves and all our children
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def pid_of(p, pattern):
    """The process of a module or multiplexer, by its pid file."""
    for path in p.dir.glob(pattern):
        process = processes.read_pid(path)
        if process and process.alive():
            return process.pid
    return 0


def module(p, name):
    return pid_of(p, f"hosts/*/modules/{name}/pid")


def ofctl(command, target, *arguments):
    subprocess.run(["ovs-ofctl", "-OOpenFlow14", command, target, *arguments], check=True, timeout=30 * PATIENCE)


def drift(p):
    with contextlib.suppress(flowstream.Error):
        return p.client.get_drift()["differences"]
    return None


def mended(p, oracle, what, seconds=25):
    problems = oracle.settle(seconds)
    tests.check(not problems, f"{what}: mended, by the oracle's word", "\n".join(problems))
    differences = until(seconds, lambda: drift(p) == []) and drift(p)
    tests.same(differences, [], f"{what}: no drift")


def passes(p, port, what):
    def all_of_them():
        with watch(p, "net1") as out:
            send(p, "net0", [udp(n, port) for n in range(20)])
            return out.wait(20, 3 * PATIENCE)
    tests.check(until(20, all_of_them, 0.2), f"{what}: traffic goes through")


def test_modules(p, oracle, ids):
    with Stream(p, "net0", "net1", port=6002) as stream:
        before = {name: module(p, name) for name in (f"a{ids[1]}.a", f"a{ids[1]}.b")}
        dead = module(p, f"a{ids[0]}.a")
        kill(dead)
        seen = until(5, lambda: {(d["problem"], d["allocation"]) for d in drift(p) or []} or module(p, f"a{ids[0]}.a") not in (0, dead), 0)
        tests.check(seen is True or seen == {("dead", ids[0])}, "a module that was killed is in the drift, or mended already", seen)
        mended(p, oracle, "kill -9 of a module")
        folder = next(p.dir.glob(f"hosts/*/modules/a{ids[0]}.b")).resolve()  # of the process, which modules may share
        kill(module(p, f"a{ids[0]}.b"))
        shutil.rmtree(folder)
        mended(p, oracle, "a module's process killed and its folder removed")
        if oracle.control_groups():  # by which a process that has no folder any more is found
            old = module(p, f"a{ids[0]}.b")
            shutil.rmtree(next(p.dir.glob(f"hosts/*/modules/a{ids[0]}.b")).resolve())
            mended(p, oracle, "a module's folder removed from under its process")
            tests.check(old and old not in sum(oracle.processes().values(), []), "and the process without a folder is ended", old)
        tests.same({name: module(p, name) for name in before}, before, "modules of another allocation are the same processes")
    tests.check(stream.sent > 50 and not stream.missing, f"of {stream.sent} packets of another allocation none is lost meanwhile", stream.missing[:10])
    passes(p, 6001, "after modules were killed")


def test_multiplexer(p, oracle):
    host = next(p.dir.glob("hosts/*/modules/a*")).parts[-3]
    before = pid_of(p, f"hosts/{host}/mux/pid")
    kill(before)
    begin = time.monotonic()
    tests.check(until(10, lambda: pid_of(p, f"hosts/{host}/mux/pid") not in (0, before), 0.02), "kill -9 of a multiplexer: it is back")
    print(f"# after {time.monotonic() - begin:.2f} s")
    mended(p, oracle, "kill -9 of a multiplexer")
    passes(p, 6001, "kill -9 of a multiplexer")


def test_rules(p, oracle, ids):
    target = p.bridges()["tor0"]
    foreign = "cookie=0x4711,table=20,priority=9,udp,tp_dst=4711,actions=drop"
    ofctl("add-flow", target, foreign)
    with Stream(p, "net0", "net1", port=6002) as stream:
        ofctl("del-flows", target, f"cookie={OURS | ids[0] << 16:#x}/0xffffffffffff0000")
        mended(p, oracle, "rules of one allocation removed by hand")
        ofctl("add-flow", target, f"cookie={OURS | ids[0] << 16 | 99:#x},table=20,priority=7,udp,tp_dst=9,actions=drop")
        ofctl("add-flow", target, f"cookie={OURS | 4711 << 16:#x},table=20,priority=8,udp,tp_dst=9,actions=drop")
        mended(p, oracle, "rules of ours added by hand")
        rule = next(rule for rule in p.rules(ids[0]) if rule.startswith("tor0") and "table=10" in rule)
        match = rule.split(" priority=")[1].split(" actions=")[0]
        ofctl("add-flow", target, f"cookie={OURS | ids[0] << 16:#x},table=10,priority={match},actions=drop")
        tests.check(any(d["problem"] == "changed" and d["allocation"] == ids[0] for d in until(3, lambda: drift(p), 0) or [{"problem": "changed", "allocation": ids[0]}]),
                    "another action in the place of a rule is told as changed, where it is not mended already")
        until(15, lambda: "actions=drop" not in "".join(p.rules(ids[0])))
        tests.check("actions=drop" not in "".join(p.rules(ids[0])), "and is put right", p.rules(ids[0]))
    tests.check(stream.sent > 50 and not stream.missing, f"of {stream.sent} packets of another allocation none is lost meanwhile", stream.missing[:10])
    said = subprocess.run(["ovs-ofctl", "-OOpenFlow14", "dump-flows", target], capture_output=True, text=True, check=True).stdout
    tests.check("cookie=0x4711" in said, "a rule of somebody else is left alone", said)
    ofctl("del-flows", target, "cookie=0x4711/-1")
    passes(p, 6001, "after rules were changed by hand")


def test_switch(p, oracle):
    for name in ("ovs-vswitchd", "ovsdb-server"):
        kill(p.process(name))
        begin = time.monotonic()
        mended(p, oracle, f"kill -9 of {name}", 40)
        print(f"# after {time.monotonic() - begin:.2f} s")
        passes(p, 6001, f"kill -9 of {name}")


def test_garbage(p):
    target = p.bridges()["tor0"]
    tests.same(p.client.collect_garbage(dry_run=True), {"items": [], "problems": []}, "gc --dry-run: nothing belongs to nobody")
    p.client.call("resource", "run_task", "sweep", {}, {"wait": 10})
    kill(p.process("resource"), signal.SIGSTOP)  # else it is quicker than we are
    try:
        ofctl("add-flow", target, f"cookie={OURS | 4712 << 16:#x},table=20,priority=8,udp,tp_dst=9,actions=drop")
    finally:
        kill(p.process("resource"), signal.SIGCONT)
    done = p.command("gc", "--json")
    found = json.loads(done.stdout)["items"] if done.returncode == 0 else done.stderr
    tests.check(found == [] or [(i["allocation"], i["where"], i["name"]) for i in found] == [(4712, "tor0", "1 rules")], "gc removes them and says what they were", found)
    tests.check(until(10, lambda: not p.rules(4712)), "they are gone")
    done = p.command("drift")
    tests.check(done.returncode == 0 and "nothing else" in done.stdout, "flowstream drift: exit 0", done.stdout + done.stderr)


def test_module_that_keeps_dying(p, ids):
    """It is started ever more rarely, and the allocation says so."""
    name, killed = f"a{ids[0]}.a", 0
    end = time.monotonic() + 3.3
    while time.monotonic() < end:
        pid = module(p, name)
        if pid:
            kill(pid)
            killed += 1
        time.sleep(0.02)
    one = p.client.get_allocation(ids[0])
    tests.check(2 <= killed <= 5, f"a module that dies at once is not started in a busy loop ({killed} times in 3.3 s)")
    tests.check(one["state"] == "degraded" and name in one["message"], "the allocation is shown as degraded, with the reason", (one["state"], one["message"]))
    tests.check(until(20, lambda: module(p, name) and p.client.get_allocation(ids[0])["state"] == "installed", 0.1), "left in peace it runs again", p.client.get_allocation(ids[0]))


def test_host_away(p, oracle, ledger, ids):
    """Its daemon is gone for good: delete --force ends and says so; when it comes back with its old modules they are removed, not revived."""
    host = p.client.get_allocation(ids[0])["modules"][0]["host"]
    daemon, url = p.process(f"modulehost:{host}"), p.client.url(f"modulehost:{host}")
    kill(daemon, signal.SIGSTOP)
    try:
        tests.check(until(25, lambda: p.client.get_allocation(ids[0])["state"] == "degraded", 0.3), "an allocation on a silent host is shown as degraded", p.client.list_allocations())
        found = p.client.get_drift()["differences"]
        tests.check(any((d["kind"], d["problem"], d["where"]) == ("host", "unreachable", host) for d in found), "drift tells a host that cannot be reached", found)
        plan = p.client.plan_allocation(CHAIN.format(name="elsewhere", port=6009))
        tests.check(any(re.fullmatch(rf"host {host} is silent since \d+ s: not considered", note) for note in plan["notes"]), "a plan says that it was not considered", plan["notes"])
        tests.check(f"note: host {host} is silent since" in p.command("plan", "-", input=CHAIN.format(name="elsewhere", port=6009)).stdout, "so does flowstream plan")
        for ask in (p.client.plan_allocation, p.client.install_allocation):
            tests.refused(f"{ask.__name__} that only fits there", ["does not fit", f"host {host} is silent since", "not considered"], ask,
                          CHAIN.format(name="there", port=6009).replace('b :: Counter("")', f'b :: Counter("") {{hosts={host}}}'))
        done = p.command("delete", str(ids[0]), "--force", timeout=120)
        tests.check(done.returncode == 0 and host in done.stderr, "delete --force ends, and says what it could not reach", done.stdout + done.stderr)
        ledger.entries["one"].fate = "deleted"
        tests.check(ids[0] not in [a["id"] for a in p.client.list_allocations()] and module(p, f"a{ids[0]}.a") and url, "it is forgotten while its modules still run there")
    finally:
        kill(daemon, signal.SIGCONT)
    mended(p, oracle, "a host that comes back with old modules", 40)


def test_reboot(p, oracle, ids):
    """All processes of the platform are gone, the store is not."""
    for path in p.dir.glob("hosts/*/modules/*/pid"):
        process = processes.read_pid(path)
        if process:
            kill(process.pid)
    for host in p.client.hosts_up():
        kill(pid_of(p, f"hosts/{host}/mux/pid"))
    for name in ("resource", "openflow", "pm", "monitoring", "modulehost:h1", "modulehost:h2", "modulehost:h3", "ovs-vswitchd", "ovsdb-server"):
        kill(p.process(name))
    for folder in p.dir.glob("hosts/*/modules/*"):
        shutil.rmtree(folder, ignore_errors=True)
    begin = time.monotonic()
    mended(p, oracle, "all processes killed, the hosts' folders emptied", 60)
    print(f"# after {time.monotonic() - begin:.2f} s")
    passes(p, 6002, "after all that")


def test_second_controller(p, oracle, ids):
    """A resource daemon that somebody starts on a copy of the store changes nothing, though it knows where all hosts and switches are."""
    copy = p.scratch / "copy"
    shutil.copytree(p.folder_of("resource"), copy, ignore=shutil.ignore_patterns("*.sock", "lock", "log"))
    config = (p.folder_of("resource") / "config.xml").read_text()
    port = p.client.url("resource").rsplit(":", 1)[1].split("/")[0]
    config = config.replace(str(p.folder_of("resource")), str(copy)).replace(f":{port}", ":0")
    (copy / "config.xml").write_text(config)
    subprocess.run(["sqlite3", str(copy / "store.db"), "select 1"], check=False, capture_output=True)
    before = sorted(rule.split("actions=")[1] for rule in p.rules(ids[1]))
    process = subprocess.Popen([str(BUILD / "bin/flowstream-resource"), "--config", str(copy / "config.xml"), "--foreground"], stdout=subprocess.DEVNULL,
                               stderr=open(copy / "log", "w"))
    try:
        # What is installed by the true one after the copy was made is nobody's for the copy: it would sweep it.
        id_ = p.client.install_allocation(CHAIN.format(name="three", port=6003))
        refused = until(20, lambda: "is refused" in (copy / "log").read_text())
        tests.check(refused, "a second controller is refused, and told why", (copy / "log").read_text()[-2000:])
        tests.check("one of two resource daemons should be stopped" in (copy / "log").read_text(), "the message names the remedy")
        tests.check(module(p, f"a{id_}.a") and p.rules(id_), "what it does not know is still there")
        tests.same(sorted(rule.split("actions=")[1] for rule in p.rules(ids[1])), before, "and so is what it knows")
        passes(p, 6003, "with a second controller about")
        p.client.delete_allocation(id_)
    finally:
        process.kill()
        process.wait(10)
    mended(p, oracle, "a second controller")
    folder = p.folder_of("modulehost:h1") / "epoch"
    kept = folder.read_text()
    folder.write_text("99999999999\n")
    kill(p.process("modulehost:h1"))
    tests.check(until(30, lambda: any("older than what was done" in log.read_text(errors="replace") for log in p.folder_of("modulehost:h1").glob("log")) or order(p, ids)),
                "a host that has obeyed a newer controller refuses an older one", (p.folder_of("modulehost:h1") / "log").read_text()[-1500:])
    folder.write_text(kept)
    kill(p.process("modulehost:h1"))
    until(30, lambda: "h1" in p.client.hosts_up(), 0.2)


def order(p, ids):
    """Something that makes the resource daemon give h1 an order."""
    with contextlib.suppress(flowstream.Error):
        p.client.delete_pm({"name": "ordered"})
    with contextlib.suppress(flowstream.Error):
        p.client.call("resource", "create_pm", {"name": "ordered", "type": "Counter", "host": "h1"}, deadline=20)
    return False


with Platform(supervise=True) as platform:
    the_ledger = Ledger(platform.scratch / "ledger")
    the_oracle = Oracle(platform, the_ledger)
    for key, number in (("one", 6001), ("two", 6002)):
        the_ledger.install(platform.client, key, CHAIN.format(name=key, port=number), ("a", "b"))
    wanted = [the_ledger.entries[key].id for key in ("one", "two")]
    STORIES = ((test_modules, (platform, the_oracle, wanted)), (test_multiplexer, (platform, the_oracle)), (test_rules, (platform, the_oracle, wanted)),
               (test_switch, (platform, the_oracle)), (test_garbage, (platform,)), (test_module_that_keeps_dying, (platform, wanted)),
               (test_reboot, (platform, the_oracle, wanted)), (test_second_controller, (platform, the_oracle, wanted)), (test_host_away, (platform, the_oracle, the_ledger, wanted)))
    for story, arguments in STORIES:
        if sys.argv[1:] and story.__name__ not in sys.argv[1:]:
            continue
        started = time.monotonic()
        with tests.story(story.__name__):
            story(*arguments)
        print(f"# {story.__name__}: {time.monotonic() - started:.1f} s", flush=True)
    reports = platform.logs()
    tests.check("Sanitizer" not in reports and "runtime error:" not in reports and "Assertion" not in reports, "no report of a sanitizer and no assertion in any log",
                reports[max(0, reports.find("Sanitizer") - 200):][:2500] if "Sanitizer" in reports else reports[-2500:])
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()
