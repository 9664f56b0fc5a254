// A cluster for one test: `faultline up` with ports and a data folder of its own, and the command to ask and to break it. Everything ends with it.

import { execFile, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './wait.mjs';

const run = promisify(execFile);
export const FAULTLINE = join(process.env.FAULTLINE_BIN_DIR ?? new URL('../../../target/release', import.meta.url).pathname, 'faultline');

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export class Cluster {
  headers = {};

  /**
   * `nodes`: in each worker. `token`: what the dashboard then asks for.
   * @param {{ workers?: number, nodes?: number, faults?: string, flags?: string[], token?: string }} options
   */
  static async start({ workers = 3, nodes = 1, faults = 'off', flags = [], token } = {}) {
    const cluster = new Cluster();
    cluster.folder = mkdtempSync(join(tmpdir(), 'faultline-browser.'));
    cluster.port = await freePort();
    const settings = { FAULTLINE_LOG_DIR: join(cluster.folder, 'logs'), NO_COLOR: '1' };
    if (token) {
      cluster.headers = { authorization: `Bearer ${token}` };
      settings.FAULTLINE_DASHBOARD_TOKEN_FILE = join(cluster.folder, 'token');
      writeFileSync(settings.FAULTLINE_DASHBOARD_TOKEN_FILE, token, { mode: 0o600 });
    }
    const args = ['--workers', workers, '--nodes-per-worker', nodes, '--nats-port', await freePort(), '--dashboard-port', cluster.port, '--faults', faults, ...flags];
    const log = openSync(join(cluster.folder, 'up.log'), 'w');
    cluster.process = spawn(FAULTLINE, ['--data-dir', join(cluster.folder, 'data'), 'up', ...args.map(String)], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...settings },
    });
    cluster.ended = new Promise((resolve) => {
      cluster.process.on('exit', resolve);
    });
    try {
      await eventually('the cluster is up', async () => (await cluster.get('/stats')).nodes_alive >= workers * nodes, 60_000);
    } catch (error) {
      const said = cluster.log();
      await cluster.stop();
      throw new Error(`${error.message}; it said:\n${said}`);
    }
    return cluster;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  log() {
    return readFileSync(join(this.folder, 'up.log'), 'utf8').slice(-4000);
  }

  async get(path) {
    const response = await fetch(`${this.url}/api/v1${path}`, { headers: this.headers });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** `faultline ARGS -o json`, decoded; none of a command that prints no data. */
  async ask(...args) {
    const { stdout } = await run(FAULTLINE, ['--data-dir', join(this.folder, 'data'), '-o', 'json', ...args.map(String)], {
      cwd: this.folder,
    });
    return stdout ? JSON.parse(stdout) : undefined;
  }

  /** Submits one job and gives its id. */
  async submit(...flags) {
    return (await this.ask('submit', ...flags)).jobs[0].id;
  }

  /** The process id of one of the cluster's processes. */
  async pid(name) {
    const { services } = await this.ask('status');
    const found = services.find((service) => service.name === name);
    if (!found?.pid) throw new Error(`${name} does not run: ${JSON.stringify(services)}`);
    return found.pid;
  }

  async stop() {
    this.process.kill('SIGINT');
    const late = setTimeout(() => this.process.kill('SIGKILL'), 15_000);
    await this.ended;
    clearTimeout(late);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
