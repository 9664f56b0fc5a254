// Starts the page: connection, keys, and which page the address names.

import { render } from 'preact';
import { Component, type ComponentChildren } from 'preact';
import './style/index.css';
import { link, now, start, startRecording } from './lib/connection';
import { zone } from './lib/format';
import { instant, isRecording } from './lib/instant';
import { canNotify, notifies, setNotifies, watchIncidents } from './lib/notify';
import { followAddress } from './lib/past';
import { openRecording } from './lib/recording';
import { catchLinks, path } from './lib/route';
import { signedOut, signInByLink } from './lib/session';
import { Chaos } from './pages/chaos';
import { Compare } from './pages/compare';
import { Events } from './pages/events';
import { Incident, Incidents } from './pages/incidents';
import { JobPage } from './pages/job';
import { Jobs } from './pages/jobs';
import { Nodes } from './pages/nodes';
import { Overview } from './pages/overview';
import { pastPage } from './pages/past';
import { System } from './pages/system';
import { Timeline } from './pages/timeline';
import { DemoCaption } from './ui/demo';
import { Drawer } from './ui/drawer';
import { Glossary, glossaryOpen } from './ui/glossary';
import { Header, PageTitle } from './ui/header';
import { Lessons, openLessons } from './ui/lessons';
import { Empty, Failed } from './ui/parts';
import { onKey, Shortcuts } from './ui/shortcuts';
import { SignIn } from './ui/sign-in';
import { Strip } from './ui/strip';
import { TimeBar } from './ui/time-bar';
import { Toast, toast } from './ui/toast';

function Page() {
  const here = path.value;
  const past = instant.value === null ? null : pastPage(here);
  if (past) return past;
  if (here.startsWith('/jobs/')) return <JobPage id={decodeURIComponent(here.slice('/jobs/'.length))} key={here} />;
  if (here.startsWith('/incidents/')) return <Incident id={decodeURIComponent(here.slice('/incidents/'.length))} key={here} />;
  switch (here) {
    case '/':
      return <Overview />;
    case '/nodes':
      return <Nodes />;
    case '/jobs':
      return <Jobs />;
    case '/timeline':
      return <Timeline />;
    case '/chaos':
      return <Chaos />;
    case '/events':
      return <Events />;
    case '/incidents':
      return <Incidents />;
    case '/compare':
      return <Compare />;
    case '/system':
    case '/system/messaging':
    // Its address of before.
    case '/messaging':
      return <System />;
    default:
      return (
        <>
          <div class="page-head">
            <PageTitle>Not found</PageTitle>
          </div>
          <Empty title={`Unknown page ${here}`}>
            <a href="/">Go to the overview</a>
          </Empty>
        </>
      );
  }
}

/** An error in one page leaves the header, and with it the way to the others. */
class Fence extends Component<{ here: string; children: ComponentChildren }, { error: unknown }> {
  override state = { error: null as unknown };
  static override getDerivedStateFromError(error: unknown) {
    return { error };
  }
  override componentDidUpdate(before: { here: string }) {
    if (before.here !== this.props.here && this.state.error !== null) this.setState({ error: null });
  }
  override render() {
    return this.state.error === null ? (
      this.props.children
    ) : (
      <Failed what="This page has failed" error={this.state.error} retry={() => this.setState({ error: null })} />
    );
  }
}

function App() {
  if (signedOut.value) return <SignIn />;
  return (
    <div class={link.value === 'lost' ? 'stale' : ''}>
      <Header />
      <TimeBar />
      <Strip />
      <DemoCaption />
      <main id="content" tabIndex={-1}>
        <Fence here={path.value}>
          <Page />
        </Fence>
      </main>
      <footer class="page">
        <span class="quiet num">Times are local: {zone(now.value)}</span>
        {canNotify && (
          <button class="link" aria-pressed={notifies.value} onClick={() => void setNotifies(!notifies.peek()).then((text) => toast(text))}>
            Notify of incidents: {notifies.value ? 'on' : 'off'}
          </button>
        )}
        <button class="link" onClick={openLessons}>
          Lessons
        </button>
        <button class="link" onClick={() => (glossaryOpen.value = true)}>
          Glossary
        </button>
        {!isRecording && (
          <a href="/api/v1/openapi.json" target="_blank">
            API
          </a>
        )}
      </footer>
      <Lessons />
      <Drawer />
      <Shortcuts />
      <Glossary />
      <Toast />
    </div>
  );
}

const root = document.getElementById('app')!;
catchLinks(root);
addEventListener('keydown', onKey);
render(<App />, root);
if (isRecording) {
  startRecording();
  void openRecording();
} else {
  void signInByLink().then(start).then(followAddress).then(watchIncidents);
}
