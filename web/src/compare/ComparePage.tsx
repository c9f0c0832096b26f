// Two to six runs under one scrubber: the same probe, the same scale, aligned by epochs or by images seen.

import { computed, effect, signal, untracked, useComputed } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo } from "preact/hooks";
import { knownColormaps, table } from "../maps/colours";
import { Reel } from "../maps/reel";
import { ReelCanvas, type Columns, type Line, type Room } from "../maps/ReelCanvas";
import { shared } from "../maps/scale";
import { Failure, Loading } from "../parts/Failure";
import { Link } from "../parts/Link";
import { runName, StatusBadge } from "../parts/StatusBadge";
import { params, replaceParams } from "../route";
import { Curves, type Chart } from "../run/Curves";
import { followRun } from "../run/following";
import { listen } from "../run/keys";
import { askWhatIsOffered } from "../run/offered";
import { Options } from "../run/Options";
import { Scrubber } from "../run/Scrubber";
import { fitting, openView, sampled, zoom } from "../run/view";
import { number, t } from "../text";
import { differences } from "./differences";
import { Picker } from "./Picker";

type Alignment = "epochs" | "images";

export function ComparePage({ ids }: { ids: number[] }) {
  const model = useMemo(() => open(ids), [ids.join()]);
  useLayoutEffect(() => model.close, [model]); // also of a page that is left before its first frame
  useEffect(() => listen(model.deeds), [model]);
  document.title = `${t("compare.title")} – Camreel`;
  const runs = model.followings.map((one) => one.run.value);
  const there = runs.filter((run) => run !== null);
  const size = useComputed(() => model.layout.value.cell);
  return (
    <main class="compare" id="content" aria-busy={model.busy.value}>
      <h1>{t("compare.title")}</h1>
      <Picker ids={ids} />
      {model.followings.map((one, index) => one.failure.value && <Failure key={ids[index]} error={one.failure.value} retry={one.refresh} />)}
      {ids.length < 2 ? <p class="muted">{t("compare.few")}</p> : there.length < ids.length ? <Loading /> : (
        <>
          <Heads runs={there} />
          <div class="options">
            <label>
              <span>{t("compare.probe")}</span>
              <select value={model.probe.value ?? ""} onChange={(event) => (model.view.image.value = event.currentTarget.value)}>
                {model.common.value.map((probe) => (
                  <option value={probe.image}>{probe.image}{probe.label === null ? "" : ` (${probe.label})`}</option>
                ))}
              </select>
            </label>
            <label>
              <span>{t("compare.align")}</span>
              <select value={model.alignment.value} onChange={(event) => (model.alignment.value = event.currentTarget.value as Alignment)}>
                <option value="epochs">{t("compare.epochs")}</option>
                <option value="images">{t("compare.images")}</option>
              </select>
            </label>
          </div>
          <Options view={model.view} onZoom={model.deeds.zoom} pair={false} />
          {there.some((run) => run.epochs_done < 0) && <p class="notice" role="status">{t("compare.waiting")}</p>}
          {model.common.value.length === 0 && !there.some((run) => run.epochs_done < 0) && <p class="failure" role="alert">{t("compare.noProbe")}</p>}
          <ReelCanvas
            lines={model.lines} columns={model.columns} size={size} cursor={model.cursor} selected={model.selected}
            version={model.version} label={t("compare.title")} onPick={(column) => model.deeds.seek(model.columns.peek().epochs[column] ?? 0)}
            onRoom={(room) => (model.room.value = room)}
          />
          <div class="dock">
            <Scrubber
              epoch={model.at} last={model.last} playing={model.playing} live={false} follows={model.follows}
              label={model.label} onSeek={model.deeds.seek} onFollow={model.deeds.follow}
            />
          </div>
          <Curves charts={model.charts} x={model.numbers} at={model.at} xLabel={t("compare.column")} onPick={model.deeds.seek} />
        </>
      )}
    </main>
  );
}

/** The runs, each with what sets it apart. */
function Heads({ runs }: { runs: NonNullable<ReturnType<typeof followRun>["run"]["value"]>[] }) {
  const differing = differences(runs.map((run) => run.spec));
  return (
    <div class="table-frame" tabIndex={0} role="region" aria-label={t("compare.differences")}>
      <table class="differences">
        <thead>
          <tr>
            <th>{t("compare.differences")}</th>
            {runs.map((run) => <th><Link to={`/runs/${run.id}`}>{runName(run)}</Link> <span class="muted">#{run.id}</span> <StatusBadge run={run} /></th>)}
          </tr>
        </thead>
        <tbody>
          {differing.map(({ name, values }) => (
            <tr><th scope="row"><code>{name}</code></th>{values.map((value) => <td>{value}</td>)}</tr>
          ))}
          {!differing.length && <tr><td colSpan={runs.length + 1}>{t("compare.same")}</td></tr>}
        </tbody>
      </table>
    </div>
  );
}

const shortened = (name: string): string => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

function open(ids: number[]) {
  const followings = ids.map(followRun);
  const { view, close: closeView } = openView("proposed");
  const alignment = signal<Alignment>(params.peek().get("align") === "images" ? "images" : "epochs");
  const room = signal<Room>({ width: 1000, height: Infinity }); // until it is measured
  const playing = signal(false);
  void askWhatIsOffered(view);

  const samples = computed(() => followings.map((one) => one.run.value?.spec.samples_per_epoch ?? 1));
  // A column is an epoch, or as many images as the run of the smallest epochs sees in one.
  const images = computed(() => (alignment.value === "images" ? Math.min(...samples.value) : null));
  const epochAt = (run: number, column: number): number =>
    images.value === null ? column : Math.floor((column * images.value) / samples.value[run]!);
  const lastOf = (run: number): number => {
    const epochs = followings[run]!.epochs.value.length - 1;
    return images.value === null ? epochs : Math.floor((epochs * samples.value[run]!) / images.value);
  };
  const last = computed(() => Math.max(0, ...ids.map((_, run) => lastOf(run))));
  const at = computed(() => Math.min(view.epoch.value ?? last.value, last.value));
  const label = (column: number) =>
    images.value === null ? t("scrubber.at", { epoch: column }) : t("compare.seen", { images: number(column * images.value) });

  const common = computed(() => {
    // The same reference in another dataset is another image.
    if (new Set(followings.map((one) => one.run.value?.spec.dataset)).size > 1) return [];
    // A run that has not begun has no probes yet; the others are shown meanwhile.
    const [first, ...rest] = followings.map((one) => one.probes.value).filter((probes) => probes.length);
    return (first ?? []).filter((probe) => rest.every((others) => others.some((other) => other.image === probe.image)));
  });
  const probe = computed(() => {
    const found = common.value.find((one) => one.image === view.image.value) ?? common.value[0];
    return found?.image ?? null;
  });
  const fit = computed(() => {
    const found = fitting(room.value, last.value + 1, ids.length, ids.length);
    return { cell: Math.max(found.cell, 40), step: found.step };
  });
  const layout = computed(() => ({
    cell: view.cell.value ?? fit.value.cell, step: view.step.value ?? (view.cell.value ? 1 : fit.value.step),
  }));
  const columns = computed<Columns>(() => {
    const epochs = sampled(last.value, layout.value.step);
    const short = (column: number) => (images.value === null ? String(column) : `${number((column * images.value) / 1000)}k`);
    return { epochs, labels: epochs.map(short) };
  });
  const cursor = computed(() => Math.max(0, columns.value.epochs.findLastIndex((column) => column <= at.value)));

  const reels = signal<Reel[]>([]);
  const closers = [
    effect(() => {
      // One row a run, unless the scale is over all of them.
      const methods = [view.methodA.value];
      const image = view.scale.value === "run" ? null : probe.value;
      untracked(() => {
        reels.value.forEach((reel) => reel.close());
        reels.value = ids.map((runId) => new Reel({ runId, methods, rows: "probes", image }));
      });
    }),
    effect(() => {
      const wanted = columns.value.epochs;
      const now = at.value;
      reels.value.forEach((reel, run) => {
        const until = followings[run]!.epochs.value.length - 1;
        const epochs = (some: number[]) => [...new Set(some.map((column) => epochAt(run, column)))].filter((epoch) => epoch <= until);
        untracked(() => {
          reel.need(epochs(wanted));
          reel.need(epochs([now]));
        });
      });
    }),
    effect(() => replaceParams({ align: alignment.value === "images" ? "images" : null })),
  ];
  const busy = computed(() => reels.value.some((reel) => reel.busy.value));
  const changes = computed(() => reels.value.map((reel) => reel.changed.value).join());
  const rowOf = (reel: Reel) => reel.rows.findIndex((row) => row.image === probe.value);
  // One scale over all the runs, so that what looks stronger is stronger.
  const scale = computed(() => {
    void changes.value;
    if (view.scale.value === "map") return null;
    const row = (reel: Reel) => (view.scale.value === "strip" ? rowOf(reel) : null);
    return shared(reels.value.filter((reel) => reel.rows.length && row(reel) !== -1).map((reel) => reel.scale(0, row(reel))));
  });
  const lines = computed<Line[]>(() => {
    void changes.value;
    const { epochs } = columns.value;
    const look = { style: view.style.value, table: table(view.style.value === "signed" ? "RdBu_r" : view.colormap.value), scale: scale.value };
    return reels.value.flatMap((reel, run) => {
      const found = followings[run]!.run.value;
      if (!found) return [];
      const row = rowOf(reel);
      const until = followings[run]!.epochs.value.length - 1;
      return [{
        key: String(run),
        label: <span class="row-name">{runName(found)}</span>,
        describe: `${runName(found)} #${found.id}`,
        image: probe.value ?? "",
        dataset: found.spec.dataset,
        geometry: reel.geometry,
        look,
        cell: (column: number) => {
          const epoch = epochAt(run, epochs[column]!);
          return row < 0 || epoch > until ? null : reel.cell(0, row, epoch);
        },
        startsGroup: true,
      }];
    });
  });
  const version = computed(() => [
    changes.value, knownColormaps.value.length, probe.value, view.style.value, view.colormap.value, view.scale.value, alignment.value,
    layout.value.step, last.value,
  ].join(" "));
  const numbers = computed(() => Array.from({ length: last.value + 1 }, (_, column) => column));
  const chart = (title: () => string, unit: Chart["unit"], pick: "test_loss" | "test_accuracy") =>
    computed<Chart>(() => ({
      title: title(), unit,
      curves: followings.map((one, run) => ({
        label: `#${ids[run]} ${shortened(one.run.value ? runName(one.run.value) : "")}`, colour: run,
        values: numbers.value.map((column) => one.epochs.value[epochAt(run, column)]?.[pick] ?? null),
      })),
    }));
  const charts = [
    chart(() => t("compare.loss"), "nats", "test_loss"), chart(() => t("compare.accuracy"), "share", "test_accuracy"),
  ];
  const seek = (to: number) => {
    view.epoch.value = Math.min(Math.max(0, to), last.peek());
  };
  return {
    followings, view, alignment, room, playing, busy, last, at, label, common, probe, layout, columns, cursor, lines, version, numbers, charts,
    selected: signal(""),
    follows: signal(false),
    deeds: {
      view, seek,
      step: (by: number) => seek(at.peek() + by),
      last: () => last.peek(),
      row: (by: number) => {
        const all = common.peek();
        const next = all[Math.min(Math.max(0, all.findIndex((one) => one.image === probe.peek()) + by), all.length - 1)];
        if (next) view.image.value = next.image;
      },
      play: () => void (playing.value = !playing.peek()),
      follow: () => {},
      zoom: (direction: 1 | -1 | 0) => zoom(view, layout.peek(), fit.peek(), direction),
    },
    close: () => {
      closers.forEach((end) => end());
      closeView();
      followings.forEach((one) => one.close());
      reels.peek().forEach((reel) => reel.close());
    },
  };
}
