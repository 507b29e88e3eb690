"""Other people's servers: hypercorn in front of `asgi_app`, and nginx with TLS in front of the mock."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.end_to_end.command import ROOT, TIMEOUT_S, ended
from tests.end_to_end.servers import PATH

NGINX = shutil.which("nginx", path=os.defpath + ":/usr/sbin:/sbin:" + os.environ.get("PATH", ""))

# One process in the foreground, everything in one folder.
NGINX_CONF = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_max_body_size 64m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_client_certificate {ca_file};
  upstream backend {{ server {backend}; keepalive 256; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  {servers}
}}
"""


@contextmanager
def nginx(folder: Path, backend: str, servers: dict[str, str], **files: str) -> Iterator[dict[str, str]]:
    """nginx in front of the server at the URL `backend`: for each name, its own lines; gives the URLs by name."""
    assert NGINX is not None
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in servers]
        ports = [sock.getsockname()[1] for sock in taken]
    blocks = "\n  ".join(
        f"server {{ listen 127.0.0.1:{port} ssl {lines}; location / {{ proxy_pass http://backend; }} }}"
        for port, lines in zip(ports, servers.values(), strict=True)
    )
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONF.format(folder=folder, backend=urlsplit(backend).netloc, servers=blocks, **files))
    log = folder / "nginx.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen([NGINX, "-e", "stderr", "-c", str(config)], stderr=stderr) as process,
    ):
        try:
            wait_for_ports(process, ports, log)
            yield {name: f"https://127.0.0.1:{port}{PATH}" for name, port in zip(servers, ports, strict=True)}
        finally:
            process.terminate()


def wait_for_ports(process: subprocess.Popen[bytes], ports: list[int], log: Path) -> None:
    """Until all of them take connections."""
    deadline_s = time.monotonic() + TIMEOUT_S
    for port in ports:
        while True:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert not ended(process.pid, 0.01), log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()


@contextmanager
def hypercorn(*options: str, config: str = "") -> Iterator[str]:
    """hypercorn in front of `asgi_app`; gives its URL. `config`: lines of its own configuration file."""
    command = [sys.executable, "-m", "hypercorn", "--workers", "0", "--bind", "127.0.0.1:0", *options]
    command += [f"--config={config}"] if config else []
    command.append("tests.end_to_end.asgi_app:app")
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert select.select([process.stderr], [], [], TIMEOUT_S)[0], "hypercorn said nothing"
            found = re.search(r"Running on (https?://[\d.:]+)", process.stderr.readline())
            assert found, "hypercorn did not start"
            yield found[1] + PATH
        finally:
            process.terminate()
