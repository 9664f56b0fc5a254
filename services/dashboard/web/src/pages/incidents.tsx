// All incidents of the last hour, or one of them by its address.

import { useEffect, useState } from 'preact/hooks';
import { get } from '../lib/api';
import { incidents } from '../lib/store';
import type { IncidentsPage, IncidentView } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { IncidentCard } from '../ui/incident';
import { Empty, Failed, Loading } from '../ui/parts';

/** What is asked again whenever an incident of the push has changed. */
function useFetched<T>(path: string): { value: T | null; error: unknown; retry: () => void } {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [asked, setAsked] = useState(0);
  const pushed = incidents.value;
  useEffect(() => {
    let stale = false;
    get<T>(path).then(
      (answer) => {
        if (stale) return;
        setValue(answer);
        setError(null);
      },
      (failure: unknown) => {
        if (!stale) setError(failure);
      },
    );
    return () => {
      stale = true;
    };
  }, [path, pushed, asked]);
  return { value, error, retry: () => setAsked((times) => times + 1) };
}

export function Incidents() {
  const { value, error, retry } = useFetched<IncidentsPage>('/incidents?limit=100');
  return (
    <>
      <div class="page-head">
        <PageTitle>Incidents</PageTitle>
        <span class="sub num">{value ? `${value.items.length} of ${value.total}, newest first` : ''}</span>
      </div>
      {error !== null && <Failed what="The incidents cannot be loaded" error={error} retry={retry} />}
      {value === null ? (
        error === null && <Loading />
      ) : value.items.length ? (
        <div class="panel flush">
          {value.items.map((incident) => (
            <IncidentCard key={incident.id} incident={incident} />
          ))}
        </div>
      ) : (
        <Empty title="Nothing has failed in the last hour">
          Kill a worker on the page <a href="/chaos">Chaos</a> to see what happens.
        </Empty>
      )}
    </>
  );
}

export function Incident({ id }: { id: string }) {
  const { value, error, retry } = useFetched<IncidentView>(`/incidents/${encodeURIComponent(id)}`);
  return (
    <>
      <div class="page-head">
        <PageTitle>Incident</PageTitle>
        <span class="sub mono">{id}</span>
        <div class="actions">
          <a href="/incidents">All incidents</a>
        </div>
      </div>
      {value ? (
        <div class="panel flush">
          <IncidentCard incident={value} open />
        </div>
      ) : error !== null ? (
        <Failed what="This incident cannot be shown" error={error} retry={retry} />
      ) : (
        <Loading />
      )}
    </>
  );
}
