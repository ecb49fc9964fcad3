// The live page in a real Chromium: `node run.mjs WATCHED`, where WATCHED is the program of tests/src/bin/watched.rs.

import { Stage, runAll } from "./fixture.mjs";
import "./alone.mjs";
import "./many.mjs";
import "./gone.mjs";

const [program] = process.argv.slice(2);
if (!program) throw new Error("say which program to watch: node run.mjs target/debug/watched");
await runAll(await new Stage(program).open());
