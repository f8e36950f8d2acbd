"""flowstream backup and restore while the platform runs: afterwards what there is, is what the backup wanted (tests/lib/oracle.py looks)."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from chaos import CHAIN  # noqa: E402
from flowtest import PATIENCE, Platform, Tests, flowstream, need_root_of_namespaces, until  # noqa: E402
from oracle import Entry, Ledger, Oracle  # noqa: E402
from traffic import Stream, send, udp, watch  # noqa: E402

from flowstream import processes  # noqa: E402

need_root_of_namespaces()
tests = Tests()
BUSY = 5900


def install(p, ledger, port):
    tests.check(ledger.install(p.client, f"c{port}", CHAIN.format(name=f"c{port}", port=port), ("a", "b")), f"install c{port}", ledger.entries[f"c{port}"].words)


def standing(ledger, *ports):
    """What the ledger has to say after a restore: these are wanted, and what the backup has met of the busy client's; all others are gone."""
    for entry in ledger.entries.values():
        entry.fate = "installed" if int(entry.key[1:]) in (*ports, BUSY) else "deleted"


def note_busy(p, ledger):
    """Was the one that the busy client installs and deletes installed when the backup was made?"""
    for row in p.client.list_allocations():
        if row["name"] == "busy":
            ledger.entries[f"c{BUSY}"] = entry = Entry(f"c{BUSY}", CHAIN.format(name="busy", port=BUSY), ("a", "b"))
            entry.id = row["id"]


def ok_oracle(oracle, name, seconds=15):
    problems = oracle.settle(seconds)
    tests.check(not problems, name, "\n".join(problems))


def test_backup(p, ledger):
    for port in (5000, 5001, 5002):
        install(p, ledger, port)
    over = threading.Event()

    def busy():  # somebody installs and deletes all the time
        with flowstream.Client(p.dir) as client:
            while not over.is_set():
                client.delete_allocation(client.install_allocation(CHAIN.format(name="busy", port=BUSY)))
    thread = threading.Thread(target=busy)
    thread.start()
    try:
        done = p.command("backup", str(p.scratch / "one.backup"))
    finally:
        over.set()
        thread.join()
    tests.check(done.returncode == 0 and "records" in done.stdout, "backup while others install", done.stderr)
    tests.same((p.scratch / "one.backup").stat().st_mode & 0o777, 0o600, "it is nobody else's to read")
    done = p.command("backup", str(p.scratch / "one.backup"))
    tests.check(done.returncode == 1 and "already" in done.stderr, "a file that is there is not overwritten", done.stderr)
    done = p.command("backup", "/nonexistent/x")
    tests.check(done.returncode == 1 and "No such file" in done.stderr, "a folder that is not there is told", done.stderr)


def test_restore(p, ledger, oracle):
    ledger.delete(p.client, "c5001")
    install(p, ledger, 5003)
    shutil.copy(p.folder_of("resource") / "store.db-wal", p.folder_of("resource") / "restore.db-wal")  # as of one that was killed while it read another backup
    with Stream(p, "net0", "net1", port=5000) as stream:
        time.sleep(0.2)
        done = p.command("restore", str(p.scratch / "one.backup"), "--json")
        time.sleep(0.2)
    tests.same(done.returncode, 0, f"restore{': ' + done.stderr if done.returncode else ''}")
    note_busy(p, ledger)
    standing(ledger, 5000, 5001, 5002)
    ok_oracle(oracle, "what the backup wanted is there, what came later is gone, on switches and hosts too")
    tests.check(stream.sent > 50 and not stream.missing, f"one that is in both lost none of {stream.sent} packets", stream.missing[:10])
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, 5001) for n in range(40)])
        out.wait(40, 10 * PATIENCE)
    tests.same(out.received, 40, "one that was deleted carries traffic again, under its id")
    again = p.client.restore(p.scratch / "one.backup")
    wanted = {"deleted": 0, "restored": 0, "unchanged": ledger.count("installed"), "problems": 0}
    tests.same({key: len(value) for key, value in again.items()}, wanted, "restoring again changes nothing")
    tests.same([path.name for path in p.folder_of("resource").glob("restore.db*")], [], "and leaves no files")
    before = ledger.entries["c5003"].id
    install(p, ledger, 5004)
    tests.check(ledger.entries["c5004"].id > before, "ids of before are not used again", (before, ledger.entries["c5004"].id))


def test_half_deleted(p, ledger, oracle):
    """The backup wants one whose deletion waits for a switch: it is not taken for unchanged, as it would be gone as soon as the switch is back."""
    id_ = ledger.entries["c5000"].id
    switch = p.process("ovs-vswitchd")
    os.kill(switch, signal.SIGSTOP)
    try:
        tests.refused("a deletion while the switch is stopped", ["not all could be taken away yet"], p.client.delete_allocation, id_)

        def restored():
            with contextlib.suppress(flowstream.Error):  # somebody is at it just now
                return p.client.restore(p.scratch / "one.backup")
        done = until(60, restored, 0.2)
        tests.check(id_ not in done["unchanged"] and any(f"allocation {id_}:" in problem for problem in done["problems"]), "one that is half deleted is a problem, not unchanged", done)
    finally:
        os.kill(switch, signal.SIGCONT)
    tests.check(until(30, lambda: all(a["id"] != id_ for a in p.client.list_allocations())), "then its deletion ends")
    tests.same(until(20, restored, 0.2)["problems"], [], "and it is restored, when that is asked again")
    standing(ledger, 5000, 5001, 5002)
    ok_oracle(oracle, "what the backup wanted is there again")


def test_refused(p, oracle):
    whole = (p.scratch / "one.backup").read_bytes()
    at = whole.index(b"c5000")
    for name, content, words in (("cut.backup", whole[:-5000], ["store", "damaged"]), ("empty.backup", b"", ["0 bytes"]), ("junk.backup", os.urandom(9000), ["store"]),
                                 ("flipped.backup", whole[:at] + b"C" + whole[at + 1:], ["not what was written"])):
        (p.scratch / name).write_bytes(content)
        tests.refused(f"{name} is refused", words, p.client.restore, p.scratch / name)
    shutil.copy(p.scratch / "one.backup", p.scratch / "newer.backup")
    with contextlib.closing(sqlite3.connect(p.scratch / "newer.backup")) as newer:
        newer.execute("PRAGMA user_version=9")
    tests.refused("one of a newer version is refused", ["newer Flowstream", "schema 9"], p.client.restore, p.scratch / "newer.backup")
    tests.refused("a file that is not there", ["No such file"], p.client.restore, p.scratch / "none")
    ok_oracle(oracle, "and nothing has changed")


def test_killed(p, ledger, oracle):
    """kill -9 while it restores: what was entered is installed by the next start, and a second call does the rest."""
    for number, port in enumerate((5000, 5001, 5002, 5004)):
        ledger.delete(p.client, f"c{port}")
    with subprocess.Popen([sys.executable, "-c", "import sys, flowstream; flowstream.Client(sys.argv[1]).restore(sys.argv[2])", str(p.dir), str(p.scratch / "one.backup")],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(Path(flowstream.__file__).parents[1])}) as client:
        until(20, lambda: any(a["state"] == "restoring" for a in p.client.list_allocations()), 0.002)
        os.kill(p.process("resource"), signal.SIGKILL)
        client.wait(60)

    def answers():
        with contextlib.suppress(flowstream.Error):
            return p.client.hosts_up() == ["h1", "h2", "h3"]
    tests.check(until(40, answers), "the daemon is back")
    tests.check(until(30, lambda: all(a["state"] == "installed" for a in p.client.list_allocations()), 0.2), "what was entered is installed", p.client.list_allocations())
    done = p.client.restore(p.scratch / "one.backup")
    tests.same(done["problems"], [], "restore once more")
    standing(ledger, 5000, 5001, 5002)
    ok_oracle(oracle, "what the backup wanted is there, and nothing else")


def test_damaged(p, ledger, oracle):
    """A store that was cut off: the daemon does not start and says why; what it says to do works."""
    p.client.backup(p.scratch / "two.backup")
    store = p.folder_of("resource") / "store.db"
    log = p.folder_of("resource") / "log"
    os.truncate(store, 100)
    os.kill(p.process("resource"), signal.SIGKILL)
    tests.check(until(20, lambda: "it was cut off" in log.read_text()), "a store that was cut off is refused, the log says so", processes.tail(log))
    shutil.copy(p.scratch / "two.backup", store)
    for end in ("-wal", "-shm"):
        store.with_name(store.name + end).unlink(missing_ok=True)
    done = p.command("start", "resource", timeout=90)
    tests.same(done.returncode, 0, f"with the backup in its place it starts{': ' + done.stderr if done.returncode else ''}")
    until(40, lambda: len(p.client.hosts_up()) == 3)
    ok_oracle(oracle, "and all is as it was")
    p.client.delete_allocation(ledger.entries["c5000"].id)
    standing(ledger, 5001, 5002)
    ok_oracle(oracle, "and goes on")


with Platform(supervise=True) as platform:
    the_ledger = Ledger(platform.scratch / "ledger")
    the_oracle = Oracle(platform, the_ledger)
    for story, arguments in ((test_backup, (the_ledger,)), (test_restore, (the_ledger, the_oracle)), (test_half_deleted, (the_ledger, the_oracle)), (test_refused, (the_oracle,)),
                             (test_killed, (the_ledger, the_oracle)), (test_damaged, (the_ledger, the_oracle))):
        with tests.story(story.__name__):
            story(platform, *arguments)
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()
