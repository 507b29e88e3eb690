"""A mock LLM server: OpenAI's API over a model of a real server's timing, and the truth about what it wrote when.

From the bottom up: `prompts`, `cache`, `answers`, `scheduler`, `truth`, `exposition` and `api` are pure
(no socket, no clock); `http1` turns bytes into requests and back; `service` joins them into the
endpoints; `wire` and `server` own the sockets, the timer and the event loop; `cli` is the command.
"""

from fluxperf_mock.settings import MockSettings

__all__ = ["MockSettings"]
