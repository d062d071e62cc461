"""Real servers on loopback for tests of sharing, each stopped by its own process id."""

import getpass
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp
"""
BUCKET = "team"
S3_KEY = "testing"  # the server takes any


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


@contextmanager
def serving(command, is_ready, log, environment=None):
    """A server process, once it is ready; its last words if it does not get there."""
    with log.open("w") as words:
        process = subprocess.Popen(
            command, stdout=words, stderr=subprocess.STDOUT, env=environment, cwd=log.parent
        )
    try:
        for _ in range(600):
            if is_ready():
                break
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)
        else:
            pytest.fail(f"not ready: {' '.join(command)}: {log.read_text()[-2000:]}")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def running(command, port, log, environment=None):
    """A server process that answers on a port."""

    def answers():
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", port)) == 0

    return serving(command, answers, log, environment)


@contextmanager
def folder_remote(tmp_path):
    """Yield the URL of a remote, its settings, and the folder where its objects lie."""
    yield str(tmp_path / "remote"), {}, tmp_path / "remote"


@contextmanager
def ssh_remote(tmp_path):
    """The same through OpenSSH's own server with a key of its own."""
    if not Path(SSHD).exists():
        pytest.skip("no sshd here: install openssh-server")
    keys, port = tmp_path / "keys", free_port()
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)]
        subprocess.run(command, check=True)
    (keys / "config").write_text(SSHD_CONFIG.format(port=port, folder=keys))
    if getpass.getuser() == "root":
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd refuses to start as root without it
    with running([SSHD, "-D", "-e", "-f", str(keys / "config")], port, keys / "log"):
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path}/remote"
        yield url, {"keyfile": str(keys / "user")}, tmp_path / "remote"


@contextmanager
def s3_remote(tmp_path):
    """The same through moto's S3 server, the one such server that PyPI has."""
    boto3 = pytest.importorskip("boto3", reason="no boto3 here: pip install dvc-s3")
    pytest.importorskip("moto", reason="no S3 server here: pip install moto[s3]")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, tmp_path / "s3.log"):
        address = f"http://127.0.0.1:{port}"
        settings = {
            "endpointurl": address, "access_key_id": S3_KEY, "secret_access_key": S3_KEY,
            "region": "us-east-1",
        }  # fmt: skip
        client = boto3.client(
            "s3", endpoint_url=address, aws_access_key_id=S3_KEY, aws_secret_access_key=S3_KEY,
            region_name="us-east-1",
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/cache", settings, client


PASSWORD = secrets.token_hex(12)
DATABASE = "postgresql://mlflow:{password}@127.0.0.1:{port}/mlflow"


def recipe():
    """The mlflow command and the auth.ini of docs/team-server.md."""
    text = (ROOT / "docs/team-server.md").read_text()
    compose = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.S).group(1))
    script = compose["services"]["mlflow"]["command"][-1].replace("\\\n", " ")
    command = next(line for line in script.splitlines() if "mlflow server" in line)
    return shlex.split(command)[1:], re.search(r"```ini\n(.*?)```", text, re.S).group(1)


@contextmanager
def postgres():
    """Yield the address of an empty database `mlflow`; the server refuses to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL here: install postgresql")
    folder, port = Path(tempfile.mkdtemp(prefix="sslbench-pg-", dir="/tmp")), free_port()
    user = ["runuser", "-u", "postgres", "--"] if getpass.getuser() == "root" else []
    try:
        if user:
            shutil.chown(folder, "postgres")
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        made = [
            *user, str(found[-1]), "-D", str(folder / "data"), "-U", "mlflow",
            "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync",
        ]  # fmt: skip
        subprocess.run(made, check=True, capture_output=True, cwd="/")
        program = str(found[-1].with_name("postgres"))
        options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
        command = [*user, program, "-D", str(folder / "data"), *options]
        with running(command, port, folder / "log"):
            environment = {**os.environ, "PGPASSWORD": PASSWORD}
            create = [str(found[-1].with_name("createdb")), "-h", "127.0.0.1", "-p", str(port)]
            create += ["-U", "mlflow", "mlflow"]
            subprocess.run(create, check=True, env=environment, capture_output=True)
            yield DATABASE.format(password=PASSWORD, port=port)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def team_server(tmp_path):
    """Yield the environment of a user of the server that docs/team-server.md describes."""
    for name in ("psycopg2", "flask_wtf"):
        pytest.importorskip(
            name, reason=f"no {name} here: pip install mlflow[auth] psycopg2-binary"
        )
    command, settings = recipe()
    port = free_port()
    with postgres() as database:
        inside = {
            "0.0.0.0": "127.0.0.1", "5000": str(port), "/artifacts": str(tmp_path / "artifacts"),
        }  # fmt: skip
        command = [inside.get(word, word) for word in command]
        command = [database if "postgresql://" in word else word for word in command]
        ini = settings.replace("/artifacts/", f"{tmp_path}/").replace("CHANGE-ME", PASSWORD)
        (tmp_path / "auth.ini").write_text(ini)
        ours = {
            "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": PASSWORD,
        }
        command[0] = str(Path(sys.executable).with_name("mlflow"))
        with running(command, port, tmp_path / "server.log", {**os.environ, **ours}):
            yield {
                "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
                "MLFLOW_TRACKING_USERNAME": "admin",
                "MLFLOW_TRACKING_PASSWORD": PASSWORD,
            }
