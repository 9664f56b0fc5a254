// The pages, in the order of the tabs.

export const PAGES = [
  ['/', 'Overview'],
  ['/nodes', 'Nodes'],
  ['/jobs', 'Jobs'],
  ['/timeline', 'Timeline'],
  ['/chaos', 'Chaos'],
  ['/incidents', 'Incidents'],
  ['/events', 'Events'],
  ['/system', 'System'],
] as const;
