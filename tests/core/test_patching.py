#!/usr/bin/env python3
"""Patches that go wrong: objects that lie, crash where no child has tried them, or hang; patches at the same moment; folders and records that are damaged; keys that change."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import xmlrpc.client

from daemon import ANY, BUILD, SOURCE, Daemon, ok, run_all, skip, wait_for

sys.path.insert(0, os.path.join(SOURCE, "clients", "python"))
from flowstream import staged  # noqa: E402  pylint: disable=wrong-import-position
from flowstream.errors import DaemonDown, Error, Refused  # noqa: E402  pylint: disable=wrong-import-position

SAY = 'fs_call_return(call, fs_string("{}"));'
GONE = (OSError, xmlrpc.client.Error, EOFError)


def made(d, kind, name, body, **options):
    with open(d.build(kind, name, body, ANY if kind == "task" else options.pop("fields", ""), **options), "rb") as f:
        return {"kind": kind, "name": name, "content": xmlrpc.client.Binary(f.read())}


def good(answer):
    if answer["code"]:
        raise RuntimeError(answer["message"])
    return answer["value"]


def put(d, name, kind="command"):
    """What was built last, into the folder by a rename."""
    path = d.path(kind, name)
    shutil.copy(os.path.join(d.dir, f"made-{name}.so"), path + ".new")
    os.rename(path + ".new", path)


def until_dead(d, call):
    """Make the call, which ends the daemon, and start it again."""
    try:
        call(d.proxy())
    except GONE:
        pass
    d.process.wait(60)
    d.start()


def refused(d):
    return [r["sha256"] for r in good(d.proxy().list_versions())["refused"]]


def active(d, name):
    return [v["sha256"] for v in good(d.proxy().list_versions())["versions"] if v["name"] == name and v["active"]]


def test_descriptor(d):
    """What a descriptor leaves out must not be found out by a call."""
    for what, fields in (("without a type", '.params = { { "x", 0, 0 } },'), ("of a type that there is not", '.params = { { "x", "number", "" } },')):
        a = d.proxy().upgrade([made(d, "command", "lies", SAY.format("x"), fields=fields)])
        ok(a["code"] == 1 and "parameter 1 (x)" in a["message"], f"a descriptor with a parameter {what} is refused", a)
    ok(d.process.poll() is None and d.proxy().ping()["value"] == "pong", "and the daemon lives")


def test_bad_file_at_start(d):
    good(d.proxy().upgrade([made(d, "command", "kept", SAY.format("kept"))]))
    with open(d.path("command", "kept"), "wb") as f:
        f.write(b"rubbish")
    ok(d.proxy().kept()["value"] == "kept", "a version goes on while its file is rubbish", d.proxy().kept())
    d.process.kill()
    d.process.wait()
    d.start()
    a = d.proxy().kept()
    ok(a["value"] == "kept", "and after a restart as well", a)
    listed = [c for c in good(d.proxy().list_commands()) if c["name"] == "kept"]
    ok(listed and "ELF" in listed[0].get("problem", ""), "list_commands says what is wrong with the file", listed)
    os.unlink(d.path("command", "kept"))
    try:
        a = d.proxy().kept()
    except xmlrpc.client.Fault as fault:
        a = fault
    ok(isinstance(a, xmlrpc.client.Fault), "taken away, it is gone", a)


WARM = """
static void *warm(struct fs_daemon *d, const void *old, const char *version, char *why, size_t size)
{ (void) d; (void) old; (void) version; (void) why; (void) size; *(volatile int *) 8 = 1; return NULL; }
"""


def test_crash_in_warm(d):
    """No child runs warm(): a crash there counts for the version, not for the command that brought it."""
    good(d.proxy().upgrade([made(d, "command", "warmer", SAY.format("cold"))]))
    hot = made(d, "command", "warmer", SAY.format("hot"), head=WARM, fields=".warm = warm,")
    for _ in range(3):
        until_dead(d, lambda p: p.upgrade([hot]))
    a = d.proxy().upgrade([hot])
    ok(a["code"] == 1 and "is refused" in a["message"] and len(refused(d)) == 1, "after three crashes in warm() the version is refused, and upgrade is not", (a, refused(d)))
    ok(d.proxy().warmer()["value"] == "cold", "the version before serves", d.proxy().warmer())
    good(d.proxy().lift_refusal(refused(d)[0]))
    put(d, "warmer")
    for _ in range(3):
        until_dead(d, lambda p: p.warmer())
    a = d.proxy().warmer()
    ok(a["value"] == "cold", "so it is when it was dropped", (a, d.log()[-1500:]))
    good(d.proxy().lift_refusal(refused(d)[0]))
    os.unlink(d.path("command", "warmer"))


def test_ways_to_die(d):
    """Stack overflow and exit() are crashes of the version; a signal from outside is not."""
    p = d.proxy()
    body = "switch (fs_call_int(call, 0, 0)) { case 1: fs_call_return(call, fs_int(deep(1))); break; case 2: exit(3); case 3: sleep(30); }"
    head = "static int deep(int n) { volatile char room[4096]; room[n % 4096] = (char) n; return n < 0 ? n : deep(n + 1) + room[n % 4096]; }\n"
    files = [made(d, "command", "dies", SAY.format("before"))]
    good(p.upgrade(files))
    good(p.upgrade([made(d, "command", "dies", body, head=head, fields='.params = { { "how", "int?", "" } },')]))
    mine = active(d, "dies")
    for _ in range(3):
        def killed(p):
            caller = threading.Thread(target=lambda: until_gone(p.dies, 3))
            caller.start()
            time.sleep(0.3)
            d.process.send_signal(signal.SIGABRT)
            caller.join()
        until_dead(d, killed)
    ok(not refused(d), "three times SIGABRT from outside are nobody's fault", refused(d))
    with open(os.path.join(d.dir, "run/images/crashes"), "a", encoding="utf-8") as f:
        f.write(f"{'0' * 64} c other 1000000000\n" * 20000)
    until_dead(d, lambda p: p.dies(1))
    until_dead(d, lambda p: p.dies(2))
    ok(not refused(d), "two crashes are not three")
    until_dead(d, lambda p: p.dies(1))
    ok(refused(d) == mine, "stack overflow and exit() count, also where thousands of crashes were before", (mine, refused(d)))
    ok(d.proxy().dies()["value"] == "before", "the version before serves")
    ok(os.path.getsize(os.path.join(d.dir, "run/images/crashes")) < 100000, "old crashes are not kept")
    good(d.proxy().lift_refusal(mine[0]))


def until_gone(function, *arguments):
    try:
        return function(*arguments)
    except GONE:
        return None


def test_same_moment(d):
    """Several operators patch the same method at the same moment: one after the other, none waits for itself."""
    files = [made(d, "command", "raced", SAY.format(n)) for n in range(5)]
    good(d.proxy().upgrade(files[:1]))
    d.proxy().raced()
    answers = []
    threads = [threading.Thread(target=lambda f=f: answers.append(d.proxy().upgrade([f]))) for f in files[1:]]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    ok(len(answers) == 4 and not any(a["code"] for a in answers), "four upgrades of one method at once all succeed", [a["message"] for a in answers])


def test_hanging_file(d):
    """A dropped file that hangs while it is tried delays those who call it, not the others."""
    d.build("command", "hangs", SAY.format("never"), head="__attribute__((constructor)) static void begin(void) { sleep(60); }\n")
    put(d, "hangs")
    caller = threading.Thread(target=lambda: until_gone(d.proxy().hangs))
    caller.start()
    time.sleep(0.5)
    n, longest, p = 0, 0.0, d.proxy()
    while caller.is_alive() and n < 20:
        begin = time.time()
        n += p.get_version()["code"] == 0
        longest = max(longest, time.time() - begin)
    ok(n == 20 and longest < 5, f"20 calls while it is tried: the longest took {longest:.2f} s", n)
    os.unlink(d.path("command", "hangs"))
    caller.join()


def test_not_run_at_start(d):
    if os.geteuid():
        skip("a file of another user", "only root can make one")
        return
    marker = os.path.join(d.dir, "it-ran")
    d.build("command", "foreign", SAY.format("x"), head=f'__attribute__((constructor)) static void begin(void) {{ fclose(fopen("{marker}", "w")); }}\n')
    put(d, "foreign")
    os.chown(d.path("command", "foreign"), 65534, 65534)
    d.stop()
    d.start()
    ok(not os.path.exists(marker), "nothing of another user's file runs when the daemon starts, not even in a child")
    os.unlink(d.path("command", "foreign"))


def test_half_written(d):
    """The second file of a patch cannot be put into the folder: the first is as it was, and nothing is left over."""
    good(d.proxy().upgrade([made(d, "command", "first", SAY.format("old"))]))
    with open(d.path("command", "first"), "rb") as f:
        before = f.read()
    os.makedirs(os.path.join(d.path("command", "second"), "full"))
    a = d.proxy().upgrade([made(d, "command", "first", SAY.format("new")), made(d, "command", "second", SAY.format("new"))])
    with open(d.path("command", "first"), "rb") as f:
        now = f.read()
    ok(a["code"] == 1 and "second.so" in a["message"] and now == before and d.proxy().first()["value"] == "old", "a patch that cannot be written changes nothing", a)
    shutil.rmtree(d.path("command", "second"))
    rest = [name for name in os.listdir(os.path.dirname(d.path("command", "first"))) if not name.endswith(".so")]
    ok(not rest, "and leaves no files", rest)


def test_pending_without_image(d):
    """A patch was under way, and one of its images is lost: none of it is done."""
    two = [made(d, "command", name, SAY.format("two")) for name in ("pair", "twin")]
    good(d.proxy().upgrade([made(d, "command", name, SAY.format("one")) for name in ("pair", "twin")]))
    good(d.proxy().upgrade(two))
    new = {name: active(d, name)[0] for name in ("pair", "twin")}
    for name in new:
        good(d.proxy().rollback(name))
    d.process.kill()
    d.process.wait()
    os.unlink(os.path.join(d.dir, f"run/images/{new['twin']}.so"))
    with open(d.path("command", "pair"), "wb") as f:  # the first of the two had been replaced when the daemon died
        f.write(two[0]["content"].data)
    with open(os.path.join(d.dir, "run/images/pending"), "w", encoding="utf-8") as f:
        f.write("".join(f"c {name} {sha}\n" for name, sha in new.items()) + "end\n")
    for name in ("trial-" + "0" * 64 + ".so", "versions.1-0.tmp"):
        with open(os.path.join(d.dir, "run/images", name), "w", encoding="utf-8"):
            pass
    d.start()
    p = d.proxy()
    ok((p.pair()["value"], p.twin()["value"]) == ("one", "one"), "a patch that cannot be finished is taken back as a whole", (p.pair(), p.twin()))
    ok(not os.path.exists(os.path.join(d.dir, "run/images/pending")), "and forgotten")
    rest = glob.glob(os.path.join(d.dir, "run/images/trial-*")) + glob.glob(os.path.join(d.dir, "run/images/*.tmp"))
    ok(not rest, "what a daemon that died had begun to write is gone", rest)


def sign(d, *words):
    return subprocess.run([os.path.join(BUILD, "bin/flowstream-sign"), *words], cwd=d.dir, capture_output=True, text=True, check=False)


def signed(d, key, path, counter, daemon="pm"):
    sign(key, "sign", "--key", "k.key", "--daemon", daemon, "--kind", "command", "--counter", str(counter), path)
    with open(path + ".sig", "rb") as f:
        return xmlrpc.client.Binary(f.read())


def test_keys():
    key = Daemon()
    sign(key, "keygen", "k")
    sign(key, "keygen", "next")
    d = Daemon(extra=f'<trust key="{key.dir}/k.pub"/>')
    try:
        sign(key, "sign", "--key", "k.key", "--daemon", "common", "--kind", "command", *glob.glob(os.path.join(d.lib, "commands/common/*.so")))
        d.start()

        def entry(word, counter, daemon="pm", head=""):
            one = made(d, "command", "hello", SAY.format(word), head=head)
            path = shutil.copy(os.path.join(d.dir, "made-hello.so"), os.path.join(d.dir, "hello.so"))
            return {**one, "signature": signed(key, key, path, counter, daemon)}
        good(d.proxy().upgrade([entry("one", 1)]))
        a = d.proxy().upgrade([entry("bad", 9, head="__attribute__((constructor)) static void begin(void) { _exit(3); }\n")])
        ok(a["code"] == 1 and d.proxy().upgrade([entry("two", 5)])["code"] == 0, "a patch that failed does not use up its counter", a)
        common = d.path("command", "shared", "common")
        shutil.copy(d.build("command", "shared", SAY.format("first")), common)
        signed(d, key, common, 1, "common")
        ok(wait_for(lambda: d.proxy().shared()["value"] == "first"), "one signed for all daemons")
        shutil.copy(d.build("command", "shared", SAY.format("second")), common + ".new")
        os.rename(common + ".new", common)
        signed(d, key, common, 2, "common")
        ok(wait_for(lambda: d.proxy().shared()["value"] == "second"), "and the next", d.proxy().shared())
        good(d.proxy().rollback("shared"))
        d.stop()
        d.start()
        ok(d.proxy().shared()["value"] == "first", "rollback of it holds after a restart", d.proxy().shared())
        d.stop()
        with open(d.config, encoding="utf-8") as f:
            text = f.read()
        with open(d.config, "w", encoding="utf-8") as f:
            f.write(text.replace("k.pub", "next.pub"))
        for path in glob.glob(os.path.join(d.lib, "commands/common/*.so")):
            if not path.endswith("shared.so"):
                sign(key, "sign", "--key", "next.key", "--daemon", "common", "--kind", "command", path)
        d.start()
        a = d.proxy().hello()
        ok(a["code"] == 1 and "no configured key" in a["message"], "where the key is another now, what it had signed does not serve", a)
        a = d.proxy().rollback("hello")
        ok(a["code"] == 1 and "no configured key" in a["message"], "nor does rollback bring it back", a)
        ok(d.stop() == 0, "it ends cleanly", d.log()[-2000:])
    finally:
        d.stop()
        d.remove()
        key.remove()


class Two:
    """Two daemons of a kind, as staged.upgrade() sees them."""

    def __init__(self, **daemons):
        self.all = {f"pm:{name}": daemon for name, daemon in daemons.items()}

    def daemons(self):
        return list(self.all)

    def call(self, name, method, *arguments):
        try:
            answer = getattr(self.all[name].proxy(), method)(*arguments)
        except (OSError, EOFError, TypeError, AttributeError) as error:
            raise DaemonDown(name, "", error, "") from None
        if answer["code"]:
            raise Refused(answer["message"])
        return answer["value"]


def test_staged(d):
    """The first daemon dies of the new version, and its supervisor starts it again: it goes back, and the second never had it."""
    other = Daemon().start()
    try:
        for one in (d, other):
            good(one.proxy().upgrade([made(one, "command", "step", SAY.format("old"))]))
        made(d, "command", "step", "abort();")
        path = os.path.join(d.dir, "step.so")
        shutil.copy(os.path.join(d.dir, "made-step.so"), path)
        died = threading.Event()

        def user():
            while not died.is_set():
                until_gone(d.proxy().step)
                if d.process.poll() is not None:
                    died.set()
                time.sleep(0.05)
            time.sleep(1)
            d.start()
        helper = threading.Thread(target=user)
        helper.start()
        try:
            staged.upgrade(Two(a=d, b=other), "pm", [path], kind="command", seconds=10)
            said = "no error"
        except Error as error:
            said = str(error)
        died.set()
        helper.join()
        ok("pm:a" in said and "pm:a is as it was" in said and "pm:b" not in said, "upgrade in stages: the first daemon died of it, and is as it was", said)
        ok((d.proxy().step()["value"], other.proxy().step()["value"]) == ("old", "old"), "both have the old version", said)
    finally:
        other.stop()
        other.remove()


D = Daemon().start()
try:
    run_all([lambda t=t: t(D) for t in (test_descriptor, test_bad_file_at_start, test_crash_in_warm, test_ways_to_die, test_same_moment, test_hanging_file,
                                        test_not_run_at_start, test_half_written, test_pending_without_image, test_staged)]
            + [test_keys, lambda: ok(D.stop() == 0, "it ends cleanly", D.log()[-3000:])])
finally:
    D.stop()
    D.remove()
