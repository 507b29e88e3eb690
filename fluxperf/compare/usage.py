"""What `fluxperf compare --help` prints, and what its words are read by."""

from __future__ import annotations

USAGE = """\
Whether one run is slower than another: figure by figure, with intervals.

Usage:
  fluxperf compare BASE NEW [--metrics=NAME]... [options]
  fluxperf compare (--base=DIR)... (--new=DIR)... [--metrics=NAME]... [options]

BASE and NEW are directories of results (--output-dir), or names of baselines
(fluxperf baseline). Several on a side are repeats of each other, and a run with
--repeat N is N of them. Nothing is sent anywhere.

What is compared:
  --base DIR...      What is compared with; list options end at the next option
  --new DIR...       What is compared
  --metrics NAME...  Only these: ttft_ms, or one figure such as ttft_ms.p99
  --margin PERCENT   A change that is surely smaller is called same [default: 2]
  --allow-different  Compare also runs of another model, dataset, plan ...

To fail a build (docs/ci.md):
  --fail-on GATE     End with exit code 1 if this holds, such as
                     'ttft_ms.p99 > +10%' or 'goodput.ratio < 0.95'; may be
                     repeated
  --judge HOW        Gates go by the interval, or by the point
                     [default: interval]
  --strict           End with exit code 4 if a side is invalid

What to leave behind:
  --json FILE        All that was compared (docs/compare.md)
  --junit FILE       Gates as JUnit XML
  --markdown FILE    A summary for a pull request; it is added to what is in
                     the file
  --github           Gates as annotations of GitHub Actions, on stdout
  --quiet            Say nothing but errors

  -h, --help         Show this

Exit codes: 0 done, 1 a gate failed, 2 wrong usage or runs that cannot be
compared, 4 a side is invalid and --strict.
"""
