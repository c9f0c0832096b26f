// A select: the browser's own for a few options, and for many, a button that opens a list with a search field.

import { type Signal, useSignal } from "@preact/signals";
import { useId, useRef } from "preact/hooks";
import { number, t } from "../text";
import { matchingOptions, type Option } from "./optionSearch";

const MAX_NATIVE_OPTIONS = 24;
const MAX_SHOWN = 200; // options that the list lays out at once
const EDGE_GAP = 8; // CSS pixels between the list and the window's edge

interface Props {
  label: string;
  options: readonly Option[];
  value: string;
  onChange: (value: string) => void;
  disabled?: boolean;
  title?: string | undefined;
}

export function SearchableSelect(props: Props) {
  const { label, options, value, onChange, disabled = false, title } = props;
  if (options.length > MAX_NATIVE_OPTIONS) return <SearchableList {...props} />;
  return (
    <label title={title}>
      <span>{label}</span>
      <select value={value} disabled={disabled} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {[option.text, option.note].filter(Boolean).join(" · ")}
          </option>
        ))}
      </select>
    </label>
  );
}

function SearchableList({ label, options, value, onChange, disabled = false, title }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const isOpen = useSignal(false);
  const select = (next: string) => {
    list.current!.hidePopover();
    onChange(next);
  };
  const onToggle = (event: { newState: string }) => {
    isOpen.value = event.newState === "open";
    if (isOpen.value) placeBelow(list.current!, button.current!);
  };
  return (
    <div class="searchable" title={title}>
      <span id={`${id}-label`}>{label}</span>
      <button
        ref={button}
        id={id}
        type="button"
        class="searchable-value"
        popovertarget={`${id}-list`}
        aria-haspopup="dialog"
        aria-labelledby={`${id}-label ${id}`}
        disabled={disabled}
      >
        {options.find((option) => option.value === value)?.text ?? value}
      </button>
      <div
        ref={list}
        id={`${id}-list`}
        class="choices"
        popover="auto"
        role="dialog"
        aria-label={label}
        {...{ onToggle }}
      >
        {isOpen.value && <OptionList id={id} options={options} value={value} onSelect={select} />}
      </div>
    </div>
  );
}

interface ListProps {
  id: string;
  options: readonly Option[];
  value: string;
  onSelect: (value: string) => void;
}

/** A search field and the options that match its text; the arrow keys move among them. */
function OptionList({ id, options, value, onSelect }: ListProps) {
  const query = useSignal("");
  const matches = matchingOptions(options, query.value);
  const shown = matches.slice(0, MAX_SHOWN);
  const selected = shown.findIndex((option) => option.value === value);
  const active = useSignal<number | null>(null); // index among the shown; null: the selected option
  const index = active.value ?? Math.max(0, selected);
  return (
    <>
      <input
        type="text"
        role="combobox"
        aria-expanded="true"
        aria-controls={`${id}-options`}
        aria-activedescendant={shown.length ? `${id}-${index}` : undefined}
        aria-label={t("search.label")}
        placeholder={t("search.label")}
        autocomplete="off"
        ref={focusField}
        onInput={(event) => {
          query.value = event.currentTarget.value;
          active.value = 0;
        }}
        onKeyDown={(event) => onKey(event, active, index, shown, onSelect)}
      />
      <div id={`${id}-options`} class="choice-list" role="listbox" tabIndex={-1}>
        {shown.map((option, position) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the search field has the keys
          <div
            key={option.value}
            id={`${id}-${position}`}
            ref={position === index ? scrollIntoView : null}
            role="option"
            tabIndex={-1}
            aria-selected={option.value === value}
            class={position === index ? "active" : ""}
            onClick={() => onSelect(option.value)}
          >
            {option.text} <span class="muted">{option.note}</span>
          </div>
        ))}
      </div>
      <p class="note" role="status">
        {matchCount(shown.length, matches.length)}
      </p>
    </>
  );
}

function onKey(
  event: KeyboardEvent,
  active: Signal<number | null>,
  index: number,
  shown: readonly Option[],
  onSelect: (value: string) => void,
): void {
  const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
  const step = steps[event.key];
  const option = shown[index];
  if (step !== undefined) active.value = Math.max(0, Math.min(shown.length - 1, index + step));
  else if (event.key === "Enter" && option) onSelect(option.value);
  else return;
  event.preventDefault();
}

function matchCount(shown: number, total: number): string {
  if (!total) return t("search.none");
  return shown < total ? t("search.more", { shown: number(shown), total: number(total) }) : "";
}

/** Focuses the search field, except on touch screens, where a keyboard would cover the list. */
function focusField(field: HTMLInputElement | null): void {
  if (field && matchMedia("(pointer: fine)").matches) field.focus();
}

const scrollIntoView = (option: HTMLElement | null): void => option?.scrollIntoView({ block: "nearest" });

/** Places the list below the button, or above it where there is more space, within the window. */
function placeBelow(list: HTMLElement, button: HTMLElement): void {
  const { left, top, bottom } = button.getBoundingClientRect();
  const below = innerHeight - bottom;
  const isBelow = below >= top || below > innerHeight / 2;
  const { style } = list;
  style.left = `${Math.max(EDGE_GAP, Math.min(left, innerWidth - list.offsetWidth - EDGE_GAP))}px`;
  style.top = isBelow ? `${bottom}px` : "auto";
  style.bottom = isBelow ? "auto" : `${innerHeight - top}px`;
  style.maxHeight = `${(isBelow ? below : top) - EDGE_GAP}px`;
}
