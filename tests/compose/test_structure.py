"""What compose.yaml and the Dockerfiles say, without starting anything."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from cabochon_opa.bundle.opa_config import bundle_config
from cabochon_opa.testing import ENGINE

from .compose_file import EXAMPLE, ROOT, ComposeFile, Dockerfile, Service
from .images import DOCKERFILES

COMPOSE = ComposeFile.read()
SERVICES = COMPOSE.services
ONCE = {
    other
    for service in SERVICES.values()
    for other, dependency in service.depends_on.items()
    if dependency.condition == "service_completed_successfully"
}

each_service = pytest.mark.parametrize("name", SERVICES)
each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda dockerfile: dockerfile.path.name)


def test_file_says_what_it_says() -> None:
    """
    No `$`, which Compose would fill in from the environment: what is read here is what Compose reads.
    """
    assert "$" not in (EXAMPLE / "compose.yaml").read_text("utf-8")


def test_fleet_is_what_the_page_needs() -> None:
    """
    One server, two agents, and what they need.
    """
    assert {"agent-inline", "agent-bundle"} == {name for name, service in SERVICES.items() if service.is_agent}
    assert {"server"} == {name for name, service in SERVICES.items() if service.command[:2] == ["cabochon", "server"]}
    assert {"policies"} == ONCE


@each_service
def test_service_has_an_image_or_a_dockerfile(name: str) -> None:
    """
    One or the other; a Dockerfile that is there, with the checkout as its context.
    """
    service = SERVICES[name]

    assert (service.build is None) != (service.image is None)
    if service.build is not None:
        assert service.build.path in {dockerfile.path for dockerfile in DOCKERFILES}
        assert ROOT == service.build.folder
    else:
        assert ":" in str(service.image), "a tag, so that it is the same image tomorrow"


@each_service
def test_service_is_nobody_of_note(name: str) -> None:
    """
    No service is root, can become root, has any of its powers, or writes anywhere but into its volumes.
    """
    service = SERVICES[name]

    if service.build is None:
        assert service.user is not None
        assert service.user.partition(":")[0] not in {"", "0", "root"}
    assert service.read_only
    assert ["/tmp"] == service.tmpfs  # noqa: S108 - of the container
    assert ["ALL"] == service.cap_drop
    assert ["no-new-privileges:true"] == service.security_opt


@each_dockerfile
def test_image_is_not_root_s(dockerfile: Dockerfile) -> None:
    """
    The last user is one with a number, which Kubernetes can tell from root.
    """
    *_, user = dockerfile.all_of("USER")

    assert user.isdecimal()
    assert int(user) > 0
    assert dockerfile.instructions[-1][0] == "CMD", "what comes after the user is no command as root"


@each_dockerfile
def test_what_an_image_copies_is_there(dockerfile: Dockerfile) -> None:
    """
    Each source is in the checkout.
    """
    assert dockerfile.copied
    for source, _ in dockerfile.copied:
        assert (ROOT / source).exists()


@each_dockerfile
def test_image_starts_what_compose_starts(dockerfile: Dockerfile) -> None:
    """
    The image's own command is that of a service, so it is good by itself, too.
    """
    (command,) = dockerfile.all_of("CMD")
    built = [service for service in SERVICES.values() if service.build and service.build.path == dockerfile.path]

    assert json.loads(command) in [service.command for service in built]


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in ONCE])
def test_service_has_a_healthcheck(name: str) -> None:
    """
    A program with its arguments, since some images have no shell; agents and their OPAs say whether they are ready.
    """
    check = SERVICES[name].healthcheck

    assert check is not None
    assert "CMD" == check.test[0]
    if SERVICES[name].is_agent or name == "opa":
        assert re.search(r"http://127\.0\.0\.1:\d+/(v1/data/system/opal/)?ready\b", " ".join(check.command))


@each_service
def test_service_waits_for_what_it_needs(name: str) -> None:
    """
    For a service to be healthy where it says so, for one that ends to have ended, and nobody for one another.
    """
    for other, dependency in SERVICES[name].depends_on.items():
        if dependency.condition == "service_healthy":
            assert SERVICES[other].healthcheck is not None
        assert (other in ONCE) == (dependency.condition == "service_completed_successfully")
    if SERVICES[name].is_agent:
        assert "service_healthy" == SERVICES[name].depends_on["server"].condition
    assert name in COMPOSE.in_order()


@each_service
def test_hosts_are_services_that_were_waited_for(name: str) -> None:
    """
    A URL names a service of the file, which started before; OPA comes after its agent, and sources are for agents.
    """
    texts = dict(SERVICES[name].environment)
    sources = texts.pop("OPAL_DATA_CONFIG_SOURCES", "")

    assert _hosts(sources) <= SERVICES.keys()
    assert _hosts(*texts.values(), *SERVICES[name].whole_command) - {"opa"} <= _behind(name)


def _hosts(*texts: str) -> set[str]:
    return {host for text in texts for host in re.findall(r"//([a-z][\w-]*):\d", text)}


def _behind(name: str) -> set[str]:
    direct = SERVICES[name].depends_on.keys()
    return set(direct).union(*(_behind(other) for other in direct))


def test_ports_are_published_on_this_machine_alone() -> None:
    """
    The server has no keys here: nobody from outside may reach it.
    """
    ports = [port for service in SERVICES.values() for port in service.published]

    assert {"127.0.0.1"} == {port.host for port in ports}
    assert len(ports) == len({port.published for port in ports})


@each_service
def test_mounts_are_there(name: str) -> None:
    """
    Files are in the example's folder and can't be written to; volumes are declared.
    """
    for mount in SERVICES[name].mounts:
        if mount.is_named:
            assert mount.source in COMPOSE.volumes
        else:
            assert (EXAMPLE / mount.source).exists()
            assert mount.read_only


@each_service
def test_volumes_are_its_user_s(name: str) -> None:
    """
    A new volume belongs to whom its folder belongs in the image; without that our user could not write.
    """
    service = SERVICES[name]
    if service.build is None:
        return
    prepared = " ".join(Dockerfile(service.build.path).all_of("RUN")).split()
    for mount in service.mounts:
        if mount.is_named and not mount.read_only:
            assert mount.target in prepared


def test_opa_is_the_one_that_is_tested() -> None:
    """
    The same version in the agent's image, beside the other agent, and in the tests.
    """
    (copied,) = re.findall(r"openpolicyagent/opa:([\d.]+)-static", (EXAMPLE / "agent.Dockerfile").read_text("utf-8"))

    assert ENGINE.version == copied
    assert f"openpolicyagent/opa:{ENGINE.version}" == SERVICES["opa"].image


def test_opa_asks_its_agent_for_policies() -> None:
    """
    The configuration is what the plugin makes for inline OPA, with the agent's name and port.
    """
    port = SERVICES["agent-bundle"].environment["OPAL_OPA_BUNDLE_SERVICE_ADDR"].rpartition(":")[2]

    assert bundle_config(f"agent-bundle:{port}") == yaml.safe_load((EXAMPLE / "opa.yaml").read_text("utf-8"))


def test_walkthrough_looks_where_things_are() -> None:
    """
    It can be run as it is, and its defaults are the published ports, in the order of its comment.
    """
    script = EXAMPLE / "walkthrough.sh"
    defaults = dict(re.findall(r"^(\w+)=\$\{\w+:-(.*?)\}", script.read_text("utf-8"), re.MULTILINE))

    assert os.access(script, os.X_OK)
    assert _published("server", 7002) == defaults["SERVER_URL"]
    assert f"{_published('agent-inline', 8181)} {_published('opa', 8181)}" == defaults["OPA_URLS"]
    assert "8000" == defaults["APPLICATION_URL"].rpartition(":")[2] == _after("--port", SERVICES["application"])
    assert (EXAMPLE / defaults["DATA"] / "bob_location.json").is_file()


def _published(name: str, target: int) -> str:
    (port,) = (port for port in SERVICES[name].published if port.target == target)
    return f"http://{port.host}:{port.published}"


def _after(option: str, service: Service) -> str:
    return service.command[service.command.index(option) + 1]


def test_documents_of_the_application_are_json() -> None:
    """
    All that the base data and the walk ask for.
    """
    for file in Path(EXAMPLE / "data").iterdir():
        assert json.loads(file.read_text("utf-8"))
