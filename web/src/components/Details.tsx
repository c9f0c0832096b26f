import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";

interface Props {
  class: string;
  summary: string;
  children: () => ComponentChildren;
}

/** A disclosure, closed at first. Its content is rendered only while it is open. */
export function Details({ class: name, summary, children }: Props) {
  const isOpen = useSignal(false);
  return (
    <details class={name} onToggle={(event) => (isOpen.value = event.currentTarget.open)}>
      <summary>{summary}</summary>
      {isOpen.value && children()}
    </details>
  );
}
