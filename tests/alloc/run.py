#!/usr/bin/env python3
"""flowstream-alloc from outside: what it finds is judged by the independent checker, what it refuses names the line.

usage: run.py [--program FILE] [--judge FOLDER]

FOLDER holds make_instance.py and check_solution.py, by default ../shared/alloc beside the sources; without them the cases
that need them are skipped.  Prints TAP.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
COUNTED = ("services", "modules", "cpu", "mem", "bandwidth", "delay", "late_paths", "servers_used", "max_link_use", "feasible")

SERVER = '<server id="h1" cpu="8" mem="2048" bandwidth="10000" delay="1"/>'
PLATFORM = f"""<platform name="small">
<io id="n0"/><io id="n1"/><switch id="t"/>
{SERVER}
<link a="h1" b="t" bandwidth="100" delay="1"/>
<link a="n0" b="t" bandwidth="1000" delay="1"/>
<link a="n1" b="t" bandwidth="1000" delay="1"/>
</platform>
"""
SERVICE = """<services>
<service id="s">
<source id="in" io="n0"/>
<pm id="x" cpu="1" mem="2"/>
<sink id="out" io="n1"/>
<link from="in" to="x" bandwidth="10"/>
<link from="x" to="out" bandwidth="10"/>
<path bound="4" via="in x out"/>
</service>
</services>
"""

# what it is, platform, services, what standard error begins with ({p} and {s} are the files)
REFUSED = [
    ("XML that ends early", "<platform", SERVICE, "{p}:"),
    ("an unknown element", "<platform>\n<router/></platform>", SERVICE, "{p}:2: Did not expect element router"),
    ("an unknown attribute", '<platform>\n<io id="a" colour="red"/></platform>', SERVICE,
     "{p}:2: Invalid attribute colour for element io"),
    ("a missing attribute", '<platform>\n<io/></platform>', SERVICE, "{p}:2: an attribute of this element is missing"),
    ("a name used twice", f'<platform>\n{SERVER}\n<io id="h1"/></platform>', SERVICE,
     '{p}:3: id "h1" is already taken by line 2'),
    ("a server without link", f"<platform>\n{SERVER}</platform>", SERVICE, '{p}:2: server "h1" has no link'),
    ("a link to nowhere", PLATFORM.replace('a="n1"', 'a="n2"'), SERVICE,
     '{p}:6: the link\'s end a="n2" is no io, switch or server'),
    ("a link to itself", PLATFORM.replace('a="n1" b="t"', 'a="t" b="t"'), SERVICE, '{p}:6: the link leads from "t" to itself'),
    ("the same link twice", PLATFORM.replace('a="n1"', 'a="n0"'), SERVICE,
     '{p}:6: there is already a link between "n0" and "t" on line 5'),
    ("a number that is none", PLATFORM.replace('bandwidth="100"', 'bandwidth="nan"'), SERVICE, '{p}:4: bandwidth is "nan"'),
    ("a negative number", PLATFORM.replace('cpu="8"', 'cpu="-8"'), SERVICE, '{p}:3: cpu is "-8"'),
    ("an MTU too small", PLATFORM.replace('b="t" bandwidth="100"', 'b="t" mtu="1500" bandwidth="100"'), SERVICE,
     '{p}:4: mtu="1500" of the link h1-t is under 1600'),
    ("forward to no io", PLATFORM.replace('<io id="n0"/>', '<io id="n0" forward="t"/>'), SERVICE,
     '{p}:2: forward="t" of "n0" is no other io'),
    ("an entity from outside", '<!DOCTYPE p [<!ENTITY x SYSTEM "/etc/hostname">]>\n<platform name="&x;"/>', SERVICE, "{p}:2: "),
    ("a service used twice", PLATFORM, SERVICE.replace("</services>", '<service id="s"/></services>'),
     '{s}:10: there is already a service "s"'),
    ("a node used twice", PLATFORM, SERVICE.replace('"out" io', '"x" io'), '{s}:5: service "s": there is already a node "x"'),
    ("an io that is none", PLATFORM, SERVICE.replace('io="n1"', 'io="t"'), '{s}:5: service "s": "t" of "out" is no io'),
    ("a source with two io", PLATFORM, SERVICE.replace('io="n0"', 'io="n0 n1"'),
     '{s}:3: service "s": io of "in" names more than one io'),
    ("a link from nowhere", PLATFORM, SERVICE.replace('from="x"', 'from="y"'),
     '{s}:7: service "s": "y" is no source, pm or sink of this service'),
    ("a link into a source", PLATFORM, SERVICE.replace('to="out"', 'to="in"'),
     '{s}:7: service "s": the link from "x" leads into the source "in"'),
    ("a link out of a sink", PLATFORM, SERVICE.replace('from="in"', 'from="out"'),
     '{s}:6: service "s": the link to "x" comes out of the sink "out"'),
    ("a circle", PLATFORM, SERVICE.replace('<sink', '<pm id="z" cpu="1" mem="1"/><link from="x" to="z" bandwidth="1"/>'
                                           '<link from="z" to="x" bandwidth="1"/><sink'),
     '{s}:2: service "s": the links go in a circle'),
    ("a path without link", PLATFORM, SERVICE.replace("in x out", "in out"),
     '{s}:8: service "s": the path goes from "in" to "out", where there is no link'),
    ("a platform in two parts", PLATFORM.replace('<link a="n1" b="t" bandwidth="1000" delay="1"/>\n', ""), SERVICE,
     "{p}:2: n1 is not connected to the first node of the file"),
    ("an empty file", "", SERVICE, "{p}:1: "),
    ("an empty file of services", PLATFORM, "", "{s}:1: "),
    ("1e308", PLATFORM.replace('cpu="8"', 'cpu="1e308"'), SERVICE, '{p}:3: cpu is "1e308"'),
    ("infinity", PLATFORM, SERVICE.replace('to="x" bandwidth="10"', 'to="x" bandwidth="inf"'), '{s}:6: bandwidth is "inf"'),
    ("services without servers", '<platform><io id="n0"/><io id="n1"/><link a="n0" b="n1" bandwidth="1" delay="1"/></platform>',
     SERVICE, "no server can take any of the 1 modules"),
]

# what it is, what to change in SERVICE, words of the proof
PROVEN = [
    ("more cores than there are", ('cpu="1"', 'cpu="9"'), "ask for 9 cores"),
    ("more memory than there is", ('mem="2"', 'mem="2049"'), "ask for 2049 MB"),
    ("a bound below the shortest way", ('bound="4"', 'bound="3"'), "a delay of at least 4"),
    ("more traffic than a port takes", ('to="x" bandwidth="10"', 'to="x" bandwidth="1001"'), "1001 Mbit/s must come in to servers"),
]

tests = failures = 0


def report(right, name, *details):
    global tests, failures
    tests += 1
    failures += not right
    print(f"{'' if right else 'not '}ok {tests} - {name}")
    if not right:
        for detail in details:
            print("#   " + str(detail).replace("\n", "\n#   "))


def skip(name, why):
    global tests
    tests += 1
    print(f"ok {tests} - {name} # SKIP {why}")


class Bench:
    """A folder with an instance, and the program under test."""

    def __init__(self, program, judge, folder):
        self.program, self.judge = program, judge
        self.p, self.s, self.o = (os.path.join(folder, n) for n in ("p.xml", "s.xml", "o.xml"))

    def write(self, platform, services):
        for path, text in ((self.p, platform), (self.s, services)):
            with open(path, "w") as f:
                f.write(text)
        if os.path.exists(self.o):
            os.unlink(self.o)

    def run(self, *more):
        return subprocess.run([self.program, "--platform", self.p, "--services", self.s, "--output", self.o, *more],
                              capture_output=True, text=True, timeout=120)

    def script(self, name, *args):
        return subprocess.run([sys.executable, os.path.join(self.judge, name), *args], capture_output=True, text=True)


def refusals(bench):
    for name, platform, services, message in REFUSED:
        bench.write(platform, services)
        got = bench.run()
        message = message.format(p=bench.p, s=bench.s)
        report(got.returncode == 2 and got.stderr.startswith(message) and not got.stdout and not os.path.exists(bench.o),
               f"refused: {name}", got, "wanted: " + message)


def outcomes(bench):
    bench.write(PLATFORM, SERVICE)
    got = bench.run()
    report(got.returncode == 0 and json.loads(got.stdout)["feasible"] and os.path.exists(bench.o), "met: exit 0", got)
    answer = json.loads(got.stdout)
    report([answer[k] for k in ("service_delay", "approximate_delay", "typical_delay", "average_link_use")] == [4, 4, 4, 0.0367],
           "the delays of 3.2.1 and the mean use of links", got)
    report(os.listdir(os.path.dirname(bench.o)).__len__() == 3, "no other file is left", os.listdir(os.path.dirname(bench.o)))
    bench.write(PLATFORM, SERVICE.replace('bound="4"', 'bound="3"'))
    got = bench.run()
    answer = json.loads(got.stdout)
    report(got.returncode in (1, 3) and answer["delay"] == 1 and answer["late_paths"] == 1 and os.path.exists(bench.o),
           "broken: exit 1 or 3, with a solution", got)
    second = SERVER.replace("h1", "h2").replace('cpu="8"', 'cpu="1"') + '<link a="h2" b="t" bandwidth="100" delay="1"/>'
    bench.write(PLATFORM.replace('cpu="8"', 'cpu="3"').replace("</platform>", second + "</platform>"),
                SERVICE.replace("<sink", '<pm id="y" cpu="3" mem="2"/><link from="x" to="y" bandwidth="1"/><sink'))
    got = bench.run()
    report(got.returncode == 0, "a module moves on when the next fits nowhere", got)
    for name, change, words in PROVEN:
        bench.write(PLATFORM, SERVICE.replace(*change))
        got = bench.run()
        report(got.returncode == 3 and words in json.loads(got.stdout)["proof"] and os.path.exists(bench.o),
               f"proven: {name}", got)
    for name, args in (("an unknown option", ["--colour"]), ("an unknown algorithm", ["--algorithm", "magic"]),
                       ("an unknown objective", ["--objective", "magic"]), ("no threads", ["--threads", "0"]),
                       ("paths of a third kind", ["--paths", "both"]), ("a seed that is no number", ["--seed", "x"]),
                       ("a time limit of nothing", ["--time-limit", "0"])):
        got = bench.run(*args)
        report(got.returncode == 2 and got.stderr and not got.stdout, f"refused: {name}", got)
    got = bench.run("--output", "/nonexistent/o.xml")
    report(got.returncode == 2 and "/nonexistent/o.xml: cannot be written" in got.stderr, "refused: no place for the output", got)
    for option in ("--help", "--version"):
        got = subprocess.run([bench.program, option], capture_output=True, text=True)
        report(got.returncode == 0 and "flowstream-alloc" in got.stdout, option, got)


def judged(bench, instance, *options):
    """Make INSTANCE, solve it, and compare what we say with what the checker says."""
    made = bench.script("make_instance.py", *instance, "--platform", bench.p, "--services", bench.s)
    for paths in ("pair", "link"):
        got = bench.run("--paths", paths, *options)
        said = bench.script("check_solution.py", "--paths", paths, bench.p, bench.s, bench.o)
        name = f"judged alike: {' '.join(instance + options)}, a path a {paths}"
        try:
            ours, theirs = json.loads(got.stdout), json.loads(said.stdout)
        except ValueError:
            report(False, name, made, got, said)
            continue
        differ = [k for k in COUNTED if k not in theirs or abs(ours[k] - theirs[k]) > 1e-6]
        report(not differ and (got.returncode == 0) == (said.returncode == 0), name, differ, got.stdout, said.stdout)


def instances(bench):
    if not os.path.exists(os.path.join(bench.judge, "check_solution.py")):
        skip("judged by the checker", f"no check_solution.py in {bench.judge}")
        return
    for count in ("10", "11", "12"):
        judged(bench, ("basic", count))
        judged(bench, ("basic", count), "--algorithm", "greedy-racks")
    judged(bench, ("basic", "14", "--vary", "0.3"), "--time-limit", "0.000001")
    for seed in ("1", "2", "3"):
        judged(bench, ("large", "100", "--scale", "0.1", "--vary", "0.2", "--seed", seed))
    judged(bench, ("large", "320", "--scale", "0.1", "--vary", "0.2"), "--algorithm", "greedy-racks")
    judged(bench, ("large", "30", "--scale", "0.1", "--delay", "9"))
    for options in (("--algorithm", "tabu"), ("--algorithm", "greedy"), ("--threads", "4")):
        judged(bench, ("basic", "12", "--vary", "0.2"), *options)
    judged(bench, ("basic", "1"), "--algorithm", "exact", "--time-limit", "300")
    proofs_of_delay(bench)
    large_proofs(bench)
    objectives(bench)
    traces(bench)
    repeatable(bench)


def proofs_of_delay(bench):
    """The large platform's bounds: 10 cannot be met, since a type of service needs two servers, and 11 can."""
    for bound, status in (("9", 3), ("10", 3), ("11", 0)):
        bench.script("make_instance.py", "large", "5", "--scale", "0.1", "--delay", bound,
                     "--platform", bench.p, "--services", bench.s)
        got = bench.run()
        report(got.returncode == status and ("proof" in json.loads(got.stdout)) == (status == 3),
               f"a bound of {bound}: exit {status}", got)


def large_proofs(bench):
    """What no solution can do better than is said, and reached: lateness with a bound of 10, I/O links with this seed; and basic 13."""
    for instance, kind in ((("large", "60", "--scale", "0.1", "--delay", "10"), "delay"),
                           (("large", "1500", "--scale", "0.5", "--delay", "12", "--seed", "5"), "bandwidth")):
        bench.script("make_instance.py", *instance, "--platform", bench.p, "--services", bench.s)
        got = bench.run()
        answer = json.loads(got.stdout)
        others = [k for k in ("cpu", "mem", "bandwidth", "delay") if k != kind and answer[k]]
        report(got.returncode == 3 and not others and abs(answer["least"][kind] - answer[kind]) < 1e-6,
               f"the least {kind} that is possible is proven and reached: {' '.join(instance)}", got)
    bench.script("make_instance.py", "basic", "13", "--platform", bench.p, "--services", bench.s)
    got = bench.run()
    report(got.returncode == 3 and "ask for 321.1 cores" in json.loads(got.stdout)["proof"], "basic 13: too many cores are asked for", got)


def objectives(bench):
    """Each objective is better served when it is asked for than when nothing is, and limits are met all the same."""
    bench.script("make_instance.py", "large", "60", "--scale", "0.1", "--platform", bench.p, "--services", bench.s)
    plain, answers = json.loads(bench.run().stdout), {}
    for name in ("delay", "bandwidth", "servers", "spread"):
        got = bench.run("--objective", name)
        answers[name] = json.loads(got.stdout)
        said = bench.script("check_solution.py", bench.p, bench.s, bench.o)
        report(got.returncode == 0 and said.returncode == 0, f"limits are met with the objective {name}", got, said)
    report(answers["servers"]["servers_used"] < 0.9 * plain["servers_used"], "the objective servers switches servers off", plain, answers)
    report(answers["spread"]["servers_used"] > plain["servers_used"], "the objective spread takes more servers", plain, answers)
    report(answers["bandwidth"]["max_link_use"] <= plain["max_link_use"], "the objective bandwidth does not fill links more", plain, answers)


def traces(bench):
    """A trace is a table or a plot; nothing is left where it cannot be written."""
    bench.script("make_instance.py", "basic", "12", "--vary", "0.3", "--platform", bench.p, "--services", bench.s)
    csv, svg = bench.o + ".csv", bench.o + ".svg"
    bench.run("--algorithm", "tabu", "--steps", "500", "--trace", csv)
    bench.run("--algorithm", "tabu", "--steps", "500", "--trace", svg)
    with open(csv) as f:
        lines = f.read().splitlines()
    report(lines[0] == "seconds,steps,cpu,mem,bandwidth,delay" and len(lines) > 1, "a trace as CSV", lines[:3])
    with open(svg) as f:
        report("<polyline" in f.read(), "a trace as a plot")
    os.unlink(csv)
    os.unlink(svg)


def repeatable(bench):
    bench.script("make_instance.py", "large", "60", "--scale", "0.1", "--vary", "0.5", "--platform", bench.p, "--services", bench.s)
    for options in (("--algorithm", "greedy"), ("--algorithm", "tabu", "--steps", "300"), ("--threads", "3", "--steps", "300")):
        solutions = []
        for seed in ("5", "5", "6"):
            bench.run("--seed", seed, *options)
            with open(bench.o) as f:
                solutions.append(f.read())
        report(solutions[0] == solutions[1], f"equal seeds give equal solutions: {' '.join(options)}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", default=os.path.join(SOURCE, "build", "bin", "flowstream-alloc"))
    ap.add_argument("--judge", default=os.path.join(SOURCE, "..", "shared", "alloc"))
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(a.program, a.judge, folder)
        refusals(bench)
        outcomes(bench)
        instances(bench)
    print(f"1..{tests}")
    return failures != 0


sys.exit(main())
