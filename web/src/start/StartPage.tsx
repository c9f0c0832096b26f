// The runs, newest first, with what is known of each at a glance.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { address } from "../api/address";
import { getJson, postJson } from "../api/client";
import { follow, hasEnded } from "../api/events";
import type { Run } from "../api/types";
import { Failure, Loading } from "../parts/Failure";
import { Link } from "../parts/Link";
import { Progress, runName, StatusBadge } from "../parts/StatusBadge";
import { useSignalLayoutEffect } from "../parts/signalLayoutEffect";
import { useDeed } from "../parts/useDeed";
import { go, params, replaceParams } from "../route";
import { moment, percent, t } from "../text";
import { Sparkline } from "./Sparkline";

interface Found {
  items: Run[];
  next: string | null;
}

/** What was found, and by which question: answers of two questions are never mixed. */
interface Answer extends Found {
  key: string;
}

const MAX_FOLLOWED = 50;
const REFRESH = 5000; // ms: runs that others started appear

export function StartPage() {
  const found = useSignal<Answer | null>(null);
  const failure = useSignal<Error | null>(null);
  const picked = useSignal<number[]>([]);
  const search = params.value.get("search") ?? "";
  const tag = params.value.get("tag") ?? "";
  const status = params.value.get("status") ?? "";
  const asked = { search: search || null, tag: tag || null, status: status || null, limit: 50 };
  const key = address("", asked);

  const latest = useRef(key);
  latest.current = key;

  const read = async () => {
    try {
      const first = await getJson<Found>("/runs", asked);
      if (latest.current !== key) return;
      // What was fetched of older runs stays.
      const before = found.value?.key === key ? found.value : null;
      const older = before?.items.filter((run) => run.id < (first.items.at(-1)?.id ?? 0)) ?? [];
      found.value = older.length ? { key, items: [...first.items, ...older], next: before!.next } : { key, ...first };
      failure.value = null;
    } catch (error) {
      if (latest.current === key) failure.value = error as Error;
    }
  };
  useEffect(() => {
    found.value = null;
    void read();
    const timer = setInterval(() => document.hidden || void read(), REFRESH);
    return () => clearInterval(timer);
  }, [key]);

  const live = found.value?.items.filter((run) => !hasEnded(run)).slice(0, MAX_FOLLOWED) ?? [];
  const renewals = useSignal(0);
  useEffect(() => {
    let renew = 0;
    const stops = live.map((one) => follow(one, {
      status: put,
      epoch: () => {},
      progress: (progress) => change(one.id, (run) => ({ ...run, progress: { ...run.progress, images_seen: progress.images_seen } })),
      connection: (_, lost) => {
        if (lost) renew = window.setTimeout(() => renewals.value++, REFRESH);
      },
    }));
    return () => {
      clearTimeout(renew);
      stops.forEach((stop) => stop());
    };
  }, [live.map((run) => run.id).join(), renewals.value]);
  const change = (id: number, by: (run: Run) => Run) => {
    if (found.value) found.value = { ...found.value, items: found.value.items.map((run) => (run.id === id ? by(run) : run)) };
  };
  const put = (run: Run) => change(run.id, () => run);

  const more = async () => {
    try {
      const before = found.value!;
      const next = await getJson<Found>("/runs", { ...asked, cursor: before.next });
      if (latest.current === key) found.value = { key, items: [...before.items, ...next.items], next: next.next };
    } catch (error) {
      if (latest.current === key) failure.value = error as Error;
    }
  };
  document.title = "Camreel";
  const filtered = Boolean(search || tag || status);
  return (
    <main class="start" id="content">
      <div class="start-head">
        <h1>{t("start.title")}</h1>
        <Link to="/new" class="button primary">{t("start.new")}</Link>
      </div>
      {failure.value && <Failure error={failure.value} retry={read} />}
      {!found.value && !failure.value && <Loading />}
      {found.value && !found.value.items.length && !filtered && <Empty />}
      {(filtered || Boolean(found.value?.items.length)) && (
        <>
          <Filters search={search} status={status} tag={tag} />
          {picked.value.length > 0 && (
            <p class="picked" role="status">
              {t("start.selected", { count: picked.value.length })}{" "}
              {picked.value.length > 1
                ? <Link to={`/compare?runs=${picked.value.join(",")}`} class="button primary">{t("start.compare")}</Link>
                : t("start.selectMore")}
            </p>
          )}
          {found.value && <RunTable runs={found.value.items} picked={picked.value} onPick={(id) => {
            const now = picked.value;
            picked.value = now.includes(id) ? now.filter((one) => one !== id) : [...now, id].slice(-6);
          }} />}
          {found.value && !found.value.items.length && <p class="muted">{t("start.none")}</p>}
          {found.value?.next && <button type="button" onClick={more}>{t("start.more")}</button>}
        </>
      )}
    </main>
  );
}

function Filters({ search, status, tag }: { search: string; status: string; tag: string }) {
  const typed = useSignal(search);
  useSignalLayoutEffect(() => {
    const text = typed.value;
    const timer = setTimeout(() => replaceParams({ search: text || null }), 250);
    return () => clearTimeout(timer);
  });
  return (
    <search class="filters">
      <label>
        <span>{t("start.search")}</span>
        <input type="search" value={typed.value} onInput={(event) => (typed.value = event.currentTarget.value)} maxLength={100} />
      </label>
      <label>
        <span>{t("start.status")}</span>
        <select value={status} onChange={(event) => replaceParams({ status: event.currentTarget.value || null })}>
          <option value="">{t("start.any")}</option>
          {(["queued", "running", "succeeded", "failed", "cancelled"] as const).map((one) => <option value={one}>{t(`status.${one}`)}</option>)}
        </select>
      </label>
      {tag && (
        <button type="button" class="tag chosen" onClick={() => replaceParams({ tag: null })} aria-label={t("start.untag", { tag })}>
          {tag} ×
        </button>
      )}
    </search>
  );
}

function RunTable({ runs, picked, onPick }: { runs: Run[]; picked: number[]; onPick: (id: number) => void }) {
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-label={t("start.title")}>
      <table class="runs">
        <thead>
          <tr>
            <th><span class="visually-hidden">{t("start.compare")}</span></th>
            <th>{t("start.run")}</th>
            <th>{t("start.status")}</th>
            <th>{t("start.accuracy")}</th>
            <th>{t("start.blank")}</th>
            <th>{t("start.created")}</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={run.id}>
              <td>
                <input type="checkbox" checked={picked.includes(run.id)} onChange={() => onPick(run.id)} aria-label={t("start.select", { name: runName(run) })} />
              </td>
              <th scope="row">
                <Link to={`/runs/${run.id}`}>{runName(run)}</Link>
                <span class="muted"> #{run.id} · {run.spec.dataset}</span>
                <div>{run.tags.map((tag) => <button type="button" class="tag" onClick={() => replaceParams({ tag })}>{tag}</button>)}</div>
              </th>
              <td>
                <StatusBadge run={run} />
                <div class="muted">{t("run.epochs", { done: Math.max(0, run.epochs_done), total: run.epochs_total })}</div>
                {!hasEnded(run) && <Progress run={run} />}
              </td>
              <td class="figure">
                <Sparkline values={run.summary.test_accuracy} />
                {run.summary.test_accuracy.length > 0 && percent(run.summary.test_accuracy.at(-1)!, 2)}
              </td>
              <td class="figure"><BlankShare run={run} /></td>
              <td class="muted">{moment(run.created_at)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function BlankShare({ run }: { run: Run }) {
  return (
    <>
      {Object.entries(run.summary.blank).map(([method, { total, blank }]) => total > 0 && (
        <div class="blank-share" title={t("start.blankOf", { method, blank, total })}>
          <span class="muted">{method}</span> {percent(blank / total, 0)}
        </div>
      ))}
    </>
  );
}

/** No run yet: what this is, in two sentences, and the paper's run with one button. */
function Empty() {
  const { act, failure } = useDeed();
  const begin = (spec: object) => act(async () => go(`/runs/${(await postJson<Run>("/runs", spec)).id}`));
  return (
    <section class="empty">
      <p>{t("welcome.camreel")}</p>
      <p>{t("welcome.paper")}</p>
      <div class="deeds">
        <button type="button" class="primary" onClick={() => begin({ name: t("welcome.name"), tags: ["paper"] })}>{t("welcome.start")}</button>
        <button type="button" onClick={() => begin({ name: t("welcome.demo.name"), dataset: "digits", epochs: 20 })}>{t("welcome.demo")}</button>
        <Link to="/new" class="button">{t("welcome.form")}</Link>
      </div>
      {failure.value && <Failure error={failure.value} />}
    </section>
  );
}
