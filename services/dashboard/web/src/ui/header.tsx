// What stands above every page: where one can go, whether the display is alive, and what changes it.

import { useEffect, useRef } from 'preact/hooks';
import { announcement } from '../lib/announce';
import { lastFrameAt, link, now, reconnectNow } from '../lib/connection';
import { clock, span } from '../lib/format';
import { PAGES } from '../lib/pages';
import { instant } from '../lib/instant';
import { path } from '../lib/route';
import { signedIn, signOut } from '../lib/session';
import { paused, serviceNow, serviceTimeOf, setPaused, stats } from '../lib/store';
import { troubleOf } from '../lib/trouble';
import { setTheme, theme, type Theme } from '../lib/theme';
import { Icon, Logo } from './icons';
import { Search } from './search';
import { shortcutsOpen } from './shortcuts';
import { order } from './toast';

const NEXT: Record<Theme, Theme> = { auto: 'dark', dark: 'light', light: 'auto' };

export function Header() {
  const tabs = useRef<HTMLElement>(null);
  // On a phone the tabs scroll, and the one that is open must not be beyond the edge.
  useEffect(() => {
    const [bar, here] = [tabs.current, tabs.current?.querySelector<HTMLElement>('[aria-current]')];
    if (bar && here) bar.scrollLeft = here.offsetLeft - bar.offsetLeft - (bar.clientWidth - here.offsetWidth) / 2;
  }, [path.value]);
  const isHere = (to: string) => (to === '/' ? path.value === '/' : path.value === to || path.value.startsWith(`${to}/`));
  return (
    <>
      <a
        class="skip"
        href="#content"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById('content')?.focus();
        }}
      >
        Skip to the page
      </a>
      <header class="top">
        <a class="brand" href="/">
          <Logo />
          Faultline
        </a>
        <nav class="tabs" aria-label="Pages" ref={tabs}>
          {PAGES.map(([to, label]) => (
            <a key={to} href={to} aria-current={isHere(to) ? 'page' : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <div class="tools">
          <Search />
          <LinkState />
          <button
            class="icon"
            disabled={instant.value !== null}
            aria-pressed={paused.value}
            aria-label="Pause the display"
            title="Pause the display (p)"
            onClick={() => setPaused(!paused.value)}
          >
            <Icon name={paused.value ? 'play' : 'pause'} />
          </button>
          <button
            class="icon"
            aria-label={`Theme: ${theme.value}`}
            title={`Theme: ${theme.value} (t)`}
            onClick={() => setTheme(NEXT[theme.value])}
          >
            <Icon name={theme.value} />
          </button>
          <button
            class="icon"
            aria-label="Keyboard shortcuts"
            title="Keyboard shortcuts (?)"
            onClick={() => {
              shortcutsOpen.value = true;
            }}
          >
            <Icon name="keys" size={16} />
          </button>
          {signedIn.value && <button onClick={() => order(signOut, 'Signed out')}>Sign out</button>}
        </div>
      </header>
      <Banner />
      <div class="hidden-text" aria-live="polite">
        {announcement.value}
      </div>
    </>
  );
}

function LinkState() {
  const state = instant.value !== null ? 'past' : paused.value && link.value === 'live' ? 'paused' : link.value;
  const age = lastFrameAt.value ? Math.max(0, now.value - lastFrameAt.value) : null;
  const text =
    state === 'live'
      ? `${((age ?? 0) / 1000).toFixed(1)} s ago`
      : state === 'paused' || state === 'past'
        ? state
        : state === 'lost'
          ? 'no connection'
          : 'connecting';
  return (
    <span class="connection" data-link={state} title={age === null ? 'No frame yet' : `Last frame ${span(age)} ago`}>
      <span class="dot" aria-hidden="true" />
      <span class="num">
        <span class="hidden-text">{state === 'live' ? 'Connected, last frame ' : ''}</span>
        {text}
      </span>
    </span>
  );
}

function Banner() {
  void now.value;
  const heard = lastFrameAt.value;
  const current = stats.value;
  if (link.value === 'lost') {
    return (
      <div class="banner bad" role="alert">
        <Icon name="dead" />
        <span class="grow">
          {heard
            ? `No connection to the dashboard service since ${clock(serviceTimeOf(heard))}. What you see is from that time`
            : 'No connection to the dashboard service yet'}
          ; it is tried again by itself.
        </span>
        <button onClick={reconnectNow}>Try now</button>
      </div>
    );
  }
  if (paused.value)
    return (
      <div class="banner" role="status">
        <Icon name="pause" />
        <span class="grow">The display is paused.</span>
        <button onClick={() => setPaused(false)}>Go on</button>
      </div>
    );
  const trouble = current && troubleOf(current, serviceNow());
  if (!trouble) return null;
  // The seconds that pass are not read out again and again.
  return (
    <div class={`banner ${trouble.bad ? 'bad' : ''}`} role={trouble.bad ? 'alert' : 'status'}>
      <Icon name={trouble.bad ? 'dead' : 'suspect'} />
      <span>
        {trouble.what}
        {trouble.sinceMs !== null && (
          <>
            <span aria-hidden="true"> for {span(serviceNow() - trouble.sinceMs)}</span>
            <span class="hidden-text"> since {clock(trouble.sinceMs)}</span>
          </>
        )}
        {`: ${trouble.follows}`}
      </span>
    </div>
  );
}

/** The heading of a page takes the focus when one goes there, so that keyboards and screen readers follow. */
export function PageTitle({ children }: { children: string }) {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${children} · Faultline`;
  }, [children]);
  return <h1 ref={ref}>{children}</h1>;
}
