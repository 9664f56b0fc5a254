// What one sees of a dashboard that wants a token: a form, until the token is right.

import { useEffect, useRef, useState } from 'preact/hooks';
import { failureText } from '../lib/api';
import { reconnectNow } from '../lib/connection';
import { signIn } from '../lib/session';
import { Logo } from './icons';

export function SignIn() {
  const field = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    document.title = 'Sign in · Faultline';
    field.current?.focus();
  }, []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(field.current!.value);
      reconnectNow();
    } catch (error) {
      setProblem(failureText(error));
      setBusy(false);
      field.current?.select();
    }
  };
  return (
    <main class="sign-in">
      <form class="panel" onSubmit={submit} aria-labelledby="sign-in-title">
        <h1 id="sign-in-title" class="brand">
          <Logo />
          Faultline
        </h1>
        <p>Enter the token of this dashboard: you are not the user who runs it, or not on the same machine.</p>
        <label class="field">
          Token
          <input
            ref={field}
            type="password"
            autocomplete="current-password"
            required
            maxLength={4096}
            aria-invalid={problem !== ''}
            aria-describedby={problem ? 'sign-in-problem' : undefined}
          />
        </label>
        {problem && (
          <p class="problem" id="sign-in-problem" role="alert">
            {problem}
          </p>
        )}
        <button class="primary" disabled={busy}>
          Sign in
        </button>
        <p class="quiet">
          It is in the file <code>dashboard.token</code> of the data folder, or in the one that --token-file names. You stay signed in for 12 hours.
        </p>
      </form>
    </main>
  );
}
