"""Behaviour changed by dropped files: steps of the resource daemon and a module host replaced while the platform runs, and files that must not be loaded."""

import base64
import os
import shutil
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from flowtest import PATIENCE, ROOT, SANITIZED, Platform, Tests, need_root_of_namespaces  # noqa: E402
from loadables import Workshop  # noqa: E402
from traffic import send, udp, watch  # noqa: E402

need_root_of_namespaces()
tests = Tests()

CHAIN = 'in :: FromNet("in_port=net0,udp,tp_dst={port}")\nin -> a :: Counter("") -> b :: Counter("") -> ToNet("net1")\n'

PLACE = r'''
/* place_allocation: all modules on fixed hosts in turn, over tor0. */
#include <string.h>
#include <flowstream/method.h>

static const char *const hosts[] = { HOSTS };

static const char *
place_of(xmlrpc_value *placement, const xmlrpc_value *request, const char *name, size_t *next)
{
    const xmlrpc_value *nodes = fs_get(request, "nodes");
    for (size_t i = 0; i < fs_size(nodes); i++) {
        const xmlrpc_value *n = fs_item(nodes, i);
        if (!strcmp(fs_get_string(n, "name", ""), name) && !strcmp(fs_get_string(n, "kind", ""), "module")) {
            if (!fs_get(placement, name)) {
                fs_set(placement, name, fs_string(hosts[(*next)++ % (sizeof hosts / sizeof *hosts)]));
            }
            return fs_get_string(placement, name, "");
        }
    }
    return "net1";
}

static void
run(struct fs_call *call)
{
    const xmlrpc_value *request = fs_get(fs_call_param(call, 0), "request"), *links = fs_get(request, "links"), *nodes = fs_get(request, "nodes");
    xmlrpc_value *placement = fs_struct(), *ports = fs_struct(), *paths = fs_array();
    size_t next = 0;
    for (size_t i = 0; i < fs_size(nodes); i++) {
        if (!strcmp(fs_get_string(fs_item(nodes, i), "kind", ""), "to")) {
            fs_set(ports, fs_get_string(fs_item(nodes, i), "name", ""), fs_string("net1"));
        }
    }
    for (size_t i = 0; i < fs_size(links); i++) { /* one FromNet with in_port=net0: a link is a flow */
        const char *from = i ? place_of(placement, request, fs_get_string(fs_item(links, i), "from", ""), &next) : "net0";
        const char *to = place_of(placement, request, fs_get_string(fs_item(links, i), "to", ""), &next);
        xmlrpc_value *path = fs_append(fs_array(), fs_string(from));
        if (strcmp(from, to)) {
            fs_append(fs_append(path, fs_string("tor0")), fs_string(to));
        }
        fs_append(paths, path);
    }
    fs_call_return(call, fs_set(fs_set(fs_set(fs_struct(), "hosts", placement), "ports", ports), "paths", paths));
}

FS_TASK = {
    FS_IS_TASK,
    .name = "place_allocation",
    .version = VERSION,
    .help = "Fixed hosts.",
    .params = { { "parameter", "struct", "id; request" } },
    .returns = "struct",
    .run = run,
};
'''

CREATE = r'''
/* create_pm that refuses one type. */
#include <string.h>
#include <flowstream/method.h>

static void
run(struct fs_call *call)
{
    fs_call_fail(call, "patched: no module %s today", fs_get_string(fs_call_param(call, 0), "name", ""));
}

FS_TASK = { FS_IS_TASK, .name = "create_pm", .help = "Refuses.", .params = { { "pm", "struct", "" } }, .returns = "nil", .undo = "delete_pm", .run = run };
'''

HELLO = r'''
#include <flowstream/method.h>

static void
run(struct fs_call *call)
{
    fs_call_return(call, fs_stringf("%s to %s", TEXT, fs_call_string(call, 0, "all")));
}

FS_COMMAND = { FS_IS_COMMAND, .name = "hello", .help = "Greets.", .params = { { "who", "string?", "whom" } }, .returns = "string", .run = run };
'''

EXITS = r'''
#include <stdlib.h>
__attribute__((constructor)) static void leave(void) { exit(0); }
''' + PLACE


def drop(file, target):
    """As a careful person does it: beside, then in one step."""
    shutil.copy(file, target.with_suffix(".new"))
    os.replace(target.with_suffix(".new"), target)


class Replaced:
    """A loadable replaced for as long as a with statement lasts."""

    def __init__(self, file, target):
        self.file, self.target = file, target

    def __enter__(self):
        self.original = self.target.read_bytes() if self.target.exists() else None
        drop(self.file, self.target)

    def __exit__(self, *_):
        if self.original is None:
            self.target.unlink()
        else:
            self.target.with_suffix(".new").write_bytes(self.original)
            os.replace(self.target.with_suffix(".new"), self.target)


def hosts_of(p, port):
    """Install a chain of two, send through it, delete it: the hosts of a and b, and whether every packet was counted by both."""
    id_ = p.client.install_allocation(CHAIN.format(port=port))
    with watch(p, "net1") as out:
        send(p, "net0", [udp(n, port) for n in range(50)])
        out.wait(50, 10 * PATIENCE)
    modules = p.modules(id_)
    p.client.delete_allocation(id_)
    return (modules["a"]["host"], modules["b"]["host"]), (out.received, modules["a"]["in"], modules["b"]["in"]) == (50, 50, 50)


def task(p, daemon, name):
    return next(t for t in p.client.list_tasks(daemon) if t["name"] == name)


def test_placement(p, shop):
    target = p.dir / "lib/tasks/resource/place_allocation.so"
    before = task(p, "resource", "place_allocation")
    with Replaced(shop.compile(PLACE, HOSTS='"h3"', VERSION='"all on h3"'), target):
        tests.same(hosts_of(p, 6000), (("h3", "h3"), True), "a dropped placement step puts all modules on h3, and traffic passes")
        tests.same(task(p, "resource", "place_allocation")["version"], "all on h3", "list_tasks tells its version")
    with Replaced(shop.compile(PLACE, HOSTS='"h1","h2"', VERSION='"two hosts"'), target):
        tests.same(hosts_of(p, 6001), (("h1", "h2"), True), "another spreads them over two hosts, and traffic passes")
    after = task(p, "resource", "place_allocation")
    tests.same((after["version"], after["sha256"]), (before["version"], before["sha256"]), "the copy put back serves again")
    with Replaced(shop.compile(PLACE, HOSTS='"nowhere"', VERSION='"bad"'), target):
        tests.refused("a placement on a host that there is not is refused", ["nowhere", "no host"], p.client.install_allocation, CHAIN.format(port=6002))
        tests.check(not p.remains() and not p.client.list_allocations(), "and leaves nothing", p.remains())
    tests.check(hosts_of(p, 6003)[1], "the original placement works")


def test_rules(p, shop):
    source = (ROOT / "tasks/resource/generate_rules.c").read_text()
    changed = source.replace("ENTRY_PRIORITY = 10000", "ENTRY_PRIORITY = 12345")
    assert changed != source
    with Replaced(shop.compile(changed), p.dir / "lib/tasks/resource/generate_rules.so"):
        id_ = p.client.install_allocation(CHAIN.format(port=6010))
        tests.check(any("priority=12345" in rule for rule in p.rules(id_)), "a dropped rule generator: its priority is in the switch", "\n".join(p.rules(id_)))
        p.client.delete_allocation(id_)
    id_ = p.client.install_allocation(CHAIN.format(port=6011))
    tests.check(any("priority=10000" in rule for rule in p.rules(id_)), "the original again: its priority is in the switch")
    p.client.delete_allocation(id_)


def test_create(p, shop):
    with Replaced(shop.compile(CREATE), p.dir / "lib/tasks/modulehost/create_pm.so"):
        tests.refused("a dropped create_pm serves all hosts", ["patched: no module"], p.client.install_allocation, CHAIN.format(port=6020))
        tests.check(not p.remains(), "what it refused left nothing", p.remains())
    tests.check(hosts_of(p, 6021)[1], "the original create_pm works again")


def test_command(p, shop):
    target = p.dir / "lib/commands/common/hello.so"
    server = p.server("openflow")
    tests.check("hello" not in server.system.listMethods(), "there is no method hello")
    with Replaced(shop.compile(HELLO, TEXT='"hello"'), target):
        tests.check("hello" in server.system.listMethods(), "a new command in common appears in system.listMethods")
        tests.same(server.hello("you"), {"code": 0, "message": "", "value": "hello to you"}, "and can be called")
        tests.same(server.system.methodSignature("hello"), [["struct"], ["struct", "string"]], "it has a signature")
        tests.same(p.client.call("modulehost:h2", "hello"), "hello to all", "in every daemon")
        with Replaced(shop.compile(HELLO, TEXT='"servus"'), p.dir / "lib/commands/openflow/hello.so"):
            tests.same(server.hello()["value"], "servus to all", "one in the daemon's own folder comes before it")
            tests.same(p.client.call("modulehost:h2", "hello"), "hello to all", "in that daemon only")
        tests.same(server.hello()["value"], "hello to all", "when it is removed the common one is back")
    tests.check("hello" not in server.system.listMethods(), "when that is removed the method is gone")


def test_bad_files(p, shop):
    target = p.dir / "lib/tasks/resource/place_allocation.so"
    good = task(p, "resource", "place_allocation")
    whole = target.read_bytes()
    cases = [("text", b"not a shared object\n"), ("an empty file", b""), ("the first half of a file", whole[:len(whole) // 2]),
             ("one with its last page gone", whole[:-4096]), ("one that calls exit() when loaded", shop.compile(EXITS, HOSTS='"h3"', VERSION='"x"').read_bytes()),
             ("a command", shop.compile(HELLO, TEXT='"x"').read_bytes()),
             ("one with an unknown symbol", shop.compile(PLACE.replace("size_t next = 0;", "size_t next = 0; extern int fs_nothing(void); fs_nothing();"),
                                                         "-Wl,-z,undefs", HOSTS='"h3"', VERSION='"x"').read_bytes())]
    bad = shop.folder / "bad.so"
    for name, content in cases:
        bad.write_bytes(content)
        with Replaced(bad, target):
            now = task(p, "resource", "place_allocation")
            tests.check(hosts_of(p, 6030)[1], f"{name}: the old version serves on")
            tests.same(now["sha256"], good["sha256"], f"{name}: list_tasks tells which version serves")
            tests.check(now.get("problem"), f"{name}: and why the file does not", now)
    tests.check(not task(p, "resource", "place_allocation").get("problem"), "the copy put back: no problem is told any more")
    tests.check(all(p.client.call("resource", "ping") == "pong" for _ in range(3)), "the daemon lives")


def test_overwriting(p, shop):
    """In place, again and again, while calls run: each call is answered by one of the two versions, whole."""
    target = p.dir / "lib/commands/common/hello.so"
    versions = [shop.compile(HELLO, TEXT=f'"version {i}"').read_bytes() for i in range(2)]
    target.write_bytes(versions[0])
    end, answers, failures = threading.Event(), set(), []

    def call():
        server = p.server("pm")
        while not end.is_set():
            try:
                answers.add(server.hello("x")["value"])
            except Exception as error:  # noqa: BLE001: any is a failure of the test
                failures.append(error)
                return

    tests.same(p.client.call("pm", "hello", "x"), "version 0 to x", "the first version serves")
    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(200):
        with open(target, "r+b") as file:  # the same file: no careful renaming
            for at in range(0, len(versions[0]), 1000):
                file.seek(at)
                file.write(versions[i % 2][at:at + 1000])
            file.truncate(len(versions[i % 2]))
    end.set()
    for thread in threads:
        thread.join()
    tests.check(not failures, "200 times overwritten in place while four clients call: no call fails", failures[:2])
    tests.check(answers and answers <= {"version 0 to x", "version 1 to x"}, "each call is answered by one version", answers)
    tests.same(p.client.call("pm", "hello", "x"), "version 1 to x", "at last the newest serves")
    target.unlink()


def test_upgrade(p, shop):
    target = p.dir / "lib/tasks/resource/place_allocation.so"
    original = shop.folder / "original" / "place_allocation.so"
    original.parent.mkdir()
    shutil.copy(target, original)
    patched = shop.folder / "patched" / "place_allocation.so"
    patched.parent.mkdir()
    shutil.copy(shop.compile(PLACE, HOSTS='"h2","h3"', VERSION='"upgraded"'), patched)
    done = p.command("upgrade", "resource", str(patched))
    tests.same((done.returncode, done.stderr), (0, ""), "flowstream upgrade")
    tests.same(hosts_of(p, 6040), (("h2", "h3"), True), "the upgraded step serves")
    for name, source in (("text", b"no shared object"), ("a command where a task is wanted", shop.compile(HELLO, TEXT='"x"').read_bytes()),
                         ("one that calls exit()", shop.compile(EXITS, HOSTS='"h1"', VERSION='"x"').read_bytes())):
        item = {"kind": "task", "name": "place_allocation", "content": source}
        answer = p.server().upgrade([item])
        tests.check(answer["code"] == 1 and "place_allocation" in answer["message"], f"upgrade refuses {name}", answer)
        tests.same(target.read_bytes(), patched.read_bytes(), f"upgrade with {name}: the file is as it was")
    two = [{"kind": "command", "name": "hello", "content": shop.compile(HELLO, TEXT='"x"').read_bytes()},
           {"kind": "task", "name": "place_allocation", "content": EXITS.encode()}]
    answer = p.server().upgrade(two)
    tests.check(answer["code"] == 1 and not (p.dir / "lib/commands/resource/hello.so").exists(), "when one of two is refused, none is there", answer)
    for name, words, item in (("no kind", ["kind"], {"name": "x", "content": b""}), ("a path for a name", ["name"], {"kind": "task", "name": "../x", "content": b""}),
                              ("content that is text", ["base64"], {"kind": "task", "name": "x", "content": base64.b64encode(b"x").decode()})):
        answer = p.server().upgrade([item])
        tests.check(answer["code"] == 1 and all(w in answer["message"] for w in words), f"upgrade refuses {name}", answer)
    tests.same(p.command("upgrade", "resource", str(original)).returncode, 0, "the original by upgrade")
    tests.check(hosts_of(p, 6041)[1], "it serves again")


WHO = r'''
#include <flowstream/method.h>
static void run(struct fs_call *call) { if (FAILS) { fs_call_fail(call, "told to"); } else { fs_call_return(call, fs_string(TEXT)); } }
FS_COMMAND = { FS_IS_COMMAND, .name = "who", .help = "x", .returns = "string", .run = run };
'''


def test_staged(p, shop):
    """One host first, watched while it is used, then the others; or all back."""
    def who():
        return [p.server(f"modulehost:{h}").who() for h in ("h1", "h2", "h3")]

    def staged(text, fails, seconds):
        target = Path(p.scratch) / "commands" / "who.so"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(shop.compile(WHO, TEXT=f'"{text}"', FAILS=str(fails)), target)
        end = threading.Event()
        user = threading.Thread(target=lambda: [who() for _ in iter(lambda: end.wait(0.05), True)])
        if text != "first":
            user.start()
        done = p.command("upgrade", "modulehost", str(target), "--staged", "--watch", str(seconds), timeout=120)
        end.set()
        if user.ident:
            user.join()
        return done

    done = staged("first", 0, 1)
    tests.check(done.returncode == 0 and [a["value"] for a in who()] == ["first"] * 3, "staged: all three hosts have it", done.stderr)
    done = staged("second", 1, 8)
    tests.check(done.returncode == 1 and "calls of who failed" in done.stderr and "as it was" in done.stderr, "staged: one that fails on the first host is not sent to the others", done.stderr)
    tests.same([a["value"] for a in who()], ["first"] * 3, "and the first host has what it had")
    done = staged("third", 0, 2)
    tests.check(done.returncode == 0 and [a["value"] for a in who()] == ["third"] * 3, "staged: a good one reaches all, under calls", done.stderr)


with Platform() as platform:
    workshop = Workshop(platform.scratch)
    for test in (test_placement, test_rules, test_create, test_command, test_bad_files, test_overwriting, test_upgrade, test_staged):
        with tests.story(test.__name__):
            test(platform, workshop)
    remains = platform.remains()
    tests.check(not remains, "nothing is left of all these", "\n".join(remains))
    if SANITIZED:
        logs = platform.logs()
        at = max(logs.find("Sanitizer"), logs.find("runtime error"))
        tests.check(at < 0, "no report of a sanitizer in any log", logs[max(0, at - 300):at + 6000])
tests.check(not platform.leftovers, "down leaves nothing", platform.leftovers)
tests.end()
