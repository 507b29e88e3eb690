"""What a conversion has met: entries by task and format, and what could not be used. Knows neither files nor texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fluxperf.errors import UsageError
from fluxperf_tools.command import complain
from fluxperf_tools.longbench.prompts import Choice, Entry
from fluxperf_tools.records import Fault
from fluxperf_tools.summary import counted

FAULTS_SHOWN = 10
UNKNOWN = "unknown"
_GROUPS_KEPT = 100


class Group(NamedTuple):
    """Entries that have the same task and format; `kind` is the type of the task with its language."""

    label: str
    kind: str
    choice: Choice


@dataclass(slots=True)
class Tally:
    """Counts, as they grow. With `strict` the first fault raises UsageError."""

    strict: bool
    faults: int = 0
    groups: dict[Group, int] = field(default_factory=dict)
    read: list[int] = field(default_factory=list)

    def add(self, entry: Entry, choice: Choice) -> int:
        """Counts an entry; returns the number of its group."""
        task = entry.task
        group = Group(entry.label, f"{task.kind}, {task.language}" if task else UNKNOWN, choice)
        if len(self.groups) >= _GROUPS_KEPT and group not in self.groups and task is None:
            group = group._replace(label="(others)")
        number = self.groups.setdefault(group, len(self.groups))
        if number == len(self.read):
            self.read.append(0)
        self.read[number] += 1
        return number

    def add_fault(self, fault: Fault) -> None:
        """Counts what is bad, and says the first of them on stderr."""
        if self.strict:
            raise UsageError(f"{fault}\n--strict: it ends here, and nothing is written")
        self.faults += 1
        if self.faults <= FAULTS_SHOWN:
            complain(f"skipped {fault}")

    def say_how_many_more(self) -> None:
        """Says how many faults were not said."""
        if self.faults > FAULTS_SHOWN:
            complain(f"skipped {counted(self.faults - FAULTS_SHOWN, 'more bad line')}, which are not shown")
