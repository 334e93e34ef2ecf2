"""The parts of starting Ray that need no Ray, but for one; the whole is in tests/integration."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile

import pytest

from capetune.cluster import session
from capetune.errors import UserError


@pytest.fixture
def private(tmp_path, monkeypatch):
    """A cache, and an environment that forgets what is set in it."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    kept = dict(os.environ)
    yield tmp_path / "cache"
    os.environ.clear()
    os.environ.update(kept)


def test_a_busy_port_is_passed_over():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        assert session._free_port(taken) != taken


def test_a_free_port_is_taken():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert session._free_port(free) == free


def test_a_dashboard_port_that_another_ray_took_meanwhile_is_given_up(tmp_path):
    code = """
import socket
from capetune.cluster import session
other = socket.create_server(("127.0.0.1", 0))
taken = other.getsockname()[1]
free = session._free_port
session._free_port = lambda preferred: taken if preferred else free(0)
with session.ray_cluster(cpus=1) as here:
    print(here.dashboard, session.os.environ["RAY_API_SERVER_ADDRESS"], taken)
"""
    environment = os.environ | {"CAPETUNE_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    dashboard, told, taken = done.stdout.split()
    assert dashboard == told
    assert not dashboard.endswith(taken)
    assert done.stderr == ""


def test_ray_s_loggers_are_hushed():
    for name in ("ray.data.some", "ray.tune.some", "rays"):
        logging.getLogger(name).setLevel(logging.INFO)
    session._hush()
    levels = [logging.getLogger(name).level for name in ("ray.data.some", "ray.tune.some", "ray.train", "rays")]
    assert levels == [logging.ERROR, logging.CRITICAL, logging.CRITICAL, logging.INFO]


def test_a_client_address_is_refused(private):
    with (
        pytest.raises(UserError, match="run capetune on a machine of the cluster"),
        session.ray_cluster("ray://somewhere:10001"),
    ):
        pass


def test_a_cluster_where_nobody_answers_is_refused_at_once(private):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    for address in (nobody, "127.0.0.1:99999"):
        with pytest.raises(UserError, match=f"can't join the Ray cluster at {address}"), session.ray_cluster(address):
            pass


def run(code, folder):
    own = {"HOME": str(folder), "CAPETUNE_CACHE": str(folder / "cache")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    words = [sys.executable, "-c", code]
    with tempfile.TemporaryDirectory(prefix="ct", ignore_cleanup_errors=True) as short:  # what a user's own Ray leaves
        own["TMPDIR"] = short
        return subprocess.run(words, env=kept | own, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_ray_that_was_imported_before_is_bound_and_guarded_all_the_same(tmp_path):
    """As a notebook does that begins with `import ray`."""
    code = """
import ray, psutil, urllib.error, urllib.request
from capetune.cluster.session import ray_cluster

with ray_cluster(cpus=1) as here:
    try:
        urllib.request.urlopen(here.dashboard + "/api/v0/actors")
    except urllib.error.HTTPError as error:
        print(error.code)
    mine = psutil.Process().children(recursive=True) + [psutil.Process()]
    gcs = [process for process in mine if "gcs_server" in process.name()]
    open_ones = [c for process in gcs for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    print({c.laddr.ip.removeprefix("::ffff:") for c in open_ones})
"""
    done = run(code, tmp_path)
    assert done.stdout == "401\n{'127.0.0.1'}\n", done


def test_the_ray_that_the_process_has_started_is_used_and_goes_on(tmp_path):
    code = """
import ray
ray.init(num_cpus=3, include_dashboard=True, log_to_driver=False)
from capetune.cluster.session import ray_cluster

for _ in range(2):
    with ray_cluster() as here:
        print(here.cpus, here.token, here.dashboard.startswith("http://"))
print(ray.is_initialized())
"""
    done = run(code, tmp_path)
    assert done.stdout == "3 None True\n3 None True\nTrue\n", done
