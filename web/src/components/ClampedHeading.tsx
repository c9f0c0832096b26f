import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

/** A heading of at most two lines. Of a longer one, a pointer and the focus show the whole text. */
export function ClampedHeading({ text }: { text: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const isCut = useSignal(false);
  useLayoutEffect(() => {
    const element = heading.current!;
    const measure = () => {
      // While the whole text is shown, nothing is cut, which must not take the focus away.
      if (!element.matches(":focus, :hover")) isCut.value = element.scrollHeight > element.clientHeight + 1;
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [text]);
  return (
    <h1 ref={heading} class="clamped" title={isCut.value ? text : undefined} tabIndex={isCut.value ? 0 : undefined}>
      {text}
    </h1>
  );
}
