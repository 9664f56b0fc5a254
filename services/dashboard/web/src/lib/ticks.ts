// Where an axis of time has its labels.

const TICKS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const LABEL_PX = { long: 74, short: 56 };

/** Where an axis of that width has a label, in seconds: at round local times, each with another text, none so near to another that they touch. */
export function ticksOf(fromS: number, toS: number, width: number): { at: number[]; withSeconds: boolean } {
  const most = (label: number) => Math.max(1, Math.floor(width / label));
  const wide = toS - fromS;
  const step = TICKS_S.find((one) => wide / one <= most(one < 60 ? LABEL_PX.long : LABEL_PX.short)) ?? 3600;
  const offset = new Date(toS * 1000).getTimezoneOffset() * 60;
  const at: number[] = [];
  for (let tick = Math.ceil((fromS - offset) / step) * step + offset; tick <= toS; tick += step) at.push(tick);
  return { at, withSeconds: step < 60 };
}
