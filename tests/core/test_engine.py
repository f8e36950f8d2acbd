#!/usr/bin/env python3
"""The task engine through a real daemon: priorities, compound tasks, undo, cancelling, results, handles."""
import os
import threading
import time

from daemon import ANY, Daemon, ok, run_all, skip, sanitizer_flags, wait_for

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

HANG = """
    fs_call_progress(call, 0, "hanging");
    while (access("%s", F_OK)) {
        usleep(20000);
    }
""" % os.path.join(D.dir, "let-go")

THIRD = NOTE.replace('"%s", fs_get', '"third", fs_get') + """
    FILE *count = fopen("%s", "a+");
    fputc('x', count);
    long n = ftell(count);
    fclose(count);
    if (n < 3 || fs_get_bool(p, "never", false)) {
        fs_call_fail(call, "not yet");
    }
""" % os.path.join(D.dir, "third-count")

HALF = """
    fs_call_progress(call, 0.5, "step %d of %d", 2, 4);
    while (!fs_call_cancelled(call)) {
        usleep(10000);
    }
    fs_call_fail(call, "told to end");
"""

SMALL = """
    int n = fs_get_int(fs_call_param(call, 0), "n", 0);
    bool names = fs_get_bool(fs_call_param(call, 0), "names", false);
    xmlrpc_value *v = names ? fs_struct() : fs_array();
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "member%d", i);
        if (names) {
            fs_set(v, name, fs_int(i));
        } else {
            fs_append(v, fs_int(i));
        }
    }
    fs_call_return(call, v);
"""
BIG = """
    size_t n = (size_t) fs_get_double(fs_call_param(call, 0), "size", 0);
    char *text = calloc(1, n + 1);
    for (size_t i = 0; i < n; i++) {
        text[i] = 'x';
    }
    fs_call_return(call, fs_string(text));
    free(text);
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
    for _ in range(5):  # after a second in which nothing could start there is another thread: on a slow machine that is before the last is submitted
        begin = time.time()
        block = [value(p.run_task("sleep", {"ms": 1500})) for _ in range(16)]
        normal = [value(p.run_task("note", {"id": f"n{i}"})) for i in range(5)]
        high = [value(p.run_task("note", {"id": f"h{i}"}, {"priority": "high"})) for i in range(5)]
        first = value(p.get_task(high[0]))
        in_time = time.time() - begin < 0.8
        if in_time:
            break
        for h in block + normal + high:
            ended(p, h)
    if in_time:
        ok(first["state"] == "waiting", "with all threads busy a task waits", first)
    else:
        skip("with all threads busy a task waits", "this machine takes longer to submit 26 tasks than the engine to add a thread")
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
    for steps, words in (([], "1 to 10000"), (["note"], "item 1: it must be a struct, not string"), ([{"name": "note"}, {"name": 3}], "item 2: member name must be of type string, not int"),
                         ([{"name": "note", "paramter": {}}], "there is no member 'paramter' (did you mean 'parameter'?)")):
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


def figures(p):
    return value(p.get_statistics())["process"]


def row(p, name):
    return next((r for r in figures(p)["task"] if r["task"] == name), None)


def test_fair():
    """With one thread free, a flood of one task delays another task by one, not by all."""
    p = D.proxy()
    forget()
    held = [value(p.run_task("sleep", {"ms": 30000})) for _ in range(15)]
    gate = value(p.run_task("sleep", {"ms": 30000}))
    wait_for(lambda: value(p.get_task(gate))["state"] == "running")
    flood = [value(p.run_task("note", {"id": f"n{i}"})) for i in range(50)]
    other = [value(p.run_task("make", {"id": f"m{i}"})) for i in range(2)]
    before = row(p, "note")
    p.cancel_task(gate)
    for h in flood + other:
        ended(p, h)
    order = notes()
    ok(order.index("make m0") <= 2 and order.index("make m1") <= 4, "a flood of one task does not hold up another", order[:8])
    ok([x for x in order if x.startswith("note")] == [f"note n{i}" for i in range(50)], "tasks of one name keep their order", order)
    ok(before and before["waiting"] == 50, "the queue of each task is in get_statistics", before)
    after = row(p, "note")
    ok(after["waiting"] == 0 and after["running"] == 0 and after["done"] >= 50 and after["longest_wait_seconds"] > 0, "and how it fared", after)
    for h in held:
        p.cancel_task(h)


def test_hanging():
    """More tasks than there are threads never look whether they should end: the others run all the same."""
    p = D.proxy()
    forget()
    hung = [value(p.run_task("hang", {"id": str(i)}, {"deadline": 0.5} if i < 2 else {})) for i in range(17)]
    a = p.run_task("note", {"id": "after"}, {"wait": 30})
    ok(a["code"] == 0 and figures(p)["tasks_running"] >= 15, "a task runs while more tasks hang than there are threads", (a, figures(p)["tasks_running"]))
    t = ended(p, hung[0])
    ok(t["state"] == "failed" and "did not end within its deadline" in t["message"], "one that hangs beyond its deadline has failed", t)
    ok(figures(p)["tasks_hanging"] >= 1, "its thread is written off", figures(p)["tasks_hanging"])
    open(os.path.join(D.dir, "let-go"), "w", encoding="utf-8").close()
    for h in hung:
        ended(p, h)
    ok(wait_for(lambda: figures(p)["tasks_hanging"] == 0 and figures(p)["tasks_running"] == 0, 20), "when they end nothing is left", figures(p))


def test_deadlines():
    p = D.proxy()
    t = ended(p, value(p.run_task("sleep", {"ms": 30000}, {"deadline": 0.3})))
    ok(t["state"] == "failed" and "its deadline passed: I was told to end" in t["message"], "a task is told when its deadline passes", t)
    t = ended(p, value(p.run_compound_task([{"name": "sleep", "parameter": {"ms": 30000}}, {"name": "note", "parameter": {}}], {"deadline": 0.3})))
    ok(t["state"] == "failed" and "task 1 of 2" in t["message"], "and a compound task", t)
    block = [value(p.run_task("sleep", {"ms": 30000})) for _ in range(16)]
    t = ended(p, value(p.run_task("note", {"id": "never"}, {"deadline": 0.2})))
    ok(t["state"] == "failed" and "deadline passed while it waited" in t["message"] and t["attempts"] == 0, "one that waits does not begin", t)
    for b in block:
        p.cancel_task(b)
    for bad, words in (({"deadline": -1}, "-1: 0 to 604800"), ({"deadline": "soon"}, "int or double, not string"), ({"deadline": 1e9}, "1000000000: 0 to 604800"),
                       ({"retries": 11}, "11: 0 to 10"), ({"backoff": 61}, "61: 0 to 60"), ({"backof": 1}, "did you mean 'backoff'?")):
        a = p.run_task("note", {}, bad)
        ok(a["code"] == 1 and "run_task: parameter 3 (options): " in a["message"] and list(bad)[0] in a["message"] and words in a["message"], f"{bad} is refused", a)


def test_retries():
    p = D.proxy()
    forget()
    began = time.time()
    t = ended(p, value(p.run_task("third", {"id": "x"}, {"retries": 4, "backoff": 0.2})))
    ok(t["state"] == "done" and t["attempts"] == 3 and notes() == ["third x"] * 3, "an idempotent task is run again until it succeeds", (t, notes()))
    ok(time.time() - began >= 0.4, "with longer and longer pauses", time.time() - began)
    t = ended(p, value(p.run_task("note", {"id": "y", "fail": True})))
    ok(t["state"] == "failed" and t["attempts"] == 1, "not without the option", t)
    a = p.run_task("note", {"id": "y", "fail": True}, {"retries": 1})
    ok(a["code"] == 1 and "task note is not idempotent" in a["message"], "one that is not idempotent is refused", a)
    h = value(p.run_task("third", {"id": "z", "never": True}, {"retries": 9, "backoff": 20}))
    t = wait_for(lambda: (lambda t: t if t["attempts"] == 1 and t["state"] == "waiting" else None)(value(p.get_task(h))))
    ok(t and t["message"] == "not yet", "between two attempts it waits, and says why", t)
    p.cancel_task(h)
    ok(ended(p, h)["state"] == "cancelled", "and can be cancelled")
    ok(row(p, "third")["retries"] >= 3, "attempts are counted", row(p, "third"))


def test_progress():
    p = D.proxy()
    h = value(p.run_task("half", {}))
    t = wait_for(lambda: (lambda t: t if t.get("doing") else None)(value(p.get_task(h))))
    ok(t and t["progress"] == 0.5 and t["doing"] == "step 2 of 4", "a task tells how far it has come", t)
    ok(t["caller"] == "tester@127.0.0.1", "and who called is known", t)
    p.cancel_task(h)
    h = value(p.run_compound_task([{"name": "note", "parameter": {}}, {"name": "sleep", "parameter": {"ms": 30000}}]))
    t = wait_for(lambda: (lambda t: t if t.get("doing") == "sleep" else None)(value(p.get_task(h))))
    ok(t and t["progress"] == 0.5, "and a compound task by its steps", t)
    p.cancel_task(h)


def test_bounds():
    """A daemon with small limits: each bound is met and named."""
    d = Daemon(limits='<limits tasks="20" task-bytes="100000" results="10" result-bytes="60000" result-seconds="2" task-threads="2"/>')
    for name, body in (("sleep", SLEEP), ("big", BIG)):
        d.drop("task", name, body, ANY)
    d.start()
    try:
        p = d.proxy()
        block = [value(p.run_task("sleep", {"ms": 20000}, {"priority": "high"})) for _ in range(2)]
        wait_for(lambda: figures(p)["tasks_running"] == 2)
        a = p.run_task("sleep", {"text": "x" * 100000})
        ok(a["code"] == 1 and "task-bytes=" in a["message"], "the bytes of what waits are bounded", a)
        answers = [p.run_task("sleep", {"ms": 1}) for _ in range(40)]
        refused = [a for a in answers if a["code"]]
        ok(len(refused) >= 15 and "20 tasks are waiting already" in refused[0]["message"], "and their number", (len(refused), refused[:1]))
        for h in block + [a["value"] for a in answers if not a["code"]]:
            p.cancel_task(h)
        handles = [value(p.run_task("big", {"size": 10000})) for _ in range(8)]
        wait_for(lambda: all(a["code"] or a["value"]["state"] == "done" for a in map(p.get_task, handles)))
        f = figures(p)
        ok(f["task_result_bytes"] <= 60000 and p.get_task(handles[0])["code"] == 1 and p.get_task(handles[-1])["code"] == 0,
           "results are bounded in bytes, the oldest go first", f)
        a = p.run_task("big", {"size": 200000}, {"wait": 20})
        ok(a["code"] == 0 and len(a["value"]) == 200000, "who waits gets a result that is too large to be kept", a["message"])
        before = figures(p)["resident_bytes"]
        for _ in range(300):
            p.run_task("big", {"size": 50000}, {"wait": 20})
        grown = 0 if sanitizer_flags() else figures(p)["resident_bytes"] - before  # AddressSanitizer keeps what was freed
        ok(grown < 8e6 and figures(p)["task_results"] <= 10, "memory does not grow with results", figures(p))
        ok(d.stop() == 0, "it ends cleanly", d.log()[-2000:])
    finally:
        d.stop()
        d.remove()


def test_memory():
    """The limit of what is kept of results is one of memory, also where they are of many small values."""
    limit = 24 << 20
    d = Daemon(limits=f'<limits results="100000" result-bytes="{limit}" task-threads="2"/>')
    d.drop("task", "small", SMALL, ANY)
    d.start()
    try:
        p = d.proxy()
        value(p.run_task("small", {"n": 1000}, {"wait": 20}))
        before = figures(p)["resident_bytes"]
        for _ in range(300):  # of 0.2 and 0.5 MB
            handles = [value(p.run_task("small", {"n": 1000, "names": names})) for names in (False, True)]
            wait_for(lambda: all(p.get_task(h)["value"]["state"] == "done" for h in handles))
        f = figures(p)
        grown = f["resident_bytes"] - before
        ok(f["task_result_bytes"] > 0.9 * limit, "as much is kept as the limit allows", f)
        if sanitizer_flags():
            skip("and takes no more memory than that", "AddressSanitizer keeps what was freed")
        else:
            ok(grown < 1.7 * limit, "and takes no more memory than that, but for what malloc cannot use", (grown / limit, f))
    finally:
        d.stop()
        d.remove()


def main():
    D.drop("task", "note", NOTE.replace('"%s", fs_get', '"note", fs_get'), ANY)
    D.drop("task", "make", NOTE.replace('"%s", fs_get', '"make", fs_get'), ANY + '.undo = "unmake",')
    D.drop("task", "unmake", NOTE.replace('"%s", fs_get', 'fs_call_cancelled(call) ? "cancelled" : "unmake", fs_get'), ANY)
    D.drop("task", "sleep", SLEEP, ANY)
    D.drop("task", "nest", NEST, ANY)
    D.drop("task", "hang", HANG, ANY)
    D.drop("task", "third", THIRD, ANY + ".idempotent = true,")
    D.drop("task", "half", HALF, ANY)
    D.start()
    try:
        run_all([test_results, test_priorities, test_one_thread_order, test_compound, test_cancel, test_tasks_that_wait_for_tasks, test_many,
                 test_fair, test_deadlines, test_retries, test_progress, test_bounds, test_memory, test_hanging,
                 lambda: ok(D.stop() == 0, "it ends cleanly", D.log()[-3000:])])
    finally:
        D.stop()
        D.remove()


main()
