// Checks resources of the Prometheus operator against its published models. Reads YAML documents from stdin; this file
// is run from a folder in which the packages of package.json are installed.
import { readFileSync } from "node:fs";
import { PodMonitor, PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { parseAllDocuments } from "yaml";

const models = { PodMonitor, PrometheusRule };
const documents = parseAllDocuments(readFileSync(0, "utf8"));
const resources = documents.map((document) => document.toJS()).filter((resource) => resource?.kind in models);
for (const resource of resources) {
  const name = `${resource.kind} ${resource.metadata.name}`;
  try {
    new models[resource.kind](resource).validate();
    console.log(`${name} is as its model`);
  } catch (error) {
    console.log(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
if (resources.length === 0) {
  console.log("there is no resource of the operator in what was read");
  process.exitCode = 1;
}
