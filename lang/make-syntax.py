#!/usr/bin/python3
"""Makes the syntax files for editors from lang/keywords.def: etc/editors/flowstream.vim and flowstream.tmLanguage.json.

usage: make-syntax.py [--check]

--check writes nothing and fails where a file is not what it would be."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "etc" / "editors"
ORIGIN = "Made by lang/make-syntax.py from lang/keywords.def: change those."
BUILT_IN = ("FromNet", "ToNet")


def rows(kind):
    """The first column of the rows of one kind."""
    table = (ROOT / "lang" / "keywords.def").read_text()
    return re.findall(rf"^{kind}\((\w+),", table, re.M)


def alternatives(kind):
    return r"\|".join(rows(kind))


def vim():
    return f"""" Vim syntax file of allocation requests of Flowstream.
" {ORIGIN}
if exists("b:current_syntax")
  finish
endif
syn region flowComment start="//" start="#" end="$" keepend
syn region flowComment start="/\\*" end="\\*/"
syn match flowEscape contained +\\\\[\\\\"$nt]+
syn match flowParameter "\\$\\h\\w*\\|\\${{\\h\\w*}}"
syn region flowString start=+"+ skip=+\\\\.\\|\\\\$+ end=+"+ oneline contains=flowEscape,flowParameter
syn match flowHeader "^\\s*\\%({alternatives('KEYWORD')}\\)\\ze\\s*="
syn match flowWord "^\\s*\\%({alternatives('WORD')}\\)\\ze\\s\\+[A-Za-z_\\"]"
syn match flowProperty "\\<\\%({alternatives('PROPERTY')}\\)\\ze\\s*=" contained
syn match flowNumber "\\<\\d[0-9.]*\\%([A-Za-z]\\+\\)\\?"
syn region flowProperties start="{{\\ze\\s*\\l\\+\\s*=" end="}}" contains=flowProperty,flowNumber,flowString,flowParameter,flowComment
syn match flowType "\\<\\h\\w*\\ze\\s*("
syn match flowType "\\%(::\\s*\\)\\@<=\\h\\w*"
syn keyword flowBuiltIn {' '.join(BUILT_IN)}
syn keyword flowPorts input output
syn match flowOperator "->\\|::\\|<"
hi def link flowComment Comment
hi def link flowEscape SpecialChar
hi def link flowParameter Identifier
hi def link flowString String
hi def link flowHeader PreProc
hi def link flowWord Statement
hi def link flowProperty Label
hi def link flowNumber Number
hi def link flowType Type
hi def link flowBuiltIn Keyword
hi def link flowPorts Special
hi def link flowOperator Operator
let b:current_syntax = "flowstream"
"""


def textmate():
    parameter = {"name": "variable.parameter.flowstream", "match": r"\$[A-Za-z_]\w*|\$\{[A-Za-z_]\w*\}"}
    string = {"name": "string.quoted.double.flowstream", "begin": '"', "end": '"',
              "patterns": [{"name": "constant.character.escape.flowstream", "match": r"\\."}, parameter]}
    comments = [{"name": "comment.line.flowstream", "match": r"(//|#).*$"},
                {"name": "comment.block.flowstream", "begin": r"/\*", "end": r"\*/"}]
    patterns = [
        *comments, string, parameter,
        {"name": "keyword.other.header.flowstream", "match": rf"^\s*({'|'.join(rows('KEYWORD'))})(?=\s*=)"},
        {"name": "keyword.control.flowstream", "match": rf"^\s*({'|'.join(rows('WORD'))})(?=\s+[A-Za-z_\"])"},
        {"name": "support.constant.property.flowstream", "match": rf"\b({'|'.join(rows('PROPERTY'))})(?=\s*=)"},
        {"name": "keyword.other.flowstream", "match": rf"\b({'|'.join(BUILT_IN)})\b"},
        {"name": "variable.language.flowstream", "match": r"\b(input|output)\b"},
        {"name": "entity.name.type.flowstream", "match": r"\b[A-Za-z_]\w*(?=\s*\()|(?<=::)\s*[A-Za-z_]\w*"},
        {"name": "constant.numeric.flowstream", "match": r"\b\d[0-9.]*([A-Za-z]+)?"},
        {"name": "keyword.operator.flowstream", "match": r"->|::|<"},
    ]
    grammar = {"comment": ORIGIN, "name": "Flowstream request", "scopeName": "source.flowstream", "fileTypes": ["flow"], "patterns": patterns}
    return json.dumps(grammar, indent=2) + "\n"


def main():
    wrong = 0
    for name, text in (("flowstream.vim", vim()), ("flowstream.tmLanguage.json", textmate())):
        path = FOLDER / name
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path.relative_to(ROOT)} is not made from lang/keywords.def as it is: run lang/make-syntax.py", file=sys.stderr)
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
