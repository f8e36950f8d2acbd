#!/usr/bin/python3
"""How much of the language the corpus of its fuzz target reaches: lines and branches of each file, and which branches it never takes.

usage: bench/lang/coverage.py [--seconds N] [--all] [--keep FOLDER] [FILE.flow ...]

Builds the fuzz target with clang's own coverage in a folder of its own and runs the corpus through it once, and the FILEs, as they are; with --seconds
it fuzzes so long first and says which inputs of those that it found would add something.  A branch is a condition that was never true, or never false.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("FLOWSTREAM_BUILD", "build")).resolve()
SHOWN = ("lexer.c", "parser.c", "parser_elements.c")  # whose branches are listed, unless all are wanted


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, **more)
    if done.returncode:
        sys.exit(f"{command[0]} ended with status {done.returncode}\n{done.stderr[-2000:]}")
    return done


def build(folder):
    sources = [str(path) for path in sorted((ROOT / "lang").glob("*.c")) if path.name not in ("main.c", "files.c", "types.c")] + [str(ROOT / "core" / "suggest.c")]
    run("clang-14", "-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-fsanitize=fuzzer", "-fprofile-instr-generate", "-fcoverage-mapping", f"-I{ROOT}", f"-I{ROOT}/include", f"-I{BUILD}",
        "-o", f"{folder}/target", str(ROOT / "tests" / "fuzz" / "fuzz_lang.c"), *sources)


def measure(folder, inputs):
    profile = {**os.environ, "LLVM_PROFILE_FILE": f"{folder}/raw"}
    done = run(f"{folder}/target", "-runs=0", "-max_len=1048576", str(inputs), env=profile)
    run("llvm-profdata-14", "merge", "-o", f"{folder}/data", f"{folder}/raw")
    exported = run("llvm-cov-14", "export", f"{folder}/target", f"-instr-profile={folder}/data").stdout
    return json.loads(exported)["data"][0]["files"], done.stderr.splitlines()[-1]


def table(files):
    print(f"{'file':<16} {'lines':>6} {'hit':>7} {'branches':>9} {'taken':>7}")
    total = {"lines": [0, 0], "branches": [0, 0]}
    for file in files:
        parts = {kind: (file["summary"][kind]["count"], file["summary"][kind]["covered"]) for kind in total}
        for kind, (count, covered) in parts.items():
            total[kind] = [total[kind][0] + count, total[kind][1] + covered]
        row(Path(file["filename"]).name, parts)
    row("all", total)


def row(name, parts):
    def percent(count, covered):
        return f"{100 * covered / count:.1f} %" if count else "-"
    print(f"{name:<16} {parts['lines'][0]:>6} {percent(*parts['lines']):>7} {parts['branches'][0]:>9} {percent(*parts['branches']):>7}")


def list_missing(files, every):
    for file in files:
        path = Path(file["filename"])
        if not every and path.name not in SHOWN:
            continue
        lines = path.read_text().splitlines()
        for line, column, end_line, end_column, true, false, *_ in file["branches"]:
            if not true or not false:
                text = lines[line - 1][column - 1:end_column - 1 if end_line == line else None]
                print(f"{path.name}:{line}: {'never true' if not true else 'never false'}: {text.strip()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=0, metavar="N", help="fuzz so long first")
    parser.add_argument("--all", action="store_true", help="list the branches of all files, not only of lexer and parser")
    parser.add_argument("--keep", metavar="FOLDER", help="keep there what the fuzzer has found to add something")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    if not all(map(shutil.which, ("clang-14", "llvm-cov-14", "llvm-profdata-14"))):
        print("clang-14, llvm-cov-14 and llvm-profdata-14 are needed: apt install clang-14 llvm-14")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = folder / "inputs"
        shutil.copytree(ROOT / "tests" / "fuzz" / "corpus" / "lang", inputs)
        for i, file in enumerate(options.files):
            shutil.copy(file, inputs / f"given-{i}")
        build(folder)
        if options.seconds:
            before = set(inputs.iterdir())
            fuzzed = run(f"{folder}/target", f"-max_total_time={options.seconds}", f"-dict={ROOT}/tests/fuzz/lang.dict", "-max_len=4096", str(inputs), cwd=folder)
            print(fuzzed.stderr.splitlines()[-1])
            for path in set(inputs.iterdir()) - before if options.keep else ():
                shutil.copy(path, options.keep)
        files, said = measure(folder, inputs)
        print(said)
        files = [file for file in files if ("/lang/" in file["filename"] or "/core/suggest.c" in file["filename"]) and "/tests/" not in file["filename"]]
        list_missing(files, options.all)
        table(files)
    return 0


sys.exit(main())
