// All incidents of the last hour, or one of them by its address.

import { get } from '../lib/api';
import type { IncidentsPage, IncidentView } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { IncidentCard } from '../ui/incident';
import { Empty, Failed, Loading } from '../ui/parts';

const EVERY_MS = 1000;

export function Incidents() {
  const { data: value, error, reload: retry } = useLoad('incidents', (signal) => get<IncidentsPage>('/incidents?limit=100', signal), EVERY_MS);
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
  const { data: value, error, reload: retry } = useLoad(id, (signal) => get<IncidentView>(`/incidents/${encodeURIComponent(id)}`, signal), EVERY_MS);
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
