"""The client: calls methods of the daemons of a platform and turns their answers into values and exceptions.

One kept-alive connection a daemon.  Every call has a deadline over all of it: connecting, sending, waiting and reading.
A Client serves one thread at a time.
"""

import base64
import difflib
import http.client
import os
import socket
import ssl
import time
import urllib.parse
import uuid
import xmlrpc.client
from pathlib import Path
from xml.parsers.expat import ExpatError

from . import folder
from .errors import BadFile, CallFault, DaemonDown, DeadlinePassed, Error, NotReady, Refused

SUCCESS, NOT_READY = 0, -1
_PIECE = 1 << 20  # bytes of a backup in one call


def _about_text(parameters, files, request, file):
    """The options of a text that are given."""
    return {key: value for key, value in (("parameters", parameters), ("files", files), ("request", request), ("file", file)) if value}


def _with_key(key):
    """The options of a call with that key; none without."""
    return [{"key": key}] if key else []


class Client:
    """The daemons of the platform in a folder (see folder.locate)."""

    def __init__(self, dir=None, *, deadline=60.0):
        """Read the platform's record and token; nothing is connected yet.  deadline: seconds for a call.  Raises Error."""
        self.directory = folder.locate(dir)
        self.deadline = deadline
        self.record = folder.Record.load(self.directory)
        self.message = ""
        self._credentials = None
        self._servers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close all connections; a later call opens them again."""
        for transport, _ in self._servers.values():
            transport.close()
        self._servers.clear()

    def daemons(self):
        """The names of the daemons, module hosts as "modulehost:NAME"."""
        return list(self.record.data["daemons"])

    def url(self, daemon):
        """The daemon's address with the credentials in it, for xmlrpc.client.ServerProxy."""
        address = urllib.parse.urlsplit(self._entry(daemon)[1]["url"])
        user, _, password = self._token().partition(":")
        quoted = f"{urllib.parse.quote(user, safe='')}:{urllib.parse.quote(password, safe='')}"
        return address._replace(netloc=f"{quoted}@{address.netloc}").geturl()

    def call(self, daemon, method, *args, deadline=None):
        """Call a method and return its value; 'message' has what the daemon says beside it.

        Raises Refused (NotReady for code -1) with the daemon's message, CallFault, DaemonDown, DeadlinePassed, or Error when the
        parameters cannot be written as XML-RPC.
        """
        key, entry = self._entry(daemon)
        answer = self._exchange(key, entry["url"], method, args, self.deadline if deadline is None else deadline)
        if method.startswith("system."):
            return answer
        if not isinstance(answer, dict) or not {"code", "message", "value"} <= set(answer):
            raise CallFault(f"the {key} daemon's answer to {method} is no ReturnValue")
        self.message = answer["message"] or ""
        if answer["code"] == SUCCESS:
            return answer["value"]
        message = answer["message"] or f"{method} failed with code {answer['code']} and no message"
        if answer["code"] == NOT_READY:
            raise NotReady(message, answer["value"])
        raise Refused(message, answer["code"], answer["value"])

    # The methods of the resource daemon.

    def install_allocation(self, alloc, *, wait=30, name=None, key=None, parameters=None, files=None, request=None, file=None):
        """Install a request; returns its id.  key makes repeating safe; one is made up if none is given.

        parameters: what $NAME stands for; files: texts that it includes, by name; request: which one, where the text has several;
        file: the name for messages about the text.
        """
        options = {"wait": int(wait), "key": key or str(uuid.uuid4()), **_about_text(parameters, files, request, file)}
        if name is not None:
            options["name"] = name
        return self.call("resource", "install_allocation", alloc, options, deadline=max(self.deadline, wait + 30))

    def plan_allocation(self, alloc, *, parameters=None, files=None, request=None, file=None):
        """What install_allocation would do: a dictionary of placement, paths, rules and the plan's id."""
        options = _about_text(parameters, files, request, file)
        return self.call("resource", "plan_allocation", alloc, *([options] if options else []))

    def delete_allocation(self, alloc_id, force=False):
        """Delete an installed request.  By force also where a host or switch cannot be reached; 'message' then says what."""
        if not force:
            return self.call("resource", "delete_allocation", int(alloc_id))
        return self.call("resource", "delete_allocation", int(alloc_id), {"force": True}, deadline=max(self.deadline, 200))

    def get_drift(self):
        """How what is there differs from what is wanted: a dictionary with in_step and differences, a list."""
        return self.call("resource", "get_drift")

    def collect_garbage(self, dry_run=False):
        """Remove what belongs to no request, or only say what would go: a dictionary with items and problems."""
        return self.call("resource", "collect_garbage", {"dry_run": dry_run})

    def list_allocations(self, brief=False):
        """All installed requests, a list of dictionaries; brief: with hosts and module_count in place of modules, ports and paths.  Asked for page by page."""
        found, page, most = [], None, 1000 if brief else 500
        while page is None or len(page) == most:
            page = self.call("resource", "list_allocations", {"after": found[-1]["id"] if found else 0, "most": most, "brief": brief})
            found += page
        return found

    def get_allocation(self, alloc_id):
        """One installed request with its modules, counters and paths, a dictionary."""
        return self.call("resource", "get_allocation", int(alloc_id))

    def get_flows(self, alloc_id, keep=60, most=100):
        """Which flows an allocation handles, since the first call: a dictionary with flows (the largest first, so many at most), seconds, other_packets, ...

        They are counted until nobody has asked for 'keep' seconds; 0 ends it.
        """
        return self.call("resource", "get_flows", int(alloc_id), {"keep": float(keep), "most": int(most)})

    def deploy_pm(self, pm_name, pm_src):
        """Make a module type of that name from source text."""
        return self.call("resource", "deploy_pm", pm_name, pm_src)

    def get_pm_info(self):
        """The module types: a list of (description, primitives), primitives a dictionary of name to parameters."""
        return [tuple(pair) for pair in self.call("resource", "get_pm_info")]

    def create_pm(self, pm, key=None):
        """Start one module: a dictionary with name, type, args, cpu, mem and optionally host and basesys.  key makes repeating safe, here and in the next three."""
        return self.call("resource", "create_pm", pm, *_with_key(key))

    def delete_pm(self, pm, key=None):
        """Stop one module."""
        return self.call("resource", "delete_pm", pm, *_with_key(key))

    def create_connections(self, switch_name, switch_table_id, alloc, key=None):
        """Program the connections of a request into one table of one switch."""
        return self.call("resource", "create_connections", switch_name, switch_table_id, alloc, *_with_key(key))

    def delete_connections(self, switch_name, switch_table_id, alloc, key=None):
        """Take the connections of a request out of one table of one switch."""
        return self.call("resource", "delete_connections", switch_name, switch_table_id, alloc, *_with_key(key))

    def register_host(self, host):
        """Add a module host: a dictionary with name, address, cpu, mem."""
        return self.call("resource", "register_host", host)

    def remove_host(self, name):
        """Take a module host out of use."""
        return self.call("resource", "remove_host", name)

    def drain_host(self, name, drain=True):
        """Put no more modules on a host, or, with False, do so again."""
        return self.call("resource", "drain_host", name, bool(drain))

    def list_hosts(self):
        """The module hosts, a list of dictionaries."""
        return self.call("resource", "list_hosts")

    def backup(self, file):
        """Write a copy of the resource daemon's store, as it is at one moment, to a new file; returns bytes, records and schema.

        Nobody has to wait for it.  The file appears whole or not at all.  Raises BadFile when there is such a file or it cannot be written.
        """
        file = Path(file)
        if file.exists():
            raise BadFile(f"{file}: there is such a file already")
        made, new = self.call("resource", "backup_store", deadline=600), file.with_name(f"{file.name}.new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                while piece := self.call("resource", "read_backup", float(out.tell())).data:
                    out.write(piece)
                if out.tell() != made["bytes"]:
                    raise Error(f"{file}: {out.tell()} of {made['bytes']:.0f} bytes came; another backup was made at the same time: try again")
                out.flush()
                os.fsync(out.fileno())
            new.replace(file)
        except OSError as error:
            raise BadFile(f"{file}: {error.strerror}") from None
        finally:
            new.unlink(missing_ok=True)
        return made

    def restore(self, file):
        """What the backup wants is wanted from now on; returns deleted, restored and unchanged (ids) and problems.

        Raises Refused, with nothing changed, when the file is no whole backup or an allocation is being installed or deleted.
        """
        try:
            with open(file, "rb") as backup:
                at = 0
                while (piece := backup.read(_PIECE)) or not at:
                    self.call("resource", "write_backup", float(at), xmlrpc.client.Binary(piece))
                    at += len(piece)
                    if not piece:
                        break
        except OSError as error:
            raise BadFile(f"{file}: {error.strerror}") from None
        return self.call("resource", "restore_store", deadline=max(self.deadline, 90))

    def hosts_up(self):
        """The names of the module hosts that are registered and heard of, sorted."""
        return sorted(host["name"] for host in self.list_hosts() if host.get("state", "up") == "up")

    # Methods of every daemon.

    def ping(self, daemon):
        """Raise unless the daemon answers."""
        return self.call(daemon, "ping")

    def list_tasks(self, daemon):
        """The tasks that the daemon has, with version, source file, calls, failures and seconds, a list of dictionaries."""
        return self.call(daemon, "list_tasks")

    def upgrade(self, daemon, files, *, kind="task"):
        """Replace or add tasks or commands of the daemon by loadable files; all of them or none.  Returns the daemon's value.

        A file is named as its method.  kind: "task" or "command"; a file in a folder "tasks" or "commands" has that kind.
        """
        return self.call(daemon, "upgrade", [_upgrade_entry(Path(file), kind) for file in files])

    def _entry(self, daemon):
        key = daemon_key(self.record, daemon)
        return key, self.record.data["daemons"][key]

    def _token(self):
        if self._credentials is None:
            path = self.directory / "token"
            try:
                self._credentials = path.read_text().strip()
            except OSError as error:
                raise Error(f"cannot read the credentials in {path}: {error.strerror}") from None
        return self._credentials

    def _tls(self):
        """TLS 1.2 or newer; the certificate must be signed by the platform's ca.pem, or, where there is none, by one that the system trusts."""
        authority = self.directory / "ca.pem"
        try:
            context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        except (OSError, ssl.SSLError) as error:
            raise Error(f"{authority} is no file of certificates: {error}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _SecureSocket
        return context

    def _exchange(self, key, url, method, args, seconds):
        transport, server = self._server(key, url)
        transport.deadline = time.monotonic() + seconds
        try:
            return server("__call__", method, args)
        except xmlrpc.client.Fault as fault:
            raise CallFault(f"{key}: {fault.faultString}", fault.faultCode) from None
        except xmlrpc.client.ProtocolError as error:
            raise CallFault(f"the {key} daemon answered {method} with HTTP status {error.errcode} {error.errmsg}"
                            + ("; the token file does not fit it" if error.errcode == 401 else ""), error.errcode) from None
        except ssl.SSLCertVerificationError as error:
            transport.close()
            raise Error(f"the certificate of the {key} daemon at {url} is not accepted: {error.verify_message}; {self.directory}/ca.pem must have "
                        "signed it, for this address") from None
        except socket.timeout:
            transport.close()
            raise DeadlinePassed(key, method, seconds) from None
        except (OSError, http.client.HTTPException) as error:
            transport.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DaemonDown(key, url, reason, f"'flowstream start {key} --dir {self.directory}' starts it, and its log is "
                             f"{self.record.data['daemons'][key]['dir']}/log") from None
        except (ExpatError, xmlrpc.client.ResponseError) as error:
            transport.close()
            raise CallFault(f"the {key} daemon's answer to {method} is no XML-RPC: {error}") from None
        except (TypeError, OverflowError) as error:
            raise Error(f"a parameter of {method} cannot be sent by XML-RPC: {error}") from None

    def _server(self, key, url):
        if key not in self._servers:
            header = "Basic " + base64.b64encode(self._token().encode()).decode()
            transport = _Transport(header)
            address = urllib.parse.urlsplit(url)
            if address.scheme not in ("http", "https"):
                raise Error(f"the address {url} of the {key} daemon is neither http://HOST:PORT/PATH nor https://HOST:PORT/PATH")
            if address.scheme == "https":
                transport.tls = self._tls()

            def send(_, method, args):
                body = xmlrpc.client.dumps(tuple(args), method, allow_none=True).encode("utf-8", "xmlcharrefreplace")
                answer = transport.request(address.netloc, address.path or "/RPC2", body)
                return answer[0] if len(answer) == 1 else answer

            self._servers[key] = (transport, send)
        return self._servers[key]


def daemon_key(record, name):
    """The name under which the record has a daemon: a host's name means its module host.  Raises Error."""
    daemons = record.data["daemons"]
    hosts = [key for key in daemons if key.startswith("modulehost:")]
    if name in daemons:
        return name
    if f"modulehost:{name}" in daemons:
        return f"modulehost:{name}"
    if name == "modulehost" and len(hosts) == 1:
        return hosts[0]
    if name == "modulehost" and hosts:
        raise Error(f"there are {len(hosts)} module hosts: say which, one of {', '.join(hosts)}")
    if not daemons:
        raise Error(f"the platform in {record.directory} was made without daemons")
    near = difflib.get_close_matches(name, daemons, 1)
    raise Error(f"there is no daemon '{name}'{f', do you mean {near[0]}?' if near else ''}; there are: {', '.join(daemons)}")


def _upgrade_entry(file, kind):
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Error(f"cannot read {file}: {error.strerror}") from None
    parents = [parent.name for parent in file.resolve().parents]
    for folder_name, its_kind in (("tasks", "task"), ("commands", "command")):
        if folder_name in parents[:2]:
            kind = its_kind
    signature = Path(f"{file}.sig")
    entry = {"kind": kind, "name": file.name.removesuffix(".so"), "content": content}
    if signature.exists():
        entry["signature"] = signature.read_bytes()
    return entry


class _Deadline:
    """A connection whose every operation ends at one common deadline."""

    deadline = None

    def _prepare(self):
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("deadline passed")
        self.settimeout(left)

    def sendall(self, *args):
        self._prepare()
        return super().sendall(*args)

    def recv_into(self, *args):
        self._prepare()
        return super().recv_into(*args)


class _Socket(_Deadline, socket.socket):
    pass


class _SecureSocket(_Deadline, ssl.SSLSocket):
    pass


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a _Socket; deadline is set anew for each call."""

    deadline = None
    tls = None

    def connect(self):
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("deadline passed")
        plain = socket.create_connection((self.host, self.port), left)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)
        else:
            self.sock = _Socket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        self.sock.deadline = self.deadline

    def set_deadline(self, deadline):
        self.deadline = deadline
        if self.sock is not None:
            self.sock.deadline = deadline


class _Transport(xmlrpc.client.Transport):
    user_agent = "flowstream"

    def __init__(self, authorization):
        super().__init__(headers=[("Authorization", authorization)])
        self.deadline = None
        self.tls = None

    def make_connection(self, host):
        if not self._connection or host != self._connection[0]:
            self._connection = host, _Connection(host)
            self._connection[1].tls = self.tls
        self._connection[1].set_deadline(self.deadline)
        return self._connection[1]
