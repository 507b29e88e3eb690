from __future__ import annotations

from pathlib import Path

from fluxperf.engine.answers import AnswerReader, Answers, AnswerWriter
from fluxperf.engine.conversation import Answer
from tests.engine.forks import forked

FIRST, SECOND, OTHER = Answer(b'{"1"}', 5, 0), Answer(b"2" * 10_000, 6, 1), Answer(b"3", 7, 0)


def written(folder: Path) -> tuple[Path, Path]:
    """What two workers wrote."""
    paths = folder / "a", folder / "b"
    for path, records in zip(paths, ([(0, 0, FIRST), (2, 1, OTHER)], [(0, 1, SECOND)]), strict=True):
        writer = AnswerWriter(path)
        for index, turn, answer in records:
            writer.write(index, turn, answer)
        writer.close()
    return paths


def test_an_answer_is_found_whoever_wrote_it(tmp_path: Path) -> None:
    answers = Answers([3, 0, 2])
    paths = written(tmp_path)
    answers.look_through(paths)
    reader = AnswerReader(answers, paths)
    assert [reader.read(0, 0), reader.read(0, 1), reader.read(2, 1)] == [FIRST, SECOND, OTHER]
    assert reader.read(0, 2) is None
    assert reader.read(2, 0) is None
    reader.close()


def test_what_was_noted_before_is_forgotten(tmp_path: Path) -> None:
    answers = Answers([3, 0, 2])
    answers.look_through(written(tmp_path))
    answers.look_through([])
    assert answers.place(0, 0) is None


def test_a_process_that_was_forked_before_sees_them(tmp_path: Path) -> None:
    answers = Answers([3, 0, 2])
    with forked(1, lambda _: repr(answers.place(0, 1)).encode()) as results:
        answers.look_through(written(tmp_path))
    assert results == [repr(answers.place(0, 1)).encode()] != [b"None"]


def test_an_answer_to_a_turn_that_there_is_not_is_passed_over(tmp_path: Path) -> None:
    answers = Answers([1, 0, 2])
    answers.look_through(written(tmp_path))
    assert answers.place(0, 0) is not None
    assert answers.place(2, 0) is None
