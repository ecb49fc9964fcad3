// Checks every dashboard against the types that Grafana publishes: its own frame, and the options and fields of each
// kind of panel on it. Exits with 1 and the compiler's words where something does not fit.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const here = path.dirname(fileURLToPath(import.meta.url));
const boards = path.join(here, "..", "grafana");
const panelKinds = {
  heatmap: "heatmap/panelcfg/x/HeatmapPanelCfg_types.gen",
  stat: "stat/panelcfg/x/StatPanelCfg_types.gen",
  "state-timeline": "statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen",
  table: "table/panelcfg/x/TablePanelCfg_types.gen",
  text: "text/panelcfg/x/TextPanelCfg_types.gen",
  timeseries: "timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen",
};
// These kinds have no settings of fields of their own.
const withoutFields = ["stat", "table", "text"];

const name = (kind) => kind.replace("-", "");
const imports = Object.entries(panelKinds).map(
  ([kind, file]) => `import type * as ${name(kind)} from "@grafana/schema/dist/esm/raw/composable/${file}";`,
);
const lines = [
  'import type { Dashboard, TableFieldOptions } from "@grafana/schema";',
  ...imports,
  // JSON has the values of enumerations and not their names.
  "type Loose<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T",
  "  : T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;",
  // What a data source adds to annotations is not in the published types.
  "type Marks = { annotations?: { list?: { expr?: string; step?: string; titleFormat?: string; textFormat?: string;",
  "  useValueForTime?: boolean }[] } };",
];
let count = 0;
for (const file of fs.readdirSync(boards).filter((file) => file.endsWith(".json"))) {
  const text = fs.readFileSync(path.join(boards, file), "utf8");
  lines.push(`// ${file}`, `export const board${count++}: Loose<Dashboard> & Marks = ${text};`);
  for (const panel of JSON.parse(text).panels) {
    if (panel.type === "row") continue;
    if (!(panel.type in panelKinds)) throw new Error(`${file}: no types are known for the panel ${panel.type}`);
    const kind = name(panel.type);
    const options = JSON.stringify(panel.options);
    lines.push(`// ${file}: ${panel.title}`, `export const options${count++}: Partial<Loose<${kind}.Options>> = ${options};`);
    const custom = panel.fieldConfig?.defaults.custom;
    if (custom && !withoutFields.includes(panel.type)) {
      lines.push(`export const fields${count++}: Partial<Loose<${kind}.FieldConfig>> = ${JSON.stringify(custom)};`);
    } else if (custom && panel.type === "table") {
      lines.push(`export const fields${count++}: Partial<Loose<TableFieldOptions>> = ${JSON.stringify(custom)};`);
    }
  }
}

const source = path.join(here, "generated.ts");
const options = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  target: ts.ScriptTarget.ES2022,
};
const host = ts.createCompilerHost(options);
const read = host.getSourceFile.bind(host);
const generated = ts.createSourceFile(source, lines.join("\n"), options.target, true);
host.getSourceFile = (file, ...rest) => (file === source ? generated : read(file, ...rest));
const program = ts.createProgram([source], options, host);
const faults = ts.getPreEmitDiagnostics(program);
for (const fault of faults) {
  const line = fault.file ? fault.file.getLineAndCharacterOfPosition(fault.start ?? 0).line : 0;
  const before = fault.file === generated ? lines.join("\n").split("\n").slice(0, line + 1) : [];
  const where = before.reverse().find((text) => text.startsWith("// ")) ?? fault.file?.fileName ?? "";
  console.error(`${where} ${before[0]?.trim().slice(0, 120) ?? ""}: ${ts.flattenDiagnosticMessageText(fault.messageText, "\n").slice(0, 400)}`);
}
console.log(`${count} values of ${Object.keys(panelKinds).length} kinds of panels checked, ${faults.length} faults`);
process.exit(faults.length === 0 && count > 100 ? 0 : 1);
