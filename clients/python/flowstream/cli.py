"""The command flowstream: reads the command line, calls the other modules of the package, prints.

Each subcommand is one function run_NAME(arguments) here that returns the exit status (None is 0) and one entry in parser().
Standard output has the result alone, in words or with --json as one document; progress and reasons go to standard error.
"""

import argparse
import base64
import contextlib
import difflib
import json
import os
import re
import signal
import sys
import time
import xmlrpc.client
from pathlib import Path

from . import __version__, change, embedded, folder, ports, staged, trail, words
from .client import Client
from .errors import BadFile, DaemonDown, Error, NotReady, Refused

DONE, FAILED, WRONG_USAGE = 0, 1, 2


def main(argv=None):
    """Run one command line and return the exit status."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments) or DONE
    except Error as error:
        if arguments.debug:
            raise
        print(f"flowstream: {words.text(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("flowstream: interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # The flush at exit would complain again.
        return FAILED
    except OSError as error:
        if arguments.debug:
            raise
        print(f"flowstream: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return FAILED
    except Exception as error:
        if arguments.debug:
            raise
        print(f"flowstream: internal error: {type(error).__name__}: {error}; --debug shows where", file=sys.stderr)
        return FAILED


def _everywhere():
    """Options before and behind the command.  One parser each: set_defaults() of the one would be the other's default too, and a default behind the command hides what is said before it."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--dir", metavar="DIR", default=argparse.SUPPRESS,
                         help="the platform's folder (default: $FLOWSTREAM_DIR, $XDG_RUNTIME_DIR/flowstream or /run/flowstream)")
    options.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
    options.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error comes from")
    return options


def parser():
    """The whole command line."""
    everywhere = _everywhere()
    top = argparse.ArgumentParser(prog="flowstream", parents=[_everywhere()], allow_abbrev=False,
                                  description="Operate and use a Flowstream platform.",
                                  epilog="'flowstream COMMAND --help' explains a command.  Exit status: 0 done, 1 refused or failed, "
                                         "2 wrong usage.")
    top.add_argument("--version", action="version", version=f"flowstream {__version__}")
    top.set_defaults(dir=None, json=False, debug=False)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def add(name, run, help, to=commands):
        made = to.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", parents=[everywhere], allow_abbrev=False)
        made.set_defaults(run=run)
        return made

    up = add("up", run_up, "make an embedded platform and start its daemons; where one is up, make it what another platform file says")
    up.add_argument("--platform", metavar="FILE", help="the platform file, or the name of one that is installed (default: embedded)")
    up.add_argument("--force", action="store_true", help="where a platform is up: delete the allocations that the new file would cut, instead of refusing it")
    up.add_argument("--fabric-only", action="store_true", help="make switches and ports, but start no daemons")
    up.add_argument("--unsupervised", action="store_true", help="no supervisor: what ends stays so until 'flowstream start'")
    up.add_argument("--quiet", action="store_true", help="no progress")

    down = add("down", run_down, "take an embedded platform away, whatever state it is in")
    down.add_argument("--quiet", action="store_true", help="no progress")

    start = add("start", run_start, "start again what has ended of an embedded platform")
    start.add_argument("daemon", nargs="?", metavar="DAEMON", help="only this daemon")

    status = add("status", run_status, "say what of the platform runs and answers; exit 0 if all of it does")
    status.add_argument("--wait", metavar="SECONDS", type=_seconds, default=0, help="wait so long for all to be ready")

    install = add("install", run_install, "install an allocation request")
    install.add_argument("file", metavar="FILE", help="the request; - is standard input")
    _add_text_options(install)
    install.add_argument("--name", help="a name of your own for it")
    install.add_argument("--key", help="a word that makes repeating safe: the same key installs once")
    install.add_argument("--wait", metavar="SECONDS", type=_seconds, default=30, help="wait so long for it to be installed (default: 30)")

    plan = add("plan", run_plan, "say what installing a request would do, and do nothing")
    plan.add_argument("file", metavar="FILE", help="the request; - is standard input")
    _add_text_options(plan)

    delete = add("delete", run_delete, "delete an installed request")
    delete.add_argument("id", metavar="ID", type=_id)
    delete.add_argument("--force", action="store_true", help="end also where a host or switch cannot be reached, and say what; it is swept when it comes back")

    add("drift", run_drift, "show how what is there differs from what is wanted; exit 0 when it does not")

    gc = add("gc", run_gc, "remove modules, rules and meters that belong to no request; the platform does so by itself, too")
    gc.add_argument("--dry-run", action="store_true", help="only say what would go")

    add("list", run_list, "list the installed requests")

    show = add("show", run_show, "show an installed request: the way of its packets through modules and hosts, with counts")
    show.add_argument("id", metavar="ID", type=_id)
    show.add_argument("--text", action="store_true", help="the text of the request as well")
    show.add_argument("--rules", action="store_true", help="the rules in the switches as well")
    show.add_argument("--dot", action="store_true", help="as a graph for Graphviz, with counts")
    show.add_argument("--watch", action="store_true", help="again every second, until interrupted")

    flows = add("flows", run_flows, "tell which flows an installed request handles: addresses, ports, packets and bytes of each")
    flows.add_argument("id", metavar="ID", type=_id)
    flows.add_argument("--seconds", metavar="N", type=_seconds, default=2,
                       help="count for so long, where nobody has had them counted before (default: 2)")
    flows.add_argument("--most", metavar="N", type=_natural, default=100, help="tell so many, the largest first (default: 100)")
    flows.add_argument("--stop", action="store_true", help="count them no longer; else that ends a minute after the last time that somebody asked")

    add("pm-info", run_pm_info, "list the module types and what can be read and written of them")

    tasks = add("tasks", run_tasks, "list the tasks of the daemons with version, calls and failures")
    tasks.add_argument("daemon", nargs="?", metavar="DAEMON", help="only this daemon's")
    tasks.add_argument("--watch", action="store_true", help="instead what the task engines do: tasks that wait and run, how many ended and how long it took; "
                                                            "again every second, until interrupted")

    add("hosts", run_hosts, "list the module hosts")

    host = commands.add_parser("host", help="add or remove a module host", description="Add or remove a module host.",
                               parents=[everywhere])
    hosts = host.add_subparsers(title="commands", metavar="COMMAND", dest="host_command", required=True)
    host_add = add("add", run_host_add, "add a module host to an embedded platform", to=hosts)
    host_add.add_argument("name", metavar="NAME")
    host_add.add_argument("--cpu", type=_positive, default=8, help="cores (default: 8)")
    host_add.add_argument("--mem", type=_positive, default=2048, help="MB (default: 2048)")
    host_add.add_argument("--switch", help="the switch it is connected to (default: the first)")
    host_drain = add("drain", run_host_drain, "put no more modules on a module host", to=hosts)
    host_drain.add_argument("name", metavar="NAME")
    host_drain.add_argument("--undo", action="store_true", help="let it take modules again")
    host_remove = add("remove", run_host_remove, "take a module host out of an embedded platform", to=hosts)
    host_remove.add_argument("name", metavar="NAME")

    call = add("call", run_call, "call a method of a daemon and print its value as JSON")
    call.add_argument("daemon", metavar="DAEMON", help="resource, openflow, pm, monitoring, modulehost:NAME or a module host's NAME")
    call.add_argument("method", metavar="METHOD")
    call.add_argument("--deadline", metavar="SECONDS", type=_seconds, default=60, help="wait so long for the answer (default: 60)")
    call.add_argument("parameters", nargs="*", metavar="JSON", help="parameters; a bare word is a string")

    url = add("url", run_url, "print a daemon's XML-RPC address with credentials")
    url.add_argument("daemon", metavar="DAEMON")

    backup = add("backup", run_backup, "write all that is wanted of the platform to a new file, while all goes on")
    backup.add_argument("file", metavar="FILE")

    restore = add("restore", run_restore, "make what a backup says what is wanted: delete what it has not, install again what is not there")
    restore.add_argument("file", metavar="FILE")

    upgrade = add("upgrade", run_upgrade, "replace or add tasks or commands of a running daemon")
    upgrade.add_argument("daemon", metavar="DAEMON")
    upgrade.add_argument("files", nargs="+", metavar="FILE.so", help="loadable files named as their methods; FILE.so.sig is a signature")
    upgrade.add_argument("--kind", choices=("task", "command"), default="task",
                         help="what the files are, where their folder (tasks or commands) does not say it")
    upgrade.add_argument("--staged", action="store_true",
                         help="with DAEMON modulehost: one host's daemon first, a look at how it fares, then the others; all go back when one does not")
    upgrade.add_argument("--watch", metavar="SECONDS", type=_seconds, default=10, help="with --staged: look so long at the first (default: 10)")

    versions = add("versions", run_versions, "list the versions of a daemon's tasks and commands that are kept, and those that are refused")
    versions.add_argument("daemon", metavar="DAEMON")
    versions.add_argument("name", nargs="?", metavar="NAME", help="only of this method")

    rollback = add("rollback", run_rollback, "make the version before the active one of a task or command active again")
    rollback.add_argument("daemon", metavar="DAEMON")
    rollback.add_argument("name", metavar="NAME")
    rollback.add_argument("--version", metavar="HASH", dest="sha256", help="the version whose hash begins so (default: the one before)")
    rollback.add_argument("--kind", choices=("task", "command"), help="where a task and a command have the name (default: the task)")

    replay = add("replay", run_replay, "send the frames of a capture file into an embedded platform at a port")
    replay.add_argument("port", metavar="PORT")
    replay.add_argument("file", metavar="FILE", help="pcap or pcapng, also with gzip")
    replay.add_argument("--pps", metavar="N", type=_natural, default=ports.DEFAULT_PPS,
                        help=f"packets a second (default: {ports.DEFAULT_PPS}); 0: as fast as possible")
    replay.add_argument("--loop", metavar="N", type=_natural, default=1, help="send all of it so often (default: 1); 0: until interrupted")
    replay.add_argument("--pad", action="store_true", help="send also frames that the file holds only the beginning of, filled with zeros")

    capture = add("capture", run_capture, "write what leaves an embedded platform at a port to a pcap file")
    capture.add_argument("port", metavar="PORT")
    capture.add_argument("file", metavar="FILE.pcap")
    capture.add_argument("--count", metavar="N", type=_natural, help="end after so many packets")
    capture.add_argument("--seconds", metavar="N", type=_seconds, help="end after so many seconds")
    return top


def run_up(arguments):
    _end_on_signals()
    if arguments.platform and embedded.is_up(arguments.dir):
        return change_platform(arguments)
    record = embedded.up(arguments.dir, _platform_file(arguments.platform), daemons=not arguments.fabric_only, supervise=not arguments.unsupervised,
                         report=None if arguments.quiet else _report)
    _print(arguments, {"dir": str(record.directory), "ports": record.data["ports"], "hosts": record.data["hosts"]},
           f"the platform in {record.directory} is up")


def change_platform(arguments):
    """'up' with a platform file where one is up: it becomes what the file says."""
    answer = change.apply(arguments.dir, _platform_file(arguments.platform), force=arguments.force, report=None if arguments.quiet else _report)
    lines = [f"{what}: {', '.join(answer[what])}" for what in ("added", "removed", "changed") if answer[what]]
    lines += [f"deleted: allocation {cut['id']} ({cut['name']}): {cut['why']}" for cut in answer["cut"]]
    _print(arguments, answer, "\n".join(lines) or "nothing has changed")
    return DONE


def run_down(arguments):
    where = folder.locate(arguments.dir)
    was_there = where.is_dir()
    leftovers = embedded.down(arguments.dir, report=None if arguments.quiet else _report)
    _print(arguments, {"dir": str(where), "leftovers": leftovers},
           "" if leftovers else f"the platform in {where} is down" if was_there else f"there was no platform in {where}")
    for leftover in leftovers:
        print(f"flowstream: left over: {leftover}", file=sys.stderr)
    return FAILED if leftovers else DONE


def run_start(arguments):
    started = embedded.start(arguments.dir, arguments.daemon, report=_report)
    _print(arguments, {"started": started}, f"started: {', '.join(started)}" if started else "nothing had ended")


def run_status(arguments):
    end = time.monotonic() + arguments.wait
    while True:
        try:
            status = _status(arguments)
            if status["ready"] or time.monotonic() >= end:
                break
        except Error:
            if time.monotonic() >= end:
                raise
        time.sleep(0.2)
    lines = [f"platform in {status['dir']}: {'ready' if status['ready'] else 'not ready'}",
             words.table([dict(part, state=_state(part)) for part in status["parts"]], _part_columns(status["parts"])),
             f"module hosts: {', '.join(status['hosts']) or 'none'}"
             + (f"; not registered: {', '.join(status['missing_hosts'])}" if status["missing_hosts"] else ""),
             words.table([{"port": port, "outside": f"{ports.INTERFACE} in {place}"} for port, place in status["ports"].items()],
                         [("port", "PORT"), ("outside", "OUTSIDE")])]
    if "reason" in status:
        lines.append(status["reason"])
    _print(arguments, status, "\n\n".join(lines))
    return DONE if status["ready"] else FAILED


def _add_text_options(parser):
    parser.add_argument("-D", dest="parameters", metavar="NAME=VALUE", type=_definition, action="append", default=[],
                        help="what $NAME stands for in the request; may be repeated")
    parser.add_argument("--request", metavar="NAME", help="which request of a file that has several")


def _definition(text):
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value


def _included(folder, text, found):
    """The texts that a request includes, by name: those in its own folder, and what they include.  The daemon judges the names."""
    for name in re.findall(r'^[ \t]*include[ \t]+"([A-Za-z0-9_][A-Za-z0-9_./-]*)"', text, re.M):
        path = folder / name
        if name in found or len(found) == 64 or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            continue
        found[name] = path.read_text(encoding="utf-8", errors="replace")
        _included(folder, found[name], found)
    return found


def _text_options(arguments, text):
    folder = Path() if arguments.file == "-" else Path(arguments.file).parent
    return {"parameters": dict(arguments.parameters), "files": _included(folder, text, {}), "request": arguments.request,
            "file": None if arguments.file == "-" else arguments.file}


def run_install(arguments):
    request = _read_request(arguments.file)
    with Client(arguments.dir) as client:
        try:
            number = client.install_allocation(request, wait=arguments.wait, name=arguments.name, key=arguments.key,
                                               **_text_options(arguments, request))
        except NotReady as error:
            if isinstance(error.value, int):
                _print(arguments, {"id": error.value, "state": "under way"}, f"{error.value}")
            raise
    sys.stderr.write(client.message)  # warnings of the language
    _print(arguments, {"id": number}, f"{number}")


def run_plan(arguments):
    request = _read_request(arguments.file)
    with Client(arguments.dir) as client:
        try:
            plan = client.plan_allocation(request, **_text_options(arguments, request))
        except Refused as error:
            if arguments.json:
                _print(arguments, {"refused": str(error), **(error.value if isinstance(error.value, dict) else {})}, "")
            raise
    sys.stderr.write(plan.get("warnings", ""))
    _print(arguments, plan, words.plan(plan))


def run_delete(arguments):
    with Client(arguments.dir) as client:
        client.delete_allocation(arguments.id, force=arguments.force)
        unreached = client.message if arguments.force else ""
    if unreached:
        print(f"flowstream: {words.text(unreached)}", file=sys.stderr)
    _print(arguments, {"id": arguments.id, "deleted": True, **({"unreached": unreached} if unreached else {})}, "")


_DIFFERENCES = [("kind", "KIND"), ("problem", "PROBLEM"), ("allocation", "ID"), ("where", "WHERE"), ("name", "WHAT"), ("why", "WHY")]


def run_drift(arguments):
    with Client(arguments.dir) as client:
        drift = client.get_drift()
    found = drift["differences"]
    columns = _DIFFERENCES if any("why" in one for one in found) else _DIFFERENCES[:-1]
    rows = [{"why": "", **one, "allocation": one["allocation"] or "-"} for one in found]
    _print(arguments, drift, words.table(rows, columns) if found else "all that is wanted is there, and nothing else")
    return DONE if drift["in_step"] else FAILED


def run_gc(arguments):
    with Client(arguments.dir) as client:
        done = client.collect_garbage(dry_run=arguments.dry_run)
    rows = [{**one, "allocation": one["allocation"] or "-"} for one in done["items"]]
    _print(arguments, done, words.table(rows, _DIFFERENCES[:-1]) if rows else "nothing belongs to nobody")
    for problem in done["problems"]:
        print(f"flowstream: {words.text(problem)}", file=sys.stderr)
    return FAILED if done["problems"] else DONE


def run_list(arguments):
    with Client(arguments.dir) as client:
        found = client.list_allocations(brief=not arguments.json)
    rows = [] if arguments.json else [dict(row, hosts=sorted(row["hosts"]), since=words.date(row.get("created"))) for row in found]
    columns = [("id", "ID"), ("name", "NAME"), ("owner", "OWNER"), ("state", "STATE"), ("since", "SINCE"), ("module_count", "MODULES"), ("hosts", "HOSTS")]
    _print(arguments, found, words.table(rows, columns) if rows else "nothing is installed")


def run_show(arguments):
    with Client(arguments.dir) as client:
        if arguments.watch:
            _watch(arguments, lambda before: _show(arguments, client, before=before))
        else:
            _show(arguments, client)


def _watch(arguments, look):
    """Look again every second, until interrupted.  look takes what clears the screen."""
    graph = getattr(arguments, "dot", False)
    if arguments.json or graph:
        print(f"flowstream: --watch is for people: it cannot print one {'graph' if graph else 'JSON document'}", file=sys.stderr)
        sys.exit(WRONG_USAGE)
    _end_on_signals()
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            look("\x1b[H\x1b[2J" if sys.stdout.isatty() else "")
            print("", flush=True)
            time.sleep(1)


def _show(arguments, client, before=""):
    """One look at an installed request."""
    found, trails = client.get_allocation(arguments.id), []
    try:
        trails = trail.follow(client, found)
    except Error as error:
        found = dict(found, problems=[*(found.get("problems") or []), f"what the switches counted: {error}"])
    if arguments.json:
        _print(arguments, dict(found, links=[{"path": one.number, "from": one.start, "to": one.end, "switches": [counted._asdict() for counted in one.counts]}
                                             for one in trails]), "")
        return
    if arguments.dot:
        _print(arguments, found, words.dot(found, trails))
        return
    parts = [before + words.allocation(found, trails)]
    parts += [words.text(found["text"]).strip("\n")] if arguments.text else []
    parts += [words.rules(found["rules"])] if arguments.rules else []
    _print(arguments, found, "\n\n".join(parts))


def run_flows(arguments):
    with Client(arguments.dir) as client:
        found = client.get_flows(arguments.id, keep=60 + arguments.seconds, most=arguments.most)
        if found["seconds"] < arguments.seconds:
            time.sleep(arguments.seconds - found["seconds"])
            found = client.get_flows(arguments.id, keep=60, most=arguments.most)
        if arguments.stop:
            client.get_flows(arguments.id, keep=0, most=0)
    _print(arguments, found, words.flows(found))


def run_pm_info(arguments):
    with Client(arguments.dir) as client:
        types = client.get_pm_info()
    lines = []
    for description, primitives in types:
        lines.append(words.text(description))
        lines += [f"    {name}: {words.cell(parameters)}" for name, parameters in primitives.items()]
    _print(arguments, [list(pair) for pair in types], "\n".join(lines) or "there are no module types")


def run_tasks(arguments):
    with Client(arguments.dir) as client:
        daemons = [arguments.daemon] if arguments.daemon else client.daemons()
        if arguments.watch:
            _watch(arguments, lambda before: _show_engines(client, daemons, before))
            return
        rows = [dict(task, daemon=daemon) for daemon in daemons for task in client.list_tasks(daemon)]
    columns = words.columns_of([], ("daemon", "name", "version", "calls", "failures", "seconds", "file", "problem"))
    _print(arguments, rows, words.table(rows, columns) if rows else "there are no tasks")


_ENGINE_COLUMNS = (("daemon", "DAEMON"), ("task", "TASK"), ("waiting", "WAITING"), ("running", "RUNNING"), ("rate", "ENDED/S"), ("done", "DONE"),
                   ("failed", "FAILED"), ("cancelled", "CANCELLED"), ("retries", "RETRIES"), ("wait", "WAIT MS"), ("run", "RUN MS"),
                   ("longest_wait_seconds", "LONGEST WAIT S"), ("longest_run_seconds", "LONGEST RUN S"))
_seen = {}  # (daemon, task): when it was looked at, and how many had ended


def _show_engines(client, daemons, before):
    """One look at the task engines; a daemon that does not answer is named, and the others are shown."""
    rows, lines = [], []
    for daemon in daemons:
        try:
            process = client.call(daemon, "get_statistics", deadline=5).get("process", {})
        except Error as error:
            lines.append(f"{daemon}: {error}")
            continue
        lines.append(f"{daemon}: {words.cell(process.get('tasks_waiting', 0))} wait, {words.cell(process.get('tasks_running', 0))} run, "
                     f"{words.cell(process.get('tasks_hanging', 0))} hang, {words.cell(process.get('task_threads', 0))} threads")
        rows += [_engine_row(daemon, task) for task in process.get("task", [])]
    rows.sort(key=lambda row: (-row["waiting"], -row["running"], -row["rate"], row["daemon"], row["task"]))
    print(before + "\n".join(lines) + "\n\n" + (words.table(rows, list(_ENGINE_COLUMNS)) if rows else "no task has been asked for"))


def _engine_row(daemon, task):
    now, ended = time.monotonic(), task["done"] + task["failed"] + task["cancelled"]
    then, before = _seen.get((daemon, task["task"]), (now, ended))
    _seen[daemon, task["task"]] = now, ended
    started = max(1.0, ended - task["cancelled"] + task["running"] + task["retries"])
    return dict(task, daemon=daemon, rate=round((ended - before) / (now - then), 1) if now > then else 0.0,
                wait=round(task["waited_seconds"] / started * 1e3, 2), run=round(task["run_seconds"] / started * 1e3, 2))


def run_hosts(arguments):
    with Client(arguments.dir) as client:
        hosts = client.list_hosts()
        hosts.sort(key=lambda host: host["name"])
    columns = [("name", "NAME"), ("state", "STATE"), ("modules", "MODULES"), ("cores", "CORES USED"), ("memory", "MEMORY USED"),
               ("basesys", "BASE SYSTEMS"), ("address", "ADDRESS")]
    _print(arguments, hosts, words.table([words.host(host) for host in hosts], columns) if hosts else "there are no module hosts")


def run_host_add(arguments):
    _end_on_signals()
    embedded.add_host(arguments.name, arguments.dir, cpu=arguments.cpu, mem=arguments.mem, switch=arguments.switch, report=_report)
    _print(arguments, {"name": arguments.name}, f"module host {arguments.name} is ready")


def run_host_drain(arguments):
    with Client(arguments.dir) as client:
        client.drain_host(arguments.name, not arguments.undo)
        modules = sum(host["modules"] for host in client.list_hosts() if host["name"] == arguments.name)
    _print(arguments, {"name": arguments.name, "draining": not arguments.undo, "modules": modules},
           f"module host {arguments.name} takes modules again" if arguments.undo
           else f"module host {arguments.name} gets no more modules; {modules} run there")


def run_host_remove(arguments):
    embedded.remove_host(arguments.name, arguments.dir, report=_report)
    _print(arguments, {"name": arguments.name}, f"module host {arguments.name} is removed")


def run_call(arguments):
    parameters = [_parameter(text) for text in arguments.parameters]
    with Client(arguments.dir) as client:
        print(_json(client.call(arguments.daemon, arguments.method, *parameters, deadline=arguments.deadline)))


def run_url(arguments):
    with Client(arguments.dir) as client:
        url = client.url(arguments.daemon)
    _print(arguments, {"daemon": arguments.daemon, "url": url}, url)


def run_backup(arguments):
    with Client(arguments.dir) as client:
        made = client.backup(arguments.file)
    _print(arguments, dict(made, file=arguments.file), f"{arguments.file}: {made['records']:.0f} records, {made['bytes']:.0f} bytes")


def run_restore(arguments):
    with Client(arguments.dir) as client:
        done = client.restore(arguments.file)
    _print(arguments, done, f"{len(done['deleted'])} deleted, {len(done['restored'])} installed again, {len(done['unchanged'])} unchanged")
    for problem in done["problems"]:
        print(f"flowstream: {words.text(problem)}", file=sys.stderr)
    return FAILED if done["problems"] else DONE


def run_upgrade(arguments):
    names = ", ".join(Path(file).name.removesuffix(".so") for file in arguments.files)
    with Client(arguments.dir) as client:
        if arguments.staged:
            daemons = staged.upgrade(client, arguments.daemon, arguments.files, kind=arguments.kind, seconds=arguments.watch, report=_report)
            _print(arguments, {"daemons": daemons}, f"upgraded: {names} in {', '.join(daemons)}")
            return
        value = client.upgrade(arguments.daemon, arguments.files, kind=arguments.kind)
    _print(arguments, value, words.nested(value) if value else f"upgraded: {names}")


def run_versions(arguments):
    with Client(arguments.dir) as client:
        known = client.call(arguments.daemon, "list_versions")
    rows = [row for row in known["versions"] if arguments.name in (None, row["name"])]
    shown = [dict(row, sha256=row["sha256"][:12], generation=f"{row['generation']:.0f}", since=words.date(row["time"]), active="yes" if row["active"] else "")
             for row in rows]
    columns = [("kind", "KIND"), ("name", "NAME"), ("sha256", "SHA256"), ("generation", "GENERATION"), ("since", "SINCE"), ("source", "SOURCE"), ("active", "ACTIVE")]
    lines = [words.table(shown, columns) if shown else "there are no versions"]
    lines += [f"refused since {words.date(row['time'])}: {row['sha256'][:12]}: {row['why']}" for row in known["refused"]]
    _print(arguments, dict(known, versions=rows), "\n".join(lines))


def run_rollback(arguments):
    options = {key: value for key, value in (("kind", arguments.kind), ("sha256", arguments.sha256)) if value}
    with Client(arguments.dir) as client:
        now = client.call(arguments.daemon, "rollback", arguments.name, options)
    _print(arguments, {"name": arguments.name, "sha256": now}, f"{arguments.name} is {now[:12]} again")


def run_replay(arguments):
    _end_on_signals()
    replay = ports.Replay(folder.locate(arguments.dir), arguments.port, arguments.file, pps=arguments.pps, loop=arguments.loop,
                          pad=arguments.pad)
    interrupted = False
    try:
        replay.run()
    except KeyboardInterrupt:
        interrupted = True
    counts = replay.counts
    not_sent = [f"{number} not sent: {reason}" for number, reason in
                ((counts.too_long, "longer than the port's MTU"),
                 (counts.incomplete, "the file holds only their beginning (--pad fills them)"),
                 (counts.failed, "refused by the kernel")) if number]
    _print(arguments, dict(vars(counts), interrupted=interrupted), "\n".join(
        [f"{counts.sent} packets, {counts.bytes} bytes sent at {arguments.port} in {counts.seconds:.3f} s"
         + (" (interrupted)" if interrupted else "")] + not_sent))
    return FAILED if counts.failed or (interrupted and arguments.loop != 0) else DONE


def run_capture(arguments):
    _end_on_signals()
    capture = ports.Capture(folder.locate(arguments.dir), arguments.port, arguments.file, count=arguments.count, seconds=arguments.seconds)
    try:
        _report(f"capturing at {arguments.port}")
        capture.run()
    except KeyboardInterrupt:
        pass  # The usual end of a capture without --count and --seconds.
    counts = capture.counts
    _print(arguments, vars(counts), f"{counts.packets} packets, {counts.bytes} bytes left the platform at {arguments.port} "
           f"in {counts.seconds:.3f} s, {counts.drops} missed")
    return FAILED if counts.drops else DONE


def _status(arguments):
    """One look at the platform, a dictionary."""
    client = Client(arguments.dir, deadline=5)
    record = client.record
    status = {"dir": str(record.directory), "parts": embedded.parts(record), "ports": record.data["ports"], "hosts": []}
    for part in status["parts"]:
        if part["name"] in record.data["daemons"]:
            part["answer"] = _answer(client, part["name"])
    try:
        status["hosts"] = client.hosts_up() if record.data["with-daemons"] else record.data["hosts"]
    except Error as error:
        status["reason"] = str(error)
    status["missing_hosts"] = sorted(set(record.data["hosts"]) - set(status["hosts"]))
    status["ready"] = record.data["state"] == "up" and not status["missing_hosts"] and \
        all(part["state"] == "runs" and part.get("answer", "yes") == "yes" for part in status["parts"])
    client.close()
    return status


def _state(part):
    """What a part of the platform does, in words."""
    answer = part.get("answer")
    if "next_try" in part:
        return f"ended, started again in {part['next_try']:g} s"
    if part["state"] != "runs" or answer is None:
        return part["state"]
    return "runs and answers" if answer == "yes" else "runs, but does not answer" if answer == "no" else f"runs, but says: {answer}"


def _part_columns(parts):
    """The columns of status: what a supervisor knows only where there is one, and something to say."""
    columns = [("name", "NAME"), ("pid", "PID"), ("state", "STATE")]
    if any("restarts" in part for part in parts):
        columns.append(("restarts", "RESTARTS"))
    columns += [("last_exit", "LAST EXIT")] if any(part.get("last_exit") for part in parts) else []
    return columns


def _answer(client, daemon):
    try:
        client.ping(daemon)
        return "yes"
    except DaemonDown:
        return "no"
    except Error as error:
        return str(error)


def _platform_file(given):
    """A name without a slash that is no file here is one of the installed platform files."""
    if given and "/" not in given and not os.path.exists(given):
        installed = {path.stem: path for path in embedded.default_platform_file().parent.glob("*.xml")}
        name = given.removesuffix(".xml")
        if name in installed:
            return installed[name]
        near = difflib.get_close_matches(name, installed, 1)
        raise BadFile(f"there is no platform file {given} here{f', do you mean {near[0]}?' if near else ''}; installed are: {', '.join(sorted(installed))}")
    return given


def _read_request(name):
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise BadFile(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadFile(f"{name}: byte {error.start} is no UTF-8 text") from None


def _parameter(text):
    """A parameter of "call": JSON, or a bare word as a string; what looks like JSON must be JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        if text[:1] in tuple("{[\""):
            print(f"flowstream: the parameter {text} is no JSON: {error}", file=sys.stderr)
            sys.exit(WRONG_USAGE)
        return text


def _report(line):
    print(line, file=sys.stderr, flush=True)


def _print(arguments, value, sentence):
    if arguments.json:
        print(_json(value))
    elif sentence:
        print(sentence)
    sys.stdout.flush()


def _json(value):
    return json.dumps(value, indent=2, default=_for_json)


def _for_json(value):
    if isinstance(value, (bytes, xmlrpc.client.Binary)):
        return base64.b64encode(bytes(getattr(value, "data", value))).decode()
    return str(value)


def _end_on_signals():
    """SIGINT and SIGTERM end the work in order; a shell's background commands would else ignore SIGINT."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _natural(text):
    return _checked(text, int, lambda value: value >= 0, "a whole number of 0 or more")


def _id(text):
    return _checked(text, int, lambda value: 0 < value < 2 ** 31, "the id of an installed request: a positive whole number")


def _positive(text):
    return _checked(text, float, lambda value: 0 < value < float("inf"), "a positive number")


def _seconds(text):
    return _checked(text, float, lambda value: 0 <= value < 1e9, "a number of seconds")


def _checked(text, kind, holds, what):
    try:
        value = kind(text)
        if holds(value):
            return int(value) if value == int(value) else value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"'{text}' is not {what}")
