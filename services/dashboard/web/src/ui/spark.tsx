// A small line without axes, as SVG; the current value stands beside it.

const WIDTH = 300;
const HEIGHT = 26;

interface Props {
  label: string;
  values: (number | null)[] | undefined;
  max: number;
  colour: string;
  now: string;
}

/** `max` 0: the largest value. */
export function Spark({ label, values = [], max, colour, now }: Props) {
  const top = max || Math.max(1, ...values.map((value) => value ?? 0)) * 1.1;
  const step = WIDTH / Math.max(1, values.length - 1);
  let pen = 'M';
  let path = '';
  values.forEach((value, at) => {
    if (value === null) {
      pen = 'M';
      return;
    }
    path += `${pen}${(at * step).toFixed(1)} ${(HEIGHT - 1 - (Math.min(value, top) / top) * (HEIGHT - 2)).toFixed(1)}`;
    pen = 'L';
  });
  return (
    <div class="spark">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${label}: now ${now}`}>
        <path d={path || `M0 ${HEIGHT}`} fill="none" stroke={`var(${colour})`} stroke-width="1.4" vector-effect="non-scaling-stroke" />
      </svg>
      <span class="num">{now}</span>
    </div>
  );
}
