// A new run, as a form made from the schemas of the catalogue: every parameter with its bounds,
// default and a sentence.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { architectures, datasets, optimizers, specSchema } from "../api/catalogue";
import { ApiError, getJson, postJson } from "../api/client";
import type { Architecture, Dataset, FieldError, Json, Parametrized, Run, Schema } from "../api/types";
import { Failure, Loading } from "../parts/Failure";
import { useDeed } from "../parts/useDeed";
import { go, params } from "../route";
import { t } from "../text";
import { defaults, Fields, Field, read, type Draft } from "./SchemaForm";

interface Catalogue {
  datasets: Dataset[];
  architectures: Architecture[];
  optimizers: Parametrized[];
  spec: Schema;
}

const OWN = ["name", "tags"];
const LEARNING = ["epochs", "samples_per_epoch", "batch_size", "seed", "precision", "device"];

export function NewRun() {
  const catalogue = useSignal<Catalogue | null>(null);
  const failure = useSignal<Error | null>(null);
  const draft = useSignal<Draft>({});
  const optimizer = useSignal("adadelta");
  const errors = useSignal<FieldError[]>([]);
  const deed = useDeed();

  const open = async () => {
    failure.value = null;
    try {
      const [d, a, o, spec] = await Promise.all([datasets(), architectures(), optimizers(), specSchema()]);
      const from = params.peek().get("from");
      const like = from && /^\d+$/.test(from) ? (await getJson<Run>(`/runs/${from}`)).spec : null;
      optimizer.value = String((like?.["optimizer"] as Record<string, Json> | undefined)?.["name"] ?? "adadelta");
      draft.value = filled({ datasets: d, architectures: a, optimizers: o, spec }, optimizer.value, like);
      catalogue.value = { datasets: d, architectures: a, optimizers: o, spec };
    } catch (error) {
      failure.value = error as Error;
    }
  };
  useEffect(() => void open(), []);
  document.title = `${t("new.title")} – Camreel`;
  if (failure.value && !catalogue.value) return <Failure error={failure.value} retry={open} />;
  if (!catalogue.value) return <Loading />;

  const from = params.value.get("from");
  const { spec } = catalogue.value;
  const schemas = spec.properties!;
  const architecture = catalogue.value.architectures[0]!;
  const chosen = catalogue.value.optimizers.find((one) => one.name === optimizer.value)!;
  const dataset = catalogue.value.datasets.find((one) => one.name === draft.value["dataset"]);
  const pick = (names: string[]): Record<string, Schema> => Object.fromEntries(names.map((name) => [name, schemas[name]!]));
  const set = (name: string, value: string) => {
    draft.value = { ...draft.value, [name]: value };
    errors.value = errors.value.filter((error) => !error.field.startsWith(name));
  };
  const send = async (event: Event) => {
    event.preventDefault();
    await deed.act(async () => go(`/runs/${(await postJson<Run>("/runs", body())).id}`));
    const refusal = deed.failure.value;
    errors.value = refusal instanceof ApiError ? (refusal.problem.errors ?? []) : [];
    if (refusal) requestAnimationFrame(() => document.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
  };
  const body = () => ({
    ...read({ ...pick([...OWN, "dataset", ...LEARNING]) }, draft.value, ""),
    architecture: read(architecture.parameters.properties!, draft.value, "architecture."),
    optimizer: { name: optimizer.value, ...read(withoutName(chosen.parameters), draft.value, "optimizer.") },
    probes: read(schemas["probes"]!.properties!, draft.value, "probes."),
  });
  const shared = { draft: draft.value, errors: errors.value, onChange: set };
  return (
    <main class="new" id="content">
      <h1>{t("new.title")}</h1>
      <p class="muted">{from ? t("new.prefilledFrom", { id: from }) : t("new.prefilled")}</p>
      <form onSubmit={send} noValidate>
        <fieldset>
          <legend>{t("new.general")}</legend>
          <Fields schemas={pick(OWN)} prefix="" {...shared} />
          <Field name="dataset" schema={schemas["dataset"]!} {...shared} />
          {dataset && <p class="note">{dataset.title}: {dataset.description} ({dataset.license})</p>}
        </fieldset>
        <fieldset>
          <legend>{t("new.network")}</legend>
          <p class="note">{architecture.description}</p>
          <Fields schemas={architecture.parameters.properties!} prefix="architecture." {...shared} />
        </fieldset>
        <fieldset>
          <legend>{t("new.training")}</legend>
          <Fields schemas={pick(LEARNING)} prefix="" {...shared} />
          <div class="field">
            <label for="optimizer">{t("new.optimizer")}</label>
            <select id="optimizer" value={optimizer.value} onChange={(event) => {
              optimizer.value = event.currentTarget.value;
              const next = catalogue.value!.optimizers.find((one) => one.name === optimizer.value)!;
              draft.value = { ...draft.value, ...defaults(withoutName(next.parameters), "optimizer.") };
            }}>
              {catalogue.value.optimizers.map((one) => <option value={one.name}>{one.name}</option>)}
            </select>
            <p class="note">{chosen.description}</p>
          </div>
          <Fields schemas={withoutName(chosen.parameters)} prefix="optimizer." {...shared} />
        </fieldset>
        <fieldset>
          <legend>{t("new.probes")}</legend>
          <Fields schemas={schemas["probes"]!.properties!} prefix="probes." {...shared} />
        </fieldset>
        {deed.failure.value && <Failure error={deed.failure.value} />}
        <button type="submit" class="primary" aria-disabled={deed.going.value}>{t("new.submit")}</button>
      </form>
    </main>
  );
}

const withoutName = (schema: Schema): Record<string, Schema> =>
  Object.fromEntries(Object.entries(schema.properties!).filter(([name]) => name !== "name"));

/** The draft of a form: the defaults, or what another run was asked to do. */
function filled({ architectures: [architecture], optimizers: all, spec }: Catalogue, optimizer: string, like: Record<string, Json> | null): Draft {
  const schemas = spec.properties!;
  const chosen = all.find((one) => one.name === optimizer) ?? all[0]!;
  return {
    ...defaults(Object.fromEntries([...OWN, "dataset", ...LEARNING].map((name) => [name, schemas[name]!])), "", like),
    ...defaults(architecture!.parameters.properties!, "architecture.", like?.["architecture"] as Record<string, Json> | undefined),
    ...defaults(withoutName(chosen.parameters), "optimizer.", like?.["optimizer"] as Record<string, Json> | undefined),
    ...defaults(schemas["probes"]!.properties!, "probes.", like?.["probes"] as Record<string, Json> | undefined),
  };
}
