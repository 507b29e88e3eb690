"""`report.html`: results as pages that hold all they need. Values in, HTML out; who calls decides where it goes."""

from fluxperf.report.html.columns import read_columns
from fluxperf.report.html.document import Assets, document
from fluxperf.report.html.headline import title_of
from fluxperf.report.html.load import Knee
from fluxperf.report.html.overlay import Named, runs_page
from fluxperf.report.html.page import Beside, run_page

__all__ = ["Assets", "Beside", "Knee", "Named", "document", "read_columns", "run_page", "runs_page", "title_of"]
