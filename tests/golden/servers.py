"""Real servers on loopback for tests of sharing, each stopped by its own process id."""

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

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
def running(command, port, log):
    """A server process that answers on a port; its last words if it does not."""
    with log.open("w") as words:
        process = subprocess.Popen(command, stdout=words, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)
        else:
            pytest.fail(f"no answer on port {port}: {log.read_text()[-2000:]}")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def folder_remote(tmp_path):
    """Yield the URL of a remote, its settings, and the folder where its objects lie."""
    yield str(tmp_path / "remote"), {}, tmp_path / "remote"


@contextmanager
def ssh_remote(tmp_path):
    """The same through OpenSSH's own server with a key of its own."""
    if not Path(SSHD).exists():
        pytest.skip("no sshd here: install openssh-server")
    import getpass

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
