"""What goes on beside a run: live progress, the server under test."""
