// The form that submits jobs. What the service refuses is said at the field that it names.

import { useState } from 'preact/hooks';
import { ApiFailure, failureText, post } from '../lib/api';
import { plural } from '../lib/format';
import { BadParams, parseParams } from '../lib/params';
import { Panel } from '../ui/parts';
import { toast } from '../ui/toast';

interface Field {
  name: string;
  label: string;
  type: 'number' | 'text';
  placeholder?: string;
  value?: string;
  min?: number;
  max?: number;
  step?: string;
  scale?: number;
}

const FIELDS: Field[] = [
  { name: 'size', label: 'Size', type: 'number', placeholder: 'default', min: 1, step: '1' },
  { name: 'duration_ms', label: 'Duration, s', type: 'number', placeholder: 'default', min: 0, step: 'any', scale: 1000 },
  { name: 'gpus', label: 'GPUs', type: 'number', value: '0.1', min: 0, max: 8, step: 'any' },
  { name: 'gpu_memory_mib', label: 'GPU memory, MiB', type: 'number', placeholder: '0', min: 0, step: '1' },
  { name: 'count', label: 'How many', type: 'number', value: '1', min: 1, max: 10000, step: '1' },
  { name: 'timeout_ms', label: 'Time limit, s', type: 'number', placeholder: 'default', min: 0, step: 'any', scale: 1000 },
  { name: 'max_retries', label: 'Retries', type: 'number', placeholder: '3', min: 0, max: 100, step: '1' },
  { name: 'name', label: 'Name', type: 'text', placeholder: 'made up' },
  { name: 'params', label: 'Parameters', type: 'text', placeholder: 'name=value, name="text"' },
];

function Fields({ wrong }: { wrong: string | null }) {
  return (
    <>
      {FIELDS.map((field) => (
        <label class="field" key={field.name}>
          {field.label}
          <input
            name={field.name}
            type={field.type as 'number'}
            placeholder={field.placeholder}
            min={field.min}
            max={field.max}
            step={field.step}
            defaultValue={field.value}
            aria-invalid={wrong?.split('.')[0]?.replace('_from_text', '') === field.name}
          />
        </label>
      ))}
    </>
  );
}

export function SubmitForm({ after }: { after: () => void }) {
  const [failure, setFailure] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const wrong = failure instanceof ApiFailure ? failure.field : failure instanceof BadParams ? 'params' : null;
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      const reply = await post<{ submitted: number; ids: string[]; error?: { message: string } }>(
        '/jobs',
        bodyOf(new FormData(event.currentTarget as HTMLFormElement)),
      );
      setFailure(reply.error ? new Error(`${plural(reply.submitted, 'job')} submitted, then: ${reply.error.message}`) : null);
      toast(`${plural(reply.submitted, 'job')} submitted`);
      after();
    } catch (error) {
      setFailure(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel title="Submit jobs">
      <form class="stack" onSubmit={submit} noValidate aria-label="Submit jobs">
        <div class="submit">
          <label class="field">
            Kind
            <input
              name="kind"
              list="kinds"
              defaultValue="matrix"
              required
              maxLength={64}
              autocomplete="off"
              aria-invalid={wrong === 'kind'}
            />
          </label>
          <datalist id="kinds">
            <option value="sleep" />
            <option value="compute" />
            <option value="matrix" />
            <option value="fault" />
            <option value="service:greet" />
          </datalist>
          <label class="field">
            Priority
            <select name="priority">
              {['urgent', 'high', 'normal', 'low'].map((name) => (
                <option key={name} selected={name === 'normal'}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <Fields wrong={wrong} />
          <button class="primary" disabled={busy}>
            {busy ? 'Submitting' : 'Submit'}
          </button>
        </div>
        {failure !== null && (
          <p class="problem" role="alert">
            {failureText(failure)}
          </p>
        )}
      </form>
    </Panel>
  );
}

/** Only what was filled in: the service knows the defaults. */
function bodyOf(form: FormData): Record<string, unknown> {
  const body: Record<string, unknown> = { kind: String(form.get('kind') ?? '').trim(), priority: form.get('priority') };
  for (const { name, type, scale = 1 } of FIELDS) {
    const text = String(form.get(name) ?? '').trim();
    if (!text) continue;
    if (name === 'params') Object.assign(body, parseParams(text));
    else body[name] = type === 'number' ? (scale === 1 ? Number(text) : Math.round(Number(text) * scale)) : text;
  }
  return body;
}
