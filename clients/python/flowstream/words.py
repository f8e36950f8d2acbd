"""Values of the daemons as text for people: tables, nested values, the drawing of an allocation.  Plain ASCII."""

_UNKNOWN = "-"
_MOST_CHAINS = 32  # lines of a drawing


def table(rows, columns):
    """Rows (dictionaries) as an aligned table.  columns: list of (key, heading); a column that no row has is left out."""
    shown = [(key, heading) for key, heading in columns if not rows or any(key in row for row in rows)]
    cells = [[heading for _, heading in shown]] + [[cell(row.get(key)) for key, _ in shown] for row in rows]
    numeric = [bool(rows) and all(isinstance(row.get(key), (int, float, type(None))) for row in rows) for key, _ in shown]
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


def allocation(value):
    """An installed request as get_allocation returns it: a heading, its paths as chains, its modules with counters."""
    modules = value.get("modules") or []
    heading = f"allocation {cell(value.get('id'))}"
    heading += f" '{cell(value['name'])}'" if value.get("name") else ""
    heading += f" of {cell(value['owner'])}" if value.get("owner") else ""
    parts = [f"{heading}: {cell(value.get('state'))}"]
    paths = value.get("paths") or []
    chains = _chains(paths, modules)
    if chains:
        parts.append("\n".join(f"  {chain}" for chain in chains))
    if paths:
        parts.append("\n".join(f"  {_way(path)}" for path in paths))
    if modules:
        first = ("name", "type", "host", "in", "out", "dropped", "bytes")
        parts.append("\n".join("  " + line for line in table(modules, columns_of(modules, first)).splitlines()))
    rest = {key: item for key, item in value.items() if key not in ("id", "name", "owner", "state", "modules", "paths") and item}
    if rest:
        parts.append(nested(rest, 2))
    return "\n\n".join(parts)


def _chains(paths, modules):
    """The service graph as lines "net0 -> [fw: Firewall on h1] -> net1", one for each way from a source to a sink."""
    next_of = {}
    for path in paths:
        if isinstance(path, dict) and path.get("from") and path.get("to"):
            next_of.setdefault(path["from"], []).append(path["to"])
    known = {name: module for module in modules for name in (module.get("name"), module.get("node")) if name}
    arrived = {to for ends in next_of.values() for to in ends}
    lines = []
    unfinished = [[start] for start in reversed(list(next_of)) if start not in arrived]
    while unfinished and len(lines) < _MOST_CHAINS:
        chain = unfinished.pop()
        ends = [to for to in dict.fromkeys(next_of.get(chain[-1], [])) if to not in chain]
        if not ends:
            lines.append(" -> ".join(_stop(stop, known) for stop in chain))
        unfinished += [chain + [to] for to in reversed(ends)]
    return lines + (["..."] if unfinished else [])


def _stop(name, known):
    module = known.get(name)
    return cell(name) if module is None else f"[{cell(name)}: {cell(module.get('type'))} on {cell(module.get('host'))}]"


def _way(path):
    """One path through switches and hosts: "in -> fw: net0 -> tor0 -> h1"."""
    if not isinstance(path, dict):
        return " -> ".join(cell(stop) for stop in path) if isinstance(path, (list, tuple)) else text(path)
    key = next((key for key in ("path", "via", "hops", "nodes") if path.get(key)), None)
    stops = path.get(key) or []
    stops = stops.split() if isinstance(stops, str) else stops
    rest = {name: item for name, item in path.items() if name not in ("from", "to", "from_port", "to_port", key) and item not in ("", None)}
    ends = " -> ".join(_end(path, end) for end in ("from", "to"))
    return f"{ends}: {' -> '.join(cell(stop) for stop in stops) or _UNKNOWN}" + (f"  ({cell(rest)})" if rest else "")


def _end(path, end):
    port = path.get(f"{end}_port")
    return cell(path.get(end)) + (f"[{port}]" if isinstance(port, int) else "")


def _ascii(value):
    return text(value).encode("ascii", "backslashreplace").decode()
