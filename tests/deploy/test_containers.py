"""Images, compose and Kubernetes: who runs, with which settings, and whether ports, paths and versions agree."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from opencode_a2a.config.risks import risks
from opencode_a2a.config.settings import PASSWORD_FILE, load_settings
from sansio.http import LIVE_PATH, READY_PATH
from tests.deploy.tools import DEPLOY, FILES, SETTINGS, documents, names_in, program, values_of
from tests.paths import ROOT

DOCKER = DEPLOY / "docker"
IMAGES = (DOCKER / "Dockerfile", DOCKER / "opencode.Dockerfile")
COMPOSE = DOCKER / "compose.yaml"
KUBERNETES = (DEPLOY / "kubernetes" / "opencode-a2a.yaml", DEPLOY / "kubernetes" / "secret.example.yaml")


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each with its arguments in one line."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE))
    lines = [line for line in text.splitlines() if line.strip()]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_name_that_looks_like_a_setting_is_one(path: Path) -> None:
    assert names_in(path.read_text()) - SETTINGS == set()


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_have_a_pinned_base_and_no_root(path: Path) -> None:
    found = instructions(path)
    bases = [arguments.split()[0] for name, arguments in found if name == "FROM"]
    users = [arguments for name, arguments in found if name == "USER"]

    assert all(re.fullmatch(r"[a-z]+:\d+(\.\d+)*-[a-z-]+", base) for base in bases), bases
    assert all(re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", user) for user in users), users
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    assert "USER" in [name for name, _ in found[last:]]
    assert "ADD" not in [name for name, _ in found]
    assert not any("curl" in arguments or "sudo" in arguments for _, arguments in found)
    [entry] = [arguments for name, arguments in found if name == "ENTRYPOINT"]
    assert json.loads(entry)  # without a shell, so that signals arrive


def test_the_image_installs_by_hash_and_probes_by_its_own_means() -> None:
    found = instructions(DOCKER / "Dockerfile")
    installs = [part for name, text in found if name == "RUN" for part in text.split("&&") if "pip install" in part]
    [health] = [arguments for name, arguments in found if name == "HEALTHCHECK"]
    copied = [arguments.split()[:-1] for name, arguments in found if name == "COPY" and "--from" not in arguments]

    assert len(installs) == 3
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)
    assert json.loads(health.partition("CMD ")[2]) == ["python", "-m", "opencode_a2a.server.probe"]
    assert all((ROOT / source).exists() for sources in copied for source in sources)


def test_what_the_wheel_needs_is_sent_to_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}

    assert lines[0] == "*"
    assert all((ROOT / name).exists() for name in sent)
    assert {"sansio", "opencode_a2a", "runtime_http", "runtime_asyncio", "runtime_trio", "pyproject.toml"} <= sent


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_hadolint_has_no_complaint(path: Path) -> None:
    # DL3008: a pinned Debian package is gone from the archive a week later
    done = subprocess.run(
        [program("hadolint"), "--no-color", "--ignore", "DL3008", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_the_images_pins_are_those_of_the_lock() -> None:
    lock = _pins((ROOT / "requirements.lock").read_text())
    pinned = _pins((DEPLOY / "requirements.txt").read_text())
    building = _pins((DEPLOY / "requirements-build.txt").read_text())

    assert {name: lock.get(name) for name in pinned | building} == pinned | building
    assert not {"pytest", "mypy", "hypothesis", "ruff"} & set(pinned)
    assert set(building) >= {"hatchling"}


def test_the_images_pins_are_complete() -> None:
    pinned = _pins((DEPLOY / "requirements.txt").read_text())
    extras = ("oidc", "metrics", "otel", "postgresql", "signing", "uvloop")
    waiting: list[tuple[str, tuple[str, ...]]] = [("opencode-a2a", extras)]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        name, chosen = key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        for line in requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *chosen)):
                waiting.append((canonicalize_name(needed.name), tuple(sorted(needed.extras))))

    assert {name for name, _ in seen} - set(pinned) <= {"opencode-a2a"}
    assert len(seen) > 30


def _pins(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The pinned packages: the version and the hashes of each."""
    blocks = re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    found = {name: (version, frozenset(re.findall(r"sha256:\w{64}", rest))) for name, version, rest in blocks}
    assert all(hashes for _, hashes in found.values())
    return found


def test_opencode_is_the_version_that_the_tests_run_against() -> None:
    wanted = json.loads((ROOT / "tests" / "real" / "package.json").read_text())["dependencies"]["opencode-ai"]
    [deployment] = [one for one in documents(KUBERNETES[0]) if one["kind"] == "Deployment"]

    assert f"opencode-ai@{wanted} " in (DOCKER / "opencode.Dockerfile").read_text()
    assert f"opencode:{wanted}" in [container["image"].rpartition("/")[2] for container in _containers(deployment)]


def test_compose_keeps_opencode_private_and_both_without_privileges() -> None:
    [compose] = documents(COMPOSE)
    services = compose["services"]
    server, opencode = services["opencode-a2a"], services["opencode"]

    assert "ports" not in opencode
    assert server["ports"] == ["127.0.0.1:8000:8000"]
    assert compose["networks"]["inner"]["internal"] is True
    for service in (server, opencode):
        assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", service["user"])
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert set(service["secrets"]) <= set(compose["secrets"])
        assert {volume.partition(":")[0] for volume in service["volumes"] if volume[0] != "."} <= set(
            compose["volumes"]
        )
    assert server["read_only"] is True
    # `docker compose exec` has the environment of the service, and nothing that a wrapper adds to it
    assert "entrypoint" not in server
    assert server["environment"][PASSWORD_FILE] == "/run/secrets/opencode_password"
    settings = _loaded(server["environment"])
    assert settings.port == 8000
    assert settings.opencode_url == "http://opencode:4096"
    assert "4096" in opencode["command"]
    assert settings.tool_url == "http://opencode-a2a:8000"
    [outward] = compose["networks"]["outward"]["ipam"]["config"]
    assert str(settings.trusted_proxies.networks[0]) == f"{outward['gateway']}/32"
    assert outward["subnet"] == "172.30.82.0/24"
    assert "A2A_TRUSTED_PROXIES" not in {risk.variable for risk in risks(settings)}
    assert int(server["stop_grace_period"].rstrip("s")) > settings.shutdown_grace_seconds + 5
    assert _is_below(settings.task_store_database_url, server["volumes"][0].partition(":")[2])


def test_three_servers_share_a_database_behind_a_proxy_that_they_trust() -> None:
    [compose] = documents(DOCKER / "compose.replicas.yaml")
    [alone] = documents(COMPOSE)
    services = compose["services"]
    servers = [service for name, service in services.items() if name.startswith("opencode-a2a")]
    settings = _loaded(servers[0]["environment"])
    proxy = (DOCKER / "nginx.replicas.conf").read_text()

    assert len(servers) == 3
    assert servers[0] == servers[1] == servers[2]
    assert services["opencode"] == alone["services"]["opencode"]
    assert settings.shares_store
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    assert all(set(service.get("secrets", ())) <= set(compose["secrets"]) for service in services.values())
    assert {name for name in services if f"server {name}:{settings.port} " in proxy} == {
        name for name in services if name.startswith("opencode-a2a")
    }
    address = services["nginx"]["networks"]["outward"]["ipv4_address"]
    assert str(settings.trusted_proxies.networks[0]) == f"{address}/32"


def test_no_secret_is_an_argument_or_a_plain_value() -> None:
    [compose] = documents(COMPOSE)
    for service in compose["services"].values():
        names = {name for name in service.get("environment", {}) if "PASSWORD" in name or "CREDENTIALS" in name}
        assert all(name.endswith("_FILE") for name in names)
    for one in values_of([documents(path) for path in KUBERNETES], "env"):
        assert all("value" not in entry or "PASSWORD" not in entry["name"] for entry in one)


def test_the_pod_is_restricted_and_alone() -> None:
    [deployment] = [one for one in documents(KUBERNETES[0]) if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]

    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["runAsUser"] >= 10000
        assert "memory" in container["resources"]["limits"]
        assert {mount["name"] for mount in container["volumeMounts"]} <= {one["name"] for one in pod["volumes"]}
    assert _container(deployment, "opencode-a2a")["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_users_of_the_pod_are_those_of_the_images() -> None:
    [deployment] = [one for one in documents(KUBERNETES[0]) if one["kind"] == "Deployment"]
    [compose] = documents(COMPOSE)

    for name, path in zip(("opencode-a2a", "opencode"), IMAGES, strict=True):
        [user] = [arguments for instruction, arguments in instructions(path) if instruction == "USER"]
        context = _container(deployment, name)["securityContext"]
        assert user == f"{context['runAsUser']}:{context['runAsGroup']}" == compose["services"][name]["user"]


def test_probes_ports_and_names_of_the_manifests_agree() -> None:
    found = {one["kind"]: one for path in KUBERNETES for one in documents(path)}
    deployment, service = found["Deployment"], found["Service"]
    server = _container(deployment, "opencode-a2a")
    settings = _loaded(found["ConfigMap"]["data"])
    [port] = server["ports"]

    assert server["livenessProbe"]["httpGet"] == server["startupProbe"]["httpGet"]
    assert server["livenessProbe"]["httpGet"] == {"path": LIVE_PATH, "port": port["name"]}
    assert server["readinessProbe"]["httpGet"] == {"path": READY_PATH, "port": port["name"]}
    assert port["containerPort"] == settings.port
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == deployment["spec"]["selector"]["matchLabels"]
    assert ["address for examples" in risk.problem for risk in risks(settings)] == [True]  # until it is edited
    assert settings.opencode_url == "http://127.0.0.1:4096"
    assert _container(deployment, "opencode")["args"][1:] == ["--hostname", "127.0.0.1", "--port", "4096"]
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > (
        settings.shutdown_grace_seconds + 5
    )
    [mounted] = [one["secret"] for one in deployment["spec"]["template"]["spec"]["volumes"] if "secret" in one]
    assert mounted["secretName"] == found["Secret"]["metadata"]["name"]
    assert {item["key"] for item in mounted["items"]} == set(found["Secret"]["stringData"])
    environ = found["ConfigMap"]["data"]
    files = {f"/etc/opencode-a2a/{item['path']}" for item in mounted["items"]}
    assert {environ[PASSWORD_FILE], environ["A2A_STATIC_AUTH_CREDENTIALS_FILE"]} == files
    [other] = _container(deployment, "opencode")["env"]
    assert other["name"] == "OPENCODE_SERVER_PASSWORD"
    assert other["valueFrom"]["secretKeyRef"]["key"] in {item["key"] for item in mounted["items"]}
    _loaded({"A2A_STATIC_AUTH_CREDENTIALS": found["Secret"]["stringData"]["credentials.json"]})
    mounts = {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}
    assert mounts["secrets"] == "/etc/opencode-a2a"
    assert _is_below(settings.task_store_database_url, mounts["state"])
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in _volumes(deployment)}
    assert claims == {
        one["metadata"]["name"] for one in documents(KUBERNETES[0]) if one["kind"] == "PersistentVolumeClaim"
    }


def test_kubectl_reads_the_manifests_as_they_are_meant(tmp_path: Path) -> None:
    names = [path.name for path in KUBERNETES]
    for path in KUBERNETES:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "kustomization.yaml").write_text(json.dumps({"resources": names}))
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "read.yaml").write_text(done.stdout)
    read = {(one["kind"], one["metadata"]["name"]): one for one in documents(tmp_path / "read.yaml")}
    written = {(one["kind"], one["metadata"]["name"]): one for path in KUBERNETES for one in documents(path)}
    assert read == written


def _containers(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    return found


def _container(deployment: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [one for one in _containers(deployment) if one["name"] == name]
    return found


def _volumes(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in deployment["spec"]["template"]["spec"]["volumes"] if "persistentVolumeClaim" in one]


def _loaded(environ: dict[str, str]) -> Any:
    """The settings of an environment, whose values are all accepted."""
    assert all(isinstance(value, str) for value in environ.values())
    here = {name: text for name, text in environ.items() if name != PASSWORD_FILE}  # a path in the container
    settings, warnings = load_settings(here)
    assert warnings == []
    return settings


def _is_below(url: str, folder: str) -> bool:
    return url.startswith(f"sqlite:///{folder}/")
