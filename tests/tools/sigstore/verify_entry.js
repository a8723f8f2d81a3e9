// Verifies an entry of a log by @sigstore/verify: the signature of the checkpoint, and the inclusion proof.
//
//     node verify_entry.js NODE_MODULES ENTRY.json
//
// The file is that of verify_entry.py. Prints `ok`, or the error and exits with 1.
'use strict';
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const [modules, file] = process.argv.slice(2);
const from = (name) => require(path.join(modules, name));
const { TransparencyLogEntry } = from('@sigstore/protobuf-specs');
const { verifyCheckpoint } = from('@sigstore/verify/dist/tlog/checkpoint.js');
const { verifyMerkleInclusion } = from('@sigstore/verify/dist/tlog/merkle.js');

const given = JSON.parse(fs.readFileSync(file, 'utf8'));
const entry = TransparencyLogEntry.fromJSON(given.entry);
const log = {
  logID: entry.logId.keyId,
  publicKey: crypto.createPublicKey({ key: Buffer.from(given.key, 'base64'), format: 'der', type: 'spki' }),
  baseURL: given.origin,
};
try {
  verifyMerkleInclusion(entry, verifyCheckpoint(entry, [log]));
  console.log('ok');
} catch (error) {
  console.log(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
