// Finds a node or a job by a part of its name or id, and what can be done by typing it.

import { useEffect, useRef, useState } from 'preact/hooks';
import { get, query } from '../lib/api';
import { go, inspect } from '../lib/route';
import { frame, index } from '../lib/store';
import { cellAt } from '../lib/frame';
import type { JobsPage } from '../lib/wire';
import { commandsFor } from './commands';
import { Icon } from './icons';
import { State } from './parts';

interface Hit {
  id: string;
  title: string;
  /** Of a node or a job; none of a command. */
  state: string | null;
  open: () => void;
}

const MOST = 6;
const WAIT_MS = 180;

function nodeHits(text: string): Hit[] {
  const wanted = text.toLowerCase();
  const found: Hit[] = [];
  const shown = frame.peek();
  for (const [at, name] of index.peek().nodes.entries()) {
    if (!name.toLowerCase().includes(wanted)) continue;
    found.push({ id: `node-${name}`, title: name, state: (shown && cellAt(shown, at)?.health) ?? 'left', open: () => inspect(name) });
    if (found.length === MOST) break;
  }
  return found;
}

function commandHits(text: string): Hit[] {
  return commandsFor(text).map(({ title, run }, at) => ({ id: `command-${at}`, title, state: null, open: run }));
}

async function jobHits(text: string): Promise<Hit[]> {
  const page = await get<JobsPage>(`/jobs${query({ q: text, per_page: MOST })}`);
  return page.items.map((job) => ({ id: `job-${job.id}`, title: job.name, state: job.state, open: () => go(`/jobs/${job.id}`) }));
}

/** What fits the text: nodes at once, jobs when the service has answered; null without a text. */
function useHits(text: string) {
  const [found, setFound] = useState<{ of: string; hits: Hit[] } | null>(null);
  const [chosen, setChosen] = useState(0);
  useEffect(() => {
    if (!text.trim()) {
      setFound(null);
      return;
    }
    let stale = false;
    const local = [...nodeHits(text.trim()), ...commandHits(text.trim())];
    setFound(local.length ? { of: text, hits: local } : null);
    setChosen(0);
    const timer = setTimeout(async () => {
      const jobs = await jobHits(text.trim()).catch(() => []);
      if (!stale) setFound({ of: text, hits: [...local, ...jobs] });
    }, WAIT_MS);
    return () => {
      stale = true;
      clearTimeout(timer);
    };
  }, [text]);
  return { hits: found?.hits ?? null, of: found?.of, chosen, setChosen, forget: () => setFound(null) };
}

export function Search() {
  const [text, setText] = useState('');
  const { hits, of, chosen, setChosen, forget } = useHits(text);
  const input = useRef<HTMLInputElement>(null);

  const open = (hit: Hit | undefined) => {
    if (!hit) return;
    setText('');
    input.current?.blur();
    hit.open();
  };
  const key = (event: KeyboardEvent) => {
    const many = hits?.length ?? 0;
    if (event.key === 'ArrowDown' && many) setChosen((chosen + 1) % many);
    else if (event.key === 'ArrowUp' && many) setChosen((chosen + many - 1) % many);
    // A fast typist is ahead of the list, and means what is in the field.
    else if (event.key === 'Enter' && text.trim()) open(of === text ? hits?.[chosen] : [...nodeHits(text.trim()), ...commandHits(text.trim())][0]);
    else if (event.key === 'Escape') {
      setText('');
      input.current?.blur();
    } else return;
    event.preventDefault();
  };
  return (
    <div class="search" role="search">
      <Icon name="search" />
      <input
        id="search"
        ref={input}
        value={text}
        placeholder="Node, job, or command"
        aria-label="Search for a node, a job, or a command"
        maxLength={100}
        autocomplete="off"
        role="combobox"
        aria-expanded={hits !== null}
        aria-controls="search-results"
        aria-autocomplete="list"
        aria-activedescendant={hits?.[chosen]?.id}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={key}
        onBlur={() => setTimeout(forget, 150)}
      />
      <kbd aria-hidden="true">/</kbd>
      {hits && <Results hits={hits} chosen={chosen} choose={setChosen} open={open} />}
    </div>
  );
}

interface ResultsProps {
  hits: Hit[];
  chosen: number;
  choose: (at: number) => void;
  open: (hit: Hit) => void;
}

function Results({ hits, chosen, choose, open }: ResultsProps) {
  return (
    <ul class="results" id="search-results" role="listbox" aria-label="Found">
      {hits.map((hit, at) => (
        <li
          key={hit.id}
          id={hit.id}
          role="option"
          aria-selected={at === chosen}
          onMouseDown={(event) => {
            event.preventDefault();
            open(hit);
          }}
          onMouseEnter={() => choose(at)}
        >
          <span class="grow clip">{hit.title}</span>
          {hit.state !== null && <State of={hit.state} />}
        </li>
      ))}
      {!hits.length && (
        <li class="none" role="option" aria-selected={false}>
          Nothing is called so
        </li>
      )}
    </ul>
  );
}
