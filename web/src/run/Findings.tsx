// What the service concludes from the stored results of a run, and pictures of its classes.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { address, ROOT } from "../api/address";
import { getSentences } from "../api/client";
import { networkIdle } from "../api/pending";
import { hasEnded } from "../api/runEvents";
import type { Finding, Findings, Run } from "../api/types";
import { Details } from "../components/Details";
import { language, significant, t, tIfKnown } from "../text";

/** The findings of a run. They are loaded again when the run ends, and in another language. */
export function FindingsPanel({ run }: { run: Run }) {
  const findings = useSignal<Findings | null>(null);
  const selectedLanguage = language.value;
  const isFinal = hasEnded(run);
  useEffect(() => {
    const controller = new AbortController();
    networkIdle()
      .then(() => getSentences<Findings>(`/runs/${run.id}/findings`, selectedLanguage, controller.signal))
      .then(
        (response) => (findings.value = response),
        () => {}, // the page shows the maps without conclusions
      );
    return () => controller.abort();
  }, [run.id, isFinal, selectedLanguage]);
  if (!findings.value) return null;
  const { items, unavailable } = findings.value;
  const gaps = isFinal ? unavailable : []; // what is not examined yet may be later
  const isEmpty = !items.length && !gaps.length;
  return (
    <section class="findings" aria-labelledby="findings-heading">
      <h2 id="findings-heading">{t("findings.title")}</h2>
      {isEmpty && <p class="muted">{t(isFinal ? "findings.none" : "findings.later")}</p>}
      {items.map((finding) => (
        <FindingEntry key={finding.id} run={run} finding={finding} />
      ))}
      {gaps.length > 0 && (
        <Details class="gaps" summary={t("findings.gaps", { count: gaps.length })}>
          {() => gaps.map((gap) => <p key={gap.kind + gap.reason}>{gap.sentence}</p>)}
        </Details>
      )}
      <ClassPictures run={run} hasMap={items.some((finding) => finding.links.picture)} />
    </section>
  );
}

const epochsText = (first: number, last: number): string =>
  first === last ? t("findings.epoch", { epoch: last }) : t("findings.epochs", { first, last });

function FindingEntry({ run, finding }: { run: Run; finding: Finding }) {
  const [first, last] = finding.epochs ?? [null, null];
  return (
    <article class={`finding severity-${finding.severity}`}>
      <p>
        <b>{finding.severity_label}</b> {finding.sentence}{" "}
        {last !== null && <span class="muted">{epochsText(first ?? last, last)}</span>}{" "}
        <a href={`${ROOT}/${finding.links.page}`}>{t("findings.reel")}</a>
      </p>
      <Details class="evidence" summary={t("findings.evidence")}>
        {() => (
          <>
            <ul>
              {finding.evidence.map(({ name, value, threshold, n }) => (
                <li key={name}>
                  {tIfKnown(`evidence.${name}`) ?? name}: {significant(value)}
                  {threshold !== null && ` (${t("findings.threshold", { threshold: significant(threshold) })})`}, n ={" "}
                  {n}
                </li>
              ))}
            </ul>
            <p class="muted">{t("findings.refutation", { text: finding.refutation })}</p>
            {finding.images.length > 0 && <FindingImages run={run} images={finding.images} />}
          </>
        )}
      </Details>
    </article>
  );
}

/** The images that show a finding; each opens in the reel. */
function FindingImages({ run, images }: { run: Run; images: string[] }) {
  return (
    <ul class="finding-images" aria-label={t("findings.images")}>
      {images.map((image) => (
        <li key={image}>
          <a href={`${ROOT}/app/runs/${run.id}?image=${encodeURIComponent(image)}`} title={image}>
            <img src={address(`/runs/${run.id}/images/${image}`)} alt={image} width={44} height={44} loading="lazy" />
          </a>
        </li>
      ))}
    </ul>
  );
}

/** Pictures that are drawn when they are opened, because they may take seconds. */
function ClassPictures({ run, hasMap }: { run: Run; hasMap: boolean }) {
  const pictures = [
    ...(hasMap || hasEnded(run) ? [{ name: "exchange-map", text: "findings.exchangeMap" } as const] : []),
    { name: "class-means", text: "findings.classMeans" } as const,
  ];
  return (
    <>
      {pictures.map(({ name, text }) => (
        <Details key={name} class="class-picture" summary={t(text)}>
          {() => <Picture url={address(`/runs/${run.id}/${name}`)} description={t(`${text}.note`)} />}
        </Details>
      ))}
    </>
  );
}

function Picture({ url, description }: { url: string; description: string }) {
  const hasFailed = useSignal(false);
  return (
    <figure>
      <figcaption class="muted">{hasFailed.value ? t("findings.noPicture") : description}</figcaption>
      {!hasFailed.value && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        <div class="picture-scroll" tabIndex={0} role="region" aria-label={description}>
          <img src={url} alt={description} onError={() => (hasFailed.value = true)} />
        </div>
      )}
    </figure>
  );
}
