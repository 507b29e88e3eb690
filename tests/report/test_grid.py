from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fluxperf.report.grid import Column, Grid, draw_grid

NAMES = Column("Name", ["first", "second"], left=True)


def test_one_panel_where_there_is_room() -> None:
    grid = Grid(
        NAMES, [Column("Key", ["1", "22"])], [Column("A\nms", ["1.5", "10.5"]), Column("B", ["x", ""], left=True)]
    )
    expected = [
        "│ Name     │ Key │    A │ B │",
        "│          │     │   ms │   │",
        "├──────────┼─────┼──────┼───┤",
        "│ first    │   1 │  1.5 │ x │",
        "│ second   │  22 │ 10.5 │   │",
        "└──────────┴─────┴──────┴───┘",
    ]
    assert draw_grid(grid, None) == expected
    assert draw_grid(grid, 40) == expected


def test_what_does_not_fit_goes_on_below_with_names_and_keys() -> None:
    grid = Grid(NAMES, [Column("Key", ["1", "2"])], [Column(letter * 9, ["1", "2"]) for letter in "abc"])
    assert draw_grid(grid, 42) == [
        "│ Name     │ Key │ aaaaaaaaa │ bbbbbbbbb │",
        "├──────────┼─────┼───────────┼───────────┤",
        "│ first    │   1 │         1 │         1 │",
        "│ second   │   2 │         2 │         2 │",
        "└──────────┴─────┴───────────┴───────────┘",
        "",
        "│ Name     │ Key │ ccccccccc │",
        "├──────────┼─────┼───────────┤",
        "│ first    │   1 │         1 │",
        "│ second   │   2 │         2 │",
        "└──────────┴─────┴───────────┘",
    ]


def test_sentences_stand_in_the_place_of_cells_and_once() -> None:
    grid = Grid(
        NAMES, [], [Column(letter * 20, ["1", ""]) for letter in "ab"], {1: ("it did not run", "because of a fault")}
    )
    lines = draw_grid(grid, 40)
    assert lines[3:5] == ["│ second   │ it did not run       │", "│          │ because of a fault   │"]
    assert sum("second" in line for line in lines) == 1


def test_a_grid_of_sentences_is_as_wide_as_they_are() -> None:
    grid = Grid(NAMES, [Column("State", ["", ""], left=True)], [], {0: ("not run",), 1: ("failed", "a reason " * 3)})
    assert draw_grid(grid, 40) == [
        "│ Name     │ State                     │",
        "├──────────┼───────────────────────────┤",
        "│ first    │ not run                   │",
        "│ second   │ failed                    │",
        "│          │ a reason a reason a       │",
        "│          │ reason                    │",
        "└──────────┴───────────────────────────┘",
    ]


def test_names_that_are_cut_are_told_below() -> None:
    names = Column("Name", ["a name of some length", "", "short"], left=True)
    lines = draw_grid(Grid(names, [], [Column("A", ["1", "2", "3"])]), 40)
    assert lines[2] == "│ [1] a name o… │ 1 │"
    assert lines[-1] == "[1] a name of some length"
    assert "[2]" not in "".join(lines)


def test_figures_are_cut_last() -> None:
    names = Column("Name", ["a name of some length"], left=True)
    (_, _, row, *_) = draw_grid(Grid(names, [Column("Key", ["1"])], [Column("A", ["9" * 19])]), 40)
    assert row == f"│ [1] a n… │   1 │ {'9' * 19} │"
    (_, _, row, *_) = draw_grid(Grid(names, [Column("Key", ["1"])], [Column("A", ["9" * 30])]), 40)
    assert row == f"│ [1] a n… │   1 │ {'9' * 18}… │"


TEXTS = st.text(st.characters(categories=["L", "N", "S", "Zs"]), max_size=50)


@given(
    names=st.lists(TEXTS, min_size=3, max_size=3),
    keys=st.lists(st.text("12", max_size=6), min_size=3, max_size=3),
    cells=st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=5),
    sentence=TEXTS,
    width=st.integers(40, 130),
)
def test_no_line_of_a_grid_is_too_wide(
    names: list[str], keys: list[str], cells: list[list[str]], sentence: str, width: int
) -> None:
    columns = [Column("H", column) for column in cells]
    lines = draw_grid(Grid(Column("N", names, left=True), [Column("K", keys)], columns, {1: (sentence,)}), width)
    boxed = [line for line in lines if line.startswith(("│", "├", "└"))]
    assert max(map(cell_len, boxed)) <= width
    start = 0
    for end, line in enumerate(lines):
        if line.startswith("└"):
            assert len({cell_len(one) for one in lines[start : end + 1] if one}) == 1
            start = end + 1
