// A module whose evaluation takes long, at once or after a wait: no stall. What blocks after it is one.
import fs from 'node:fs';

const spin = (ms) => { const end = Date.now() + ms; while (Date.now() < end); };
if (process.argv[2] === 'after await') await fs.promises.readFile('/dev/null');
spin(350);
console.log('evaluated');
setTimeout(() => spin(350), 50);
// Again, where the agent took so long to start.
setTimeout(() => spin(350), 900);
setTimeout(() => {}, 1500);
