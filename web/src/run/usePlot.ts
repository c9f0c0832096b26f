import { useComputed } from "@preact/signals";
import type { RefObject } from "preact";
import { useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { language } from "../text";
import { isDark } from "../theme";
import type { ChartProps } from "./Curves";
import type { Chart } from "./charts";
import { drawBlankMarks, PLOT_HEIGHT, plotData, plotOptions } from "./plotOptions";

/** Draws a chart into `box` with uPlot, and the marker of the selected position above it. */
export function usePlot(box: RefObject<HTMLDivElement | null>, props: ChartProps): void {
  const { chart, x, position, xLabel, onSelect, themeOf, onResize } = props;
  const plot = useRef<uPlot | null>(null);
  const drawn = useRef<[Chart, number[]] | null>(null);
  const markedX = useRef(0);
  const marker = useRef<HTMLElement | null>(null);
  const labels = useComputed(() => chart.value.curves.map((curve) => curve.label).join("\n"));

  // uPlot cannot change the curves, colors and texts of a plot: when they change, a new plot replaces it.
  useSignalLayoutEffect(() => {
    void [isDark.value, language.value];
    const element = box.current;
    if (!labels.value || !element) return; // nothing to draw yet
    markedX.current = position.peek();
    drawn.current = [chart.peek(), x.peek()];
    const options = plotOptions(drawnChart, xLabel, themeOf(element), {
      init: [createMarker],
      setCursor: [(u) => u.cursor.left! < 0 && showLegend(u)],
      draw: [(u) => drawBlankMarks(u, drawnChart()), moveMarker],
    });
    const created = new uPlot(options, plotData(...drawn.current), element);
    plot.current = created;
    showLegend(created);
    const observer = new ResizeObserver(() => {
      if (created.width === element.clientWidth) return;
      onResize();
      created.setSize({ width: element.clientWidth, height: PLOT_HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      created.destroy();
      plot.current = null;
    };
  });
  useSignalLayoutEffect(() => {
    const [nextChart, nextX] = [chart.value, x.value];
    if (drawn.current?.[0] === nextChart && drawn.current[1] === nextX) return;
    drawn.current = [nextChart, nextX];
    if (!plot.current) return;
    plot.current.setData(plotData(nextChart, nextX));
    showLegend(plot.current);
  });
  useSignalLayoutEffect(() => {
    if (markedX.current === position.value) return;
    markedX.current = position.value;
    if (!plot.current) return;
    moveMarker(plot.current);
    showLegend(plot.current);
  });

  function drawnChart(): Chart {
    return drawn.current![0];
  }

  function createMarker(u: uPlot): void {
    marker.current = u.over.appendChild(Object.assign(document.createElement("div"), { className: "curve-cursor" }));
    u.over.addEventListener("click", () => {
      const { idx } = u.cursor;
      if (idx !== null && idx !== undefined) onSelect(u.data[0][idx]!);
    });
  }

  /** The marker is an element above the plot, so that the plot is not drawn again when it moves. */
  function moveMarker(u: uPlot): void {
    const left = u.valToPos(markedX.current, "x");
    marker.current!.hidden = !Number.isFinite(left);
    marker.current!.style.transform = `translateX(${left}px)`;
  }

  /** The legend shows the values at the marker, unless the pointer is over the plot. */
  function showLegend(u: uPlot): void {
    const idx = u.data[0].indexOf(markedX.current);
    if (idx >= 0 && u.cursor.left! < 0) u.setLegend({ idx });
  }
}
