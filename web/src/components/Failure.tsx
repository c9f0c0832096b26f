import { ApiError } from "../api/client";
import { t } from "../text";
import { problemText } from "../text/problems";

/** The service's error message, with a button to try again if `retry` is given. */
export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  return (
    <div class="failure" role="alert">
      <p>{failureText(error)}</p>
      {retry && (
        <button type="button" onClick={retry}>
          {t("failure.retry")}
        </button>
      )}
    </div>
  );
}

function failureText(error: Error): string {
  if (!(error instanceof ApiError)) return error.message;
  const { status } = error.problem;
  return status ? `${status} · ${problemText(error.problem)}` : problemText(error.problem);
}

export function Loading({ message }: { message?: string }) {
  return (
    <p class="loading" role="status">
      {message ?? t("loading")}
    </p>
  );
}
