import { join, relative } from 'node:path';
import {
  type CallExpression,
  type ConditionalExpression,
  type ElementAccessExpression,
  type Expression,
  type Node,
  type PropertyAccessExpression,
  type SourceFile,
  type StringLiteral,
  SyntaxKind,
} from 'typescript/unstable/ast';
import { API, type Checker } from 'typescript/unstable/sync';

const ROOT = join(import.meta.dirname, '../..');
const LEVELS = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal']);

/** A line the code can log: one for each of its possible messages. */
export interface LogCall {
  /** As it is in the code; `(words)` when it is put together there. */
  message: string;
  levels: string[];
  fields: string[];
  /** Below src. */
  file: string;
}

/** A span the code can begin, with what it says of it. */
export interface SpanCall {
  name: string;
  attributes: string[];
}

/** What the sources tell of themselves, by the compiler's own reading of them. */
export function readSources(): { logs: LogCall[]; spans: SpanCall[]; spanEvents: string[] } {
  const api = new API({ cwd: ROOT });
  try {
    const config = join(ROOT, 'tsconfig.json');
    const project = api.updateSnapshot({ openProjects: [config] }).getProject(config);
    if (!project) throw new Error('the compiler does not know tsconfig.json');
    const logs: LogCall[] = [];
    const spans: SpanCall[] = [];
    const spanEvents: string[] = [];
    const src = join(ROOT, 'src');
    for (const name of project.program.getSourceFileNames()) {
      if (!name.startsWith(`${src}/`)) continue;
      const file = project.program.getSourceFile(name);
      const visit = (node: Node): void => {
        if (file && node.kind === SyntaxKind.CallExpression) {
          const call = node as CallExpression;
          const [method] = levelsOf(call.expression);
          const [first, second] = call.arguments.map(literalsAndNames);
          if (method === 'startSpan')
            spans.push({ name: first?.[0] ?? '', attributes: (second ?? []).filter(isAttribute) });
          if (method === 'addEvent') spanEvents.push(...(first ?? []));
          logs.push(
            ...callsOf(call, file, project.checker).map((call) => ({
              ...call,
              file: relative(src, name),
            })),
          );
        }
        node.forEachChild(visit);
      };
      file?.forEachChild(visit);
    }
    return { logs, spans, spanEvents };
  } finally {
    api.close();
  }
}

/** String literals in it, names of properties included. */
function literalsAndNames(node: Node): string[] {
  const found: string[] = [];
  const visit = (at: Node): void => {
    if (at.kind === SyntaxKind.StringLiteral) found.push((at as StringLiteral).text);
    at.forEachChild(visit);
  };
  visit(node);
  return found;
}

const isAttribute = (name: string) => /^(?:actor|messaging|perdure)\./.test(name);

function callsOf(
  call: CallExpression,
  file: SourceFile,
  checker: Checker,
): Omit<LogCall, 'file'>[] {
  const { expression: callee } = call;
  const levels = levelsOf(callee).filter((level) => LEVELS.has(level));
  if (levels.length === 0) return [];
  const { expression: receiver } = callee as PropertyAccessExpression;
  if (!namesIn(receiver, checker).includes('bindings')) return [];
  const [first, second] = call.arguments;
  const isText = second === undefined;
  const text = (isText ? first : second) as Expression;
  const fields = isText || !first ? [] : namesIn(first, checker);
  return messagesOf(text, file).map((message) => ({ message, levels, fields }));
}

function levelsOf(callee: Expression): string[] {
  if (callee.kind === SyntaxKind.PropertyAccessExpression)
    return [(callee as PropertyAccessExpression).name.text];
  if (callee.kind !== SyntaxKind.ElementAccessExpression) return [];
  return literalsOf((callee as ElementAccessExpression).argumentExpression) ?? [];
}

/** Names of the properties that its type has. */
function namesIn(given: Expression, checker: Checker): string[] {
  const type = checker.getTypeAtLocation(given);
  const there = type && checker.getNonNullableType(type);
  return there ? checker.getPropertiesOfType(there).map(({ name }) => name) : [];
}

const messagesOf = (text: Expression, file: SourceFile): string[] =>
  literalsOf(text) ?? [`(${text.getText(file)})`];

/** What a string, or a choice between strings, can be. */
function literalsOf(text: Expression): string[] | undefined {
  if (text.kind === SyntaxKind.StringLiteral) return [(text as StringLiteral).text];
  if (text.kind !== SyntaxKind.ConditionalExpression) return undefined;
  const { whenTrue, whenFalse } = text as ConditionalExpression;
  const [yes, no] = [literalsOf(whenTrue), literalsOf(whenFalse)];
  return yes && no && [...yes, ...no];
}
