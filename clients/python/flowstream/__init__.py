"""Flowstream from Python: call a platform's daemons, make an embedded platform, send and catch packets at its ports.

    import flowstream
    client = flowstream.Client()
    number = client.install_allocation(open("request.alloc").read())

Modules: client (Client), errors, embedded (up, down), pcap (files), ports (Replay, Capture, Sniffer).
"""

from . import errors
from .client import Client
from .errors import CallFault, DaemonDown, DeadlinePassed, Error, NoPlatform, NotReady, Refused

__version__ = "0.1.0"
__all__ = ["CallFault", "Client", "DaemonDown", "DeadlinePassed", "Error", "NoPlatform", "NotReady", "Refused", "errors"]
