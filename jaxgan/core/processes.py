"""Start-up of several processes that compute together, on one host or many."""

from __future__ import annotations

import re
from collections.abc import Mapping

import jax

from jaxgan.core import google_cloud
from jaxgan.core.peers import Peers, Place, ProcessError, meet, split_address

_FIRST_PORT = 61_440  # of the 4,096 from which JAX, too, picks one by a job's number
_JOBSET_PORT = 8476
_TPU_PORT = 8482


def detect(environment: Mapping[str, str]) -> tuple[str, Place] | None:
    """Finds out whether a launcher started this process as one of several.

    Slurm counts only inside a step of several tasks: in the shell of `salloc`, or a batch script, there is one process.
    JAX_COORDINATOR_ADDRESS, where set, replaces the address that the launcher's variables lead to.

    Args:
      environment: variables of the process.

    Returns:
      The launcher's name and the place of this process; None if it is alone.

    Raises:
      ProcessError: a launcher is there, but its variables do not suffice.
    """
    for name, find in (("Slurm", _slurm), ("Open MPI", _open_mpi), ("Cloud TPU", _tpu), ("JobSet", _jobset)):
        try:
            place = find(environment)
        except KeyError as missing:
            raise ProcessError(
                f"{name} seems to have started this process, but the variable {missing.args[0]} is not set; pass "
                "--coordinator, --num_processes and --process_id, or --nodistributed to train alone."
            ) from missing
        except ValueError as error:
            raise ProcessError(f"a variable that {name} sets cannot be understood ({error}).") from error
        if place is not None:
            return name, place
    return None


def _slurm(environment: Mapping[str, str]) -> Place | None:
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) < 2 or "SLURM_PROCID" not in environment:
        return None
    job = int(environment["SLURM_JOB_ID"]) + 97 * int(environment.get("SLURM_STEP_ID", "0"))
    address = f"{first_host(environment['SLURM_STEP_NODELIST'])}:{_FIRST_PORT + job % 4096}"
    return _place(environment, address, environment["SLURM_STEP_NUM_TASKS"], environment["SLURM_PROCID"])


def _open_mpi(environment: Mapping[str, str]) -> Place | None:
    if int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) < 2:
        return None
    address = ""
    if "JAX_COORDINATOR_ADDRESS" not in environment:
        if (uri := environment.get("OMPI_MCA_orte_hnp_uri")) is None:
            raise KeyError("JAX_COORDINATOR_ADDRESS (from Open MPI 5 on, mpirun's own address is not told)")
        host = re.search(r"tcp://(.+?)[,:]|tcp6://\[(.+?)[,\]]", uri)
        if host is None:
            raise ValueError(f"OMPI_MCA_orte_hnp_uri={uri!r} holds no address")
        port = _FIRST_PORT + int(uri.partition(".")[0]) // 4096 % 4096  # a job's number is a multiple of 4,096
        address = f"{host[1] or host[2]}:{port}"
    return _place(environment, address, environment["OMPI_COMM_WORLD_SIZE"], environment["OMPI_COMM_WORLD_RANK"])


def _tpu(environment: Mapping[str, str]) -> Place | None:
    """A slice of several hosts, or several slices: by GKE's variables, or by a TPU VM's metadata."""
    told = dict(environment)
    workers = told.get("TPU_WORKER_HOSTNAMES", "")
    if not workers and google_cloud.on_tpu_vm() and "TPU_SKIP_MDS_QUERY" not in told:
        workers, told = _ask_about_tpu(told)
    hosts = [host for host in workers.split(",") if host]
    slices = int(told.get("MEGASCALE_NUM_SLICES") or 1)
    if len(hosts) * slices < 2:
        return None
    host = (told.get("MEGASCALE_COORDINATOR_ADDRESS") or hosts[0]).partition(":")[0]
    number = int(told["TPU_WORKER_ID"]) + len(hosts) * int(told.get("MEGASCALE_SLICE_ID") or 0)
    return _place(told, f"{host}:{_TPU_PORT}", str(len(hosts) * slices), str(number))


def _ask_about_tpu(environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Returns the addresses of the slice's hosts, and the environment with what the metadata server adds to it."""
    try:
        endpoints = google_cloud.metadata("attributes/worker-network-endpoints")[0]
        number = google_cloud.metadata("attributes/agent-worker-number")[0]
        lines = google_cloud.metadata("attributes/tpu-env")[0].splitlines()
    except OSError:
        return "", dict(environment)
    # Older images list the hosts as name:id:address, newer ones by their names alone.
    hosts = ",".join(entry.split(":")[-1] for entry in endpoints.split(","))
    added = {key.strip(): value.strip().strip("'") for key, _, value in (line.partition(":") for line in lines)}
    return hosts, {"TPU_WORKER_ID": number} | added | dict(environment)


def _jobset(environment: Mapping[str, str]) -> Place | None:
    """Kubernetes: the variables that launch/jobset.yaml sets from the annotations of JobSet's pods."""
    if "JOBSET_NAME" not in environment or int(environment.get("NUM_PROCESSES", "2")) < 2:
        return None
    jobset, job = environment["JOBSET_NAME"], environment["REPLICATED_JOB_NAME"]
    address = f"{jobset}-{job}-0-0.{jobset}:{_JOBSET_PORT}"  # the stable name of its first pod
    return _place(environment, address, environment["NUM_PROCESSES"], environment["JOB_COMPLETION_INDEX"])


def _place(environment: Mapping[str, str], address: str, num_processes: str, process_id: str) -> Place:
    return Place(environment.get("JAX_COORDINATOR_ADDRESS") or address, int(num_processes), int(process_id))


def first_host(node_list: str) -> str:
    """Returns the first of the hosts that Slurm lists, e.g. "node007" of "node[007-010,012],login1"."""
    found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,\[]*))?", node_list)
    if found is None:
        raise ValueError(f"SLURM_STEP_NODELIST={node_list!r} names no host")
    return "".join(part or "" for part in found.groups())


def local_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Returns the GPUs that this process takes of those that it sees; None = all of them.

    Where a launcher starts several processes on a host and shows all GPUs to each, they divide them evenly in their
    order. One process per host takes all. (JAX by itself gives one GPU to each process of Slurm's or Open MPI's, also
    if it is the only one on its host.)
    """
    if "SLURM_STEP_NUM_TASKS" in environment and "SLURM_LOCALID" in environment:
        number, nodes = int(environment["SLURM_LOCALID"]), int(environment.get("SLURM_NODEID", "0"))
        count = _tasks_of_node(environment.get("SLURM_STEP_TASKS_PER_NODE", "1"), nodes)
    elif "OMPI_COMM_WORLD_LOCAL_SIZE" in environment:
        number, count = int(environment["OMPI_COMM_WORLD_LOCAL_RANK"]), int(environment["OMPI_COMM_WORLD_LOCAL_SIZE"])
    else:
        return None
    visible = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if count < 2 or "JAX_LOCAL_DEVICE_IDS" in environment or len(visible) == 1:
        return None
    share = max(1, len(visible) // count)
    return list(range(number * share, (number + 1) * share))


def _tasks_of_node(listed: str, node: int) -> int:
    """Reads e.g. "4(x2),1": four tasks on each of the first two nodes, one on the third."""
    counts: list[int] = []
    for entry in listed.split(","):
        tasks, _, times = entry.partition("(x")
        counts += [int(tasks)] * int(times.rstrip(")") or 1)
    return counts[min(node, len(counts) - 1)]


def from_flags(coordinator: str | None, num_processes: int | None, process_id: int | None) -> Place | None:
    """Returns the place that the user's flags give; None if there are none.

    Raises:
      ProcessError: some of the three are missing or impossible.
    """
    given = {"--coordinator": coordinator, "--num_processes": num_processes, "--process_id": process_id}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 3:
        return None
    if coordinator is None or num_processes is None or process_id is None:
        raise ProcessError(f"{' and '.join(missing)} is missing; give all of {', '.join(given)}, or none of them.")
    split_address(coordinator)
    if not 0 <= process_id < num_processes:
        raise ProcessError(
            f"--process_id (={process_id}) must be from 0 to --num_processes (={num_processes}) minus 1."
        )
    return Place(coordinator, num_processes, process_id)


def start(
    place: Place | None,
    environment: Mapping[str, str],
    *,
    wanted: bool | None,
    about: str,
    start_timeout: float,
    peer_timeout: float,
) -> Peers | None:
    """Joins the other processes of the run, if there are any. To be called before anything asks JAX for its devices.

    Args:
      place: by the user's flags; None = what `detect` finds.
      environment: variables of the process.
      wanted: True: it is a mistake to be alone; False: stay alone; None: as it is found.
      about: what must be the same in all processes.
      start_timeout: seconds to wait for all to come.
      peer_timeout: seconds without any word after which a peer counts as gone.

    Returns:
      The watch over the others; None for a process that is alone.

    Raises:
      ProcessError: they do not come together; one sentence for the user.
    """
    if wanted is False:
        return None
    if place is None and (found := detect(environment)) is not None:
        place = found[1]
    if place is None and wanted:
        raise ProcessError(
            "--distributed was given, but no launcher was found (Slurm, Open MPI, JobSet, Cloud TPU); pass "
            "--coordinator=HOST:PORT, --num_processes and --process_id, or leave --distributed out."
        )
    if place is None or place.num_processes == 1:
        return None
    peers = Peers(
        place, meet(place, about=f"jax {jax.__version__}, {about}", timeout=start_timeout), timeout=peer_timeout
    )
    try:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")  # without it CPUs of several processes refuse
        jax.distributed.initialize(
            place.coordinator,
            place.num_processes,
            place.process_id,
            local_device_ids=local_devices(environment),
            cluster_detection_method="deactivate",  # all is known, and JAX's own search may ask the network
            initialization_timeout=max(10, round(start_timeout)),
            heartbeat_timeout_seconds=max(100, 2 * round(peer_timeout)),  # the line between the peers is faster
            shutdown_timeout_seconds=60,
        )
    except RuntimeError as error:
        sentence = f"{place} cannot start JAX's distributed service ({str(error).splitlines()[0]})."
        peers.leave("could not start JAX's distributed service", 2)
        raise ProcessError(sentence) from error
    return peers
