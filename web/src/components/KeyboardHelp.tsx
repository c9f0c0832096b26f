import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../text";
import type { Texts } from "../text/english";

export const isHelpOpen = signal(false);

const STORAGE_KEY = "camreel.letters";

/** Whether single-key shortcuts are enabled. People who dictate text need to disable them (WCAG 2.1.4). */
export const singleKeysEnabled = signal(localStorage.getItem(STORAGE_KEY) !== "off");

function enableSingleKeys(enabled: boolean): void {
  localStorage.setItem(STORAGE_KEY, enabled ? "on" : "off");
  singleKeysEnabled.value = enabled;
}

const SHORTCUTS: [keys: string[], text: keyof Texts][] = [
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

/** The dialog that lists the keyboard shortcuts. */
export function KeyboardHelp() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current!;
    if (isHelpOpen.value && !element.open) element.showModal();
    if (!isHelpOpen.value && element.open) element.close();
  }, [isHelpOpen.value]);
  const onClose = () => {
    isHelpOpen.value = false;
    // An element of a closed dialog that keeps the focus would swallow the page's shortcuts.
    const focused = document.activeElement;
    if (focused instanceof HTMLElement && dialog.current!.contains(focused)) focused.blur();
  };
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog by itself
    <dialog
      ref={dialog}
      class="help"
      aria-labelledby="help-title"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current!.close()}
    >
      {isHelpOpen.value && <Shortcuts />}
    </dialog>
  );
}

function Shortcuts() {
  return (
    <>
      <h2 id="help-title">{t("keys.title")}</h2>
      <table>
        <tbody>
          {SHORTCUTS.map(([keys, text]) => (
            <tr key={text}>
              <th scope="row">
                {keys.map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </th>
              <td>{t(text)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p>{t("keys.more")}</p>
      <label class="single-keys">
        <input
          type="checkbox"
          checked={singleKeysEnabled.value}
          onChange={(event) => enableSingleKeys(event.currentTarget.checked)}
        />
        {t("keys.single")}
      </label>
      <button type="button" autofocus onClick={() => (isHelpOpen.value = false)}>
        {t("close")}
      </button>
    </>
  );
}
