import { ApiError } from "../api/client";
import { t } from "../text";

/** What went wrong, in the service's own words, and how to try again. */
export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  const unreachable = error instanceof ApiError && error.problem.status === 0;
  const status = error instanceof ApiError && error.problem.status > 0 ? `${error.problem.status} · ` : "";
  return (
    <div class="failure" role="alert">
      <p>{unreachable ? t("failure.unreachable") : `${status}${error.message}`}</p>
      {retry && <button type="button" onClick={retry}>{t("failure.retry")}</button>}
    </div>
  );
}

export function Loading({ what }: { what?: string }) {
  return <p class="loading" role="status">{what ?? t("loading")}</p>;
}
