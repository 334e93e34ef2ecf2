"""The parts of starting Ray that need no Ray, but for one; the whole is in tests/integration."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys

import pytest

from capetune.errors import UserError
from capetune.training import cluster


@pytest.fixture
def private(tmp_path, monkeypatch):
    """A cache, and an environment that forgets what is set in it."""
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "cache"))
    kept = dict(os.environ)
    yield tmp_path / "cache"
    os.environ.clear()
    os.environ.update(kept)


def test_the_token_is_made_once_and_readable_to_us_only(private):
    cluster._guard()
    file = private / "ray-token"
    token = file.read_text()
    assert len(token) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    cluster._guard()
    assert file.read_text() == token
    assert [path.name for path in private.iterdir()] == ["ray-token"]
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(file)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_of_two_processes_that_make_the_token_the_second_takes_the_first_s(private, monkeypatch):
    def first(source, target):
        target.write_text("theirs")
        raise FileExistsError

    monkeypatch.setattr(os, "link", first)
    cluster._guard()
    assert (private / "ray-token").read_text() == "theirs"
    assert [path.name for path in private.iterdir()] == ["ray-token"]


def test_a_cache_that_can_not_be_made_is_said_with_the_cure(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CAPETUNE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="set CAPETUNE_CACHE to a folder you own"):
        cluster._guard()


def test_the_environment_must_be_prepared_before_ray_is_imported(private, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", object())
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    with pytest.raises(AssertionError, match="Ray was imported before"):
        cluster.prepare_environment(None, False)


def test_preparing_twice_is_fine(private, monkeypatch):
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    cluster.prepare_environment(None, False)
    monkeypatch.setitem(sys.modules, "ray", object())
    cluster.prepare_environment(None, False)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_what_the_user_set_for_ray_stays(private, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    cluster._set_environment(verbose=True)
    assert os.environ["RAY_TRAIN_ENABLE_STATE_TRACKING"] == "0"


def test_a_busy_port_is_passed_over():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        assert cluster._free_port(taken) != taken


def test_a_free_port_is_taken():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert cluster._free_port(free) == free


def test_a_dashboard_port_that_another_ray_took_meanwhile_is_given_up(tmp_path):
    code = """
import socket
from capetune.training import cluster
other = socket.create_server(("127.0.0.1", 0))
taken = other.getsockname()[1]
free = cluster._free_port
cluster._free_port = lambda preferred: taken if preferred else free(0)
with cluster.ray_cluster(cpus=1) as here:
    print(here.dashboard, cluster.os.environ["RAY_API_SERVER_ADDRESS"], taken)
"""
    environment = os.environ | {"CAPETUNE_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    dashboard, told, taken = done.stdout.split()
    assert dashboard == told
    assert not dashboard.endswith(taken)
    assert done.stderr == ""


def test_signals_go_back_to_whom_they_belong():
    before = [signal.getsignal(number) for number in cluster.SIGNALS]
    with cluster._own_signals():
        for number in cluster.SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    assert [signal.getsignal(number) for number in cluster.SIGNALS] == before


def test_a_signal_to_our_process_group_leaves_ray_to_us(tmp_path):
    code = """
import os, signal, time
from capetune.training import cluster
signal.signal(signal.SIGTERM, lambda number, frame: print("heard"))
with cluster.ray_cluster(cpus=1):
    import ray
    os.killpg(0, signal.SIGTERM)
    time.sleep(2)  # its processes would end in less
    print(ray.get(ray.remote(lambda: "alive").remote()))
"""
    environment = os.environ | {"CAPETUNE_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["heard", "alive"], "")


def test_ray_s_loggers_are_hushed():
    for name in ("ray.data.some", "ray.tune.some", "rays"):
        logging.getLogger(name).setLevel(logging.INFO)
    cluster._hush()
    levels = [logging.getLogger(name).level for name in ("ray.data.some", "ray.tune.some", "ray.train", "rays")]
    assert levels == [logging.ERROR, logging.CRITICAL, logging.CRITICAL, logging.INFO]


def test_a_client_address_is_refused(private):
    with (
        pytest.raises(UserError, match="run capetune on a machine of the cluster"),
        cluster.ray_cluster("ray://somewhere:10001"),
    ):
        pass


def test_a_cluster_where_nobody_answers_is_refused_at_once(private):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    for address in (nobody, "127.0.0.1:99999"):
        with pytest.raises(UserError, match=f"can't join the Ray cluster at {address}"), cluster.ray_cluster(address):
            pass


@pytest.mark.parametrize(
    ("machines", "workers", "threads"),
    [
        (((8, 0),), 1, 8),
        (((8, 0),), 3, 2),
        (((8, 0), (8, 0)), 1, 8),  # a worker's CPUs are on one machine
        (((8, 0), (8, 0)), 3, 4),
        (((8, 0), (2, 0)), 5, 2),
        (((2, 0),), 5, 1),
        (((64, 4), (64, 4)), 8, 16),
        (((64, 0), (16, 4)), 4, 4),  # the first machine has no GPU for a worker
    ],
)
def test_each_worker_s_processors_are_on_one_machine(machines, workers, threads):
    assert cluster.Cluster("", None, machines).threads(workers) == threads
