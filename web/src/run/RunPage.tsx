// One run: the reel, the scrubber, and all that follows the epoch under it.

import { batch, computed, effect, signal, untracked, useComputed } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo } from "preact/hooks";
import { postJson, remove } from "../api/client";
import { hasEnded } from "../api/events";
import type { Run } from "../api/types";
import { arrived, loadProbes } from "../maps/images";
import { knownColormaps, table } from "../maps/colours";
import { Reel } from "../maps/reel";
import { ReelCanvas, type Columns, type Line, type Room } from "../maps/ReelCanvas";
import type { Look } from "../maps/paint";
import type { Scale, Style } from "../maps/scale";
import { Details } from "../parts/Details";
import { Failure, Loading } from "../parts/Failure";
import { Link } from "../parts/Link";
import { Progress, runName, StatusBadge } from "../parts/StatusBadge";
import { useDeed } from "../parts/useDeed";
import { go } from "../route";
import { moment, ordinal, percent, t } from "../text";
import { chartsOf, Curves } from "./Curves";
import { followBlanks, followRun, isGone } from "./following";
import { imageName } from "./imageName";
import { listen } from "./keys";
import { LargeView, type Shot } from "./LargeView";
import { askWhatIsOffered } from "./offered";
import { Options } from "./Options";
import { OwnImage } from "./OwnImage";
import { RowLabel } from "./RowLabel";
import { followScores, mostLikely } from "./probabilities";
import { Scores } from "./Scores";
import { Scrubber } from "./Scrubber";
import { TakeAway } from "./TakeAway";
import { TrainOn } from "./TrainOn";
import { fitting, linesOf, openView, sampled, zoom, type View } from "./view";

const WHOLE_AT_MOST = 400; // epochs of which all maps are fetched, whatever is shown

export function RunPage({ id }: { id: number }) {
  const model = useMemo(() => taken(id), [id]);
  useLayoutEffect(() => model.close, [model]); // also of a page that is left before its first frame
  const { following, view, state } = model;
  const run = following.run.value;
  const failure = following.failure.value;

  useEffect(() => listen({
    view,
    step: (by) => model.seek(state.epoch.peek() + by),
    seek: model.seek,
    last: () => state.last.peek(),
    row: model.stepRow,
    play: () => (state.playing.value = !state.playing.peek()),
    follow: model.followLatest,
    zoom: model.zoom,
  }), [model]);

  if (failure && (!run || isGone(failure))) return <Failure error={failure} retry={following.refresh} />;
  if (!run) return <Loading />;
  const live = !hasEnded(run);
  document.title = `${runName(run)} – Camreel`;
  return (
    <main class="run" id="content">
      <RunHead run={run} model={model} />
      {run.error && <div class="failure" role="alert"><p><b>{run.error.type}</b> {run.error.detail}</p></div>}
      {live && !following.connected.value && <p class="notice" role="status">{t("run.reconnecting")}</p>}
      {state.last.value < 0 ? (
        <Loading what={run.status === "queued" ? t("run.queued") : live ? t("run.first") : t("run.nothing")} />
      ) : (
        <>
          <Options view={view} onZoom={model.zoom} pair />
          <div class="stage">
            <ReelSection model={model} />
            <aside class="side" aria-label={t("preview.title")}>
              <LargeView dataset={run.spec.dataset} image={state.image} shots={model.shots} />
              <Scores scores={model.scores} image={state.image} epoch={state.epoch} />
              <OwnImage dataset={run.spec.dataset} onTaken={model.lookAt} />
            </aside>
          </div>
          <div class="dock">
            <Scrubber
              epoch={state.epoch} last={state.last} playing={state.playing} live={live}
              label={(epoch) => t("scrubber.at", { epoch })} follows={state.follows}
              onSeek={model.seek} onFollow={model.followLatest}
            />
          </div>
          <p class="visually-hidden" role="status" aria-live="polite">{state.playing.value ? "" : spoken(model)}</p>
          <Curves charts={model.charts} x={model.numbers} at={state.epoch} xLabel={t("scrubber.epoch")} onPick={model.seek} />
          <TakeAway runId={id} view={view} row={model.selectedRow.value} />
          <Facts run={run} />
        </>
      )}
    </main>
  );
}

type Model = ReturnType<typeof open>;

let ahead: { id: number; model: Model } | null = null;

/** Begin to read a run before its page is shown. */
export function openAhead(id: number): void {
  ahead = { id, model: open(id) };
}

function taken(id: number): Model {
  const early = ahead;
  ahead = null;
  // What failed may have failed for want of a sign-in that has come meanwhile.
  if (early?.id === id && !early.model.following.failure.peek()) return early.model;
  early?.model.close();
  return open(id);
}

function open(id: number) {
  const following = followRun(id);
  const { view, close: closeView } = openView();
  void askWhatIsOffered(view);
  const room = signal<Room>({ width: 1000, height: Infinity }); // until it is measured
  const playing = signal(false);
  const reel = signal<Reel | null>(null);

  const last = computed(() => following.epochs.value.length - 1);
  const epoch = computed(() => Math.min(view.epoch.value ?? Math.max(0, last.value), Math.max(0, last.value)));
  const follows = computed(() => view.epoch.value === null);
  const image = computed(() => {
    const probes = following.probes.value;
    // Classes can be those of any image, an own one as well.
    const there = view.rows.value === "classes" || probes.some((probe) => probe.image === view.image.value);
    return (there && view.image.value) || (probes[0]?.image ?? null);
  });

  const scores = followScores(id, view.image, image, epoch, last);

  const fit = computed(() => {
    const count = Math.max(1, last.value + 1);
    const rows = view.rows.value === "probes" ? following.probes.value.length : scores.classes.value.length;
    const columns = Math.max(count, Math.min(20, following.run.value?.epochs_total ?? 20));
    const lines = linesOf(view.shown.value).length;
    return fitting(room.value, columns, rows * lines, lines > 1 ? rows : 1);
  });
  const layout = computed(() => {
    const cell = view.cell.value ?? fit.value.cell;
    return { cell: Math.min(Math.max(cell, 16), 128), step: view.step.value ?? (view.cell.value ? 1 : fit.value.step) };
  });
  const columns = computed<Columns>(() => {
    const epochs = sampled(last.value, layout.value.step);
    return { epochs, labels: epochs.map(String) };
  });
  const cursor = computed(() => {
    const { epochs } = columns.value;
    let at = epochs.length - 1;
    while (at > 0 && epochs[at]! > epoch.value) at--;
    return Math.max(0, at);
  });

  const closers = [
    effect(() => {
      const dataset = following.run.value?.spec.dataset;
      const references = following.probes.value.map((probe) => probe.image);
      if (dataset && references.length) void loadProbes(id, dataset, references);
    }),
    // Other methods or rows are another set of maps.
    effect(() => {
      const question = {
        runId: id,
        methods: [view.methodA.value, view.methodB.value],
        rows: view.rows.value,
        image: view.rows.value === "classes" ? image.value : null,
      };
      if (!following.run.value || (question.rows === "classes" && !question.image)) return;
      const before = reel.peek();
      if (before && JSON.stringify(before.question) === JSON.stringify(question)) return;
      before?.close();
      reel.value = new Reel(question);
    }),
    // What is asked for last comes first: the scrubbed epoch, then what is on screen, then its
    // surroundings or, of a run that is not long, all.
    effect(() => {
      const present = reel.value;
      const until = last.value;
      const at = epoch.value;
      const { epochs } = columns.value;
      if (!present || until < 0) return;
      const whole = until < WHOLE_AT_MOST;
      const all = whole ? sampled(until, 1) : around(at, until);
      untracked(() => {
        // One answer has them all: asking for some of them first would be a second one.
        if (whole && present.atOnce(all.length, following.probes.value.length)) return present.needAll(until);
        present.need(all);
        present.need(epochs);
        present.need([at]);
      });
    }),
  ];
  const blanks = followBlanks(id, () => [view.methodA.value, view.methodB.value], () => last.value);

  const lookOf = (scale: Scale | null) => ({
    style: view.style.value,
    table: table(view.style.value === "signed" ? "RdBu_r" : view.colormap.value),
    scale,
  });
  const scaleOf = (present: Reel, method: number, row: number): Scale | null =>
    view.scale.value === "map" ? null : present.scale(method, view.scale.value === "strip" ? row : null);

  const lines = computed<Line[]>(() => {
    const present = reel.value;
    if (!present) return [];
    void present.changed.value;
    const shown = linesOf(view.shown.value);
    const { epochs } = columns.value;
    const dataset = following.run.value!.spec.dataset;
    return present.rows.flatMap((row, r) => shown.map((method, position): Line => ({
      key: `${row.image} ${row.class_index} ${method}`,
      label: <RowLabel {...{ row, dataset, method, both: shown.length > 1, byClass: view.rows.value === "classes" }} first={position === 0} />,
      describe: `${imageName(row.image)}, ${t("row.class", { name: row.class_name })}, ${present.methods[method]}`,
      image: row.image,
      dataset,
      geometry: present.geometry,
      look: lookOf(scaleOf(present, method, r)),
      cell: (column) => present.cell(method, r, epochs[column]!),
      startsGroup: shown.length > 1 && position === 0,
    })));
  });
  const selectedClass = signal<number | null>(null);
  const selectedLine = signal<number | null>(null); // of a pair: which method's
  // What an image without a class of its own is taken for in the end.
  const bestClass = computed(() => {
    const now = scores.at(image.value, last.value);
    return now ? Math.max(0, mostLikely(now)) : 0;
  });
  const rowIndex = computed(() => {
    void reel.value?.changed.value;
    const rows = reel.value?.rows ?? [];
    const found = view.rows.value === "probes"
      ? rows.findIndex((row) => row.image === image.value)
      : rows.findIndex((row) => row.class_index === (selectedClass.value ?? row.label ?? bestClass.value));
    return Math.max(0, found);
  });
  const selectedRow = computed(() => {
    void reel.value?.changed.value;
    return reel.value?.rows[rowIndex.value] ?? null;
  });
  const selected = computed(() => {
    const row = selectedRow.value;
    const shown = linesOf(view.shown.value);
    const method = shown.includes(selectedLine.value ?? -1) ? selectedLine.value : shown[0];
    return row ? `${row.image} ${row.class_index} ${method}` : "";
  });
  const shots = computed<Shot[]>(() => {
    const present = reel.value;
    if (!present) return [];
    void present.changed.value;
    const shot = (method: number, look: Look, title = present.methods[method] ?? ""): Shot => (
      { title, cell: present.cell(method, rowIndex.value, epoch.value), geometry: present.geometry, look }
    );
    const of = (method: number) => lookOf(scaleOf(present, method, rowIndex.value));
    const shown = linesOf(view.shown.value);
    // And the one that is selected in the other way: the map alone beside its overlay.
    const one = shown.includes(selectedLine.value ?? -1) ? selectedLine.value! : shown.at(-1)!;
    const style: Style = view.style.value === "overlay" ? "heatmap" : "overlay";
    const title = `${present.methods[one]}, ${t(`style.${style}`)}`;
    const other = { ...of(one), style, table: table(view.colormap.value) };
    return [...shown.map((method) => shot(method, of(method))), shot(one, other, title)];
  });
  const version = computed(() => [
    view.style.value, view.colormap.value, view.scale.value, view.rows.value, view.shown.value, image.value, knownColormaps.value.length,
    reel.value?.changed.value, reel.value?.methods.join(), layout.value.step,
  ].join(" "));
  const numbers = computed(() => following.epochs.value.map((one) => one.epoch));
  const charts = chartsOf(following.epochs, scores.classes, blanks.shares);

  const seek = (to: number) => {
    view.epoch.value = Math.min(Math.max(0, to), Math.max(0, last.peek()));
  };
  const pick = (column: number, line: Line) => batch(() => {
    seek(columns.peek().epochs[column] ?? 0);
    const [reference, classIndex, method] = line.key.split(" ") as [string, string, string];
    if (view.rows.peek() === "probes") view.image.value = reference;
    else selectedClass.value = Number(classIndex);
    selectedLine.value = Number(method);
  });
  const stepRow = (by: number) => {
    const rows = reel.peek()?.rows ?? [];
    const next = rows[Math.min(Math.max(0, rowIndex.peek() + by), rows.length - 1)];
    if (!next) return;
    if (view.rows.peek() === "probes") view.image.value = next.image;
    else selectedClass.value = next.class_index;
  };
  return {
    following, view, reel, lines, columns, cursor, selected, selectedRow, shots, scores, version, charts, numbers, layout, room,
    state: { epoch, last, image, playing, follows },
    seek, pick, stepRow,
    /** Rows are the classes of that image. */
    lookAt: (reference: string) => batch(() => {
      selectedClass.value = null;
      view.image.value = reference;
      view.rows.value = "classes";
    }),
    zoom: (direction: 1 | -1 | 0) => zoom(view, layout.peek(), fit.peek(), direction),
    followLatest: () => {
      view.epoch.value = view.epoch.peek() === null ? epoch.peek() : null;
    },
    close: () => {
      closers.forEach((end) => end());
      scores.close();
      blanks.close();
      closeView();
      following.close();
      reel.peek()?.close();
    },
  };
}

function around(epoch: number, last: number): number[] {
  const from = Math.max(0, epoch - 50);
  return Array.from({ length: Math.min(last, epoch + 50) - from + 1 }, (_, i) => from + i);
}

function ReelSection({ model }: { model: Model }) {
  const { layout, columns, view, reel, state } = model;
  const size = useComputed(() => layout.value.cell);
  const failure = reel.value?.failure.value;
  void reel.value?.changed.value;
  const { step } = layout.value;
  const shown = t(view.rows.value === "classes" ? "reel.title.classes" : "reel.title", { image: imageName(state.image.value) });
  return (
    <section class="reel-section" aria-label={shown} aria-busy={reel.value?.busy.value ?? true}>
      <div class="reel-head">
        <h2>{shown}</h2>
        <span class="muted">
          {step > 1 ? t("reel.sampled", { step, ordinal: ordinal(step), shown: columns.value.epochs.length, total: state.last.value + 1 }) : t("reel.all", { total: state.last.value + 1 })}
        </span>
        <Legend view={view} />
      </div>
      {failure && <Failure error={failure} retry={() => reel.value?.need(columns.value.epochs)} />}
      {!failure && !reel.value?.rows.length && <Loading what={t("reel.loading")} />}
      <ReelCanvas
        lines={model.lines} columns={columns} size={size} cursor={model.cursor} selected={model.selected} version={model.version}
        onPick={model.pick} onRoom={(room) => (model.room.value = room)} label={t("reel.described", { title: shown })}
      />
    </section>
  );
}

const CAUSES = ["saturated", "all-negative", "dead", "not-finite"] as const;

/** The colours' meaning, and the hatches'. */
function Legend({ view }: { view: View }) {
  const signed = view.style.value === "signed";
  const colours = table(signed ? "RdBu_r" : view.colormap.value);
  void arrived.value;
  const stops = Array.from({ length: 9 }, (_, i) => {
    const colour = colours[Math.min(255, i * 32)]!;
    return `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
  });
  return (
    <div class="legend">
      <span>{signed ? t("legend.against") : "0"}</span>
      <span class="ramp" style={{ background: `linear-gradient(90deg, ${stops.join(", ")})` }} />
      <span>{signed ? t("legend.for") : t("legend.peak")}</span>
      {CAUSES.filter((cause) => !signed || cause === "not-finite").map((cause) => (
        <span class="cause" title={t(`blank.${cause}.help`)}><i class={`swatch ${cause}`} />{t(`blank.${cause}`)}</span>
      ))}
    </div>
  );
}

function RunHead({ run, model }: { run: Run; model: Model }) {
  const deed = useDeed();
  const { following } = model;
  const live = !hasEnded(run);
  const done = Math.max(0, run.epochs_done);
  const best = following.epochs.value.at(-1);
  return (
    <header class="run-head">
      <div>
        <h1>{runName(run)}</h1>
        <StatusBadge run={run} />
        {run.tags.map((tag) => <Link to={`?tag=${encodeURIComponent(tag)}`} class="tag">{tag}</Link>)}
        <span class="muted">
          {t("run.epochs", { done, total: run.epochs_total })}
          {best && ` · ${t("run.accuracy", { accuracy: percent(best.test_accuracy, 2) })}`}
        </span>
        {live && <Progress run={run} seen={following.progress.value?.images_seen} />}
      </div>
      <div class="deeds">
        <Link to={`/new?from=${run.id}`} class="button">{t("run.duplicate")}</Link>
        <Link to={`/compare?runs=${run.id}`} class="button">{t("run.compare")}</Link>
        {live && <button type="button" onClick={() => deed.act(() => postJson(`/runs/${run.id}/cancel`))}>{t("run.cancel")}</button>}
        {!live && (
          <>
            <TrainOn key={run.finished_at} run={run} deed={deed} onResumed={following.refresh} />
            <button type="button" class="danger" onClick={() => confirm(t("run.delete.confirm", { name: runName(run) })) && deed.act(async () => {
              await remove(`/runs/${run.id}`);
              go("");
            })}>{t("run.delete")}</button>
          </>
        )}
      </div>
      {deed.failure.value && <Failure error={deed.failure.value} />}
    </header>
  );
}

function Facts({ run }: { run: Run }) {
  return (
    <Details class="facts" summary={t("run.settings")}>
      {() => (
        <>
          <p class="muted">
            {t("run.created", { when: moment(run.created_at) })}
            {run.finished_at && ` · ${t("run.finished", { when: moment(run.finished_at) })}`}
          </p>
          <pre>{JSON.stringify(run.spec, null, 2)}</pre>
        </>
      )}
    </Details>
  );
}

function spoken(model: Model): string {
  const shots = model.shots.value.slice(0, -1); // the last one is another picture of one of them
  const row = model.selectedRow.value;
  if (!row) return "";
  const told = shots.map(({ title, cell }) => `${title}: ${cell ? (cell.blank === "none" ? t("blank.none") : t(`blank.${cell.blank}`)) : ""}`);
  return `${t("scrubber.at", { epoch: model.state.epoch.value })}, ${imageName(row.image)}, ${t("row.class", { name: row.class_name })}. ${told.join(". ")}`;
}
