#!/usr/bin/python3
"""flowstream-alloc beside what a user would take instead on small instances: mixed integer solvers on a model of the same problem, and first-fit.

usage: bench/alloc/peers.py [--seconds N] [--sets K,K,...] [--judge FOLDER] [--npm FOLDER] [--growth FILE.svg]

The instances are K services of each type on one switch with just so many servers (93 % full), where ways are given, so that the model is
short: a 0-1 variable a module and server, one a link and server for "both ends here", and what exceeds cores, memory and server links is made
least. Solvers that are not there are left out and named: glpsol (package glpk-utils), cbc (coinor-cbc), HiGHS (npm package highs in FOLDER/node_modules, run by node). Seconds are
wall time of the whole program, 'cpu' that of the processor. Nothing fails because a machine is slow.

--growth draws the processor time of flowstream-alloc against the number of servers, for 2,000 services on as many servers up to 10,000 on 10,000.
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from run import BUILD, ROOT, exceeded, measured  # noqa: E402

HIGHS = """
const fs = require('fs');
require('highs')().then(h => {
  const r = h.solve(fs.readFileSync(process.argv[1], 'utf8'), {time_limit: Number(process.argv[2])});
  console.log(JSON.stringify({status: r.Status, value: r.ObjectiveValue}));
});
"""


def read(p, s):
    """Servers as (id, cores, MB, Mbit/s), modules as (name, cores, MB), links as (from, to, rate) where None is a port."""
    platform, services = ET.parse(p).getroot(), ET.parse(s).getroot()
    wire = {e.get("a"): float(e.get("bandwidth")) for e in platform.iter("link")}
    servers = [(e.get("id"), float(e.get("cpu")), float(e.get("mem")), wire[e.get("id")]) for e in platform.iter("server")]
    modules, links = [], []
    for service in services.iter("service"):
        here = {}
        for e in service.iter("pm"):
            here[e.get("id")] = len(modules)
            modules.append((float(e.get("cpu")), float(e.get("mem"))))
        links += [(here.get(e.get("from")), here.get(e.get("to")), float(e.get("bandwidth"))) for e in service.iter("link")]
    return servers, modules, links


def write_model(path, servers, modules, links):
    """The problem in the LP format that all solvers read."""
    every, rows = range(len(servers)), []
    inner = [(n, a, b, r) for n, (a, b, r) in enumerate(links) if a is not None and b is not None]
    rows += [" + ".join(f"x{g}_{s}" for s in every) + " = 1" for g in range(len(modules))]
    for s, (_, cpu, mem, wire) in enumerate(servers):
        rows.append(" + ".join(f"{c:g} x{g}_{s}" for g, (c, _) in enumerate(modules)) + f" - c{s} <= {cpu:g}")
        rows.append(" + ".join(f"{m:g} x{g}_{s}" for g, (_, m) in enumerate(modules)) + f" - m{s} <= {mem:g}")
        for side, what in ((0, "u"), (1, "d")):
            rates = {}    # a module may have several links, and a variable may stand in a row but once
            for link in links:
                if link[side] is not None:
                    rates[link[side]] = rates.get(link[side], 0) + link[2]
            rows.append(" + ".join(f"{rate:g} x{g}_{s}" for g, rate in rates.items()) + "".join(f" - {r:g} w{n}_{s}" for n, a, b, r in inner) + f" - {what}{s} <= {wire:g}")
        rows += [f"w{n}_{s} - x{g}_{s} <= 0" for n, a, b, _ in inner for g in (a, b)]
    with open(path, "w") as f:
        f.write("Minimize\n o: " + " + ".join(f"100 c{s} + m{s} + u{s} + d{s}" for s in every) + "\nSubject To\n")
        f.writelines(f" r{n}: {row}\n" for n, row in enumerate(rows))
        f.write("Bounds\n" + "".join(f" w{n}_{s} <= 1\n" for n, *_ in inner for s in every))
        f.write("Binary\n" + "".join(f" x{g}_{s}\n" for g in range(len(modules)) for s in every) + "End\n")


def first_fit(servers, modules):
    """Plain first-fit: what exceeds cores and memory."""
    free = [[cpu, mem] for _, cpu, mem, _ in servers]
    for cpu, mem in modules:
        at = next((f for f in free if f[0] >= cpu and f[1] >= mem), None) or max(free, key=lambda f: min(f[0] / 8, f[1] / 2048))
        at[0] -= cpu
        at[1] -= mem
    cpu, mem = (sum(max(0, -f[i]) for f in free) for i in (0, 1))
    return "feasible" if cpu + mem == 0 else f"cpu={cpu:g} mem={mem:g}"


def solvers(model, seconds, npm):
    """name, command or None, and how to read what it says."""
    out = model + ".out"
    yield "GLPK (glpsol)", shutil.which("glpsol") and ["glpsol", "--lp", model, "--tmlim", str(seconds), "-o", out], lambda _: next(
        (line.split("=")[1].split()[0] for line in open(out) if line.startswith("Objective")), "?") if os.path.exists(out) else "none in time"
    yield "CBC", shutil.which("cbc") and ["cbc", model, "-sec", str(seconds), "-solve"], lambda text: next(
        (line.split(":")[1].strip() for line in text.splitlines() if line.startswith("Objective value:")), "none in time")
    there = shutil.which("node") and npm and os.path.isdir(os.path.join(npm, "node_modules", "highs"))
    yield "HiGHS", there and ["env", f"NODE_PATH={npm}/node_modules", "node", "-e", HIGHS, model, str(seconds)], lambda text: (
        "{value:g} ({status})".format(**json.loads(text)) if text.startswith("{") else "none in time")


def compare(a, judge, folder, sets):
    p, s, o, model = (os.path.join(folder, n) for n in ("p.xml", "s.xml", "o.xml", "model.lp"))
    subprocess.run([sys.executable, judge / "make_instance.py", "basic", str(sets), "--platform", p, "--services", s], check=True)
    n = math.ceil(sets * 24.7 / 8 / 0.93)
    text = open(p).read().splitlines(True)
    with open(p, "w") as f:
        f.writelines(line for line in text if not any(f'"s{i}"' in line for i in range(n, 40)))
    servers, modules, links = read(p, s)
    write_model(model, servers, modules, links)
    title = f"{4 * sets} services, {len(modules)} modules, {n} servers"
    for algorithm in ("pack", "greedy", "tabu", "exact"):
        command = [str(BUILD / "bin" / "flowstream-alloc"), "--platform", p, "--services", s, "--output", o, "--algorithm", algorithm]
        done, wall, cpu = measured(command + (["--time-limit", str(a.seconds)] if algorithm != "greedy" else []))
        told = exceeded(json.loads(done.stdout)) if done.stdout else done.stderr.strip()[:60]
        print(f"{title:<42} {'flowstream-alloc ' + algorithm:<24} {wall:8.3f} {cpu:8.3f}  {told}", flush=True)
    begin = time.process_time()
    told = first_fit(servers, modules)
    print(f"{title:<42} {'first-fit (Python)':<24} {time.process_time() - begin:8.3f} {time.process_time() - begin:8.3f}  {told}")
    for name, command, said in solvers(model, a.seconds, a.npm):
        if not command:
            print(f"{title:<42} {name:<24} SKIP: not installed")
            continue
        done, wall, cpu = measured(command)
        print(f"{title:<42} {name:<24} {wall:8.3f} {cpu:8.3f}  least excess {said(done.stdout)}", flush=True)


def growth(judge, folder, path):
    """Processor time against servers, in logarithms of both."""
    p, s, o = (os.path.join(folder, n) for n in ("p.xml", "s.xml", "o.xml"))
    points = []
    for scale in (0.2, 0.35, 0.5, 0.7, 1.0):
        subprocess.run([sys.executable, judge / "make_instance.py", "large", str(int(2500 * scale)), "--scale", str(scale), "--platform", p,
                        "--services", s], check=True)
        _, _, cpu = measured([str(BUILD / "bin" / "flowstream-alloc"), "--platform", p, "--services", s, "--output", o])
        points.append((int(500 * scale) * 20, cpu))
        print(f"{points[-1][0]:>7} servers, {int(2500 * scale) * 4:>6} services: {cpu:.3f} s of the processor", flush=True)
    (x0, y0), (x1, y1) = points[0], points[-1]
    place = lambda n, t: (60 + 500 * math.log(n / x0) / math.log(x1 / x0), 300 - 240 * math.log(max(t, y0) / y0) / math.log(max(y1 / y0, 1.01)))
    dots = [place(*point) for point in points]
    with open(path, "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360" font-family="sans-serif" font-size="12">\n'
                '<rect width="100%" height="100%" fill="white"/><path d="M60 40V300H600" fill="none" stroke="black"/>\n'
                f'<polyline fill="none" stroke="#1f5fa8" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in dots)}"/>\n')
        f.writelines(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/><text x="{x - 20:.1f}" y="{y - 8:.1f}">{n}: {t:.2f} s</text>\n'
                     for (x, y), (n, t) in zip(dots, points))
        f.write('<text x="60" y="330">servers, and seconds of the processor with reading and writing (logarithms)</text>\n</svg>\n')


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seconds", type=int, default=20, help="limit for each solver")
    ap.add_argument("--sets", default="1,3,12", help="services of each type")
    ap.add_argument("--judge", default=str(ROOT.parent / "shared" / "alloc"))
    ap.add_argument("--npm", default=os.environ.get("FLOWSTREAM_NPM", ""), help="where node_modules/highs is")
    ap.add_argument("--growth", metavar="FILE.svg")
    a = ap.parse_args()
    judge = Path(a.judge) if (Path(a.judge) / "make_instance.py").exists() else ROOT.parents[1] / "shared" / "alloc"
    if not (judge / "make_instance.py").exists():
        print(f"SKIP: no make_instance.py in {judge}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if a.growth:
            growth(judge, folder, a.growth)
            return 0
        print(f"{'instance':<42} {'solver':<24} {'wall s':>8} {'cpu s':>8}")
        for sets in a.sets.split(","):
            compare(a, judge, folder, int(sets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
