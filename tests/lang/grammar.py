#!/usr/bin/python3
"""The grammar in docs/language.md is the parser's: it is the one in the parser's opening comment, requests made from it by chance are taken by
'flowstream-lang format', and it derives every example. The syntax files for editors are those that the table of keywords makes.

usage: grammar.py FLOWSTREAM-LANG"""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(sys.argv[1]).resolve())
SENTENCES = 400
CHANGES = 300
n = failed = 0


def result(good, name, detail=""):
    global n, failed
    n += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {n} - {name}")
    if not good:
        print("".join(f"# {line}\n" for line in str(detail).splitlines()), end="")


# ---- EBNF: a rule is ("any" | "all" | "many" | "maybe", parts), ("word", text) or ("rule", name). ----


def parse_rules(text):
    tokens = re.findall(r'"[^"]*"|\w+|[=;|{}()\[\]]', text)
    rules = {}

    def alternatives(end):
        found = [[]]
        while tokens[0] not in end:
            token = tokens.pop(0)
            if token == "|":
                found.append([])
            elif token in "([{":
                inner = alternatives(")]}")
                tokens.pop(0)
                found[-1].append({"(": inner, "[": ("maybe", [inner]), "{": ("many", [inner])}[token])
            else:
                found[-1].append(("word", token[1:-1]) if token[0] == '"' else ("rule", token))
        return ("any", [("all", parts) for parts in found])

    while tokens:
        name = tokens.pop(0)
        tokens.pop(0)
        rules[name] = alternatives(";")
        tokens.pop(0)
    return rules


# ---- Requests by chance. ----


class Maker:
    def __init__(self, rules, seed):
        self.rules, self.chance = rules, random.Random(seed)

    def terminal(self, name):
        chance = self.chance
        return {"Name": lambda: chance.choice(["a", "fw", "B_2", "part", "request", "delay", "include", "input", "_"]),
                "parameter": lambda: chance.choice(["$p", "$_x1"]), "number": lambda: str(chance.randrange(70)),
                "string": lambda: chance.choice(['""', '"a b"', r'"\"\\ \$x\n"', '"$p ${q}"', '"{;->}"']),
                "value": lambda: chance.choice(["x", "10Mbps", "h1|h2", '"quoted"', "0.5"]), "end": lambda: chance.choice(["\n", "\n\n", ";", " // c\n"])}[name]()

    def make(self, rule, depth=0):
        kind, what = rule
        if kind == "word":
            return what
        if kind == "rule":
            return self.terminal(what) if what not in self.rules else self.made(what, depth)
        if kind == "all":
            return " ".join(self.make(part, depth) for part in what)
        if kind == "any":
            return self.make(self.chance.choice(what), depth)
        times = self.chance.randrange(2) if kind == "maybe" else self.chance.choice([0, 0, 1, 2, 3])
        return " ".join(self.make(what[0], depth) for _ in range(times))

    def made(self, name, depth):
        """What the EBNF leaves to the text beside it: blocks do not nest, and hold no includes; headers come first and not in parts."""
        if name == "statement":
            name = self.chance.choice(("include", "block", "variable", "delay", "chain") if depth == 0 else ("chain",))
        return 'include "a"' if name == "include" else self.make(self.rules[name], depth + 1)


def check_made(rules):
    bad = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.flow"
        for seed in range(SENTENCES):
            maker = Maker(rules, seed)
            headers = "".join(maker.made("header", 9) + "\n" for _ in range(maker.chance.randrange(3)))
            body = "".join(maker.made("statement", 0) + maker.terminal("end") for _ in range(6))
            path.write_text(headers + body)
            done = subprocess.run([PROGRAM, "format", str(path)], capture_output=True, text=True)
            if done.returncode:
                bad.append(f"seed {seed}:\n{headers + body}\n{done.stderr}")
    result(not bad, f"{SENTENCES} requests made from the grammar are taken by the parser", "\n".join(bad[:3]))


# ---- Reading the examples: all ways at once, by position. ----

TERMINALS = {"Name": r"[A-Za-z_]\w*", "parameter": r"\$[A-Za-z_]\w*", "number": r"\d[\w.]*", "string": r'"(\\(.|\n)|[^"\\\n])*"',
             "value": r'"(\\(.|\n)|[^"\\\n])*"|[^\s;,{}()"]*', "end": r"[ \t\n]*(\n|;|(?=\})|\Z)"}
BLANK = re.compile(r"\s*")


class Reader:
    def __init__(self, rules, text):
        self.rules, self.text, self.known = rules, text, {}

    def ends(self, rule, at):
        kind, what = rule
        if kind == "word":
            start = BLANK.match(self.text, at).end()
            good = self.text.startswith(what, start) and not (what[-1].isalpha() and re.match(r"\w", self.text[start + len(what):]))
            return {start + len(what)} if good else set()
        if kind == "rule" and what not in self.rules:
            start = at if what == "end" else BLANK.match(self.text, at).end()
            found = re.compile(TERMINALS[what]).match(self.text, start)
            return {found.end()} if found else set()
        if kind == "rule" and what in ("header", "variable"):
            return self.assignment(BLANK.match(self.text, at).end())
        if kind == "rule":
            if (what, at) not in self.known:
                self.known[what, at] = set()
                self.known[what, at] = self.ends(self.rules[what], at)
            return self.known[what, at]
        if kind == "any":
            return set().union(*(self.ends(part, at) for part in what))
        if kind == "all":
            places = {at}
            for part in what:
                places = set().union(*(self.ends(part, place) for place in places))
            return places
        places = new = {at}
        while new:
            new = set().union(*(self.ends(what[0], place) for place in new)) - places
            places = places | new
            if kind == "maybe":
                break
        return places

    def assignment(self, start):
        """A value at the beginning of a statement goes up to the end of the line, as the text beside the grammar says."""
        begun = re.compile(r"\$?[A-Za-z_]\w*[ \t]*=[ \t]*").match(self.text, start)
        if not begun:
            return set()
        quoted = re.compile(TERMINALS["string"]).match(self.text, begun.end())
        line_end = self.text.find("\n", begun.end()) % (len(self.text) + 1)
        return {at for at in range(begun.end(), line_end + 1) if at == line_end or self.text[at] in ";}"} | ({quoted.end()} if quoted else set())


def derives(rules, text):
    text = re.sub(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|#[^\n]*|/\*.*?\*/', lambda m: m.group(1) or "", text, flags=re.S)
    text = re.sub(r"^\s+", "", text)
    return any(not text[end:].strip() for end in Reader(rules, text).ends(("rule", "text"), 0))


def check_examples(rules):
    for example in sorted([*(ROOT / "examples").rglob("*.flow"), *(ROOT / "tests" / "lang").glob("*.flow")]):
        done = subprocess.run([PROGRAM, "format", str(example)], capture_output=True, text=True)
        if done.returncode == 0 and "header" not in example.stem:
            result(derives(rules, done.stdout), f"the grammar derives {example.relative_to(ROOT)}", done.stdout)
    for wrong in ("a ->\n", "a :: \n", "a b\n", "a -> b {cpu=1\n", "delay a < 5ms\n", 'include x y\n', "[0] [1] a\n"):
        result(not derives(rules, wrong), f"the grammar does not derive {wrong.strip()!r}")


def changed(text, chance):
    """The text with a few of its words left out, doubled, changed over or taken from elsewhere in it."""
    words = re.findall(r'"(?:\\.|[^"\\\n])*"|\w+|->|::|//[^\n]*|[^\S\n]+|.|\n', text)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(words))
        words[at:at + 1] = chance.choice(([], [words[at]] * 2, [chance.choice(words)], [words[at], chance.choice(["->", "::", "{", "}", "[", "]", "(", ")", ",", "=", ";", "<", "$p", "a", "1", '"x"', "\n"])]))
    return "".join(words)


def check_changed(rules):
    """The parser takes nothing that the grammar does not derive, from what examples become by chance."""
    seed = int(os.environ.get("FLOWSTREAM_TEST_SEED", time.time()))
    print(f"# FLOWSTREAM_TEST_SEED={seed}")
    chance, bad, taken = random.Random(seed), [], 0
    examples = [path.read_text() for path in sorted((ROOT / "examples").glob("*.flow")) + [ROOT / "tests" / "lang" / "needs.flow", ROOT / "tests" / "lang" / "parts.flow"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "changed.flow"
        for _ in range(CHANGES):
            path.write_text(changed(chance.choice(examples), chance))
            done = subprocess.run([PROGRAM, "format", str(path)], capture_output=True, text=True)
            taken += done.returncode == 0
            if done.returncode == 0 and not derives(rules, done.stdout):
                bad.append(f"{path.read_text()}---\n{done.stdout}")
    result(not bad and taken, f"of {CHANGES} changed examples the parser takes {taken}, each of which the grammar derives", "\n".join(bad[:3]))


def check_editors():
    done = subprocess.run([sys.executable, str(ROOT / "lang" / "make-syntax.py"), "--check"], capture_output=True, text=True)
    result(done.returncode == 0, "the syntax files for editors are made from the keywords as they are", done.stderr)
    if not shutil.which("vim"):
        print(f"ok {n + 1} - vim takes its syntax file # SKIP there is no vim")
        return True
    places = {(1, 1): "flowHeader", (2, 4): "flowType", (3, 7): "flowBuiltIn", (3, 16): "flowString", (4, 20): "flowProperty", (5, 1): "flowWord", (6, 1): "flowComment"}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.flow").write_text('CPU=1\nc::Counter\nft :: FromNet("ip")\nft -> f :: Fw("") {cpu=1} -> c\ndelay a -> b < 5ms\n// end\n')
        (Path(folder) / "ask.vim").write_text("syntax on\n" + f"source {ROOT}/etc/editors/flowstream.vim\n" + "".join(
            f"call writefile([synIDattr(synID({line}, {column}, 1), 'name')], '{folder}/out', 'a')\n" for line, column in places) + "qa!\n")
        subprocess.run(["vim", "-es", "-u", "NONE", "-N", f"{folder}/x.flow", "-S", f"{folder}/ask.vim"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        out = Path(folder) / "out"
        if "+syntax" not in subprocess.run(["vim", "--version"], capture_output=True, text=True).stdout:
            print(f"ok {n + 1} - vim takes its syntax file # SKIP this vim is built without syntax")
            return True
        result(out.exists() and out.read_text().split("\n")[:-1] == list(places.values()), "vim takes its syntax file", out.read_text() if out.exists() else "no answer")
    return False


def main():
    ebnf = re.search(r"^```ebnf\n(.*?)^```", (ROOT / "docs" / "language.md").read_text(), re.M | re.S).group(1)
    comment = "\n".join(re.findall(r"^ \*     (\w+ += .*;)$", (ROOT / "lang" / "parser.c").read_text(), re.M)) + "\n"
    result(ebnf == comment, "docs/language.md has the grammar that the parser says", f"{ebnf}---\n{comment}")
    rules = parse_rules(ebnf)
    check_made(rules)
    check_examples(rules)
    check_changed(rules)
    skipped = check_editors()
    print(f"1..{n + skipped}")
    return failed > 0


sys.exit(main())
