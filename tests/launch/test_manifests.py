"""The manifest and the image's recipe, against schemas and against what the training reads."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jaxgan.core import google_cloud, processes
from jaxgan.core.peers import Place

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "launch" / "Dockerfile").read_text()

# What JobSet v1alpha2 requires of the fields used here (https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2).
JOBSET = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "jobset.x-k8s.io/v1alpha2"},
        "kind": {"const": "JobSet"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 50}},
        },
        "spec": {
            "type": "object",
            "required": ["replicatedJobs"],
            "additionalProperties": False,
            "properties": {
                "network": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"enableDNSHostnames": {"const": True}},
                },
                "failurePolicy": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "maxRestarts": {"type": "integer", "minimum": 0},
                        "rules": {
                            "type": "array",
                            "maxItems": 20,
                            "items": {
                                "type": "object",
                                "required": ["name", "action"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                                    "action": {
                                        "enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]
                                    },
                                    "onJobFailureReasons": {
                                        "items": {
                                            "enum": [
                                                "BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes",
                                                "MaxFailedIndexesExceeded", "PodFailurePolicy",
                                            ]
                                        }
                                    },
                                },
                            },
                        },
                    },
                },
                "replicatedJobs": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "template"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "replicas": {"type": "integer"},
                            "template": {"type": "object", "required": ["spec"]},
                        },
                    },
                },
            },
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def jobset():
    yaml = pytest.importorskip("yaml", reason="needs kubernetes-validate (requirements-dev.txt)")
    return yaml.safe_load((ROOT / "launch" / "jobset.yaml").read_text())


@pytest.mark.slow
def test_the_jobset_keeps_to_its_schema_and_its_job_to_that_of_kubernetes(jobset):
    jsonschema = pytest.importorskip("jsonschema")
    validator = pytest.importorskip("kubernetes_validate")
    jsonschema.validate(jobset, JOBSET)
    for replicated in jobset["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}} | replicated["template"]
        validator.validate(job, "1.32", strict=True)
        job["spec"]["template"]["spec"]["containers"][0]["imagee"] = ""
        with pytest.raises(validator.ValidationError):
            validator.validate(job, "1.32", strict=True)


def test_the_jobset_tells_each_pod_what_the_training_reads(jobset, monkeypatch):
    monkeypatch.setattr(google_cloud, "on_tpu_vm", lambda: False)
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    annotations = {
        "metadata.annotations['jobset.sigs.k8s.io/jobset-name']": jobset["metadata"]["name"],
        "metadata.annotations['jobset.sigs.k8s.io/replicatedjob-name']": replicated["name"],
    }
    told = {
        entry["name"]: entry["value"] if "value" in entry else annotations[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        for entry in container["env"]
    }
    (port,) = (entry["containerPort"] for entry in container["ports"])
    assert job["completionMode"] == "Indexed" and job["parallelism"] == job["completions"]  # sets JOB_COMPLETION_INDEX
    found = processes.detect(told | {"JOB_COMPLETION_INDEX": "1"})
    assert found == ("JobSet", Place(f"jaxgan-train-0-0.jaxgan:{port}", job["completions"], 1))


def test_the_jobset_starts_again_what_stopped_and_not_what_is_wrong(jobset):
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert "--stopped_status=75" in container["args"]  # with 0 a pod that was drained would count as done
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [2]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert job["template"]["spec"]["restartPolicy"] == "Never" and job["backoffLimit"] == 0
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] >= 120
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0
    assert jobset["spec"]["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_the_image_holds_what_it_copies_and_nothing_else():
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for word in line.split()]
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert sorted(copied) == sorted(allowed) and all((ROOT / path).exists() for path in copied)
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()
    assert DOCKERFILE.index("USER 1000") < DOCKERFILE.index("ENTRYPOINT [")  # in the form that forwards signals


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("hadolint") is None, reason="needs hadolint (requirements-dev.txt)")
def test_hadolint_finds_nothing():
    done = subprocess.run(["hadolint", str(ROOT / "launch" / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
