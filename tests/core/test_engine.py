#!/usr/bin/env python3
"""The task engine through a real daemon: priorities, compound tasks, undo, cancelling, results, handles."""
import os
import threading
import time

from daemon import ANY, Daemon, ok, run_all, wait_for

D = Daemon()
NOTES = os.path.join(D.dir, "notes")

NOTE = """
    FILE *f = fopen("%s", "a");
    const xmlrpc_value *p = fs_call_param(call, 0);
    fprintf(f, "%%s %%s\\n", "%%s", fs_get_string(p, "id", "-"));
    fclose(f);
    if (fs_get_bool(p, "fail", false)) {
        fs_call_fail(call, "told to fail");
    } else {
        fs_call_return(call, fs_string(fs_get_string(p, "id", "-")));
    }
""" % NOTES

SLEEP = """
    int ms = (int) fs_get_double(fs_call_param(call, 0), "ms", 1000);
    for (int i = 0; i < ms / 10; i++) {
        if (fs_call_cancelled(call)) {
            fs_call_fail(call, "I was told to end");
            return;
        }
        usleep(10000);
    }
    fs_call_return(call, fs_int(ms));
"""

NEST = """
    struct fs_reply reply = { 0 };
    int handle = fs_call_submit(call, "sleep", fs_set(fs_struct(), "ms", fs_int(50)), false, &reply);
    bool ended = handle && fs_call_wait(call, handle, 20000, &reply);
    if (!ended) {
        fs_call_fail(call, "the inner task did not end");
    }
    fs_reply_clear(&reply);
"""


def notes():
    try:
        with open(NOTES, encoding="utf-8") as f:
            return f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


def forget():
    if os.path.exists(NOTES):
        os.unlink(NOTES)


def value(answer):
    assert answer["code"] == 0, answer
    return answer["value"]


def ended(p, handle):
    return wait_for(lambda: (lambda t: t if t["state"] not in ("waiting", "running") else None)(value(p.get_task(handle))), 40)


def test_results():
    p = D.proxy()
    h1, h2 = value(p.run_task("note", {"id": "a"})), value(p.run_task("note", {"id": "b", "fail": True}))
    ok(isinstance(h1, int) and h2 > h1 > 0, "handles are positive and grow", (h1, h2))
    t1, t2 = ended(p, h1), ended(p, h2)
    ok(t1["state"] == "done" and t1["code"] == 0 and t1["value"] == "a" and t1["tasks"] == ["note"], "the result of a task is kept", t1)
    ok(t2["state"] == "failed" and t2["code"] == 1 and t2["message"] == "told to fail", "and that of one that failed", t2)
    a = p.run_task("note", {"id": "c"}, {"wait": 10})
    ok(a == {"code": 0, "message": "", "value": "c"}, "the option wait answers as the task does", a)
    a = p.run_task("sleep", {"ms": 3000}, {"wait": 0.2})
    ok(a["code"] == -1 and value(p.get_task(a["value"]))["state"] == "running", "and with -1 and the handle when it takes longer", a)
    p.cancel_task(a["value"])
    a = p.get_task(123456)
    ok(a["code"] == 1 and "no task 123456" in a["message"], "an unknown handle", a)
    a = p.run_task("nothing", {}, {"wait": 10})
    ok(a["code"] == 1 and "no task 'nothing'" in a["message"], "an unknown task", a)
    a = p.run_task("note", {}, {"priority": "urgent"})
    ok(a["code"] == 1 and "'urgent' is neither normal nor high" in a["message"], "an unknown priority", a)


def test_priorities():
    p = D.proxy()
    forget()
    block = [value(p.run_task("sleep", {"ms": 1500})) for _ in range(16)]
    normal = [value(p.run_task("note", {"id": f"n{i}"})) for i in range(5)]
    high = [value(p.run_task("note", {"id": f"h{i}"}, {"priority": "high"})) for i in range(5)]
    ok(value(p.get_task(high[0]))["state"] == "waiting", "with all threads busy a task waits", value(p.get_task(high[0])))
    for h in block[1:]:
        p.cancel_task(h)
    for h in normal + high + block:
        ended(p, h)
    begun = {h: value(p.get_task(h)) for h in normal + high}
    latest_high = max(t["waited"] for h, t in begun.items() if h in high)
    earliest_normal = min(t["waited"] for h, t in begun.items() if h in normal)
    # Those submitted first have waited a little longer when they begin at the same time.
    ok(earliest_normal >= latest_high - 0.001, "a normal task starts only when no high one waits", begun)


def test_one_thread_order():
    """With 15 threads held for good the order of what is left is the order of the notes."""
    p = D.proxy()
    forget()
    held = [value(p.run_task("sleep", {"ms": 8000})) for _ in range(15)]
    gate = value(p.run_task("sleep", {"ms": 8000}))
    wait_for(lambda: value(p.get_task(gate))["state"] == "running")
    tasks = [value(p.run_task("note", {"id": f"n{i}"})) for i in range(3)]
    tasks += [value(p.run_task("note", {"id": f"h{i}"}, {"priority": "high"})) for i in range(3)]
    p.cancel_task(gate)
    for h in tasks:
        ended(p, h)
    ok(notes() == ["note h0", "note h1", "note h2", "note n0", "note n1", "note n2"], "high before normal, else first come", notes())
    for h in held:
        p.cancel_task(h)


def test_compound():
    p = D.proxy()
    forget()
    a = p.run_compound_task([{"name": "note", "parameter": {"id": str(i)}} for i in range(4)], {"wait": 10})
    ok(a["code"] == 0 and a["value"] == ["0", "1", "2", "3"] and notes() == [f"note {i}" for i in range(4)], "in order, all values", a)
    forget()
    steps = [{"name": "make", "parameter": {"id": "1"}}, {"name": "note", "parameter": {"id": "2"}},
             {"name": "make", "parameter": {"id": "3"}}, {"name": "note", "parameter": {"id": "4", "fail": True}},
             {"name": "make", "parameter": {"id": "5"}}]
    a = p.run_compound_task(steps, {"wait": 10})
    ok(a["code"] == 1 and "task 4 of 5 (note) failed: told to fail; undone by: unmake, unmake" in a["message"], "it stops at the first failure", a)
    ok(notes() == ["make 1", "note 2", "make 3", "note 4", "unmake 3", "unmake 1"], "and undoes in reverse order", notes())
    for steps, words in (([], "1 to 10000"), ([{"nam": "x"}], "item 1 is no struct"), ([{"name": 3}], "item 1 is no struct")):
        a = p.run_compound_task(steps)
        ok(a["code"] == 1 and words in a["message"], "a compound task that is none", a)


def test_cancel():
    p = D.proxy()
    forget()
    h = value(p.run_task("sleep", {"ms": 20000}))
    wait_for(lambda: value(p.get_task(h))["state"] == "running")
    ok(p.cancel_task(h)["code"] == 0 and ended(p, h)["state"] == "cancelled", "one that runs ends when it looks")
    a = p.cancel_task(h)
    ok(a["code"] == 1 and "has ended" in a["message"], "cancelled twice", a)
    block = [value(p.run_task("sleep", {"ms": 20000})) for _ in range(16)]
    w = value(p.run_task("note", {"id": "never"}))
    ok(p.cancel_task(w)["code"] == 0, "one that waits")
    t = value(p.get_task(w))
    ok(t["state"] == "cancelled" and "before it began" in t["message"] and not notes(), "is taken out at once", t)
    for b in block:
        p.cancel_task(b)
    h = value(p.run_compound_task([{"name": "make", "parameter": {"id": "1"}}, {"name": "sleep", "parameter": {"ms": 20000}},
                                   {"name": "note", "parameter": {}}]))
    wait_for(lambda: notes() == ["make 1"])
    p.cancel_task(h)
    t = ended(p, h)
    ok(t["state"] == "cancelled" and notes() == ["make 1", "unmake 1"], "a cancelled compound task is undone, by a task that is not cancelled",
       (t, notes()))


def test_tasks_that_wait_for_tasks():
    p = D.proxy()
    handles = [value(p.run_task("nest", {})) for _ in range(32)]
    began = time.time()
    states = [ended(p, h)["state"] for h in handles]
    ok(states == ["done"] * 32 and time.time() - began < 15, "32 tasks that wait for tasks of the same engine", (states, time.time() - began))


def test_many():
    p = D.proxy()
    handles = []
    threads = [threading.Thread(target=lambda: handles.extend(value(D.proxy().run_task("note", {"id": "x"})) for _ in range(100)))
               for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    ok(len(set(handles)) == 400 and all(ended(p, h)["state"] == "done" for h in handles), "400 tasks from four clients, each with its handle")


def main():
    D.drop("task", "note", NOTE.replace('"%s", fs_get', '"note", fs_get'), ANY)
    D.drop("task", "make", NOTE.replace('"%s", fs_get', '"make", fs_get'), ANY + '.undo = "unmake",')
    D.drop("task", "unmake", NOTE.replace('"%s", fs_get', 'fs_call_cancelled(call) ? "cancelled" : "unmake", fs_get'), ANY)
    D.drop("task", "sleep", SLEEP, ANY)
    D.drop("task", "nest", NEST, ANY)
    D.start()
    try:
        run_all([test_results, test_priorities, test_one_thread_order, test_compound, test_cancel, test_tasks_that_wait_for_tasks, test_many,
                 lambda: ok(D.stop() == 0, "it ends cleanly", D.log()[-3000:])])
    finally:
        D.stop()
        D.remove()


main()
