"""What can go wrong, as exceptions whose text is fit to be shown to a user as it is.

Every exception that this package raises on purpose is an Error.  Anything else that escapes is a bug of ours.
"""


class Error(Exception):
    """The root of all: str() is one complete message that names what and where."""


class Refused(Error):
    """A daemon answered with a code other than 0.

    message: the daemon's own words; code: 1 for a failure, -1 for "not ready"; value: what came with the answer.
    """

    def __init__(self, message, code=1, value=None):
        super().__init__(message)
        self.message = message
        self.code = code
        self.value = value


class NotReady(Refused):
    """Code -1: the work is still under way; value may hold the id to ask for later."""

    def __init__(self, message, value=None):
        super().__init__(message, -1, value)


class CallFault(Error):
    """The daemon did not take the call at all: no such method, no rights, or no XML-RPC."""

    def __init__(self, message, code=0):
        super().__init__(message)
        self.message = message
        self.code = code


class DaemonDown(Error):
    """Nobody answers at the daemon's address.  daemon: its name; reason: what the connection said."""

    def __init__(self, daemon, url, reason, remedy):
        super().__init__(f"the {daemon} daemon does not answer at {url} ({reason}); {remedy}")
        self.daemon = daemon
        self.reason = reason


class DeadlinePassed(Error):
    """The daemon took the call but did not answer in time.  Whether it was carried out is unknown."""

    def __init__(self, daemon, method, seconds):
        super().__init__(f"the {daemon} daemon did not answer {method} within {seconds:g} s; "
                         "it may still carry it out")
        self.daemon = daemon


class NoPlatform(Error):
    """There is no platform in the folder."""


class CommandFailed(Error):
    """A program that we started failed.  The text shows the command line and what it printed."""


class BadFile(Error):
    """A file that the user gave cannot be used."""
