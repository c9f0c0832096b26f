import { ApiError } from "../api/client";
import { t } from "../text";

/** The service's error message, with a button to try again if `retry` is given. */
export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  const status = error instanceof ApiError ? error.problem.status : null;
  const message = status ? `${status} · ${error.message}` : error.message;
  return (
    <div class="failure" role="alert">
      <p>{status === 0 ? t("failure.unreachable") : message}</p>
      {retry && (
        <button type="button" onClick={retry}>
          {t("failure.retry")}
        </button>
      )}
    </div>
  );
}

export function Loading({ message }: { message?: string }) {
  return (
    <p class="loading" role="status">
      {message ?? t("loading")}
    </p>
  );
}
