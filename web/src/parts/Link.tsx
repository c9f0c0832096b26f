import type { ComponentChildren } from "preact";
import { go, link } from "../route";

interface Props {
  to: string;
  class?: string;
  children: ComponentChildren;
  "aria-current"?: "page" | undefined;
}

/** A link within the page; opened in a new tab it is an address like any other. */
export function Link({ to, children, ...rest }: Props) {
  return (
    <a
      href={link(to)} {...rest}
      onClick={(event) => {
        if (event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}
