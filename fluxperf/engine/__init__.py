"""The engine: one reactor a worker, httpx over a transport of our own, exact stamps. trio, httpx and h2 live here."""
