// The mock of the page's developers as a server for a test: many nodes without the processes that they would need.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

const SERVER = new URL('../../../services/dashboard/web/mock/server.mjs', import.meta.url).pathname;

export class Mock {
  static async start(nodes) {
    const mock = new Mock();
    mock.process = spawn(process.execPath, [SERVER, '--nodes', String(nodes), '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(mock.process.stdout, 'data');
    mock.url = /http:\S+?(?=\/\s)/.exec(String(line))[0];
    return mock;
  }

  async stop() {
    this.process.kill();
    await once(this.process, 'exit');
  }
}
