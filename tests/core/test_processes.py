"""Who started this process, by the variables that each launcher sets; no process is started here."""

import jax
import pytest

from jaxgan.core import google_cloud, processes
from jaxgan.core.peers import Place, ProcessError

SLURM = {
    "SLURM_JOB_ID": "5000",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-09,12],login1",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "8",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
JOBSET = {
    "JOBSET_NAME": "jaxgan",
    "REPLICATED_JOB_NAME": "train",
    "JOB_COMPLETION_INDEX": "1",
    "NUM_PROCESSES": "2",
}
TPU = {"TPU_WORKER_HOSTNAMES": "h0,h1,h2,h3", "TPU_WORKER_ID": "2"}


@pytest.fixture(autouse=True)
def not_on_google_cloud(monkeypatch):
    monkeypatch.setattr(google_cloud, "on_tpu_vm", lambda: False)


def test_every_launcher_is_recognised_by_its_variables():
    assert processes.detect(SLURM) == ("Slurm", Place(f"gpu07:{61440 + (5000 + 97) % 4096}", 4, 3))
    assert processes.detect(OPEN_MPI) == ("Open MPI", Place("10.96.0.1:62624", 2, 1))
    assert processes.detect(JOBSET) == ("JobSet", Place("jaxgan-train-0-0.jaxgan:8476", 2, 1))
    assert processes.detect(TPU) == ("Cloud TPU", Place("h0:8482", 4, 2))
    assert processes.detect(JOBSET | TPU) == ("Cloud TPU", Place("h0:8482", 4, 2))  # GKE knows its slices better
    slices = {"MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1", "MEGASCALE_COORDINATOR_ADDRESS": "s0:8080"}
    assert processes.detect(TPU | slices) == ("Cloud TPU", Place("s0:8482", 8, 6))
    assert processes.detect({"PATH": "/bin"}) is None


def test_one_process_alone_is_not_one_of_several():
    allocation = {name: value for name, value in SLURM.items() if "STEP" not in name}  # the shell of salloc
    assert processes.detect(allocation) is None
    assert processes.detect(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None  # a batch script
    assert processes.detect(OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"}) is None
    assert processes.detect(JOBSET | {"NUM_PROCESSES": "1"}) is None
    assert processes.detect(TPU | {"TPU_WORKER_HOSTNAMES": "h0"}) is None


def test_an_address_of_the_users_replaces_the_launchers():
    for variables in (SLURM, OPEN_MPI, JOBSET, TPU):
        found = processes.detect(variables | {"JAX_COORDINATOR_ADDRESS": "mine:1"})
        assert found is not None and found[1].coordinator == "mine:1"
    mpi_5 = {name: value for name, value in OPEN_MPI.items() if "orte" not in name}
    with pytest.raises(ProcessError, match="JAX_COORDINATOR_ADDRESS"):
        processes.detect(mpi_5)
    assert processes.detect(mpi_5 | {"JAX_COORDINATOR_ADDRESS": "mine:1"}) == ("Open MPI", Place("mine:1", 2, 1))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({k: v for k, v in JOBSET.items() if k != "NUM_PROCESSES"}, "JobSet.*NUM_PROCESSES is not set"),
        (SLURM | {"SLURM_JOB_ID": "many"}, "Slurm sets cannot be understood.*many"),
        (OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": "4096.0;"}, "holds no address"),
    ],
)
def test_variables_that_do_not_suffice_are_named(variables, said):
    with pytest.raises(ProcessError, match=said):
        processes.detect(variables)


@pytest.mark.parametrize(
    ("listed", "first"),
    [("a1", "a1"), ("a1,b2", "a1"), ("n[001-003]", "n001"), ("n[7,9],m", "n7"), ("r1-n[2-3].local", "r1-n2.local")],
)
def test_the_first_host_of_slurms_list(listed, first):
    assert processes.first_host(listed) == first


def test_a_tpu_vm_asks_its_metadata_server(monkeypatch):
    values = {
        "attributes/worker-network-endpoints": "a:0:10.0.0.5,b:1:10.0.0.6",
        "attributes/agent-worker-number": "1",
        "attributes/tpu-env": "ZONE: 'z'\nMEGASCALE_NUM_SLICES: '1'",
    }
    monkeypatch.setattr(google_cloud, "on_tpu_vm", lambda: True)
    monkeypatch.setattr(google_cloud, "metadata", lambda key: (values[key], ""))
    assert processes.detect({}) == ("Cloud TPU", Place("10.0.0.5:8482", 2, 1))
    assert processes.detect({"TPU_SKIP_MDS_QUERY": "1"}) is None
    values["attributes/worker-network-endpoints"] = "only-host"
    assert processes.detect({}) is None

    def away(key):
        raise OSError

    monkeypatch.setattr(google_cloud, "metadata", away)
    assert processes.detect({}) is None


def test_gpus_are_divided_among_the_processes_of_a_host():
    assert processes.local_devices(SLURM) == [1]
    assert processes.local_devices(SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}) == [4, 5, 6, 7]
    assert processes.local_devices(SLURM | {"CUDA_VISIBLE_DEVICES": "3"}) is None  # Slurm has divided them itself
    assert processes.local_devices(SLURM | {"SLURM_STEP_TASKS_PER_NODE": "3,1"}) is None  # alone on its node: all
    assert processes.local_devices(OPEN_MPI) == [1]
    assert processes.local_devices(OPEN_MPI | {"JAX_LOCAL_DEVICE_IDS": "5"}) is None  # JAX reads it
    assert processes.local_devices(JOBSET) is None


def test_flags_come_together_or_not_at_all():
    assert processes.from_flags(None, None, None) is None
    assert processes.from_flags("h:1", 2, 1) == Place("h:1", 2, 1)
    with pytest.raises(ProcessError, match="--num_processes and --process_id is missing"):
        processes.from_flags("h:1", None, None)
    with pytest.raises(ProcessError, match=r"--process_id \(=2\)"):
        processes.from_flags("h:1", 2, 2)
    for wrong in ("h", ":1", "h:p", "h:0", "h:70000"):
        with pytest.raises(ProcessError, match="HOST:PORT"):
            processes.from_flags(wrong, 2, 1)


def start(place=None, environment=None, wanted=None):
    return processes.start(
        place, environment or {}, wanted=wanted, about="", start_timeout=1, peer_timeout=60
    )  # fmt: skip


def test_alone_unless_something_says_otherwise():
    assert start() is None
    assert start(environment=SLURM, wanted=False) is None
    assert start(Place("h:1", 1, 0)) is None
    with pytest.raises(ProcessError, match="--distributed was given, but no launcher"):
        start(wanted=True)


def test_jax_is_told_everything_and_its_refusal_is_explained(monkeypatch):
    told, left = {}, []

    class FakePeers:
        def __init__(self, place, lines, timeout):
            assert (lines, timeout) == ({}, 60)

        def leave(self, *args):
            left.append(args)

    def initialize(*args, **kwargs):
        told.update(kwargs, args=args)
        if left:
            raise RuntimeError("must be called before any JAX calls\nmore")
        left.append("called")

    monkeypatch.setattr(processes, "Peers", FakePeers)
    monkeypatch.setattr(processes, "meet", lambda *args, **kwargs: {})
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    assert isinstance(start(environment=SLURM), FakePeers)
    assert told["args"] == ("gpu07:62441", 4, 3) and told["local_device_ids"] == [1]
    assert told["cluster_detection_method"] == "deactivate"
    with pytest.raises(ProcessError, match="process 3 of 4 cannot start.*before any JAX calls"):
        start(environment=SLURM)
    assert left[1][1] == 2  # and the others are told


def test_main_explains_wrong_flags_in_a_sentence(run_main, tmp_path):
    code, err, _ = run_main("--config=configs/digits.py", f"--workdir={tmp_path}", "--coordinator=here:1234")
    assert code == 2 and "--num_processes and --process_id is missing" in err and "Traceback" not in err
    code, err, _ = run_main("--config=configs/digits.py", f"--workdir={tmp_path}", "--distributed")
    assert code == 2 and "no launcher was found" in err
