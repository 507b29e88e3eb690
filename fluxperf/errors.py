"""Every exception FluxPerf raises on purpose, as one flat tree.

Exceptions are for the user's mistakes and for our own failures; what the *server* does wrong in a
request is a value (`fluxperf.model.Outcome`). The type says whose fault it was, and carries the
exit code that the command ends with.
"""

from __future__ import annotations


class FluxPerfError(Exception):
    """Root of the tree. `str(error)` is one message for the user: what, where, what to do."""

    exit_code = 3


class UsageError(FluxPerfError):
    """The command line, a recipe or an SLO file cannot be used as it stands."""

    exit_code = 2


class DatasetError(UsageError):
    """The dataset cannot be read, or a line in it is of no known form."""


class NotYetError(UsageError):
    """The option or command is promised, but not built yet."""


class ResumeRefused(UsageError):
    """What --resume would go on with is not what it was."""


class RunFailed(FluxPerfError):
    """The run started and could not be brought to its end."""


class ServerUnreachable(RunFailed):
    """No connection to the server: refused, no such name, no route."""


class ServerRefused(RunFailed):
    """The first answers all failed alike (401, 403, 404, 405, or not an event stream)."""


class ServerDied(RunFailed):
    """The server that we had started ended by itself, in start-up or later."""


class HookFailed(RunFailed):
    """A command of a hook could not be started, did not end in time, or ended with another status than 0."""


class WorkerDied(RunFailed):
    """A worker process ended before its round did."""


class GateFailed(FluxPerfError):
    """What was measured meets a condition of --fail-on or `gates`."""

    exit_code = 1


class MeasurementInvalid(FluxPerfError):
    """The verdict of a whole run is `invalid`, and --strict was given."""

    exit_code = 4


class Interrupted(FluxPerfError):
    """SIGINT or SIGTERM arrived. `exit_code` is 128 + the signal's number, as shells expect."""

    def __init__(self, signum: int) -> None:
        super().__init__("interrupted")
        self.signum = signum
        self.exit_code = 128 + signum
