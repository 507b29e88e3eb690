"""FluxPerf: a load-testing client for OpenAI-compatible LLM servers and their caches."""

__version__ = "0.1.0"
