import { t } from "../text";
import { hasScope, type Scope, session } from "./session";

interface Props {
  scopes: Scope[]; // that the controls beside the note require
  id?: string;
}

/** Why controls are disabled: the scopes that the session lacks; nothing if it has them. */
export function ScopeNote({ scopes, id }: Props) {
  const current = session.value;
  const missing = scopes.filter((scope) => !hasScope(scope));
  if (current.state !== "signedIn" || !missing.length) return null;
  return (
    <p class="note scope-note" id={id}>
      {[t("access.scope", { scope: current.scope }), ...missing.map((scope) => t(`access.requires.${scope}`))].join(
        " ",
      )}
    </p>
  );
}
