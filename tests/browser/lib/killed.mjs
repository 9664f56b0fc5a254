// The death of a worker with some past before it and after it.

import { eventually } from './wait.mjs';

/** Kills the process of gpu-node-02, which has been alive for a while, and waits until its end is in the past. `up` stands still meanwhile, so the
 * cluster must run without proxies. */
export async function killed(cluster) {
  await eventually('some seconds are kept', async () => {
    const kept = await cluster.get('/past');
    return kept.to_ms - kept.from_ms > 6000;
  });
  await eventually('all nodes are alive', async () => {
    const stats = await cluster.get('/stats');
    return stats.nodes_alive === stats.nodes_known;
  }, 60_000);
  await new Promise((resolve) => {
    setTimeout(resolve, 3000);
  });
  const pid = await cluster.pid('worker-02');
  // The service's clock is this machine's.
  const killedMs = Date.now();
  let deadMs = 0;
  cluster.process.kill('SIGSTOP');
  process.kill(pid, 'SIGKILL');
  try {
    await eventually('the node is dead', async () => (await cluster.get('/stats')).nodes_dead === 1, 30_000);
    deadMs = Date.now() + 1000;
    // Nearer to now the slider would go live.
    await new Promise((resolve) => {
      setTimeout(resolve, 5000);
    });
  } finally {
    cluster.process.kill('SIGCONT');
  }
  return { killedMs, deadMs };
}
