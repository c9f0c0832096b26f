// Loss, accuracy, accuracy by class, blank share and learning rate over the epochs, under one cursor.

import { computed, useComputed, type ReadonlySignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Epoch } from "../api/types";
import { useSignalLayoutEffect } from "../parts/signalLayoutEffect";
import { dark } from "../theme";
import { language, t } from "../text";

export interface Curve {
  label: string;
  values: (number | null)[]; // by column
  colour: number; // of the palette
  dashed?: boolean;
}

export interface Chart {
  title: string;
  unit: "share" | "nats" | "rate";
  curves: Curve[];
}

interface Props {
  charts: readonly ReadonlySignal<Chart>[];
  x: ReadonlySignal<number[]>;
  at: ReadonlySignal<number>; // on the x axis
  xLabel: string;
  onPick: (x: number) => void;
}

const HEIGHT = 170; // CSS pixels of a plot

const PALETTE = {
  light: ["#1f6fb4", "#c4500a", "#1b7f5b", "#a33a86", "#8a6d00", "#5457c9", "#b3303a", "#3f7d8c", "#6e5a4b", "#4d4d4d"],
  dark: ["#6cb6ff", "#ff9e5c", "#5fd3a5", "#f08bd3", "#e5c454", "#a5a8ff", "#ff8a90", "#7fd0e0", "#cbb39f", "#c4c4c4"],
};

/** What the plots have in common: read once, as each plot that is made has the page laid out anew. */
interface Look {
  dark: boolean;
  width: number; // CSS pixels; all columns of the grid are equal
  ink: string;
  line: string;
  font: string;
}

function lookOf(element: HTMLElement): Look {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name);
  return {
    dark: dark.peek(), width: element.clientWidth, ink: colour("--muted"), line: colour("--line"),
    font: `${style.fontSize} ${style.fontFamily}`,
  };
}

export function Curves({ charts, ...rest }: Props) {
  const look = useRef<Look | null>(null);
  const read = (element: HTMLElement): Look => {
    if (look.current?.dark !== dark.peek()) look.current = lookOf(element);
    return look.current!;
  };
  const resized = () => (look.current = null);
  return (
    <div class="curves">
      {charts.map((chart, index) => <Plot key={index} chart={chart} lookOf={read} onResize={resized} {...rest} />)}
    </div>
  );
}

interface PlotProps extends Omit<Props, "charts"> {
  chart: ReadonlySignal<Chart>;
  lookOf: (element: HTMLElement) => Look;
  onResize: () => void;
}

function Plot({ chart, x, at, xLabel, onPick, lookOf, onResize }: PlotProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shown = useRef<[Chart, number[]] | null>(null);
  const cursor = useRef(0);
  const marker = useRef<HTMLElement | null>(null);
  const labels = useComputed(() => chart.value.curves.map((curve) => curve.label).join("\n"));

  // The curves, the axes' colours and words are set once by uPlot: it is made anew when they change.
  useSignalLayoutEffect(() => {
    const palette = dark.value ? PALETTE.dark : PALETTE.light;
    void language.value;
    const element = box.current;
    if (!labels.value || !element) return; // what it draws is not here yet
    cursor.current = at.peek();
    shown.current = [chart.peek(), x.peek()];
    const made = new uPlot(options(chart.peek(), palette, lookOf(element)), data(...shown.current), element);
    plot.current = made;
    tell(made);
    const observer = new ResizeObserver(() => {
      if (made.width === element.clientWidth) return;
      onResize();
      made.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  });
  useSignalLayoutEffect(() => {
    const [now, xs] = [chart.value, x.value];
    if (shown.current?.[0] === now && shown.current[1] === xs) return;
    shown.current = [now, xs];
    plot.current?.setData(data(now, xs));
    tell(plot.current);
  });
  useSignalLayoutEffect(() => {
    if (cursor.current === at.value) return;
    cursor.current = at.value;
    if (plot.current) mark(plot.current);
    tell(plot.current);
  });

  /** The scrubbed epoch's line lies over the plot, which is not drawn again when it moves. */
  function mark(made: uPlot) {
    const place = made.valToPos(cursor.current, "x");
    marker.current!.hidden = !Number.isFinite(place);
    marker.current!.style.transform = `translateX(${place}px)`;
  }

  /** The legend tells the scrubbed epoch's values, until the pointer asks for others. */
  function tell(made: uPlot | null) {
    const idx = made?.data[0].indexOf(cursor.current) ?? -1;
    if (made && idx >= 0 && made.cursor.left! < 0) made.setLegend({ idx });
  }

  function options(chart: Chart, palette: string[], { width, ink, line, font }: Look): uPlot.Options {
    const grid = { stroke: line, width: 1 };
    const told = (value: number | null) => (value === null ? "–" : tellValue(chart.unit, value));
    return {
      width, height: HEIGHT,
      cursor: { sync: { key: "epochs" }, y: false, drag: { x: false, y: false } },
      legend: { live: true },
      scales: { x: { time: false }, y: chart.unit === "share" ? { range: [0, 1] } : {} },
      axes: [
        { stroke: ink, grid, ticks: grid, font, size: 30, values: (_, ticks) => ticks.map(String) },
        { stroke: ink, grid, ticks: grid, font, size: 54, values: (_, ticks) => ticks.map((tick) => tellValue(chart.unit, tick, true)) },
      ],
      series: [
        { label: xLabel, value: (_, value) => String(value ?? "–") },
        ...chart.curves.map((curve): uPlot.Series => ({
          label: curve.label, stroke: palette[curve.colour % palette.length]!, width: 1.6, points: { show: curve.values.length < 3 },
          ...(curve.dashed ? { dash: [5, 4] } : {}),
          value: (_, value) => told(value),
        })),
      ],
      hooks: {
        init: [(u) => {
          marker.current = u.over.appendChild(Object.assign(document.createElement("div"), { className: "curve-cursor" }));
          u.over.addEventListener("click", () => {
            const picked = u.cursor.idx;
            if (picked !== null && picked !== undefined) onPick(u.data[0][picked]!);
          });
        }],
        setCursor: [(u) => {
          if (u.cursor.left! < 0) tell(u);
        }],
        draw: [mark],
      },
    };
  }

  const { title } = chart.value;
  return (
    <figure class="curve">
      <figcaption>{title}</figcaption>
      <div ref={box} role="img" aria-label={t("curves.described", { title, ...spoken(chart.value, x.value, at.value) })} />
    </figure>
  );
}

function data(chart: Chart, x: number[]): uPlot.AlignedData {
  return [x, ...chart.curves.map((curve) => x.map((_, i) => curve.values[i] ?? null))];
}

function tellValue(unit: Chart["unit"], value: number, short = false): string {
  if (unit === "share") return `${(value * 100).toFixed(short ? 0 : 1)}%`;
  return String(Number(value.toPrecision(short ? 2 : 3)));
}

/** The values at the cursor, for who does not see the curves. */
function spoken(chart: Chart, x: number[], at: number): { values: string } {
  const place = x.indexOf(at);
  const values = chart.curves.map((curve) => {
    const value = curve.values[place];
    return `${curve.label} ${value === null || value === undefined ? "–" : tellValue(chart.unit, value)}`;
  });
  return { values: values.join(", ") };
}

/** The charts of one run; each changes with what it shows alone. */
export function chartsOf(
  epochs: ReadonlySignal<Epoch[]>, names: ReadonlySignal<string[]>, blanks: ReadonlySignal<Record<string, (number | null)[]>>,
): ReadonlySignal<Chart>[] {
  const of = (pick: (epoch: Epoch) => number | null) => epochs.value.map(pick);
  return [
    computed(() => ({ title: t("curves.loss"), unit: "nats", curves: [
      { label: t("curves.train"), values: of((e) => e.train_loss), colour: 0, dashed: true },
      { label: t("curves.test"), values: of((e) => e.test_loss), colour: 1 },
    ] })),
    computed(() => ({ title: t("curves.accuracy"), unit: "share", curves: [
      { label: t("curves.train"), values: of((e) => e.train_accuracy), colour: 0, dashed: true },
      { label: t("curves.test"), values: of((e) => e.test_accuracy), colour: 1 },
    ] })),
    computed(() => ({ title: t("curves.blank"), unit: "share", curves:
      Object.entries(blanks.value).map(([label, values], colour) => ({ label, values, colour })),
    })),
    computed(() => ({ title: t("curves.byClass"), unit: "share", curves: names.value.map((label, index) => ({
      label, values: of((e) => e.per_class_accuracy[index] ?? null), colour: index,
    })) })),
    computed(() => ({ title: t("curves.rate"), unit: "rate", curves: [
      { label: t("curves.rate"), values: of((e) => e.learning_rate), colour: 3 },
    ] })),
  ];
}
