import type { Run } from "../api/types";
import { Details } from "../components/Details";
import { formatTime, t } from "../text";

export function RunSettings({ run }: { run: Run }) {
  return (
    <Details class="settings" summary={t("run.settings")}>
      {() => (
        <>
          <p class="muted">
            {t("run.created", { when: formatTime(run.created_at) })}
            {run.finished_at && ` · ${t("run.finished", { when: formatTime(run.finished_at) })}`}
          </p>
          <pre>{JSON.stringify(run.spec ?? run.recording, null, 2)}</pre>
        </>
      )}
    </Details>
  );
}
