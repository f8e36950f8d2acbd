"""A patch in stages: one daemon of a kind first, a look at how it fares there, then the others; or back to what was."""

import time
from pathlib import Path

from .client import _upgrade_entry
from .errors import DaemonDown, Error

_RETURN_SECONDS = 30  # a daemon that died is waited for so long: its supervisor starts it again


def upgrade(client, kind_of_daemon, files, *, kind="task", seconds=10, report=lambda line: None):
    """Send files to one daemon of a kind ("modulehost"), watch it, then to the others.

    The first is watched for so many seconds: it must answer, be the same process, and its new methods must not fail more often than the ones before them did.  Where it does
    not fare well, or another refuses the files, every daemon that has them goes back to what it had.  Returns the names of the daemons; raises Error.
    """
    daemons = [name for name in client.daemons() if name == kind_of_daemon or name.startswith(f"{kind_of_daemon}:")]
    if not daemons:
        raise Error(f"there is no daemon {kind_of_daemon}; there are: {', '.join(client.daemons())}")
    entries = [_upgrade_entry(Path(file), kind) for file in files]
    done = []
    try:
        for number, daemon in enumerate(daemons):
            before = _figures(client, daemon, entries)
            was = _active(client, daemon, entries)
            done.append((daemon, was))  # before the call: an answer that is lost says nothing about what was done
            client.call(daemon, "upgrade", entries)
            report(f"{daemon}: upgraded")
            if number == 0 and len(daemons) > 1:
                _watch(client, daemon, entries, before, seconds, report)
    except (Error, KeyboardInterrupt) as error:
        back = [_go_back(client, daemon, was, entries) for daemon, was in done]
        raise Error(f"{error or 'interrupted'}; " + ("; ".join(back) if back else "nothing was changed")) from None
    return daemons


def _active(client, daemon, entries):
    """Hash of the active version of each method, by (kind, name)."""
    wanted = {(entry["kind"], entry["name"]) for entry in entries}
    versions = client.call(daemon, "list_versions")["versions"]
    return {(v["kind"], v["name"]): v["sha256"] for v in versions if v["active"] and (v["kind"], v["name"]) in wanted}


def _figures(client, daemon, entries):
    """(calls, failures) of each method, by (kind, name), and which process the daemon is."""
    figures = {}
    for kind in {entry["kind"] for entry in entries}:
        for method in client.call(daemon, f"list_{kind}s"):
            figures[kind, method["name"]] = method.get("calls", 0), method.get("failures", 0)
    figures["incarnation"] = client.call(daemon, "get_version")["incarnation"]
    return figures


def _rate(figures, key):
    calls, failures = figures.get(key, (0, 0))
    return failures / calls if calls else 0.0


def _watch(client, daemon, entries, before, seconds, report):
    """Raises Error when the daemon does not fare as well as before."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(min(1, max(0.05, seconds / 10)))
        now = _figures(client, daemon, entries)
        if now["incarnation"] != before["incarnation"]:
            raise Error(f"{daemon} died and was started again")
        for entry in entries:
            key = entry["kind"], entry["name"]
            calls, failures = now.get(key, (0, 0))
            if failures and _rate(now, key) > max(0.01, 2 * _rate(before, key)):
                raise Error(f"{daemon}: {failures:.0f} of {calls:.0f} calls of {entry['name']} failed since it was upgraded")
    calls = sum(now.get((entry["kind"], entry["name"]), (0, 0))[0] for entry in entries)
    report(f"{daemon}: {calls:.0f} calls in {seconds:g} s, it fares well")


def _when_up(what):
    """The value of what(), tried again while its daemon is down: the new version may just have made it die."""
    end = time.monotonic() + _RETURN_SECONDS
    while True:
        try:
            return what()
        except DaemonDown:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _go_back(client, daemon, was, entries):
    """Have a daemon use what it used before; says how that went."""
    try:
        now = _when_up(lambda: _active(client, daemon, entries))
        for (kind, name), sha256 in was.items():
            if now.get((kind, name)) != sha256:
                _when_up(lambda name=name, options={"kind": kind, "sha256": sha256}: client.call(daemon, "rollback", name, options))
    except Error as error:
        return f"{daemon} could not be set back: {error}"
    new = [entry["name"] for entry in entries if (entry["kind"], entry["name"]) not in was]
    return f"{daemon} is as it was" + (f", but for {', '.join(new)}, which it had not" if new else "")
