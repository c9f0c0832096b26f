import type { ComponentChildren } from "preact";
import { href, navigate } from "../navigation";

interface Props {
  to: string; // path within the page
  class?: string;
  children: ComponentChildren;
  "aria-current"?: "page" | undefined;
}

/** A link within the page. With a modifier key the browser follows it as any other link. */
export function Link({ to, children, ...attributes }: Props) {
  const onClick = (event: MouseEvent) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a href={href(to)} {...attributes} onClick={onClick}>
      {children}
    </a>
  );
}
