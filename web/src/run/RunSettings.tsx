import type { Run } from "../api/types";
import { Details } from "../components/Details";
import { catalogue } from "../hooks/useCatalogue";
import type { LayerMenu } from "../maps/layers";
import { formatTime, t } from "../text";
import { LayerTable } from "./LayerTable";

/** The dataset, the network's layers, and all settings of a run. */
export function RunSettings({ run, layerMenu }: { run: Run; layerMenu: LayerMenu }) {
  const name = run.spec?.dataset;
  const dataset = catalogue.datasets.value.find((candidate) => candidate.name === name);
  return (
    <Details class="settings" summary={t("run.settings")}>
      {() => (
        <>
          <p class="muted">
            {t("run.created", { when: formatTime(run.created_at) })}
            {run.finished_at && ` · ${t("run.finished", { when: formatTime(run.finished_at) })}`}
          </p>
          {name && (
            <p>
              {t("run.dataset", { title: dataset?.title ?? name })} <span class="muted">{dataset?.description}</span>
            </p>
          )}
          <LayerTable menu={layerMenu} />
          <pre>{JSON.stringify(run.spec ?? run.recording, null, 2)}</pre>
        </>
      )}
    </Details>
  );
}
