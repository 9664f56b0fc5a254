// What stands in the place of what is not kept while the past is on display.

import type { ComponentChildren } from 'preact';
import { isRecording } from '../lib/instant';
import { backToLive } from '../lib/past';
import { Empty } from './parts';

/** Says plainly that something is not known of the instant on display. */
export function NotKept({ what, children }: { what: string; children?: ComponentChildren }) {
  return (
    <Empty title={what}>
      {children}{' '}
      {!isRecording && (
        <button class="link" onClick={backToLive}>
          Back to live
        </button>
      )}
    </Empty>
  );
}
