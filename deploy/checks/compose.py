"""Checks of the compose file that its schema cannot make, and what Prometheus finds in its container.

compose.py check           every mount has a source, every port is on loopback, Grafana finds what it is told
compose.py gather DIR      copies what is mounted below /etc/prometheus to DIR, under the names it has there
"""

import pathlib
import shutil
import sys

import yaml

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "compose"
GRAFANA = "/etc/grafana/provisioning"


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def mounts(service):
    """Yields the folders and files of this repository that a service has, as (source, target)."""
    for volume in service.get("volumes", []):
        source, target = volume.split(":")[:2]
        if source.startswith("."):
            yield (FOLDER / source).resolve(), pathlib.PurePosixPath(target)


def inside(service, path):
    """Returns the file of this repository that `path` is in the service's container, or None."""
    for source, target in mounts(service):
        if target == path:
            return source
        if target in path.parents:
            return source / path.relative_to(target)
    return None


def check(services):
    for name, service in services.items():
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} is not on loopback alone"
        for key, wanted in {"read_only": True, "cap_drop": ["ALL"]}.items():
            if service.get(key) != wanted:
                yield f"{name}: {key} is not {wanted}"
        for source, target in mounts(service):
            if not source.exists():
                yield f"{name}: {source}, mounted at {target}, does not exist"
    yield from check_grafana(services)


def check_grafana(services):
    grafana = services["grafana"]
    home = pathlib.PurePosixPath(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    found = inside(grafana, home)
    if found is None or not found.exists():
        yield f"grafana: there is no {home}"
    for provider in read(FOLDER / "grafana/dashboards/loopscope.yml")["providers"]:
        path = pathlib.PurePosixPath(provider["options"]["path"])
        folder = inside(grafana, path)
        if folder is None or not list(folder.glob("*.json")):
            yield f"grafana: there is no dashboard in {path}"
    for source in read(FOLDER / "grafana/datasources/loopscope.yml")["datasources"]:
        host = source["url"].removeprefix("http://").split(":")[0]
        if host not in services:
            yield f"grafana: {source['url']} leads to no service"
    for kind in ("dashboards", "datasources"):
        if not inside(grafana, pathlib.PurePosixPath(GRAFANA, kind, "loopscope.yml")).exists():
            yield f"grafana: it finds no {kind}"


def gather(service, to):
    base = pathlib.PurePosixPath("/etc/prometheus")
    for source, target in mounts(service):
        if base in target.parents:
            shutil.copy(source, to / target.relative_to(base))


def main():
    services = read(FOLDER / "compose.yml")["services"]
    match sys.argv[1:]:
        case ["check"]:
            faults = list(check(services))
            print("\n".join(faults) or f"{len(services)} services")
            return 1 if faults else 0
        case ["gather", to]:
            gather(services["prometheus"], pathlib.Path(to))
            return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
