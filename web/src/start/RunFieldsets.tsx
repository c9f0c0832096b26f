// The fields of a run's settings, as fieldsets generated from the catalogue's schemas.

import { fetchArchitectures, fetchDatasets, fetchOptimizers, fetchRunSchema, fetchSchedules } from "../api/catalogue";
import { t } from "../text";
import { DatasetCard } from "./DatasetCard";
import {
  type FormCatalogue,
  INPUT,
  namesOf,
  type Part,
  PLANTED,
  parameterFields,
  runFields,
  selectedAlternative,
} from "./runForm";
import { describedBy, Field, Fields, type FormProps, LabeledField } from "./SchemaForm";

export async function fetchFormCatalogue(): Promise<FormCatalogue> {
  const [datasets, architecture, optimizer, schedule, schema] = await Promise.all([
    fetchDatasets(),
    fetchArchitectures(),
    fetchOptimizers(),
    fetchSchedules(),
    fetchRunSchema(),
  ]);
  return { datasets, alternatives: { architecture, optimizer, schedule }, schema };
}

interface Props extends FormProps {
  catalogue: FormCatalogue;
  onSelect: (part: Part, name: string) => void;
}

export function RunFieldsets({ catalogue, onSelect, ...fields }: Props) {
  const { draft } = fields;
  const choice = { catalogue, ...fields, onSelect };
  const { omitted = [] } = fields;
  const { general, dataset, training, plant, augmentation, probes } = runFields(catalogue);
  const selectedDataset = catalogue.datasets.find(({ name }) => name === draft.dataset);
  return (
    <>
      <fieldset>
        <legend>{t("new.general")}</legend>
        <Fields schemas={general} prefix="" {...fields} />
        {!omitted.includes("dataset") && <Field name="dataset" schema={dataset} {...fields} />}
        {selectedDataset && <DatasetCard dataset={selectedDataset} />}
        {draft.dataset === PLANTED && <Fields schemas={plant} prefix="plant." {...fields} />}
        {draft[INPUT] && <p class="note">{t("new.input")}</p>}
      </fieldset>
      <fieldset>
        <legend>{t("new.network")}</legend>
        <PartFields part="architecture" {...choice} />
      </fieldset>
      <fieldset>
        <legend>{t("new.training")}</legend>
        <Fields schemas={training} prefix="" {...fields} />
        <PartFields part="optimizer" {...choice} />
        <PartFields part="schedule" {...choice} />
      </fieldset>
      <fieldset>
        <legend>{t("new.augmentation")}</legend>
        <p class="note">{t("new.augmentationNote")}</p>
        <Fields schemas={augmentation} prefix="augmentation." {...fields} />
      </fieldset>
      <fieldset>
        <legend>{t("new.probes")}</legend>
        <Fields schemas={probes} prefix="probes." {...fields} />
      </fieldset>
    </>
  );
}

interface PartProps extends Props {
  part: Part;
}

/** The choice among a part's alternatives, and the parameters of the selected one. */
function PartFields({ part, catalogue, onSelect, ...fields }: PartProps) {
  const { draft, errors } = fields;
  const name = `${part}.name`;
  const note = selectedAlternative(catalogue, draft, part).description;
  return (
    <>
      {!fields.omitted?.includes(name) && (
        <LabeledField name={name} label={t(`new.${part}`)} errors={errors} note={note}>
          <select
            {...describedBy(name, errors)}
            value={draft[name]}
            onChange={(event) => onSelect(part, event.currentTarget.value)}
          >
            {catalogue.alternatives[part].flatMap(namesOf).map((option) => (
              <option key={option} value={option}>
                {option}
              </option>
            ))}
          </select>
        </LabeledField>
      )}
      <Fields schemas={parameterFields(catalogue, draft, part)} prefix={`${part}.`} {...fields} />
    </>
  );
}
