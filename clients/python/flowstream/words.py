"""Values of the daemons as text for people: tables, nested values, the drawing of an allocation.  Plain ASCII."""

import time

_UNKNOWN = "-"
_MOST_ROWS = 200  # of a drawing


def table(rows, columns, unknown=_UNKNOWN):
    """Rows (dictionaries) as an aligned table.  columns: list of (key, heading); a column that no row has is left out.

    unknown: what stands where a row has nothing.
    """
    shown = [(key, heading) for key, heading in columns if not rows or any(key in row for row in rows)]
    cells = [[heading for _, heading in shown]] + [[unknown if row.get(key) in (None, "") else cell(row[key]) for key, _ in shown] for row in rows]
    numeric = [bool(rows) and all(isinstance(row.get(key), (int, float, type(None), _Figure)) for row in rows) for key, _ in shown]
    widths = [max(len(line[i]) for line in cells) for i in range(len(shown))]
    return "\n".join("  ".join(text.rjust(width) if right else text.ljust(width)
                               for text, width, right in zip(line, widths, numeric)).rstrip() for line in cells)


def columns_of(rows, first=()):
    """Columns for a table of rows of unknown make: those named first, then what else there is, each headed by its key."""
    keys = list(dict.fromkeys(list(first) + [key for row in rows for key in row]))
    return [(key, key.upper()) for key in keys]


def cell(value):
    """One value on one line."""
    if value is None or value == "":
        return _UNKNOWN
    if isinstance(value, _Drawn):
        return str(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value) or _UNKNOWN
    if isinstance(value, dict):
        return " ".join(f"{key}={cell(item)}" for key, item in value.items()) or _UNKNOWN
    return " ".join(_ascii(value).split())


def nested(value, indent=0):
    """Any value over several lines: a dictionary as "key: value", a list of dictionaries as a table."""
    space = " " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            if isinstance(item, (dict, list, tuple)) and item:
                lines += [f"{space}{key}:", nested(item, indent + 2)]
            else:
                lines.append(f"{space}{key}: {cell(item)}")
        return "\n".join(lines)
    if isinstance(value, (list, tuple)) and value:
        if all(isinstance(item, dict) for item in value):
            return "\n".join(space + line for line in table(value, columns_of(value)).splitlines())
        return "\n".join(f"{space}{cell(item)}" for item in value)
    return space + (text(value) if isinstance(value, str) else cell(value)).replace("\n", "\n" + space)


def text(value):
    """A text of several lines as it is, but for what a terminal could take as an order."""
    return "".join(char if char in "\n\t" or char.isprintable() else f"\\x{ord(char):02x}" for char in str(value))


def count(number, unit=""):
    """A number for people: 999, 12.3 k, 4.56 M, each with the unit."""
    number = float(number)
    for prefix in ("", "k", "M", "G", "T"):
        if abs(number) < 999.5 or prefix == "T":
            break
        number /= 1000
    digits = f"{number:.3g}" if prefix or number != int(number) else f"{number:.0f}"
    return _Figure(f"{digits} {prefix}{unit}".rstrip())


def date(seconds):
    """A point in time, in seconds since 1970, in the zone of this computer; None where it is not known."""
    return seconds and time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def allocation(value, trails=()):
    """An installed request as get_allocation returns it: a heading, and the way of its packets with counts.  trails: of trail.follow()."""
    name = f" '{cell(value['name'])}'" if value.get("name") else ""
    owner = f" of {cell(value['owner'])}" if value.get("owner") else ""
    since = f" since {date(value['created'])}" if value.get("created") else ""
    parts = [f"request {cell(value.get('id'))}{name}{owner}: {cell(value.get('state'))}{since}"]
    modules = value.get("modules") or []
    on_links = {one.number: one.arrived for one in trails if one.counts}
    rows = _drawing(value.get("paths") or [], value.get("ports") or {}, modules, lambda path: _on_link(path, value["paths"], modules, on_links), value.get("meters") or [])
    if rows:
        unusual = [("state", "STATE")] if any(row.get("state") not in (None, "running") for row in rows) else []
        unusual += [("ring_drops", "NO ROOM")] if any(row.get("ring_drops") for row in rows) else []
        unusual += [("rate_drops", "ABOVE RATE")] if any(row.get("rate_drops") for row in rows) else []
        parts.append(table(rows, [("way", "WAY"), ("host", "HOST"), ("link", "ARRIVED"), ("in", "IN"), ("out", "OUT"), ("dropped", "DROPPED"),
                                  ("volume", "BYTES"), ("pps", "PACKETS/S"), ("bps", "BITS/S")] + unusual, unknown=""))
    parts += [text(value["message"])] if value.get("message") else []
    parts += [f"not known: {text(problem)}" for problem in value.get("problems") or []]
    return "\n\n".join(parts)


def plan(value):
    """What plan_allocation returns: placement and paths as a drawing, and the rules, one a line."""
    modules = [dict(module, name=module["node"]) for module in value["placement"]]
    rows = _drawing(value["paths"], value["ports"], modules, lambda path: None)
    for row in rows:
        if "mem" in row:
            row["memory"] = _Figure(f"{cell(row['mem'])} MB")
    drawing = table(rows, [("way", "WAY"), ("host", "HOST"), ("cpu", "CORES AT MOST"), ("memory", "MEMORY AT MOST"), ("path", "PATH"), ("through", "THROUGH")],
                    unknown="")
    parts = [f"would be request {value['id']}", drawing, loads(value.get("loads") or {}), rules(value["rules"]), "\n".join(f"note: {text(note)}" for note in value.get("notes") or [])]
    return "\n\n".join(part for part in parts if part)


def loads(value):
    """What a plan would change: the hosts and links whose load would be another, before and after, and how many would stay as they are."""
    tables, same = [], 0
    hosts = [dict(host, cores=_change(host, "cpu"), memory=_change(host, "mem", " MB"), count=_change(host, "modules"))
             for host in value.get("hosts", []) if host["modules_before"] != host["modules_after"]]
    links = [{"link": f"{link['from']} > {link['to']}", "rate": _Figure(f"{cell(link['before'])} -> {cell(link['after'])} of {cell(link['bandwidth'])} Mbit/s")}
             for link in value.get("links", []) if link["before"] != link["after"]]
    same = len(value.get("hosts", [])) - len(hosts), len(value.get("links", [])) - len(links)
    if hosts:
        tables.append(table(hosts, [("host", "HOST"), ("cores", "CORES"), ("memory", "MEMORY"), ("count", "MODULES")]))
    if links:
        tables.append(table(links, [("link", "LINK"), ("rate", "RESERVED")]))
    if value:
        tables.append(f"as before: {same[0]} hosts, {same[1]} directions of links")
    return "\n\n".join(tables)


def _change(host, key, unit=""):
    limit = f" of {cell(host[key])}{unit}" if key in host else ""
    return _Figure(f"{cell(host[f'{key}_before'])} -> {cell(host[f'{key}_after'])}{limit}")


_PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmpv6", 132: "sctp"}
_ETHERTYPES = {0x0806: "arp", 0x88cc: "lldp"}


def flows(value):
    """What get_flows returns: a row a flow."""
    rows = []
    for flow in value["flows"]:
        ip = flow["source"] != "-"
        protocol = _PROTOCOLS.get(flow["protocol"], f"ip {flow['protocol']}") if ip else _ETHERTYPES.get(flow["ethertype"], f"0x{flow['ethertype']:04x}")
        rows.append({"module": flow["module"], "vlan": flow["vlan"] if flow["vlan"] >= 0 else None, "protocol": protocol, "packets": flow["packets"],
                     "source": _end(flow, "source"), "destination": _end(flow, "destination"), "volume": count(flow["bytes"], "B")})
    columns = [("module", "MODULE"), *([("vlan", "VLAN")] if any(row["vlan"] is not None for row in rows) else []), ("protocol", "PROTOCOL"),
               ("source", "FROM"), ("destination", "TO"), ("packets", "PACKETS"), ("volume", "BYTES")]
    parts = [table(rows, columns) if rows else "no packet has come"]
    parts += [f"others: {cell(value['other_packets'])} packets, {count(value['other_bytes'], 'B')}"] if value["other_packets"] else []
    parts += [f"{cell(value['forgotten'])} flows came for which there was no place"] if value["forgotten"] else []
    parts += [f"not known: {text(problem)}" for problem in value.get("problems") or []]
    return "\n".join(parts + [f"counted where they come to the first modules, for {value['seconds']:.1f} s"])


def _end(flow, which):
    address, port = flow[which], flow[f"{which}_port"]
    return address if not port else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def dot(value, trails=()):
    """An installed request as a graph for Graphviz: modules with their counts, and on each link what arrived at its end."""
    modules = {module["name"]: module for module in value.get("modules") or []}
    paths = value.get("paths") or []
    on_links = {one.number: one.arrived for one in trails if one.counts}
    lines, done = [f"digraph {_quoted(value.get('name') or value['id'])} {{", "  rankdir=LR;", "  node [shape=box];"], set()

    def node(name, label, shape="box"):
        if name not in done:
            done.add(name)
            lines.append(f"  {_quoted(name)} [label={_quoted(label)}{'' if shape == 'box' else f', shape={shape}'}];")
        return _quoted(name)

    def end(name, io):
        module = modules.get(name)
        if module:
            return node(name, f"{name}\n{module['type']} on {module['host']}\nin {cell(module['in'])}, out {cell(module['out'])}, dropped {cell(module['dropped'])}")
        port = io or (value.get("ports") or {}).get(name, "")
        return node(f"{name}@{port}", f"{port}\n{name}", "ellipse")

    for path in paths:
        arrived = _on_link(path, paths, list(modules.values()), on_links)
        label = f"path {path['spi']}" + ("" if arrived is None else f"\n{cell(arrived)}")
        lines.append(f"  {end(path['from'], path['io'])} -> {end(path['to'], '')} [label={_quoted(label)}];")
    return "\n".join(lines + ["}"])


def _quoted(text_):
    """A string of Graphviz's language."""
    return '"' + _ascii(text_).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def rules(switches):
    """The meters and rules of each switch, one a line, as ovs-ofctl takes them."""
    lines = []
    for entry in switches:
        if entry.get("meters"):
            lines += [f"meters of {cell(entry['switch'])}:"]
            lines += [f"  meter={meter['meter']},kbps,burst,band=type=drop,rate={meter['kbps']:.0f},burst_size={meter['burst']:.0f}" for meter in entry["meters"]]
        lines += [f"rules of {cell(entry['switch'])}:"] + [f"  {cell(rule)}" for rule in entry["rules"]]
    return "\n".join(lines)


def host(value):
    """A row for the table of hosts."""
    return dict(value, state=value.get("state", "up") + (", draining" if value.get("draining") else ""), cores=_Figure(f"{cell(value.get('cpu_used', 0))} of {cell(value['cpu'])}"),
                memory=_Figure(f"{cell(value.get('mem_used', 0))} of {cell(value['mem'])} MB"))


class _Figure(str):
    """A number with its unit, set to the right in tables."""


class _Drawn(str):
    """A text whose spaces are part of a drawing."""


def _drawing(paths, ports, modules, on_link, meters=()):
    """The way of the packets as a tree, a row a node, in each source's order.  What a meter dropped stands at the first port whose packets it holds."""
    drops = {meter["meter"]: meter.get("rate_drops", 0) for meter in meters}
    known, rows, done = {module["name"]: module for module in modules}, [], set()
    ends = {path["to"] for path in paths}

    def draw(path, stem, last):
        name = path["to"]
        module = known.get(name)
        again = name in done and module is not None
        label = f"{name} ({module['type']})" if module else ports.get(name) or name
        rows.append(dict(_figures(module) if module and not again else {}, link=on_link(path), path=path["spi"],
                         through=" > ".join(path["path"]), way=_Drawn(_ascii(f"{stem}{'`' if last else '|'}- {label}{', see above' if again else ''}"))))
        if not again and len(rows) < _MOST_ROWS:
            done.add(name)
            onward(name, stem + ("   " if last else "|  "))

    def onward(name, stem):
        following = [path for path in paths if path["from"] == name]
        for number, path in enumerate(following, 1):
            draw(path, stem, number == len(following))

    for path in paths:
        if path["from"] not in ends and path["from"] not in known and (path["from"], path["io"]) not in done:
            done.add((path["from"], path["io"]))
            dropped = drops.pop(path.get("meter"), None)
            rows.append({"way": _Drawn(_ascii(f"{path['io']} ({path['from']})")), **({} if dropped is None else {"rate_drops": dropped})})
            same = [other for other in paths if (other["from"], other["io"]) == (path["from"], path["io"])]
            for number, other in enumerate(same, 1):
                draw(other, "", number == len(same))
    return rows


def _figures(module):
    figures = dict(module)
    if "bytes" in module:
        figures.update(volume=count(module["bytes"], "B"), pps=count(round(module.get("packets_per_second", 0))),
                       bps=count(module.get("bits_per_second", 0)))
    return figures


def _on_link(path, paths, modules, on_links):
    """How many packets came to the end of a path: as its last switch says, or where that cannot tell, or inside a host, as the module says whose only path it is."""
    if on_links.get(path["spi"]) is not None:
        return on_links[path["spi"]]
    if (len(path["path"]) < 2 or path["spi"] in on_links) and sum(other["to"] == path["to"] for other in paths) == 1:
        return next((module["in"] for module in modules if module["name"] == path["to"]), None)
    return None


def _ascii(value):
    return text(value).encode("ascii", "backslashreplace").decode()
