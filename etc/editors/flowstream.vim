" Vim syntax file of allocation requests of Flowstream.
" Made by lang/make-syntax.py from lang/keywords.def: change those.
if exists("b:current_syntax")
  finish
endif
syn region flowComment start="//" start="#" end="$" keepend
syn region flowComment start="/\*" end="\*/"
syn match flowEscape contained +\\[\\"$nt]+
syn match flowParameter "\$\h\w*\|\${\h\w*}"
syn region flowString start=+"+ skip=+\\.\|\\$+ end=+"+ oneline contains=flowEscape,flowParameter
syn match flowHeader "^\s*\%(BASESYS\|ISOLATE\|PRIORITY\|NAME\|CPU\|MEM\|HOSTS\|AVOID\|INSTANCES\|RATE\|DELAY\)\ze\s*="
syn match flowWord "^\s*\%(request\|part\|include\|delay\)\ze\s\+[A-Za-z_\"]"
syn match flowProperty "\<\%(cpu\|mem\|hosts\|avoid\|instances\|isolate\|rate\)\ze\s*=" contained
syn match flowNumber "\<\d[0-9.]*\%([A-Za-z]\+\)\?"
syn region flowProperties start="{\ze\s*\l\+\s*=" end="}" contains=flowProperty,flowNumber,flowString,flowParameter,flowComment
syn match flowType "\<\h\w*\ze\s*("
syn match flowType "\%(::\s*\)\@<=\h\w*"
syn keyword flowBuiltIn FromNet ToNet
syn keyword flowPorts input output
syn match flowOperator "->\|::\|<"
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
