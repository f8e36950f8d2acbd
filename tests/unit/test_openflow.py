#!/usr/bin/env python3
"""libflowstream-openflow against a real Open vSwitch, and against things that are none.

Drives the program openflow-tool (OPENFLOW_TOOL, else beside this script's build). Prints TAP.
"""

import glob
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "openflow"))
import private_ovs as ovs

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
ADD, DELETE_STRICT, DELETE_COOKIE = 0, 1, 2
SPACE = 0xf105 << 48
ALL_OURS = 0xffff << 48
results = []


def report(good, name, *why):
    results.append(bool(good))
    print("%s %d - %s" % ("ok" if good else "not ok", len(results), name), flush=True)
    if not good:
        for line in why:
            print("# %s" % (line,), flush=True)


def cookie(allocation, index=0):
    return SPACE | allocation << 16 | index


class Tool:
    def __init__(self):
        path = os.environ.get("OPENFLOW_TOOL") or (glob.glob("tests/unit/openflow-tool") + [TOP + "/build/tests/unit/openflow-tool"])[0]
        command = os.environ.get("OPENFLOW_TOOL_UNDER", "").split() + [path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, *words):
        self.process.stdin.write("\t".join(str(w) for w in words) + "\n")

    def ask(self, *words):
        """The name of the errno or "ok", the text, the milliseconds."""
        self.say(*words)
        self.process.stdin.flush()
        line = self.process.stdout.readline().rstrip("\n").split("\t")
        if len(line) != 3:
            raise RuntimeError("openflow-tool ended")
        return line[0], line[1], float(line[2])

    def apply(self, *changes, deadline=5000):
        for op, text, number, mask in changes:
            self.say("change", op, number, mask, text)
        return self.ask("apply", deadline)

    def rules(self, number=SPACE, mask=ALL_OURS):
        status, text, _ = self.ask("rules", number, mask, 5000)
        return [r.split("|") for r in text.split(";") if r] if status == "ok" else status

    def changes(self, which, since=0):
        """state, "all" or "some", "told" or "read", {allocation: (rules, meters, digest)}; or the error."""
        status, text, _ = self.ask("changes", which, since, 5000)
        if status != "ok":
            return status, "", "", {}
        state, all_, told, owners = text.split("|")
        rows = [row.split(":") for row in owners.split(";") if row]
        return int(state), all_, told, {int(id_): (int(n), int(meters), digest) for id_, n, meters, digest in rows}

    def end(self):
        self.process.stdin.close()
        return self.process.wait(60)


def add(text, number=cookie(1, 1)):
    return (ADD, text, number, 0)


def test_rules(tool, switch):
    status, text, _ = tool.ask("probe", 2000)
    report(status == "ok" and "|6|" in text and "Open vSwitch" in text, "probe tells datapath, tables, OpenFlow 1.5, description", text)
    status, text, _ = tool.ask("ports", 2000)
    report(status == "ok" and text.startswith("net0|1|") and "h1-up|2|" in text and "br0|65534|" in text, "ports by number", text)

    status, text, ms = tool.apply(add('table=1,priority=7,in_port=net0,ip actions=output:"h1-up"'),
                                  add("priority=8,in_port=h1-up,arp actions=net0,output:h1-up,IN_PORT", cookie(1, 2)))
    report(status == "ok", "add with port names", text)
    rules = tool.rules()
    report(len(rules) == 2 and [r for r in rules if r[:3] == ["1", "7", hex(cookie(1, 1))] and r[3] == "ip,in_port=net0"
                                and r[4] in ("output:h1-up", 'output:"h1-up"') and r[5] == "0"], "rules tell what was added", rules)
    report(len(tool.rules(cookie(1, 2), 2 ** 64 - 1)) == 1, "rules of one cookie")

    thousand = [add("table=2,priority=%d,ip,nw_dst=10.0.0.%d actions=drop" % (i + 1, i % 250), cookie(2, i)) for i in range(1000)]
    bad = thousand[:]
    bad[500] = add("table=2,priority=5,ip actions=group:77", cookie(2, 500))
    status, text, _ = tool.apply(*bad)
    report(status == "EREMOTEIO" and "br0" in text and "group:77" in text and "OFPBAC_BAD_OUT_GROUP" in text,
           "one bad rule among 1,000: the switch's refusal names it", status, text)
    report(tool.rules(cookie(2), 0xffffffffffff0000) == [], "one bad rule among 1,000: nothing is applied")
    bad[500] = add("table=254,priority=5,ip actions=meter:9,drop", cookie(2, 500))
    status, text, _ = tool.apply(*bad)
    report(status in ("EREMOTEIO", "EINVAL") and "meter:9" in text and tool.rules(cookie(2), 0xffffffffffff0000) == [],
           "another kind of refusal: nothing is applied", status, text)
    bad[500] = add("table=2,priority=5,ip actions=frobnicate", cookie(2, 500))
    status, text, _ = tool.apply(*bad)
    report(status == "EINVAL" and "frobnicate" in text, "a rule that cannot be read is refused before anything is sent", status, text)
    status, text, ms = tool.apply(*thousand)
    report(status == "ok" and len(tool.rules(cookie(2), 0xffffffffffff0000)) == 1000, "1,000 rules in %.1f ms" % ms, status, text)

    status, text, _ = tool.apply(add("tp_dst=80 actions=drop"))
    report(status == "EINVAL" and "tp_dst=80" in text, "a match without its protocol is refused, not made wider", status, text)
    for name, rule in (("in_port", "in_port=nope actions=drop"), ("output", "ip actions=output:nope")):
        status, text, _ = tool.apply(add(rule))
        report(status == "ENODEV" and "nope" in text and "net0" in text and "h1-up" in text,
               "unknown port in %s: the message lists the ports" % name, status, text)


def test_owners(tool, switch):
    switch.ofctl("add-flow", "br0", "cookie=0x1234,table=3,priority=9,ip,in_port=1,nw_dst=1.2.3.0/24,actions=output:2")
    switch.ofctl("add-flow", "br0", "cookie=0xf104000000000001,table=3,priority=8,actions=drop")
    before = switch.ofctl("dump-flows", "br0", "table=3", "--no-stats")
    status, text, _ = tool.apply(add("table=3,priority=9,ip,nw_dst=1.2.3.0/24,in_port=net0 actions=drop"))
    report(status == "EEXIST" and "0x1234" in text, "an add in the place of a foreign rule is refused", status, text)
    status, text, _ = tool.apply(add("table=3,priority=8 actions=output:1"))
    report(status == "EEXIST" and "0xf104" in text, "also where cookies differ in one bit, and for the empty match", status, text)
    for place, number in (("priority=9,ip,nw_dst=1.2.3.0/24,in_port=net0", "0x1234"), ("priority=8", "0xf104")):
        for table in (3, 4):    # All adds in one table, and in several.
            many = [add("table=%d,priority=%d,ip actions=drop" % (table, 100 + i)) for i in range(40)]
            many[30] = add("table=3,%s actions=drop" % place)
            status, text, _ = tool.apply(*many)
            report(status == "EEXIST" and number in text and tool.rules(cookie(1, 1), 2 ** 64 - 1)[1:] == [],
                   "also among many adds (cookie %s, table %d)" % (number, table), status, text)
    status, text, _ = tool.apply(add("table=3,priority=10,ip,nw_dst=1.2.3.0/24,in_port=net0 actions=drop", cookie(3)),
                                 (DELETE_STRICT, "table=3,priority=9,ip,nw_dst=1.2.3.0/24,in_port=net0", 0, 0))
    report(status == "ok" and len(tool.rules(cookie(3), 2 ** 64 - 1)) == 1, "beside it, all is free", status, text)
    status, text, _ = tool.apply((DELETE_STRICT, "table=3,priority=10,ip,nw_dst=1.2.3.0/24,in_port=net0", 0, 0))
    report(status == "ok" and tool.rules(cookie(3), 2 ** 64 - 1) == [], "delete of one rule of ours", status, text)
    for change in ((ADD, "ip actions=drop", 0, 0), (ADD, "ip actions=drop", 0x1234, 0), (DELETE_COOKIE, "", cookie(1), 0),
                   (DELETE_COOKIE, "", 0x1234, 2 ** 64 - 1), (DELETE_COOKIE, "", cookie(1), 0xffff), (DELETE_STRICT, "ip", 0x1234, 0xffff)):
        status, text, _ = tool.apply(change)
        report(status == "EPERM", "refused: op %d with cookie %#x/%#x" % (change[0], change[2], change[3]), status, text)
    status, text, _ = tool.apply(add("cookie=0x77,ip actions=drop"))
    report(status == "EINVAL" and "cookie" in text, "a cookie in the text is refused", status, text)
    n = len(tool.rules())
    status, text, _ = tool.apply((DELETE_COOKIE, "", cookie(2), 0xffffffffffff0000))
    report(status == "ok" and len(tool.rules()) == n - 1000, "delete by cookie takes the allocation and no other rule", status, text)
    status, text, _ = tool.apply((DELETE_COOKIE, "", SPACE, ALL_OURS))
    after = switch.ofctl("dump-flows", "br0", "table=3", "--no-stats")
    report(status == "ok" and tool.rules() == [] and before == after, "foreign rules are untouched", before, after)
    report(tool.ask("hammer")[0] == "ok", "eight threads on one switch")


def test_nsh_and_versions(tool, switch):
    """The rules of docs/nsh-on-ovs.md, over each version of OpenFlow that a switch may speak."""
    rules = (add("table=4,priority=100,in_port=net0,ip,actions=encap(nsh(md_type=2)),set_field:0x123->nsh_spi,set_field:255->nsh_si,"
                 "encap(ethernet),set_field:02:f5:00:00:00:01->eth_dst,set_field:02:f5:00:00:00:02->eth_src,output:h1-up"),
             add("table=4,priority=101,in_port=h1-up,dl_type=0x894f,nsh_spi=0x123 actions=output:net0"),
             add("table=4,priority=102,in_port=h1-up,dl_type=0x894f,nsh_spi=0x124 actions=decap(),decap(),output:net0"))
    for version, number in (("OpenFlow14", 5), ("OpenFlow15", 6)):
        switch.vsctl("set", "bridge", "br0", "protocols=" + version)
        tool.ask("switch", "br0", switch.management("br0"))
        status, text, _ = tool.ask("probe", 2000)
        report(status == "ok" and "|%d|" % number in text, "a switch that speaks %s only" % version, status, text)
        status, text, _ = tool.apply(*rules)
        report(status == "ok" and len(tool.rules()) == 3, "%s: the rules of NSH" % version, status, text)
        status, text, _ = tool.apply(*rules)
        report(status == "ok" and len(tool.rules()) == 3, "%s: applied again they change nothing" % version, status, text)
        switch.ofctl("add-flow", "br0", "table=4,priority=1,dl_vlan=5,tcp,tp_dst=80,actions=drop", version=version)
        switch.ofctl("add-flow", "br0", "table=4,priority=1,vlan_tci=0,actions=drop", version=version)
        for match in ("dl_vlan=5,tcp,tp_dst=80", "vlan_tci=0"):
            status, text, _ = tool.apply(add("table=4,priority=1,%s actions=drop" % match))
            report(status == "EEXIST", "%s: foreign rule '%s' is seen" % (version, match), status, text)
        for change, n in (((DELETE_STRICT, "table=4,priority=101,in_port=h1-up,dl_type=0x894f,nsh_spi=0x123", 0, 0), 2),
                          ((DELETE_COOKIE, "in_port=net0", SPACE, ALL_OURS), 1), ((DELETE_COOKIE, "", SPACE, ALL_OURS), 0)):
            status, text, _ = tool.apply(change)
            report(status == "ok" and len(tool.rules()) == n, "%s: delete '%s'" % (version, change[1]), status, text, tool.rules())
    switch.vsctl("set", "bridge", "br0", "protocols=OpenFlow13")
    tool.ask("switch", "br0", switch.management("br0"))
    status, text, _ = tool.ask("probe", 2000)
    report(status == "EPROTO" and "1.4" in text, "a switch that speaks OpenFlow 1.3 only is told so", status, text)
    switch.vsctl("clear", "bridge", "br0", "protocols")
    tool.ask("switch", "br0", switch.management("br0"))

    switch.vsctl("--", "del-port", "br0", "h1-up", "--", "add-port", "br0", "h1-up", "--", "set", "interface", "h1-up", "ofport_request=9")
    status, text, _ = tool.apply(add("in_port=h1-up actions=drop"))
    flows = switch.ofctl("dump-flows", "br0", "table=0")
    report(status == "ok" and "in_port=9" in flows, "a port that came back with another number is found", status, text, flows)


METER = 0x3b9aca00


def some_change(source, tool, switch):
    """Something done to the rules of a few allocations, by us or by somebody else; what, in words."""
    owner, index, port = source.randrange(1, 6), source.randrange(4), source.choice(("net0", "h1-up"))
    match = source.choice((f"table={index},priority={owner},udp,tp_dst={1000 + index}", f"table=7,priority={index},in_port={port}",
                           f"table=7,priority=9,ipv6,ipv6_dst=fd00::{owner}/{64 + index},nw_frag=later", f"table=8,priority={owner},dl_type=0x894f,nsh_spi={index},nsh_si=255"))
    actions = source.choice(("drop", f"output:{port}", "set_field:1->reg0,resubmit(,9)", "encap(nsh(md_type=2)),set_field:0x7->nsh_spi,output:net0"))
    mine = hex(cookie(owner, index))
    kind = source.choice(("add", "add", "add", "by hand", "by hand", "delete", "remove", "modify", "overwrite", "timeout", "foreign", "meter", "meter away"))
    if kind == "add":
        tool.apply(add(f"{match} actions={actions}", cookie(owner, index)))
    elif kind == "by hand":
        switch.ofctl("add-flow", "br0", f"cookie={mine},{match},actions={actions}")
    elif kind == "delete":
        tool.apply((DELETE_COOKIE, "", cookie(owner), 0xffffffffffff0000))
    elif kind == "remove":
        switch.ofctl("del-flows", "br0", f"cookie={mine}/-1")
    elif kind == "modify":
        switch.ofctl("mod-flows", "br0", f"table=7,actions={actions}")
    elif kind == "overwrite":
        switch.ofctl("add-flow", "br0", f"cookie=0x77,{match},actions={actions}")
    elif kind == "timeout":
        switch.ofctl("add-flow", "br0", f"cookie={mine},{match},hard_timeout={500 + index},actions={actions}")
    elif kind == "foreign":
        switch.ofctl("del-flows", "br0", "cookie=0x77/-1")
    else:
        tool.ask("meter", 0 if kind == "meter" else 2, METER + index, owner, 1000 + owner)
    return kind


def test_following(tool, switch):
    tool.apply((DELETE_COOKIE, "", SPACE, ALL_OURS))
    tool.ask("follow", 0, "br0", switch.management("br0"))
    state, all_, told, owners = tool.changes(0)
    report((all_, told, owners) == ("all", "told", {}) and state > 0, "a switch that is followed: all are told at first", state, all_, told, owners)
    tool.apply(add("table=1,priority=7,ip actions=drop", cookie(1, 1)), add("table=1,priority=8,ip actions=drop", cookie(2, 1)))
    both, all_, _, owners = tool.changes(0, state)
    report(all_ == "some" and owners.keys() == {1, 2} and owners[1][0] == 1 and owners[1] != owners[2], "what we add is told in the next answer", all_, owners)
    report(tool.changes(0, both)[3] == {} and tool.ask("heard", 0, 0)[1] == str(both), "and is not told again")
    switch.ofctl("del-flows", "br0", f"cookie={cookie(2):#x}/0xffffffffffff0000")
    less, all_, _, owners = tool.changes(0, both)
    report(all_ == "some" and owners.keys() == {2} and owners[2][0] == 0, "what somebody else removes, too", all_, owners)
    report(tool.changes(0, state)[3].keys() == {1, 2} and tool.changes(0, less + 5)[1] == "all", "older states are told what changed since, unknown ones all")
    switch.ofctl("add-flow", "br0", f"cookie={cookie(3):#x},table=1,priority=3,actions=drop")
    report(ovs.until(5, lambda: int(tool.ask("heard", 0, 1)[1]) > less), "it is heard without asking")

    seed, wrong, kinds = random.randrange(2 ** 32), [], {}
    source = random.Random(seed)
    known, state = {}, 0
    for step in range(150):
        kind = some_change(source, tool, switch)
        kinds[kind] = kinds.get(kind, 0) + 1
        state, all_, _, changed = tool.changes(0, state)
        known = {**({} if all_ == "all" else known), **changed}
        known = {id_: what for id_, what in known.items() if what[:2] != (0, 0)}
        tool.ask("follow", 1, "br0", switch.management("br0"))
        fresh = tool.changes(1)[3]
        if known != fresh:
            wrong.append((step, kind, known, fresh))
            break
    report(not wrong, f"150 changes of {len(kinds)} kinds: what was told is what is there (seed {seed})", *wrong)

    texts = ["table=1,priority=7,in_port=net0,ip,nw_src=10.0.0.0/9,actions=output:h1-up", "table=1,priority=8,udp6,tp_dst=53,nw_ttl=3,actions=IN_PORT", "priority=9,arp,actions=NORMAL",
             "table=10,priority=10000,in_port=net0,ip,actions=encap(nsh(md_type=2)),set_field:0x1->nsh_spi,set_field:255->nsh_si,encap(ethernet),set_field:02:f5:00:00:00:01->eth_dst,output:h1-up",
             "table=20,priority=5,dl_type=0x894f,nsh_spi=7,nsh_si=255,actions=decap(),decap(),output:net0", "table=3,dl_vlan=5,hard_timeout=60,idle_timeout=70,actions=multipath(symmetric_l3l4+udp,0,modulo_n,3,0,reg1[]),resubmit(,14)"]
    rules = [add(text, cookie(8, i)) for i, text in enumerate(texts)]
    tool.apply(*rules)
    for op, text, number, mask in rules:
        tool.say("change", op, number, mask, text)
    expected, told = tool.ask("expect", 8)[1], tool.changes(0)[3].get(8)
    report(told and expected == "%d:%d:%s" % told, "what is expected of rules is what is told of them", expected, told)

    state = tool.changes(0)[0]
    for begin in (0, 3000):  # more than it sends unasked: it pauses, and tells the rest when that is read
        tool.apply(*[add("table=2,priority=%d,udp,tp_dst=%d actions=drop" % (i + 1, i + 1), cookie(9, i)) for i in range(begin, begin + 3000)], deadline=20000)
    later, all_, _, owners = tool.changes(0, state)
    tool.ask("follow", 1, "br0", switch.management("br0"))
    report(all_ == "some" and owners.get(9, (0,))[0] == 6000 and owners[9] == tool.changes(1)[3][9], "6,000 rules in two bundles are told whole", all_, {k: v[0] for k, v in owners.items()})
    tool.apply((DELETE_COOKIE, "", SPACE, ALL_OURS), deadline=20000)
    report(tool.changes(0, later)[3].get(9) == (0, 0, "0" * 16), "and that they are gone")

    for index in range(4):
        tool.ask("meter", 2, METER + index, 0, 0)
    tool.ask("follow", 1, "br0", serve(refuse_monitors(switch.management("br0"))))
    tool.apply(add("table=1,priority=7,ip actions=drop", cookie(1, 1)))
    state, all_, told, owners = tool.changes(1)
    report((all_, told) == ("all", "read") and owners.keys() == {1}, "a switch that tells nothing is read", state, all_, told, owners)
    switch.ofctl("del-flows", "br0", f"cookie={cookie(1):#x}/0xffffffffffff0000")
    later, all_, told, owners = tool.changes(1, state)
    report((all_, told) == ("some", "read") and owners.get(1, (1,))[0] == 0 and tool.ask("heard", 1, 1)[1] == "0", "each time, and what changed is found all the same", all_, told, owners)


def refuse_monitors(target):
    """Passes messages between us and a real switch, but that it knows no flow monitors."""
    def behave(connection):
        switch = socket.socket(socket.AF_UNIX)
        switch.connect(target[len("unix:"):])
        waiting = b""
        while True:
            ready = select.select([connection, switch], [], [])[0]
            if switch in ready:
                connection.sendall(switch.recv(65536))
            if connection in ready:
                data = connection.recv(65536)
                if not data:
                    switch.close()
                    return
                waiting += data
            while len(waiting) >= 8 and len(waiting) >= (length := int.from_bytes(waiting[2:4], "big")):
                message, waiting = waiting[:length], waiting[length:]
                if message[1] == 18 and int.from_bytes(message[8:10], "big") == 16:
                    connection.sendall(message[:1] + bytes.fromhex("01000c") + message[4:8] + bytes.fromhex("00010002"))
                else:
                    switch.sendall(message)

    def apart(connection):
        threading.Thread(target=behave, args=(connection,), daemon=True).start()
    return apart


def test_death(tool, switch):
    tool.apply(add("ip actions=drop"))
    state = tool.changes(0)[0]
    switch.daemon.send_signal(signal.SIGSTOP)
    for verb in ("probe", "ports"):
        status, text, ms = tool.ask(verb, 300)
        report(status == "ETIMEDOUT" and "br0" in text and ms < 500, "stopped switch: %s ends by the deadline" % verb, status, text, ms)
    status, text, ms = tool.apply(add("ip actions=drop"), deadline=300)
    report(status == "ETIMEDOUT" and ms < 500, "stopped switch: apply ends by the deadline", status, text, ms)
    switch.daemon.send_signal(signal.SIGCONT)
    report(tool.ask("probe", 3000)[0] == "ok", "the switch goes on and so do we")
    switch.stop(signal.SIGKILL)
    status, text, ms = tool.ask("probe", 300)
    report(status in ("ECONNREFUSED", "ENOENT") and ms < 500, "killed switch: an error at once", status, text, ms)
    switch.start()
    switch.bridge_ready("br0")
    status, text, _ = tool.ask("probe", 3000)
    report(status == "ok", "back after a restart", status, text)
    report(tool.rules() == [], "a restarted switch has lost its rules")
    later, _, told, owners = tool.changes(0, state)
    report(told == "told" and owners.get(1, (1,))[0] == 0, "who follows it is told so", told, owners)
    report(tool.apply(add("ip actions=drop"))[0] == "ok", "and takes new ones")
    switch.stop(signal.SIGKILL)
    switch.start()
    switch.bridge_ready("br0")
    status, text, _ = tool.apply(add("in_port=net0 actions=drop"))
    report(status == "ok", "a kept connection that died is revived within the call", status, text)


def serve(behave):
    """A listener on loopback that treats each connection with behave(); its target."""
    listener = socket.create_server(("127.0.0.1", 0))

    def loop():
        kept = []
        while True:
            connection, _ = listener.accept()
            kept.append(connection)
            try:
                behave(connection)
            except OSError:
                pass

    threading.Thread(target=loop, daemon=True).start()
    return "tcp:127.0.0.1:%d" % listener.getsockname()[1]


HELLO = bytes.fromhex("0600000800000001")


def endless(connection):
    connection.sendall(HELLO)
    connection.recv(1000)
    while True:
        connection.sendall(bytes.fromhex("0602000800000000") * 1000)


def answer_with(body):
    def behave(connection):
        connection.sendall(HELLO)
        connection.recv(16)
        while True:
            request = connection.recv(65536)
            if not request:
                return
            for at in range(0, len(request), 8):
                xid = request[at + 4:at + 8]
                connection.sendall(body[:4] + xid + body[8:])
    return behave


def test_strangers(tool):
    cases = (
        ("accepts and never answers", lambda c: None, "ETIMEDOUT"),
        ("says hello and never answers", lambda c: c.sendall(HELLO), "ETIMEDOUT"),
        ("sends garbage", lambda c: c.sendall(os.urandom(5000)), ("EPROTO", "ETIMEDOUT")),
        ("speaks HTTP", lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 50), "EPROTO"),
        ("sends a length of 0", lambda c: c.sendall(HELLO + bytes(64)), "EPROTO"),
        ("speaks OpenFlow 1.0 only", lambda c: c.sendall(bytes.fromhex("0100000800000001")), "EPROTO"),
        ("closes at once", lambda c: c.close(), "ECONNRESET"),
        ("closes behind its hello", lambda c: (c.sendall(HELLO), c.close()), "ECONNRESET"),
        ("asks for echoes without end", endless, "ETIMEDOUT"),
        ("answers with a short description", answer_with(bytes.fromhex("0613001000000000" "0000000000000000")), ("EPROTO", "ETIMEDOUT")),
        ("answers with a wrong type", answer_with(bytes.fromhex("0615000800000000")), "EPROTO"),
        ("refuses all", answer_with(bytes.fromhex("0601000c00000000" "00010001")), "EREMOTEIO"),
    )
    for name, behave, expected in cases:
        tool.ask("switch", "stranger", serve(behave))
        status, text, ms = tool.ask("probe", 300)
        report(status in expected and text.startswith("switch stranger (tcp:") and ms < 500, "a target that %s" % name, status, text, ms)
    for target, expected in (("ssl:127.0.0.1", "EINVAL"), ("tcp:localhost:1", "EINVAL"), ("tcp:127.0.0.1:99999", "EINVAL"),
                             ("tcp:[::1", "EINVAL"), ("tcp:127.0.0.1:1", "ECONNREFUSED"), ("unix:/nonexistent", "ENOENT"),
                             ("unix:/nonexistent/" + "x" * 90, "ENOENT")):
        tool.ask("switch", "s", target)
        status, text, ms = tool.ask("probe", 300)
        report(status == expected and target in text, "target %.30s" % target, status, text)


def corrupt(target, seed):
    """Passes bytes between us and a real switch, and changes some of the switch's."""
    source = random.Random(seed)

    def behave(connection):
        switch = socket.socket(socket.AF_UNIX)
        switch.connect(target[len("unix:"):])
        first = True
        while True:
            ready = select.select([connection, switch], [], [])[0]
            for one in ready:
                data = bytearray(one.recv(65536))
                if not data:
                    connection.close()
                    switch.close()
                    return
                if one is switch and not first:
                    for _ in range(source.randrange(1, 4)):
                        at = source.randrange(len(data))
                        if at > 7 or source.random() < 0.1:     # Mostly not in the first header, to get further.
                            data[at] = source.randrange(256)
                first = first and one is not switch
                (connection if one is switch else switch).sendall(data)
    return behave


def test_corruption(tool, switch):
    tool.apply(*[add("table=5,priority=%d,tcp,in_port=net0,nw_dst=10.0.0.%d actions=set_field:1->reg0,output:h1-up" % (i + 1, i)) for i in range(50)])
    ends, late = {}, 0
    for seed in range(60):
        tool.ask("switch", "corrupt", serve(corrupt(switch.management("br0"), seed)))
        tool.ask("follow", 1, "corrupt", serve(corrupt(switch.management("br0"), seed)))
        for question in (("probe", 100), ("ports", 100), ("rules", SPACE, ALL_OURS, 100), ("changes", 1, 0, 100), ("changes", 1, 1, 100)):
            status, _, ms = tool.ask(*question)
            ends[status] = ends.get(status, 0) + 1
            late += ms > 300
    report(len(ends) > 1 and not late, "300 answers of which some bytes are wrong: %s" % ends, late)
    tool.ask("switch", "br0", switch.management("br0"))
    report(tool.apply((DELETE_COOKIE, "", SPACE, ALL_OURS))[0] == "ok", "and the switch itself is well")


def test_matches(tool):
    good = ("", "ip", "in_port=net0", 'in_port="h1-up",tcp,tp_dst=80', "in_port=3 ip nw_dst=10.0.0.0/8", "dl_vlan=5,ip,nw_src=1.2.3.4",
            "ipv6,ipv6_dst=fe80::/10", "arp,arp_tpa=10.0.0.1", "udp,tp_src=0x400/0xfc00", "dl_src=00:00:00:00:00:00/01:00:00:00:00:00",
            "dl_type=0x894f,nsh_spi=0x123", "tcp,tcp_flags=+syn-ack", "vlan_tci=0",
            "dl_vlan=0xffff", "dl_vlan=4095", "vlan_vid=0x1000/0x1000", "ip,nw_tos=252", "vlan_tci=0x1005/0x1fff", "icmp6,icmp_type=135,nd_target=fe80::1", "mpls,mpls_label=5", "ct_state=+trk,ip",
            "metadata=5", "ip,nw_frag=no", "ip,ip_frag=yes", "ipv6,ip_frag=not_later", "ip,ip_frag=first", "ip_dscp=4,ip", "reg0=1", "sctp6,tp_dst=1", "tun_id=5")
    for match in good:
        status, text, _ = tool.ask("match", match)
        report(status == "ok", "match '%s'" % match, text)
    bad = (("ip,priority=5", 3), ("table=1", 0), ("ip,cookie=1", 3), ("ip actions=drop", 3), ("ip,idle_timeout=3", 3),
           ("ip,nw_dst=300.0.0.1", 3), ("ip,nw_src=1.2.3", 3), ("ip,nw_src=1.2.3.4/33", 3), ("ip,nw_dst", 3), ("foo", 0),
           ("tcp,tp_dst=99999", 4), ("tp_dst=80", 0), ("ip,tcp_dst=1", 3), ("icmp_type=3", 0), ("tcp_flags=+syn", 0),
           ("nsh_spi=5", 0), ("tp_dst=80,tcp,foo", 14), ("ip,(", 3), ("ip,=", 3), ("ip,nw_dst=1.2.3.4,nw_dst=1.2.3.5", 18),
           ("in_port=net0,in_port=net1", 13), ("in_port=", 0), ("in_port=a/b", 0), ("in_port=abcdefghijklmnopq", 0),
           ("ip,in_port=;rm", 3), ("in_port=myaction", 0), ("tcp,udp", 0), ("in_port=net0,ip,arp", 13),
           ("ip,nw_dst=1.2.3.4,ip_dst=1.2.3.5", 3), ("ip,dl_vlan=4096", 3), ("vlan_vid=0x3005", 0), ("vlan_pcp=8", 0), ("ip,nw_tos=3", 3),
           ("ip,ip_dscp=64", 3), ("ip,nw_ecn=4", 3), ("mpls,mpls_label=1048576", 5), ("mpls,mpls_bos=2", 5), ("ipv6,ipv6_label=1048576", 5))
    for match, offset in bad:
        status, text, _ = tool.ask("match", match)
        at, _, why = text.partition(": ")
        report(status == "EINVAL" and at == str(offset), "match '%s' is refused at %s: %s" % (match, at, why), status, text)
    for match, port in (("ip,in_port=net0", "net0"), ('in_port="h1-up"', "h1-up"), ("ip", "none"), ("ip in_port=7,tcp", "7")):
        status, text, _ = tool.ask("match", match)
        report(text == port, "in_port of '%s' is %s" % (match, port), status, text)
    for a, b, expected in (("ip", "arp", "no"), ("ip", "tcp", "yes"), ("tcp", "udp", "no"), ("ip,nw_dst=10.0.0.0/8", "ip,nw_dst=10.1.0.0/16", "yes"),
                           ("ip,nw_dst=10.0.0.0/8", "ip,nw_dst=11.0.0.0/8", "no"), ("ip,nw_dst=10.0.0.0/8", "ip,nw_src=11.0.0.0/8", "yes"),
                           ("in_port=net0,ip", "in_port=net1,ip", "no"), ("in_port=net0,ip", "ip", "yes"), ("in_port=net0", 'in_port="net0"', "yes"),
                           ("in_port=1", "in_port=net0", "yes"), ("tcp,tp_dst=80", "tcp,tp_dst=0x50/0xfff0", "yes"), ("", "", "yes"),
                           ("dl_vlan=5", "dl_vlan=6", "no"), ("dl_vlan=5", "vlan_tci=0", "no"), ("ip", "ipv6", "no")):
        status, text, _ = tool.ask("overlap", a, b)
        report(status == "ok" and text == expected, "'%s' and '%s' overlap: %s" % (a, b, expected), status, text)


def some_match(source):
    """A match as people write them: IPv4 and IPv6, masks, ranges of ports as masks, VLANs, ports by name."""
    words = ["in_port=" + source.choice(("net0", "net1", "7"))] if source.random() < 0.7 else []
    if source.random() < 0.3:
        words.append(source.choice(("dl_vlan=5", "dl_vlan=6", "vlan_tci=0", "vlan_tci=0x1000/0x1000")))
    words.append(source.choice(("ip", "tcp", "udp", "ipv6", "tcp6", "udp6", "arp", "dl_type=0x88cc")))
    if words[-1] in ("ip", "tcp", "udp") and source.random() < 0.6:
        words.append("nw_dst=10.%d.0.0/%d" % (source.randrange(4), source.choice((8, 14, 15, 16))))
    if words[-1] in ("ipv6", "tcp6", "udp6") and source.random() < 0.6:
        words.append("ipv6_dst=fd0%d::/%d" % (source.randrange(4), source.choice((8, 14, 15, 16))))
    if any(word[:3] in ("tcp", "udp") for word in words) and source.random() < 0.7:
        words.append("tp_dst=" + source.choice(("80", "53", "81", "0x50/0xfffe", "0x40/0xffc0")))
    return ",".join(words)


def test_match_set(tool):
    """The set must say of 120 members what the comparison of two says of each, also while members come and go."""
    source, members, wrong, found = random.Random(11), {}, [], 0
    for step in range(300):
        number = source.randrange(120)
        if number in members and source.random() < 0.4:
            del members[number]
            tool.ask("set", str(number), "-")
        else:
            members[number] = some_match(source)
            status, text, _ = tool.ask("set", str(number), members[number])
            if status != "ok":
                wrong.append((members[number], text))
        if step % 10 == 9:
            match = some_match(source)
            met = {int(word) for word in tool.ask("meets", match)[1].split()}
            found += len(met)
            wanted = {other for other, text in members.items() if tool.ask("overlap", match, text)[1] == "yes"}
            if met != wanted:
                wrong.append((match, met ^ wanted, [members[other] for other in met ^ wanted]))
    report(not wrong and found > 100, "a set of matches says the same as comparing one after the other (%d overlaps)" % found, wrong[:3])
    report(tool.ask("set", "1", "tcp,udp")[0] == "EINVAL" and tool.ask("meets", "colour=1")[0] == "EINVAL", "what is no match is refused")


def main():
    reason = ovs.missing()
    if reason:
        print("1..0 # SKIP %s" % reason)
        return 0
    ovs.enter_namespace()
    ovs.quiet_link("lo")
    tool = Tool()
    test_matches(tool)
    test_match_set(tool)
    test_strangers(tool)
    with ovs.Switch() as switch:
        ovs.veth("net0", "net0-peer")
        ovs.veth("h1-up", "h1-peer")
        switch.bridge("br0", "net0", "h1-up")
        tool.ask("switch", "br0", switch.management("br0"))
        test_rules(tool, switch)
        test_owners(tool, switch)
        test_nsh_and_versions(tool, switch)
        test_corruption(tool, switch)
        test_following(tool, switch)
        test_death(tool, switch)
    report(tool.end() == 0, "the program ended well")
    print("1..%d" % len(results))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
