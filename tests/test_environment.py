from __future__ import annotations

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxperf.environment import stage_environment

NAMES = st.sampled_from(["FLUXPERF_A", "FLUXPERF_B", "FLUXPERF_C"])
CHANGES = st.dictionaries(NAMES, st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=5))


@given(before=CHANGES, changes=CHANGES, meanwhile=CHANGES)
def test_the_environment_is_what_it_was_whoever_changed_it(
    before: dict[str, str | None], changes: dict[str, str | None], meanwhile: dict[str, str | None]
) -> None:
    with stage_environment(before):
        found = dict(os.environ)
        with stage_environment(changes):
            assert {name: os.environ.get(name) for name in changes} == changes
            os.environ.update({name: text for name, text in meanwhile.items() if text is not None})
        assert dict(os.environ) == found


def test_it_is_restored_after_an_error_and_by_processes_seen(capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    with suppress(KeyboardInterrupt), stage_environment({"FLUXPERF_A": "seen", "HOME": None}):
        os.system('echo "$FLUXPERF_A ${HOME-unset}"')
        raise KeyboardInterrupt
    assert capfd.readouterr().out == "seen unset\n"
    assert dict(os.environ) == before
