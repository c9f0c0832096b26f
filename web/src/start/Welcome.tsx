import { hasScope } from "../access/session";
import { fetchDatasets } from "../api/catalogue";
import { postJson } from "../api/client";
import type { Run } from "../api/types";
import { Failure } from "../components/Failure";
import { Link } from "../components/Link";
import { useAction } from "../hooks/useAction";
import { navigate } from "../navigation";
import { t } from "../text";

const DEMO_EPOCHS = 20;

/** What Camreel is, and buttons that start a first run. */
export function Welcome() {
  const { run, failure } = useAction();
  const start = async (spec: object) => navigate(`/runs/${(await postJson<Run>("/runs", spec)).id}`);
  const startPaper = () => run(() => start({ name: t("welcome.name"), tags: ["paper"] }));
  const startDemo = () =>
    run(async () => {
      const bundled = (await fetchDatasets()).find((dataset) => dataset.bundled);
      await start({ name: t("welcome.demo.name"), dataset: bundled?.name, epochs: DEMO_EPOCHS });
    });
  return (
    <section class="welcome">
      <p>{t("welcome.camreel")}</p>
      <p>{t("welcome.paper")}</p>
      <div class="actions">
        <button type="button" class="primary" disabled={!hasScope("run")} onClick={startPaper}>
          {t("welcome.start")}
        </button>
        <button type="button" disabled={!hasScope("run")} onClick={startDemo}>
          {t("welcome.demo", { epochs: DEMO_EPOCHS })}
        </button>
        {hasScope("run") && (
          <Link to="/new" class="button">
            {t("welcome.form")}
          </Link>
        )}
      </div>
      {failure.value && <Failure error={failure.value} />}
    </section>
  );
}
