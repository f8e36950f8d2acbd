"""What a module host tells of changes: whose modules are others than at an earlier time, and no more than that.  The reconciler lives by it."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import Platform, Tests, need_root_of_namespaces, until  # noqa: E402

from flowstream import processes  # noqa: E402

need_root_of_namespaces()
tests = Tests()
HOST = "h1"
CHAIN = 'NAME=n{0}\nISOLATE=yes\nin :: FromNet("in_port=net0,udp,tp_dst={0}")\na :: Counter("") {{hosts=h1}}\nb :: Counter("") {{hosts=h1}}\nin -> a -> b -> ToNet("net1")\n'


def ask(p, method, **which):
    return p.client.call(f"modulehost:{HOST}", method, which)


def changes(p, known=""):
    """(the state, is all told, {allocation: digest})"""
    answer = ask(p, "get_module_changes", known=known)
    return answer["state"], answer["all"], dict(answer["owners"])


def pids(p):
    return {m["name"]: m["pid"] for m in ask(p, "list_modules") if m["running"]}


def settled(p):
    """The state once the reconciler has done."""
    until(20, lambda: not p.client.get_drift()["differences"], 0.2)
    return changes(p)


def test_answers(p, ids):
    state, everything, owners = changes(p)
    tests.check(everything and set(owners) == set(ids) and all(owners.values()), "without a state all are told", owners)
    tests.same(changes(p, state), (state, False, {}), "since that state nothing has changed")
    tests.check(changes(p, "another-1")[1] and changes(p, "nonsense")[1], "since a state of another daemon, or none at all: all are told")
    new = p.client.install_allocation(CHAIN.format(7003))
    later, everything, owners = changes(p, state)
    tests.check(not everything and list(owners) == [new] and owners[new] and later != state, "after an installation this allocation is told, and no other", owners)
    tests.same({m["owner"] for m in ask(p, "list_modules", owners=[new])}, {new}, "its modules are listed alone")
    tests.same(ask(p, "list_modules", owners=[99999]), [], "those of nobody: none")
    p.client.delete_allocation(new)
    tests.same(changes(p, later)[2], {new: ""}, "after its deletion it is told with nothing")
    tests.same(changes(p, state)[2], {new: ""}, "also since before it came")
    tests.check(new not in changes(p)[2], "and is not among all any more")


def test_death(p, ids):
    before, state = pids(p), settled(p)[0]
    os.kill(before[f"a{ids[0]}.a"], signal.SIGKILL)
    told = until(5, lambda: changes(p, state)[2], 0.02)
    tests.same(list(told or {}), [ids[0]], "a module that dies changes its allocation and no other")
    tests.check(until(20, lambda: pids(p).get(f"a{ids[0]}.a", before[f"a{ids[0]}.a"]) != before[f"a{ids[0]}.a"], 0.1), "it runs again")
    settled(p)
    after = pids(p)
    tests.same({name: after[name] for name in before if not name.startswith(f"a{ids[0]}.")}, {name: pid for name, pid in before.items() if not name.startswith(f"a{ids[0]}.")},
               "modules of the other are the same processes")


def test_inside(p, ids):
    """What is changed in a module's folder tells nobody: it is found when its turn comes."""
    before, state = pids(p), settled(p)[0]
    spec = next(p.dir.glob(f"hosts/{HOST}/modules/a{ids[1]}.b")) / "spec"
    text = spec.read_bytes()
    mem = next(line for line in text.split(b"\n") if line.startswith(b"mem "))
    spec.write_bytes(text.replace(mem, mem[:-1] + (b"1" if mem.endswith(b"2") else b"2")))
    told = until(15, lambda: changes(p, state)[2], 0.1)
    tests.same(list(told or {}), [ids[1]], "a specification that somebody has changed is found")
    tests.check(until(20, lambda: spec.exists() and spec.read_bytes() == text and pids(p).get(f"a{ids[1]}.b", 0) not in (0, before[f"a{ids[1]}.b"]), 0.1), "and the module is made anew as it should be")


def test_daemon(p):
    """Killed and started again it tells all, and the same: nothing is taken for changed."""
    state, _, owners = settled(p)
    before = pids(p)
    os.kill(p.process(f"modulehost:{HOST}"), signal.SIGKILL)
    back = until(20, lambda: HOST in p.client.hosts_up() and answers(p) and changes(p, state), 0.2)
    tests.check(back and back[1] and back[0].split("-")[0] != state.split("-")[0], "a daemon that was started again does not know what has changed since before", back)
    tests.same(back and back[2], owners, "but the digests are the same")
    p.client.call("resource", "run_task", "reconcile_hosts", {"force": True}, {"wait": 20})
    tests.same((pids(p), p.client.get_drift()["differences"]), (before, []), "all modules are the same processes")


def answers(p):
    try:
        return ask(p, "get_module_changes")
    except Exception:  # it is being started
        return None


def test_folder(p, ids):
    """A folder and its process that somebody removes; a folder that somebody adds."""
    state = settled(p)[0]
    folder = p.dir / f"hosts/{HOST}/modules/a{ids[0]}.b"
    process = processes.read_pid(folder / "pid")
    os.kill(process.pid, signal.SIGKILL)
    os.rename(folder, p.scratch / "taken away")
    told = until(5, lambda: changes(p, state)[2], 0.02)
    tests.same(list(told or {}), [ids[0]], "a folder that is gone changes its allocation")
    tests.check(until(20, lambda: (folder / "pid").exists() and not p.client.get_drift()["differences"], 0.2), "and is made again")
    lines = (folder / "spec").read_text().replace(f"a{ids[0]}.b", "a9999.b").replace(f"owner {ids[0]}\n", "owner 9999\n").split("\n")
    lines[1] = f"module {len(chr(10).join(lines[2:]))}"
    text = "\n".join(lines)
    stray = p.dir / f"hosts/{HOST}/modules/a9999.b"
    stray.mkdir()
    (stray / "spec").write_text(text)
    tests.check(until(10, lambda: not stray.exists(), 0.1), "a folder that belongs to nobody is removed", text)


with Platform(supervise=True) as platform:
    wanted = [platform.client.install_allocation(CHAIN.format(port)) for port in (7001, 7002)]
    for story in (test_answers, test_death, test_inside, test_folder):
        with tests.story(story.__name__):
            story(platform, wanted)
    with tests.story("test_daemon"):
        test_daemon(platform)
    logs = platform.logs()
    tests.check("Sanitizer" not in logs and "runtime error:" not in logs and "Assertion" not in logs, "no report of a sanitizer and no assertion in any log", logs[-2500:])
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()
