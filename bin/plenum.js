#!/usr/bin/env node
/**
 * Launcher: Plenum runs on Node 24, which the package brings with it. On an older Node this starts
 * the package's own with the same arguments, streams, signals and exit code.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const NODE_MAJOR = 24;
const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));

if (Number.parseInt(process.versions.node, 10) >= NODE_MAJOR) {
  await import('../src/cli/main.ts');
} else {
  relaunch();
}

function relaunch() {
  const own = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (!existsSync(own)) {
    process.stderr.write(
      `plenum: Node ${NODE_MAJOR} or newer is needed, this is ${process.versions.node}; ` +
        'run `npm ci` in the package, which installs it (usage)\n',
    );
    process.exit(2);
  }
  const child = spawn(own, [main, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  // A terminal sends Ctrl-C to the child as well, and a second one would end it at once.
  const terminal = [process.stdin, process.stdout, process.stderr].some((s) => s.isTTY);
  process.on('SIGINT', () => terminal || child.kill('SIGINT'));
  child.on('error', (error) => {
    process.stderr.write(`plenum: ${own} cannot be started: ${error.message} (internal)\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
