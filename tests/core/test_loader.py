#!/usr/bin/env python3
"""The loader through a real daemon: what is dropped, replaced, overwritten, cut short, wrong or taken away."""
import os
import shutil
import subprocess
import threading
import xmlrpc.client

from daemon import SOURCE, Daemon, ok, run_all, wait_for

D = Daemon()
SAY = 'fs_call_return(call, fs_string("{}"));'


def says(p, name="hello"):
    """What the command answers: its value, the message of a failure, or the text of a fault."""
    try:
        a = getattr(p, name)()
        return a["value"] if a["code"] == 0 else a["message"]
    except xmlrpc.client.Fault as fault:
        return f"fault: {fault.faultString}"


def test_life():
    p = D.proxy()
    ok("no method 'hello'" in says(p), "not there yet", says(p))
    D.drop("command", "hello", SAY.format("common"), owner="common")
    ok(says(p) == "common", "dropped into the common folder it serves the next call", says(p))
    D.drop("command", "hello", SAY.format("one"))
    ok(says(p) == "one", "the daemon's own comes before the common one", says(p))
    made = D.drop("command", "hello", SAY.format("two"))
    ok(says(p) == "two", "replaced by a rename", says(p))
    for word in ("abc", "def", "ghi", "jkl"):
        made = D.build("command", "hello", SAY.format(word))
        before = os.stat(D.path("command", "hello"))
        with open(made, "rb") as new, open(D.path("command", "hello"), "r+b") as old:
            old.write(new.read())
            old.truncate()
        os.utime(D.path("command", "hello"), ns=(before.st_atime_ns, before.st_mtime_ns))
        ok(says(p) == word, "overwritten in place, the time of modification set back", says(p))
    os.truncate(D.path("command", "hello"), 4096)
    ok(says(p) == "jkl", "a truncated file keeps the old version", says(p))
    listed = [c for c in p.list_commands()["value"] if c["name"] == "hello"]
    ok(len(listed) == 1 and "cut short" in listed[0].get("problem", ""), "and list_commands says why", listed)
    os.unlink(D.path("command", "hello"))
    ok(says(p) == "common", "the own one deleted: the common one again", says(p))
    os.unlink(D.path("command", "hello", "common"))
    ok("no method 'hello'" in says(p), "a deleted file takes its method with it", says(p))


def refused(name, words, what):
    said = says(D.proxy(), name)
    ok(words in said and f"{name}.so is not loaded" in said, what, said)
    ok(says(D.proxy(), "ping") == "pong", "  and the daemon is alive")
    os.unlink(D.path("command", name))


def images(daemon):
    return [name for name in os.listdir(os.path.join(daemon.dir, "run/images")) if name.endswith(".so")]


def test_tried_at_the_start():
    """All files are tried in one child before the first call; one that is bad spoils it for none but itself."""
    daemon = Daemon()
    try:
        files = len(os.listdir(os.path.join(daemon.lib, "commands/common")))
        daemon.start()
        ok(wait_for(lambda: len(images(daemon)) == files and not [n for n in images(daemon) if n.startswith("ahead")]),
           "after the start all files have been tried", images(daemon))
        ok(says(daemon.proxy(), "ping") == "pong", "and serve")
        daemon.stop()
        shutil.rmtree(os.path.join(daemon.dir, "run/images"))
        daemon.drop("command", "quits", SAY.format("x"), head="__attribute__((constructor)) static void begin(void) { _exit(0); }")
        daemon.start()
        ok(says(daemon.proxy(), "ping") == "pong", "one that ends its process at the start: the others serve")
        ok("does it call exit()" in says(daemon.proxy(), "quits"), "and its own call says what is wrong with it", says(daemon.proxy(), "quits"))
        ok(wait_for(lambda: not [n for n in images(daemon) if n.startswith("ahead")]), "and no trial is left", images(daemon))
    finally:
        daemon.stop()
        daemon.remove()


def test_refused():
    constructor = "__attribute__((constructor)) static void begin(void) {{ {} }}\n"
    D.drop("command", "quits", SAY.format("x"), head=constructor.format("_exit(0);"))
    refused("quits", "does it call exit()", "a constructor that exits")
    D.drop("command", "lies", SAY.format("x"), head=constructor.format('puts("ok"); exit(0);'))
    refused("lies", "does it call exit()", "one that says ok itself and exits")
    D.drop("command", "dies", SAY.format("x"), head="#include <signal.h>\n" + constructor.format("raise(SIGKILL);"))
    refused("dies", "Killed", "one that dies")
    D.drop("command", "chatty", SAY.format("hello"), head=constructor.format('puts("good morning");'))
    ok(says(D.proxy(), "chatty") == "hello", "one that only prints is loaded", says(D.proxy(), "chatty"))
    made = D.build("task", "wrongkind", SAY.format("x"))
    shutil.copy(made, D.path("command", "wrongkind"))
    refused("wrongkind", "it is a task, but lies in a folder of command", "a task among commands")
    D.drop("command", "wrongname", SAY.format("x"), declared="another")
    refused("wrongname", "its descriptor says 'another'", "a wrong name")
    made = D.build("command", "link", SAY.format("x"))
    os.symlink(made, D.path("command", "link"))
    refused("link", "it is a symbolic link", "a symbolic link")
    subprocess.run(["gcc", "-shared", "-fPIC", "-xc", "/dev/null", "-o", os.path.join(D.dir, "other.so")], check=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-z,noexecstack", "-Wl,--no-as-needed", "-I", os.path.join(SOURCE, "include"), "-o", D.path("command", "needs"),
                    os.path.join(D.dir, "lies.c"), os.path.join(D.dir, "other.so")], check=True)
    refused("needs", "it needs a library by its path", "a library by its path")
    D.drop("command", "undefined", "extern void nobody_has_it(void); nobody_has_it();")
    refused("undefined", "nobody_has_it", "an undefined symbol")
    with open(D.path("command", "text"), "w", encoding="utf-8") as out:
        out.write("hello")
    refused("text", "it is no ELF file", "a text")
    os.mkdir(D.path("command", "folder"))
    said = says(D.proxy(), "folder")
    ok("not a regular file" in said, "a folder", said)
    os.rmdir(D.path("command", "folder"))


def test_later_folder():
    shutil.rmtree(os.path.join(D.lib, "tasks", "pm"))
    p = D.proxy()
    ok(p.run_task("late", {}, {"wait": 5})["code"] == 1, "without the folder there is no task")
    os.mkdir(os.path.join(D.lib, "tasks", "pm"))
    D.drop("task", "late", SAY.format("late"), '.params = { { "p", "any?", "" } },')
    a = p.run_task("late", {}, {"wait": 10})
    ok(a["code"] == 0 and a["value"] == "late", "a folder that is made later serves", a)


def test_folder_under_load():
    """A folder of the daemon's own is made while common commands are called: they look into it while another reads it for the first time."""
    d = Daemon()
    own = os.path.dirname(d.path("command", "late"))
    os.rmdir(own)
    d.start()
    said, over = set(), threading.Event()

    def call():
        with d.proxy() as p:
            while not over.is_set():
                said.add(says(p, "ping"))
    callers = [threading.Thread(target=call) for _ in range(6)]
    for thread in callers:
        thread.start()
    try:
        made = d.build("command", "late", SAY.format("late"))
        os.mkdir(own)
        shutil.copy(made, d.path("command", "late"))
        there = wait_for(lambda: says(d.proxy(), "late") == "late")
    finally:
        over.set()
        for thread in callers:
            thread.join()
        ended = d.stop()
        d.remove()
    ok(there and said == {"pong"} and ended == 0, "a folder that is made while commands are called", (there, said, ended))


def test_upgrade():
    p = D.proxy()
    with open(D.build("command", "fresh", SAY.format("fresh")), "rb") as f:
        content = f.read()
    a = p.upgrade([{"kind": "command", "name": "fresh", "content": xmlrpc.client.Binary(content)}])
    ok(a["code"] == 0 and says(p, "fresh") == "fresh", "upgrade brings a command", a)
    a = p.upgrade([{"kind": "command", "name": "fresh", "content": xmlrpc.client.Binary(content[:5000])}])
    ok(a["code"] == 1 and says(p, "fresh") == "fresh", "a damaged one is refused and the old one serves", a)
    for name in ("../evil", "", ".x", "a/b", "x" * 65):
        a = p.upgrade([{"kind": "command", "name": name, "content": xmlrpc.client.Binary(content)}])
        ok(a["code"] == 1 and "name of a method" in a["message"], f"name {name!r:.20} is refused", a)


def test_emptied_image():
    """After a crash of the machine an image may be there, but empty."""
    D.drop("command", "crash", SAY.format("crash"))
    p = D.proxy()
    ok(says(p, "crash") == "crash", "before")
    D.stop()
    images = os.path.join(D.dir, "run", "images")
    for name in os.listdir(images):
        os.chmod(os.path.join(images, name), 0o600)
        os.truncate(os.path.join(images, name), 0)
    D.start()
    ok(says(D.proxy(), "crash") == "crash", "images that a crash emptied are made again", D.log()[-2000:])


D.start()
try:
    run_all([test_life, test_tried_at_the_start, test_refused, test_later_folder, test_folder_under_load, test_upgrade, test_emptied_image,
             lambda: ok(D.stop() == 0, "it ends cleanly", D.log()[-3000:])])
finally:
    D.stop()
    D.remove()
