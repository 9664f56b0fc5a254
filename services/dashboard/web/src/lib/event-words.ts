// What an event says, beside the names that its line shows already.

import { words } from './format';
import type { NumberedEvent } from './wire';

/** Without the node's name in front, if that is all that stands between the line's own name of it and the text. */
export function detailOf(event: Pick<NumberedEvent, 'detail' | 'kind' | 'node' | 'job'>, withNode = true): string {
  const text = event.detail || words(event.kind);
  // With a job's id between, the rest would read as if it were about the job.
  if (!withNode || !event.node || event.job || !text.startsWith(event.node)) return text;
  return text.slice(event.node.length).replace(/^:? +/, '');
}
