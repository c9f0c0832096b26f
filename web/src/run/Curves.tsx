// Charts over a common x axis, with a marker at the selected position.

import type { ReadonlySignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { t } from "../text";
import { isDark } from "../theme";
import { type Chart, formatValue } from "./charts";
import { type PlotTheme, readTheme } from "./plotOptions";
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
        <ChartFigure key={index} chart={chart} themeOf={themeOf} onResize={onResize} {...props} />
      ))}
    </div>
  );
}

export interface ChartProps extends Omit<Props, "charts"> {
  chart: ReadonlySignal<Chart>;
  themeOf: (element: HTMLElement) => PlotTheme;
  onResize: () => void;
}

function ChartFigure(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  usePlot(box, props);
  const { title } = props.chart.value;
  const values = describeValues(props.chart.value, props.x.value, props.position.value);
  return (
    <figure class="curve">
      <figcaption>{title}</figcaption>
      <div ref={box} role="img" aria-label={t("curves.described", { title, values })} />
    </figure>
  );
}

/** The values at the selected position as text, for screen readers. */
function describeValues(chart: Chart, x: number[], position: number): string {
  const index = x.indexOf(position);
  return chart.curves.map((curve) => `${curve.label} ${formatValue(chart.unit, curve.values[index])}`).join(", ");
}
