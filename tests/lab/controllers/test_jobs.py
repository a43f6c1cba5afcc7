from ovnk.lab.controllers.resources import Object
from tests.lab.controllers.pretending import Kubectl, template


def job(name: str, exit_code: str, **spec: object) -> Object:
    pod = template(name, {"test/exit": exit_code}, restartPolicy="Never")
    body = {"template": pod, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": body}


def test_a_job_is_complete_once_enough_pods_succeeded(kubectl: Kubectl) -> None:
    kubectl.apply(job("once", "0"), job("thrice", "0", completions=3, parallelism=2))
    kubectl.wait("job/once", "condition=Complete")
    kubectl.wait("job/thrice", "condition=Complete")
    assert kubectl.get("job", "once")["status"]["succeeded"] == 1
    assert kubectl.get("job", "thrice")["status"]["succeeded"] == 3
    assert len(kubectl.items("pods")) == 4


def test_a_job_fails_beyond_its_back_off_limit(kubectl: Kubectl) -> None:
    kubectl.apply(job("never", "1", backoffLimit=0))
    kubectl.wait("job/never", "condition=Failed")
    assert kubectl.get("job", "never")["status"]["failed"] == 1
