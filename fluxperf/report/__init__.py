"""What a run found out, as text: values in, strings out. Who calls decides where the text goes.

`REPORTERS` has one entry for each file that a whole run leaves in its output directory; a further
one is one function and one line here. Rounds have `round_json` and `render_round`.
"""

from collections.abc import Callable, Iterator

from fluxperf.model import RunResult
from fluxperf.report.answer import render_answer
from fluxperf.report.closing import render_comparison
from fluxperf.report.csv import metrics_summary
from fluxperf.report.hlog import histograms_hlog
from fluxperf.report.json import round_file_name, round_json, run_json
from fluxperf.report.stages import render_stages
from fluxperf.report.table import render_round
from fluxperf.report.verdict import render_verdict

REPORTERS: dict[str, Callable[[RunResult], Iterator[str]]] = {
    "metrics_summary.csv": metrics_summary,
    "run.json": run_json,
    "histograms.hlog": histograms_hlog,
}

__all__ = [
    "REPORTERS",
    "metrics_summary",
    "render_answer",
    "render_comparison",
    "render_round",
    "render_stages",
    "render_verdict",
    "round_file_name",
    "round_json",
    "run_json",
]
