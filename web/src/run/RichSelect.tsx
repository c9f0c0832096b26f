// A select whose options have descriptions, in browsers that can render them; a plain one in others.

import type { ComponentChildren } from "preact";

const IS_RICH = CSS.supports("appearance", "base-select");

interface SelectProps {
  label: string;
  text: string; // of the selected option
  value: string;
  onChange: (value: string) => void;
  children: ComponentChildren; // options
}

export function RichSelect({ label, text, value, onChange, children }: SelectProps) {
  return (
    <label>
      <span>{label}</span>
      <select class="rich" value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {IS_RICH && <button type="button">{text}</button>}
        {children}
      </select>
    </label>
  );
}

interface OptionProps {
  value: string;
  text: string;
  children: ComponentChildren; // its description
}

export function RichOption({ value, text, children }: OptionProps) {
  if (!IS_RICH) return <option value={value}>{text}</option>;
  return (
    <option value={value} aria-label={text}>
      <span class="option-text">
        <b>{text}</b>
        <span>{children}</span>
      </span>
    </option>
  );
}
