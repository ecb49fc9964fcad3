"""Checks of Kubernetes resources that no schema can make: names that lead from one part to another.

Reads the YAML documents of one variant from stdin.
"""

import sys

import yaml


def holds(selector, labels):
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def ports(pod):
    containers = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    return {port.get("name") for container in containers for port in container.get("ports", [])}


def check_pod(name, pod):
    volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
    for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
        where = f"{name}, container {container['name']}"
        own = {port.get("name") for port in container.get("ports", [])}
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{where}: there is no volume {mount['name']}"
        for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
            for action in container.get(kind, {}).values():
                if isinstance(action, dict) and action.get("port") not in own:
                    yield f"{where}: its {kind} asks a port that it does not have"
        confined = container.get("securityContext", {})
        for key, wanted in {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}.items():
            if confined.get(key) is not wanted:
                yield f"{where}: {key} is not {str(wanted).lower()}"
        if "ALL" not in confined.get("capabilities", {}).get("drop", []):
            yield f"{where}: it keeps capabilities"


def check(resources):
    workloads = [each for each in resources if each["kind"] in ("Deployment", "DaemonSet")]
    pods = {f"{each['kind']} {each['metadata']['name']}": each["spec"]["template"] for each in workloads}
    for each in workloads:
        if not holds(each["spec"]["selector"], each["spec"]["template"]["metadata"]["labels"]):
            yield f"{each['metadata']['name']}: its selector does not match its own pods"
    for name, pod in pods.items():
        yield from check_pod(name, pod)
    for each in resources:
        match each["kind"]:
            case "PodMonitor":
                selector = each["spec"]["selector"]
                wanted = {endpoint["port"] for endpoint in each["spec"]["podMetricsEndpoints"]}
            case "NetworkPolicy":
                selector = each["spec"]["podSelector"]
                wanted = {port["port"] for rule in each["spec"]["ingress"] for port in rule["ports"]}
            case _:
                continue
        name = f"{each['kind']} {each['metadata']['name']}"
        chosen = {pod: ports(parts) for pod, parts in pods.items() if holds(selector, parts["metadata"]["labels"])}
        if pods and not chosen:
            yield f"{name}: selects no pod"
        for pod, found in chosen.items():
            if not wanted <= found:
                yield f"{name}: {pod} has no port {', '.join(sorted(wanted - found))}"


def main():
    resources = [each for each in yaml.safe_load_all(sys.stdin) if each]
    faults = list(check(resources))
    print("\n".join(faults) or f"{len(resources)} resources")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
