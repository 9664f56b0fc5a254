// Requests to the service. Every failure becomes an ApiFailure whose text a person can read.

import { ordersOff, whyOff } from './instant';

export class ApiFailure extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly field: string | null,
    readonly remedy: string | null,
  ) {
    super(message);
  }

  /** Message and remedy in one line. */
  get text(): string {
    const message = this.field ? `${this.field}: ${this.message}` : this.message;
    return this.remedy ? `${message}. ${this.remedy[0]?.toUpperCase()}${this.remedy.slice(1)}.` : message;
  }
}

export function failureText(error: unknown): string {
  if (error instanceof ApiFailure) return error.text;
  return error instanceof Error ? error.message : String(error);
}

/** Listeners for answers that ask for a token. */
let unauthorized = () => {};
export function onUnauthorized(action: () => void): void {
  unauthorized = action;
}

async function failureOf(response: Response): Promise<ApiFailure> {
  try {
    const { error } = await response.json();
    return new ApiFailure(response.status, error.code, error.message, error.field ?? null, error.remedy ?? null);
  } catch {
    return new ApiFailure(response.status, 'http', `the service answered ${response.status} ${response.statusText}`, null, null);
  }
}

/** A recording answers from its file. */
let answerInstead: ((path: string) => Promise<unknown>) | null = null;
export function answerFrom(file: (path: string) => Promise<unknown>): void {
  answerInstead = file;
}

async function ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const options: RequestInit = { method, signal: signal ?? null };
  if (body !== undefined) {
    options.headers = { 'content-type': 'application/json' };
    options.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiFailure(0, 'unreachable', 'the dashboard service cannot be reached', null, 'it is tried again by itself');
  }
  if (response.status === 401 && path !== '/session') unauthorized();
  if (!response.ok) throw await failureOf(response);
  return response;
}

async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  // The session is of this browser, not of the cluster.
  if (method !== 'GET' && path !== '/session' && ordersOff.peek()) throw new ApiFailure(0, 'past', whyOff, null, null);
  if (answerInstead) return (await answerInstead(path)) as T;
  return (await (await ask(method, path, body, signal)).json()) as T;
}

export async function getBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  if (answerInstead) return (await answerInstead(path)) as Uint8Array<ArrayBuffer>;
  return new Uint8Array(await (await ask('GET', path)).arrayBuffer());
}

export const get = <T>(path: string, signal?: AbortSignal) => request<T>('GET', path, undefined, signal);
export const post = <T>(path: string, body?: unknown) => request<T>('POST', path, body);
export const put = <T>(path: string, body: unknown) => request<T>('PUT', path, body);
export const remove = <T>(path: string) => request<T>('DELETE', path);

/** A query string of what is not empty, with the question mark. */
export function query(values: Record<string, string | number | boolean | null | undefined>): string {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== '' && value !== false);
  return given.length ? `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}` : '';
}
