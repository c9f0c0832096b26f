import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";

interface Props {
  class: string;
  summary: string;
  children: () => ComponentChildren;
}

/** A part that is closed at first, and made when it is opened. */
export function Details({ class: name, summary, children }: Props) {
  const open = useSignal(false);
  return (
    <details class={name} onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>{summary}</summary>
      {open.value && children()}
    </details>
  );
}
