"""How workers are started, told what to do and listened to. What they do is the engine's."""
