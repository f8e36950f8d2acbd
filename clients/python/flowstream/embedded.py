"""The embedded platform: a whole Flowstream platform inside this computer, made by up() and taken away by down().

A platform is its folder (folder.py), its fabric (fabric.py) and its daemons, which are started here with configuration files that
are written here.  Daemons speak XML-RPC on loopback ports that are chosen at up() and kept in the record.

Everything works as root, and as the root of a user namespace whose /run can be written.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from . import client, folder, netns, processes, supervision
from .errors import BadFile, CommandFailed, DaemonDown, DeadlinePassed, Error, NoPlatform, NotReady
from .fabric import Fabric, remains
from .topology import Topology

# Who calls whom, in the order in which they are started; module hosts come last, one of each server.
PEERS = {"pm": (), "openflow": ("resource",), "resource": ("openflow", "pm", "monitoring"), "monitoring": ("resource", "openflow", "pm")}
_USES_TYPES = ("pm",)
_USER = "operator"
_CGROUPS = [Path("/sys/fs/cgroup", controller, "flowstream") for controller in ("cpu", "memory", "pids")]
_PATIENCE = 60       # seconds for all daemons to be ready,
_PATIENCE_HOST = 1   # and for each module host
_PATIENCE_END = 10   # for what was just killed to be gone
_TRIES = 3      # ends of a daemon under a supervisor, one soon after the other, until it counts as one that cannot run
_NOT_YET = (DaemonDown, DeadlinePassed, NotReady)


def prefix():
    """The folder that holds bin/ and lib/flowstream/ of this installation or build.  Raises Error when run from the sources."""
    package = Path(__file__).resolve().parent
    if package.parts[-4:-1] == ("lib", "flowstream", "python"):
        return package.parents[3]
    given = os.environ.get("FLOWSTREAM_PREFIX")
    if given:
        return Path(given).resolve()
    raise Error(f"the package in {package} is not installed; set FLOWSTREAM_PREFIX to the folder that holds bin/ and lib/flowstream/")


def default_platform_file():
    """etc/platforms/embedded.xml of this installation, build or source tree."""
    places = [Path(__file__).resolve().parents[3] / "etc" / "platforms"]
    with contextlib.suppress(Error):
        places.insert(0, prefix() / "lib" / "flowstream" / "platforms")
    for place in places:
        if (place / "embedded.xml").exists():
            return place / "embedded.xml"
    raise Error(f"embedded.xml is not in {' or '.join(map(str, places))}; name a platform file with --platform")


def read_platform(path):
    """The Topology of a platform file that names can be made of here and that the daemons will take.  Raises BadFile with FILE:LINE."""
    topology = Topology(path)
    program = _program("resource")
    if os.access(program, os.X_OK):  # else _check_programs() will say so
        try:
            processes.run([str(program), "--check-platform", str(path)])
        except CommandFailed as failed:
            raise BadFile(str(failed).partition("failed with status 1: ")[2] or str(failed)) from None
    return topology


def up(directory=None, platform_file=None, *, daemons=True, supervise=True, report=None):
    """Make a platform in the folder and return its folder.Record when everything in it is ready.

    report: called with a line of progress now and then.  daemons=False makes the fabric alone.  supervise: what ends is started again
    by a supervisor; where that has been killed and the platform lives, a new one takes over.
    Raises Error; then nothing is left behind, and the same holds for any other exception, KeyboardInterrupt too.
    """
    report = report or (lambda line: None)
    directory = folder.locate(directory)
    topology = read_platform(platform_file or default_platform_file())
    if os.geteuid() != 0:
        raise Error("an embedded platform is made by root, or in a user namespace by its root: unshare --user --map-root-user "
                    "--mount --net --pid --fork --mount-proc, with an empty file system on /run")
    adopted = _adopt(directory, report)
    if adopted:
        return adopted
    _clear_the_dead(directory, report)
    if daemons:
        _check_programs(supervise)
    folder.make(directory)
    with folder.locked(directory):
        record = None
        try:
            record = _new_record(directory, topology)
            _build(record, topology, daemons, supervise, report)
            record.data["state"] = "up"
            record.save()
        except BaseException:
            report("taking down what was made")
            if record is None:  # interrupted while the record was being written: nothing else has been made
                folder.remove(directory)
            for leftover in _take_down(record, report) if record else ():
                report(f"left over: {leftover}")
            raise
    return record


def down(directory=None, *, report=None):
    """Take the platform away: processes, namespaces, control groups, folder.  Nothing there is no error.

    Returns what could not be removed, one line each.  Raises Error when the folder is not a platform's.
    """
    report = report or (lambda line: None)
    directory = folder.locate(directory)
    if not directory.is_dir():
        return []
    try:
        record = folder.Record.load(directory)
    except NoPlatform:
        if not folder.remove(directory):
            raise
        return []
    with folder.locked(directory):
        return _take_down(record, report)


def start(directory=None, name=None, *, report=None):
    """Start again what has ended: the daemon of that name, or everything.  Returns the names of what was started."""
    report = report or (lambda line: None)
    record = folder.Record.load(folder.locate(directory))
    if name is not None:
        name = client.daemon_key(record, name)
    with folder.locked(record.directory):
        if record.data["state"] != "up" or not all(netns.exists(name) for name in record.data["namespaces"]):
            raise Error(f"the platform in {record.directory} is not whole any more; 'flowstream up --dir {record.directory}' makes it anew")
        processes.wait_gone([process for process in record.processes() if process.ending()], _PATIENCE_END)
        before = {process.name for process in record.live()}
        wanted = [key for key in record.data["daemons"] if name in (None, key)]
        if supervision.is_on(record):
            _supervise(record)
        elif name is None:
            Fabric(record, Topology(record.directory / "platform.xml")).start()
        for key in wanted:
            if key not in before and not supervision.is_on(record):
                _start_daemon(record, key)
        _await_daemons(record, wanted, report)
    return [process.name for process in record.live() if process.name not in before]


def add_host(name, directory=None, *, cpu=8, mem=2048, switch=None, report=None):
    """Add a module host to a running platform, behind the switch (the first one), and wait until it is registered."""
    report = report or (lambda line: None)
    record = folder.Record.load(folder.locate(directory))
    with folder.locked(record.directory):
        topology = Topology(record.directory / "platform.xml")
        fabric = Fabric(record, topology)
        if not topology.switches:
            raise Error(f"the platform {topology.root.get('name')} has no switch that a module host could be added to")
        link = topology.add_server(name, cpu, mem, switch or topology.switches[0])
        fabric.check()
        key = f"modulehost:{name}"
        try:
            fabric.add_host(link)
            write_platform(record, topology, fabric)
            if record.data["with-daemons"]:
                record.data["daemons"][key] = _daemon_entry(record, key, _free_ports(1)[0])
                record.save()
                _write_configuration(record, key, topology, fabric)
                if supervision.is_on(record):
                    _supervise(record)
                else:
                    _start_daemon(record, key)
                _await_daemons(record, [key], report)
                _await_hosts(record, [name], report)
        except BaseException:
            with contextlib.suppress(Error):
                client.Client(record.directory, deadline=5).call("resource", "remove_host", name)
            _drop_host(record, topology, fabric, name)
            raise


def remove_host(name, directory=None, *, report=None):
    """Take a module host out of a running platform.  Raises Refused when the resource daemon still needs it."""
    report = report or (lambda line: None)
    record = folder.Record.load(folder.locate(directory))
    with folder.locked(record.directory):
        topology = Topology(record.directory / "platform.xml")
        if name not in topology.servers:
            raise Error(f"the platform has no module host '{name}'; it has: {', '.join(topology.servers) or 'none'}")
        outer = [link.a.node for link in topology.links_of(name) if link.a.bridge is None]
        if outer:
            raise Error(f"the network ports {', '.join(outer)} are on the bridge of module host '{name}': it cannot be removed without them")
        if record.data["with-daemons"]:
            client.Client(record.directory).call("resource", "remove_host", name)
        report(f"removing module host {name}")
        leftovers = _drop_host(record, topology, Fabric(record, topology), name)
    if leftovers:
        raise Error("left over: " + "; ".join(leftovers))


def parts(record):
    """What the platform consists of, for status: a list of {"name", "pid" (or None), "state"}, state "runs" or "ended".

    Under a supervisor also "restarts", "last_exit" (words, or None) and, of what does not run, "next_try" (seconds from now).
    """
    all_of_it = record.processes()
    running = {process.name: process for process in all_of_it if process.alive()}
    found = [{"name": process.name, "pid": running[process.name].pid if process.name in running else None,
              "state": "runs" if process.name in running else "ended"} for process in all_of_it]
    said = supervision.status(record) if supervision.is_on(record) else {}
    for part in found:
        if part["name"] in said:
            entry = said[part["name"]]
            part.update(restarts=entry["restarts"], last_exit=entry["last_exit"] or None)
            if part["pid"] is None and supervision.running(record):
                part["next_try"] = round(supervision.seconds_until(entry), 1)
    return found


def _adopt(directory, report):
    """The platform in the folder when it lives and only its supervisor has ended: then with a new one; else None."""
    try:
        record = folder.Record.load(directory)
    except NoPlatform:
        return None
    if not supervision.is_on(record) or record.data["state"] != "up" or supervision.running(record) or not record.live():
        return None
    report("the supervisor of the platform has ended: a new one takes over what runs")
    with folder.locked(directory):
        _supervise(record)
        _await_daemons(record, list(record.data["daemons"]), report)
    return record


def _supervise(record):
    """Tell the supervisor what is to run, and start it where it has ended."""
    fabric = Fabric(record, Topology(record.directory / "platform.xml"))
    daemons = record.data["daemons"]
    services = fabric.services()
    for key, entry in daemons.items():
        place = Path(entry["dir"])
        services.append(supervision.service(key, _daemon_command(entry), log=place / "log", pid_file=place / "pid", cwd=place,
                                            listen=[f"tcp 127.0.0.1:{entry['port']}", f"unix {place / 'rpc.sock'}"]))
    services.append(supervision.service("ports", [sys.executable, "-m", "flowstream.mend", str(record.directory)], log=supervision.place(record) / "log",
                                        pid_file=supervision.place(record) / "ports", cwd=record.directory, watch=fabric.database.partition(":")[2],
                                        env={"PYTHONPATH": str(Path(__file__).resolve().parents[1]), "FLOWSTREAM_PREFIX": str(prefix())}))
    supervision.write(record, services)
    if supervision.running(record):
        supervision.poke(record)
    else:
        supervision.begin(record, _program("supervisor"))


def is_up(directory=None):
    """Whether a platform lives in the folder."""
    try:
        record = folder.Record.load(folder.locate(directory))
    except NoPlatform:
        return False
    return record.data["state"] == "up" and bool(record.live())


def _clear_the_dead(directory, report):
    """Refuse when a platform lives in the folder; take away what a dead one left."""
    try:
        record = folder.Record.load(directory)
    except NoPlatform:
        return
    live = record.live()
    if live and record.data["state"] == "up":
        raise Error(f"a platform is already up in {directory} ({live[0].name} runs as process {live[0].pid}); "
                    f"'flowstream down --dir {directory}' takes it down, 'flowstream start' starts what has ended in it, "
                    "'flowstream up --platform FILE' makes it what another platform file says")
    report(f"cleaning up after a dead platform in {directory}")
    leftovers = down(directory)
    if leftovers:
        raise Error(f"cannot clean up after the dead platform in {directory}: {'; '.join(leftovers)}")


def _check_programs(supervise):
    for kind in list(PEERS) + ["modulehost"] + (["supervisor"] if supervise else []):
        program = _program(kind)
        if not os.access(program, os.X_OK):
            raise Error(f"the program {program} is missing; build the project first")


def _program(kind):
    return prefix() / "bin" / f"flowstream-{kind}"


def _new_record(directory, topology):
    """Write the record of a platform that does not exist yet, so that from now on "down" knows the folder as ours."""
    record = folder.Record(directory, {
        "format": 1, "state": "starting", "tag": folder.tag(directory), "platform": topology.path, "with-daemons": False,
        "namespaces": [], "processes": [], "daemons": {}, "ports": {}, "hosts": []})
    record.save()
    return record


def _build(record, topology, daemons, supervise, report):
    _raise_loopback()
    fabric = Fabric(record, topology)
    record.data["ports"] = {port: fabric.namespace_of(port) for port in topology.ports}
    report(f"building the fabric: {len(topology.bridges)} bridges, {len(topology.ports)} network ports")
    fabric.build()
    write_platform(record, topology, fabric)
    if not daemons:
        return
    record.data["with-daemons"] = True
    _write_token(record)
    _copy_loadables(record)
    keys = list(PEERS) + [f"modulehost:{name}" for name in topology.servers]
    for key, port in zip(keys, _free_ports(len(keys))):
        record.data["daemons"][key] = _daemon_entry(record, key, port)
    record.save()
    report(f"starting {len(keys)} daemons")
    for key in keys:
        _write_configuration(record, key, topology, fabric)
    if supervise:
        record.data["supervised"] = True
        record.save()
    _start_daemons(record, keys)
    _await_daemons(record, keys, report)
    _await_hosts(record, list(topology.servers), report)


def _raise_loopback():
    """A new user namespace has its loopback interface down; the daemons speak over it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("127.0.0.1", 9))
        except OSError:
            processes.run(["ip", "link", "set", "lo", "up"])


def write_platform(record, topology, fabric):
    """The platform file of the daemons: the one given, with the addresses of the switches."""
    topology.set_targets(fabric.target)
    record.data["hosts"] = list(topology.servers)
    record.save()
    new = record.directory / "platform.xml.new"
    topology.tree.write(new, encoding="utf-8", xml_declaration=True)
    new.replace(record.directory / "platform.xml")


def _write_token(record):
    descriptor = os.open(record.directory / "token", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as token:
        token.write(f"{_USER}:{secrets.token_urlsafe(24)}\n")


def _copy_loadables(record):
    """Real copies: a file dropped into the platform's folder must never reach the build, nor the other way round."""
    for kind in ("tasks", "commands", "types"):
        source = prefix() / "lib" / "flowstream" / kind
        target = record.directory / "lib" / kind
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.d", "*.new"))
        target.mkdir(parents=True, exist_ok=True)
    for kind in ("tasks", "commands"):
        for daemon in ["common", "modulehost"] + list(PEERS):
            (record.directory / "lib" / kind / daemon).mkdir(exist_ok=True)


def _free_ports(count):
    """Loopback TCP ports that nobody uses now; all are held until all are chosen, so that they differ."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
        return ports


def _daemon_entry(record, key, port):
    kind, _, host = key.partition(":")
    place = record.directory / "hosts" / host if host else record.directory / kind
    return {"kind": kind, "host": host or None, "url": f"http://127.0.0.1:{port}/RPC2", "port": port, "dir": str(place)}


def _write_configuration(record, key, topology, fabric):
    """DIR/config.xml of one daemon."""
    entry, daemons = record.data["daemons"][key], record.data["daemons"]
    place, kind, host = Path(entry["dir"]), entry["kind"], entry["host"]
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = ElementTree.Element("daemon", name=kind, dir=str(place), lib=str(record.directory / "lib"))
    ElementTree.SubElement(root, "listen", tcp=f"127.0.0.1:{entry['port']}")
    ElementTree.SubElement(root, "listen", unix=str(place / "rpc.sock"))
    ElementTree.SubElement(root, "credentials", file=str(record.directory / "token"))
    ElementTree.SubElement(root, "log", level="info")
    for peer in PEERS.get(kind, ("resource",)):
        ElementTree.SubElement(root, "peer", name=peer, url=daemons[peer]["url"])
    if kind == "resource":
        ElementTree.SubElement(root, "platform", file=str(record.directory / "platform.xml"))
    if host or kind in _USES_TYPES:
        ElementTree.SubElement(root, "types", dir=str(record.directory / "lib" / "types"))
    if host:
        server = topology.servers[host]
        ElementTree.SubElement(root, "host", {
            "name": host, "id": f"{record.data['tag']}-{host}", "cpu": server.cpu, "mem": server.mem, "url": entry["url"],
            "dir": str(place), "bridge": server.bridge, "ovsdb": fabric.database, "switch": fabric.target(server.bridge),
            "netns": str(netns.path(fabric.namespace)), "trunk": server.trunk, "mux": server.mux,
            "mtu": str(topology.trunk_mtu(host)), "basesys": server.basesys})
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(place / "config.xml", encoding="utf-8", xml_declaration=True)


def _config_option(entry):
    """The one argument by which a daemon of this platform is also found when its start was not recorded."""
    return f"--config={entry['dir']}/config.xml"


def _daemon_command(entry):
    return [str(_program(entry["kind"])), _config_option(entry), "--foreground"]


def _start_daemon(record, key):
    entry = record.data["daemons"][key]
    place = Path(entry["dir"])
    (place / "rpc.sock").unlink(missing_ok=True)
    record.add_process(processes.start(key, _daemon_command(entry), log=place / "log", pid_file=place / "pid", cwd=str(place)))


def _failures(record, key):
    """How often in a row the supervisor has seen this daemon end at once."""
    return supervision.status(record).get(key, {"failures": 0})["failures"]


def _await_daemons(record, keys, report):
    """Wait until each daemon answers ping.  Raises Error with the end of the log of the one that does not."""
    caller = client.Client(record.directory, deadline=5)
    end = time.monotonic() + _PATIENCE + len(record.data["daemons"]) * _PATIENCE_HOST
    waiting = list(keys)
    before = {key: _failures(record, key) for key in waiting}
    while waiting:
        key = waiting[0]
        try:
            caller.call(key, "ping")
            waiting.pop(0)
            report(f"{key} is ready")
            continue
        except _NOT_YET:
            pass  # Every other answer is one that a user must see.
        alive = any(process.name == key and process.alive() for process in record.processes())
        # A supervisor starts it again: that is the end only when it has failed several times in a row, and not only before we began to wait.
        alive = alive or (supervision.is_on(record) and _failures(record, key) in (*range(_TRIES), before.get(key)))
        if not alive or time.monotonic() > end:
            log = Path(record.data["daemons"][key]["dir"]) / "log"
            raise Error(f"the {key} daemon {'does not answer' if alive else 'ended at once'}; the end of its log:\n{processes.tail(log)}")
        time.sleep(0.05)


def _await_hosts(record, names, report):
    """Wait until the resource daemon lists the module hosts, then until every switch has the rules that it has whatever is installed."""
    caller = client.Client(record.directory, deadline=5)
    end = time.monotonic() + _PATIENCE + len(record.data["daemons"]) * _PATIENCE_HOST
    missing = set(names)
    pause = 0.05 + len(names) / 400  # a list of hundreds of hosts takes them time as well
    while True:
        with contextlib.suppress(*_NOT_YET):
            missing = set(names) - set(caller.hosts_up())
            if not missing:
                break
        if time.monotonic() > end:
            name = sorted(missing)[0]
            log = Path(record.data["daemons"][f"modulehost:{name}"]["dir"]) / "log"
            raise Error(f"module host {name} did not register at the resource daemon; the end of its log:\n{processes.tail(log)}")
        time.sleep(pause)
    report(f"module hosts registered: {', '.join(names)}")
    while time.monotonic() < end:
        with contextlib.suppress(*_NOT_YET):
            if caller.call("resource", "get_statistics").get("switches_prepared", 1):
                report("switches are prepared")
                return
        time.sleep(0.05)
    raise Error(f"the switches did not get their base rules; the end of the resource daemon's log:\n"
                f"{processes.tail(Path(record.data['daemons']['resource']['dir']) / 'log')}")


def _take_down(record, report):
    """Remove everything the record names, in the order in which things depend on each other.  Returns what is left."""
    leftovers = _left(supervision.end(record))  # first: it would start again what is stopped
    report("stopping the daemons")
    daemons = record.data["daemons"]
    hosts = [entry["host"] for entry in daemons.values() if entry["host"]]
    running = processes.find_each({_config_option(entry): key for key, entry in daemons.items()})
    # Those that would mend what we break go first, then the module hosts, then whom they call.
    for belongs in (lambda kind: kind in ("resource", "monitoring"), lambda kind: kind == "modulehost", lambda kind: True):
        keys = [key for key, entry in daemons.items() if belongs(entry["kind"])]
        leftovers += _left(processes.stop([process for key in keys for process in of_daemon(record, key, running)], grace=10))
    leftovers += clear_hosts(record, hosts)
    report("removing the fabric")
    fabric = [process for process in record.processes() if process.name not in daemons]
    leftovers += _left(processes.stop(list(dict.fromkeys(fabric + remains(record)))))
    for name in record.data["namespaces"]:
        leftovers += _remove_namespace(name, report)
    if not leftovers:
        try:
            folder.remove(record.directory)
        except OSError as error:
            leftovers.append(f"folder {record.directory}: {error}")
    return leftovers


def of_daemon(record, key, running=None):
    """The processes of a daemon, recorded or not; running: what processes.find_each() has found, if that was asked before."""
    recorded = [process for process in record.processes() if process.name == key]
    option = _config_option(record.data["daemons"][key])
    running = processes.find_each({option: key}) if running is None else running
    return list(dict.fromkeys(recorded + [process for process in running if process.name == key]))


def clear_hosts(record, hosts):
    """End what module hosts have left running, by their pid files and control groups, all at the same time; then remove the groups."""
    found, groups = [], []
    for host in hosts:
        place = record.directory / "hosts" / host
        files = list(place.glob("modules/*/pid")) + [place / "mux" / "pid"]
        found += [processes.read_pid(path) for path in files]
        # Where we may not even look (another user's platform made the parent) nothing is ours.
        groups += [group / f"{record.data['tag']}-{host}" for group in _CGROUPS if os.access(group, os.R_OK | os.X_OK)]
    for group in groups:
        for members in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found += [processes.identify(f"a process in {members.parent}", int(pid)) for pid in members.read_text().split()]
    # A module is the first process of its namespace, where SIGTERM does nothing; it has nothing to save either.
    leftovers = _left(processes.stop([process for process in found if process], grace=0.5))
    for group in groups:
        leftovers += _remove_cgroup(group)
    return leftovers


def _remove_cgroup(group):
    """Remove the group with all below it, and the common parent if nobody else has something there."""
    if group.is_dir():
        for path in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
        for _ in range(50):  # The kernel takes a moment to forget the last process.
            try:
                group.rmdir()
                break
            except OSError as error:
                reason = error.strerror
                time.sleep(0.02)
        else:
            return [f"control group {group}: {reason}"]
    with contextlib.suppress(OSError):
        group.parent.rmdir()
    return []


def _remove_namespace(name, report):
    """Remove the namespace's links and name.  Processes of others inside are named and left alone."""
    try:
        strangers = netns.inhabitants(name)
        if name.endswith("-fabric") and netns.exists(name):
            _remove_links(name)
        netns.remove(name)
    except Error as error:
        return [str(error)]
    if strangers:
        report(f"note: process {strangers[0]} ({processes.command_of(strangers[0])}) is still in what was the network namespace {name}; "
               "it is not ours and was left alone")
    return []


def _remove_links(name):
    """Remove the veth pairs now, not when the kernel gets to the namespace: a new platform may want their names at once."""
    links = json.loads(processes.run(["ip", "-n", name, "-json", "link", "show"]) or "[]")
    lines = [f"link delete {link['ifname']}\n" for link in links if link.get("ifname", "lo") != "lo"]
    with contextlib.suppress(Error):  # the second end of a pair goes with the first
        processes.run(["ip", "-force", "-n", name, "-batch", "-"], input="".join(lines), timeout=60 + len(lines))


def _start_daemons(record, keys):
    """Start daemons that are configured, under the supervisor where there is one."""
    if supervision.is_on(record):
        _supervise(record)
    else:
        with record.together():  # one that dies unrecorded is found by its arguments
            for key in keys:
                _start_daemon(record, key)


def stop_host(record, name):
    """Stop a module host's daemon and what it has left running, and forget it.  Returns what is left."""
    key = f"modulehost:{name}"
    stop = of_daemon(record, key)
    entry = record.data["daemons"].pop(key)
    if supervision.is_on(record) and supervision.running(record):
        _supervise(record)
        supervision.poke(record, without=[key])
    leftovers = _left(processes.stop(list(dict.fromkeys(stop + processes.find(key, _config_option(entry))))))
    leftovers += clear_hosts(record, [name])
    record.forget_process(key)
    return leftovers


def start_hosts(record, topology, fabric, names, report):
    """Start the daemons of module hosts that a running platform has just got, and wait until they are registered."""
    keys = [f"modulehost:{name}" for name in names]
    for key, port in zip(keys, _free_ports(len(keys))):
        record.data["daemons"][key] = _daemon_entry(record, key, port)
    record.save()
    for key in keys:
        _write_configuration(record, key, topology, fabric)
    _start_daemons(record, keys)
    _await_daemons(record, keys, report)
    if names:
        _await_hosts(record, names, report)


def _drop_host(record, topology, fabric, name):
    """Stop a module host and take its bridge, link, folder and entries away.  Returns what is left."""
    key = f"modulehost:{name}"
    leftovers = []
    if key in record.data["daemons"]:
        leftovers += stop_host(record, name)
    link = topology.uplink(name)
    fabric.remove_host(topology.servers[name], link)
    for interface in (f"{name}-trunk", f"{name}-mux"):
        if netns.call(fabric.namespace, _has_interface, interface):
            processes.run(["ip", "-n", fabric.namespace, "link", "delete", interface])
    topology.remove_server(name)
    write_platform(record, topology, fabric)
    shutil.rmtree(record.directory / "hosts" / name, ignore_errors=True)
    return leftovers


def _has_interface(name):
    return name in (entry for _, entry in socket.if_nameindex())


def _left(running):
    return [f"process {process.pid} ({process.name})" for process in running]
