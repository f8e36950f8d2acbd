"""Where the packets of an installed request were counted: path by path, by the rules of the switches that the path crosses.

A path goes from one node of the request (a FromNet or a module) to the next (a module or a ToNet).  Paths inside one host cross no
switch; there the counters of the modules at both ends say all.
"""

import re
from typing import NamedTuple, Optional

_OWN_PATH = re.compile(r"nsh_spi=(0x[0-9a-f]+|\d+)")
_GIVEN_PATH = re.compile(r"set_field:(0x[0-9a-f]+|\d+)->nsh_spi")


class Counted(NamedTuple):
    """A switch on a path, and how many packets its rule for the path has counted; None when the switch has no such rule."""

    switch: str
    packets: Optional[int]


class Trail(NamedTuple):
    """One path with its counts.  start and end: names of nodes; port_in, port_out: the network ports where it begins and ends, or "".

    arrived: how many packets came to its end; None when that is not known.
    """

    number: int
    start: str
    end: str
    port_in: str
    port_out: str
    counts: list
    arrived: Optional[int] = None


def follow(client, allocation):
    """The trails of an allocation (as get_allocation returns it), counted now.  Raises Error when a switch cannot be asked."""
    if not allocation.get("paths"):
        return []
    bridges = {host["name"]: host["bridge"] for host in client.list_hosts()}
    counts = {entry["switch"]: rule_counts(client, entry["switch"], entry["target"], allocation["id"]) for entry in allocation["rules"]}
    return [_trail(path, allocation, bridges, counts) for path in allocation["paths"]]


def rule_counts(client, switch, target, number):
    """How many packets the rules of an allocation in one switch have counted, by the number of the path."""
    counts = {}
    for rule in client.call("openflow", "get_rules", {"switch": switch, "target": target, "allocation": number}):
        path = path_of(rule["match"], rule["actions"])
        counts[path] = counts.get(path, 0) + int(rule["packets"])
    return counts


def path_of(match, actions):
    """The number of the path that a rule serves: the one it matches, else the one it puts packets on, else None."""
    found = _OWN_PATH.search(match) or _GIVEN_PATH.search(actions)
    return int(found.group(1), 0) if found else None


def switches_of(path, bridges):
    """The switches that a path crosses, in order; bridges: the bridge of each host by the host's name."""
    stops = path["path"]
    if len(stops) < 2:
        return []
    return [bridges[stop] for stop in stops[:1] if stop in bridges] + stops[1:-1] + [bridges[stop] for stop in stops[-1:] if stop in bridges]


def _trail(path, allocation, bridges, counts):
    crossed = [Counted(switch, counts.get(switch, {}).get(path["spi"])) for switch in switches_of(path, bridges)]
    return Trail(path["spi"], path["from"], path["to"], path["io"], allocation["ports"].get(path["to"], ""), crossed, _arrived(path, allocation, crossed))


def _arrived(path, allocation, crossed):
    """A switch counts for its rules also what their meter drops, and Open vSwitch does so for all switches behind it that it holds itself."""
    last = crossed[-1].packets if crossed else None
    if "meter" not in path:
        return last
    if sum(other.get("meter") == path["meter"] for other in allocation["paths"]) > 1:
        return None  # which of them the meter's drops are of, nobody knows
    passed = sum(int(meter["packets"] - meter["rate_drops"]) for meter in allocation.get("meters") or [] if meter["meter"] == path["meter"])
    return passed if last is None else min(last, passed)
