"""The parts of starting Ray that need no Ray, and one Ray; the whole is in tests/integration."""

from __future__ import annotations

import json
import logging
import os
import signal
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


def test_cpus_are_of_a_ray_that_is_started_here(private):
    with pytest.raises(UserError, match="--cpus is of a Ray that is started"), session.ray_cluster("auto", cpus=2):
        pass


def test_a_cluster_where_nobody_answers_is_refused_at_once(private):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    for address in (nobody, "127.0.0.1:99999"):
        with pytest.raises(UserError, match=f"can't join the Ray cluster at {address}"), session.ray_cluster(address):
            pass


def test_a_cluster_that_this_machine_is_not_part_of_is_refused_with_the_cure(private, monkeypatch):
    """Something answers there, but Ray can't be joined, and none runs here."""
    import ray

    monkeypatch.setattr(session.psutil, "process_iter", lambda fields: iter(()))
    monkeypatch.setattr(ray, "init", _no_node)
    cure = r"no Ray runs on this machine: run capetune on a machine of the cluster, .*with `capetune submit`"
    with pytest.raises(UserError, match=cure), session.ray_cluster("auto"):
        pass


def _no_node(*given, **more):
    raise ConnectionError("Could not find any running Ray instance")


def run(code, folder):
    own = {"HOME": str(folder), "CAPETUNE_CACHE": str(folder / "cache")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    words = [sys.executable, "-c", code]
    with tempfile.TemporaryDirectory(prefix="ct", ignore_cleanup_errors=True) as short:  # what a user's own Ray leaves
        own["TMPDIR"] = short
        return subprocess.run(
            words, env=kept | own, cwd=folder, capture_output=True, text=True, timeout=200, start_new_session=True
        )


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What one Ray does whose process has imported it before, and whose first port for the dashboard is taken."""
    code = """
import json, os, signal, socket, time
import ray, psutil, urllib.error, urllib.request
from capetune.cluster import session

other = socket.create_server(("127.0.0.1", 0))
taken = other.getsockname()[1]
free = session._free_port
session._free_port = lambda preferred: taken if preferred else free(0)
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
with session.ray_cluster(cpus=1) as here:
    try:
        status = urllib.request.urlopen(here.dashboard + "/api/v0/actors").status
    except urllib.error.HTTPError as error:
        status = error.code
    mine = psutil.Process().children(recursive=True) + [psutil.Process()]
    gcs = [process for process in mine if "gcs_server" in process.name()]
    open_ones = [c for process in gcs for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    os.killpg(0, signal.SIGTERM)
    time.sleep(2)  # its processes would end in less
    alive = ray.get(ray.remote(lambda: "alive").remote())
    print(json.dumps({
        "dashboard": here.dashboard,
        "told": os.environ["RAY_API_SERVER_ADDRESS"],
        "taken": taken,
        "status": status,
        "addresses": sorted({c.laddr.ip.removeprefix("::ffff:") for c in open_ones}),
        "heard": heard,
        "alive": alive,
    }))
"""
    done = run(code, tmp_path_factory.mktemp("one"))
    assert (done.returncode, done.stderr) == (0, ""), done
    return json.loads(done.stdout)


def test_a_dashboard_port_that_another_ray_took_meanwhile_is_given_up(seen):
    assert seen["dashboard"] == seen["told"]
    assert not seen["dashboard"].endswith(str(seen["taken"]))


def test_a_ray_that_was_imported_before_is_bound_and_guarded_all_the_same(seen):
    """As a notebook does that begins with `import ray`."""
    assert seen["status"] == 401
    assert seen["addresses"] == ["127.0.0.1"]


def test_a_signal_to_our_process_group_leaves_ray_to_us(seen):
    assert seen["heard"] == [signal.SIGTERM]
    assert seen["alive"] == "alive"


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
