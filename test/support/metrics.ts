/**
 * Metrics in the Prometheus text format, by name and labels as written. As strict as promtool: every line is a
 * comment or a sample, every sample belongs to a metric that was announced before with help and type, none comes twice.
 */
export function parseMetrics(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  const helps = new Set<string>();
  if (!text.endsWith('\n')) throw new Error('The last line has no end.');
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line);
    if (comment) {
      const [, kind, name = '', rest = ''] = comment;
      if (kind === 'HELP') helps.add(name);
      else if (types.has(name) || !/^(counter|gauge|histogram|summary|untyped)$/.test(rest))
        throw new Error(`Bad type: ${line}`);
      else types.set(name, rest);
      continue;
    }
    const sample =
      /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})? ([Nn]a[Nn]|[+-]Inf|-?[\d.]+(?:e[+-]?\d+)?)( \d+)?$/.exec(
        line,
      );
    if (!sample) throw new Error(`Neither a sample nor a comment: ${line}`);
    const [, name = '', labels = '', value] = sample;
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
    if (!types.has(family) || !helps.has(family)) throw new Error(`Not announced: ${line}`);
    if (samples.has(name + labels)) throw new Error(`Twice: ${line}`);
    samples.set(name + labels, Number(value));
  }
  return samples;
}
