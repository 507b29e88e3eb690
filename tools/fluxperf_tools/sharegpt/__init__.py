"""ShareGPT dumps: what their entries look like, what their scrapers left in them, and sessions made of both."""
