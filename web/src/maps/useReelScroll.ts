import { batch, type ReadonlySignal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { useAnimationFrame } from "../hooks/useAnimationFrame";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { GROUP_GAP, HEADER_HEIGHT, LABEL_WIDTH, lineHeight, RIGHT_MARGIN } from "./layout";
import type { ReelCanvasProps } from "./ReelCanvas";

const MIN_VIEWPORT_WIDTH = 200;

export interface ScrollOffset {
  left: number;
  top: number;
}

export interface ReelScroll {
  visible: ReadonlySignal<{ width: number; height: number; maxHeight: number }>; // CSS pixels
  offset: ReadonlySignal<ScrollOffset>;
  readOffset: () => void;
  measure: () => void;
}

/** Size and scroll offset of the reel's box. Scrolls to the cursor's column and to the selected line. */
export function useReelScroll(
  box: RefObject<HTMLDivElement | null>,
  props: ReelCanvasProps,
  tops: ReadonlySignal<number[]>,
): ReelScroll {
  const visible = useSignal({ width: 0, height: 0, maxHeight: 0 });
  const offset = useSignal<ScrollOffset>({ left: 0, top: 0 });

  const readOffset = () => {
    const { scrollLeft: left, scrollTop: top } = box.current!;
    offset.value = { left, top };
  };
  const scrollTo = (target: ScrollToOptions) => {
    box.current!.scrollTo({ ...target, behavior: "instant" });
    readOffset();
  };
  const measure = () => {
    const next = measureBox(box.current!);
    const { width, height, maxHeight } = visible.peek();
    if (next.width === width && next.height === height && next.maxHeight === maxHeight) return;
    batch(() => {
      visible.value = next;
      const cellsWidth = Math.max(MIN_VIEWPORT_WIDTH, next.width - LABEL_WIDTH - RIGHT_MARGIN);
      props.onResize({ width: cellsWidth, height: next.maxHeight });
    });
  };
  useLayoutEffect(() => {
    measure(); // the observer would report it a frame later
    const observer = new ResizeObserver(measure);
    observer.observe(box.current!);
    addEventListener("resize", measure); // changes the maximal height, even if the box stays as it is
    return () => {
      observer.disconnect();
      removeEventListener("resize", measure);
    };
  }, []);

  /** The horizontal scroll offset that shows a column; null if it is visible. */
  const columnScroll = (left: number, cellSize: number): number | null => {
    const width = visible.peek().width - LABEL_WIDTH;
    const isVisible = left >= offset.peek().left && left + cellSize <= offset.peek().left + width;
    return width <= 0 || isVisible ? null : Math.max(0, left - width / 2);
  };
  const showColumn = useAnimationFrame(() => {
    const left = columnScroll(props.cursorColumn.peek() * props.cellSize.peek(), props.cellSize.peek());
    if (left !== null) scrollTo({ left });
  });
  const showLine = useAnimationFrame(() => {
    measure(); // new lines may have changed the height of the box
    const { height } = visible.peek();
    const index = props.lines.peek().findIndex((line) => line.key === props.selectedKey.peek());
    const top = tops.peek()[index];
    if (top === undefined || !height) return;
    const bottom = top + lineHeight(props.cellSize.peek());
    if (top < offset.peek().top + HEADER_HEIGHT) scrollTo({ top: top - HEADER_HEIGHT });
    else if (bottom > offset.peek().top + height) scrollTo({ top: bottom + GROUP_GAP - height });
  });
  useSignalLayoutEffect(() => {
    void [props.cursorColumn.value, props.cellSize.value, visible.value.width];
    showColumn();
  });
  useSignalLayoutEffect(() => {
    void [props.selectedKey.value, props.cellSize.value, visible.value.height];
    showLine();
  });
  return { visible, offset, readOffset, measure };
}

/** Inner size of the box, and the inner height up to which it can grow. */
function measureBox(element: HTMLElement): { width: number; height: number; maxHeight: number } {
  const { clientWidth: width, clientHeight: height, offsetHeight } = element;
  const outerMaxHeight = parseFloat(getComputedStyle(element).maxHeight) || Infinity;
  return { width, height, maxHeight: outerMaxHeight - (offsetHeight - height) };
}
