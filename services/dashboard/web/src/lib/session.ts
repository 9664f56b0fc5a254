// Whether one has to sign in, and has. The secret itself is never kept here: the browser holds a cookie that no script can read.

import { signal } from '@preact/signals';
import { get, onUnauthorized, post, remove } from './api';

interface Session {
  token_needed: boolean;
  signed_in: boolean;
}

/** The service wants a token and we have no session: the page shows the form and nothing else. */
export const signedOut = signal(false);
/** There is a session that one can end. */
export const signedIn = signal(false);

onUnauthorized(() => {
  signedOut.value = true;
  signedIn.value = false;
});

function take(session: Session): void {
  signedOut.value = session.token_needed && !session.signed_in;
  signedIn.value = session.token_needed && session.signed_in;
}

/** Asks the service. When it cannot be reached nothing changes. */
export async function askSession(): Promise<void> {
  try {
    take(await get<Session>('/session'));
  } catch {
    // The connection tries again, and asks again.
  }
}

export async function signIn(token: string): Promise<void> {
  take(await post<Session>('/session', { token }));
}

/** `up` can print a link that carries the token in its fragment, which browsers send to no server. It leaves the address at once. */
export async function signInByLink(): Promise<void> {
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (!token) return;
  history.replaceState(history.state, '', location.pathname + location.search);
  try {
    await signIn(decodeURIComponent(token));
  } catch {
    // The form asks for it then.
  }
}

/** Afterwards nothing of the cluster is left in the page. */
export async function signOut(): Promise<void> {
  await remove('/session');
  location.assign('/');
}
