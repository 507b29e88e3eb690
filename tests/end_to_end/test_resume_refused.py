"""What cannot be gone on with is refused before anything is sent, and what changes no measurement is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.end_to_end.command import Ended, Fluxperf, fluxperf_in
from tests.end_to_end.resuming import RESUME, STATE, hold_from, kill, tree
from tests.end_to_end.servers import PATH, Exchange, Scripted, scripted_servers
from tests.end_to_end.stub import read_json, states, write_recipe


class Cut:
    """A run that was killed in its second level, and what it takes to go on with it."""

    def __init__(self, fluxperf: Fluxperf, server: Scripted) -> None:
        self.fluxperf = fluxperf
        self.server = server
        self.model = "small"
        server.look = self.list_models
        server.script = lambda exchange: exchange.stream("a", "b")
        self.recipe: dict[str, Any] = {
            "global": {"endpoint": server.url, "concurrency": [1, 2], "num_samples": 4},
            "stages": [{"name": "one"}, {"name": "two", "env": {"COLOUR": "red"}}],
        }
        self.before = tree(fluxperf.out)
        self.sent = len(server.bodies)

    def list_models(self, exchange: Exchange) -> None:
        models = json.dumps({"data": [{"id": self.model}]})
        exchange.answer(200 if exchange.path == "/v1/models" else 404, models, "application/json")

    def resume(self, options: str = "") -> Ended:
        return self.fluxperf(f"{RESUME} {options}")

    def assert_refused(self, *words: str, options: str = "") -> None:
        """Nothing is sent, and what is there is left as it is."""
        ending = self.resume(options)
        assert ending.code == 2, ending.err
        for text in words:
            assert text in ending.err
        assert "Traceback" not in ending.err
        assert len(self.server.bodies) == self.sent
        assert tree(self.fluxperf.out) == self.before
        assert list(self.fluxperf.place.glob("out*")) == [self.fluxperf.out]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cut]:
    """The run itself, which no test touches."""
    with fluxperf_in(tmp_path_factory.mktemp("killed")) as fluxperf, scripted_servers() as serve:
        cut = Cut(fluxperf, serve(hold_from(10)))
        cut.server.script = hold_from(10)
        fluxperf.write_prompts(8)
        write_recipe(fluxperf, cut.recipe)
        running = fluxperf.start("--recipe recipe.yaml")
        cut.server.wait_for(12)
        kill(running)
        yield cut


@pytest.fixture
def cut(killed: Cut, tmp_path: Path) -> Iterator[Cut]:
    """A copy of it."""
    place = tmp_path / "copy"
    shutil.copytree(killed.fluxperf.place, place)
    with fluxperf_in(place) as fluxperf:
        yield Cut(fluxperf, killed.server)


def change_recipe(cut: Cut) -> str:
    cut.recipe["stages"][1] |= {"num_samples": 3, "env": {"COLOUR": "blue"}}
    write_recipe(cut.fluxperf, cut.recipe)
    return ""


def change_dataset(cut: Cut) -> str:
    path = cut.fluxperf.place / "prompts.jsonl"
    path.write_text(path.read_text() + '{"text": "one more"}\n')
    return ""


def change_definitions(cut: Cut) -> str:
    path = cut.fluxperf.out / STATE
    state = msgspec.msgpack.decode(path.read_bytes())
    state["asked"]["metric definitions"] = "0" * 16
    path.write_bytes(msgspec.msgpack.encode(state))
    cut.before = tree(cut.fluxperf.out)
    return ""


def change_state(cut: Cut) -> str:
    (cut.fluxperf.out / STATE).write_bytes(b"\xc1 no state")
    cut.before = tree(cut.fluxperf.out)
    return ""


REFUSALS: dict[str, tuple[Callable[[Cut], str], tuple[str, ...]]] = {
    "recipe": (change_recipe, ("num_samples: was [4], is [3] (stage two)", "env.COLOUR: was red, is blue (stage two)")),
    "options": (lambda cut: "--max-output-tokens 5", ("max_output_tokens: was 4, is 5",)),
    "dataset": (change_dataset, ("dataset (SHA-256): was ", "this is not the run that was interrupted")),
    "definitions": (change_definitions, ("metric definitions: was 0000000000000000, is ",)),
    "state": (change_state, ("cannot be read", "begin anew without --resume")),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_is_another_run_is_refused_with_the_differences(cut: Cut, what: str) -> None:
    change, words = REFUSALS[what]
    cut.assert_refused(*words, options=change(cut))


@pytest.mark.parametrize("goes_on", [False, True])
def test_another_model_is_refused_and_no_stage_has_failed_by_that(cut: Cut, goes_on: bool) -> None:
    """The server must be asked first, and a server of our own be started for that."""
    before = states(cut.fluxperf.run_json())
    assert before == {"one": "partial", "two": "not run"}
    cut.recipe["continue_on_error"] = goes_on
    write_recipe(cut.fluxperf, cut.recipe)
    cut.model = "large"
    ending = cut.resume()
    assert ending.code == 2, ending.err
    assert "model: was small, is large" in ending.err
    assert len(cut.server.bodies) == cut.sent
    assert states(cut.fluxperf.run_json()) == before
    cut.model = "small"
    assert cut.resume().code == 0
    assert len(cut.server.bodies) == cut.sent + 8 + 16


def test_what_changes_no_measurement_may_be_different(cut: Cut) -> None:
    cut.recipe["global"] |= {"no_progress": True, "quiet": True}
    cut.recipe["continue_on_error"] = True
    write_recipe(cut.fluxperf, cut.recipe)
    ending = cut.resume()
    assert ending.code == 0, ending.err
    run = cut.fluxperf.run_json()
    assert states(run) == {"one": "complete", "two": "complete"}
    assert len(cut.server.bodies) == cut.sent + 8 + 16
    reasons = [one["cold_reason"] for one in run["rounds"] if one["round"] == 1]
    assert reasons[1] == "not cold: sent before by the run that was interrupted"
    assert reasons[2:] == ["not cold: sent before at concurrency 1 of stage one", reasons[3]]
    assert reasons[3].startswith("not cold: sent before ")


def test_without_resume_an_interrupted_run_is_kept_aside(cut: Cut) -> None:
    assert cut.fluxperf("--recipe recipe.yaml").code == 0
    (kept,) = cut.fluxperf.place.glob("out.*")
    assert (kept / STATE).exists()
    assert not cut.fluxperf.run_json().get("resumed_at")
    # What was moved away can still be gone on with.
    assert PATH in cut.server.url
    ending = cut.resume(f"--output-dir {kept.name}")
    assert ending.code == 0, ending.err
    assert read_json(kept / "run.json")["partial"] is False
