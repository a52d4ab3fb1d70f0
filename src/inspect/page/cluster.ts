import type { NodeView, ShardView } from '../clusterView.ts';
import { useFetch } from './api.ts';
import { hrefOf } from './router.ts';
import { Ago, durationText, Empty, Failure, html, numberText, Panel, useNow } from './ui.ts';

/** Who runs, who owns what since when, and what is wrong with it. */
export function ClusterPage() {
  const nodes = useFetch<{ nodes: NodeView[] }>('/api/nodes', 2_000);
  const shards = useFetch<{ shards: ShardView[] }>('/api/shards', 2_000);
  const now = useNow();
  const list = nodes.data?.nodes ?? [];
  const live = list.filter((node) => node.live);
  const shown = list.filter((node) => isShown(node, now));
  const left = list.length - shown.length;
  const colour = (owner: string | null) => {
    const at = live.findIndex(({ node_id }) => node_id === owner);
    return at < 0 ? 'none' : `p${at % 6}`;
  };
  /** Messages of a node's shards that wait; nothing when NATS could not be asked. */
  const waitingOf = (owner: string) => {
    const lags = (shards.data?.shards ?? [])
      .filter((shard) => shard.owner === owner)
      .flatMap(({ lag }) => lag ?? []);
    return lags.length === 0 ? '' : numberText(lags.reduce((all, lag) => all + lag, 0));
  };
  const taken = takeovers(shards.data?.shards ?? []);
  return html`
    <h1>Nodes & shards</h1>
    <${Failure} error=${nodes.error ?? shards.error} />
    <${Panel} title=${`${live.length} ${live.length === 1 ? 'node runs' : 'nodes run'}`}>
      ${nodes.data && list.length === 0 && html`<${Empty}>No node has ever run here.</${Empty}>`}
      ${
        shown.length > 0 &&
        html`<div class="scroll" tabindex="0" role="region" aria-label="Nodes"><table>
        <thead><tr><th>Node</th><th>State</th><th class="number">Shards</th><th class="number">Waiting</th><th class="aside">Host</th><th class="number aside">Process</th><th class="aside">Version</th><th>Up</th><th>Lease</th><th class="number" title="Commits of shards that another node had taken meanwhile: none of them has landed">Refused</th></tr></thead>
        <tbody>${shown.map(
          (node) => html`<tr key=${node.node_id} class=${node.live ? '' : 'gone'}>
            <td><i class="dot ${colour(node.node_id)}"></i>${node.live ? html`<a href=${hrefOf(['actors'], { node: node.node_id, status: 'active' })}>${node.name}</a>` : node.name} <span class="quiet-text">${node.node_id.slice(0, 8)}</span></td>
            <td><span class="badge ${node.state === 'ok' ? 'done' : node.live ? 'stopped' : 'error'}">${node.state}</span></td>
            <td class="number">${node.shards}</td><td class="number">${waitingOf(node.node_id)}</td><td class="aside">${node.host}</td><td class="number aside">${node.pid}</td><td class="aside">${node.version}</td>
            <td>${node.live ? durationText(now - Date.parse(node.started_at)) : html`<${Ago} at=${node.expires_at} /> ago`}</td>
            <td>${node.live ? `${(node.lease_left_ms / 1000).toFixed(1)} s left` : 'over'}</td><td class="number">${numberText(node.refused_commits)}</td></tr>`,
        )}</tbody></table></div>`
      }
      ${left > 0 && html`<p class="quiet-text">${left} dead ${left === 1 ? 'one' : 'ones'} not shown; <code>perdure nodes --all</code> lists them.</p>`}
    </${Panel}>
    <div class="grid wide-left">
      <${Panel} title="Shards" actions=${html`<small>${shards.data?.shards.filter(({ health }) => health === 'ok').length ?? 0} of ${shards.data?.shards.length ?? 0} well</small>`}>
        <ul class="shards" aria-label="Shards">${shards.data?.shards.map(
          (
            shard,
          ) => html`<li key=${shard.shard} class="shard ${colour(shard.owner)} ${shard.health === 'ok' ? '' : 'ill'}"
            title=${`shard ${shard.shard}: ${shard.health}, owner ${shard.owner_name ?? 'none'}, epoch ${shard.epoch}, ${shard.commit_no} commits${shard.lag === null ? '' : `, ${shard.lag} messages wait`}`}>
            <b>${shard.shard}</b><small>e${shard.epoch}</small>${shard.health !== 'ok' && html`<em>${shard.health}</em>`}</li>`,
        )}</ul>
      </${Panel}>
      <${Panel} title="Taken over last">
        <ol class="takeovers">${taken.map(
          ({
            first,
            shards: some,
            epochs,
            crashes,
          }) => html`<li key=${first.shard}><i class="dot ${colour(first.owner)}"></i><b>${some.length === 1 ? `shard ${first.shard}` : `${some.length} shards`}</b> by ${first.owner_name ?? 'nobody that is known'} <${Ago} at=${first.owned_since as string} /> ago
            <div class="quiet-text">${some.length > 1 && `${rangesOf(some)}; `}${crashes > 0 ? `${crashes} ${crashes === 1 ? 'owner' : 'owners'} died before` : epochs}</div></li>`,
        )}</ol>
        ${taken.length === 0 && html`<${Empty}>Nobody has taken any.</${Empty}>`}
      </${Panel}>
    </div>`;
}

/** A node that has just died is news for so long, ms. */
const NEWS_MS = 60_000;

/** Later one that owns nothing any more is history: the one that has its name now stands beside it. */
export const isShown = ({ live, shards, expires_at }: NodeView, now: number): boolean =>
  live || shards > 0 || now - Date.parse(expires_at) < NEWS_MS;

interface Takeover {
  first: ShardView;
  shards: number[];
  epochs: string;
  /** Of the shard that has seen most. */
  crashes: number;
}

/** Shards that came to their owner together, the last first. */
function takeovers(all: readonly ShardView[]): Takeover[] {
  const groups: { first: ShardView; at: number; shards: ShardView[] }[] = [];
  for (const shard of all) {
    if (shard.owned_since === null) continue;
    const at = Date.parse(shard.owned_since);
    const known = groups.find(
      ({ first, at: then }) => first.owner === shard.owner && Math.abs(then - at) < 2_000,
    );
    if (known) known.shards.push(shard);
    else groups.push({ first: shard, at, shards: [shard] });
  }
  const last = groups.toSorted((a, b) => b.at - a.at).slice(0, 12);
  return last.map(({ first, shards }) => ({
    first,
    shards: shards.map(({ shard }) => shard),
    epochs: epochsOf(shards.map(({ epoch }) => epoch)),
    crashes: Math.max(...shards.map(({ crashes }) => crashes)),
  }));
}

function epochsOf(epochs: readonly number[]): string {
  const [least, most] = [Math.min(...epochs), Math.max(...epochs)];
  return least === most ? `epoch ${least}` : `epochs ${least} to ${most}`;
}

/** `0–3, 7`. */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [from: number, to: number][] = [];
  for (const one of numbers) {
    const last = ranges.at(-1);
    if (last?.[1] === one - 1) last[1] = one;
    else ranges.push([one, one]);
  }
  return ranges.map(([from, to]) => (from === to ? from : `${from}–${to}`)).join(', ');
}
