// Charts over a common x axis, with a marker at the selected position.

import type { ReadonlySignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { t } from "../text";
import { isDark } from "../theme";
import type { Chart, Curve } from "./charts";
import { describeValue, formatShare } from "./chartValues";
import { type PlotTheme, readTheme } from "./plotOptions";
import { isBelow, shareRange } from "./shareAxis";
import { usePlot } from "./usePlot";

interface Props {
  charts: readonly ReadonlySignal<Chart>[];
  x: ReadonlySignal<number[]>;
  position: ReadonlySignal<number>; // on the x axis
  xLabel: string;
  onSelect: (x: number) => void;
}

export function Curves({ charts, ...props }: Props) {
  const theme = useRef<PlotTheme | null>(null);
  // All plots share one theme: to read it, the browser lays the page out again for every plot created before.
  const themeOf = (element: HTMLElement): PlotTheme => {
    if (theme.current?.isDark !== isDark.peek()) theme.current = readTheme(element);
    return theme.current!;
  };
  const onResize = () => (theme.current = null);
  return (
    <div class="curves">
      {charts.map((chart, index) => (
        <ChartCard key={index} chart={chart} themeOf={themeOf} onResize={onResize} {...props} />
      ))}
    </div>
  );
}

export interface ChartProps extends Omit<Props, "charts"> {
  chart: ReadonlySignal<Chart>;
  themeOf: (element: HTMLElement) => PlotTheme;
  onResize: () => void;
}

/** A chart, or the value of one that never changes; nothing where no epoch has a value. */
function ChartCard(props: ChartProps) {
  const { title, constant, curves } = props.chart.value;
  if (props.x.value.length && curves.every(isEmpty)) return null;
  if (constant === undefined) return <ChartFigure {...props} />;
  return (
    <p class="constant">
      <b>{title}</b> {t("curves.constant", { value: constant })}
    </p>
  );
}

const isEmpty = ({ values, blanks }: Curve): boolean =>
  values.every((value) => value == null) && !blanks?.some(Boolean);

function ChartFigure(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  usePlot(box, props);
  const { title, note } = props.chart.value;
  const values = describeValues(props.chart.value, props.x.value, props.position.value);
  return (
    <figure class="curve">
      <figcaption>
        {title} <span class="axis-range">{describeAxis(props.chart.value)}</span>
      </figcaption>
      <div ref={box} role="img" aria-label={t("curves.described", { title, values })} />
      {note && <p class="note">{note}</p>}
    </figure>
  );
}

/** The range of an axis of shares that is not from 0 to 100 %. */
function describeAxis({ unit, curves, clipsStart = false }: Chart): string {
  if (unit !== "share") return "";
  const values = curves.map((curve) => curve.values);
  const [low, high] = shareRange(values, clipsStart);
  if (low === 0 && high === 1) return "";
  const range = { from: formatShare(low), to: formatShare(high) };
  return t(isBelow(values, low) ? "curves.axisBelow" : "curves.axis", range);
}

/** The values at the selected position as text, for screen readers. */
function describeValues(chart: Chart, x: number[], position: number): string {
  const index = x.indexOf(position);
  return chart.curves.map((curve) => `${curve.label} ${describeValue(chart, curve, index)}`).join(", ");
}
