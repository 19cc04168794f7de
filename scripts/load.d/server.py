"""The servers under load: keyrung serve, and nginx beside it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url: str, token: str = "", timeout: float = 10) -> tuple[int, bytes]:
    """Status and body; (0, reason) when nobody answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


class Keyrung:
    """A key server with this configuration."""

    def __init__(self, program: str, work: str, name: str, settings: str, environment: dict[str, str]):
        self.port, self.metrics_port = free_port(), free_port()
        self.url, self.metrics_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.metrics_port}/metrics"
        config = self.config = os.path.join(work, f"{name}.toml")
        self.audit = os.path.join(work, f"{name}.audit.jsonl")
        self.settings = f'listen = "127.0.0.1:{self.port}"\nmetrics_listen = "127.0.0.1:{self.metrics_port}"\naudit.file = "{self.audit}"\n{settings}'
        self.configure(self.settings)
        self.log = open(os.path.join(work, f"{name}.log"), "w+")
        environment = {**os.environ, **environment}
        command = [program, "serve", "--config", config]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self):
        until = time.monotonic() + 30
        while fetch(self.url + "/livez")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > until:
                self.log.seek(0)
                raise SystemExit(f"error: the key server does not start:\n{self.log.read()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.log.close()

    def configure(self, settings: str):
        with open(self.config, "w") as file:
            file.write(settings)

    def memory_mib(self) -> float:
        """What it has in memory now."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def figures(self) -> dict[str, float]:
        """The vault's figures by their last names."""
        status, body = fetch(self.metrics_url)
        found = {}
        if status == 200:
            for line in body.decode().splitlines():
                if line.startswith("keyrung_vault_"):
                    name, value = line.removeprefix("keyrung_vault_").rsplit(" ", 1)
                    found[name.removesuffix("_total")] = float(value)
        return found


@contextlib.contextmanager
def nginx(work: str):
    """nginx with as many workers as cores, no log, open files kept, and a file of 16 bytes at /key."""
    folder = os.path.join(work, "nginx")
    os.makedirs(os.path.join(folder, "root"))
    # Its workers may be another user.
    os.chmod(work, 0o711)
    with open(os.path.join(folder, "root", "key"), "wb") as file:
        file.write(os.urandom(16))
    port = free_port()
    with open(os.path.join(folder, "nginx.conf"), "w") as file:
        file.write(f"""
worker_processes auto;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=100;
    open_file_cache_valid 60s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder}/root;
        default_type application/octet-stream;
        add_header Cache-Control "private, max-age=300";
    }}
}}
""")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([program, "-p", folder, "-c", f"{folder}/nginx.conf", "-g", "daemon off;"], stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 10
        while fetch(url + "/key")[0] != 200:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("error: nginx does not start")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def wrk(url: str, lines: str, seconds: int, connections: int, threads: int) -> dict:
    """Loads a server with the requests in the file `lines`, and tells what came of it."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requests.lua")
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, url, "--", lines, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not found:
        raise SystemExit(f"error: wrk failed:\n{done.stdout}{done.stderr}")
    result = json.loads(found[-1].removeprefix("RESULT "))
    result["per_second"] = round(result["requests"] / (result["microseconds"] / 1e6))
    return result
