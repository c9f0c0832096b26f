import { ApiError, isNotFound } from "../api/client";
import { t } from "../text";
import { problemText } from "../text/problems";
import { Link } from "./Link";

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

/** What went wrong, in the page's language where the page knows the problem. */
export const failureMessage = (error: Error): string =>
  error instanceof ApiError ? problemText(error.problem) : error.message;

function failureText(error: Error): string {
  const status = error instanceof ApiError ? error.problem.status : 0;
  return status ? `${status} · ${failureMessage(error)}` : failureMessage(error);
}

/** A page that cannot be shown: why, and a way out. `retry` is offered unless what the page shows does not exist. */
export function FailurePage({ error, retry }: { error: Error; retry: () => void }) {
  const isMissing = isNotFound(error);
  const title = t(isMissing ? "notFound.title" : "failure.title");
  document.title = `${title} – Camreel`;
  return (
    <main id="content">
      <h1>{title}</h1>
      {isMissing ? <Failure error={error} /> : <Failure error={error} retry={retry} />}
      <p>
        <Link to="">{t("notFound.back")}</Link>
      </p>
    </main>
  );
}

export function Loading({ message }: { message?: string }) {
  return (
    <p class="loading" role="status">
      {message ?? t("loading")}
    </p>
  );
}
