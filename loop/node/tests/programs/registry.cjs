// A registry of packages: those of a folder, as `npm pack` made them. node registry.cjs FOLDER; prints its URL.
'use strict';
const { execFileSync } = require('child_process');
const { createHash } = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');

const folder = process.argv[2];
const known = new Map();
for (const file of fs.readdirSync(folder).filter((name) => name.endsWith('.tgz'))) {
  const manifest = JSON.parse(execFileSync('tar', ['-xOf', path.join(folder, file), 'package/package.json']));
  const integrity = `sha512-${createHash('sha512').update(fs.readFileSync(path.join(folder, file))).digest('base64')}`;
  known.set(manifest.name, { manifest, file, integrity });
}

const server = http.createServer((request, response) => {
  const name = decodeURIComponent(request.url.slice(1));
  if (name.endsWith('.tgz')) return fs.createReadStream(path.join(folder, path.basename(name))).pipe(response);
  const found = known.get(name);
  if (!found) return response.writeHead(404).end('{}');
  const { manifest, file, integrity } = found;
  const dist = { tarball: `http://${request.headers.host}/${file}`, integrity };
  response.end(JSON.stringify({
    name, 'dist-tags': { latest: manifest.version }, versions: { [manifest.version]: { ...manifest, dist } },
  }));
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
// Ends with whoever started it.
process.stdin.on('end', () => process.exit()).resume();
