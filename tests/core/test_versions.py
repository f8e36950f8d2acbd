#!/usr/bin/env python3
"""Versions of methods while they are in use: one version a call, patches of several files at one instant, unloading, going back, what crashes, what is signed, and what is remembered."""
import glob
import os
import shutil
import subprocess
import threading
import time
import xmlrpc.client

from daemon import ANY, BUILD, Daemon, ok, run_all, wait_for

SANITIZED = bool(os.environ.get("FLOWSTREAM_SANITIZED"))
SAY = 'fs_call_return(call, fs_string("{}"));'
# A command that calls the tasks 'left' and 'right' around a pause, and answers what they said.
ASK = """
    struct fs_reply one, two;
    fs_call_task(call, "left", fs_nil(), &one);
    usleep(1000 * (useconds_t) fs_call_int(call, 0, 0));
    fs_call_task(call, "right", fs_nil(), &two);
    fs_call_return(call, fs_stringf("%s %s", fs_text(one.value, one.message), fs_text(two.value, two.message)));
    fs_reply_clear(&one);
    fs_reply_clear(&two);"""


def made(d, kind, name, body, **options):
    with open(d.build(kind, name, body, ANY if kind == "task" else options.pop("fields", ""), **options), "rb") as f:
        return {"kind": kind, "name": name, "content": xmlrpc.client.Binary(f.read())}


def both(d, word):
    return [made(d, "task", name, SAY.format(word)) for name in ("left", "right")]


def good(answer):
    if answer["code"]:
        raise RuntimeError(answer["message"])
    return answer["value"]


def versions(p, name):
    return [v for v in good(p.list_versions())["versions"] if v["name"] == name]


def mappings(d):
    with open(f"/proc/{d.process.pid}/maps", encoding="utf-8") as f:
        return len({line.split()[-1] for line in f if "/images/" in line})


def test_one_version(d):
    p = d.proxy()
    good(p.upgrade(both(d, "one") + [made(d, "command", "ask", ASK, fields='.params = { { "ms", "int?", "pause" } }, .returns = "string",')]))
    ok(p.ask()["value"] == "one one", "a patch with two tasks and a command serves", p.ask())
    answers = []
    slow = threading.Thread(target=lambda: answers.append(d.proxy().ask(1500)))
    slow.start()
    time.sleep(0.4)
    good(p.upgrade(both(d, "two")))
    ok(p.ask()["value"] == "two two", "a call after the answer of upgrade uses the patch", p.ask())
    third = p.upgrade(both(d, "three"))  # waits for the slow call: two versions are in use
    slow.join()
    ok(answers[0]["value"] == "one one", "a call that was under way ends with the versions that it began with", answers)
    ok(third["code"] == 0 and p.ask()["value"] == "three three", "and a third version waits for it", third)


def test_one_instant(d):
    """Eight clients see left and right change at once, over and over, and no call fails."""
    end, seen, wrong, done = time.time() + 3, set(), [], threading.Event()
    files = {word: both(d, word) for word in ("a", "b")}

    def client():
        p = d.proxy()
        while not done.is_set():
            answer = p.ask(1)
            seen.add(answer["value"])
            if answer["code"] or len(set(answer["value"].split())) != 1:
                wrong.append(answer)
    threads = [threading.Thread(target=client) for _ in range(8)]
    for t in threads:
        t.start()
    p, n = d.proxy(), 0
    while time.time() < end or n < 4:
        good(p.upgrade(files["ab"[n % 2]]))
        n += 1
        time.sleep(0.05 if SANITIZED else 0)
    done.set()
    for t in threads:
        t.join()
    ok(not wrong and {"a a", "b b"} <= seen, f"{n} patches of two tasks under 8 clients: none saw half of one, none failed", (wrong[:3], seen))


def test_all_or_nothing(d):
    p = d.proxy()
    good(p.upgrade(both(d, "whole")))
    bad = made(d, "task", "right", SAY.format("half"), head="__attribute__((constructor)) static void begin(void) { _exit(3); }\n")
    a = p.upgrade([both(d, "half")[0], bad])
    ok(a["code"] == 1 and "right" in a["message"] and "exit" in a["message"], "a patch of which one file is bad is refused", a)
    ok(p.ask()["value"] == "whole whole", "and changes nothing", p.ask())
    twice = both(d, "half")
    a = p.upgrade([twice[0], twice[0]])
    ok(a["code"] == 1 and "twice" in a["message"], "the same method twice is refused", a)
    before = good(p.list_versions())["generation"]
    good(p.upgrade(both(d, "whole")))
    ok(good(p.list_versions())["generation"] == before, "the same bytes again are no change")


def test_unloaded(d):
    p = d.proxy()
    good(p.upgrade(both(d, "x0")))
    p.ask()
    before, images = mappings(d), len(glob.glob(os.path.join(d.dir, "run/images/*.so")))
    for n in range(20):
        good(p.upgrade(both(d, f"y{n}")))
        p.ask()
    ok(wait_for(lambda: mappings(d) == before), "after 20 more patches as many images are mapped as before", (before, mappings(d)))
    now = len(glob.glob(os.path.join(d.dir, "run/images/*.so")))
    ok(now <= images + 6, "and images of versions that nobody needs are gone", (images, now))


def test_rollback(d):
    p = d.proxy()
    for word in ("r1", "r2", "r3"):
        good(p.upgrade(both(d, word)))
    listed = versions(p, "left")
    ok([v["active"] for v in listed] == [True] + [False] * (len(listed) - 1) and len(listed) == 4 and {v["source"] for v in listed} == {"upgrade"},
       "list_versions: the active one and three before", listed)
    ok(good(p.rollback("left")) == listed[1]["sha256"] and p.ask()["value"] == "r2 r3", "rollback goes one back", p.ask())
    ok(good(p.rollback("left", {"sha256": listed[2]["sha256"][:10]})) and p.ask()["value"] == "r1 r3", "or to the one that is named", p.ask())
    again = versions(p, "left")[0]
    ok(again["source"] == "rollback" and again["generation"] > listed[0]["generation"], "as a new generation", again)
    for name, options, words in (("nothing", {}, "no command 'nothing'"), ("left", {"sha256": "ffff"}, "no version ffff"), ("left", {"kind": "x"}, "kind")):
        a = p.rollback(name, options)
        ok(a["code"] == 1 and words in a["message"], f"rollback {name} {options} is refused", a)
    d.stop()
    d.start()
    p = d.proxy()
    ok(p.ask()["value"] == "r1 r3" and versions(p, "left")[0]["generation"] == again["generation"], "a restart uses the same versions", p.ask())
    p.upgrade(both(d, "killed"))
    d.process.kill()
    d.process.wait()
    d.start()
    ok(d.proxy().ask()["value"] == "killed killed", "so it does after kill -9", d.proxy().ask())


def test_interrupted(d):
    """The daemon died between two files of a patch: the next start finishes it."""
    p = d.proxy()
    good(p.upgrade(both(d, "before")))
    good(p.upgrade(both(d, "after")))
    new = {v["name"]: v["sha256"] for v in good(p.list_versions())["versions"] if v["active"] and v["name"] in ("left", "right")}
    for name in ("left", "right"):
        good(p.rollback(name))
    d.process.kill()
    d.process.wait()
    with open(os.path.join(d.dir, "run/images/pending"), "w", encoding="utf-8") as f:
        f.write("".join(f"t {name} {sha}\n" for name, sha in new.items()) + "end\n")
    d.start()
    ok(d.proxy().ask()["value"] == "after after", "a patch that had been written down is finished at the next start", d.proxy().ask())
    d.stop()
    with open(os.path.join(d.dir, "run/images/pending"), "w", encoding="utf-8") as f:
        f.write(f"t left {'0' * 64}\n")
    with open(os.path.join(d.dir, "run/images/versions"), "a", encoding="utf-8") as f:
        f.write("version t left\nrubbish\n")
    d.start()
    ok(d.proxy().ask()["value"] == "after after" and "damaged" in d.log(), "half a record of a patch, and damaged lines, are left out with a warning", d.log()[-1500:])


def test_life(d):
    """selftest, warm and cool: state goes from version to version."""
    p = d.proxy()
    head = """
static bool selftest(char *why, size_t size) { if (%d) { snprintf(why, size, "two and two are %%d", 5); } return !%d; }
struct count { int n; };
static void *warm(struct fs_daemon *d, const void *old, const char *version, char *why, size_t size)
{ (void) d; if (%d) { snprintf(why, size, "cannot take over version %%s", version); return NULL; }
  struct count *c = calloc(1, sizeof *c); c->n = old ? ((const struct count *) old)->n : 100; return c; }
static void cool(void *state) { free(state); }
"""
    body = "struct count *c = fs_call_version_state(call); fs_call_return(call, fs_int(__atomic_add_fetch(&c->n, %d, __ATOMIC_RELAXED)));"
    fields = '.version = "v%s", .selftest = selftest, .warm = warm, .cool = cool,'
    p.upgrade([made(d, "command", "count", body % 1, fields=fields % 1, head=head % (0, 0, 0))])
    ok([good(p.count()) for _ in range(3)] == [101, 102, 103], "warm() makes the state of a version")
    good(p.upgrade([made(d, "command", "count", body % 10, fields=fields % 2, head=head % (0, 0, 0))]))
    ok(good(p.count()) == 113, "and the next version takes it over")
    a = p.upgrade([made(d, "command", "count", body % 100, fields=fields % 3, head=head % (0, 0, 1))])
    ok(a["code"] == 1 and "cannot take over version v2" in a["message"] and good(p.count()) == 123, "one that cannot is refused, the old one goes on with its state", a)
    a = p.upgrade([made(d, "command", "count", body % 100, fields=fields % 4, head=head % (1, 1, 0))])
    ok(a["code"] == 1 and "self-test failed: two and two are 5" in a["message"] and good(p.count()) == 133, "a self-test that fails refuses", a)


def test_crashes(d):
    p = d.proxy()
    good(p.upgrade([made(d, "command", "risky", SAY.format("calm"))]))
    crash = made(d, "command", "risky", "if (fs_call_n_params(call)) { *(volatile int *) 8 = 1; } " + SAY.format("wild"), fields='.params = { { "x", "int?", "" } },')
    good(p.upgrade([crash]))
    ok(p.risky()["value"] == "wild", "a version that can crash is active")
    for n in range(3):
        try:
            d.proxy().risky(1)
        except Exception:  # noqa: BLE001: the daemon is gone, however the client says so
            pass
        d.process.wait(30)
        d.start()
        if n == 1:
            ok(d.proxy().risky()["value"] == "wild", "after two crashes it is still there")
    p = d.proxy()
    ok(p.risky()["value"] == "calm", "after the third within a minute the version before serves", (p.risky(), d.log()[-2000:]))
    ok("made this daemon die 3 times" in d.log(), "the log says so")
    refused = good(p.list_versions())["refused"]
    a = p.upgrade([crash])
    ok(len(refused) == 1 and a["code"] == 1 and refused[0]["sha256"][:12] in a["message"] and "lift_refusal" in a["message"], "its hash is refused from now on", (refused, a))
    ok(p.lift_refusal("00")["code"] == 1 and p.lift_refusal("")["code"] == 1, "lift_refusal of another is refused")
    good(p.lift_refusal(refused[0]["sha256"]))
    good(p.upgrade([crash]))
    ok(p.risky()["value"] == "wild", "until it is lifted")


def test_owner_and_mode(d):
    p = d.proxy()
    d.drop("command", "shared", SAY.format("shared"))
    ok(p.shared()["value"] == "shared", "a file that only its owner may write")
    os.chmod(d.path("command", "shared"), 0o666)
    listed = [c for c in good(p.list_commands()) if c["name"] == "shared"]
    ok(p.shared()["value"] == "shared" and "chmod go-w" in listed[0].get("problem", ""), "one that others may write is not looked at", listed)
    if os.geteuid() == 0:
        os.chmod(d.path("command", "shared"), 0o644)
        os.chown(d.path("command", "shared"), 65534, 65534)
        listed = wait_for(lambda: [c for c in good(p.list_commands()) if c["name"] == "shared" and "user 65534" in c.get("problem", "")])
        ok(listed, "nor one of another user", good(p.list_commands()))


def sign(d, *words):
    return subprocess.run([os.path.join(BUILD, "bin/flowstream-sign"), *words], cwd=d.dir, capture_output=True, text=True, check=False)


def test_signatures():
    key = Daemon()
    ok(sign(key, "keygen", "k").returncode == 0 and sign(key, "keygen", "other").returncode == 0, "flowstream-sign keygen")
    ok(os.stat(os.path.join(key.dir, "k.key")).st_mode & 0o777 == 0o600 and sign(key, "keygen", "k").returncode == 1, "the secret key is secret, and not written over")
    d = Daemon(extra=f'<trust key="{key.dir}/k.pub"/>')
    try:
        common = glob.glob(os.path.join(d.lib, "commands/common/*.so"))
        signed = sign(key, "sign", "--key", "k.key", "--daemon", "common", "--kind", "command", *common)
        ok(signed.returncode == 0, "flowstream-sign signs many files", signed.stderr)
        d.start()
        p = d.proxy()
        ok(p.ping()["value"] == "pong", "signed files serve")

        def patch(word, counter, daemon="pm", secret="k.key", name="hello"):
            entry = made(d, "command", "hello", SAY.format(word))
            path = shutil.copy(os.path.join(d.dir, "made-hello.so"), os.path.join(d.dir, "hello.so"))
            if counter:
                sign(key, "sign", "--key", secret, "--daemon", daemon, "--kind", "command", "--counter", str(counter), path)
                with open(path + ".sig", "rb") as f:
                    entry["signature"] = xmlrpc.client.Binary(f.read())
            return entry
        for what, entry, words in (("without a signature", patch("a", 0), "is not signed"), ("signed by another key", patch("a", 1, secret="other.key"), "no configured key"),
                                   ("signed for another daemon", patch("a", 1, daemon="resource"), "no configured key"),
                                   ("with a signature of other bytes", {**patch("a", 5), "content": patch("b", 0)["content"]}, "no configured key"),
                                   ("with rubbish for a signature", {**patch("a", 5), "signature": xmlrpc.client.Binary(b"7 rubbish")}, "base64")):
            a = p.upgrade([entry])
            ok(a["code"] == 1 and words in a["message"], f"an upgrade {what} is refused", a)
        old = patch("first", 10)
        good(p.upgrade([old]))
        ok(p.hello()["value"] == "first", "a signed one serves", p.hello())
        good(p.upgrade([patch("second", 11)]))
        good(p.upgrade([patch("third", 12)]))
        a = p.upgrade([patch("late", 11)])
        ok(a["code"] == 1 and "counter 11, but 12" in a["message"], "an older counter is refused", a)
        good(p.rollback("hello"))
        ok(p.hello()["value"] == "second", "rollback needs no signature")
        d.stop()
        d.start()
        p = d.proxy()
        ok(p.hello()["value"] == "second", "and holds after a restart", p.hello())
        d.drop("command", "dropped", SAY.format("dropped"))
        a = p.dropped()
        ok(a["code"] == 1 and "dropped.so.sig" in a["message"], "a dropped file without signature does not serve", a)
        sign(key, "sign", "--key", "k.key", "--daemon", "pm", "--kind", "command", d.path("command", "dropped"))
        ok(p.dropped()["value"] == "dropped", "when the signature is there it does", p.dropped())
        a = sign(key, "sign", "--key", "k.pub", "--daemon", "pm", "--kind", "command", d.path("command", "dropped"))
        ok(a.returncode == 1 and "no secret key" in a.stderr, "flowstream-sign names a bad key", a.stderr)
        ok(sign(key, "sign", "--key", "k.key", "x.so").returncode == 2 and sign(key).returncode == 2, "and says what it needs")
        ok(d.stop() == 0, "it ends cleanly", d.log()[-2000:])
    finally:
        d.stop()
        d.remove()
        key.remove()


D = Daemon().start()
try:
    run_all([lambda t=t: t(D) for t in (test_one_version, test_one_instant, test_all_or_nothing, test_unloaded, test_rollback, test_interrupted, test_life, test_crashes,
                                        test_owner_and_mode)] + [test_signatures, lambda: ok(D.stop() == 0, "it ends cleanly", D.log()[-3000:])])
finally:
    D.stop()
    D.remove()
