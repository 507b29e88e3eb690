from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from fluxperf.plan.settings import Settings
from fluxperf.voice import Voice
from fluxperf.watch.itinerary import Leg
from fluxperf.watch.live import Block
from fluxperf.watch.progress import PlainLines, Silence
from tests.watch.screen import Terminal

SETTINGS = Settings(dataset="prompts.jsonl")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_progress_is_chosen_once_for_all_stages(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    voice = Voice(quiet=False)
    block = voice.progress(SETTINGS)
    assert isinstance(block, Block)
    assert voice.progress(SETTINGS) is block
    assert isinstance(voice.progress(replace(SETTINGS, no_progress=True)), Silence)
    assert isinstance(voice.progress(SETTINGS), Block)
    assert isinstance(Voice(quiet=True).progress(SETTINGS), Silence)


def test_without_a_terminal_there_are_lines() -> None:
    assert isinstance(Voice(quiet=False).progress(SETTINGS), PlainLines)


def test_whatever_is_said_takes_the_place_of_what_was_announced(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    voice = Voice(quiet=False)
    voice.announce("nobody has asked for progress yet")
    voice.progress(SETTINGS)
    for speak in (voice.say, voice.complain, voice.print):
        voice.announce("a rather long line about something that takes its time")
        speak("short")
    assert terminal.shown == ["fluxperf: short", "fluxperf: short", "short"]
    voice.announce("something else")
    voice.clear()
    assert terminal.shown == ["fluxperf: short", "fluxperf: short", "short"]


def test_nothing_is_left_of_a_round_that_an_error_ends(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    voice = Voice(quiet=False)
    voice.progress(SETTINGS).begin(Leg(None, 1, 1, 1), 1)
    voice.clear()
    assert (terminal.shown, terminal.cursor_is_shown) == ([""], True)
    assert sys.stderr is terminal


def test_quiet_announces_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    voice = Voice(quiet=True)
    voice.progress(SETTINGS)
    voice.announce("anything", long=True)
    voice.clear()
    assert capsys.readouterr() == ("", "")
