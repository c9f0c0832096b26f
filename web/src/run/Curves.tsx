// Loss, accuracy, accuracy by class, blank share and learning rate over the epochs, under one cursor.

import { useSignalEffect, type ReadonlySignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Epoch } from "../api/types";
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
  charts: ReadonlySignal<Chart[]>;
  x: ReadonlySignal<number[]>;
  at: ReadonlySignal<number>; // on the x axis
  xLabel: string;
  onPick: (x: number) => void;
}

const PALETTE = {
  light: ["#1f6fb4", "#c4500a", "#1b7f5b", "#a33a86", "#8a6d00", "#5457c9", "#b3303a", "#3f7d8c", "#6e5a4b", "#4d4d4d"],
  dark: ["#6cb6ff", "#ff9e5c", "#5fd3a5", "#f08bd3", "#e5c454", "#a5a8ff", "#ff8a90", "#7fd0e0", "#cbb39f", "#c4c4c4"],
};

export function Curves({ charts, x, at, xLabel, onPick }: Props) {
  return (
    <div class="curves">
      {charts.value.map((chart, index) => (
        <Plot key={`${chart.title} ${chart.curves.map((curve) => curve.label).join()}`} {...{ charts, index, x, at, xLabel, onPick }} />
      ))}
    </div>
  );
}

function Plot({ charts, index, x, at, xLabel, onPick }: Props & { index: number }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const cursor = useRef(0);

  // The axes' colours and words are set once by uPlot: it is made anew when they change.
  useSignalEffect(() => {
    const palette = dark.value ? PALETTE.dark : PALETTE.light;
    void language.value;
    const chart = charts.peek()[index];
    const element = box.current;
    if (!chart || !element) return;
    const made = new uPlot(options(chart, palette, element), data(chart, x.peek()), element);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: 170 }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  });
  useSignalEffect(() => {
    const chart = charts.value[index];
    if (chart) plot.current?.setData(data(chart, x.value));
    tell(plot.current);
  });
  useSignalEffect(() => {
    cursor.current = at.value;
    plot.current?.redraw(false, false);
    tell(plot.current);
  });

  /** The legend tells the scrubbed epoch's values, until the pointer asks for others. */
  function tell(made: uPlot | null) {
    const idx = made?.data[0].indexOf(cursor.current) ?? -1;
    if (made && idx >= 0 && made.cursor.left! < 0) made.setLegend({ idx });
  }

  function options(chart: Chart, palette: string[], element: HTMLElement): uPlot.Options {
    const style = getComputedStyle(element);
    const ink = style.getPropertyValue("--muted");
    const grid = { stroke: style.getPropertyValue("--line"), width: 1 };
    const font = `11px ${style.fontFamily}`;
    const told = (value: number | null) => (value === null ? "–" : tellValue(chart.unit, value));
    return {
      width: element.clientWidth, height: 170,
      cursor: { sync: { key: "epochs" }, y: false, drag: { x: false, y: false } },
      legend: { live: true },
      scales: { x: { time: false }, y: chart.unit === "share" ? { range: [0, 1] } : {} },
      axes: [
        { stroke: ink, grid, ticks: grid, font, size: 30 },
        { stroke: ink, grid, ticks: grid, font, size: 48, values: (_, ticks) => ticks.map((tick) => tellValue(chart.unit, tick, true)) },
      ],
      series: [
        { label: xLabel },
        ...chart.curves.map((curve): uPlot.Series => ({
          label: curve.label, stroke: palette[curve.colour % palette.length]!, width: 1.6, points: { show: curve.values.length < 3 },
          ...(curve.dashed ? { dash: [5, 4] } : {}),
          value: (_, value) => told(value),
        })),
      ],
      hooks: {
        ready: [(u) => u.over.addEventListener("click", () => {
          const picked = u.cursor.idx;
          if (picked !== null && picked !== undefined) onPick(u.data[0][picked]!);
        })],
        setCursor: [(u) => {
          if (u.cursor.left! < 0) tell(u);
        }],
        draw: [(u) => {
          const place = u.valToPos(cursor.current, "x", true);
          if (!Number.isFinite(place)) return;
          u.ctx.save();
          u.ctx.strokeStyle = style.getPropertyValue("--accent");
          u.ctx.lineWidth = 2 * devicePixelRatio;
          u.ctx.beginPath();
          u.ctx.moveTo(place, u.bbox.top);
          u.ctx.lineTo(place, u.bbox.top + u.bbox.height);
          u.ctx.stroke();
          u.ctx.restore();
        }],
      },
    };
  }

  const title = charts.value[index]?.title ?? "";
  return (
    <figure class="curve">
      <figcaption>{title}</figcaption>
      <div ref={box} role="img" aria-label={t("curves.described", { title, ...spoken(charts.value[index], x.value, at.value) })} />
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
function spoken(chart: Chart | undefined, x: number[], at: number): { values: string } {
  const place = x.indexOf(at);
  const values = chart?.curves.map((curve) => {
    const value = curve.values[place];
    return `${curve.label} ${value === null || value === undefined ? "–" : tellValue(chart.unit, value)}`;
  });
  return { values: values?.join(", ") ?? "" };
}

/** The charts of one run. */
export function chartsOf(epochs: Epoch[], names: string[], blanks: Record<string, (number | null)[]>): Chart[] {
  const of = (pick: (epoch: Epoch) => number | null) => epochs.map(pick);
  return [
    { title: t("curves.loss"), unit: "nats", curves: [
      { label: t("curves.train"), values: of((e) => e.train_loss), colour: 0, dashed: true },
      { label: t("curves.test"), values: of((e) => e.test_loss), colour: 1 },
    ] },
    { title: t("curves.accuracy"), unit: "share", curves: [
      { label: t("curves.train"), values: of((e) => e.train_accuracy), colour: 0, dashed: true },
      { label: t("curves.test"), values: of((e) => e.test_accuracy), colour: 1 },
    ] },
    { title: t("curves.blank"), unit: "share", curves: Object.entries(blanks).map(([label, values], colour) => ({ label, values, colour })) },
    { title: t("curves.byClass"), unit: "share", curves: names.map((label, index) => ({
      label, values: of((e) => e.per_class_accuracy[index] ?? null), colour: index,
    })) },
    { title: t("curves.rate"), unit: "rate", curves: [{ label: t("curves.rate"), values: of((e) => e.learning_rate), colour: 3 }] },
  ];
}
