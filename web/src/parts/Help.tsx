// The keys, in an overlay.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../text";
import type { Texts } from "../text/english";

export const helpOpen = signal(false);

const KEPT = "camreel.letters";

/** Whether keys of one character act: who speaks to the browser can switch them off. WCAG 2.1.4. */
export const lettersOn = signal(localStorage.getItem(KEPT) !== "off");

function allowLetters(on: boolean): void {
  localStorage.setItem(KEPT, on ? "on" : "off");
  lettersOn.value = on;
}

const KEYS: [string[], keyof Texts][] = [
  [["←", "→"], "keys.step"],
  [["Shift", "← →"], "keys.leap"],
  [["Home", "End"], "keys.ends"],
  [["Space"], "keys.play"],
  [["↑", "↓"], "keys.row"],
  [["F"], "keys.flip"],
  [["B"], "keys.both"],
  [["R"], "keys.rows"],
  [["S"], "keys.style"],
  [["G"], "keys.scale"],
  [["C"], "keys.colormap"],
  [["+", "−", "0"], "keys.zoom"],
  [["L"], "keys.follow"],
  [["D"], "keys.theme"],
  [["?"], "keys.help"],
];

export function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current!;
    if (helpOpen.value && !element.open) element.showModal();
    if (!helpOpen.value && element.open) element.close();
  }, [helpOpen.value]);
  const closed = () => {
    helpOpen.value = false;
    // What has the focus in a closed dialog would keep the page's keys to itself.
    const focused = document.activeElement;
    if (focused instanceof HTMLElement && dialog.current!.contains(focused)) focused.blur();
  };
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={closed}
      onClick={(event) => event.target === dialog.current && dialog.current!.close()}>
      {helpOpen.value && (
        <>
          <h2 id="help-title">{t("keys.title")}</h2>
          <table>
            <tbody>
              {KEYS.map(([keys, name]) => (
                <tr>
                  <th scope="row">{keys.map((key) => <kbd>{key}</kbd>)}</th>
                  <td>{t(name)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p>{t("keys.more")}</p>
          <label class="letters">
            <input type="checkbox" checked={lettersOn.value} onChange={(event) => allowLetters(event.currentTarget.checked)} />
            {t("keys.single")}
          </label>
          <button type="button" autofocus onClick={() => (helpOpen.value = false)}>{t("close")}</button>
        </>
      )}
    </dialog>
  );
}
