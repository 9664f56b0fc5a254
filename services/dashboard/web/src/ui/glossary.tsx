// What the words on the page mean: the glossary of the documentation, word by word.

import { signal } from '@preact/signals';
import text from '../../../../../docs/glossary.md';
import { useModal } from './hooks';

export const glossaryOpen = signal(false);

/** The rows of the table: a word and what it means. */
export const entries: [string, string][] = text
  .split('\n')
  .map((line) => /^\| \*\*(.+?)\*\* \| (.+) \|$/.exec(line))
  .flatMap((row) => (row ? [[row[1]!, row[2]!.replaceAll('`', '').replaceAll('*', '')] as [string, string]] : []));

export function Glossary() {
  const open = glossaryOpen.value;
  const dialog = useModal(open);
  if (!open) return null;
  const close = () => {
    glossaryOpen.value = false;
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="glossary-title">
      <div class="dialog-body">
        <h2 id="glossary-title">Glossary</h2>
        <dl class="facts glossary" tabIndex={0}>
          {entries.map(([word, meaning]) => (
            <>
              <dt key={word}>{word}</dt>
              <dd>{meaning}</dd>
            </>
          ))}
        </dl>
        <form method="dialog" class="row">
          <button class="primary">Close</button>
        </form>
      </div>
    </dialog>
  );
}
