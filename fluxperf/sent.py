"""`SentPrompts`: which prompts a server has been sent, over all stages of a campaign, so that none is taken for new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import repeat
from urllib.parse import urlsplit

from fluxperf.mapped import mapped


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom prompts go to: a server by its place, and by how often we have started it, and the file they are from.

    `life` is 0 for a server that is not ours.
    """

    server: str
    life: int
    dataset_sha256: str


@dataclass(slots=True)
class _Sent:
    """For each entry of a dataset the number of the place that first sent it, from 1; 0: none has."""

    first: memoryview[int]
    places: list[str] = field(default_factory=list)


class SentPrompts:
    """What was sent to whom. A place is a phrase such as "at concurrency 5"."""

    def __init__(self) -> None:
        self._sent: dict[Audience, _Sent] = {}

    def add(self, audience: Audience, sample: Sequence[int], size: int, place: str) -> None:
        """The entries of a dataset of `size` entries that are in `sample` are sent there."""
        sent = self._sent.get(audience)
        if sent is None:
            sent = self._sent[audience] = _Sent(mapped(repeat(0, size)))
        sent.places.append(place)
        number = len(sent.places)
        for index in sample:
            sent.first[index] = sent.first[index] or number

    def find(self, audience: Audience, sample: Sequence[int]) -> str | None:
        """The first place that has sent any of the sample; None: they are all new."""
        sent = self._sent.get(audience)
        if sent is None:
            return None
        earliest = min((number for index in sample if (number := sent.first[index])), default=None)
        return None if earliest is None else sent.places[earliest - 1]

    def forget(self, server: str) -> None:
        """The cache of that server was emptied."""
        for audience in [one for one in self._sent if one.server == server]:
            del self._sent[audience]


def place_of(endpoint: str) -> str:
    """What tells a server from others: two URLs of one server of this machine have one place."""
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").rstrip(".")
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{'localhost' if is_here else host}:{port}{parts.path.rstrip('/')}"
