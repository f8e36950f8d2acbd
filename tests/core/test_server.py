#!/usr/bin/env python3
"""The server of a daemon as its clients see it: HTTP, XML-RPC, limits, load, the end."""
import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time
import xmlrpc.client

from daemon import ANY, Daemon, ok, run_all, wait_for

D = Daemon(limits='<limits body="100000" idle="2" threads="64"/>')
AUTH = "Authorization: Basic dGVzdGVyOnNlY3JldA==\r\n"
PING = "<methodCall><methodName>ping</methodName></methodCall>"
SLEEP = "usleep((useconds_t) (fs_call_int(call, 0, 1) * 1000));"


def raw(text, seconds=10, unix=False, shut=False):
    """Sends bytes, returns what comes until the other side closes or the headers and body are complete."""
    s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    s.settimeout(seconds)
    s.connect(D.unix if unix else ("127.0.0.1", D.port))
    s.sendall(text.encode("latin-1"))
    if shut:
        s.shutdown(socket.SHUT_WR)
    got = b""
    try:
        while True:
            more = s.recv(65536)
            if not more:
                break
            got += more
            head, _, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            if length and len(body) >= int(length.group(1)):
                break
    except TimeoutError:
        got += b"[timeout]"
    s.close()
    return got.decode("latin-1")


def post(body, auth=AUTH, path="/RPC2", unix=False):
    return raw(f"POST {path} HTTP/1.1\r\nHost: x\r\n{auth}Content-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}", unix=unix)


def fault(call):
    try:
        return f"no fault: {call()}"
    except xmlrpc.client.Fault as f:
        return f"{f.faultCode} {f.faultString}"


def test_calls():
    p = D.proxy()
    ok(p.ping() == {"code": 0, "message": "", "value": "pong"}, "ping")
    ok("pm daemon has no method 'nothing'" in fault(p.nothing), "an unknown method is a fault", fault(p.nothing))
    ok("not an XML-RPC call" in post("hello"), "what is no XML is a fault", post("hello"))
    a = p.get_task("x")
    ok(a["code"] == 1 and "parameter 1 (handle) must be of type int, not string" in a["message"], "a wrong type names the parameter", a)
    a = p.get_task()
    ok(a["code"] == 1 and "handle int" in a["message"] and "0 were given" in a["message"], "a missing parameter", a)
    ok("pong" in post(PING, unix=True), "the Unix socket")
    ok(os.stat(D.unix).st_mode & 0o777 == 0o600, "which is its owner's only", oct(os.stat(D.unix).st_mode))
    a = p.run_task("no \U0001f600 such", {})
    ok(p.ping()["code"] == 0, "characters beyond the first plane do no harm", a)
    ok(p.set_log_level("\u00e4" * 20, "info")["code"] == 1 and p.ping()["code"] == 0, "nor does a name cut inside a character")


def test_system():
    p = D.proxy()
    names = p.system.listMethods()
    ok("ping" in names and "system.multicall" in names and names == sorted(names), "system.listMethods", names)
    ok("pong" in p.system.methodHelp("ping"), "system.methodHelp", p.system.methodHelp("ping"))
    ok(p.system.methodSignature("get_task")[0][1] == "int", "system.methodSignature", p.system.methodSignature("get_task"))
    multi = xmlrpc.client.MultiCall(p)
    multi.ping()
    multi.nothing()
    multi.get_version()
    answers = multi()
    ok(answers[0]["value"] == "pong" and "no method" in fault(lambda: answers[1]) and answers[2]["code"] == 0, "system.multicall")
    a = p.system.multicall([{"methodName": "system.multicall", "params": [[]]}])
    ok("refused" in a[0]["faultString"], "a multicall in a multicall", a)


def test_http():
    began = time.time()
    a = raw("POST /RPC2 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic dGVzdGVyOndyb25n\r\nContent-Length: 90000\r\n\r\n")
    ok(" 401 " in a and time.time() - began < 1, "a wrong password: 401 before the body comes", a)
    ok(" 401 " in post(PING, auth=""), "no password")
    began = time.time()
    a = raw(f"POST /RPC2 HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: 100001\r\n\r\n")
    ok(" 413 " in a and "100000" in a and time.time() - began < 1, "a body over the limit: 413 at once", a)
    chunk = "2000\r\n" + "x" * 0x2000 + "\r\n"
    try:
        a = raw(f"POST /RPC2 HTTP/1.1\r\nHost: x\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n" + chunk * 20)
    except (ConnectionResetError, BrokenPipeError):
        a = ""
    ok(" 200 " not in a and "[timeout]" not in a, "chunks over the limit: closed", a)
    ok(" 404 " in post(PING, path="/other"), "another path")
    ok(" 405 " in raw("PUT /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), "another verb")
    c = http.client.HTTPConnection("127.0.0.1", D.port)
    for _ in range(3):
        c.request("POST", "/RPC2", PING, {"Authorization": "Basic dGVzdGVyOnNlY3JldA==", "Content-Type": "text/xml"})
        first = c.sock
        body = c.getresponse().read()
    ok(b"pong" in body and c.sock is first, "a connection is kept alive")
    c.close()
    a = raw("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    ok(" 200 " in a and "ok pm" in a, "/healthz", a)
    ok(" 404 " in raw("GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"), "an unknown page")


def test_metrics():
    a = raw("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").partition("\r\n\r\n")[2]
    line = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*\{([a-zA-Z_]\w*="(\\.|[^"\\])*",?)*\} [-+0-9.e]+$')
    bad = [x for x in a.splitlines() if not x.startswith("# ") and not line.match(x)]
    samples = [x.rsplit(" ", 1)[0] for x in a.splitlines() if not x.startswith("#")]
    ok(not bad and len(samples) == len(set(samples)) and 'flowstream_up{daemon="pm"} 1' in a, "/metrics is Prometheus text", bad or a)
    families = [x.split("{")[0] for x in samples]
    ok(sum(1 for i, f in enumerate(families) if i == 0 or families[i - 1] != f) == len(set(families)), "lines of a metric stand together")


def test_idle():
    s = socket.create_connection(("127.0.0.1", D.port))
    s.sendall(b"POST /RPC2 HTTP/1.1\r\nHost")
    s.settimeout(10)
    began = time.time()
    try:
        got = s.recv(1000)
    except ConnectionResetError:
        got = b""
    ok(1 < time.time() - began < 8, "a client that stops in the middle is closed after the idle time", (got, time.time() - began))
    s.close()


def test_half_open():
    held = [socket.create_connection(("127.0.0.1", D.port)) for _ in range(1000)]
    for s in held[::2]:
        s.sendall(b"POST /RPC2 HTTP/1.1\r\n")
    p, worst = D.proxy(), 0
    for _ in range(20):
        began = time.time()
        p.ping()
        worst = max(worst, time.time() - began)
    ok(worst < 0.5, "1,000 half-open connections do not slow ping", worst)
    for s in held:
        s.close()


def test_slow_calls():
    threads = [threading.Thread(target=lambda: D.proxy().slow(2000)) for _ in range(64)]
    began = time.time()
    for t in threads:
        t.start()
    time.sleep(0.7)
    p, worst = D.proxy(), 0
    for _ in range(20):
        start = time.time()
        p.ping()
        worst = max(worst, time.time() - start)
    ok(worst < 0.5 and any(t.is_alive() for t in threads), "64 slow calls do not stop ping", worst)
    for t in threads:
        t.join()
    ok(time.time() - began < 6, "and run in parallel", time.time() - began)


def test_log_levels():
    p = D.proxy()
    before = len(D.lines)
    p.get_task(1)
    a = p.set_log_level("call", "debug")
    p.ping()
    time.sleep(0.2)
    ok(a["code"] == 0 and any("ping took" in x for x in D.lines[before:]), "a module's level changes while running", D.lines[before:])
    ok(p.set_log_level("call", "loud")["code"] == 1, "no such level")
    p.set_log_level("call", "info")


def test_second():
    a = subprocess.run([D.program, "--config", D.config, "--foreground"], capture_output=True, text=True, check=False)
    ok(a.returncode == 1 and "works in this folder already" in a.stderr, "a second instance is refused", a.stderr)
    ok("pong" in post(PING, unix=True), "and the first goes on")


def test_bad_config():
    def refused(text, pattern, what):
        path = os.path.join(D.dir, "bad.xml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        a = subprocess.run([D.program, "--config", path, "--foreground"], capture_output=True, text=True, check=False)
        ok(a.returncode == 1 and re.search(pattern, a.stderr), what, a.stderr)

    good = f'<daemon name="pm" dir="{D.dir}/other" lib="{D.lib}">\n<listen tcp="127.0.0.1:0"/>\n'
    refused(good + "<lisen/>\n</daemon>", r"bad\.xml:3: .*lisen", "an unknown element: FILE:LINE")
    refused(good + "<log level='loud'/></daemon>", r"bad\.xml:3: ", "a wrong value")
    refused("<daemon", r"bad\.xml:1: ", "no XML")
    refused("", r"bad\.xml", "an empty file")
    refused(good.replace('"pm"', '"resource"') + "</daemon>", r"bad\.xml:1: .*resource daemon, not of pm", "another daemon's")
    refused(good.replace("127.0.0.1", "0.0.0.0") + "</daemon>", "only loopback", "the network without credentials")
    victim = os.path.join(D.dir, "victim")
    with open(victim, "w", encoding="utf-8") as out:
        out.write("dear")
    refused(good + f'<listen unix="{victim}"/></daemon>', "cannot listen", "a Unix socket where a file is")
    ok(os.path.exists(victim), "which is left alone")


def refuses():
    try:
        socket.create_connection(("127.0.0.1", D.port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_end():
    answers = []

    def call():
        answers.append(D.proxy().slow(4000))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    D.process.send_signal(signal.SIGTERM)
    ok(wait_for(refuses, 3) and any(t.is_alive() for t in threads), "SIGTERM: callers who come now are refused, while calls are under way")
    status = D.stop()
    for t in threads:
        t.join()
    ok(status == 0 and len(answers) == 8 and all(a["code"] == 0 for a in answers), "SIGTERM: calls under way are answered", (status, answers))
    ok(not os.path.exists(D.unix), "the Unix socket is gone")
    ok("Sanitizer" not in D.log() and "runtime error" not in D.log(), "nothing to report", D.log()[-3000:])
    D.start()
    errors = []

    def wait():
        try:
            errors.append(D.proxy().run_task("doze", {}, {"wait": 50}))
        except (OSError, http.client.HTTPException) as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    began = time.time()
    status = D.stop()
    thread.join()
    ok(status == 0 and time.time() - began < 14 and isinstance(errors[0], dict) and errors[0]["code"] == 1,
       "a call that waits for a long task is answered when the task is cancelled", (status, errors, time.time() - began, D.log()[-2000:]))


D.drop("command", "slow", SLEEP, '.params = { { "ms", "int", "how long" } }, .returns = "nil",')
D.drop("task", "doze", "while (!fs_call_cancelled(call)) { usleep(10000); } fs_call_fail(call, \"told to end\");", ANY)
D.start()
try:
    run_all([test_calls, test_system, test_http, test_metrics, test_idle, test_half_open, test_slow_calls, test_log_levels, test_second,
             test_bad_config, test_end])
finally:
    D.stop()
    D.remove()
