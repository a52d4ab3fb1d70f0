import { startToxiproxy } from './toxiproxyServer.ts';

// toxiproxy in a process of its own. Prints its URL, and ends when whoever holds the other end of its input does.
const { url } = await startToxiproxy();
process.stdout.write(`${url}\n`);
process.stdin.resume().once('close', () => process.exit(0));
