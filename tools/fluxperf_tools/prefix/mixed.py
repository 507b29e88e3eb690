"""The mixed dataset, datasets/MixedBench.jsonl: what a server meets on an ordinary day. Made here, copied from nowhere.

Groups with common instructions, long documents with several questions each, short prompts, programs, ten languages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from fluxperf_tools.prefix.phrases import ASSISTANTS, CODE, LANGUAGES, QUESTIONS_TO_ASSISTANTS, SHORT

DOCUMENTS = 10
_ENTRIES = 60
_LOOKED_UP = 2

_STATIONS = [
    "Alderbeck",
    "Brackwater",
    "Corrin",
    "Dunmore",
    "Eskvale",
    "Fernhill",
    "Greywell",
    "Hollin",
    "Inverlay",
    "Juniper",
]
_KEEPERS = [
    "Anselm",
    "Berit",
    "Cato",
    "Dagny",
    "Edda",
    "Farid",
    "Greta",
    "Hamid",
    "Ines",
    "Joran",
    "Kaia",
    "Leif",
    "Mona",
    "Nils",
    "Oda",
    "Petra",
]
_PLACES = [
    "the pier",
    "the north gauge",
    "the boat house",
    "the upper path",
    "the workshop",
    "the lamp room",
    "the well",
    "the slipway",
]
_WORKS = [
    "replaced the rope at {place}",
    "oiled the hinges at {place}",
    "painted the railing at {place}",
    "cleared the drain at {place}",
    "checked the batteries at {place}",
    "mended the roof over {place}",
    "swept the sand from {place}",
    "counted the tools at {place}",
]
_SKIES = [
    "clear",
    "overcast",
    "fog until noon",
    "drizzle",
    "showers from the west",
    "snow on the hills",
    "haze",
    "a thin high cloud",
]
_VISITORS = [
    "A party of {count} walked over from {station} and stayed for tea.",
    "The supply boat brought {count} crates, one of them wet.",
    "{count} seals lay on the skerry at low water.",
    "A pilot asked by radio for the depth at the bar: {count} metres.",
    "Post for {count} people, none of it for us.",
    "The hens laid {count} eggs, which is a record for the month.",
]
_MONTHS = (("April", 30), ("May", 31), ("June", 30), ("July", 31), ("August", 31), ("September", 30), ("October", 31))


@dataclass(frozen=True, slots=True)
class _Day:
    """One entry of a logbook, and what can be asked about it."""

    date: str
    keeper: str
    level_cm: int
    work: str
    text: str


def mixed_texts(seed: int) -> list[str]:
    """All prompts, shuffled by the seed. The same seed gives the same texts."""
    texts = [*_shared_instructions(), *_documents(seed), *SHORT, *_programs(), *_languages()]
    Random(f"{seed}/mixed").shuffle(texts)  # noqa: S311 (a draw, not a secret)
    return texts


def _shared_instructions() -> Iterator[str]:
    for name, instructions in ASSISTANTS.items():
        for question in QUESTIONS_TO_ASSISTANTS[name]:
            yield f"{instructions}\n\nThe next message is for {name}:\n{question}"


def _programs() -> Iterator[str]:
    for task, program in CODE:
        yield f"{task}\n\n```\n{program}```"


def _languages() -> Iterator[str]:
    for _, what, text, questions in LANGUAGES:
        for question in questions:
            yield f"{what}\n\n{text}\n\n{question}"


def _documents(seed: int) -> Iterator[str]:
    """Logbooks with four questions each: two look something up, one adds up, one sums up."""
    for number in range(DOCUMENTS):
        draw = Random(f"{seed}/document/{number}")  # noqa: S311 (a draw, not a secret)
        station = _STATIONS[number]
        days = list(_days(draw, station))
        title = f"Logbook of the station at {station}, written by its keepers."
        document = "\n".join([title, "", *(day.text for day in days)])
        for question in _questions(draw, days):
            yield f"{document}\n\nQuestion: {question}"


def _days(draw: Random, station: str) -> Iterator[_Day]:
    """Consecutive days; two keepers take turns by the week."""
    keepers = draw.sample(_KEEPERS, 3)
    month = draw.randrange(len(_MONTHS) - 2)
    day = draw.randint(1, 20)
    level_cm = draw.randint(90, 160)
    for number in range(_ENTRIES):
        name, length = _MONTHS[month]
        date, keeper = f"{day} {name}", keepers[number // 7 % 3]
        level_cm += draw.randint(-12, 12)
        work = draw.choice(_WORKS).format(place=draw.choice(_PLACES))
        other = draw.choice([one for one in _STATIONS if one != station])
        visit = draw.choice(_VISITORS).format(count=draw.randint(2, 14), station=other)
        sky = draw.choice(_SKIES)
        yield _Day(
            date,
            keeper,
            level_cm,
            work,
            f"{date}, {keeper}. Water {level_cm} cm at the gauge, wind {draw.randint(1, 19)} m/s, {sky}. "
            f"{keeper} {work}. {visit}",
        )
        day += 1
        if day > length:
            day, month = 1, month + 1


def _questions(draw: Random, days: list[_Day]) -> Iterator[str]:
    one, two = draw.sample(days, _LOOKED_UP)
    yield f"Who wrote the entry of {one.date}, and what did they do that day?"
    yield f"How high did the water stand on {two.date}?"
    keeper = draw.choice(days).keeper
    yield f"On how many days did {keeper} keep the log?"
    yield "What would you ask the keepers to do first in the next month, and which entries make you think so?"
