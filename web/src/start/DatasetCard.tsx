// What is known of the selected dataset: counts, classes with a sample of each, and flaws of an image folder.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { address } from "../api/address";
import { getJson } from "../api/client";
import type { Dataset, DatasetImage, DatasetReport } from "../api/types";
import { Failure, Loading } from "../components/Failure";
import { number, t } from "../text";

const MAX_SAMPLES = 10; // classes of which an image is shown
const SAMPLE_SIDE = 96; // pixels of the longer side, twice the displayed ones

const NOTABLE_IMBALANCE = 1.5; // images of the largest class by those of the smallest

/** An image of a class. */
interface Sample {
  classIndex: number;
  image: DatasetImage | null; // null: the class has no test images
}

export function DatasetCard({ dataset }: { dataset: Dataset }) {
  const report = useSignal<DatasetReport | null>(null);
  const samples = useSignal<Sample[]>([]);
  const failure = useSignal<Error | null>(null);
  useEffect(() => {
    const request = new AbortController();
    report.value = failure.value = null;
    samples.value = [];
    const load = async () => {
      report.value = await getJson<DatasetReport>(pathOf(dataset), {}, request.signal);
      samples.value = await fetchSamples(dataset, report.value, request.signal);
    };
    load().catch((error) => {
      if (!request.signal.aborted) failure.value = error as Error;
    });
    return () => request.abort();
  }, [dataset.name]);
  return (
    <section class="dataset-card" aria-label={dataset.title} aria-busy={!report.value && !failure.value}>
      <p class="note">
        <b>{dataset.title}</b>: {dataset.description} {dataset.license && `(${dataset.license})`}
      </p>
      {failure.value && <Failure error={failure.value} />}
      {!report.value && !failure.value && <Loading message={t("dataset.loading")} />}
      {report.value && <p class="note">{facts(report.value).join(" · ")}</p>}
      {report.value && <Samples report={report.value} samples={samples.value} />}
    </section>
  );
}

const pathOf = ({ name }: Dataset): string => `/datasets/${encodeURIComponent(name)}`;

/** The first test image of each of the first classes; none of a dataset that is not there. */
async function fetchSamples(dataset: Dataset, report: DatasetReport, signal: AbortSignal): Promise<Sample[]> {
  const classes = report.status === "ready" ? report.classes.slice(0, MAX_SAMPLES) : [];
  return Promise.all(
    classes.map(async ({ test }, classIndex) => {
      if (!test) return { classIndex, image: null };
      const params = { class: report.class_names[classIndex]!, limit: 1 };
      const page = await getJson<{ items: DatasetImage[] }>(`${pathOf(dataset)}/images`, params, signal);
      return { classIndex, image: page.items[0] ?? null };
    }),
  );
}

function facts(report: DatasetReport): string[] {
  const { status, image_shape: shape, train_size, test_size, class_names, imbalance } = report;
  if (status === "missing") return [t("dataset.missing")];
  const counts = { train: number(train_size), test: number(test_size), classes: number(class_names.length) };
  return [
    status === "unusable" ? t("dataset.unusable") : "",
    t("dataset.counts", counts),
    shape ? t("dataset.shape", { width: shape[2], height: shape[1], channels: shape[0] }) : t("dataset.shapes"),
    imbalance !== null && imbalance >= NOTABLE_IMBALANCE ? t("dataset.imbalance", { ratio: number(imbalance, 1) }) : "",
    report.duplicates ? t("dataset.duplicates", { count: number(report.duplicates) }) : "",
    report.skipped_total ? t("dataset.skipped", { count: number(report.skipped_total) }) : "",
  ].filter(Boolean);
}

function Samples({ report, samples }: { report: DatasetReport; samples: Sample[] }) {
  const more = report.classes.length - samples.length;
  return (
    <ul class="samples">
      {samples.map(({ classIndex, image }) => {
        const { name, train, test } = report.classes[classIndex]!;
        return (
          <li key={classIndex}>
            {image && <img src={sampleAddress(report, image)} alt={t("dataset.sample", { name })} />}
            <span title={name}>{name}</span>
            <span class="muted" title={t("dataset.class.help")}>
              {t("dataset.class", { train: number(train), test: number(test) })}
            </span>
          </li>
        );
      })}
      {samples.length > 0 && more > 0 && <li class="muted">{t("dataset.more", { count: number(more) })}</li>}
    </ul>
  );
}

const sampleAddress = (dataset: Dataset, { image }: DatasetImage): string =>
  address(`${pathOf(dataset)}/images/${image}`, { size: SAMPLE_SIDE });
