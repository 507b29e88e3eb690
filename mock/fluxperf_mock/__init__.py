"""A mock LLM server: OpenAI's API over a model of a real server's timing, and the truth about what it wrote when.

From the bottom up: `prompts`, `cache`, `answers`, `scheduler` and `api` are pure (no socket, no clock); `truth` and
`counters` count, in memory that processes may share (`shared`, `figures`). `dialects` has a row for each engine: its
metrics (`families`, which `exposition` renders) and its `resets`. `faults` has one for each of them; what they do to
counters and usage is in `accounts`, to prompts that come again in `repeats`. `service` joins it all, with `endpoints`
for whatever generates nothing.
`http1_connection` and `http2_connection` turn bytes into requests and back, `opening` and `tls` stand before them;
`wire`, `listener` and `server` own the sockets, the timer and the event loop; `replicas` is several of these; `cli` is
the command, `selftest` with `load` its self-test.
"""

from fluxperf_mock.settings import MockSettings

__all__ = ["MockSettings"]
