# Bash completion of the command flowstream.  Names of daemons, hosts and ports are those of the platform that is up.

_flowstream_record()
{
    local dir=${FLOWSTREAM_DIR:-${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/flowstream}} i
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == --dir ]] && dir=${COMP_WORDS[i + 1]}
    done
    python3 - "${dir:-/run/flowstream}" "$1" 2>/dev/null <<'PYTHON'
import json, sys
print(*json.load(open(sys.argv[1] + "/platform.json"))[sys.argv[2]])
PYTHON
}

_flowstream()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command="" position=0 sub="" i
    local commands="up down start status install plan delete drift gc list show flows pm-info tasks hosts host call url backup restore upgrade versions rollback replay capture"
    local options="--dir --json --debug --help" words=""
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --dir | --platform | --wait | --name | --key | --request | -D | --cpu | --mem | --switch | --kind | --pps | --loop | --count | --seconds | --most | --deadline) ((i++)) ;;
        -*) ;;
        *)
            if [[ -z $command ]]; then
                command=${COMP_WORDS[i]}
            else
                [[ $position == 0 ]] && sub=${COMP_WORDS[i]}
                ((position++))
            fi
            ;;
        esac
    done
    case $prev in
    --dir) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    --platform) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --kind) mapfile -t COMPREPLY < <(compgen -W "task command" -- "$cur"); return ;;
    --wait | --name | --key | --request | -D | --cpu | --mem | --switch | --pps | --loop | --count | --seconds | --most | --deadline) return ;;
    esac
    case $command in
    "") words=$commands options+=" --version" ;;
    up) options+=" --platform --force --fabric-only --unsupervised --quiet" ;;
    down) options+=" --quiet" ;;
    status) options+=" --wait" ;;
    start | tasks | url | call)
        [[ $command == tasks ]] && options+=" --watch"
        [[ $command == call ]] && options+=" --deadline"
        [[ $position == 0 ]] && words=$(_flowstream_record daemons)
        ;;
    install) options+=" -D --request --name --key --wait" ;;
    plan) options+=" -D --request" ;;
    delete) options+=" --force" ;;
    gc) options+=" --dry-run" ;;
    show) options+=" --text --rules --dot --watch" ;;
    flows) options+=" --seconds --most --stop" ;;
    host)
        [[ $position == 0 ]] && words="add drain remove"
        [[ $sub == add ]] && options+=" --cpu --mem --switch"
        [[ $sub == drain ]] && options+=" --undo"
        [[ $sub == remove && $position == 1 ]] && words=$(_flowstream_record hosts)
        ;;
    versions | rollback) [[ $command == rollback ]] && options+=" --version --kind"; [[ $position == 0 ]] && words=$(_flowstream_record daemons) ;;
    upgrade) options+=" --kind --staged --watch"; [[ $position == 0 ]] && words=$(_flowstream_record daemons) ;;
    replay) options+=" --pps --loop --pad"; [[ $position == 0 ]] && words=$(_flowstream_record ports) ;;
    capture) options+=" --count --seconds"; [[ $position == 0 ]] && words=$(_flowstream_record ports) ;;
    esac
    [[ $cur == -* ]] && words=$options
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    case $command:$position in
    install:0 | plan:0 | backup:0 | restore:0 | upgrade:[1-9]* | replay:1 | capture:1) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur") ;;
    esac
}

# A daemon's name may hold a colon (modulehost:h1), which must not break a word.
COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}
complete -o filenames -F _flowstream flowstream
