"""`Books`: the output directory of a run and the chronicle in it; opened when something is to be written, closed at the
end.
"""

from __future__ import annotations

import json
from pathlib import Path

from fluxperf.chronicle import Background, Chronicle
from fluxperf.errors import ResumeRefused
from fluxperf.output import OutputDirectory, claim, reclaim
from fluxperf.provenance import describe_environment
from fluxperf.resumption import Resumption
from fluxperf.saved import SavedRun, describe_asked, digest_of, load
from fluxperf.survey import Survey
from fluxperf.voice import Voice


class Books:
    """Until they are opened an earlier run in the directory is left alone."""

    def __init__(self, survey: Survey, voice: Voice, earlier: SavedRun | None) -> None:
        self._survey = survey
        self._voice = voice
        self._earlier = earlier
        self._opened: tuple[OutputDirectory, Chronicle] | None = None

    def open(self) -> tuple[OutputDirectory, Chronicle]:
        """Raises UsageError if the directory cannot be written to."""
        if self._opened is None:
            campaign = self._survey.campaign
            path = Path(campaign.output_dir)
            if self._earlier is None:
                output, said = claim(path, overwrite=campaign.overwrite)
                if said is not None:
                    self._voice.say(said)
            else:
                output = reclaim(path)
            background = Background(campaign, describe_environment(), describe_asked(self._survey))
            self._opened = output, Chronicle(background, output, self._earlier)
        return self._opened

    @property
    def output(self) -> OutputDirectory | None:
        """The directory; None: it was not opened."""
        return None if self._opened is None else self._opened[0]

    def close(self) -> None:
        """Lets go of the directory. What a resumption needs stays there, if that would save anything."""
        if self._opened is None:
            return
        output, chronicle = self._opened
        left = Resumption(chronicle.saved)
        if not chronicle.is_complete() and any(left.spares(found) for found in self._survey.stages):
            output.release()
            return
        for spec in self._survey.campaign.stages:
            OutputDirectory(output.path / spec.folder).clean()
        output.clean()


def find_interrupted(survey: Survey, voice: Voice) -> SavedRun | Path | None:
    """What the run in the output directory has left; its path if it is complete; None if there is none.

    Raises ResumeRefused if it was another one.
    """
    place = Path(survey.campaign.output_dir)
    saved = load(OutputDirectory(place).spool)
    if saved is not None:
        return saved
    try:
        earlier = json.loads((place / "run.json").read_text(encoding="utf-8"))
        complete = earlier["partial"] is False and earlier.get("ended_at") is not None
        sha256 = earlier["configuration"]["asked_sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        complete, sha256 = False, None
    if not complete:
        voice.say(f"there is nothing in {place} to go on with: beginning anew")
        return None
    if sha256 != digest_of(describe_asked(survey)):
        raise ResumeRefused(
            f"--resume: the run in {place} is complete, and was asked for something else (stages, options, dataset or "
            "metric definitions): leave --resume out to begin anew"
        )
    return place
